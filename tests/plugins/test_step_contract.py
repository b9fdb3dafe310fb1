"""The built-in steps keep the contract that the steps of plugins are held to."""

from __future__ import annotations

import pytest

from ftx.plugins import PluginManager
from ftx.testing import check_step

RECOVERY = {"calibration_rows": 32, "recovery_rows": 32, "recovery_epochs": 1, "batch_size": 16}
EXPORT = {"parity_texts": 8, "golden_texts": 4}
CALIBRATED = {"calibration_rows": 32, "choice_rows": 32}
SETTINGS = {
    "train:finetune": {"epochs": 1, "batch_size": 32, "mixed_precision": "fp32"},
    "distill:logits": {"layers": 1, "epochs": 2, "batch_size": 16, "mixed_precision": "fp32"},
    "prune:structured": {"flops": 0.5, "rounds": 1, "ffn_multiple": 8, **RECOVERY},
    "prune:layers": {"keep": 1, **RECOVERY},
    "prune:width": {"width": 32, **RECOVERY},
    "quantize:static": CALIBRATED,
    "quantize:auto": CALIBRATED,
    "evaluate:validation": {"latency_rows": 20, "throughput_rows": 32},
    "evaluate:test": {"latency_rows": 20, "throughput_rows": 32},
    "export:bundle": {**EXPORT, "formats": ("torchscript", "onnx")},
    **{f"export:{name}": EXPORT for name in ("onnx", "openvino", "torchscript")},
}
"""What keeps each step short; the other steps have their defaults."""
NEEDS_WHAT_IS_NOT_HERE = {"model:hub", "augment:back-translation"}
"""The hub, or a translator."""
STEPS = PluginManager.load(third_party=False).steps()


@pytest.fixture(scope="module")
def plugins():
    return PluginManager.load(third_party=False)


@pytest.fixture(scope="module")
def masked_model(tiny_encoder, tmp_path_factory):
    from transformers import AutoTokenizer, BertForMaskedLM

    folder = tmp_path_factory.mktemp("masked")
    BertForMaskedLM.from_pretrained(tiny_encoder).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(folder)
    return folder


@pytest.fixture
def settings(sentences_csv, masked_model):
    return {
        **SETTINGS,
        "data:clean": {"train": str(sentences_csv)},
        "augment:masked": {"masked_model": str(masked_model)},
        "augment:back-translation": {},
        "model:hub": {"name": "hub:some/model"},
    }


@pytest.mark.parametrize("name", sorted(set(STEPS) - NEEDS_WHAT_IS_NOT_HERE))
def test_a_built_in_step_keeps_the_contract(name, plugins, settings, check_contract):
    check_contract(plugins.steps()[name], plugins, kill=False, **settings.get(name, {}))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(STEPS) - NEEDS_WHAT_IS_NOT_HERE))
def test_a_built_in_step_that_was_killed_resumes(name, plugins, settings, check_contract):
    check_contract(plugins.steps()[name], plugins, **settings.get(name, {}))


@pytest.mark.parametrize("name", sorted(NEEDS_WHAT_IS_NOT_HERE))
def test_a_step_that_needs_what_is_not_here_keeps_what_can_be_seen_without_it(name, plugins, settings, tmp_path):
    assert check_step(plugins.steps()[name], plugins, None, tmp_path, settings=settings[name]) == []
