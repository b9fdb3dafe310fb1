"""A plugin written against the oldest supported hooks keeps working, unchanged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ftx.events import Events
from ftx.runner import run_plan
from ftx.testing.execution import plan_of

PLUGIN = "ftx_frozen_api1"


@pytest.fixture
def plugins(isolated_plugins, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "frozen"))
    yield isolated_plugins(PLUGIN, built_in=False)
    sys.modules.pop(PLUGIN, None)


def test_its_step_keeps_the_contract(plugins, check_contract):
    check_contract(plugins.steps()["stamp:text"], plugins)


def test_its_observers_are_told_what_they_were_told_then(plugins, tiny_checkpoint, tmp_path):
    step = plugins.steps()["stamp:text"]
    plan = plan_of(step, step.config(text="four"), {"model": tiny_checkpoint}, plugins.origin(step), tmp_path)
    assert run_plan(plan, plugins, Events()).error is None
    assert sys.modules[PLUGIN].SEEN == [
        ("run_started", ("stamp:text",)),
        ("step_finished", "stamp:text", False, {"letters": 4}, "checkpoint"),
        ("run_finished", "done"),
    ]
