"""From a request to its answers: let in, waited for, dropped if the client goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from starlette.requests import Request

from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_serving.decoding import Answer as Decoded
from ftx_serving.decoding import Decoder, abstentions
from ftx_serving.engine.deployment import Deployment
from ftx_serving.engine.items import Answer, Source
from ftx_serving.engine.items import Request as Submitted
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.server.errors import client_gone
from ftx_serving.server.models import Models
from ftx_serving.server.protocol import LOST
from ftx_serving.words import join_rows

DEADLINE_HEADER = "x-request-timeout-ms"


@dataclass(frozen=True)
class Answered:
    """The answers, and who gave them."""

    deployment: Deployment
    answers: list[Answer]
    seconds: float

    @property
    def of_entities(self) -> bool:
        return self.deployment.contract.task == TOKEN_CLASSIFICATION

    @cached_property
    def entities(self) -> list[Decoded]:
        """Of a model of tokens: each text's entities, in order."""
        words = [answer.words for answer in self.answers if answer.words is not None]
        return self.decoder.answers(self.logits, temperature=self.deployment.variant.temperature, words=words)

    @cached_property
    def logits(self) -> np.ndarray:
        """float32 of shape (texts, classes); of a model of tokens (texts, words, labels), padded with zeros."""
        return join_rows([answer.logits[None] for answer in self.answers])

    @cached_property
    def scores(self) -> np.ndarray:
        """What stands as the score of each output (a probability, or a number), float64 of the same shape."""
        return self.decoder.scores(self.logits, self.deployment.variant.temperature)

    @property
    def decoder(self) -> Decoder:
        return self.deployment.contract.decoder

    @cached_property
    def truncated(self) -> list[bool]:
        """Of each text, whether it was cut."""
        return [answer.truncated for answer in self.answers]

    @cached_property
    def abstained(self) -> list[bool]:
        """Of each text, whether the model would rather say nothing."""
        below = self.deployment.contract.abstain_below
        return [False] * len(self.answers) if below is None else abstentions(self.scores, below)

    @cached_property
    def best(self) -> np.ndarray:
        """The place of each text's best label."""
        return np.asarray(self.logits.argmax(axis=1))

    def headers(self) -> dict[str, str]:
        """Times in milliseconds; of a request of several texts, the longest of each stage."""
        timings = [answer.timing for answer in self.answers]
        stages = {
            "queue": max(timing.queue for timing in timings),
            "tokenize": max(timing.tokenize for timing in timings),
            "batch": max(timing.batch for timing in timings),
            "compute": max(timing.compute for timing in timings),
            "total": self.seconds,
        }
        return {
            "server-timing": ", ".join(f"{name};dur={1000 * value:.2f}" for name, value in stages.items()),
            "x-total-time": f"{1000 * stages['total']:.0f}",
            "x-queue-time": f"{1000 * stages['queue']:.0f}",
            "x-tokenization-time": f"{1000 * stages['tokenize']:.0f}",
            "x-inference-time": f"{1000 * stages['compute']:.0f}",
            "x-compute-tokens": str(sum(answer.tokens for answer in self.answers)),
            "x-batch-size": str(max(timing.batch_size for timing in timings)),
            "x-batch-tokens": str(max(timing.batch_tokens for timing in timings)),
        }


async def answer(
    request: Request,
    models: Models,
    name: str | None,
    understand: Callable[[Deployment], Sequence[Source]],
    longest: float,
) -> Answered:
    """The model's answers, within `longest` seconds or the request's own deadline.

    `understand` is what the request asks of that deployment: limits and inputs are the bundle's, and may be others once
    it has been replaced. Raises `Refused`, and `HttpError` for a model that is not there. The request's body must have
    been read.
    """
    started = time.monotonic()
    deadline = started + _seconds_left(request, longest)
    deployment, submitted = submit(models, name, understand, deadline)
    answers = asyncio.wrap_future(submitted.future)
    # ASGI's own sign, the message that the client has gone, would take a task for each request.
    lost: asyncio.Future[None] = request.scope[LOST]
    try:
        await asyncio.wait((answers, lost), timeout=deadline - started, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not answers.done():
            answers.cancel()
    if lost.done() and answers.cancelled():
        raise client_gone()
    if answers.cancelled():
        raise Refused(Reason.DEADLINE, "the answer took longer than the request may wait")
    return Answered(deployment, answers.result(), time.monotonic() - started)


def submit(
    models: Models, name: str | None, understand: Callable[[Deployment], Sequence[Source]], deadline: float
) -> tuple[Deployment, Submitted]:
    """Let the request in; `deadline` is by `time.monotonic`. Raises as `answer` does."""
    deployment = models.find(name)
    sources = understand(deployment)
    try:
        return deployment, deployment.engine.submit(sources, deadline)
    except Refused:
        # Between the look-up and here the model was replaced.
        newer = models.find(name)
        if newer is deployment:
            raise
        return newer, newer.engine.submit(understand(newer), deadline)


def _seconds_left(request: Request, longest: float) -> float:
    raw = request.headers.get(DEADLINE_HEADER)
    if raw is None:
        return longest
    try:
        seconds = float(raw) / 1000
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise Refused(Reason.VALIDATION, f"{DEADLINE_HEADER} is no positive number of milliseconds")
    return min(seconds, longest)
