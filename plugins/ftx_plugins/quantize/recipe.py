"""A recipe says how a model is quantized; it is decided on a checkpoint, and carried out at export for each format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, get_args

from ftx.errors import FtxError

if TYPE_CHECKING:
    import numpy as np

Scheme = Literal["dynamic", "static", "cast"]
Calibration = Literal["min-max", "percentile", "entropy"]
"""How the range of a layer's input is chosen from what calibration saw there."""
REACHES: Mapping[str, tuple[str, ...]] = {
    "dynamic": ("onnx", "torchscript"),
    "static": ("openvino", "onnx", "torchscript"),
    "bf16": ("openvino",),
    "fp16": ("onnx",),
}
"""Scheme (of a cast, its type) -> the formats that it can be carried out for; the others get fp32 alone."""
MEMBERS = "members"
"""What the names of an ensemble's modules begin with: `members.0.…`, and so on."""
LayerKey = tuple[float, float, bytes]
TOP_LEVEL = 127
"""Of symmetric int8 levels."""
_STATIC_ALONE = ("calibration", "smooth", "rows", "data")


@dataclass(frozen=True)
class LayerInput:
    """What a static recipe knows of a linear layer's input: the range that it quantizes, and the divisors.

    Each channel is divided by its divisor first (the range is that of the quotients), and the layer's weight multiplied
    by it. None: nothing is divided.
    """

    low: float
    high: float
    divisors: np.ndarray | None = None
    """float32, shape (channels,); powers of two, so that dividing and multiplying round nothing."""

    @property
    def key(self) -> LayerKey:
        """The same for layers that quantize an input alike."""
        return self.low, self.high, b"" if self.divisors is None else self.divisors.tobytes()


@dataclass(frozen=True)
class Recipe:
    """How to quantize a model.

    Dynamic: weights are quantized once, symmetrically; activations at each call, over the whole batch, with the range
    that they have there. Such a model is therefore not batch-invariant. Static: the inputs of linear layers have
    ranges of their own, found by calibration, and no text depends on its neighbours. Cast: all is computed in a float
    type of 16 bits.
    """

    scheme: Scheme = "dynamic"
    activations: Literal["uint8", "int8", "bf16", "fp16"] = "uint8"
    weights: Literal["int8", "bf16", "fp16"] = "int8"
    per_channel: bool = True
    """A scale for each output channel of a weight, instead of one for the whole."""
    embeddings: bool = False
    reduce_range: bool = False
    """Weights in 7 bits: older x86 processors add two products in 16 bits, which 8 bits can overflow."""
    exclude: tuple[str, ...] = ()
    """Patterns of module names that stay in fp32."""
    calibration: Calibration | None = None
    smooth: float = 0.0
    """Strength of smoothing, from 0 (none) to 1; see `ftx_plugins.quantize.calibration.divisors_of`."""
    rows: int = 0
    """How many rows calibrated it."""
    data: str = ""
    """Digest of the data set, or of the file, that these are from."""
    inputs: Mapping[str, LayerInput] = field(default_factory=dict, compare=False, repr=False)
    """Layer -> its input; static alone. Not in the manifest: a file beside the weights holds it."""

    @property
    def top_level(self) -> int:
        """Of a weight's int8 levels, which are symmetric."""
        return 64 if self.reduce_range else TOP_LEVEL

    @property
    def precision(self) -> str:
        return "int8" if self.weights == "int8" else self.weights

    @property
    def batch_invariant(self) -> bool:
        return self.scheme != "dynamic"

    @property
    def reaches(self) -> tuple[str, ...]:
        """The formats that it can be carried out for."""
        return REACHES[self.weights if self.scheme == "cast" else self.scheme]

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Recipe:
        """The recipe in a manifest's `meta["recipe"]`, without `inputs`; `FtxError` if this version does not know it.

        `ftx_plugins.quantize.calibration.load_recipe` reads the inputs too.
        """
        known = {name.name for name in fields(cls)}
        if raw.get("scheme") not in get_args(Scheme) or not set(raw) <= known:
            raise FtxError(
                f"a recipe of the scheme {raw.get('scheme')!r} is not known here",
                "install the plugin that made it, or quantize again: ftx run quantize",
            )
        return cls(**{**raw, "exclude": tuple(raw.get("exclude", ()))})

    def to_dict(self) -> dict[str, Any]:
        """What the manifest says: all but `inputs`."""
        left_out = {"inputs", *(() if self.scheme == "static" else _STATIC_ALONE)}
        values = {name.name: getattr(self, name.name) for name in fields(self) if name.name not in left_out}
        return {**values, "exclude": list(self.exclude)}

    def included(self, names: Iterable[str]) -> list[str]:
        """Those of the module `names` that are quantized.

        A pattern stands for the modules that it matches (`*` matches dots too) and all below them, in an ensemble for
        those of each member. One that matches no name is an error.
        """
        names = list(names)
        for pattern in self.exclude:
            if not any(_matches(name, pattern) for name in names):
                raise FtxError(
                    f"exclude = {pattern!r} matches none of the layers that would be quantized",
                    f"their names are such as {_some(names)}",
                    "correct or remove it: [quantize] exclude",
                )
        return [name for name in names if not any(_matches(name, pattern) for pattern in self.exclude)]

    def input_of(self, layer: str) -> LayerInput:
        """What the recipe knows of the input of `layer`; `FtxError` where calibration never saw it."""
        if layer not in self.inputs:
            raise FtxError(
                f"the recipe has no range for the input of {layer}",
                "quantize again: ftx run quantize:static",
                "or leave the layer out: [quantize] exclude",
            )
        return self.inputs[layer]


def simulate(model: Any, recipe: Recipe) -> Any:
    """A torch model, on the processor, that computes what `recipe` makes of `model`, which stays as it is."""
    from ftx_plugins.quantize import torch_cast, torch_dynamic, torch_static

    quantize = {"dynamic": torch_dynamic.quantize, "static": torch_static.quantize, "cast": torch_cast.cast}
    return quantize[recipe.scheme](model, recipe)


def lower_in_torch(model: Any, recipe: Recipe) -> Any:
    """The same as a module to be traced, whose linear layers multiply in integers."""
    from ftx_plugins.quantize import torch_static

    return torch_static.lower(model, recipe) if recipe.scheme == "static" else simulate(model, recipe)


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    if parts[0] == MEMBERS and len(parts) > 2 and _matches(".".join(parts[2:]), pattern):
        return True
    return any(fnmatchcase(".".join(parts[: end + 1]), pattern) for end in range(len(parts)))


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:2], *names[-2:]] if len(names) > 4 else names) or "(there are none)"
