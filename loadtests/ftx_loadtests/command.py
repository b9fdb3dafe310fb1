"""What `ftx loadtest` does: from its options to an exit code."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx_loadtests.arrivals import read_trace
from ftx_loadtests.golden import golden_payloads
from ftx_loadtests.keeping import keep
from ftx_loadtests.launching import MASTER_PORT, Distribution, check_installed, join
from ftx_loadtests.measuring import Plan, measure
from ftx_loadtests.outcome import Result, judge
from ftx_loadtests.payloads import Payloads, of_lengths, packaged, read_texts
from ftx_loadtests.preflight import endpoint_of
from ftx_loadtests.settings import SECONDS, LoadSettings
from ftx_loadtests.statistics import milliseconds


def loadtest(
    url: str | None,
    options: Mapping[str, Any],
    golden: Callable[[], Bundle] | None,
    *,
    as_json: bool,
) -> int:
    """Run the load test that the options describe, print its result, and return the exit code."""
    if options["worker"]:
        check_installed()
        return join(options["suite"], *_master(str(options["worker"])))
    assert url is not None
    bundle = None if golden is None else golden()
    plan = plan_of(url, options, bundle)
    with ExitStack() as stack:
        folder = options["report"] or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftx-loadtest-")))
        folder.mkdir(parents=True, exist_ok=True)
        result = judge(measure(plan, folder, _say))
        if options["report"]:
            keep(result, folder)
    if as_json:
        print(json.dumps(result.as_json(), indent=2, ensure_ascii=False))
    else:
        for line in lines_of(result):
            print(line)
        if options["report"]:
            print(f"kept in {folder}")
    return result.exit_code


def _master(place: str) -> tuple[str, int]:
    """Host and port of `HOST[:PORT]`."""
    host, _, port = place.partition(":")
    if not host or not (port or "0").isdecimal():
        raise FtxError(f"{place} is no HOST[:PORT]", f"name the master: --worker 192.0.2.7:{MASTER_PORT}")
    return host, int(port or MASTER_PORT)


def plan_of(url: str, options: Mapping[str, Any], bundle: Bundle | None) -> Plan:
    """The plan that the options describe. Raises `FtxError` for options that contradict each other."""
    endpoint_of(url)
    if options["against"]:
        endpoint_of(options["against"])
    trace = read_trace(options["trace"]) if options["trace"] else None
    suite = options["suite"]
    duration = options["duration"] or (float(trace[-1]) + 1e-6 if trace is not None else SECONDS[suite])
    rate = options["rate"]
    if trace is not None and rate is None:
        rate = len(trace) / max(float(trace[-1]), 1e-6)
    settings = LoadSettings(
        suite=suite,
        url=url,
        against=options["against"],
        rate=rate,
        duration=duration,
        warmup=options["warmup"],
        slo_p99_ms=options["slo_p99"],
        capacity=options["capacity"],
        protocol="template" if options["template"] else options["protocol"],
        model=options["model"] or "",
        template=None if options["template"] is None else str(options["template"]),
        loop=options["loop"],
        arrivals="trace" if trace is not None else options["arrivals"],
        trace=() if trace is None else tuple(trace.tolist()),
        users=options["users"],
        pacing=options["pacing"],
        timeout=options["timeout"],
        in_flight=options["in_flight"],
        seed=options["seed"],
        repeat=options["repeat"],
        api_key_env=options["api_key_env"],
        insecure=options["insecure"],
        ca_file=None if options["ca_file"] is None else str(options["ca_file"].absolute()),
        workers=options["workers"],
    )
    return Plan(
        settings,
        _payloads(options, bundle),
        Distribution(options["workers"], options["master"], port=options["master_port"]),
        options["calibration"],
        options["price_per_hour"],
    )


def _payloads(options: Mapping[str, Any], bundle: Bundle | None) -> Payloads:
    if options["texts"] and bundle is not None:
        raise FtxError("--texts and --golden both say what is sent", "leave one of them out")
    if bundle is not None:
        source = golden_payloads(bundle.path, bundle.meta)
    elif options["texts"]:
        source = read_texts(options["texts"], options["text_column"], options["label_column"])
    else:
        source = packaged()
    return of_lengths(options["lengths"], source, options["seed"]) if options["lengths"] else source


def lines_of(result: Result) -> list[str]:
    """The result in words."""
    document = result.as_json()
    lines = [f"{document['suite']}: {document['verdict']}", f"  {document['says']}"]
    lines += [f"  not valid: {reason}" for reason in document["reasons"]]
    achieved = document["achieved"]
    rate = "closed loop" if achieved is None else f"{achieved:.4g} a second"
    lines.append(f"  {document['requests']} requests, {rate}, {document['error_share'] or 0.0:.2%} failed")
    figures = [
        f"p{100 * q:g} {milliseconds(estimate.value)}"
        for q, estimate in result.latencies.adjusted.items()
        if estimate is not None
    ]
    if figures:
        lines.append(f"  {'  '.join(figures)}{', from the scheduled start' if achieved is not None else ''}")
    client = document["client"]
    lag = client["lag_p99_ms"]
    shown = [
        f"{client['cpu_share']:.0%} of a core",
        *([] if lag is None else [f"lag p99 {lag:.3g} ms"]),
        *([] if client["floor_p99_ms"] is None else [f"floor p99 {client['floor_p99_ms']:.3g} ms"]),
    ]
    lines.append(f"  client: {', '.join(shown)}")
    return [*lines, *(f"  note: {note}" for note in document["notes"])]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
