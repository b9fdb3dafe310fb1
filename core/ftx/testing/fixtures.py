"""The fixtures of the kit. Model, data set and bundle are made once a session, in memory: real, and tiny."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from ftx.artifacts import Artifact
from ftx.plugins import PluginManager
from ftx.step import Context, ModelSettings, Step
from ftx.testing import tiny
from ftx.testing.contract import assert_step_contract
from ftx.testing.projects import QUICK, Project, as_csv, plugin_path

MakeProject = Callable[..., Project]


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT encoder without a head: 2 layers, hidden 32, 2 heads, 64 positions; safetensors and a fast tokenizer."""
    return tiny.write_encoder(tmp_path_factory.mktemp("tiny-encoder"))


@pytest.fixture(scope="session")
def tiny_classifier(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with a head of three labels, quickly trained on `sentences`: confident, and not constant."""
    return tiny.write_classifier(tmp_path_factory.mktemp("tiny-classifier"), tiny_encoder)


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The tiny classifier as an artifact."""
    folder = tmp_path_factory.mktemp("tiny-checkpoint") / "model"
    shutil.copytree(tiny_classifier, folder)
    return tiny.make_artifact(folder, "checkpoint", meta={"task": tiny.TASK, "base": "tiny"})


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """`sentences` as a data set artifact: 96 rows to train, 48 to validate, 48 to test."""
    return tiny.write_dataset(tmp_path_factory.mktemp("tiny-dataset"))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_classifier: Path, tiny_dataset: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The tiny classifier quantized (dynamic int8) and exported to ONNX and TorchScript: four variants."""
    return tiny.write_bundle(tmp_path_factory.mktemp("tiny-bundle"), tiny_classifier, tiny_dataset)


@pytest.fixture(scope="session")
def make_sentences() -> Callable[..., list[tuple[str, str]]]:
    """`make_sentences(rows, seed=0)`: (text, label) rows."""
    return tiny.sentences


@pytest.fixture
def sentences_csv(tmp_path: Path) -> Path:
    """150 rows of `sentences` as a csv with the columns `text` and `label`."""
    return tiny.write_csv(tmp_path / "sentences.csv", tiny.sentences(150))


@pytest.fixture
def as_artifact() -> Callable[..., Artifact]:
    """`as_artifact(folder, kind, **meta)`: the artifact of that kind whose files are those of `folder`."""

    def make(folder: Path, kind: str, *, metrics: Mapping[str, Any] | None = None, **meta: Any) -> Artifact:
        return tiny.make_artifact(folder, kind, metrics=metrics, meta=meta)

    return make


class Recorder:
    """Keeps what a step says through its context."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, name: str, values: Mapping[str, Any]) -> None:
        self.events.append((name, values))

    def messages(self, name: str) -> list[str]:
        return [values["message"] for event, values in self.events if event == name]


@pytest.fixture
def recorder() -> Recorder:
    """What the contexts of `make_context` were told: `events`, and `messages("log")` or `messages("warning")`."""
    return Recorder()


@pytest.fixture
def make_context(tmp_path: Path, recorder: Recorder) -> Callable[..., Context]:
    """`make_context(step="train:finetune", seed=0, **ModelSettings fields)`: a context with fresh `out` and `work`."""
    made = 0

    def make(step: str = "test:step", seed: int = 0, work: Path | None = None, **model: Any) -> Context:
        nonlocal made
        made += 1
        out = tmp_path / f"out-{made}"
        work = work or tmp_path / f"work-{made}"
        out.mkdir()
        work.mkdir(exist_ok=True)
        settings = ModelSettings(**{"name": "tiny", **model})
        plugins = PluginManager.load(third_party=False)
        return Context(step, out, work, seed, "cpu", settings, plugins, recorder)

    return make


@pytest.fixture
def isolated_plugins() -> Callable[..., PluginManager]:
    """`isolated_plugins("my_plugin.hooks", …)`: the built-in plugins and these modules; nothing that is installed.

    A module that does not load fails the test with its error.
    """

    def make(*modules: str, built_in: bool = True) -> PluginManager:
        manager = PluginManager.load(third_party=False, built_in=built_in)
        for module in modules:
            manager.add(module.removesuffix(".hooks"), module, module.partition(".")[0].replace("_", "-"), "0")
        # Steps and the rest are asked for at first use: ask now, so that a hook that raises is found here.
        registries = (manager.steps(), manager.all_metrics(), manager.runtimes(), manager.commands())
        assert registries and not manager.broken(), [f"{info}: {info.error}" for info in manager.broken()]
        assert not manager.problems, [str(problem) for problem in manager.problems]
        return manager

    return make


@pytest.fixture(scope="session")
def make_project(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> MakeProject:
    """`make_project(rows=150, model=tiny_encoder, settings="", plugins={})`: a project with `rows.csv`, not run yet.

    `rows` is a number of sentences, (text, label) rows, the csv itself, or its bytes; `settings` is more of the
    ftx.toml, and stands before the tables; `plugins` are names and hooks modules of plugins that its commands have,
    installed or not. `project.ftx("run", "train")` runs a command there and says how it ended.
    """

    def make(
        rows: int | Sequence[tuple[str, str]] | str | bytes = 150,
        model: Path | str = tiny_encoder,
        settings: str = "",
        plugins: Mapping[str, str] = MappingProxyType({}),
    ) -> Project:
        root = tmp_path_factory.mktemp("project")
        home = tmp_path_factory.mktemp("home")
        (root / "rows.csv").write_bytes(as_csv(tiny.sentences(rows) if isinstance(rows, int) else rows))
        path = plugin_path(plugins, tmp_path_factory.mktemp("metadata")) if plugins else ()
        project = Project(root, home, path)
        project.write(f'{settings}\n[model]\nname = "{model}"\n\n[data]\ntrain = "rows.csv"\n{QUICK}')
        return project

    return make


@pytest.fixture
def check_contract(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """`check_contract(step, plugins, inputs={}, **settings)`: `assert_step_contract` on the kit's tiny artifacts.

    Inputs that are not given are the tiny checkpoint, data set and bundle, by the kinds that the step takes; those
    that may be missing are left out.
    """

    def check(
        step: Step,
        plugins: PluginManager,
        inputs: Mapping[str, Artifact] | None = None,
        kill: bool = True,
        **settings: Any,
    ) -> None:
        def make(kind: str) -> Artifact:
            artifact: Artifact = request.getfixturevalue(f"tiny_{kind}")
            return artifact

        found = {**tiny.inputs_for(step, make), **(inputs or {})}
        assert_step_contract(step, plugins, found, tmp_path / "contract", settings=settings, kill=kill)

    return check
