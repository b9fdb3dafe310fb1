"""The loss that a pruned model recovers by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from ftx_plugins.distillation import distance
from ftx_plugins.prune.anatomy import dissect
from ftx_plugins.prune.surgery import keep_layers

FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "modernbert")
LABELS = torch.tensor([0, 1, 2, 0])


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(5, 120, (4, 9), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_is_no_distance_from_itself(
    family: str, make_model: Callable[[str], Any], batch: dict[str, torch.Tensor]
) -> None:
    with torch.inference_mode():
        outputs = make_model(family)(**batch, output_hidden_states=True)
    assert len(outputs.hidden_states) == 4
    loss = distance(outputs, outputs, [0, 1, 2], LABELS, batch["attention_mask"].bool())
    assert loss == pytest.approx(float(cross_entropy(outputs.logits, LABELS)), abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_states_are_compared_with_those_of_the_same_layer(
    family: str, make_model: Callable[[str], Any], architectures: Any, batch: dict[str, torch.Tensor]
) -> None:
    teacher, student = make_model(family), make_model(family)
    anatomy = dissect(student, architectures)
    keep_layers(anatomy, [0, 1])
    with torch.inference_mode():
        wanted = teacher(**batch, output_hidden_states=True)
        reached = student(**batch, output_hidden_states=True)
        same = distance(reached, wanted, [0, 1], LABELS, batch["attention_mask"].bool())
        other = distance(reached, wanted, [0, 2], LABELS, batch["attention_mask"].bool())
    assert same < other
