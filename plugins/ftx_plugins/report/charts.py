"""The charts of a report, as SVG: legible on paper and without JavaScript, coloured by the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ftx.chart_axes import LEFT, RIGHT, TOP, WIDTH, drawing, frame, path, tick_text, x_axis, y_axis
from ftx_plugins.report.figures import percent, plain

BOTTOM_LINE = y_axis([0, 1]).start
SHAPES = {
    "circle": "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0 -10 0",
    "square": "M-4.6 -4.6h9.2v9.2h-9.2z",
    "triangle": "M0 -5.8L5.6 4.6H-5.6z",
    "diamond": "M0 -6.2L6.2 0L0 6.2L-6.2 0z",
}


MOST_DOTS = 40
"""Of a line that are marked; with more they would hide it."""


@dataclass(frozen=True)
class Point:
    """A model in a scatter: `y` with its interval, at `x`."""

    name: str
    x: float
    y: float
    interval: tuple[float, float] | None
    shape: str
    series: int = 0
    """Which colour: the place of the run among those shown."""
    hollow: bool = False
    """fp32: no precision was given up."""
    marked: bool = False
    """The outcome of the run."""
    said: str = ""
    """What is shown where it is pointed at, and what a screen reader says."""


@dataclass(frozen=True)
class Series:
    """A line of a chart: (x, y) pairs."""

    name: str
    points: Sequence[tuple[float, float]]


def scatter(
    points: Sequence[Point],
    *,
    x_title: str,
    y_title: str,
    x_limit: float | None = None,
    y_limit: float | None = None,
) -> Markup:
    """Shares over what they cost; the region within `x_limit` and above `y_limit` is the budget's."""
    ends = [end for point in points for end in (point.interval or (point.y, point.y))]
    limits = [y_limit] if y_limit is not None else []
    up = y_axis([*ends, *limits])
    across = x_axis([*(point.x for point in points), *([x_limit] if x_limit is not None else [])], zero=True)
    parts = [
        frame(across, up, (x_title, y_title), (tick_text, lambda tick: percent(tick, 0 if _whole(up.ticks) else 1)))
    ]
    if x_limit is not None or y_limit is not None:
        right = across.clipped(x_limit) if x_limit is not None else WIDTH - RIGHT
        bottom = up.clipped(y_limit) if y_limit is not None else BOTTOM_LINE
        parts.insert(0, _region(right, bottom))
    for point in sorted(points, key=lambda each: each.marked):
        parts.append(_point(point, across.at(point.x), up.at(point.y), [up.at(end) for end in point.interval or ()]))
    if len({point.series for point in points}) == 1:
        parts.append(_names([(across.at(each.x), up.at(each.y), each.name) for each in points if each.marked]))
    names = "; ".join(point.said for point in points)
    return drawing("scatter", f"{y_title} over {x_title}: {names}", Markup("").join(parts))


