"""How many requests a second each server answers on this machine with p99 within 100 ms, and what `ftx serve` costs.

    python benchmarks/serving.py

The same fine-tuned MiniLM and 1,500 real tweets for all: the guide's server (FastAPI, torch's dynamic int8, a text at a
time), LitServe with ONNX Runtime's dynamic int8 (batches of 8, 2 ms; in an environment of its own, made at the first
use, and left out where it cannot be made), and `ftx serve` with the unpruned int8 bundle and with the one pruned to
half. Models are those of `benchmarks/compression.py`, trained at the first use; `--rows` trains on fewer tweets.

Each server is a process of its own, started in turn, twice, the second time in reverse order. An open-loop client on
the same machine (`serving_client.py`) sends one text a request at the times of a Poisson process, and counts from
those times. A rate holds if, in two of three tries, 99% of the requests are answered with 200 within the 100 ms; it is
doubled until it does not hold, then bisected, and the result has to hold once more. Then, of `ftx serve` alone:

- overhead: processor time (user and system) of the server less the seconds of its batches, a request, with one worker
  of one thread, so that a batch's seconds are processor seconds at most; at half of what one thread of two does;
- overload: three times its rate for some seconds, with every refusal counted;
- cold start: from the process's start to `/v2/health/ready`.

What was measured is kept in `benchmarks/.serving/results.json` as it comes, and an interrupt prints the tables so far.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from serving_client import Asked, Measured
from serving_models import Models
from serving_servers import Running, Server, ftx, guide, litserve, litserve_environment, started, wait_until_quiet

from ftx.machine import cores, processor

FOLDER = Path(__file__).parent / ".serving"
SLO = 0.1
"""Seconds."""
QUANTILE = 0.99
FIRST_RATE = 20.0
HIGHEST_RATE = 20_000.0
UNPRUNED, HALF = "ftx serve, unpruned int8", "ftx serve, pruned to half, int8"


@dataclass(frozen=True)
class Pace:
    """Seconds of each kind of turn."""

    doubling: float = 3.0
    bisection: float = 8.0
    confirmation: float = 12.0
    precision: float = 1.06
    """The search ends when the lowest rate that failed is so many times the highest that held."""
    overhead: float = 15.0
    overload: float = 10.0
    cold_starts: int = 5


QUICK = Pace(0.5, 0.5, 0.5, 1.6, 1.5, 1.5, 1)


@dataclass
class Results:
    """By the servers' names."""

    rates: dict[str, list[float]] = field(default_factory=dict)
    """Requests a second, one for each time that the server was started."""
    ready: dict[str, list[float]] = field(default_factory=dict)
    """Seconds from start to ready."""
    variants: dict[str, str] = field(default_factory=dict)
    overhead: dict[str, dict[str, float]] = field(default_factory=dict)
    overload: dict[str, dict[str, float]] = field(default_factory=dict)

    def keep(self) -> None:
        (FOLDER / "results.json").write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def main() -> None:
    """Make what is missing, measure, and print three tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=0, help="training tweets; 0: all")
    parser.add_argument("--quick", action="store_true", help="a tiny model and moments only: whether it runs at all")
    parser.add_argument("--without-litserve", action="store_true")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    models = make_models(arguments.rows, arguments.quick)
    servers = list_servers(models, arguments.without_litserve)
    results = Results()
    try:
        measure(servers, models, QUICK if arguments.quick else Pace(), results)
    except KeyboardInterrupt:
        say("interrupted; so far:")
        print_tables(results)
        sys.exit(130)
    print_tables(results)


def make_models(rows: int, quick: bool) -> Models:
    command = [sys.executable, str(Path(__file__).with_name("serving_models.py")), str(FOLDER), "--rows", str(rows)]
    subprocess.run([*command, *(["--quick"] if quick else [])], check=True)
    return Models(**json.loads((FOLDER / "models.json").read_text(encoding="utf-8")))


def list_servers(models: Models, without_litserve: bool) -> list[Server]:
    servers = [guide(models.checkpoint)]
    if not without_litserve:
        try:
            servers.append(litserve(litserve_environment(FOLDER), models.dynamic_int8, models.tokenizer))
        except (OSError, subprocess.CalledProcessError) as error:
            say(f"LitServe is left out, its environment cannot be made: {error}")
    return [*servers, ftx(UNPRUNED, models.unpruned), ftx(HALF, models.half)]


def measure(servers: Sequence[Server], models: Models, pace: Pace, results: Results) -> None:
    for turn, order in enumerate([list(servers), list(reversed(servers))]):
        for server in order:
            say(f"{server.name}, turn {turn + 1} of 2")
            try:
                measure_rate(server, models, pace, results)
            except RuntimeError as error:
                say(f"  left out: {error}")
    for name, bundle in ((UNPRUNED, models.unpruned), (HALF, models.half)):
        rate = statistics.mean(results.rates.get(name, [0.0]))
        if not rate:
            say(f"{name} answered at no rate in time: its overhead and overload are left out")
            continue
        results.overhead[name] = overhead(ftx(name, bundle, "--workers", "1", "--threads", "1"), rate, models, pace)
        results.keep()
        results.overload[name] = overload(ftx(name, bundle), rate, models, pace)
        results.keep()
        for _ in range(pace.cold_starts):
            with started(ftx(name, bundle), models.texts[0], FOLDER / "servers.log") as running:
                say(f"{name}: ready after {running.seconds_to_ready:.2f} s")
                results.ready[name].append(running.seconds_to_ready)
        results.keep()


def measure_rate(server: Server, models: Models, pace: Pace, results: Results) -> None:
    """Start the server once and search. Raises `RuntimeError` where it does not start or does not recover."""
    with started(server, models.texts[0], FOLDER / "servers.log") as running:
        results.ready.setdefault(server.name, []).append(running.seconds_to_ready)
        if server.ready is not None:
            results.variants[server.name] = json.loads(running.get("/info"))["variant"]
        found = Search(running, models.texts, pace).highest(results.rates.get(server.name, []))
        results.rates.setdefault(server.name, []).append(found)
        results.keep()


class Search:
    """For the highest rate that holds."""

    def __init__(self, running: Running, texts: Sequence[str], pace: Pace) -> None:
        self.running = running
        self.texts = texts
        self.pace = pace
        self._seed = 0

    def highest(self, before: Sequence[float]) -> float:
        """Requests a second; 0 if no rate holds. `before` is what was found when the server ran earlier."""
        held, failed = self._bracket(max(1.0, min(before, default=FIRST_RATE * 2) / 2))
        while held and failed / held > self.pace.precision:
            middle = math.sqrt(held * failed)
            if self._holds(middle, self.pace.bisection):
                held = middle
            else:
                failed = middle
        while held >= 1 and not self._holds(held, self.pace.confirmation):
            held /= self.pace.precision
        return held if held >= 1 else 0.0

    def _bracket(self, rate: float) -> tuple[float, float]:
        """A rate that holds (0: none) and a higher one that does not."""
        if not self._holds(rate, self.pace.doubling):
            while rate >= 2:
                rate /= 2
                if self._holds(rate, self.pace.doubling):
                    return rate, rate * 2
            return 0.0, rate
        while rate < HIGHEST_RATE:
            rate *= 2
            if not self._holds(rate, self.pace.doubling):
                return rate / 2, rate
        return rate, rate

    def _holds(self, rate: float, seconds: float) -> bool:
        """Whether it holds in two of three tries: while the machine itself stalls for a moment, any rate fails."""
        tries = [self._holds_once(rate, seconds) for _ in range(2)]
        return tries[0] if tries[0] == tries[1] else self._holds_once(rate, seconds)

    def _holds_once(self, rate: float, seconds: float) -> bool:
        self._seed += 1
        measured = load(self.running, rate, seconds, self.texts, self._seed)
        p99 = quantile(measured.answered, measured.scheduled)
        holds = not measured.stopped_early and p99 <= SLO
        shown = "stopped early" if measured.stopped_early else f"p99 {1000 * p99:.0f} ms"
        late = f", {measured.late_starts} sent late" if measured.late_starts else ""
        say(f"  {rate:.0f}/s: {shown}, {measured.statuses}{late}: {'holds' if holds else 'does not hold'}")
        wait_until_quiet(self.running, self.texts[0], SLO)
        return holds


def load(
    running: Running, rate: float, seconds: float, texts: Sequence[str], seed: int, *, stop_early: bool = True
) -> Measured:
    """What a client, in a process of its own, sees of the server at that rate."""
    requests = [running.server.build(text) for text in texts]
    asked = Asked(running.port, rate, seconds, SLO, seed, requests, stop_early)
    file = FOLDER / "asked.json"
    file.write_text(json.dumps(asdict(asked)), encoding="utf-8")
    command = [sys.executable, str(Path(__file__).with_name("serving_client.py")), str(file)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return Measured(**json.loads(found.stdout))


def quantile(latencies: Sequence[float], requests: int) -> float:
    """The 99th percentile in seconds; requests without a latency count as infinitely late."""
    place = math.ceil(QUANTILE * requests) - 1
    return sorted(latencies)[place] if 0 <= place < len(latencies) else math.inf


def overhead(server: Server, rate: float, models: Models, pace: Pace) -> dict[str, float]:
    """Milliseconds of processor time a request, in all and outside of batches, at a quarter of the full rate."""
    rate = max(1.0, rate / (2 * cores()))
    say(f"{server.name}: overhead at {rate:.0f}/s, one worker of one thread")
    with started(server, models.texts[0], FOLDER / "servers.log") as running:
        load(running, rate, pace.doubling, models.texts, 0, stop_early=False)
        cpu, compute = running.cpu_seconds(), batch_seconds(running)
        measured = load(running, rate, pace.overhead, models.texts, 1, stop_early=False)
        cpu, compute = running.cpu_seconds() - cpu, batch_seconds(running) - compute
    answered = max(1, len(measured.answered))
    return {"rate": rate, "cpu_ms": 1000 * cpu / answered, "outside_ms": 1000 * (cpu - compute) / answered}


def batch_seconds(running: Running) -> float:
    """Seconds that batches have taken so far, as the server counts them."""
    lines = running.get("/metrics").decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("ftx_compute_seconds_sum"))


def overload(server: Server, rate: float, models: Models, pace: Pace) -> dict[str, float]:
    """At three times the rate: answers a second, and how soon answers and refusals come, in milliseconds."""
    say(f"{server.name}: overload, {3 * rate:.0f}/s")
    with started(server, models.texts[0], FOLDER / "servers.log") as running:
        load(running, rate / 2, pace.doubling, models.texts, 0, stop_early=False)
        measured = load(running, 3 * rate, pace.overload, models.texts, 1, stop_early=False)
    say(f"  {measured.statuses}, {measured.late_starts} sent late")
    answered, refused = measured.answered, measured.refused
    lost = measured.scheduled - len(answered) - len(refused)
    return {
        "rate": 3 * rate,
        "goodput": len(answered) / pace.overload,
        "goodput_share": len(answered) / pace.overload / rate,
        "p99_ms": 1000 * quantile(answered, len(answered)),
        "refusal_median_ms": 1000 * statistics.median(refused) if refused else math.nan,
        "refusal_p99_ms": 1000 * quantile(refused, len(refused)),
        "lost": lost,
    }


def print_tables(results: Results) -> None:
    print(f"\n{cores()} cores, {processor()}; p99 within {1000 * SLO:.0f} ms, one text a request\n")
    bases = list(results.rates)[:2]
    print(
        "| server | requests/s, each turn | mean | " + " | ".join(f"to {name.split(',')[0]}" for name in bases) + " |"
    )
    print("|---|---|---|" + "---|" * len(bases))
    for name, rates in results.rates.items():
        ratios = [ratio(statistics.mean(rates), statistics.mean(results.rates[base])) for base in bases]
        each = ", ".join(f"{rate:.0f}" for rate in rates)
        shown = f"{name} ({results.variants[name]})" if name in results.variants else name
        print(f"| {shown} | {each} | {statistics.mean(rates):.0f} | {' | '.join(ratios)} |")
    print("\n| server | seconds to ready, median | each |\n|---|---|---|")
    for name, seconds in results.ready.items():
        print(f"| {name} | {statistics.median(seconds):.1f} | {', '.join(f'{one:.1f}' for one in seconds)} |")
    print(
        "\n| server | CPU ms a request, outside batches | in all | at requests/s | goodput at 3 times the rate "
        "| of the rate | p99 of accepted, ms | refused after, median ms | p99 ms | neither |\n|" + "---|" * 10
    )
    for name, cost in results.overhead.items():
        found = results.overload.get(name)
        cells = [f"{cost['outside_ms']:.2f}", f"{cost['cpu_ms']:.2f}", f"{cost['rate']:.0f}"]
        if found is not None:
            cells += [f"{found['goodput']:.0f}", f"{found['goodput_share']:.0%}", f"{found['p99_ms']:.0f}"]
            cells += [f"{found['refusal_median_ms']:.1f}", f"{found['refusal_p99_ms']:.1f}", f"{found['lost']:.0f}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def ratio(rate: float, base: float) -> str:
    return f"{rate / base:.1f}×" if base else "–"


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
