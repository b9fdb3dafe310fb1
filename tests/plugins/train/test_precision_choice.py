"""On a processor "auto" is what is faster there, and a killed step keeps to it."""

from __future__ import annotations

import pytest
import torch

from ftx_plugins import distillation
from ftx_plugins.train import precision_choice
from ftx_plugins.train.precision_choice import PrecisionChoice, choose_precision, faster_of, time_products

LAYERS = torch.nn.ModuleDict(
    {
        "embeddings": torch.nn.Embedding(1000, 16),
        "query": torch.nn.Linear(16, 16),
        "ffn": torch.nn.Linear(16, 64),
    }
)


@pytest.fixture
def timed(monkeypatch):
    """`timed(fp32_ms, bf16_ms)`: a processor with bf16 on which a layer takes so long; returns the shapes timed."""
    shapes = []

    def set_times(*times):
        monkeypatch.setattr(precision_choice, "has_bf16", lambda device: True)
        monkeypatch.setattr(precision_choice, "time_products", lambda shape: shapes.append(shape) or times)
        return shapes

    return set_times


@pytest.mark.parametrize(("fp32", "bf16", "expected"), [(2.0, 1.0, "bf16"), (1.05, 1.0, "fp32"), (1.0, 1.7, "fp32")])
def test_auto_takes_bf16_only_where_it_is_clearly_faster(timed, make_context, recorder, fp32, bf16, expected):
    timed(fp32, bf16)
    choice = choose_precision("auto", LAYERS, make_context())
    assert choice.metrics == {"precision": expected, "precision_ms": {"fp32": fp32, "bf16": bf16}}
    [message] = recorder.messages("log")
    assert f"{fp32:.2f} ms in fp32" in message
    assert f"{bf16:.2f} ms in bf16" in message


def test_the_shape_of_the_feed_forward_network_is_timed(timed, make_context):
    shapes = timed(1.0, 1.0)
    choose_precision("auto", LAYERS, make_context())
    assert shapes == [(64, 16)]


def test_a_resumed_step_keeps_its_format_although_it_would_now_choose_another(timed, make_context):
    context = make_context()
    timed(2.0, 1.0)
    first = choose_precision("auto", LAYERS, context)
    timed(1.0, 2.0)
    assert choose_precision("auto", LAYERS, context) == first
    assert choose_precision("auto", LAYERS, make_context()).precision == "fp32"


@pytest.mark.parametrize("wanted", ["bf16", "fp32"])
def test_a_format_that_was_asked_for_is_not_timed(timed, make_context, wanted):
    shapes = timed(2.0, 1.0)
    assert choose_precision(wanted, LAYERS, make_context()) == PrecisionChoice(wanted)
    assert not shapes


def test_without_bf16_nothing_is_timed(timed, make_context, monkeypatch):
    shapes = timed(2.0, 1.0)
    monkeypatch.setattr(precision_choice, "has_bf16", lambda device: False)
    assert choose_precision("auto", LAYERS, make_context()) == PrecisionChoice("fp32")
    assert not shapes


def test_timing_leaves_the_random_numbers_of_the_training_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fp32, bf16 = time_products((64, 32))
    assert torch.equal(torch.get_rng_state(), before)
    assert fp32 > 0
    assert bf16 > 0
    assert faster_of(fp32, bf16).precision in {"fp32", "bf16"}


def test_training_reports_the_format_and_both_times(finetune, timed):
    shapes = timed(1.0, 3.0)
    _, metrics = finetune(epochs=1, mixed_precision="auto")
    assert metrics["precision"] == "fp32"
    assert metrics["precision_ms"] == {"fp32": 1.0, "bf16": 3.0}
    assert len(shapes) == 1


def test_distillation_chooses_in_the_same_way(timed, monkeypatch, make_context, data, tiny_classifier):
    from ftx_plugins.checkpoint import load_checkpoint

    timed(3.0, 1.0)
    monkeypatch.setattr(distillation, "has_bf16", lambda device: True)
    student = load_checkpoint(tiny_classifier)

    def recovered(**settings):
        course = distillation.Course("recovery", 32, 1, 1e-4, 16, "rows", "rate", **settings)
        return distillation.distill(student, load_checkpoint(tiny_classifier).model, [0], data, course, make_context())

    assert recovered()["precision"] == "bf16"
    assert recovered()["precision_ms"] == {"fp32": 3.0, "bf16": 1.0}
    assert recovered(full_precision=True)["precision"] == "fp32"
