"""The report of a load test: the page, the table, the document, and the file for CI."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import Browsing, paper_of

from ftx_loadtests.measurement import ClientFacts, Measurement, Phase, ServerFacts
from ftx_loadtests.outcome import judge
from ftx_loadtests.report.charts import distribution
from ftx_loadtests.report.files import write_report
from ftx_loadtests.report.page import render
from ftx_loadtests.resources import Reading, Resources
from ftx_loadtests.samples import Failure, Samples, concatenate

HOSTILE = '</script><script>window.hurt = 1</script><img src=x onerror="window.hurt = 2">'
VOID = {"meta", "input", "img", "br", "link", "hr"}
FULL = {
    "latency",
    "capacity",
    "stages",
    "lengths",
    "answers",
    "machine",
    "settings",
}


@pytest.fixture(scope="module")
def searched(sampled) -> Measurement:
    """A search for the capacity, with all that a server may tell; some of its texts are hostile."""
    random = np.random.default_rng(0)
    parts, phases = [], []
    for block, (rate, latency) in enumerate({25.0: 0.01, 50.0: 0.015, 100.0: 0.03, 200.0: 2.0, 107.0: 0.3}.items()):
        start = 30.0 * block
        count = int(30 * rate)
        queue = 500 * latency * random.random(count)
        took = latency * random.lognormal(sigma=0.2, size=count) + queue / 1000 + 0.008
        failure = np.where(random.random(count) < (0.2 if rate > 150 else 0), Failure.TIMEOUT, Failure.NONE)
        columns = {
            "queue": queue,
            "tokenize": 0.2,
            "batch": 0.1,
            "compute": 6.0,
            "label": random.integers(2, size=count),
        }
        tokens = np.exp(random.normal(3, 1, count)).astype(int) + 1
        batches = {"tokens": tokens, "batch_size": 1, "padded_tokens": tokens + 3, "text": np.arange(count) % 9}
        scheduled = start + np.arange(count) / rate
        parts.append(sampled(scheduled, took, ("bad", HOSTILE), block=block, failure=failure, **columns, **batches))
        phases.append(Phase(block, f"{rate:g}/s {HOSTILE}", start, start + 30, rate))
    readings = [
        Reading(
            float(time), cpu=1.5, rss=2**30 + 1e5 * time, cpu_energy=80.0 * time, gpu_utilization=0.5, gpu_throttle=4
        )
        for time in range(150)
    ]
    return Measurement(
        "saturation",
        "http://server/predict",
        {"slo_p99_ms": 100.0, "price_per_hour": 2.0, "seed": 1, "template": HOSTILE},
        concatenate(parts),
        phases,
        ClientFacts(0.3),
        server=ServerFacts({"model_id": HOSTILE, "model_sha": "abc"}, {"model_id": HOSTILE, "model_sha": "abd"}),
        resources=Resources(readings, ("no GPU is sampled: " + HOSTILE,), (HOSTILE,)),
        floor_ms=1.5,
        reference_labels=["bad"] * 9,
    )


class Outline(HTMLParser):
    """Checks that elements are closed in order, and collects names and links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]
        self.links += [value for name, value in attributes if name in ("href", "src", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, self.getpos()


def test_the_page_is_well_formed_and_refers_to_nothing_outside_itself(searched):
    outline = Outline(render(judge(searched)))
    assert set(outline.ids) >= FULL
    assert len(outline.ids) == len(set(outline.ids))
    assert all(link.startswith("#") and link[1:] in outline.ids for link in outline.links)


def test_the_reasons_stand_above_the_figures(searched):
    page = render(judge(searched))
    assert "The measurement is not valid" in page
    assert 0 < page.index("model_sha: abc → abd") < page.index('class="figures')


@pytest.mark.parametrize("suite", ["rate", "smoke", "latency", "soak", "spike", "mixed", "chaos", "ab"])
def test_what_was_not_measured_has_no_section(sampled, suite):
    samples = sampled(np.arange(600) / 20, 0.02, endpoint=np.arange(600) // 10 % 2, block=np.arange(600) // 10)
    phases = [Phase(block, "quiet", block / 2, block / 2 + 0.5) for block in range(60)]
    page = render(judge(Measurement(suite, "http://server", {}, samples, phases, ClientFacts(0.1))))
    found = set(Outline(page).ids)
    assert {"latency", "settings"} <= found and not found & (FULL - {"latency", "settings"})


def test_a_test_without_any_answer_has_a_page(sampled):
    nothing = Measurement("rate", "http://server", {"slo_p99_ms": 50.0}, Samples.empty(), [], ClientFacts(0.0))
    assert "nothing was measured" in render(judge(nothing))
    failed = sampled(np.arange(600) / 20, 1.0, failure=Failure.CONNECTION, status=0)
    phases = [Phase(0, "rate", 0, 30, 20.0)]
    page = render(judge(Measurement("rate", "http://server", {"slo_p99_ms": 50.0}, failed, phases, ClientFacts(0.0))))
    assert "the server did not answer any more at the end" in page and "infinite" in page


def test_the_distribution_leaves_the_share_of_failures_missing_at_the_top(sampled):
    failure = np.where(np.arange(1000) % 4 == 0, Failure.STATUS, Failure.NONE)
    drawn = distribution(sampled(np.arange(1000) / 50, 0.02, failure=failure), 100.0)
    assert (
        'aria-label="Share of requests over latency: from the scheduled start 0.001 to 0.75; of those answered' in drawn
    )


def test_every_file_of_a_report_is_written_and_agrees_with_the_others(searched, tmp_path):
    result = judge(searched)
    write_report(result, tmp_path)
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"report.html", "result.json", "samples.csv", "junit.xml", "resources.jsonl"}
    document = json.loads((tmp_path / "result.json").read_text())
    assert document == json.loads(json.dumps(result.as_json())) and document["verdict"] == "invalid"
    with (tmp_path / "samples.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(searched.samples)
    assert {row["label"] for row in rows} == {"bad", HOSTILE} and {row["failure"] for row in rows} == {"", "timeout"}
    assert float(rows[7]["ended"]) == pytest.approx(searched.samples.ended[7], abs=1e-6)
    assert rows[0]["batch_tokens"] == ""
    assert Resources.load(tmp_path / "resources.jsonl").devices == (HOSTILE,)


@pytest.mark.parametrize(
    ("latency", "settings", "counts"),
    [
        (0.02, {"slo_p99_ms": 100.0}, ("0", "0", "0")),
        (0.2, {"slo_p99_ms": 100.0}, ("1", "0", "0")),
        (0.2, {}, ("0", "0", "1")),
        (np.where(np.arange(1000) % 100, 0.02, 0.5), {"slo_p99_ms": 100.0}, ("0", "1", "0")),
    ],
)
def test_ci_reads_one_test_case_for_each_verdict(sampled, tmp_path, latency, settings, counts):
    samples = sampled(np.arange(1000) / 50, latency)
    phases = [Phase(0, "rate\x07 <&", 0, 20, 50.0)]
    write_report(judge(Measurement("rate", "http://server", settings, samples, phases, ClientFacts(0.1))), tmp_path)
    suite = ET.parse(tmp_path / "junit.xml").getroot()
    assert [case.get("name") for case in suite] == ["slo", "valid", "certain"]
    assert tuple(suite.get(name) for name in ("failures", "errors", "skipped")) == counts


def test_a_reason_with_control_characters_is_still_xml(sampled, tmp_path):
    samples = sampled(np.arange(1000) / 50, 0.02)
    server = ServerFacts({"model_id": "a\x07"}, {"model_id": "<b>&"})
    phases = [Phase(0, "rate", 0, 20, 50.0)]
    measurement = Measurement("rate", "http://server", {}, samples, phases, ClientFacts(0.1), server=server)
    write_report(judge(measurement), tmp_path)
    error = ET.parse(tmp_path / "junit.xml").getroot().find("testcase[@name='valid']/error")
    assert error is not None and "<b>&" in str(error.get("message"))


@pytest.fixture
def visit(browsing: Browsing, searched: Measurement, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """`visit(**options of the browser's context)`: the page, which may fetch nothing."""
    path = tmp_path / "report.html"
    path.write_text(render(judge(searched)), encoding="utf-8")
    yield lambda **options: browsing.open(path.as_uri(), **options)
    assert browsing.requested == [path.as_uri()] * len(browsing.contexts)


@pytest.mark.parametrize("width", [1200, 360])
def test_nothing_is_wider_than_the_window(visit, width):
    page = visit(viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("typeof window.hurt") == "undefined"
    assert page.locator("svg.chart").count() >= 5


def test_dark_and_light_follow_the_system_and_the_button(visit):
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert min(paper_of(light)) > 240 and max(paper_of(dark)) < 40
    light.locator("#theme").click()
    assert max(paper_of(light)) < 40
    dark.locator("#theme").click()
    assert min(paper_of(dark)) > 240


def test_no_text_of_a_chart_is_outside_it(visit):
    page = visit(viewport={"width": 1200, "height": 800})
    outside = page.evaluate(
        """() => [...document.querySelectorAll('svg.chart text')].filter((text) => {
        const [a, b] = [text.getBoundingClientRect(), text.closest('svg').getBoundingClientRect()];
        return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
        }).map((text) => text.textContent)"""
    )
    assert [text for text in outside if HOSTILE not in text] == []
