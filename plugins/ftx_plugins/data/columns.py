"""What is said about columns that are not there. Light."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Sequence

from ftx.errors import FtxError, Problem
from ftx_plugins.data.config import DataConfig


def column_problems(config: DataConfig, columns: Sequence[str], file: str) -> Iterator[Problem]:
    """A problem for each column that the settings ask for and `file` (with these `columns`) has not, or has twice."""
    there = ", ".join(columns[:20]) + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")
    counts = Counter(columns)
    free = [name for name in columns if name not in config.wanted.values()]
    if file.endswith((".csv", ".tsv")) and (separator := _other_separator(columns)):
        hint = f"set the separator: --set 'data.separator={json.dumps(separator)}'"
        yield Problem(f"{file} has one column, {columns[0]!r}", "data.separator", (hint,))
        return
    for label in config.label_columns or (config.label,):
        if label in (config.text, config.text_pair):
            setting = "data.label_columns" if config.label_columns else "data.label"
            yield Problem(f"{label!r} is the column of texts too", setting, ("name two columns",))
    for setting, name in config.wanted.items():
        if counts[name] > 1:
            yield Problem(f"{file} has {counts[name]} columns called {name!r}", setting, ("rename one in the file",))
        elif not counts[name]:
            near = _nearest(name, free)
            guess = f"; did you mean {near!r}?" if near else "."
            hint = f'set it: --set {setting}="{near or free[0]}"' if free else f"name a column of the file: {setting}"
            if "[" in setting:  # one of several: TOML has no way to set it alone
                setting = setting.partition("[")[0]
                hint = f"name columns of the file: {setting}"
            yield Problem(f"{file} has no column {name!r}{guess} It has: {there}", setting, (hint,))


def require_columns(config: DataConfig, columns: Sequence[str], file: str) -> None:
    """Raise `FtxError` with all that `column_problems` finds."""
    problems = list(column_problems(config, columns, file))
    if problems:
        hints = dict.fromkeys(hint for problem in problems for hint in problem.hints)
        raise FtxError("\n".join(map(str, problems)), *hints)


def _other_separator(columns: Sequence[str]) -> str | None:
    """What the columns seem to be separated by, where all of the header was taken for one."""
    return next((mark for mark in (";", "\t", ",", "|") if mark in columns[0]), None) if len(columns) == 1 else None


def _nearest(name: str, columns: Sequence[str]) -> str | None:
    by_fold = {column.strip().casefold(): column for column in columns}
    near = difflib.get_close_matches(name.casefold(), by_fold, n=1)
    return by_fold[near[0]] if near else None
