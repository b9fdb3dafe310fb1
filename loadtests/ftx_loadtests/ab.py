"""Which of two endpoints is faster, from interleaved blocks of requests.

The blocks of a pair have the same arrivals and texts, and follow each other in random order (ABBA or BAAB), so that
what drifts on the machine meets both alike. Each pair gives one number, the logarithm of the ratio of its two medians;
their mean is judged by Student's t. Requests of one block are not independent, but pairs nearly are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from ftx_loadtests.samples import Samples
from ftx_loadtests.statistics import CONFIDENCE, Estimate, quantile, student

Finding = Literal["faster", "slower", "cannot tell"]
FEWEST_PAIRS = 5
"""Fewer say nothing about their own spread."""
TOLD = (0.5, 0.95, 0.99)
JUDGED = 0.5
POWER = 0.8
"""How often the samples that would tell are to tell."""
MOST_FAILED = 0.01
"""Above this share of failures an endpoint's successes are no fair sample of it."""


@dataclass(frozen=True)
class Comparison:
    """The endpoint under test against the one of `--against`."""

    finding: Finding
    ratios: Mapping[float, Estimate | None]
    """Quantile -> the factor by which the tested endpoint takes longer: 1.15 is 15% slower. None of too few pairs."""
    pairs: int
    requests: int
    """Of each endpoint."""
    failed: tuple[float, float]
    """Shares of failed requests: of the tested endpoint, of the other."""
    detectable: float | None
    """The smallest difference, as a share, that so many pairs tell four times in five."""
    more_requests: int | None
    """How many more of each endpoint would tell, if the difference is as large as it seems; None where it is told
    already, or seems to be none."""

    def as_json(self) -> dict[str, Any]:
        return {
            "finding": self.finding,
            "ratios": {
                f"p{100 * q:g}": None if ratio is None else [ratio.value, ratio.low, ratio.high]
                for q, ratio in self.ratios.items()
            },
            "pairs": self.pairs,
            "requests_each": self.requests,
            "failed": list(self.failed),
            "detectable": self.detectable,
            "more_requests_each": self.more_requests,
        }


def compare(samples: Samples) -> Comparison:
    """Endpoint 0 against endpoint 1, of successful requests alone; `failed` says how many those leave out."""
    pairs = _pairs(samples)
    logs = {q: _logarithms(pairs, q) for q in TOLD}
    ratios = {q: _ratio(values) for q, values in logs.items()}
    judged = ratios[JUDGED]
    finding: Finding = "cannot tell"
    if judged is not None and judged.low > 1:
        finding = "slower"
    elif judged is not None and judged.high < 1:
        finding = "faster"
    values = logs[JUDGED]
    requests = int(min((samples.endpoint == place).sum() for place in (0, 1)))
    failed = [_failed(samples, place) for place in (0, 1)]
    return Comparison(
        finding,
        ratios,
        len(values),
        requests,
        (failed[0], failed[1]),
        _detectable(values),
        _more(values, requests) if finding == "cannot tell" else None,
    )


def _pairs(samples: Samples) -> list[tuple[np.ndarray, np.ndarray]]:
    """Successful latencies of endpoint 0 and of endpoint 1, for each pair.

    A pair is a block with requests to both, or two blocks that follow each other with requests to one each.
    """
    blocks = [samples.block == block for block in np.unique(samples.block)]
    both = all(len(np.unique(samples.endpoint[rows])) == 2 for rows in blocks)
    joined = blocks if both else [one | other for one, other in zip(blocks[::2], blocks[1::2], strict=False)]
    ok, latency = samples.ok, samples.latency
    found = [tuple(latency[rows & ok & (samples.endpoint == place)] for place in (0, 1)) for rows in joined]
    return [(first, second) for first, second in found if len(first) and len(second)]


def _logarithms(pairs: Sequence[tuple[np.ndarray, np.ndarray]], q: float) -> np.ndarray:
    return np.array([math.log(quantile(first, q) / quantile(second, q)) for first, second in pairs])


def _ratio(logs: np.ndarray) -> Estimate | None:
    if len(logs) < FEWEST_PAIRS:
        return None
    mean = float(logs.mean())
    half = student(len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def _failed(samples: Samples, place: int) -> float:
    rows = samples.endpoint == place
    return float((~samples.ok[rows]).mean()) if rows.any() else 0.0


def _reach() -> float:
    normal = NormalDist()
    return normal.inv_cdf((1 + CONFIDENCE) / 2) + normal.inv_cdf(POWER)


def _detectable(logs: np.ndarray) -> float | None:
    if len(logs) < FEWEST_PAIRS:
        return None
    return math.expm1(_reach() * float(logs.std(ddof=1)) / math.sqrt(len(logs)))


def _more(logs: np.ndarray, requests: int) -> int | None:
    if len(logs) < 2 or abs(float(logs.mean())) < 1e-9:
        return None
    pairs = (_reach() * float(logs.std(ddof=1)) / float(logs.mean())) ** 2
    wanted = max(FEWEST_PAIRS, len(logs) + 1, math.ceil(pairs))
    return math.ceil((wanted - len(logs)) * requests / len(logs))
