"""From settings to a measurement: look at the endpoint, calibrate, generate, look at it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ftx_loadtests.calibration import floor_ms
from ftx_loadtests.launching import Distribution, Ended, check_installed, generate
from ftx_loadtests.measurement import ClientFacts, Measurement, Phase, ServerFacts
from ftx_loadtests.payloads import Payloads
from ftx_loadtests.preflight import check, server_info
from ftx_loadtests.preparation import prepare
from ftx_loadtests.progress import Progress
from ftx_loadtests.recording import PhaseRecord, Recording
from ftx_loadtests.resources import Resources
from ftx_loadtests.sampler import sampling
from ftx_loadtests.settings import Job, LoadSettings


@dataclass(frozen=True)
class Plan:
    """What to measure, and how."""

    settings: LoadSettings
    payloads: Payloads
    distribution: Distribution = field(default_factory=Distribution)
    calibrate: bool = True
    price_per_hour: float | None = None


def measure(
    plan: Plan, folder: Path, say: Callable[[str], None] = lambda line: None, *, keep_interrupted: bool = True
) -> Measurement:
    """Carry out a load test; everything that is recorded lies under `folder`.

    Raises `FtxError` for whatever keeps it from beginning. Once it has begun, an interruption or a failure is part of
    the measurement, and what was measured until then is kept; unless `keep_interrupted` is off, and it is raised.
    """
    check_installed()
    job, payloads = prepare(plan.settings, plan.payloads)
    job = check(job)
    notes = []
    floor = None
    if plan.calibrate and not plan.distribution.master:
        say("calibrating the client against a server that does nothing")
        floor = floor_ms(job.settings, payloads, folder / "calibration", plan.distribution)
        say(f"the client alone: p99 {floor:.2f} ms")
    elif plan.calibrate:
        notes.append("the client was not calibrated: its workers are on other machines")
    before = server_info(job.settings, job.settings.url)
    recording = Recording(folder / "recording")
    progress = Progress(recording)
    recording.clear()
    try:
        with sampling(job.settings.url, recording.resources):
            ended = generate(job, recording, plan.distribution, progress)
    finally:
        progress.close()
    if ended.interrupted and not keep_interrupted:
        raise KeyboardInterrupt
    after = server_info(job.settings, job.settings.url)
    return _measurement(plan, job, payloads, recording, ended, ServerFacts(before, after), floor, notes)


def _measurement(
    plan: Plan,
    job: Job,
    payloads: Payloads,
    recording: Recording,
    ended: Ended,
    server: ServerFacts,
    floor: float | None,
    notes: list[str],
) -> Measurement:
    samples, records = recording.samples(), recording.phases()
    last = float(samples.ended.max()) if len(samples) else 0.0
    return Measurement(
        suite=job.settings.suite,
        url=job.settings.url,
        settings=_settings(plan, job),
        samples=samples,
        phases=[_phase(record, last) for record in records],
        client=ClientFacts(_cpu_share(records), plan.distribution.workers),
        server=server,
        resources=_resources(recording, last),
        floor_ms=floor,
        interrupted=ended.interrupted or ended.failure is not None,
        reference_labels=payloads.labels,
        notes=[*notes, *_met_by_the_hostile(records), *([ended.failure] if ended.failure else [])],
    )


def _resources(recording: Recording, last: float) -> Resources | None:
    """On the axis of the samples, without what was read before and after them."""
    origin = recording.origin()
    if origin is None or not recording.resources.is_file():
        return None
    return Resources.load(recording.resources).since(origin, origin + last)


def _settings(plan: Plan, job: Job) -> dict[str, Any]:
    """As they were resolved, without what fills pages."""
    settings = asdict(job.settings)
    settings["trace"] = len(job.settings.trace) or None
    if job.settings.suite in ("smoke", "latency"):
        settings["loop"] = "closed"
    return settings | {"price_per_hour": plan.price_per_hour, "texts": len(job.texts)}


def _phase(record: PhaseRecord, last: float) -> Phase:
    """One that was cut off has lasted until the last thing that is known."""
    end = record.end if record.end is not None else max(last, record.start)
    if record.end is None and record.phase.rate is not None:
        end = min(end, record.start + record.phase.seconds)
    return Phase(record.phase.block, record.phase.name, record.start, end, record.phase.rate)


def _cpu_share(records: list[PhaseRecord]) -> float:
    """Of one core, by the busiest worker, while it sent what was measured."""
    shares: dict[int, list[float]] = {}
    for record in records:
        if not record.phase.measured:
            continue
        for figures in record.figures:
            cpu, wall = shares.setdefault(int(figures["worker"]), [0.0, 0.0])
            shares[int(figures["worker"])] = [cpu + figures["cpu"], wall + figures["wall"]]
    return max((cpu / wall for cpu, wall in shares.values() if wall > 0), default=0.0)


def _met_by_the_hostile(records: list[PhaseRecord]) -> list[str]:
    """What the server said to the clients that misbehave."""
    met: dict[str, float] = {}
    for record in records:
        for figures in record.figures:
            for name, count in figures.items():
                if name.startswith("hostile_"):
                    what = name.removeprefix("hostile_")
                    met[what] = met.get(what, 0.0) + count
    if not met:
        return []
    told = ", ".join(f"{what if not what.isdigit() else f'HTTP {what}'}: {count:.0f}" for what, count in met.items())
    return [f"the misbehaving clients met {told}"]
