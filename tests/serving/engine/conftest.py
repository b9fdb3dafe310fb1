"""A real bundle behind the engine; sessions that can be held, or made to fail, around a real one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from ftx.artifacts import Artifact
from ftx_serving.engine.engine import Engine, EngineSettings
from ftx_serving.engine.items import Source
from ftx_serving.predictor import Predictor
from ftx_serving.runtimes import Session


class Watched:
    """A session that records the shapes it computes, waits while `hold` is taken, and fails on what `poison` finds."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.shapes: list[tuple[int, ...]] = []
        self.free = threading.Event()
        self.free.set()
        self.entered = threading.Semaphore(0)
        self.poison: Callable[[np.ndarray], BaseException | None] = lambda ids: None

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        self.shapes.append(inputs["input_ids"].shape)
        self.entered.release()
        assert self.free.wait(20)
        if (error := self.poison(inputs["input_ids"])) is not None:
            raise error
        return self._session(**inputs)

    def hold(self) -> None:
        self.free.clear()

    def wait_until_busy(self) -> None:
        assert self.entered.acquire(timeout=20)


@pytest.fixture
def watched(predictor: Predictor) -> Watched:
    return Watched(predictor.session)


MakeEngine = Callable[..., Engine]


@pytest.fixture
def make_engine(tiny_bundle: Artifact, predictor: Predictor, watched: Watched) -> Iterator[MakeEngine]:
    """`make(sessions=[watched], **settings)`: an engine that runs, and is stopped at the end."""
    made: list[Engine] = []

    def make(sessions: Sequence[Session] | None = None, **settings: Any) -> Engine:
        tokenizer = Tokenizer.from_file(str(tiny_bundle.path / "tokenizer.json"))
        engine = Engine(tokenizer, predictor.contract, sessions or [watched], EngineSettings(**settings))
        engine.start()
        made.append(engine)
        return engine

    yield make
    watched.free.set()
    for engine in made:
        engine.stop()


def sources(*texts: str) -> list[Source]:
    return [Source(text) for text in texts]
