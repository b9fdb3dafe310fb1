"""A report as one page of HTML: style, script and charts inside it, nothing fetched, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ftx import html_page
from ftx.runs import RunRecord
from ftx.store import Store
from ftx_plugins.report import figures, making, origins, quality, scores
from ftx_plugins.report.beside import beside
from ftx_plugins.report.gather import RunSeen, gather
from ftx_plugins.report.headline import Headline, headline

TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class RunShown:
    """All that the page shows of one run; what the run has not is None or empty, and its section is left out."""

    id: str
    status: str
    words: str
    started: str
    took: str
    model: str
    error: tuple[str, ...]
    headline: Headline
    boards: Sequence[scores.Board]
    scatters: scores.Scatters | None
    budget: str
    differences: Sequence[quality.Difference]
    classes: Sequence[quality.Whisker]
    lengths: Sequence[quality.Whisker]
    confusions: Sequence[quality.Confusion]
    calibration: quality.Calibration | None
    flips: quality.Flips | None
    trainings: Sequence[making.Training]
    prunings: Sequence[making.Pruning]
    quantizations: Sequence[making.Quantization]
    race: making.Race | None
    data: origins.Data | None
    lineage: origins.Lineage | None
    steps: Sequence[origins.StepShown]
    environment: Sequence[tuple[str, str]]
    collected: bool
    """Whether the store no longer has some of what the run made."""

    @property
    def sections(self) -> list[tuple[str, str]]:
        """The parts that there are, (name in links, title), in their order on the page."""
        found = [
            ("scoreboard", "Scoreboard", bool(self.boards)),
            ("quality", "Quality", bool(self.differences or self.confusions or self.calibration)),
            ("changed", "Changed labels", self.flips is not None and self.flips.total > 0),
            ("training", "Training", bool(self.trainings)),
            ("pruning", "Pruning", bool(self.prunings)),
            ("quantization", "Quantization", bool(self.quantizations)),
            ("choice", "Choice", self.race is not None),
            ("data", "Data", self.data is not None),
            ("lineage", "Lineage", self.lineage is not None),
            ("steps", "Settings", bool(self.steps)),
            ("environment", "Environment", bool(self.environment)),
        ]
        return [(name, title) for name, title, there in found if there]


def render(records: Sequence[RunRecord], store: Store) -> str:
    """The page of these runs: one after the other, and side by side above them where there are several."""
    runs = [gather(record, store) for record in records]
    several = len(runs) > 1
    return html_page.render(
        TEMPLATES,
        "report",
        runs=[_shown(run) for run in runs],
        beside=beside(runs),
        scatters=scores.scatters(runs, names=[run.record.id for run in runs]) if several else None,
        columns=scores.COLUMNS,
        row_height=origins.ROW_HEIGHT,
        most_labels=quality.MOST_LABELS,
    )


def _shown(run: RunSeen) -> RunShown:
    record = run.record
    error = record.error or {}
    limits = ", ".join(f"{name} {figures.short(limit)}" for name, limit in run.budget.limits().items())
    return RunShown(
        id=record.id,
        status=record.status,
        words=" ".join(record.words),
        started=record.started.replace("T", " ")[:16],
        took=took(record),
        model=str(run.plan.get("model", "")),
        error=(*str(error["message"]).splitlines(), *error.get("hints", ())) if error else (),
        headline=headline(run),
        boards=scores.boards(run),
        scatters=scores.scatters([run], names=[""]),
        budget=limits,
        differences=quality.differences(run),
        classes=quality.slices(run, "classes"),
        lengths=quality.slices(run, "lengths"),
        confusions=quality.confusions(run),
        calibration=quality.calibration(run),
        flips=quality.flips(run),
        trainings=making.trainings(run),
        prunings=making.prunings(run),
        quantizations=making.quantizations(run),
        race=making.race(run),
        data=origins.data(run),
        lineage=origins.lineage(run),
        steps=origins.steps(run),
        environment=origins.environment(run),
        collected=any(step.digest and step.artifact is None for step in run.steps),
    )


def took(record: RunRecord) -> str:
    """How long a run took; empty for one that is not over."""
    if record.finished is None:
        return ""
    if record.steps and all(step["cached"] for step in record.steps):
        return "all reused"
    took = datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)
    return figures.seconds(took.total_seconds())
