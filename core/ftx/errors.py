"""Every error that a user may see, and the exit codes.

    FtxError            code, message, hints
    ├── PlanError       every problem of a plan at once; exit code 2
    ├── BudgetError     a step lost more than the budget allows; exit code 3
    ├── Stopped         whoever listens to the run has seen enough of it; no failure
    └── Bug             what nobody foresaw; shown with its traceback; exit code 1

An error ends with the next command to try: the last hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says to the shell."""

    DONE = 0
    STEP_FAILED = 1
    USER = 2
    """The user must change something: usage, plan, or what `data` finds in the files."""
    BUDGET = 3
    INTERRUPTED = 130


class FtxError(Exception):
    """One clear error.

    `code` is the exit code, `message` says what is wrong and where, and each of `hints` says what to do about it.
    """

    def __init__(self, message: str, *hints: str, code: ExitCode = ExitCode.USER) -> None:
        super().__init__(message)
        self.message = message
        self.hints = hints
        self.code = code

    def __str__(self) -> str:
        return "\n".join([self.message, *(f"  → {hint}" for hint in self.hints)])


class Bug(FtxError):
    """What nobody foresaw: an exception that is no `FtxError`, which is its cause."""

    def __init__(self, message: str, *hints: str) -> None:
        super().__init__(message, *hints, code=ExitCode.STEP_FAILED)


class BudgetError(FtxError):
    """The budget is broken by what a step made. `excess` says how far the nearest candidate is beyond its limits:
    the largest of the shares by which it exceeds one, infinite where that limit is 0.
    """

    def __init__(self, message: str, *hints: str, excess: float) -> None:
        super().__init__(message, *hints, code=ExitCode.BUDGET)
        self.excess = excess


class Stopped(FtxError):
    """Raised by a listener of a run's events to end the run: it is recorded as stopped, not as failed."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=ExitCode.DONE)


@dataclass(frozen=True)
class Problem:
    """Something that keeps a plan from running: `where` names the step, the setting or the file it is about."""

    message: str
    where: str = ""
    hints: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class PlanError(FtxError):
    """All problems of a plan, found before anything ran."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = [f"{count} problem{'s' if count != 1 else ''} in the plan; nothing was run"]
        hints: dict[str, None] = {}
        for problem in self.problems:
            lines.append(f"  • {problem}")
            hints.update(dict.fromkeys(problem.hints))
        super().__init__("\n".join(lines), *hints)
