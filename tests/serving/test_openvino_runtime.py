"""The runtime `openvino`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from ftx.errors import FtxError
from ftx_serving.runtimes import openvino as runtime

LONGEST = 21


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose logits are, for each row, the sum of the visible ids and the length that the model is given."""
    shape = ov.PartialShape([ov.Dimension(-1), ov.Dimension(1, LONGEST)])
    ids, mask = (ops.parameter(shape, np.int64, name=name) for name in ("input_ids", "attention_mask"))
    for name, node in (("input_ids", ids), ("attention_mask", mask)):
        node.output(0).set_names({name})
    visible = ops.convert(ops.multiply(ids, mask), "f32")
    ones = ops.convert(ops.multiply(ids, ops.constant(np.int64(0))), "f32")
    sums = ops.reduce_sum(visible, ops.constant(np.int64(1)), keep_dims=True)
    length = ops.reduce_sum(ops.add(ones, ops.constant(np.float32(1))), ops.constant(np.int64(1)), keep_dims=True)
    logits = ops.concat([sums, length], 1)
    logits.output(0).set_names({"logits"})
    made = tmp_path_factory.mktemp("openvino-runtime")
    ov.save_model(ov.Model([logits], [ids, mask], "sums"), str(made / "model.xml"), compress_to_fp16=False)
    return made


@pytest.fixture
def load(folder: Path) -> Callable[..., runtime.OpenvinoSession]:
    def call(precision: str = "fp32", **options: Any) -> runtime.OpenvinoSession:
        return runtime.load(folder, {"file": "model.xml", "precision": precision}, **options)

    return call


def feed(rows: int, length: int) -> dict[str, np.ndarray]:
    ids = np.arange(1, rows * length + 1, dtype=np.int64).reshape(rows, length)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


@pytest.mark.parametrize(("length", "given"), [(1, 16), (16, 16), (17, LONGEST), (LONGEST, LONGEST)])
def test_lengths_are_rounded_up_with_masked_tokens_and_never_beyond_the_longest(
    length: int, given: int, load: Callable[..., runtime.OpenvinoSession]
) -> None:
    inputs = feed(2, length)
    logits = load()(**inputs)
    assert logits.dtype == np.float32
    assert logits[:, 0].tolist() == inputs["input_ids"].sum(axis=1).tolist()
    assert logits[:, 1].tolist() == [given] * 2


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_what_is_not_int8_is_computed_in_fp32_unless_the_variant_is_bf16(
    precision: str, load: Callable[..., runtime.OpenvinoSession]
) -> None:
    model = load(precision, threads=1)._model
    assert model.get_property("INFERENCE_PRECISION_HINT") == ov.Type.f32
    assert model.get_property("INFERENCE_NUM_THREADS") == 1
    assert model.get_property("NUM_STREAMS") == 1
    assert model.get_property("ENABLE_CPU_PINNING") is False


def test_bf16_is_refused_where_the_processor_has_none(
    load: Callable[..., runtime.OpenvinoSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "has_bf16", lambda core: False)
    with pytest.raises(FtxError, match="has no bf16"):
        load("bf16")
    load("fp32")


def test_calls_from_several_threads_do_not_mix(load: Callable[..., runtime.OpenvinoSession]) -> None:
    session = load()
    feeds = [feed(1 + number % 3, 1 + number % LONGEST) for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda inputs: session(**inputs), feeds))
    for inputs, logits in zip(feeds, results, strict=True):
        assert logits[:, 0].tolist() == inputs["input_ids"].sum(axis=1).tolist()


def test_a_result_is_not_overwritten_by_the_next_call(load: Callable[..., runtime.OpenvinoSession]) -> None:
    session = load()
    first = session(**feed(1, 3))
    before = first.copy()
    session(**{name: values * 5 for name, values in feed(1, 3).items()})
    assert np.array_equal(first, before)


def test_the_runtime_needs_neither_torch_nor_transformers(folder: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from ftx_serving.runtimes.openvino import load\n"
        "load(Path(sys.argv[1]), {'file': 'model.xml'})\n"
        "print(sorted({'torch', 'transformers', 'onnxruntime', 'nncf'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
