"""`train.compile`: kernels made for the model compute what the plain ones do."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

EXACT = {"epochs": 2, "learning_rate": 1e-4, "dropout": 0.0, "compile": True}


@pytest.fixture
def without_dropout(tiny_encoder, tmp_path):
    """Compiled dropout draws other random numbers than the plain one."""
    import json
    import shutil

    folder = tmp_path / "without-dropout"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"unfreeze_last": 1},
        {"lora_rank": 4, "lora_dropout": 0.0},
        {"mixed_precision": "bf16"},
        {"r_drop": 1.0, "gradient_checkpointing": True, "average": "last-steps"},
    ],
)
def test_it_trains_to_the_same_losses_and_weights(finetune, without_dropout, settings):
    import time

    import torch._dynamo

    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    t = time.time()
    compiled, figures = finetune(without_dropout, **{**EXACT, **settings})
    print(
        "TIME",
        time.time() - t,
        dict(torch._dynamo.utils.counters["stats"]),
        dict(torch._dynamo.utils.counters["graph_break"]),
        dict(torch._dynamo.utils.counters["recompiles"]),
    )
    plain, expected = finetune(without_dropout, **{**EXACT, "compile": False, **settings})
    for own, wanted in zip(figures["history"], expected["history"], strict=True):
        assert own["train_loss"] == pytest.approx(wanted["train_loss"], abs=1e-4)
        assert own["eval_loss"] == pytest.approx(wanted["eval_loss"], abs=1e-4)
    own, wanted = (load_file(context.out / "model.safetensors") for context in (compiled, plain))
    assert own.keys() == wanted.keys()
    print(max((value - wanted[name]).abs().max() for name, value in own.items()))
    assert all(torch.allclose(value, wanted[name], atol=1e-4) for name, value in own.items())
