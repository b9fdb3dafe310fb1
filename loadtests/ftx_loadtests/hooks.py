"""The step that load-tests what the run serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from ftx import Bundle, LoadTest, Step, StepConfig, hookimpl
from ftx.settings import FilePath
from ftx.tasks import TEXT_CLASSIFICATION


class LoadTestConfig(StepConfig):
    """`[loadtest]`; the options of `ftx loadtest` have the same names."""

    suite: Literal["smoke", "rate", "latency", "saturation", "soak", "spike", "mixed", "chaos"] = Field(
        "latency", description="What is asked"
    )
    rate: float | None = Field(None, gt=0, le=1e6, description="Requests a second; of saturation, where it begins")
    duration: float | None = Field(None, gt=0, le=1e6, description="What is measured, seconds; none: by the suite")
    warmup: float = Field(2.0, ge=0, le=3600, description="What is sent before, and not measured, seconds")
    slo_p99_ms: float | None = Field(None, gt=0, le=1e6, description="The p99 that is promised, milliseconds")
    capacity: float | None = Field(
        None, gt=0, le=1e6, description="Requests a second that soak and spike take shares of; none: searched for"
    )
    arrivals: Literal["poisson", "constant"] = Field("poisson", description="How requests are due")
    timeout: float = Field(30.0, gt=0, le=3600, description="What an answer may take, seconds")
    in_flight: int = Field(1000, ge=1, le=100_000, description="Requests at a time; what is due beyond is dropped")
    repeat: bool = Field(False, description="Whether texts are sent again as they were, so that a cache may answer")
    texts: FilePath | None = Field(
        None, description="csv, tsv, jsonl, or a text a line; none: the bundle's golden examples"
    )
    workers: int = Field(1, ge=1, le=1024, description="Processes that generate the load")
    calibrate: bool = Field(True, description="Whether the client alone is measured first")
    price_per_hour: float | None = Field(None, gt=0, description="Of the server, for the cost of a million requests")


@hookimpl
def ftx_steps() -> Iterable[Step]:
    yield Step(
        name="http",
        stage="loadtest",
        summary="measure the server that the step before has started: is the SLO met, is the answer certain",
        takes={"model": Bundle},
        gives=LoadTest,
        config=LoadTestConfig,
        run="ftx_loadtests.step:run",
        check="ftx_loadtests.check:check",
        requires=("locust", "gevent", "numpy"),
        default=True,
        measures=True,
        cached=False,
        tasks=(TEXT_CLASSIFICATION,),
    )
