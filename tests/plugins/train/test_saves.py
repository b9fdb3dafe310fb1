from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ftx_plugins.train import saves, trainer
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.finetune import run

LABELS = ["negative", "neutral", "positive"]
SETTINGS: dict[str, Any] = {"epochs": 3, "learning_rate": 1e-3, "mixed_precision": "fp32", "max_length": 32}


def save(folder: Path, step: int, best: int | None = None) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    (path / "model.safetensors").write_bytes(bytes(100))
    (path / "trainer_state.json").write_text(json.dumps({"best_global_step": best}))
    saves.mark_complete(path)
    return path


def test_the_latest_complete_save_is_taken_and_torn_ones_are_removed(tmp_path: Path) -> None:
    good = save(tmp_path, 9)
    torn, unmarked = save(tmp_path, 10), save(tmp_path, 100)
    os.truncate(torn / "model.safetensors", 99)
    saves.unmark(unmarked)
    found = saves.last_complete(tmp_path)
    assert found is not None
    assert found.path == good
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-9"]


def test_a_save_whose_best_save_is_torn_is_passed_over(tmp_path: Path) -> None:
    best = save(tmp_path, 8, best=8)
    save(tmp_path, 16, best=8)
    os.truncate(best / "model.safetensors", 1)
    assert saves.last_complete(tmp_path) is None


def test_only_the_best_and_the_last_are_kept(tmp_path: Path) -> None:
    for step in (8, 16, 24, 104):
        save(tmp_path, step)
    saves.keep_best_and_last(tmp_path, 16)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-16", "checkpoint-104"}


@pytest.fixture
def finetune(tiny_encoder: Path, as_artifact: Any, make_context: Any, make_data: Any, make_sentences: Any) -> Any:
    data = make_data(make_sentences(96), make_sentences(30, seed=7), LABELS)
    model = as_artifact(tiny_encoder, "checkpoint")

    def carry_out(work: Path | None = None, **settings: Any) -> Any:
        context = make_context("train:finetune", work=work)
        return context, run(TrainConfig(**{**SETTINGS, **settings}), {"model": model, "data": data}, context)

    return carry_out


def weights(context: Any) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(context.out / "model.safetensors")
    return loaded


def equal(first: Any, second: Any) -> bool:
    return all(torch.equal(value, weights(second)[name]) for name, value in weights(first).items())


def test_ctrl_c_comes_through_and_the_same_run_goes_on_within_the_epoch(
    finetune: Any, tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = finetune()
    on_step_end = trainer.Reporter.on_step_end

    def interrupted(self: Any, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.global_step == 10:
            raise KeyboardInterrupt
        on_step_end(self, args, state, control, **more)

    monkeypatch.setattr(trainer.Reporter, "on_step_end", interrupted)
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        finetune(work, save_minutes=1e-9)
    monkeypatch.setattr(trainer.Reporter, "on_step_end", on_step_end)
    resumed, metrics = finetune(work, save_minutes=1e-9)
    assert "resumed from step 3 of 6 of epoch 2" in recorder.messages("log")
    assert metrics["epochs_run"] == 3
    assert equal(whole, resumed)


def test_a_run_killed_behind_an_early_stop_does_not_train_on(
    finetune: Any, tmp_path: Path, recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    # So small a rate changes no label: no epoch is better than the first.
    settings = {"epochs": 6, "learning_rate": 1e-6, "early_stopping": 1}
    first, metrics = finetune(work, **settings)
    assert metrics["epochs_run"] == 2
    again, repeated = finetune(work, **settings)
    assert repeated["epochs_run"] == 2
    assert repeated["history"] == metrics["history"]
    assert equal(first, again)


def test_nothing_is_written_outside_the_folders_of_the_step(
    tmp_path: Path, tiny_encoder: Path, make_data: Any, make_sentences: Any
) -> None:
    data = make_data(make_sentences(48), make_sentences(15), LABELS)
    home, out, work = tmp_path / "home", tmp_path / "out", tmp_path / "work"
    for folder in (home, out, work):
        folder.mkdir()
    script = f"""
from pathlib import Path
from ftx.artifacts import Checkpoint, Manifest, open_artifact
from ftx.step import Context, ModelSettings
from ftx_plugins.train.config import TrainConfig
from ftx_plugins.train.finetune import run
context = Context("train:finetune", Path({str(out)!r}), Path({str(work)!r}), 0, "cpu", ModelSettings("tiny"), None)
model = Checkpoint(Path({str(tiny_encoder)!r}), Manifest("checkpoint", {{}}))
run(TrainConfig(epochs=1), {{"model": model, "data": open_artifact(Path({str(data.path)!r}))}}, context)
"""
    moved = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "OMP_NUM_THREADS": "1"}
    environment = {name: value for name, value in moved.items() if not name.startswith(("HF_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=home, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(home.rglob("*"))
