"""A tiny classifier of each family, with weights that are all in use (a new model's biases are zero)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SIZES: dict[str, Any] = {"vocab_size": 120, "max_position_embeddings": 40, "num_labels": 3, "pad_token_id": 0}
BERT: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.fixture(scope="session")
def make_model() -> Callable[[str], Any]:
    """`make_model(family)`: 3 layers, hidden 32, 4 heads of 8, FFN width 64, 3 labels; in evaluation mode."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    own: dict[str, dict[str, Any]] = {
        "electra": {**BERT, "embedding_size": 16},
        "distilbert": {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
        "modernbert": {**BERT, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
    }

    def make(family: str) -> Any:
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, **SIZES, **own.get(family, BERT))
        model = AutoModelForSequenceClassification.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def architectures() -> Any:
    from ftx.plugins import PluginManager

    return PluginManager.load(third_party=False).architectures()
