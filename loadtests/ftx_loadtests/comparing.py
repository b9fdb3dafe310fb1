"""Two load tests beside each other: what `ftx compare` says of them.

They were measured one after the other, so that what has changed on the machine meanwhile is in the difference too; only
`ftx loadtest --suite ab` interleaves the two.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ftx.errors import FtxError
from ftx_loadtests.keeping import SAMPLES
from ftx_loadtests.report.files import DOCUMENT
from ftx_loadtests.samples import Samples
from ftx_loadtests.statistics import QUANTILES, Estimate, milliseconds, ratio_of_quantiles

Json = Mapping[str, Any]


@dataclass(frozen=True)
class _Test:
    reference: str
    document: Json
    samples: Samples


def compare(references: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """The second test against the first: a verdict `faster`, `slower` or `cannot tell`, and what it stands on.

    By the highest quantile that both have enough requests for; of two searches for the capacity, by their bounds.
    Raises `FtxError` where the two did not ask the same.
    """
    first, second = (_read(name, folder) for name, folder in zip(references, folders, strict=True))
    _check(first, second)
    by_capacity = first.document["suite"] == "saturation"
    found = _capacities(first, second) if by_capacity else _latencies(first, second)
    invalid = [test.reference for test in (first, second) if not test.document["valid"]]
    if invalid:
        found["verdict"] = "cannot tell"
    return {
        "suite": first.document["suite"],
        "a": _about(first),
        "b": _about(second),
        "invalid": invalid,
        **found,
    }


def lines_of(found: Json) -> list[str]:
    """The comparison in words."""
    lines = [f"suite {found['suite']}; in brackets 95% intervals"]
    for name in ("p50", "p95", "p99"):
        a, b = found["a"][f"{name}_ms"], found["b"][f"{name}_ms"]
        ratio = found["ratios"].get(name)
        if a is None or b is None:
            continue
        told = "" if ratio is None else "  ratio {} [{}, {}]".format(*map(_factor, ratio))
        lines.append(f"  {name:<9} A {milliseconds(float(a))}  B {milliseconds(float(b))}{told}")
    if found["a"]["capacity"] is not None:
        lines.append(f"  capacity  A {_rate(found['a']['capacity'])}  B {_rate(found['b']['capacity'])}")
    lines += [f"  not valid: {reference}" for reference in found["invalid"]]
    sentence = {
        "faster": "B is faster than A",
        "slower": "B is slower than A",
        "cannot tell": "cannot tell whether B is faster or slower than A",
    }[found["verdict"]]
    lines.append(f"verdict: {sentence}{' (by its ' + found['by'] + ')' if found['by'] else ''}")
    return [*lines, "  they were measured at different times; to rule that out: ftx loadtest B --suite ab --against A"]


def _read(reference: str, folder: Path) -> _Test:
    try:
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
        return _Test(reference, document, Samples.load(folder / SAMPLES))
    except (OSError, ValueError) as error:
        raise FtxError(
            f"{reference} holds no load test: {error}", "measure one: ftx loadtest URL --report DIR"
        ) from None


def _check(first: _Test, second: _Test) -> None:
    if first.document["suite"] == "ab" or second.document["suite"] == "ab":
        raise FtxError("an A/B test compares two endpoints itself", "read its verdict: it is in result.json")
    # Of a search the rate is only where it began, but what it searched for is the SLO.
    names = ("suite", "loop", "slo_p99_ms") if first.document["suite"] == "saturation" else ("suite", "loop", "rate")
    for name in names:
        one, other = first.document[name], second.document[name]
        if one != other:
            asked = f"did not ask the same: {name.replace('_', ' ')} {one}, {other}"
            raise FtxError(
                f"{first.reference} and {second.reference} {asked}", "measure both alike: ftx loadtest URL --report DIR"
            )


def _latencies(first: _Test, second: _Test) -> dict[str, Any]:
    latencies = [test.samples.latency[test.samples.block >= 0] for test in (second, first)]
    ratios = {f"p{100 * q:g}": ratio_of_quantiles(latencies[0], latencies[1], q) for q in QUANTILES}
    by = next((name for name in reversed(ratios) if ratios[name] is not None), None)
    return {
        "verdict": _verdict(None if by is None else ratios[by]),
        "by": by,
        "ratios": {name: None if each is None else _three(each) for name, each in ratios.items()},
    }


def _capacities(first: _Test, second: _Test) -> dict[str, Any]:
    (low, high), (other_low, other_high) = (_bounds(test.document["capacity"]) for test in (first, second))
    verdict = "faster" if other_low > high else "slower" if other_high < low else "cannot tell"
    return {"verdict": verdict, "by": "capacity", "ratios": {}}


def _verdict(ratio: Estimate | None) -> str:
    if ratio is None or ratio.low <= 1 <= ratio.high:
        return "cannot tell"
    return "slower" if ratio.low > 1 else "faster"


def _bounds(capacity: Json | None) -> tuple[float, float]:
    low, high = (0.0, math.inf) if capacity is None else capacity["interval"]
    return float(low), float(high)


def _three(ratio: Estimate) -> list[float | None]:
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in (ratio.value, ratio.low, ratio.high)]


def _about(test: _Test) -> dict[str, Any]:
    names = ("url", "verdict", "requests", "p50_ms", "p95_ms", "p99_ms", "achieved", "capacity")
    return {"reference": test.reference, **{name: test.document[name] for name in names}}


def _factor(value: float | None) -> str:
    """Of a ratio in JSON, where None is infinite: about as many requests failed as its quantile leaves out."""
    return "infinite" if value is None else f"{value:.3f}"


def _rate(capacity: Json | None) -> str:
    if capacity is None or capacity["rate"] is None:
        return "none"
    low, high = _bounds(capacity)
    return f"{capacity['rate']:.4g}/s [{low:.4g}, {high:.4g}]"
