"""A small plugin with real steps that need no machine learning: they write, copy and count text."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ftx.config import Config, load_config
from ftx.plugins import PluginManager

STEPS_MODULE = '''
"""Steps that write text, for the tests of the core."""
import json, os, time
from ftx import Artifact, Bundle, Checkpoint, Dataset, Evaluation, FtxError, Step, StepConfig, hookimpl
from pydantic import Field


class WriteConfig(StepConfig):
    text: str = Field("hello", description="What to write")
    fail: str = Field("", description="How to fail: ftx, bug, interrupt, budget")
    rate: float = Field(0.5, ge=0, le=1, description="A share")


class DataConfig(StepConfig):
    rows: int = Field(3, ge=1, description="Rows to write")


class EvaluateConfig(StepConfig):
    accuracy: float = Field(0.9, description="What to report for all but the reference")


class ChooseConfig(WriteConfig):
    enabled: bool = Field(True, description="Whether the planner adds it")


class CountdownConfig(StepConfig):
    steps: int = Field(3, ge=1, description="Work to do")
    die_at: int = Field(0, ge=0, description="Kill the process when so much is done; 0: never")


def data(config, inputs, context):
    (context.out / "rows.txt").write_text("row\\n" * config.rows)
    return {"rows": config.rows}


def write(config, inputs, context):
    _count(context)
    context.progress(1, 2, "words")
    if config.fail == "ftx":
        raise FtxError("the words ran out", "buy more words", code=1)
    if config.fail == "bug":
        raise ValueError("a bug")
    if config.fail == "interrupt":
        raise KeyboardInterrupt
    if config.fail == "warn":
        context.warn("few words")
    (context.out / "words.txt").write_text(config.text)
    context.describe(recipe=context.step) if context.step.startswith("quantize") else None
    return {"words": len(config.text.split()), "nan": float("nan")}


def choose(config, inputs, context):
    _count(context)
    (context.out / "words.txt").write_text(json.dumps(dict(context.budget)))


def countdown(config, inputs, context):
    done = context.work / "done"
    start = int(done.read_text()) if done.exists() else 0
    if start:
        context.log(f"resumed at {start}")
    for number in range(start, config.steps):
        done.write_text(str(number + 1))
        if number + 1 == config.die_at and not start:
            os.kill(os.getpid(), 9)
    (context.out / "result.txt").write_text(f"{config.steps}")
    return {"resumed_at": start}


def evaluate(config, inputs, context):
    is_reference = "reference" in inputs and inputs["reference"].digest == inputs["model"].digest
    accuracy = 0.95 if is_reference else config.accuracy
    split = context.step.split(":")[1]
    model = {"variant": None, "accuracy": accuracy, "f1_macro": accuracy, "f1_micro": accuracy, "quantized": False}
    (context.out / "evaluation.json").write_text(json.dumps(model) + inputs["model"].digest)
    return {"split": split, "rows": 10, "models": [{**model, "flip_rate": 0.0 if is_reference else 0.25}]}


def _count(context):
    path = context.work.parent.parent.parent / "calls.txt"
    with path.open("a") as file:
        file.write(context.step + "\\n")


def _step(stage, name, gives, takes, run="write", config=WriteConfig, **more):
    return Step(name=name, stage=stage, summary=f"{stage} words", takes=takes, gives=gives, config=config,
                run=f"words_plugin:{run}", **more)


@hookimpl
def ftx_train():
    yield _step("train", "words", Checkpoint, {"model": Checkpoint, "data": Dataset}, default=True)
    yield _step("train", "countdown", Checkpoint, {"model": Checkpoint}, run="countdown", config=CountdownConfig)


@hookimpl
def ftx_prune():
    yield _step("prune", "words", Checkpoint, {"model": Checkpoint})


@hookimpl
def ftx_quantize():
    yield _step("quantize", "words", "model", {"model": Checkpoint | Bundle})


@hookimpl
def ftx_export():
    takes = {"model": Checkpoint, "bundle": Bundle | None}
    yield _step("export", "words", Bundle, takes, default=True)
    yield _step("export", "letters", Bundle, takes, tasks=("text-classification",))


@hookimpl
def ftx_steps():
    yield _step("data", "words", Dataset, {"model": Checkpoint}, run="data", config=DataConfig)
    takes = {"model": Checkpoint | Bundle, "data": Dataset, "reference": Checkpoint | None,
             "baseline": Evaluation | None}
    for name in ("validation", "test"):
        yield _step("evaluate", name, Evaluation, takes, run="evaluate", config=EvaluateConfig,
                    default=name == "validation")
'''
CHOOSE_MODULE = '''
"""A step that chooses among the variants of a bundle, by the budget."""
from ftx import Bundle, Evaluation, hookimpl
from words_plugin import ChooseConfig, _step


@hookimpl
def ftx_steps():
    yield _step("choose", "words", Bundle, {"model": Bundle, "evaluation": Evaluation | None}, run="choose",
                config=ChooseConfig, within_budget=True)
'''


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, first on the path of this process and of those that it starts."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return folder


@pytest.fixture
def install(site: Path) -> Iterator[Callable[..., Path]]:
    """`install(name, code, version="2.1", distribution="ftx-NAME")`: an installed distribution.

    Its entry point NAME is a module `ftx_NAME` with that code. Returns the folder of its metadata.
    """
    modules: set[str] = set()

    def make(name: str, code: str, version: str = "2.1", distribution: str = "") -> Path:
        distribution = distribution or f"ftx-{name}"
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(textwrap.dedent(code), encoding="utf-8")
        for older in site.glob(f"{module}-*.dist-info"):
            shutil.rmtree(older)
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[ftx]\n{name} = {module}\n")
        sys.modules.pop(module, None)
        modules.add(module)
        importlib.invalidate_caches()
        return info

    yield make
    # Another test's module of the same name is another module.
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def ftx(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`ftx(*arguments, **environment)`: the command line in a process of its own, in the folder `tmp_path`."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FTX_")}
        return subprocess.run(
            [sys.executable, "-m", "ftx", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**kept, "HOME": str(tmp_path), **environment},
            check=False,
        )

    return run


@pytest.fixture
def words_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginManager]:
    """A plugin manager that knows the word steps alone."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "words_plugin.py").write_text(STEPS_MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    sys.modules.pop("words_plugin", None)
    manager = PluginManager.load(built_in=False, third_party=False)
    manager.add("words", "words_plugin", "words-plugin", "1.0")
    assert not manager.broken()
    yield manager
    sys.modules.pop("words_plugin", None)


