"""LoRA: the encoder's linear layers stay as they are, and a product of two narrow matrices beside each one trains.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". The adapters are peft's. They are put into
the model itself, which so keeps its class and its names for all that looks at them, and are merged into the weights at
the end: the checkpoint is an ordinary one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import LoraConfig, LoraModel
from safetensors.torch import load_file
from torch import nn

from ftx import FtxError
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.freeze import encoder_layers
from ftx_plugins.train.head import is_head_parameter

WEIGHTS = "model.safetensors"


def add_adapters(model: Any, config: TrainConfig) -> LoraModel:
    """Put adapters into the encoder's layers that train, and freeze all else but them and the head.

    Raises `FtxError` where one of `train.lora_targets` names none of the linear layers.
    """
    heads = [parameter for name, parameter in model.named_parameters() if is_head_parameter(model, name)]
    options = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=_chosen(_linear_layers(model, config.unfreeze_last), config.lora_targets),
    )
    adapted = LoraModel(model, {"default": options}, "default")
    for parameter in heads:
        parameter.requires_grad_(True)
    return adapted


def load_merged(adapted: LoraModel, save: Path) -> Any:
    """The model with the weights that a save holds of it, and its adapters merged into them."""
    adapted.model.load_state_dict(load_file(save / WEIGHTS))
    return adapted.merge_and_unload()


def _linear_layers(model: Any, last: int | None) -> dict[str, str]:
    """The linear layers of the encoder's `last` layers (None: of all), by their names in the model: their names
    within a layer, such as `attention.self.query`."""
    layers = encoder_layers(model)
    chosen = {id(layer) for layer in (layers if last is None else layers[len(layers) - last :])}
    return {
        f"{name}.{inner}": inner
        for name, layer in model.named_modules()
        if id(layer) in chosen
        for inner, module in layer.named_modules()
        if isinstance(module, nn.Linear)
    }


def _chosen(linear: dict[str, str], targets: tuple[str, ...]) -> list[str]:
    """The layers whose names within their layer are, or end in, one of the `targets`; all, where none are given."""

    def fits(inner: str, target: str) -> bool:
        return f".{inner}".endswith(f".{target}")

    known = ", ".join(dict.fromkeys(linear.values()))
    if not linear:
        raise FtxError("the encoder's layers have no linear layers for LoRA", "leave train.lora_rank out")
    if unmatched := [target for target in targets if not any(fits(inner, target) for inner in linear.values())]:
        raise FtxError(
            f"train.lora_targets: no linear layer is called {', '.join(unmatched)}; there are {known}",
            "name some of these, or the ends of their names; leave train.lora_targets out for all of them",
        )
    return [name for name, inner in linear.items() if not targets or any(fits(inner, one) for one in targets)]
