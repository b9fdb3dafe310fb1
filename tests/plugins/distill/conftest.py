"""A teacher that is sure of itself, and encoders that read with other tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertTokenizerFast, DistilBertConfig, DistilBertModel

from ftx import Artifact, Context
from ftx_plugins.distill.config import DistillConfig
from ftx_plugins.distill.logits import run

QUICK: dict[str, Any] = {"mixed_precision": "fp32", "learning_rate": 2e-3, "batch_size": 16, "epochs": 3}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A tiny model gains nothing from a second thread, and waits for it wherever the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def letters_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT of one layer that knows single letters alone: other tokens for every word, and no head."""
    folder = tmp_path_factory.mktemp("letters-encoder")
    signs = [*(chr(code) for code in range(ord("a"), ord("z") + 1)), *map(str, range(10))]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{sign}" for sign in signs)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(1)
    config = DistilBertConfig(
        vocab_size=len(vocabulary), dim=32, n_layers=1, n_heads=2, hidden_dim=64, max_position_embeddings=128
    )
    DistilBertModel(config).save_pretrained(folder)
    BertTokenizerFast(
        vocab=str(folder / "vocab.txt"), model_max_length=128, model_input_names=["input_ids", "attention_mask"]
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def distill(
    tiny_checkpoint: Artifact, tiny_dataset: Artifact, make_context: Callable[..., Context]
) -> Callable[..., tuple[Context, dict[str, Any]]]:
    """`distill(**settings)`: the step's context and metrics, from the tiny classifier unless `teacher` is given."""

    def carry_out(
        teacher: Artifact = tiny_checkpoint,
        data: Artifact = tiny_dataset,
        context: Context | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> tuple[Context, dict[str, Any]]:
        context = context or make_context("distill:logits", seed=seed)
        given = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
        metrics = run(DistillConfig(**{**QUICK, **given}), {"model": teacher, "data": data}, context)
        return context, metrics

    return carry_out
