"""The settings of a suite that plain `locust -f` runs: as options, as FTX_LOADTEST_* or in Locust's own file."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftx.errors import FtxError
from ftx_loadtests.payloads import packaged, read_texts
from ftx_loadtests.preparation import prepare
from ftx_loadtests.protocols import NAMES
from ftx_loadtests.settings import SECONDS, Job, LoadSettings

_OPTIONS: dict[str, tuple[type, str]] = {
    "rate": (float, "Requests a second"),
    "duration": (float, "Seconds to measure"),
    "warmup": (float, "Seconds before, which are not measured"),
    "slo-p99": (float, "The limit of the p99, milliseconds"),
    "capacity": (float, "Requests a second that soak and spike are shares of"),
    "against": (str, "The second endpoint of ab"),
    "model": (str, "The model's name, for the protocol oip"),
    "texts": (str, "A file of texts: csv, jsonl, or a text a line"),
    "template": (str, "A file that describes requests"),
    "request-timeout": (float, "Seconds that an answer may take"),
    "in-flight": (int, "Requests at a time; what is due beyond them is dropped"),
    "seed": (int, "Of arrivals and texts"),
    "api-key-env": (str, "Environment variable with the API key"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Each setting as an option of Locust, which reads FTX_LOADTEST_NAME and its configuration file, too."""
    group: Any = parser.add_argument_group("ftx load tests")
    group.add_argument("--protocol", choices=NAMES, default="tei", env_var="FTX_LOADTEST_PROTOCOL")
    for name, (kind, text) in _OPTIONS.items():
        variable = f"FTX_LOADTEST_{name.upper().replace('-', '_')}"
        group.add_argument(f"--{name}", type=kind, default=None, env_var=variable, help=text)


def job_of(suite: str, host: str | None, options: Any) -> Job:
    """The job that Locust's options describe. Raises `FtxError` where something is missing."""
    if not host:
        raise FtxError("there is no endpoint to test", "name it: locust -f FILE --host http://127.0.0.1:8000")
    given = {name: getattr(options, name.replace("-", "_")) for name in _OPTIONS}
    renamed = {"slo-p99": "slo_p99_ms", "request-timeout": "timeout"}
    values = {renamed.get(name, name.replace("-", "_")): value for name, value in given.items() if value is not None}
    texts = values.pop("texts", None)
    settings = LoadSettings(suite, host, duration=values.pop("duration", SECONDS[suite]), protocol=options.protocol)
    payloads = read_texts(Path(texts)) if texts else packaged()
    return prepare(replace(settings, **values), payloads)[0]
