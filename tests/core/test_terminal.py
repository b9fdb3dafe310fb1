"""What a run looks like on wide and narrow terminals, without colour, in a log and when told to be quiet.

Each is recorded in `terminal/NAME.txt`. Where the looks are meant to change: `FTX_RECORD=1 pytest
tests/core/test_terminal.py`, and look at the difference.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ftx.console import RunConsole, print_scoreboard
from ftx.pace import Pace, duration_text, rate_text
from ftx.scoreboard import rows_of

RECORDED = Path(__file__).parent / "terminal"
ESCAPE = "\x1b"
STEPS = ("data:clean", "train:finetune", "evaluate:validation", "quantize:auto", "evaluate:validation")
ARTIFACT = {"digest": "c0ffee" * 10 + "c0ff", "kind": "checkpoint", "path": "/p"}
FIGURES = {"accuracy": 0.762, "f1_macro": 0.741, "f1_micro": 0.762, "batch_flip_rate": 0.0}


def model(variant: str | None, p50: float, rate: float, size: float | None, flips: float = 0.0) -> dict[str, Any]:
    timing = {"p50_ms": p50, "p95_ms": 1.4 * p50, "rows_per_second": rate, "size_mb": size, "flip_rate": flips}
    return FIGURES | timing | {"variant": variant, "quantized": variant is not None}


ROWS = [
    *rows_of("train:finetune", {"split": "validation", "rows": 1000, "models": [model(None, 11.9, 222, 90.9)]}),
    *rows_of("quantize:auto", {"split": "validation", "rows": 1000, "models": [model(None, 19.1, 117, None, 0.008)]}),
    *rows_of(
        "export:bundle",
        {
            "split": "validation",
            "rows": 1000,
            "models": [
                model("openvino-int8", 8.57, 10419, 23.4, 0.01),
                model("torchscript-int8", 6.9, 407, 23.4, 0.008),
            ],
        },
    ),
]


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def drawn(console: Console, run: RunConsole, say: Callable[[str], None]) -> None:
    with console.capture() as captured:
        console.print(run.display)
    for line in captured.get().splitlines():
        say(f"~ {line.rstrip()}")


def play(width: int, *, live: bool, **options: Any) -> str:
    """The lines of a run; those that begin with ~ are drawn again and again, as they look at that moment."""
    out, clock = io.StringIO(), Clock()
    environment = {"TERM": "xterm"} | options.pop("environment", {})
    console = Console(file=out, width=width, highlight=False, force_terminal=live, _environ=environment)
    run = RunConsole(console=console, clock=clock, live=live, **options)

    def tell(event: str, seconds: float = 0.0, **values: Any) -> None:
        clock.now += seconds
        run(event, values)
        if live and event == "step_progress":
            drawn(console, run, lambda line: out.write(f"{line}\n"))

    def progress(step: str, done: float, total: float | None, unit: str, seconds: float, **figures: Any) -> None:
        tell("step_progress", seconds, step=step, done=done, total=total, unit=unit, figures=figures)

    def finished(step: str, seconds: float, *, cached: bool = False) -> None:
        result = {"cached": cached, "seconds": seconds, "artifact": ARTIFACT}
        tell("step_finished", step=step, result=result)

    tell("run_started", run="20260102-030405-006aa", steps=STEPS)
    tell("warning", message="openvino is not installed: the bundle gets no variant of it")
    tell("step_started", step=STEPS[0], key="k")
    finished(STEPS[0], 0.0, cached=True)
    tell("step_started", step=STEPS[1], key="k")
    progress(STEPS[1], 0, 126, "steps", 11, epoch=0)
    progress(STEPS[1], 50, 126, "steps", 26, epoch=0.79, loss=0.6931)
    tell("step_log", step=STEPS[1], message="epoch 1: training loss 0.6, validation loss 0.5, accuracy 0.7620")
    progress(STEPS[1], 100, 126, "steps", 200, epoch=1.59, loss=0.4211, accuracy=0.762)
    tell("step_warning", step=STEPS[1], message="the loss [of the last epoch] rises")
    finished(STEPS[1], 237.4)
    tell("step_started", step=STEPS[2], key="k")
    progress(STEPS[2], 12000, None, "rows", 11, model="torch")
    progress(STEPS[2], 36000, None, "rows", 12, model="torch")
    tell("step_waiting", step=STEPS[2])
    tell("step_failed", step=STEPS[2], error="boom")
    tell("run_finished", run="20260102-030405-006aa", status="failed")
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def without_styles(text: str) -> str:
    return re.sub(r" +$", "", re.sub(r"\x1b\[[0-9;]*m", "", text), flags=re.MULTILINE)


def scoreboard(width: int) -> str:
    out = io.StringIO()
    print_scoreboard(ROWS, file=out, width=width)
    return out.getvalue()


SCENES: Mapping[str, Callable[[], str]] = {
    "wide": lambda: without_styles(play(100, live=True)),
    "narrow": lambda: without_styles(play(60, live=True)),
    "colour": lambda: play(100, live=True).replace(ESCAPE, "\\e"),
    "no-colour": lambda: play(100, live=True, environment={"NO_COLOR": "1"}).replace(ESCAPE, "\\e"),
    "log": lambda: play(80, live=False),
    "quiet": lambda: play(80, live=False, quiet=True),
    "quiet-terminal": lambda: play(60, live=True, quiet=True, environment={"NO_COLOR": "1"}),
    "scoreboard-120": lambda: scoreboard(120),
    "scoreboard-80": lambda: scoreboard(80),
    "scoreboard-60": lambda: scoreboard(60),
    "scoreboard-40": lambda: scoreboard(40),
}


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_looks_as_recorded(scene):
    seen, path = SCENES[scene](), RECORDED / f"{scene}.txt"
    if os.environ.get("FTX_RECORD"):
        path.write_text(seen, encoding="utf-8")
    assert seen == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_line_of_the_scoreboard_is_wider_than_the_terminal(width):
    assert max(map(len, scoreboard(width).splitlines())) <= width


def test_what_is_redrawn_takes_one_line_of_a_narrow_terminal():
    redrawn = [line.removeprefix("~ ") for line in play(60, live=True).splitlines() if line.startswith("~")]
    bare = [without_styles(line) for line in redrawn]
    assert len(bare) == 5
    assert all(len(line) <= 60 and line.startswith("[") for line in bare)


def test_a_log_has_no_control_characters():
    assert ESCAPE not in play(80, live=False) and "\r" not in play(80, live=False)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["colour", "NO_COLOR", "dumb"],
)
def test_errors_have_colour_only_on_a_terminal_that_wants_it(environment, coloured, tmp_path):
    leader, follower = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI")}
    command = [sys.executable, "-m", "ftx", "show", "nothing"]
    options = {"cwd": tmp_path, "env": {**kept, "TERM": "xterm", **environment}}
    code = subprocess.run(command, stdout=follower, stderr=follower, stdin=follower, check=False, **options).returncode
    os.close(follower)
    said = os.read(leader, 65536).decode()
    os.close(leader)
    assert code == 2
    assert "error: there is no artifact nothing" in said
    assert (ESCAPE in said) is coloured


@pytest.mark.parametrize(
    ("environment", "live"),
    [({}, True), ({"CI": "true"}, False), ({"TERM": "dumb"}, False), ({"TTY_INTERACTIVE": "0"}, False)],
    ids=["terminal", "CI", "dumb", "told"],
)
def test_bars_are_drawn_only_where_lines_can_be_drawn_again(environment, live, monkeypatch):
    for name in ("CI", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as file:
        run = RunConsole(console=Console(file=file, width=80))
        assert (run.display is not None) and run._live is live
    os.close(leader)


def test_a_log_is_no_terminal_where_colour_is_forced(monkeypatch, tmp_path):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("CI", raising=False)
    with (tmp_path / "log").open("w") as file:
        assert RunConsole(console=Console(file=file))._live is False


def test_the_pace_follows_the_work_and_begins_anew_with_another():
    clock = Clock()
    pace = Pace(clock)
    pace.update(0, 100, "steps")
    assert (pace.rate, pace.seconds_left) == (None, None)
    clock.now = 10
    pace.update(20, 100, "steps")
    assert (pace.rate, pace.seconds_left) == (2.0, 40.0)
    clock.now = 200  # what is longer ago than a minute counts no more
    pace.update(39, 100, "steps")
    assert pace.rate == pytest.approx(0.1)
    pace.update(5, 100, "steps")
    assert pace.rate is None
    clock.now = 210
    pace.update(25, None, "steps")
    assert pace.rate is None
    clock.now = 220
    pace.update(26, None, "steps")
    assert (pace.rate, pace.seconds_left) == (0.1, None)


def test_rates_and_durations_are_told_with_the_digits_that_count():
    assert [rate_text(rate) for rate in (0.0421, 1.94, 38.2, 12345.6)] == ["0.042/s", "1.9/s", "38/s", "12,346/s"]
    assert [duration_text(each) for each in (0.2, 59.4, 59.6, 3590, 4800)] == [
        *("0 s", "59 s", "1 min", "1 h 00 min", "1 h 20 min"),
    ]
