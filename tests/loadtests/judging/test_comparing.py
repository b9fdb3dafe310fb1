"""`ftx compare` on two load tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftx.cli import main
from ftx.errors import FtxError
from ftx_loadtests.comparing import compare, lines_of
from ftx_loadtests.keeping import keep
from ftx_loadtests.measurement import ClientFacts, Measurement, Phase
from ftx_loadtests.outcome import judge
from ftx_loadtests.samples import concatenate
from ftx_loadtests.statistics import ratio_of_quantiles


@pytest.fixture
def kept(sampled, tmp_path):
    """`kept(name, factor, **of the measurement)`: the folder of a test whose latencies are so many times 20 ms."""

    def write(name: str, factor: float = 1.0, count: int = 2000, seed: int = 0, **more: Any) -> Path:
        random = np.random.default_rng(seed)
        samples = sampled(np.arange(count) / 50, 0.02 * factor * random.lognormal(sigma=0.3, size=count))
        settings = {"slo_p99_ms": 500.0, "rate": 50.0}
        given = {"suite": "rate", "settings": settings, "samples": samples, **more}
        phases = [Phase(0, "rate", 0, count / 50, 50.0)]
        measurement = Measurement(url="http://" + name, phases=phases, client=ClientFacts(0.1), **given)
        folder = tmp_path / name
        folder.mkdir()
        keep(judge(measurement), folder)
        return folder

    return write


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "cannot tell"), (1.5, "slower"), (0.6, "faster")])
def test_the_second_test_is_faster_slower_or_cannot_be_told_apart(kept, factor, verdict):
    folders = [kept("a"), kept("b", factor, seed=1)]
    found = compare(("a", "b"), folders)
    assert found["verdict"] == verdict and found["by"] == "p99"
    value, low, high = found["ratios"]["p50"]
    assert low <= factor <= high and value == pytest.approx(factor, rel=0.05)
    json.dumps(found, allow_nan=False)


def test_too_few_requests_for_a_p99_are_compared_by_what_there_is(kept):
    found = compare(("a", "b"), [kept("a", count=200, settings={}), kept("b", 2.0, count=200, settings={})])
    assert found["by"] == "p95" and found["ratios"]["p99"] is None and found["verdict"] == "slower"


def test_a_test_that_is_not_valid_tells_nothing(kept):
    found = compare(("a", "b"), [kept("a"), kept("b", 3.0, interrupted=True)])
    assert found["verdict"] == "cannot tell" and found["invalid"] == ["b"]
    assert "  not valid: b" in lines_of(found)


@pytest.mark.parametrize("settings", [{"rate": 60.0}, {"rate": 50.0, "slo_p99_ms": 1.0}])
def test_tests_that_asked_something_else_are_refused(kept, settings):
    folders = [kept("a"), kept("b", settings=settings)]
    if settings["rate"] == 50.0:
        assert compare(("a", "b"), folders)["verdict"] == "cannot tell"
        return
    with pytest.raises(FtxError, match=r"did not ask the same: rate 50\.0, 60\.0"):
        compare(("a", "b"), folders)


def test_two_searches_are_compared_by_the_bounds_of_their_capacities(sampled, tmp_path):
    folders = []
    for name, rates in (("a", {50.0: 0.02, 55.0: 2.0}), ("b", {70.0: 0.02, 75.0: 2.0}), ("c", {52.0: 0.02, 60.0: 2.0})):
        parts = [
            sampled(30 * block + np.arange(0, 30, 1 / rate), latency, block=block)
            for block, (rate, latency) in enumerate(rates.items())
        ]
        phases = [Phase(block, "", 30 * block, 30 * block + 30, rate) for block, rate in enumerate(rates)]
        settings = {"slo_p99_ms": 100.0}
        measurement = Measurement("saturation", "http://x", settings, concatenate(parts), phases, ClientFacts(0.1))
        folder = tmp_path / name
        folder.mkdir()
        keep(judge(measurement), folder)
        folders.append(folder)
    assert compare(("a", "b"), folders[:2])["verdict"] == "faster"
    assert compare(("b", "a"), folders[1::-1])["verdict"] == "slower"
    found = compare(("a", "c"), folders[::2])
    assert found["verdict"] == "cannot tell" and "capacity  A 50/s [50, 55]" in "\n".join(lines_of(found))


def test_a_ratio_without_an_upper_bound_is_put_into_words(kept, sampled):
    latency = np.full(2000, 0.02)
    latency[np.random.default_rng(0).choice(2000, 16, replace=False)] = np.inf  # 0.8%: the p99 is just finite
    failing = sampled(np.arange(2000) / 50, latency)
    found = compare(("a", "b"), [kept("a"), kept("b", samples=failing)])
    assert found["ratios"]["p99"][2] is None
    assert any(line.endswith(", infinite]") for line in lines_of(found))


def test_a_ratio_of_infinite_quantiles_is_not_told():
    values = np.full(1000, np.inf)
    assert ratio_of_quantiles(values, np.ones(1000), 0.5) is None
    assert ratio_of_quantiles(np.ones(499), np.ones(1000), 0.99) is None


@pytest.fixture
def ftx(capsys, monkeypatch, tmp_path):
    """`ftx(*arguments)`: exit code, and what was said on both streams."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[Any, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return ended.value.code, "".join(capsys.readouterr())

    return run


def test_the_command_compares_folders_of_reports(kept, ftx):
    folders = [str(kept("a")), str(kept("b", 1.5, seed=1))]
    code, said = ftx("compare", *folders)
    assert code == 0 and "verdict: B is slower than A (by its p99)" in said
    assert json.loads(ftx("compare", *folders, "--json")[1])["verdict"] == "slower"


def test_a_load_test_is_not_compared_with_something_else(kept, ftx, tmp_path):
    folder = str(kept("a"))
    code, said = ftx("compare", folder, folder, "--split", "test")
    assert code == 2 and "no splits" in said
    assert ftx("compare", folder, str(tmp_path / "none"))[0] == 2
