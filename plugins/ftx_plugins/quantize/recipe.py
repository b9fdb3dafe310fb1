"""A recipe says how a model is quantized; it is decided on a checkpoint, and carried out at export for each format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from ftx.errors import FtxError


@dataclass(frozen=True)
class Recipe:
    """How to quantize a model.

    Dynamic: weights are quantized once, symmetrically; activations at each call, over the whole batch, with the range
    that they have there. Such a model is therefore not batch-invariant.
    """

    scheme: Literal["dynamic"] = "dynamic"
    activations: Literal["uint8"] = "uint8"
    weights: Literal["int8"] = "int8"
    per_channel: bool = True
    """A scale for each output channel of a weight, instead of one for the whole."""
    embeddings: bool = False
    reduce_range: bool = False
    """Weights in 7 bits: older x86 processors add two products in 16 bits, which 8 bits can overflow."""
    exclude: tuple[str, ...] = ()
    """Patterns of module names that stay in fp32."""

    @property
    def precision(self) -> str:
        return "int8"

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Recipe:
        """The recipe in a manifest's `meta["recipe"]`; `FtxError` if this version does not know it."""
        if raw.get("scheme") != "dynamic":
            raise FtxError(
                f"a recipe of the scheme {raw.get('scheme')!r} is not known here",
                "install the plugin that made it, or quantize again: ftx run quantize",
            )
        return cls(**{**raw, "exclude": tuple(raw.get("exclude", ()))})

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "exclude": list(self.exclude)}

    def included(self, names: Iterable[str]) -> list[str]:
        """Those of the module `names` that are quantized.

        A pattern stands for the modules that it matches (`*` matches dots too) and all below them. One that matches
        no name is an error.
        """
        names = list(names)
        for pattern in self.exclude:
            if not any(_matches(name, pattern) for name in names):
                raise FtxError(
                    f"exclude = {pattern!r} matches none of the layers that would be quantized",
                    f"their names are such as {_some(names)}",
                    "correct or remove it: [quantize.dynamic] exclude",
                )
        return [name for name in names if not any(_matches(name, pattern) for pattern in self.exclude)]


def simulate(model: Any, recipe: Recipe) -> Any:
    """A torch model, on the processor, that computes what `recipe` makes of `model`, which stays as it is."""
    from ftx_plugins.quantize import torch_dynamic

    return torch_dynamic.quantize(model, recipe)


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[: end + 1]), pattern) for end in range(len(parts)))


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:2], *names[-2:]] if len(names) > 4 else names) or "(there are none)"
