"""Requests in, answers out: tokenizer threads and workers around one lock.

    submit -> [admission] -> untokenized -> tokenizer threads -> pending -> workers -> future

A batch is formed at the moment when a worker is free, from whatever waits then: company is never waited for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tokenizers import Tokenizer

from ftx_serving.contract import Contract
from ftx_serving.encoder import TextEncoder
from ftx_serving.engine.admission import Limits, Load, check_load, check_size
from ftx_serving.engine.cache import AnswerCache
from ftx_serving.engine.items import Answer, Item, Request, Source, Timing
from ftx_serving.engine.pending import BatchRule, Pending
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.engine.running import Batch, run_batch
from ftx_serving.engine.tokenizing import SourceEncoder
from ftx_serving.profile import unknown_token_id
from ftx_serving.runtimes import Session

_log = logging.getLogger(__name__)

TOKENIZE_AT_ONCE = 64
"""Texts that a tokenizer thread takes: short calls keep the workers supplied."""


@dataclass(frozen=True)
class EngineSettings:
    """What is chosen at warm-up, or by flags."""

    rule: BatchRule = field(default_factory=BatchRule)
    limits: Limits = field(default_factory=Limits)
    tokens_per_second: float = 10_000.0
    """What all workers do together."""
    tokenizers: int = 1
    """Threads that tokenize."""
    cache: int = 0
    """Answers that are kept; 0: none."""


class Engine:
    """Serves one variant with a worker for each session. Threads start with `start` and end with `stop`."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        contract: Contract,
        sessions: Sequence[Session],
        settings: EngineSettings,
        on_batch: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        """`on_batch` is told of each batch that was computed, by the worker's thread."""
        self.contract = contract
        self.settings = settings
        self._encoder = TextEncoder(tokenizer, contract)
        unknown = unknown_token_id(tokenizer)
        self._source_encoders = [SourceEncoder(tokenizer, contract, unknown) for _ in range(settings.tokenizers)]
        self._sessions = list(sessions)
        self._on_batch = on_batch
        self._lock = threading.Lock()
        self._to_tokenize = threading.Condition(self._lock)
        self._to_compute = threading.Condition(self._lock)
        self._idle = threading.Condition(self._lock)
        self._untokenized: deque[Item] = deque()
        self._pending = Pending(settings.rule)
        self._in_flight: dict[Source, Item] = {}
        """All that is let in and not answered."""
        self._cache = AnswerCache(settings.cache)
        self._load = Load(settings.tokens_per_second, contract.most_tokens)
        self._refusing: Refused | None = Refused(Reason.UNHEALTHY, "the engine has not started")
        self._stopped = False
        self._death: str | None = None
        self._threads: list[threading.Thread] = []

    # Life ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        stages: list[tuple[str, Callable[[], None]]] = [
            *((f"tokenizer {n}", partial(self._tokenize, each)) for n, each in enumerate(self._source_encoders)),
            *((f"worker {n}", partial(self._compute, each)) for n, each in enumerate(self._sessions)),
        ]
        self._threads = [
            threading.Thread(target=self._guarded, args=(name, stage), name=f"ftx {name}", daemon=True)
            for name, stage in stages
        ]
        for thread in self._threads:
            thread.start()
        with self._lock:
            self._refusing = None

    @property
    def death(self) -> str | None:
        """What killed a stage, in words; None while all of them live. It does not heal."""
        return self._death

    def refuse_new(self, message: str) -> None:
        """Let nothing more in; what is in is answered."""
        with self._lock:
            self._refusing = self._refusing or Refused(Reason.UNHEALTHY, message)

    def wait_until_empty(self, seconds: float) -> bool:
        """Whether all that was let in has been answered within that time."""
        with self._lock:
            return self._idle.wait_for(lambda: not self._in_flight or self._death is not None, seconds)

    def stop(self) -> None:
        """End the threads; whatever still waits is refused."""
        self.refuse_new("the server has stopped")
        with self._lock:
            self._stopped = True
            self._notify_everybody()
        for thread in self._threads:
            thread.join()
        self._refuse_all(Refused(Reason.UNHEALTHY, "the server has stopped"))

    # Requests --------------------------------------------------------------------------------------------------------

    def submit(self, sources: Sequence[Source], deadline: float | None = None) -> Request:
        """Let the request in, whole; `deadline` is by `time.monotonic`.

        Raises `Refused` at once where it cannot be, or would not be in time. May be called from any thread.
        """
        check_size(sources, self.settings.limits)
        now = time.monotonic()
        request = Request(len(sources), deadline)
        found: list[tuple[int, Answer]] = []
        with self._lock:
            if self._refusing is not None:
                raise Refused(self._refusing.reason, self._refusing.message)
            new: dict[Source, Item] = {}
            joined: list[tuple[Item, int]] = []
            for place, source in enumerate(sources):
                if (answer := self._cache.find(source)) is not None:
                    found.append((place, answer))
                    continue
                item = self._in_flight.get(source) or new.get(source)
                if item is None:
                    item = new[source] = Item(source, now, [], length=self._load.estimate(source))
                joined.append((item, place))
            if new:
                needed = sum(item.length for item in new.values())
                check_load(needed, self._load, self.settings.limits, None if deadline is None else deadline - now)
            for item, place in joined:
                item.waiters.append((request, place))
            for item in new.values():
                self._enter(item)
        for place, answer in found:
            request.resolve(place, answer)
        return request

    def _enter(self, item: Item) -> None:
        self._in_flight[item.source] = item
        self._load.enter(item.length)
        tokens = item.source.tokens
        if tokens is None:
            self._untokenized.append(item)
            self._to_tokenize.notify()
        else:
            item.rows, item.tokenize_started, item.tokenized = (tokens,), item.arrived, item.arrived
            self._pending.extend([item])
            self._to_compute.notify()

    def queued(self) -> tuple[int, float]:
        """Items that are not answered yet, and the seconds that they are predicted to take."""
        with self._lock:
            return len(self._in_flight), self._load.drain_seconds()

    # Stages ----------------------------------------------------------------------------------------------------------

    def _guarded(self, name: str, stage: Callable[[], None]) -> None:
        """A stage ends when the engine stops. If it ends otherwise nobody would be served again: everybody is told."""
        try:
            stage()
        except BaseException as error:
            with self._lock:
                self._death = f"{name} died: {type(error).__name__}: {error}"
                self._refusing = refused = Refused(Reason.UNHEALTHY, self._death)
                self._stopped = True
                self._notify_everybody()
            _log.critical(self._death, exc_info=error)
            self._refuse_all(refused)

    def _tokenize(self, encoder: SourceEncoder) -> None:
        while items := self._take_untokenized():
            estimates = [item.length for item in items]
            failed = dict(encoder.tokenize(items))
            with self._lock:
                for item, estimate in zip(items, estimates, strict=True):
                    self._load.correct(estimate, item.length, item.source)
                ready = [item for item in items if item not in failed]
                self._pending.extend(ready)
                self._to_compute.notify(len(ready))
            for item, refused in failed.items():
                self._refuse(item, refused)

    def _take_untokenized(self) -> list[Item]:
        with self._lock:
            while True:
                self._to_tokenize.wait_for(lambda: self._untokenized or self._stopped)
                if self._stopped:
                    return []
                taken = [self._untokenized.popleft() for _ in range(min(len(self._untokenized), TOKENIZE_AT_ONCE))]
                if kept := self._without_given_up(taken):
                    return kept

    def _compute(self, session: Session) -> None:
        while items := self._take_batch():
            taken = time.monotonic()
            # A batch that was not full says nothing of how fast a queue drains.
            full = self.settings.rule.alone or len(self._pending) > 0
            for batch in run_batch(items, session, self._encoder, self.settings.rule):
                if batch.error is None:
                    self._answer(batch, taken, full)
                else:
                    self._refuse(batch.items[0], batch.error)

    def _take_batch(self) -> list[Item]:
        with self._lock:
            while True:
                self._to_compute.wait_for(lambda: self._pending or self._stopped)
                if self._stopped:
                    return []
                if kept := self._without_given_up(self._pending.take()):
                    return kept

    # Ends ------------------------------------------------------------------------------------------------------------

    def _answer(self, batch: Batch, taken: float, full: bool) -> None:
        if full:
            with self._lock:
                self._load.learn(sum(item.length for item in batch.items), batch.compute, len(self._sessions))
        for item, logits in zip(batch.items, batch.logits, strict=True):
            tokenize = item.tokenized - item.tokenize_started
            queue = taken - item.arrived - tokenize
            timing = Timing(
                queue=queue,
                tokenize=tokenize,
                batch=batch.assemble,
                compute=batch.compute,
                batch_size=len(batch.items),
                batch_tokens=batch.padded_tokens,
                arrived=item.arrived,
                tokenize_started=item.tokenize_started,
                batch_started=batch.started,
            )
            own = item.own_logits(logits, left=self.contract.padding_side == "left")
            answer = Answer(own, item.length, item.unknown, item.truncated, timing, words=item.words)
            with self._lock:
                self._leave(item)
                self._cache.keep(item.source, answer)
                waiters = list(item.waiters)
            for request, place in waiters:
                request.resolve(place, answer)
        self._on_batch(batch)

    def _refuse(self, item: Item, refused: Refused) -> None:
        with self._lock:
            self._leave(item)
            waiters = list(item.waiters)
        for request, _ in waiters:
            request.fail(refused)

    def _refuse_all(self, refused: Refused) -> None:
        with self._lock:
            items = list(self._in_flight.values())
            self._untokenized.clear()
            self._pending.clear()
        for item in items:
            self._refuse(item, refused)

    def _leave(self, item: Item) -> None:
        """No new request joins it from here on. The lock is held."""
        if self._in_flight.get(item.source) is not item:
            return
        del self._in_flight[item.source]
        self._load.leave(item.length)
        if not self._in_flight:
            self._idle.notify_all()

    def _without_given_up(self, items: Sequence[Item]) -> list[Item]:
        """Those that somebody still waits for; requests past their deadline are told. The lock is held."""
        now = time.monotonic()
        kept = []
        for item in items:
            for request, _ in item.waiters:
                if request.deadline is not None and request.deadline < now:
                    request.fail(Refused(Reason.DEADLINE, "the request's deadline passed while it was waiting"))
            if item.given_up:
                self._leave(item)
            else:
                kept.append(item)
        return kept

    def _notify_everybody(self) -> None:
        for condition in (self._to_tokenize, self._to_compute, self._idle):
            condition.notify_all()
