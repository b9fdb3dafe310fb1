"""The Open Inference Protocol, version 2, over REST: texts in, labels and scores out; tokens in, logits out.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from ftx.tasks import MULTI_LABEL, REGRESSION, TOKEN_CLASSIFICATION
from ftx_serving.contract import Contract
from ftx_serving.engine.deployment import Deployment
from ftx_serving.engine.items import Source, TokenIds
from ftx_serving.engine.refusal import Reason, Refused
from ftx_serving.server.answering import Answered
from ftx_serving.server.errors import HttpError

TEXT, PAIR = "text", "text_pair"
IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
LABEL, SCORE, SCORES, LOGITS = "label", "score", "scores", "logits"
PREDICTED, TRUNCATED, ABSTAINED = "predicted", "truncated", "abstained"
BINARY_HEADER = "inference-header-content-length"
BINARY = "binary tensors are not taken: send JSON (tritonclient: binary_data=False)"
EXTENSIONS = ["model_repository"]
MOST_DIMENSIONS = 8
"""Of a tensor. A body has room for many more, and each one takes a look at all values."""


class Tensor(msgspec.Struct):
    """An input."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)


class Wanted(msgspec.Struct):
    """An output that is asked for."""

    name: str


class InferRequest(msgspec.Struct):
    """`POST /v2/models/{m}/infer`."""

    inputs: list[Tensor]
    outputs: list[Wanted] = msgspec.field(default_factory=list)
    id: str | None = None


decoder = msgspec.json.Decoder(InferRequest)


def describe(deployment: Deployment, version: str) -> dict[str, Any]:
    """The model's metadata."""
    contract = deployment.contract
    texts = [TEXT, PAIR] if contract.pair else [TEXT]
    tokens = [name for name in (IDS, MASK, TYPES) if name in contract.inputs]
    classes = len(contract.labels)
    return {
        "name": deployment.name,
        "versions": [version],
        "platform": f"ftx_{deployment.variant.format}",
        "inputs": [
            *({"name": name, "datatype": "BYTES", "shape": [-1]} for name in texts),
            *({"name": name, "datatype": "INT64", "shape": [-1, -1]} for name in tokens),
        ],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1, classes] if each else [-1]}
            for name, (datatype, each) in _outputs(contract).items()
        ],
    }


def _outputs(contract: Contract) -> dict[str, tuple[str, bool]]:
    """Name -> datatype, and whether there is a value for each class, not one for each text."""
    outputs = {SCORE: ("FP32", False), LOGITS: ("FP32", True), TRUNCATED: ("BOOL", False)}
    if contract.task != REGRESSION:
        outputs = {LABEL: ("BYTES", False), SCORES: ("FP32", True), **outputs}
    if contract.task == MULTI_LABEL:
        outputs[PREDICTED] = ("BOOL", True)
    if contract.abstain_below is not None:
        outputs[ABSTAINED] = ("BOOL", False)
    return outputs


_DEFAULTS = {REGRESSION: [SCORE], MULTI_LABEL: [SCORES, PREDICTED]}
"""Task -> what is answered to texts where nothing else is asked for; of any other task label and scores."""


def understand(request: InferRequest, contract: Contract, vocabulary: int) -> tuple[list[Source], list[str]]:
    """The sources, and the names of the outputs. Raises `Refused` for what the model does not take."""
    if contract.task == TOKEN_CLASSIFICATION:
        raise _invalid(
            "this protocol has tensors, and a text may have any number of entities: POST /predict answers them"
        )
    given = {tensor.name: tensor for tensor in request.inputs}
    if len(given) != len(request.inputs):
        raise _invalid("an input is given twice")
    texts = {TEXT, PAIR} if contract.pair else {TEXT}
    tokens = {IDS, MASK, TYPES} & set(contract.inputs)
    if set(given) == texts:
        sources = _texts(given, contract)
        defaults = _DEFAULTS.get(contract.task, [LABEL, SCORES])
    elif IDS in given and set(given) <= tokens:
        sources = _tokens(given, contract, vocabulary)
        defaults = [LOGITS]
    else:
        raise _invalid(f"the inputs are either {' and '.join(sorted(texts))}, or {IDS} with {MASK} and the like")
    wanted = [output.name for output in request.outputs] or defaults
    if len(set(wanted)) != len(wanted):
        raise _invalid("an output is asked for twice")
    if unknown := set(wanted) - set(_outputs(contract)):
        raise _invalid(f"{len(unknown)} unknown outputs; there are {', '.join(_outputs(contract))}")
    return sources, wanted


