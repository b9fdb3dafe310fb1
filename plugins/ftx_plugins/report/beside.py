"""Several runs side by side: their outcomes, whether one is better, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftx.artifacts import Evaluation
from ftx.errors import FtxError
from ftx.looked_at import SPLITS, LookedAt
from ftx.scoreboard import model_name
from ftx_plugins.report import figures
from ftx_plugins.report.gather import RunSeen

ABSENT = "·"
"""In the place of a setting of a step that the run has not."""


@dataclass(frozen=True)
class Beside:
    """`lines` are (title, a cell for each run); a cell is (text, detail)."""

    runs: tuple[str, ...]
    lines: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    settings: tuple[tuple[str, tuple[str, ...]], ...]


def beside(runs: Sequence[RunSeen], *, verdicts: bool = True) -> Beside | None:
    """None for one run alone. `verdicts` compares each with the first, which needs scikit-learn."""
    if len(runs) < 2:
        return None
    lines = [
        ("status", tuple((run.record.status, run.record.started.replace("T", " ")[:16]) for run in runs)),
        ("asked for", tuple((" ".join(run.record.words), "") for run in runs)),
        ("outcome", tuple(_outcome(run) for run in runs)),
        ("accuracy", tuple(_quality(run, "accuracy") for run in runs)),
        ("macro F1", tuple(_quality(run, "f1_macro") for run in runs)),
        ("labels changed", tuple(_flips(run) for run in runs)),
        ("p95 of one text", tuple((figures.milliseconds((run.outcome or {}).get("p95_ms")), "") for run in runs)),
        ("rows a second", tuple((figures.rate((run.outcome or {}).get("rows_per_second")), "") for run in runs)),
        ("size", tuple((figures.megabytes((run.outcome or {}).get("size_mb")), "") for run in runs)),
    ]
    if verdicts:
        lines.append(("against the first", (("", ""), *(_verdict(runs[0], run) for run in runs[1:]))))
    return Beside(tuple(run.record.id for run in runs), tuple(lines), tuple(_different_settings(runs)))


def _outcome(run: RunSeen) -> tuple[str, str]:
    if run.outcome is None or run.final is None:
        return (figures.NONE, "nothing was evaluated")
    return (model_name(run.outcome), f"{run.final.subject}, {run.final.rows} {run.final.split} rows")


def _quality(run: RunSeen, name: str) -> tuple[str, str]:
    outcome = run.outcome or {}
    return (figures.percent(outcome.get(name)), figures.percent_interval(outcome.get("intervals", {}).get(name)))


def _flips(run: RunSeen) -> tuple[str, str]:
    outcome = run.outcome or {}
    ends = outcome.get("intervals", {}).get("flip_rate")
    return (figures.percent(outcome.get("flip_rate"), 2), figures.percent_interval(ends))


def pair(first: RunSeen, other: RunSeen, split: str | None = None) -> tuple[LookedAt, LookedAt]:
    """The outcomes of two runs in the evaluations that they have of a split of the same data; the test split's where
    both have it. Raises `FtxError` where there are none."""
    hint = f"evaluate both on the same: ftx eval {first.record.id}; ftx eval {other.record.id}"
    for name in SPLITS if split is None else (split,):
        one, two = (_of_outcome(run, name) for run in (first, other))
        if one is None or two is None:
            continue
        data = [each.evaluation.manifest.inputs.get("data", "") for each in (one, two)]
        if data[0] == data[1]:
            return one, two
        raise FtxError(
            f"the two were evaluated on different data ({data[0][:12] or 'unknown'} and {data[1][:12] or 'unknown'}): "
            "a row of one may have trained the other",
            hint,
        )
    wanted = f"of the {split} split" if split else "of any split"
    raise FtxError(f"the store has no evaluation {wanted} of what both runs end with", hint)


def _of_outcome(run: RunSeen, split: str) -> LookedAt | None:
    """What the run ends with, in its last evaluation of a split that the store still has."""
    name = model_name(run.outcome) if run.outcome else None
    for each in reversed(run.evaluated):
        kept = each.step.artifact
        # Before the test split is looked at, each step's model is evaluated: the last one is the outcome's.
        if each.split == split and isinstance(kept, Evaluation) and name is not None and each.model(name):
            return LookedAt(run.record.id, kept, name)
    return None


def _verdict(first: RunSeen, other: RunSeen) -> tuple[str, str]:
    """Of `ftx compare`, by the outcomes; or why there is none."""
    if first.outcome is None or other.outcome is None:
        return ("not compared", "one of them was not evaluated")
    from ftx_plugins.evaluate.compare import compare  # needs scikit-learn, which one run alone does not

    try:
        found = compare(*pair(first, other))
    except FtxError as error:
        return ("not comparable", error.message)
    change = found["accuracy"]
    ends = figures.points_interval(change["interval"])
    detail = (
        f"{figures.points(change['difference'])} points of accuracy ({ends}), p = {found['mcnemar']['p_value']:.2g}"
    )
    return (str(found["verdict"]), detail)


def _different_settings(runs: Sequence[RunSeen]) -> list[tuple[str, tuple[str, ...]]]:
    """The settings that are not the same in all runs; a step's second time in a run counts as its first."""
    of_run: list[dict[str, str]] = []
    for run in runs:
        values: dict[str, str] = {}
        for step in run.steps:
            for name, setting in step.settings.items():
                values.setdefault(f"{step.name}  {name}", figures.short(setting["value"]))
        values |= {f"budget  {name}": figures.short(limit) for name, limit in run.budget.limits().items()}
        if run.plan:
            values |= {name: figures.short(run.plan[name]) for name in ("model", "seed", "device")}
        of_run.append(values)
    names = dict.fromkeys(name for values in of_run for name in values)
    rows = [(name, tuple(values.get(name, ABSENT) for values in of_run)) for name in names]
    # A step that one of the runs has not differs in all its settings, which says nothing more.
    shared = [
        (name, cells) for name, cells in rows if len(set(cells)) > 1 and (ABSENT not in cells or "  " not in name)
    ]
    steps = [dict.fromkeys(step.name for step in run.steps if step.stage != "evaluate") for run in runs]
    alone = [name for name in dict.fromkeys(name for own in steps for name in own) if any(name not in s for s in steps)]
    return [*((name, tuple("yes" if name in own else ABSENT for own in steps)) for name in alone), *shared]
