"""What raw samples of latency allow to be said: exact quantiles, their intervals, and rates.

A latency is infinite where the request failed. Quantiles of all requests then count failures as infinitely slow
(error-adjusted); those of the finite ones alone are success-only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95
QUANTILES = (0.5, 0.95, 0.99)
BEYOND = 5
"""So many samples must be expected beyond a quantile before it is told: p99 needs 500, p95 100, the median 10."""
_CELLS = 250_000
"""Resamples × samples that are worked on at once: what a processor's cache holds."""


@dataclass(frozen=True)
class Estimate:
    """A figure, and the bounds that it lies between with a confidence of 95%."""

    value: float
    low: float
    high: float

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


def milliseconds(value: float) -> str:
    """A latency in words."""
    return f"{value:.4g} ms" if math.isfinite(value) else "infinite"


def fewest_samples(q: float) -> int:
    """The fewest samples that the quantile `q` is told from."""
    return math.ceil(round(BEYOND / (1.0 - q), 6))


def quantile(values: np.ndarray, q: float) -> float:
    """The smallest sample that at least a share `q` of all samples do not exceed; NaN of no samples.

    The inverse of the empirical distribution function (type 1 of Hyndman and Fan, Sample Quantiles in Statistical
    Packages, 1996): always a value that was measured, and nothing is interpolated between a finite latency and an
    infinite one.
    """
    if not len(values):
        return math.nan
    return float(np.partition(values, _place(q, len(values)))[_place(q, len(values))])


def estimate_quantiles(
    values: np.ndarray, qs: Sequence[float] = QUANTILES, *, seed: int = 0, few: bool = False
) -> Mapping[float, Estimate | None]:
    """Quantiles of a series in the order of time, each with its interval by the moving-block bootstrap.

    None where there are fewer than `fewest_samples`; with `few` all that there is a sample for are told.
    """
    told = [q for q in qs if len(values) and (few or len(values) >= fewest_samples(q))]
    if not told:
        return dict.fromkeys(qs)
    drawn = _resampled_quantiles(values, told, block_length(values), seed)
    found = {q: _estimate(quantile(values, q), drawn[:, place]) for place, q in enumerate(told)}
    return {q: found.get(q) for q in qs}


def ratio_of_quantiles(values: np.ndarray, others: np.ndarray, q: float, *, seed: int = 0) -> Estimate | None:
    """The quantile `q` of `values` over that of `others`, with its interval, both resampled by themselves.

    None where either has too few samples, or a quantile that is infinite or 0.
    """
    if min(len(values), len(others)) < fewest_samples(q):
        return None
    both = [quantile(each, q) for each in (values, others)]
    if not np.isfinite(both).all() or not all(both):
        return None
    over, under = (
        _resampled_quantiles(each, (q,), block_length(each), seed + place)[:, 0]
        for place, each in enumerate((values, others))
    )
    # Two infinite draws have no ratio; they say nothing about which is larger.
    neither = np.isinf(over) & np.isinf(under)
    ratios = np.where(neither, 1.0, over) / np.where(neither, 1.0, under)
    return _estimate(both[0] / both[1], ratios)


def mean_estimate(values: np.ndarray, *, seed: int = 0) -> Estimate | None:
    """The mean of a series in the order of time, with its interval by the same bootstrap; None of no values."""
    if not len(values):
        return None
    length = _politis_white(np.asarray(values, dtype=np.float64))
    drawn = [times @ values / times.sum(axis=1) for times in _block_counts(len(values), length, seed)]
    return _estimate(float(values.mean()), np.concatenate(drawn))


def block_length(values: np.ndarray) -> int:
    """How many neighbours in time are drawn together, so that a resample keeps what one slow request does to the next.

    The rule of Politis and White (2004, corrected by Patton, Politis and White 2009) for the moving-block bootstrap,
    applied to what a quantile is a mean of: whether each sample exceeds it. The longest of those for p50, p95 and p99.
    """
    exceeding = (values > quantile(values, q) for q in QUANTILES)
    return max((_politis_white(each.astype(np.float64)) for each in exceeding), default=1)


def share_estimate(count: int, total: int) -> Estimate:
    """A share of independent draws with Wilson's score interval at 95%; `total` must not be 0."""
    z = 1.959964
    share = count / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return Estimate(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))


def student(degrees: int, confidence: float = CONFIDENCE) -> float:
    """Student's t that is exceeded on both sides together with a probability of 1 - `confidence`.

    By bisection of its distribution function, which for whole degrees of freedom is a finite sum (Abramowitz and
    Stegun, 26.7.3 and 26.7.4).
    """
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within_student(middle, degrees) < confidence else (low, middle)
    return high


