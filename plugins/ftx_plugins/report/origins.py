"""Where it all comes from: the data, the steps with their settings, the lineage of the artifacts, the machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ftx_plugins.report import figures
from ftx_plugins.report.charts import arcs
from ftx_plugins.report.gather import RunSeen, StepDone, read_json

Json = Mapping[str, Any]
ROW_HEIGHT = 44
"""Pixels of an artifact in the lineage; the style sheet has the same."""
COUNTS = {
    "read": "rows read",
    "kept": "kept",
    "empty_text": "without text",
    "missing_label": "without label",
    "duplicates_exact": "exact duplicates dropped",
    "duplicates_near": "near duplicates dropped",
    "duplicates_across_splits": "duplicates across splits dropped",
    "conflicting_labels": "dropped for contradicting labels",
    "leaked": "dropped for near duplicates in a validation or test file",
    "excluded": "left out by data.exclude",
    "beyond_cap": "beyond the cap",
}
SHOWN = 24
"""Metrics of a step that are listed."""


@dataclass(frozen=True)
class Split:
    """Rows of a split, and those of each label: (label, rows, their percentage of the largest label's)."""

    name: str
    rows: int
    labels: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True)
class Data:
    step: str
    counts: tuple[tuple[str, str], ...]
    splits: tuple[Split, ...]
    facts: tuple[tuple[str, str], ...]
    conflicts: tuple[str, ...]


def data(run: RunSeen) -> Data | None:
    """What the data step found in the files."""
    step = next((step for step in run.of_stage("data") if "splits" in step.metrics), None)
    if step is None:
        return None
    metrics = step.metrics
    counts = tuple(
        (title, f"{metrics['rows'][name]:,}")
        for name, title in COUNTS.items()
        if name in ("read", "kept") or metrics["rows"].get(name)
    )
    splits = tuple(_split(name, rows, metrics) for name, rows in metrics["splits"].items())
    report = read_json(step.artifact, "report.json")
    examples = tuple(figures.short(each)[:300] for each in report.get("conflict_examples", ())[:5])
    return Data(step.name, counts, splits, tuple(_lengths(metrics)), examples)


def _split(name: str, rows: int, metrics: Json) -> Split:
    classes = metrics.get("classes", {}).get(name, {})
    largest = max(classes.values(), default=1) or 1
    labels = tuple((label, count, round(100 * count / largest, 1)) for label, count in classes.items())
    return Split(name, rows, labels)


def _lengths(metrics: Json) -> Iterator[tuple[str, str]]:
    for name in ("tokens", "characters"):
        found = metrics.get(name) or {}
        if "p50" in found:
            yield f"{name} a row", f"median {found['p50']}, 95% up to {found['p95']}, at most {found['max']}"
    limit = (metrics.get("tokens") or {}).get("longer_than_model_limit")
    if limit is not None:
        yield "longer than the model takes", f"{limit:,} rows of more than {metrics['tokens']['model_limit']} tokens"
    if metrics.get("replaced_characters"):
        yield "characters that were no text", f"{metrics['replaced_characters']:,} replaced"


@dataclass(frozen=True)
class Made:
    """An artifact in the lineage."""

    place: int
    step: str
    kind: str
    digest: str
    how: str
    inputs: str
    kept: bool


@dataclass(frozen=True)
class Lineage:
    artifacts: tuple[Made, ...]
    lines: Markup
    given: tuple[tuple[str, str], ...]
    """Inputs that no step of the run made: (digest, what takes it)."""


