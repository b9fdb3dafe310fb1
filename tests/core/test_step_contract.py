"""Each clause of the contract, broken by a step that differs from a good one in that alone."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from ftx.plugins import PluginManager
from ftx.testing import CLAUSES, assert_step_contract, check_step
from ftx.testing.tiny import make_artifact

HOOKS = """
    from pydantic import Field
    from ftx import Checkpoint, FilePath, Step, StepConfig, hookimpl

    class Copy(StepConfig):
        share: float = Field(0.5, ge=0, le=1, description="A share")
        names: tuple[str, ...] = Field(("a", "b"), description="Names")
        {field}

    @hookimpl
    def ftx_steps():
        yield Step(
            name="copy", stage="copy", summary="copy a checkpoint", run="{run}", config=Copy,
            takes={{"model": Checkpoint}}, gives={gives}, {more}
        )
"""
RUN = """
    import os, shutil, time
    from pathlib import Path
    from ftx import FtxError

    def run(config, inputs, context):
        {before}
        for number, path in enumerate(sorted(inputs["model"].path.glob("*.*")), start=1):
            if path.name != "manifest.json":
                shutil.copyfile(path, context.out / path.name)
            context.progress(number)
        {after}
        return {{"share": config.share}}
"""

CLOCK = "from time import time as TIME"


@pytest.fixture
def make_step(tmp_path, monkeypatch):
    """`make_step(before="", after="", **parts)`: the copying step with code of its own, and its manager."""

    def make(before="", after="", run="contract_run:run", gives="Checkpoint", more="", field="", top=""):
        site = tmp_path / "site"
        site.mkdir()
        hooks = top + "\n" + textwrap.dedent(HOOKS).format(run=run, gives=gives, more=more, field=field)
        (site / "contract_hooks.py").write_text(hooks, encoding="utf-8")
        code = textwrap.dedent(RUN).format(before=before or "pass", after=after or "pass")
        (site / "contract_run.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(str(site))
        for module in ("contract_hooks", "contract_run"):
            monkeypatch.delitem(sys.modules, module, raising=False)
        manager = PluginManager.load(built_in=False, third_party=False)
        manager.add("copy", "contract_hooks", "copy-plugin", "1.0")
        return manager.steps()["copy:copy"], manager

    yield make
    for module in ("contract_hooks", "contract_run"):
        sys.modules.pop(module, None)


@pytest.fixture
def inputs(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text(name, encoding="utf-8")
    return {"model": make_artifact(folder, "checkpoint")}


@pytest.fixture
def findings(make_step, inputs, tmp_path):
    """`findings(kill=False, settings={}, **parts of the step)`: clause -> what is wrong with it."""

    def find(*, kill=False, settings=None, **parts):
        step, manager = make_step(**parts)
        found = check_step(step, manager, inputs, tmp_path / "runs", settings=settings, kill=kill)
        clauses = [finding.clause for finding in found]
        return {clause: "; ".join(each.message for each in found if each.clause == clause) for clause in clauses}

    return find


def test_a_good_step_keeps_the_contract_a_kill_included(make_step, inputs, tmp_path):
    step, manager = make_step()
    assert_step_contract(step, manager, inputs, tmp_path / "runs")


def test_the_error_names_the_step_and_lists_every_broken_clause(make_step, inputs, tmp_path):
    step, manager = make_step(field="depth: int = 1", top="import numpy", more="requires=('not_there',)")
    with pytest.raises(AssertionError) as raised:
        assert_step_contract(step, manager, inputs, tmp_path / "runs")
    lines = str(raised.value).splitlines()
    assert lines[0] == "copy:copy breaks the contract of steps"
    assert [line.split(":")[0].strip(" •") for line in lines[1:]] == ["settings", "requires", "light"]


@pytest.mark.parametrize(
    ("clause", "message", "parts"),
    [
        ("import", "No module named 'nowhere'", {"run": "nowhere:run"}),
        ("import", "has no attribute 'walk'", {"run": "contract_run:walk"}),
        ("import", "cannot be called with 3 arguments", {"run": "os:getcwd"}),
        ("import", "check = 'nowhere:check'", {"more": "check='nowhere:check'"}),
        ("settings", "depth has no description", {"field": "depth: int = 1"}),
        ("settings", "changes extra", {"field": "model_config = {'extra': 'allow'}"}),
        ("settings", "needed: Field required", {"field": "needed: int = Field(description='A count')"}),
        ("settings", "tags comes back", {"field": "tags: object = Field(('a',), description='Tags')"}),
        ("requires", "not_there is not installed", {"more": "requires=('not_there',)"}),
        ("light", "imports numpy", {"top": "import numpy"}),
        ("run", "ValueError: a bug", {"before": "raise ValueError('a bug')"}),
        ("run", "no words", {"before": "raise FtxError('no words')"}),
        ("output", "wrote no file", {"after": "shutil.rmtree(context.out); context.out.mkdir()"}),
        ("output", "holds config.json", {"after": "(context.out / 'config.json').unlink()"}),
        ("output", "pickle", {"after": "(context.out / 'pytorch_model.bin').write_bytes(b'x')"}),
        ("output", "holds train.arrow", {"gives": "__import__('ftx').Dataset"}),
        ("writes", "stray.txt", {"after": "(context.out.parent / 'stray.txt').write_text('x')"}),
        ("writes", "here.txt in the current folder", {"after": "Path('here.txt').write_text('x')"}),
        ("writes", "config.json", {"before": "(inputs['model'].path / 'config.json').write_text('{}')"}),
        ("writes", "gone.txt", {"before": "os.remove(inputs['model'].path.parent / 'gone.txt')"}),
        ("hit", "another key", {"field": "now: float = Field(default_factory=TIME, description='s')", "top": CLOCK}),
    ],
)  # fmt: skip
def test_a_step_that_breaks_a_clause_is_told_so(findings, tmp_path, clause, message, parts):
    (tmp_path / "gone.txt").write_text("x", encoding="utf-8")
    found = findings(**parts)
    assert message in found.pop(clause)
    assert set(found) <= {"writes"}


def test_a_file_that_a_setting_names_must_count_by_its_content(findings, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("x", encoding="utf-8")
    found = findings(field="words: str = Field('', description='A file')", settings={"words": str(words)})
    assert found == {"miss": "what the file words holds is not part of the key: annotate the setting as ftx.FilePath"}


def test_a_file_that_is_marked_as_one_may_be_named(findings, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("x", encoding="utf-8")
    assert not findings(field="words: FilePath = Field('', description='A file')", settings={"words": str(words)})


def test_a_step_that_trips_over_what_a_killed_run_left_does_not_resume(findings):
    found = findings(kill=True, before="(context.work / 'begun').mkdir()")
    assert "FileExistsError" in found["resume"]


def test_a_step_that_gives_something_else_after_a_kill_does_not_resume(findings):
    before = "tries = context.work / 'tries'; tries.write_text(tries.read_text() + 'x' if tries.exists() else 'x')"
    found = findings(kill=True, before=before, after="shutil.copyfile(tries, context.out / 'tries.txt')")
    assert found == {"resume": "after a kill the result is another than without one: tries.txt"}


def test_a_step_that_cannot_run_in_a_process_of_its_own_does_not_resume(findings):
    # What pytest has imported is not there: a module that only this process knows.
    sys.modules["only_here"] = sys
    try:
        found = findings(kill=True, before="import only_here")
    finally:
        del sys.modules["only_here"]
    assert "in a process of its own the step did not run" in found["resume"]


def test_temporary_files_that_are_gone_again_are_nobodys_business(findings):
    assert not findings(before="import tempfile; tempfile.TemporaryDirectory().cleanup(); tempfile.TemporaryFile()")


def test_an_input_that_was_not_given_is_named(make_step, tmp_path):
    step, manager = make_step()
    [finding] = check_step(step, manager, {}, tmp_path / "runs")
    assert str(finding) == "run: the inputs model were not given to the check"


def test_a_step_that_is_never_cached_is_not_run(make_step, inputs, tmp_path):
    step, manager = make_step(more="cached=False", before="raise AssertionError('was run')")
    assert check_step(step, manager, inputs, tmp_path / "runs") == []


def test_every_clause_is_broken_by_some_step_here():
    text = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{clause}"' in text for clause in CLAUSES)
