from __future__ import annotations

import pytest

from ftx.errors import FtxError
from ftx.plugins import PluginManager

STEP = """
    from ftx import Checkpoint, Step, StepConfig, hookimpl

    class Config(StepConfig):
        pass

    @hookimpl
    def ftx_steps():
        yield Step(name="{name}", stage="{stage}", summary="x", takes={{"model": Checkpoint}}, gives="model",
                   config=Config, run="nowhere:run")
"""


def info(manager, name):
    return next(info for info in manager.infos if info.name == name)


def test_an_installed_plugin_adds_its_step_and_is_named_as_its_origin(install):
    install("cluster", STEP.format(name="kmeans", stage="cluster"))
    manager = PluginManager.load(built_in=False)
    step = manager.steps()["cluster:kmeans"]
    assert str(manager.origin(step)) == "cluster (ftx-cluster 2.1)"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise RuntimeError('boom')", "RuntimeError: boom"),
        ("import a_package_that_is_not_there", "ModuleNotFoundError"),
        ("import sys; sys.exit(3)", "SystemExit"),
        ("from ftx import hookimpl\n@hookimpl\ndef ftx_stepz(): yield 1", "ftx_stepz"),
        ("from ftx import hookimpl\n@hookimpl\ndef ftx_step_failed(step, nonsense): pass", "nonsense"),
        ("from ftx import hookimpl\n@hookimpl\ndef ftx_steps(): yield 42", "not a Step"),
        ("from ftx import hookimpl\n@hookimpl\ndef ftx_steps(): raise KeyError('x')", "KeyError"),
    ],
)
def test_a_broken_plugin_is_reported_and_the_others_work(install, code, error):
    install("broken", code)
    install("whole", STEP.format(name="kmeans", stage="cluster"))
    manager = PluginManager.load(built_in=False)
    assert "cluster:kmeans" in manager.steps()
    assert error in info(manager, "broken").error
    assert info(manager, "broken").version == "2.1"


def test_a_step_of_the_wrong_stage_breaks_its_plugin(install):
    install("odd", STEP.format(name="x", stage="cluster").replace("ftx_steps", "ftx_train"))
    manager = PluginManager.load(built_in=False)
    assert "cluster:x" not in manager.steps()
    assert "not of the stage train" in info(manager, "odd").error


def test_two_plugins_with_one_step_are_a_problem_that_names_both(install):
    install("one", STEP.format(name="kmeans", stage="cluster"))
    install("two", STEP.format(name="kmeans", stage="cluster"))
    manager = PluginManager.load(built_in=False)
    manager.steps()
    message = str(manager.problems[0])
    assert "one (ftx-one 2.1)" in message
    assert "two (ftx-two 2.1)" in message


def test_a_built_in_name_is_reserved(install):
    install("usurper", STEP.format(name="dynamic", stage="quantize"))
    manager = PluginManager.load()
    assert manager.origin(manager.steps()["quantize:dynamic"]).built_in
    assert "usurper (ftx-usurper 2.1)" in str(manager.problems[0])


def test_a_blocked_plugin_is_not_imported(install, monkeypatch, tmp_path):
    install("loud", f"open({str(tmp_path / 'imported')!r}, 'w')")
    monkeypatch.setenv("FTX_PLUGINS", "-loud")
    PluginManager.load(built_in=False)
    assert not (tmp_path / "imported").exists()


def test_only_the_plugins_named_load(install, monkeypatch):
    install("one", STEP.format(name="a", stage="cluster"))
    install("two", STEP.format(name="b", stage="cluster"))
    monkeypatch.setenv("FTX_PLUGINS", "two")
    assert list(PluginManager.load(built_in=False).steps()) == ["cluster:b"]


def test_strict_plugins_make_a_broken_one_an_error(install, monkeypatch):
    install("broken", "raise RuntimeError('boom')")
    monkeypatch.setenv("FTX_STRICT_PLUGINS", "1")
    with pytest.raises(FtxError, match="boom"):
        PluginManager.load(built_in=False)


def test_a_plugins_command_is_listed_and_runs(install, ftx):
    install(
        "greet",
        """
        import click
        from ftx import Command, hookimpl

        @click.command()
        def greet():
            click.echo("hello from a plugin")

        @hookimpl
        def ftx_commands():
            yield Command(name="greet", summary="Say hello", command="ftx_greet:greet")
        """,
    )
    assert "greet Say hello" in " ".join(ftx("--help").stdout.split())
    assert ftx("greet").stdout == "hello from a plugin\n"
    assert ftx("--no-plugins", "greet").returncode == 2


def test_the_built_in_plugins_are_whole():
    manager = PluginManager.load(third_party=False)
    manager.steps(), manager.runtimes(), manager.metrics("text-classification"), manager.executors()
    assert manager.broken() == []
    assert manager.problems == []
