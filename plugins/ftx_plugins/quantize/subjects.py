"""What is quantized: a torch model, or the fp32 ONNX variant of a bundle. Both are looked into the same way."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnx import numpy_helper
from torch import nn

from ftx_plugins.export.onnx_quantizer import EMBEDDING, LINEAR, module_of, weighted_nodes
from ftx_plugins.export.onnx_static import quantize_onnx_static, weight_of
from ftx_plugins.quantize.recipe import Recipe, simulate
from ftx_plugins.quantize.torch_session import TorchSession
from ftx_serving.encoder import Feed
from ftx_serving.runtimes import Session
from ftx_serving.runtimes import onnxruntime as onnxruntime_runtime

Inputs = Iterable[tuple[tuple[str, ...], np.ndarray]]
"""Names of the linear layers that share an input, and that input, float32 of shape (tokens, channels)."""


class Subject(Protocol):
    """A model that a static recipe is looked for."""

    def weights(self) -> Mapping[str, np.ndarray]:
        """Linear layer -> its weight, float32 of shape (out, in)."""
        ...

    def parameters(self) -> Mapping[str, int]:
        """Linear layer or embedding -> how many values its weight has."""
        ...

    def modules(self, recipe: Recipe) -> list[str]:
        """Names of the modules that the recipe quantizes; `FtxError` where its `exclude` matches nothing."""
        ...

    def inputs(self, feed: Feed) -> Inputs:
        """What the linear layers take in on one batch."""
        ...

    def session(self, recipe: Recipe | None) -> Session:
        """The model with the recipe carried out; None: as it is."""
        ...


class TorchSubject:
    """A torch model on the processor, in evaluation mode."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def weights(self) -> dict[str, np.ndarray]:
        return {
            name: module.weight.detach().numpy()
            for name, module in self._model.named_modules()
            if type(module) is nn.Linear
        }

    def parameters(self) -> dict[str, int]:
        kinds = (nn.Linear, nn.Embedding)
        modules = self._model.named_modules()
        return {name: module.weight.numel() for name, module in modules if type(module) in kinds}

    def modules(self, recipe: Recipe) -> list[str]:
        from ftx_plugins.quantize.torch_dynamic import layer_names

        return layer_names(self._model, recipe)

    def inputs(self, feed: Feed) -> Inputs:
        # The tensors are kept until the forward pass is over: until then no other can have their identity.
        seen: dict[int, tuple[list[str], torch.Tensor]] = {}

        def note(name: str) -> Any:
            return lambda module, args: seen.setdefault(id(args[0]), ([], args[0]))[0].append(name)

        linear = [(name, module) for name, module in self._model.named_modules() if type(module) is nn.Linear]
        hooks = [module.register_forward_pre_hook(note(name)) for name, module in linear]
        try:
            with torch.inference_mode():
                self._model(**{name: torch.from_numpy(values) for name, values in feed.items()})
        finally:
            for hook in hooks:
                hook.remove()
        return [(tuple(names), tensor.flatten(0, -2).numpy()) for names, tensor in seen.values()]

    def session(self, recipe: Recipe | None) -> Session:
        return TorchSession(self._model if recipe is None else simulate(self._model, recipe))


class OnnxSubject:
    """An fp32 ONNX file as the exporter writes it; what is made of it goes into the folder `work`."""

    def __init__(self, file: Path, work: Path) -> None:
        self._file = file
        self._work = work
        self._model = onnx.load(str(file))
        linear = weighted_nodes(self._model.graph, LINEAR)
        self._nodes = {node.name: node for node in self._model.graph.node if node.name in linear}
        self._looking_in = self._session_with_inputs()

    def weights(self) -> dict[str, np.ndarray]:
        constants = {tensor.name: tensor for tensor in self._model.graph.initializer}
        return {
            module_of(name): weight_of(node, numpy_helper.to_array(constants[node.input[1]]))
            for name, node in self._nodes.items()
        }

    def parameters(self) -> dict[str, int]:
        sizes = {tensor.name: math.prod(tensor.dims) for tensor in self._model.graph.initializer}
        kinds = weighted_nodes(self._model.graph, (*LINEAR, *EMBEDDING))
        nodes = [node for node in self._model.graph.node if node.name in kinds]
        weights = {node.name: node.input[0 if node.op_type in EMBEDDING else 1] for node in nodes}
        return {module_of(name): sizes[weight] for name, weight in weights.items()}

    def modules(self, recipe: Recipe) -> list[str]:
        nodes = weighted_nodes(self._model.graph, (*LINEAR, *EMBEDDING) if recipe.embeddings else LINEAR)
        return recipe.included(dict.fromkeys(map(module_of, nodes)))

    def inputs(self, feed: Feed) -> Inputs:
        sharing: dict[str, list[str]] = {}
        for name, node in self._nodes.items():
            sharing.setdefault(node.input[0], []).append(module_of(name))
        given = {value.name for value in self._looking_in.get_inputs()}
        arrays = self._looking_in.run(list(sharing), {name: array for name, array in feed.items() if name in given})
        return [
            (tuple(names), array.reshape(-1, array.shape[-1]))
            for names, array in zip(sharing.values(), arrays, strict=True)
        ]

    def session(self, recipe: Recipe | None) -> Session:
        if recipe is None:
            return onnxruntime_runtime.load(self._file.parent, {"file": self._file.name})
        file = self._work / "tried.onnx"
        quantize_onnx_static(self._file, file, recipe)
        return onnxruntime_runtime.load(file.parent, {"file": file.name})

    def _session_with_inputs(self) -> ort.InferenceSession:
        """A session that also returns what the linear layers take in."""
        widened = self._work / "widened.onnx"
        model = onnx.load(str(self._file))
        there = {value.name for value in model.graph.output}
        for name in dict.fromkeys(node.input[0] for node in self._nodes.values()):
            if name not in there:
                model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
        onnx.save_model(model, str(widened))
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(str(widened), options, providers=["CPUExecutionProvider"])
        widened.unlink()
        return session
