"""What a load test is asked to do: plain values, which travel to the generators as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

SUITES: Mapping[str, str] = {
    "smoke": "some texts, twice: the schema, no errors, the same labels again",
    "rate": "an open loop at --rate: is the SLO met there",
    "latency": "one request at a time, short texts and long ones apart",
    "saturation": "the highest rate within the SLO",
    "soak": "70% of the capacity for a long time: what drifts",
    "spike": "30%, 150%, 30% of the capacity: what is shed, how long it takes to recover",
    "mixed": "long texts among the usual ones: what they do to the short ones",
    "chaos": "broken, huge, slow and vanishing requests: what the others notice",
    "ab": "two endpoints in turns, under identical arrivals: which is faster",
}
SECONDS: Mapping[str, float] = {
    "smoke": 30.0,
    "rate": 60.0,
    "latency": 60.0,
    "saturation": 10.0,
    "soak": 600.0,
    "spike": 60.0,
    "mixed": 60.0,
    "chaos": 30.0,
    "ab": 120.0,
}
"""How long a suite measures unless told otherwise; of `saturation`, the least for each rate."""
NEEDS_RATE = ("rate", "mixed", "chaos", "ab")
NEEDS_SLO = ("saturation",)
SEARCHES = ("saturation", "soak", "spike")
"""Suites that look for the capacity, the latter two where it is not given."""


def missing(
    suite: str, rate: float | None, slo_p99_ms: float | None, capacity: float | None
) -> Iterator[tuple[str, str]]:
    """The settings without which the suite cannot begin, each with an example."""
    if suite in NEEDS_RATE and rate is None:
        yield "rate", "50"
    if slo_p99_ms is None and suite in NEEDS_SLO:
        yield "slo_p99_ms", "100"
    if slo_p99_ms is None and capacity is None and suite in SEARCHES and suite not in NEEDS_SLO:
        yield "capacity", "200"


@dataclass(frozen=True)
class LoadSettings:
    """Times are in seconds but for `slo_p99_ms`, rates in requests a second."""

    suite: str
    url: str
    against: str | None = None
    rate: float | None = None
    duration: float = 60.0
    warmup: float = 2.0
    slo_p99_ms: float | None = None
    capacity: float | None = None
    protocol: str = "tei"
    model: str = ""
    template: str | None = None
    loop: Literal["open", "closed"] = "open"
    arrivals: Literal["poisson", "constant", "trace"] = "poisson"
    trace: tuple[float, ...] = ()
    users: int = 1
    """Of a closed loop: how many requests there are at most at a time."""
    pacing: float = 0.0
    """Of a closed loop: seconds from one start to the next at least."""
    timeout: float = 30.0
    in_flight: int = 1000
    """Requests at a time, of each worker; what is due beyond them is dropped, and counted."""
    seed: int = 0
    repeat: bool = False
    api_key_env: str | None = None
    insecure: bool = False
    ca_file: str | None = None
    workers: int = 1
    block_seconds: float | None = None
    long_from: int | None = None
    """Texts from this index on are the long ones of `mixed`."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"trace": list(self.trace)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LoadSettings:
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        return cls(**{**values, "trace": tuple(values.get("trace", ()))})


@dataclass(frozen=True)
class Job:
    """All that a generator needs: it may run on another machine, without the user's files."""

    settings: LoadSettings
    texts: tuple[str, ...]
    template: str | None = None
    """The content of the template's file."""

    def to_json(self) -> str:
        return json.dumps({"settings": self.settings.as_json(), "texts": self.texts, "template": self.template})

    @classmethod
    def from_json(cls, text: str) -> Job:
        document = json.loads(text)
        return cls(LoadSettings.from_json(document["settings"]), tuple(document["texts"]), document["template"])
