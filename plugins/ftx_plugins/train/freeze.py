"""Training only the last layers of an encoder."""

from __future__ import annotations

from typing import Any

from torch import nn

from ftx import FtxError
from ftx_plugins.train.head import is_head_parameter


def unfreeze_last(model: Any, count: int) -> int:
    """Freeze all but the head and the last `count` encoder layers; returns the number of parameters frozen.

    Raises `FtxError` where the encoder has fewer layers, or where its layers cannot be told.
    """
    layers = encoder_layers(model)
    if count > len(layers):
        raise FtxError(
            f"train.unfreeze_last = {count}, but the encoder has {len(layers)} layers",
            f"set train.unfreeze_last to at most {len(layers)}, or leave it out to train all",
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad = is_head_parameter(model, name)
    for layer in layers[len(layers) - count :]:
        layer.requires_grad_(True)
    for module in getattr(model, model.base_model_prefix).children():
        _hold(module)
    frozen: int = sum(parameter.numel() for parameter in model.parameters() if not parameter.requires_grad)
    if not frozen:
        raise FtxError(
            f"nothing of {type(model).__name__} could be frozen", "leave train.unfreeze_last out to train all"
        )
    return frozen


def _hold(module: nn.Module) -> None:
    """Keep what is frozen in evaluation mode: dropout there would be noise that nothing learns from."""
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        module.eval()
        # `model.train()` calls this for each of its children.
        module.train = lambda mode=True: module  # type: ignore[method-assign]
        return
    for child in module.children():
        _hold(child)


def encoder_layers(model: Any) -> list[nn.Module]:
    """The encoder's layers, first to last: its outermost list of as many modules as its configuration has layers."""
    encoder = getattr(model, model.base_model_prefix)
    wanted = model.config.num_hidden_layers
    lists = [
        (name.count("."), list(module))
        for name, module in encoder.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == wanted
    ]
    depth = min((depth for depth, _ in lists), default=0)
    outermost = [layers for found, layers in lists if found == depth]
    if len(outermost) != 1:
        raise FtxError(
            f"the layers of {type(encoder).__name__} cannot be told apart",
            "train all of them alike: leave train.unfreeze_last, train.lora_rank and train.layer_decay out",
        )
    return outermost[0]
