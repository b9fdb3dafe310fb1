"""A run that dies before any one of its file operations leaves a store that is whole, and the next run completes."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from ftx.collection import verify_all
from ftx.events import Events
from ftx.planner import make_plan
from ftx.runner import run_plan
from ftx.store import Store

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}
"""Audit events of what changes a file system (opening to write creates, or cuts)."""


def die_before(number: int, root: Path) -> None:
    """Kill this process before its operation of that number under `root`."""
    left = number

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in CHANGES and str(root) in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def run_dying_before(number: int, plan, plugins) -> bool:
    """Carry out the plan in a child that dies before that operation; whether it came to that."""
    child = os.fork()
    if child == 0:
        die_before(number, plan.store)
        run_plan(plan, plugins, Events())
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_run_killed_before_any_file_operation_leaves_whole_artifacts_and_completes(words_plugin, project):
    plan = make_plan(["train"], project(), words_plugin)
    store = Store(plan.store)
    number = 1
    while run_dying_before(number, plan, words_plugin):
        assert verify_all(store)[1] == [], f"after a kill before operation {number}"
        if number % 10 == 0:
            assert run_plan(plan, words_plugin, Events()).status == "done"
            assert verify_all(store)[1] == []
            assert not list((store.root / "tmp").iterdir())
        shutil.rmtree(store.root, ignore_errors=True)
        number += 1
    assert number > 50


def test_a_repair_killed_before_any_file_operation_is_done_by_the_next_run(words_plugin, project):
    plan = make_plan(["train"], project(), words_plugin)
    store = Store(plan.store)
    made = Path(run_plan(plan, words_plugin, Events()).record.artifact["path"]) / "words.txt"
    number = 0
    while True:
        number += 1
        made.chmod(0o644)
        made.write_text("damaged")
        died = run_dying_before(number, plan, words_plugin)
        assert run_plan(plan, words_plugin, Events()).status == "done"
        assert verify_all(store)[1] == []
        assert made.read_text() == "hello"
        if not died:
            break
    assert number > 10
