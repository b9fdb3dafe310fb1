"""`export:numpy`: a variant that the runtime `numpy` executes, tried against torch before it joins the bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from ftx import Artifact, Bundle, Context, FtxError
from ftx_numpy_runtime.config import NumpyConfig
from ftx_numpy_runtime.session import SETTINGS, load
from ftx_plugins.checkpoint import LoadedCheckpoint, load_checkpoint
from ftx_plugins.export import parity
from ftx_plugins.export.draft import Draft
from ftx_plugins.export.rows import read_rows, spread_by_length, texts_of
from ftx_plugins.export.tokenizer import backend_tokenizer, check_tokenizer, contract_of
from ftx_plugins.export.workshop import Blueprint, Workshop
from ftx_plugins.quantize.torch_session import TorchSession
from ftx_serving.encoder import TextEncoder

FORMAT = "numpy"


def run(config: NumpyConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Write the variant `numpy-fp32`, into the bundle of the same model if there is one.

    Raises `FtxError` for a model that is no plain BERT, and for one whose logits differ from torch's by more than 1e-4.
    """
    model, data = inputs["model"], inputs["data"]
    loaded = load_checkpoint(model.path, trust_remote_code=context.model.trust_remote_code)
    refuse_unless_bert(loaded)
    rows = read_rows(data)
    contract = contract_of(loaded, pair=rows[0].pair is not None, tolerance=data.meta.get("tolerance"))
    encoder = TextEncoder(backend_tokenizer(loaded), contract)
    lengths = [len(encoding) for encoding in encoder.encode(*texts_of(rows))]
    tried = spread_by_length(rows, lengths, config.parity_texts)
    check_tokenizer(loaded, encoder, tried)
    draft = extended(inputs.get("bundle"), model, context) or Draft.start(
        context.out, loaded, encoder, spread_by_length(rows, lengths, config.golden_texts)
    )
    cases = parity.make_cases(encoder, tried, context.seed)
    workshop = Workshop(draft, cases, context, total=1)
    blueprint = Blueprint(
        format=FORMAT,
        precision="fp32",
        runtime="numpy",
        file="model.safetensors",
        write=lambda path: write(loaded, path),
        open=load,
    )
    expected = parity.run_cases(TorchSession(loaded.model), cases)
    workshop.build(blueprint, expected, "torch fp32", workshop.fp32)
    lineage = {"model": model.digest, "data": data.digest}
    draft.finish(context, lineage=lineage, recipe=model.meta.get("recipe"), base=model.meta.get("base"))
    return {"variants": workshop.metrics}


def refuse_unless_bert(loaded: LoadedCheckpoint) -> None:
    config = loaded.model.config
    if config.model_type != "bert" or config.hidden_act != "gelu":
        raise FtxError(
            f"the runtime numpy computes BERT with GELU, and this is {config.model_type} with "
            f"{getattr(config, 'hidden_act', 'another activation')}",
            "export another format: ftx run export:onnx",
        )


def extended(bundle: Artifact | None, model: Artifact, context: Context) -> Draft | None:
    """The bundle exported before, if it is of this model."""
    if isinstance(bundle, Bundle) and bundle.meta.get("lineage", {}).get("model") == model.digest:
        return Draft.extend(context.out, bundle, without=[FORMAT])
    return None


def write(loaded: LoadedCheckpoint, path: Path) -> None:
    """The weights, and what the runtime has to know besides."""
    config = loaded.model.config
    settings = {
        "layers": config.num_hidden_layers,
        "head_size": config.hidden_size // config.num_attention_heads,
        "epsilon": config.layer_norm_eps,
    }
    tensors = {
        name: value.contiguous() for name, value in loaded.model.state_dict().items() if value.is_floating_point()
    }
    save_file(tensors, path, metadata={SETTINGS: json.dumps(settings)})