def goodput(latencies: np.ndarray, slo: float, seconds: float) -> float:
    """Right answers within `slo` seconds, for each of the `seconds` that were measured."""
    return float((latencies <= slo).sum() / seconds) if seconds > 0 else 0.0


def _within_student(t: float, degrees: int) -> float:
    angle = math.atan2(t, math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for place in range(1 + odd, degrees, 2):
        total += term
        term *= cosine * cosine * place / (place + 1)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def _place(q: float, count: int) -> int:
    # Rounded, since 0.99 · 500 is 495.00000000000006 for some machines' arithmetic and 495 for others.
    return min(count - 1, max(0, math.ceil(round(q * count, 9)) - 1))


def _estimate(value: float, drawn: np.ndarray) -> Estimate:
    """The percentile interval, with ends that were drawn, for they may be infinite; it holds the value itself."""
    tail = (1.0 - CONFIDENCE) / 2
    low, high = quantile(drawn, tail), quantile(drawn, 1.0 - tail)
    return Estimate(value, min(low, value), max(high, value))


def _resampled_quantiles(values: np.ndarray, qs: Sequence[float], length: int, seed: int) -> np.ndarray:
    """Shape (resamples, qs). The samples are sorted once: a resample is how often each was drawn, summed along them."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    found = []
    for times in _block_counts(len(values), length, seed):
        reached = np.cumsum(times[:, order], axis=1)
        wanted = [np.ceil(np.round(q * reached[:, -1], 6)).astype(np.int64) for q in qs]
        places = [(reached < each[:, None]).sum(axis=1) for each in wanted]
        found.append(np.stack([ascending[np.minimum(place, len(values) - 1)] for place in places], axis=1))
    return np.concatenate(found)


def _block_counts(count: int, length: int, seed: int) -> Iterator[np.ndarray]:
    """How often each sample is in each resample of as many blocks as cover `count`, int64: (some resamples, count).

    Künsch (1989). The number of blocks that cover a sample is the difference of how many have begun and have ended.
    """
    random = np.random.default_rng(seed)
    length = min(length, count)
    blocks = math.ceil(count / length)
    chunk = max(1, _CELLS // count)
    for begin in range(0, RESAMPLES, chunk):
        rows = min(chunk, RESAMPLES - begin)
        starts = random.integers(0, count - length + 1, size=(rows, blocks)) + np.arange(rows)[:, None] * (count + 1)
        begun = np.bincount(starts.ravel(), minlength=rows * (count + 1))
        ended = np.bincount(starts.ravel() + length, minlength=rows * (count + 1))
        yield np.cumsum((begun - ended).reshape(rows, count + 1), axis=1)[:, :count]


def _politis_white(series: np.ndarray) -> int:
    count = len(series)
    longest = max(1, math.ceil(min(3 * math.sqrt(count), count / 3)))
    if count < 10 or series.std() == 0:
        return 1
    covariances = _autocovariances(series)
    correlations = covariances / covariances[0]
    window = max(5, math.ceil(math.sqrt(math.log10(count))))
    bound = 2 * math.sqrt(math.log10(count) / count)
    small = np.abs(correlations[1 : longest + window + 1]) < bound
    # The first lag after which `window` correlations in a row are negligible.
    runs = np.convolve(small, np.ones(window, dtype=np.int64), mode="valid") == window
    last = int(np.argmax(runs)) if runs.any() else longest
    lags = np.arange(1, min(2 * max(1, last), count - 1) + 1)
    # The flat-top window of Politis and Romano: 1 up to a half, and then down to 0.
    weights = np.clip(2 * (1 - lags / (2 * max(1, last))), 0.0, 1.0) * covariances[lags]
    spectrum = float(covariances[0] + 2 * weights.sum())
    slope = float(2 * (weights * lags).sum())
    if spectrum <= 0:
        return longest
    best = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * count ** (1 / 3)
    return int(min(longest, max(1, math.ceil(best))))


def _autocovariances(series: np.ndarray) -> np.ndarray:
    """Of all lags, divided by the number of samples, by the fast Fourier transform."""
    count = len(series)
    size = 1 << (2 * count - 1).bit_length()
    spectrum = np.fft.rfft(series - series.mean(), size)
    return np.asarray(np.fft.irfft(spectrum * spectrum.conj(), size)[:count] / count)