@pytest.fixture
def choosing_plugin(words_plugin: PluginManager, tmp_path: Path) -> Iterator[PluginManager]:
    """The word steps, and one of the stage `choose`."""
    (tmp_path / "site" / "choosing_plugin.py").write_text(CHOOSE_MODULE, encoding="utf-8")
    words_plugin.add("choosing", "choosing_plugin", "words-plugin", "1.0")
    assert not words_plugin.broken()
    yield words_plugin
    sys.modules.pop("choosing_plugin", None)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model folder that nothing loads: a configuration, and a file in the place of weights."""
    folder = tmp_path / "project" / "encoder"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    (folder / "vocab.txt").write_text("word")
    write_weights(folder, "weights")
    return folder


@pytest.fixture(name="write_weights")
def _write_weights() -> Callable[[Path, str], None]:
    return write_weights


def write_weights(folder: Path, note: str) -> None:
    """A whole safetensors file without tensors, but with a note."""
    header = json.dumps({"__metadata__": {"note": note}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.fixture
def project(tmp_path: Path, model_folder: Path) -> Callable[..., Config]:
    """`project(text, *settings, **environment)`: the configuration of a project with that ftx.toml."""
    path = tmp_path / "project" / "ftx.toml"

    def make(text: str = "", *settings: str, **environment: str) -> Config:
        if "[model]" not in text:
            text += '\n[model]\nname = "encoder"\n'
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return load_config(path, settings=settings, environment=environment)

    return make


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[], list[str]]:
    """The word steps that really ran, in order."""
    path = tmp_path / "project" / "calls.txt"
    return lambda: path.read_text().split() if path.exists() else []


class Listener:
    """Keeps a run's events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, values: Any) -> None:
        self.events.append((name, dict(values)))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [values for event, values in self.events if event == name]


@pytest.fixture
def listener() -> Listener:
    return Listener()
