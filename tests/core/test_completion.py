"""Completion as the shells ask for it: by environment variables, and a real bash that sources the script."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftx.artifacts import Manifest
from ftx.cli.completion import INSTALL
from ftx.events import Events
from ftx.planner import make_plan
from ftx.runner import run_plan
from ftx.store import Store

HEAVY = {"torch", "transformers", "datasets", "onnx", "onnxruntime", "openvino", "sklearn", "numpy", "pyarrow"}
BIN = Path(sys.executable).parent
DONE = "LOADED"


@pytest.fixture
def complete(ftx):
    """`complete(line)`: what bash is answered for a command line with the cursor at its end."""

    def ask(line, **environment):
        ran = ftx(COMP_LINE=line, _FTX_COMPLETE="bash_complete", **environment)
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        return [value for kind, value in (row.split("\t") for row in ran.stdout.splitlines() if row) if kind == "plain"]

    return ask


@pytest.fixture
def project_with_run(words_plugin, project, tmp_path):
    """A project in which the word steps ran; the store also holds a bundle of two variants."""
    config = project()
    plan = make_plan(["train", "export"], config, words_plugin)
    result = run_plan(plan, words_plugin, Events([]))
    assert result.error is None
    store = Store(plan.store)
    meta = {
        "variants": [{"name": f"onnx-{kind}", "format": "onnx", "runtime": "onnxruntime"} for kind in ("int8", "fp32")]
    }
    manifest = Manifest(kind="bundle", files={}, meta=meta, step="export:bundle")
    (store.objects / manifest.digest).mkdir()
    (store.objects / manifest.digest / "manifest.json").write_text(manifest.to_json())
    return f"--config {config.path}", result.record, manifest.digest


def test_commands_complete_with_those_of_plugins(complete, install):
    code = "from ftx import Command, hookimpl\n@hookimpl\ndef ftx_commands():\n yield Command('runway', 'x', 'a:b')"
    install("runway", code)
    assert complete("ftx ru") == ["run", "runs", "runway"]
    assert complete("ftx --no-plugins ru") == ["run", "runs"]


@pytest.mark.parametrize("command", ["run", "plan", "steps show", "run train"])
def test_steps_complete_by_stage_and_by_method(complete, command):
    assert complete(f"ftx {command} qu")[:3] == ["quantize", "quantize:auto", "quantize:bf16"]
    assert complete(f"ftx {command} quantize:st") == ["quantize:static"]
    assert complete(f"ftx {command} nonsense") == []


def test_the_steps_of_plugins_complete_too(complete, install):
    install(
        "cluster",
        """
        from ftx import Step, StepConfig, hookimpl
        @hookimpl
        def ftx_steps():
            yield Step(name="kmeans", stage="cluster", summary="x", takes={}, gives=None, config=StepConfig, run="a:b")
        """,
    )
    assert complete("ftx run cl") == ["cluster", "cluster:kmeans"]


def test_references_complete_from_the_runs_and_the_store(complete, project_with_run):
    config, record, digest = project_with_run
    assert complete(f"ftx show {config} latest") == [
        "latest",
        *("latest:data", "latest:data:words"),
        *("latest:evaluate", "latest:evaluate:test", "latest:evaluate:validation"),
        *("latest:export", "latest:export:words"),
        *("latest:train", "latest:train:words"),
    ]
    assert complete(f"ftx predict {config} latest:") == [
        *("latest:export", "latest:export:words", "latest:train", "latest:train:words")
    ]
    assert complete(f"ftx show {config} {digest[:3]}") == [digest[:12]]
    assert complete(f"ftx show {config} {digest[:20]}") == [digest[:20]]
    assert complete(f"ftx show {config} {record.id[:9]}") == [record.id]
    trained = next(step["artifact"]["digest"] for step in record.steps if step["step"] == "evaluate:test")
    assert complete(f"ftx show {config} {trained[:6]}") == [trained[:12]]
    assert complete(f"ftx predict {config} {trained[:6]}") == []


def test_the_variants_of_the_bundle_that_is_named_complete(complete, project_with_run):
    config, _, digest = project_with_run
    assert complete(f"ftx predict {config} {digest[:12]} --variant ") == ["onnx-int8", "onnx-fp32"]
    assert complete(f"ftx predict {config} {digest[:12]} --variant=onnx-i") == ["onnx-int8"]
    assert complete(f"ftx predict {config} ffffffffffff --variant ") == []
    assert complete("ftx predict --variant ") == []


def test_runtimes_executors_settings_and_choices_complete(complete):
    assert complete("ftx predict x --runtime o") == ["onnxruntime", "openvino"]
    assert complete("ftx run --executor ") == ["local"]
    assert complete("ftx run --set train.learning") == ["train.learning_rate="]
    assert complete("ftx run --set budget.f") == ["budget.f1_macro_drop=", "budget.flip_rate="]
    assert complete("ftx completion ") == ["bash", "zsh", "fish"]
    assert complete("ftx eval x --split ") == ["validation", "test"]
    assert "--schema" in complete("ftx init --s")


@pytest.mark.parametrize(
    "line", ["ftx show ", "ftx show latest", "ftx predict x --variant ", "ftx show --config missing.toml lat"]
)
def test_a_project_that_is_missing_or_wrong_completes_to_nothing_without_a_word(complete, tmp_path, line):
    assert complete(line) == []
    (tmp_path / "ftx.toml").write_text("store = 3\n[[[")
    assert complete(line) == []


def test_a_broken_plugin_is_no_hindrance_even_where_plugins_are_strict(complete, install):
    install("broken", "print('hello')\nraise RuntimeError('boom')")
    install(
        "greet",
        "from ftx import Command, hookimpl\n@hookimpl\ndef ftx_commands():\n yield Command('greet', 'x', 'a:b')",
    )

    def quiet(line):
        # What the plugin prints is its own affair, and goes to stderr.
        environment = {**os.environ, "COMP_LINE": line, "_FTX_COMPLETE": "bash_complete", "FTX_STRICT_PLUGINS": "1"}
        ran = subprocess.run([sys.executable, "-m", "ftx"], env=environment, capture_output=True, text=True, check=True)
        return ran.stdout

    assert quiet("ftx run quantize:st") == "plain\tquantize:static\n"
    assert quiet("ftx gr") == "plain\tgreet\n"
    assert "Traceback" not in quiet("ftx greet ")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_are_answered_in_their_own_form(ftx, shell):
    words = "ftx run quantize:st"
    current = "2" if shell == "zsh" else "quantize:st"
    out = ftx(COMP_WORDS=words, COMP_CWORD=current, _FTX_COMPLETE=f"{shell}_complete").stdout
    assert (r"quantize\:static" if shell == "zsh" else "plain,quantize:static\t") in out
    assert "calibrated" in out


@pytest.mark.parametrize("shell", INSTALL)
def test_the_script_asks_for_its_own_shell(ftx, shell):
    script = ftx("completion", shell).stdout
    assert f"_FTX_COMPLETE={shell}_complete" in script
    if found := shutil.which(shell):
        checked = subprocess.run([found, "-n"], input=script, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_an_unknown_shell_lists_the_known(ftx):
    ran = ftx("completion", "tcsh")
    assert ran.returncode == 2
    assert "'bash', 'zsh', 'fish'" in ran.stderr


@pytest.mark.parametrize("line", ["ftx ", "ftx run q", "ftx show lat", "ftx predict x --runtime "])
def test_completion_imports_nothing_heavy(line, tmp_path):
    code = f"import atexit, sys\natexit.register(lambda: print('{DONE}', *sys.modules))\n"
    code += "from ftx.cli import main\nmain([])"
    environment = {**os.environ, "COMP_LINE": line, "_FTX_COMPLETE": "bash_complete"}
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.split(DONE)[1].split()}
    assert "click" in loaded
    assert not loaded & HEAVY


class Bash:
    """An interactive bash on a terminal of its own, with ftx's completion."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PS1": "$ ", "TERM": "dumb"}
        environment["INPUTRC"] = "/dev/null"
        master, terminal = pty.openpty()
        self.process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(terminal)
        self.terminal = master
        self.ask('eval "$(ftx completion bash)"; echo rea""dy\n', "ready\r\n")

    def ask(self, keys: str, expected: str) -> str:
        """Press `keys`, and return what the terminal shows once that holds `expected`, or after half a minute."""
        os.write(self.terminal, keys.encode())
        shown, deadline = "", time.monotonic() + 30
        while expected not in shown and time.monotonic() < deadline:
            if select.select([self.terminal], [], [], 0.1)[0]:
                shown += os.read(self.terminal, 65536).decode()
        return shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


@pytest.fixture
def bash(tmp_path):
    if not shutil.which("bash"):
        pytest.skip("needs bash")
    shell = Bash(tmp_path)
    yield shell
    shell.close()


def test_a_real_bash_completes_a_method_behind_its_colon(bash):
    shown = bash.ask("ftx run train quantize:st\t", "quantize:static ")
    assert "ftx run train quantize:static " in shown


def test_a_real_bash_completes_what_the_methods_have_in_common_and_lists_them(bash):
    shown = bash.ask("ftx steps show export:o\t\t", "openvino")
    assert "export:o" in shown
    assert "onnx" in shown
    assert "export:export:" not in shown


def test_a_real_bash_leaves_the_cursor_behind_the_equals_sign_of_a_setting(bash):
    shown = bash.ask("ftx run train --set train.learning_r\t", "learning_rate=")
    shown += bash.ask("3e-5", "3e-5")
    assert shown.endswith("--set train.learning_rate=3e-5")
