"""What an answer's headers say about where its time went, and in what company it was computed.

`Server-Timing` (W3C): `queue;dur=0.42, tokenize;dur=0.10`, in milliseconds. The counts are those of `ftx serve`:
`x-compute-tokens`, `x-batch-size`, `x-batch-tokens` (padding included; others send `x-batch-real-tokens` too, without).
A server that sends none of them loses only these columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import nan
from typing import NamedTuple


class Timing(NamedTuple):
    """Milliseconds of each stage, nan where unknown; counts, -1 where unknown."""

    queue: float = nan
    tokenize: float = nan
    batch: float = nan
    compute: float = nan
    tokens: int = -1
    batch_size: int = -1
    batch_tokens: int = -1
    """Of the batch's texts."""
    padded_tokens: int = -1
    """Of the batch as it was computed."""


UNKNOWN = Timing()


def read_timing(headers: Mapping[str, str]) -> Timing:
    """The timing in an answer's headers, whose names are in lower case."""
    raw = headers.get("server-timing")
    durations = _durations(raw) if raw else {}
    return Timing(
        durations.get("queue", nan),
        durations.get("tokenize", nan),
        durations.get("batch", nan),
        durations.get("compute", nan),
        _count(headers, "x-compute-tokens"),
        _count(headers, "x-batch-size"),
        _count(headers, "x-batch-real-tokens"),
        _count(headers, "x-batch-tokens"),
    )


def _durations(raw: str) -> dict[str, float]:
    found = {}
    for metric in raw.split(","):
        name, *parameters = metric.split(";")
        for parameter in parameters:
            key, _, value = parameter.strip().partition("=")
            if key == "dur":
                try:
                    found[name.strip()] = float(value.strip('"'))
                except ValueError:
                    continue  # another server's free form: not known, and no failure of the request
    return found


def _count(headers: Mapping[str, str], name: str) -> int:
    value = headers.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else -1
