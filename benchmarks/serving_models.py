"""The models and texts of `benchmarks/serving.py`: made once, kept in the store of `benchmarks/compression.py`.

    python benchmarks/serving_models.py FOLDER

Writes `FOLDER/models.json`, a `Models`. It is a process of its own so that torch is gone when servers are measured.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import compression
from onnxruntime.quantization import QuantType, quantize_dynamic

from ftx.artifacts import Artifact
from ftx.testing import tiny
from ftx_plugins.data.splits import load_rows
from ftx_serving.contract import TOKENIZER_FILE, Contract

TEXTS = 1500


@dataclass(frozen=True)
class Models:
    """Paths, as strings; and the texts that are sent."""

    checkpoint: str
    """The fine-tuned model, a Hugging Face folder."""
    unpruned: str
    """Its bundle."""
    half: str
    """The bundle of the model pruned to half of its operations."""
    dynamic_int8: str
    """The unpruned model in ONNX, quantized by ONNX Runtime's dynamic int8 as Optimum does it."""
    tokenizer: str
    texts: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=0, help="training tweets; 0: all")
    parser.add_argument("--quick", action="store_true", help="a tiny model instead, made in a second")
    arguments = parser.parse_args()
    models = make_tiny(arguments.folder) if arguments.quick else make_real(arguments.folder, arguments.rows)
    (arguments.folder / "models.json").write_text(json.dumps(asdict(models)), encoding="utf-8")


def make_real(folder: Path, rows: int) -> Models:
    """MiniLM on tweets, as `benchmarks/compression.py` trains, prunes and exports it."""
    further = (f"data.max_train_rows={rows}",) if rows else ()
    unpruned = compression.make("unpruned", further)
    half = compression.make("half", further)
    texts = list(load_rows(unpruned.data, "test").texts)
    return Models(
        str(unpruned.trained.path.resolve()),
        str(unpruned.bundle.path.resolve()),
        str(half.bundle.path.resolve()),
        quantize(unpruned.bundle, folder),
        str((unpruned.bundle.path / TOKENIZER_FILE).resolve()),
        random.Random(0).sample(texts, min(TEXTS, len(texts))),
    )


def make_tiny(folder: Path) -> Models:
    """A BERT of 2 layers and 32 units; there is no pruned one, so that both bundles are the same."""
    made = folder / "tiny"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    classifier = tiny.write_classifier(made / "classifier", tiny.write_encoder(made / "encoder"))
    bundle = tiny.write_bundle(made / "bundle", classifier, tiny.write_dataset(made / "data"))
    print(f"  a tiny model: {bundle.path}", file=sys.stderr, flush=True)
    return Models(
        str(classifier.resolve()),
        str(bundle.path.resolve()),
        str(bundle.path.resolve()),
        quantize(bundle, folder),
        str((bundle.path / TOKENIZER_FILE).resolve()),
        [text for text, _ in tiny.sentences(TEXTS, seed=5)],
    )


def quantize(bundle: Artifact, folder: Path) -> str:
    """ONNX Runtime's dynamic int8 of the bundle's fp32 graph, per channel: what `AutoQuantizationConfig` asks for."""
    fp32 = next(one for one in Contract.from_meta(bundle.meta).variants if one.name == "onnx-fp32")
    file = folder / "model_quantized.onnx"
    quantize_dynamic(bundle.path / fp32.file, file, per_channel=True, reduce_range=False, weight_type=QuantType.QInt8)
    return str(file.resolve())


if __name__ == "__main__":
    main()
