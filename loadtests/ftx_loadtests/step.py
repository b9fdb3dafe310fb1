"""The step `loadtest`: asks the server that the run has started, and leaves everything that was measured."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx_loadtests.golden import golden_payloads
from ftx_loadtests.hooks import LoadTestConfig
from ftx_loadtests.keeping import keep
from ftx_loadtests.launching import Distribution
from ftx_loadtests.measuring import Plan, measure
from ftx_loadtests.outcome import judge
from ftx_loadtests.payloads import read_texts
from ftx_loadtests.preflight import server_info
from ftx_loadtests.settings import SECONDS, LoadSettings


def run(config: LoadTestConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """The result as metrics; `exit_code` tells the run what to make of it."""
    url = context.serving.get("url")
    if url is None:
        raise FtxError("no server was started before the load test", "ftx run serve loadtest")
    settings = LoadSettings(
        suite=config.suite,
        url=url,
        rate=config.rate,
        duration=config.duration or SECONDS[config.suite],
        warmup=config.warmup,
        slo_p99_ms=config.slo_p99_ms,
        capacity=config.capacity,
        arrivals=config.arrivals,
        timeout=config.timeout,
        in_flight=config.in_flight,
        seed=context.seed,
        repeat=config.repeat,
        workers=config.workers,
        api_key_env=context.serving.get("api_key_env"),
    )
    if config.texts is not None:
        payloads = read_texts(Path(config.texts))
    else:
        bundle = inputs["model"]
        payloads = golden_payloads(bundle.path, bundle.meta, (server_info(settings, url) or {}).get("variant"))
    plan = Plan(settings, payloads, Distribution(config.workers), config.calibrate, config.price_per_hour)
    work = context.work / "loadtest"
    shutil.rmtree(work, ignore_errors=True)  # a measurement that was cut off is not one to go on from
    measurement = measure(plan, work, context.log, keep_interrupted=False)
    result = judge(measurement)
    keep(result, context.out)
    document = result.as_json()
    for reason in document["reasons"]:
        context.warn(f"the measurement is not valid: {reason}")
    return {**document, "exit_code": result.exit_code}