def lineage(run: RunSeen) -> Lineage | None:
    """The artifacts of the run in the order in which they were made, and what each was made of."""
    made: list[StepDone] = []
    for step in run.steps:
        if step.digest and step.digest not in {other.digest for other in made}:
            made.append(step)
    if not made:
        return None
    places = {step.digest: place for place, step in enumerate(made)}
    edges: list[tuple[int, int, bool]] = []
    given: dict[str, str] = {}
    rows = []
    for place, step in enumerate(made):
        inputs = step.artifact.manifest.inputs if step.artifact else {}
        for name, digest in inputs.items():
            if digest in places and places[digest] < place:
                edges.append((places[digest], place, name in ("model", "bundle")))
            elif digest not in places:
                given.setdefault(digest, f"{name} of {step.name}")
        rows.append(
            Made(
                place,
                step.name,
                str(step.result["artifact"]["kind"]),
                step.digest or "",
                "reused" if step.result["cached"] else figures.seconds(step.result["seconds"]),
                ", ".join(inputs),
                step.artifact is not None,
            )
        )
    return Lineage(tuple(rows), arcs(len(rows), _one_a_pair(edges), row=ROW_HEIGHT), tuple(given.items()))


def _one_a_pair(edges: list[tuple[int, int, bool]]) -> list[tuple[int, int, bool]]:
    """An artifact may be two inputs of one step, such as model and reference: one line, the model's."""
    models = {(start, end) for start, end, model in edges if model}
    return [(start, end, (start, end) in models) for start, end in dict.fromkeys((s, e) for s, e, _ in edges)]


@dataclass(frozen=True)
class Setting:
    name: str
    value: str
    source: str
    chosen: bool
    """Whether somebody set it."""


@dataclass(frozen=True)
class StepShown:
    name: str
    how: str
    digest: str
    key: str
    warnings: tuple[str, ...]
    settings: tuple[Setting, ...]
    metrics: tuple[tuple[str, str], ...]
    chosen: str
    """What was set, on one line."""


def steps(run: RunSeen) -> list[StepShown]:
    return [_step(step) for step in run.steps]


def _step(step: StepDone) -> StepShown:
    settings = settings_of(step.settings)
    chosen = in_short(settings)
    # Evaluations have tables of their own.
    metrics = () if step.stage == "evaluate" else tuple(flat(step.metrics))[:SHOWN]
    how = "reused" if step.result["cached"] else figures.seconds(step.result["seconds"])
    warnings = tuple(step.result.get("warnings") or ())
    return StepShown(step.name, how, step.digest or "", str(step.result["key"]), warnings, settings, metrics, chosen)


def settings_of(values: Mapping[str, Json]) -> tuple[Setting, ...]:
    """Of field -> `{"value", "source"}`."""
    return tuple(
        Setting(name, figures.short(each["value"]), each["source"] or "unknown", each["source"] not in ("", "default"))
        for name, each in values.items()
    )


def in_short(settings: Iterable[Setting]) -> str:
    """What was set, on one line."""
    return ", ".join(f"{each.name} = {each.value}" for each in settings if each.chosen)


def flat(metrics: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Scalars, and short lists of scalars, by dotted names."""
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif not isinstance(value, list) or (len(value) <= 8 and not any(isinstance(v, Mapping | list) for v in value)):
            yield f"{prefix}{name}", figures.short(value)


def environment(run: RunSeen) -> list[tuple[str, str]]:
    """The machine, and the versions of what had a hand in it."""
    machine = run.plan.get("machine") or _machine_of_choice(run)
    found = [
        (title, figures.short(machine[name]))
        for name, title in (("processor", "processor"), ("cores", "cores"), ("device", "device"))
        if machine.get(name) is not None
    ]
    if run.plan:
        found.append(("seed", figures.short(run.plan.get("seed"))))
    versions: dict[str, str] = {}
    for step in run.steps:
        versions |= step.artifact.manifest.versions if step.artifact else {}
    return [*found, *((name, version) for name, version in sorted(versions.items()) if version)]


def _machine_of_choice(run: RunSeen) -> Json:
    """Of a run whose plan was not kept."""
    choices = [step.artifact.meta.get("choice", {}) for step in run.of_stage("choose") if step.artifact]
    machine: Json = choices[0].get("machine", {}) if choices else {}
    return machine
