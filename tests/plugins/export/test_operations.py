from __future__ import annotations

from pathlib import Path

from ftx_plugins.checkpoint import load_checkpoint
from ftx_plugins.export.operations import count_operations


def test_the_operations_of_a_bert_are_those_of_its_linear_layers_and_of_attention(tiny_classifier: Path) -> None:
    model = load_checkpoint(tiny_classifier).model
    layers, hidden, width, classes = 2, 32, 64, 3
    assert count_operations(model) == {
        "per_text": 2 * hidden * hidden + 2 * hidden * classes,  # pooler and head
        "per_token": layers * 2 * (4 * hidden * hidden + 2 * hidden * width),
        "per_token_squared": layers * 2 * 2 * hidden,
        "counted": "matrix products",
    }