def respond(request: InferRequest, answered: Answered, version: str, wanted: Sequence[str]) -> dict[str, Any]:
    rows, classes = answered.logits.shape
    kinds = _outputs(answered.deployment.contract)
    outputs = [
        {
            "name": name,
            "datatype": kinds[name][0],
            "shape": [rows, classes] if kinds[name][1] else [rows],
            "data": _values(name, answered),
        }
        for name in wanted
    ]
    identity = {} if request.id is None else {"id": request.id}
    return {"model_name": answered.deployment.name, "model_version": version, **identity, "outputs": outputs}


def _values(name: str, answered: Answered) -> list[Any]:
    """In row-major order."""
    if name == LABEL:
        return [answered.deployment.contract.labels[place] for place in answered.best]
    if name == SCORE:
        return list(answered.scores.max(axis=1).tolist())
    if name in (TRUNCATED, ABSTAINED):
        return answered.truncated if name == TRUNCATED else answered.abstained
    if name == PREDICTED:
        return list(answered.decoder.decide(answered.logits).ravel().tolist())
    return list((answered.scores if name == SCORES else answered.logits).ravel().tolist())


def check_version(version: str, known: str) -> None:
    """Raises `HttpError` 404."""
    if version != known:
        raise HttpError(404, "not_found", f"there is no such version; there is {known}")


def _texts(given: dict[str, Tensor], contract: Contract) -> list[Source]:
    columns = [_flat(given[name], "BYTES") for name in ([TEXT, PAIR] if contract.pair else [TEXT])]
    if any(not isinstance(value, str) for column in columns for value in column):
        raise _invalid("a text is not a string")
    if len({len(column) for column in columns}) != 1:
        raise _invalid("there are not as many second texts as texts")
    if not all(all(column) for column in columns):
        raise Refused(Reason.EMPTY, "a text is empty")
    return [Source(*row) for row in zip(*columns, strict=True)]


def _tokens(given: dict[str, Tensor], contract: Contract, vocabulary: int) -> list[Source]:
    shape = given[IDS].shape
    if len(shape) != 2 or any(tensor.shape != shape for tensor in given.values()):
        raise _invalid("the inputs are not all of one shape [rows, tokens]")
    rows, length = shape
    if not 0 < length <= contract.max_length:
        raise _invalid(f"rows have 1 to {contract.max_length} tokens")
    values = {name: _flat(tensor, "INT64") for name, tensor in given.items()}
    limits = {IDS: vocabulary, MASK: 2, TYPES: 2}
    for name, flat in values.items():
        # An id beyond the table would be read from wherever it points to.
        if not all(type(value) is int and 0 <= value < limits[name] for value in flat):
            raise _invalid(f"{name} holds something else than integers from 0 to {limits[name] - 1}")
    ones, zeros = [1] * (rows * length), [0] * (rows * length)
    columns = [values[IDS], values.get(MASK, ones), values.get(TYPES, zeros)]
    return [
        Source("", tokens=TokenIds(*(tuple(column[row * length : (row + 1) * length]) for column in columns)))
        for row in range(rows)
    ]


def _flat(tensor: Tensor, datatype: str) -> list[Any]:
    """The tensor's values in row-major order; they may come nested."""
    if tensor.datatype != datatype:
        raise _invalid(f"an input is not {datatype}")
    if tensor.data is None or "binary_data_size" in tensor.parameters:
        raise _invalid(BINARY)
    if len(tensor.shape) > MOST_DIMENSIONS:
        raise _invalid(f"an input has more than {MOST_DIMENSIONS} dimensions")
    values = tensor.data
    for _ in tensor.shape[1:]:
        if all(isinstance(value, list) for value in values):
            values = [inner for value in values for inner in value]
    size = math.prod(tensor.shape) if tensor.shape else 0
    if len(values) != size or min(tensor.shape, default=0) < 0:
        raise _invalid("an input holds another number of values than its shape says")
    if size == 0:
        raise Refused(Reason.EMPTY, "there is nothing to classify: an input is empty")
    return values


def _invalid(message: str) -> Refused:
    return Refused(Reason.VALIDATION, message)
