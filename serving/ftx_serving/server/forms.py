"""`POST /predict` and `POST /`: what is asked, and how it is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_serving.contract import Contract
from ftx_serving.decoding import Answer, Columns, best_first, flagged, sigmoid, softmax, surest
from ftx_serving.engine.items import Side, Source
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.server.answering import Answered

Direction = Literal["left", "right", "Left", "Right"]
Function = Literal["softmax", "sigmoid", "none"]


class Parameters(msgspec.Struct):
    """How scores are made, and how many are shown."""

    top_k: int | None = None
    function_to_apply: Function | None = None
    truncate: bool | None = None
    truncation_direction: Direction | None = None


class PredictRequest(Parameters):
    """As text-embeddings-inference has it, with `top_k`."""

    inputs: str | list[str | list[str]] = msgspec.field(default_factory=list)
    raw_scores: bool = False
    """Logits instead of scores."""
    parameters: Parameters | None = None
    """As the clients of Hugging Face send them."""


class Asked(msgspec.Struct, frozen=True):
    """What is to be classified, and the form of the answer."""

    sources: list[Source]
    batch: bool
    """Whether a list was sent, so that a list is answered."""
    truncate: bool
    top_k: int | None
    function: Function | None
    """How scores are made of logits; None: as the task has it."""


decoder = msgspec.json.Decoder(PredictRequest)


def understand(request: PredictRequest, contract: Contract) -> Asked:
    """Raises `Refused` for what this model does not classify."""
    given = request.parameters or request
    top_k = request.top_k if request.top_k is not None else given.top_k
    if top_k is not None and top_k < 1:
        raise Refused(Reason.VALIDATION, "top_k is less than 1")
    direction = request.truncation_direction or given.truncation_direction
    side: Side | None = None if direction is None else "left" if direction.lower() == "left" else "right"
    rows, batch = _rows(request.inputs, contract)
    if not rows:
        raise Refused(Reason.EMPTY, "there is no text to classify: inputs is empty")
    sources = [_source(row, side, contract) for row in rows]
    truncate = request.truncate if request.truncate is not None else given.truncate
    function = "none" if request.raw_scores else (request.function_to_apply or given.function_to_apply)
    if function not in (None, "softmax") and contract.task == TOKEN_CLASSIFICATION:
        raise Refused(Reason.VALIDATION, "the scores of entities are probabilities: there are no raw ones")
    return Asked(sources, batch, truncate is not False, top_k, function)


def check_truncation(asked: Asked, answered: Answered) -> None:
    """Raise `Refused` where a text was cut although the client said `"truncate": false`."""
    if not asked.truncate and any(answer.truncated for answer in answered.answers):
        place = next(place for place, answer in enumerate(answered.answers) if answer.truncated)
        limit = answered.deployment.contract.max_length
        raise Refused(Reason.VALIDATION, f"text {place} is longer than {limit} tokens")


def respond(asked: Asked, answered: Answered) -> list[Answer]:
    """For each text labels with scores, best first, or the entities in order, as `ftx predict` has them."""
    if answered.of_entities:
        answers = [surest(entities, asked.top_k) for entities in answered.entities]
    else:
        answers = best_first(answered.logits, answered.decoder.labels, _columns(asked.function, answered), asked.top_k)
    return flagged(answers, answered.truncated, answered.abstained)


def _columns(function: Function | None, answered: Answered) -> Columns:
    """What is told of each label: as the task has it, or by the function that was asked for a score alone."""
    if function is None:
        return answered.decoder.columns(answered.logits, answered.scores)
    return {"score": _apply(function, answered)}


def _apply(function: Function, answered: Answered) -> np.ndarray:
    temperature = answered.deployment.variant.temperature
    if function == "softmax":
        return softmax(answered.logits, temperature)
    return answered.logits if function == "none" else sigmoid(answered.logits.astype(np.float64) / temperature)


def _rows(inputs: str | list[str | list[str]], contract: Contract) -> tuple[Sequence[Sequence[str]], bool]:
    """The texts or pairs. A list of two strings is one pair for a model of pairs, and two texts for any other."""
    if isinstance(inputs, str):
        return [[inputs]], False
    strings = [each for each in inputs if isinstance(each, str)]
    if contract.pair and len(strings) == len(inputs) == 2:
        return [strings], False
    return [[each] if isinstance(each, str) else each for each in inputs], True


def _source(row: Sequence[str], side: Side | None, contract: Contract) -> Source:
    wanted = 2 if contract.pair else 1
    if len(row) != wanted:
        what = "pairs of texts" if contract.pair else "single texts"
        raise Refused(Reason.VALIDATION, f"this model classifies {what}; an input holds {len(row)}")
    if not all(row):
        raise Refused(Reason.EMPTY, "a text is empty")
    return Source(row[0], row[1] if wanted == 2 else None, side)