def curves(
    series: Sequence[Series], *, x_title: str, y_title: str, share: bool = False, kept: float | None = None
) -> Markup:
    """Lines over epochs; with two of the same epochs, what is between them is shaded. `kept` marks the one kept."""
    values = [y for line in series for _, y in line.points]
    places = [x for line in series for x, _ in line.points]
    up, across = y_axis(values, zero=not share), x_axis(places, count=min(6, max(1, len(set(places)) - 1)))
    text = (lambda tick: percent(tick, 0 if _whole(up.ticks) else 1)) if share else tick_text
    parts = [frame(across, up, (x_title, y_title), (tick_text, text))]
    if kept is not None:
        parts.append(
            Markup('<line class="kept" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(across.at(kept), TOP, BOTTOM_LINE)
        )
    drawn = [[(across.at(x), up.at(y)) for x, y in line.points] for line in series]
    if len(drawn) == 2 and not share and len({tuple(x for x, _ in line.points) for line in series}) == 1:
        parts.append(Markup('<path class="gap" d="{}Z"/>').format(path([*drawn[0], *reversed(drawn[1])])))
    for place, (line, points) in enumerate(zip(series, drawn, strict=True)):
        parts.append(Markup('<g class="s{}"><path class="line" d="{}"/>').format(place, path(points)))
        for (x, y), (epoch, value) in zip(points, line.points, strict=True) if len(points) <= MOST_DOTS else ():
            said = f"{line.name}, {x_title} {epoch:g}: {percent(value) if share else plain(value)}"
            parts.append(Markup('<circle cx="{}" cy="{}" r="3.2"><title>{}</title></circle>').format(x, y, said))
        parts.append(Markup("</g>"))
    said = "; ".join(f"{line.name} {plain(line.points[0][1])} to {plain(line.points[-1][1])}" for line in series)
    return drawing("curves", f"{y_title} by {x_title}: {said}", Markup("").join(parts))


def reliability(
    lines: Sequence[Series], *, x_title: str = "confidence", y_title: str = "share that is right"
) -> Markup:
    """Right answers over confidence: on the diagonal a model is as often right as it says, and stems are the gaps."""
    low = min((value for line in lines for point in line.points for value in point), default=0.0)
    floor = max(0.0, min(0.9, low))
    up, across = y_axis([floor, 1.0]), x_axis([floor, 1.0])
    parts = [frame(across, up, (x_title, y_title), (lambda tick: percent(tick, 0), lambda tick: percent(tick, 0)))]
    ends = max(up.low, across.low)
    parts.append(
        Markup('<line class="diagonal" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
            across.at(ends), up.at(ends), across.at(1.0), up.at(1.0)
        )
    )
    for place, line in enumerate(lines):
        parts.append(Markup('<g class="s{}">').format(place))
        for confidence, right in line.points:
            x, y = across.clipped(confidence), up.clipped(right)
            said = f"{line.name}: {percent(confidence)} sure, {percent(right)} right"
            stem = Markup('<line class="gap-line" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                x, y, up.clipped(confidence)
            )
            parts.append(stem)
            parts.append(Markup('<circle cx="{}" cy="{}" r="3.6"><title>{}</title></circle>').format(x, y, said))
        parts.append(Markup("</g>"))
    label = f"{y_title} over {x_title}: " + ", ".join(line.name for line in lines)
    return drawing("reliability", label, Markup("").join(parts))


def arcs(nodes: int, edges: Sequence[tuple[int, int, bool]], *, row: int = 44, width: int = 84) -> Markup:
    """The lines of a lineage beside a list of `nodes` rows, each `row` pixels high.

    An edge is (from, to, whether the model went along it), from a row to a later one: an arc that is the wider the
    farther it goes.
    """
    right, parts = width - 8, []
    for start, end, model in sorted(edges, key=lambda edge: edge[2]):
        top, bottom = row * start + row / 2, row * end + row / 2
        bend = round(right - min(right - 4, 10 + 9 * (end - start)), 1)
        parts.append(
            Markup('<path class="{}" data-from="{}" data-to="{}" d="M{} {}C{} {} {} {} {} {}"/>').format(
                "model" if model else "side", start, end, right, top, bend, top, bend, bottom, right, bottom
            )
        )
    for node in range(nodes):
        parts.append(Markup('<circle cx="{}" cy="{}" r="4.5"/>').format(right, row * node + row / 2))
    return Markup(
        '<svg class="arcs" width="{0}" height="{1}" viewBox="0 0 {0} {1}" aria-hidden="true">{2}</svg>'
    ).format(width, nodes * row, Markup("").join(parts))


def _whole(ticks: Sequence[float]) -> bool:
    return all(abs(100 * tick - round(100 * tick)) < 1e-6 for tick in ticks)


def _region(right: float, bottom: float) -> Markup:
    return Markup(
        '<rect class="budget" x="{}" y="{}" width="{}" height="{}"><title>within the budget</title></rect>'
    ).format(LEFT, TOP, max(0.0, round(right - LEFT, 1)), max(0.0, round(bottom - TOP, 1)))


def _point(point: Point, x: float, y: float, ends: Sequence[float]) -> Markup:
    whisker = Markup("")
    if ends:
        whisker = Markup('<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(x, *ends)
    classes = f"point s{point.series}" + (" hollow" if point.hollow else "") + (" marked" if point.marked else "")
    return Markup('<g class="{}">{}<path transform="translate({} {})" d="{}"/><title>{}</title></g>').format(
        classes, whisker, x, y, SHAPES[point.shape], point.said
    )


def _names(places: Sequence[tuple[float, float, str]]) -> Markup:
    """The names of marked points, above them, since models of like quality lie beside each other."""
    parts = []
    for x, y, name in places:
        left = x > (LEFT + WIDTH - RIGHT) * 0.6
        parts.append(
            Markup('<text class="name" x="{}" y="{}" text-anchor="{}">{}</text>').format(
                x - 5 if left else x + 5, max(y - 10, TOP + 8), "end" if left else "start", name
            )
        )
    return Markup("").join(parts)
