"""`budget.batch_invariant`."""

from __future__ import annotations

import pytest

from ftx.config import BudgetTable
from ftx.scoreboard import Row, advice, breaches

BUDGET = BudgetTable(batch_invariant=True)


def row(variant, quantized, invariant):
    measured = {"accuracy": 0.9, "f1_macro": 0.9, "f1_micro": 0.9, "flip_rate": 0.0, "max_logit_difference": 0.0}
    unmeasured = dict.fromkeys(("p50_ms", "p95_ms", "rows_per_second", "size_mb"))
    return Row(
        "export:bundle",
        variant,
        "validation",
        100,
        **measured,
        **unmeasured,
        quantized=quantized,
        batch_flip_rate=0.0 if invariant else 0.02,
        batch_invariant=invariant,
    )


def test_a_checkpoint_with_a_dynamic_recipe_breaks_it_at_once():
    [breach] = breaches([row(None, True, False)], None, BUDGET)
    assert "labels depend on what shares their batch (2.00% of the texts tried)" in str(breach)
    assert "quantize:static" in advice([breach])[0]


def test_a_bundle_keeps_it_as_long_as_one_quantized_variant_is_invariant():
    rows = [row("onnx-int8", True, False), row("openvino-int8", True, True), row("onnx-fp32", False, True)]
    assert breaches(rows, None, BUDGET) == []
    assert len(breaches([rows[0], rows[2]], None, BUDGET)) == 1


@pytest.mark.parametrize("budget", [BudgetTable(), BudgetTable(batch_invariant=False)])
def test_without_it_nothing_is_refused(budget):
    assert breaches([row(None, True, False)], None, budget) == []


def test_what_was_not_measured_is_not_refused():
    assert breaches([row(None, True, None)], None, BUDGET) == []
