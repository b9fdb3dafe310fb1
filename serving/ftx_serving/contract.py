"""What a bundle promises: labels, limits, inputs, and its variants. Kept in the `meta` of its manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from ftx_serving import windows
from ftx_serving.decoding import Decoder, decoder_of

TOKENIZER_FILE = "tokenizer.json"
GOLDEN_FILE = "golden.jsonl"


@dataclass(frozen=True)
class Variant:
    """One exported file set inside a bundle."""

    name: str
    """Format and precision, such as `onnx-int8`."""
    format: str
    precision: str
    runtime: str
    """The runtime that it was checked with."""
    file: str
    """The file that the runtime opens, relative to the bundle."""
    files: tuple[str, ...]
    """Every file of the variant, `file` included."""
    size_bytes: int
    devices: tuple[str, ...] = ("cpu",)
    batch_invariant: bool = True
    """Whether the texts that share its batch have no part in a text's logits, and changed no label when it was tried.

    How a sum is rounded may still depend on the shape of the batch: `parity["batch_spread"]` says by how much."""
    temperature: float = 1.0
    """What the logits are divided by before they become probabilities; the label with the highest stays the same.

    Fitted on validation rows (temperature scaling, Guo et al. 2017), so that scores say how often they are right."""
    tolerance: Mapping[str, float] = field(default_factory=dict)
    """What the parity checks allowed, on the logits."""
    parity: Mapping[str, Any] = field(default_factory=dict)
    """What they measured: `against`, `max_difference`, `rms_difference`, the largest difference of each of `cases`, and
    in batches against alone `batch_spread` (logits) and `batch_flips` (share of the texts)."""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Variant:
        known: dict[str, Any] = {name.name: raw[name.name] for name in fields(cls) if name.name in raw}
        return cls(**{**known, "files": tuple(raw["files"]), "devices": tuple(raw["devices"])})

    def to_dict(self) -> dict[str, Any]:
        return _jsonable(asdict(self))


@dataclass(frozen=True)
class Contract:
    """All that turns a text into logits and logits into labels, the weights apart."""

    labels: tuple[str, ...]
    """Label names in the order of the logits."""
    max_length: int
    """The longest input in tokens, special tokens included."""
    inputs: tuple[str, ...]
    """Names of the model's inputs, in order."""
    pad_token_id: int
    task: str = "text-classification"
    thresholds: tuple[float, ...] = ()
    """Multi-label: the probability from which on each label is predicted, in their order; none: 0.5."""
    tolerance: float | None = None
    """Regression: by how much a prediction may move and still count as the same, in units of the target."""
    pair: bool = False
    """Whether the model was trained on pairs of texts."""
    pad_token_type_id: int = 0
    padding_side: Literal["left", "right"] = "right"
    truncation_side: Literal["left", "right"] = "right"
    long_text: Literal["truncate", "window"] = "truncate"
    """A text longer than `max_length` is cut, or read in windows whose logits are averaged."""
    abstain_below: float | None = None
    """One label a text: the score of the best label below which the answer says that the model abstains."""
    variants: tuple[Variant, ...] = ()
    """In order of preference."""

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Contract:
        """The contract in a bundle's `meta`; keys that are no part of it are left alone."""
        known: dict[str, Any] = {name.name: meta[name.name] for name in fields(cls) if name.name in meta}
        variants = tuple(Variant.from_dict(raw) for raw in meta.get("variants", ()))
        known |= {name: tuple(known[name]) for name in ("labels", "inputs", "thresholds") if name in known}
        return cls(**{**known, "variants": variants})

    @cached_property
    def decoder(self) -> Decoder:
        """What reads the logits."""
        return decoder_of(self.task, self.labels, thresholds=self.thresholds, tolerance=self.tolerance)

    @property
    def most_tokens(self) -> int:
        """Tokens of one text at most, those of all its windows together."""
        return self.max_length * (windows.MOST if self.long_text == "window" else 1)

    def to_meta(self) -> dict[str, Any]:
        return _jsonable(asdict(self))


def _jsonable(values: dict[str, Any]) -> dict[str, Any]:
    """The same with lists for tuples, as it will be read back."""
    return {name: _listed(value) for name, value in values.items()}


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return _jsonable(value)
    return [_listed(item) for item in value] if isinstance(value, tuple | list) else value
