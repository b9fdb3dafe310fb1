"""Two runs compared: the verdict of `ftx compare`, and both side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftx.errors import FtxError
from ftx.store import Store
from ftx.tasks import TEXT_CLASSIFICATION
from ftx.verdict import sentence, what_would_tell
from ftx_plugins.evaluate.compare import compare
from ftx_plugins.report import figures
from ftx_plugins.report.beside import Beside, beside, pair
from ftx_plugins.report.gather import RunSeen, open_made
from ftx_plugins.ui.finding import run_named
from ftx_plugins.ui.listing import seen


@dataclass(frozen=True)
class Compared:
    """`verdict` is `better`, `worse` or `cannot tell`, of the second run; or empty, and `why_not` says why."""

    verdict: str
    tone: str
    sentence: str
    details: tuple[str, ...]
    rows: tuple[tuple[str, str, str, str, str], ...]
    """(figure, the first's, the second's, difference, its interval)."""
    why_not: tuple[str, ...]
    beside: Beside | None


def compared(names: Sequence[str], split: str | None, store: Store) -> Compared:
    """Raises `NotThere` for a run that there is not."""
    runs = [_seen(name, store) for name in names]
    together = beside(runs, verdicts=False)
    try:
        found = compare(*pair(runs[0], runs[1], split))
    except FtxError as error:
        return Compared("", "", "", (), (), (error.message, *error.hints), together)
    test = found["mcnemar"]
    details = [
        f"{found['rows']:,} rows of the {found['split']} split; intervals are 95%, of a paired bootstrap",
        f"right: A alone {test['only_first']} rows, B alone {test['only_second']} rows; McNemar’s exact "
        f"p = {test['p_value']:.3g}",
        *what_would_tell(found),
    ]
    tone = {"better": "gain", "worse": "loss"}.get(found["verdict"], "")
    return Compared(found["verdict"], tone, sentence(found), tuple(details), tuple(_rows(found)), (), together)


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str, str, str, str]]:
    right = "accuracy" if found["task"] == TEXT_CLASSIFICATION else "all labels right"
    return [
        (
            title,
            figures.percent(found[name]["a"], 2),
            figures.percent(found[name]["b"], 2),
            f"{figures.points(found[name]['difference'], 2)} points",
            figures.points_interval(found[name]["interval"], 2),
        )
        for name, title in (("accuracy", right), ("f1_macro", "macro F1"))
    ]


def _seen(name: str, store: Store) -> RunSeen:
    return seen(run_named(name, store), store, lambda made: open_made(made, store))
