from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from ftx_numpy_runtime.export import refuse_unless_bert
from ftx_numpy_runtime.session import gelu

from ftx import FtxError

PLUGINS = {"numpy_runtime": "ftx_numpy_runtime.hooks"}
QUICK = ("--set", "export.parity_texts=8", "--set", "export.golden_texts=4")


@pytest.fixture
def plugins(isolated_plugins):
    return isolated_plugins("ftx_numpy_runtime.hooks")


@pytest.fixture(scope="module")
def project(make_project):
    """A project whose bundle has a variant for ONNX Runtime and one for NumPy."""
    made = make_project(plugins=PLUGINS)
    ran = made.ftx("run", "train", "export:onnx", "export:numpy", *QUICK, "--json")
    assert ran.code == 0, ran.err
    return made, ran.json


def test_the_step_keeps_the_contract_of_steps(plugins, check_contract):
    check_contract(plugins.steps()["export:numpy"], plugins, parity_texts=8, golden_texts=4)


def test_gelu_is_exact_to_single_precision():
    values = np.linspace(-6, 6, 101, dtype=np.float32)
    exact = [value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in values.tolist()]
    assert gelu(values) == pytest.approx(np.array(exact), abs=1e-6)


def test_the_variant_joins_the_bundle_and_is_measured_beside_the_others(project):
    rows = {row["variant"]: row for row in project[1]["scoreboard"] if row["split"] == "validation"}
    assert {"onnx-fp32", "numpy-fp32"} <= set(rows)
    assert rows["numpy-fp32"]["flip_rate"] == 0
    assert rows["numpy-fp32"]["max_logit_difference"] < 1e-4
    assert rows["numpy-fp32"]["p50_ms"] > 0


def test_it_serves_the_answers_that_onnx_runtime_serves(project):
    texts = ["a great car", "the worst phone of today, i hate it", "table"]
    answers = [
        [scores[0] for scores in project[0].ftx("predict", "latest", *texts, "--variant", variant, "--json").json]
        for variant in ("numpy-fp32", "onnx-fp32")
    ]
    assert [each["label"] for each in answers[0]] == [each["label"] for each in answers[1]]
    assert [each["score"] for each in answers[0]] == pytest.approx([each["score"] for each in answers[1]], abs=1e-4)


def test_a_model_of_another_family_is_refused_with_what_to_do():
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    from ftx_plugins.checkpoint import LoadedCheckpoint

    small = DistilBertConfig(dim=8, n_layers=1, n_heads=2, hidden_dim=8, vocab_size=10)
    loaded = LoadedCheckpoint(DistilBertForSequenceClassification(small), None, ("a", "b"), 8)
    with pytest.raises(FtxError, match="distilbert") as raised:
        refuse_unless_bert(loaded)
    assert "ftx run export:onnx" in raised.value.hints[-1]


def test_the_runtime_needs_no_torch():
    code = (
        "import sys, ftx_numpy_runtime.session; assert not {'torch', 'transformers', 'onnxruntime'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"], check=True)
