"""The pieces of a report that compute: rows, axes, figures, Markdown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from ftx.chart_axes import axis
from ftx_plugins.data.duplicates import Resolution
from ftx_plugins.data.report import count_rows
from ftx_plugins.data.staging import Staged
from ftx_plugins.report import figures
from ftx_plugins.report.gather import gather
from ftx_plugins.report.markdown import render
from ftx_plugins.report.origins import COUNTS
from ftx_plugins.report.rows import confusion, reliability
from ftx_plugins.report.scores import scatters


def test_the_confusion_matrix_counts_rows_by_label_and_prediction(runs):
    final = gather(runs.write(), runs.store).final
    counts = confusion(final.kept, final.models[1])
    # Of 60 rows in three labels each fifth is put one label further.
    assert counts == [[16, 4, 0], [0, 16, 4], [4, 0, 16]]


def test_every_fate_of_a_row_has_a_name():
    none = np.zeros(0, dtype=np.int64)
    staged = Staged(Path("rows.arrow"), none, none, none, (), none, none, {}, has_pairs=False)
    assert set(COUNTS) == set(count_rows(staged, Resolution(none, ()), none))


def test_reliability_bins_hold_all_rows_and_a_temperature_lowers_confidence(runs):
    final = gather(runs.write(), runs.store).final
    sure, unsure = (reliability(final.kept, final.models[1], temperature=value) for value in (1.0, 4.0))
    assert sum(each.rows for each in sure) == 60
    assert all(one.confidence > other.confidence for one, other in zip(sure, unsure, strict=True))
    right = sum(each.accuracy * each.rows for each in sure)
    assert right == pytest.approx(48)


@pytest.mark.parametrize(
    ("values", "zero", "ticks"),
    [
        ([0.78, 0.91], False, (0.75, 0.8, 0.85, 0.9, 0.95)),
        ([3.0, 48.0], True, (0, 10, 20, 30, 40, 50)),
        ([0.5], False, (0.44, 0.46, 0.48, 0.5, 0.52, 0.54, 0.56)),
        ([0.0], True, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
        ([], False, (0, 0.2, 0.4, 0.6, 0.8, 1.0)),
    ],
)
def test_ticks_are_round_and_hold_every_value(values, zero, ticks):
    found = axis(values, 0, 100, zero=zero)
    assert found.low <= min(values, default=0) and found.high >= max(values, default=1)
    assert found.ticks == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (figures.points(-0.0123), "−1.2"),
        (figures.points(0.0001), "0.0"),
        (figures.points(0.02), "+2.0"),
        (figures.points_interval([-0.01, 0.0]), "−1.0 to 0.0"),
        (figures.percent(None), "–"),
        (figures.megabytes(0.0993), "99 kB"),
        (figures.megabytes(23.44), "23.4 MB"),
        (figures.times(12.3), "12×"),
        (figures.times(1.84), "1.8×"),
        (figures.short([True, None, 1e-5]), "true, none, 1e-05"),
    ],
)
def test_figures_read_alike_everywhere(text, expected):
    assert text == expected


def test_the_budgets_region_is_drawn_where_a_limit_is_set_and_nowhere_else(runs):
    with_limit = gather(runs.write(budget={"accuracy_drop": 0.05, "size_mb": 60.0}), runs.store)
    without = gather(runs.write("20260102-030406-00000"), runs.store)
    latency, size = scatters([with_limit], names=[""]).charts
    assert 'class="budget"' in latency and 'class="budget"' in size
    assert not any('class="budget"' in chart for chart in scatters([without], names=[""]).charts)
    # Latency has no limit, so that its region is the wider one.
    widths = [
        float(re.search(r'class="budget" x="\d+" y="\d+" width="([\d.]+)"', chart).group(1))
        for chart in (latency, size)
    ]
    assert widths[0] > widths[1]


def test_markdown_has_the_headline_and_the_scoreboard_and_no_text_of_the_data(runs):
    text = render([runs.write()], runs.store)
    assert text.startswith("## No loss of accuracy that 60 rows can show (−3.0 to +1.0 points); 3.9× smaller")
    assert "window.hurt" not in text
    assert "| choose:fastest | **openvino-int8** |" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table


def test_markdown_of_a_failed_run_quotes_the_error_as_plain_text(runs):
    error = {"code": 1, "message": "train:finetune failed: <b>|`x`", "hints": []}
    text = render([runs.write(steps={}, status="failed", error=error)], runs.store)
    assert "> train:finetune failed: \\<b\\>\\|\\`x\\`" in text


def test_markdown_of_several_runs_begins_side_by_side(runs):
    text = render([runs.write(), runs.write("20260102-030406-00000", epochs=5)], runs.store)
    assert text.startswith("## 2 runs, side by side")
    assert "| train:finetune epochs | 2 | 5 |" in text
