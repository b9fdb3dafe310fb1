from __future__ import annotations

import inspect
import textwrap
import types

import pytest

from ftx import hookspecs
from ftx.plugins import PluginManager

HOOKS = [name for name in vars(hookspecs) if name.startswith("ftx_")]


def example(hook):
    """The code in a hookspec's docstring."""
    text = inspect.getdoc(getattr(hookspecs, hook))
    return textwrap.dedent(text.split("Example:\n", 1)[1])


@pytest.mark.parametrize("hook", HOOKS)
def test_the_example_of_each_hook_works(hook, monkeypatch, capsys):
    module = types.ModuleType("example_plugin")
    exec(example(hook), module.__dict__)
    monkeypatch.setitem(__import__("sys").modules, "example_plugin", module)
    manager = PluginManager.load(built_in=False, third_party=False)
    manager.add("example", "example_plugin", "example", "1")
    assert manager.broken() == []
    if hook in hookspecs.OBSERVERS:
        progress = {"done": 1, "total": 2, "unit": "", "figures": {}}
        values = {"run": "r", "steps": ("a",), "step": "a", "key": "k", "error": "e", "status": "done"}
        assert manager.notify(hook, **values, progress=progress, result={"metrics": {}}) == []
        assert capsys.readouterr().out
    else:
        registries = [manager.steps(), manager.metrics("text-classification"), manager.runtimes(), manager.commands()]
        registries += [manager.architectures(), manager.translators()]
        added = [name for registry in registries for name in registry]
        added += [name for name in manager.executors() if name != "local"]
        assert len(added) == 1
        assert manager.broken() == []


def test_every_hook_is_documented():
    assert all("Example:" in (inspect.getdoc(getattr(hookspecs, hook)) or "") for hook in HOOKS)
