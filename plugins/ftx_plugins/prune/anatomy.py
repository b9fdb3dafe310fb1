"""A model taken apart: its layers, and the linear layers of each that heads and FFN neurons live in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimum.utils import NormalizedConfigManager
from torch import nn

from ftx import Architecture, FtxError

ADD_ONE = "or let a plugin add the family: the hook ftx_architectures"


@dataclass(frozen=True)
class Attention:
    """The attention of one layer. Units are heads; each has `size` columns of `out`, and as many rows of a projection.

    Of `into` each linear layer holds `blocks` projections on top of each other (3 where query, key and value are
    packed into one).
    """

    into: tuple[nn.Linear, ...]
    out: nn.Linear
    size: int

    @property
    def blocks(self) -> int:
        return 3 // len(self.into)

    @property
    def units(self) -> int:
        return self.out.in_features // self.size


@dataclass(frozen=True)
class FeedForward:
    """The feed-forward network of one layer. Units are neurons, each a column of `out` and a row of each of `into`.

    With a gate there are two projections: two linear layers, or one of two `blocks`.
    """

    into: tuple[nn.Linear, ...]
    out: nn.Linear
    gated: bool

    size = 1

    @property
    def blocks(self) -> int:
        return (2 if self.gated else 1) // len(self.into)

    @property
    def units(self) -> int:
        return self.out.in_features


Sublayer = Attention | FeedForward


@dataclass(frozen=True)
class Anatomy:
    """`layers` is the model's own list; `head_size` is the width of a head."""

    model: Any
    architecture: Architecture
    layers: nn.ModuleList
    head_size: int
    hidden_size: int

    def attention(self, layer: int) -> Attention:
        parts = self.architecture
        into = tuple(self._linear(layer, name) for name in parts.attention_in)
        return Attention(into, self._linear(layer, parts.attention_out), self.head_size)

    def feed_forward(self, layer: int) -> FeedForward:
        parts = self.architecture
        into = tuple(self._linear(layer, name) for name in parts.ffn_in)
        return FeedForward(into, self._linear(layer, parts.ffn_out), parts.gated)

    def sublayers(self) -> list[Sublayer]:
        """Attention and feed-forward network of each layer in turn: the order that they are computed in."""
        return [part for layer in range(len(self.layers)) for part in (self.attention(layer), self.feed_forward(layer))]

    def linears(self) -> list[nn.Linear]:
        """All linear layers of the encoder's layers."""
        return [linear for part in self.sublayers() for linear in (*part.into, part.out)]

    def heads(self) -> list[int]:
        return [self.attention(layer).units for layer in range(len(self.layers))]

    def widths(self) -> list[int]:
        return [self.feed_forward(layer).units for layer in range(len(self.layers))]

    def _linear(self, layer: int, name: str) -> nn.Linear:
        try:
            module = self.layers[layer].get_submodule(name)
        except AttributeError:
            module = None
        if not isinstance(module, nn.Linear):
            raise FtxError(
                f"layer {layer} of {type(self.model).__name__} has no linear layer {name}, "
                f"which the architecture {self.architecture.name} says it has",
                "correct the architecture in the plugin that adds it: ftx plugins",
            )
        return module


def dissect(model: Any, architectures: Mapping[str, Architecture]) -> Anatomy:
    """The model taken apart by the architecture of its family; `FtxError` for a family that is not known."""
    config = model.config
    architecture = architectures.get(config.model_type)
    if architecture is None:
        known = ", ".join(sorted(architectures))
        raise FtxError(
            f"a {config.model_type} model cannot be pruned: it is not known where it keeps its layers",
            f"start from a model of one of these families: {known}",
            ADD_ONE,
        )
    layers = model.base_model.get_submodule(architecture.layers)
    facts = _normalized(config)
    return Anatomy(
        model, architecture, layers, facts.hidden_size // facts.num_attention_heads, hidden_size=facts.hidden_size
    )


def _normalized(config: Any) -> Any:
    """The configuration under names that do not depend on the family, as optimum has them where it knows it."""
    try:
        return NormalizedConfigManager.get_normalized_config_class(config.model_type)(config)
    except KeyError:
        return config
