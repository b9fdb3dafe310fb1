"""The page as a browser shows it: quiet, offline, at phone width, by keyboard, in the dark and on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Browsing, contrasts_of, paper_of, reached_by_tab

DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 780}


@pytest.fixture
def visit(browsing: Browsing, two_runs: Path) -> Iterator[Callable[..., Any]]:
    """`visit(**options of the browser's context)`: the report of two runs, which may fetch nothing."""
    yield lambda **options: browsing.open(two_runs.as_uri(), **{"viewport": DESK, **options})
    assert browsing.requested == [two_runs.as_uri()] * len(browsing.contexts)


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_nothing_is_wider_than_the_window(visit, size):
    page = visit(viewport=size)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= size["width"]


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_no_figure_or_title_of_an_axis_covers_another(visit, size):
    page = visit(viewport=size)
    covered = page.evaluate(
        """() => [...document.querySelectorAll('svg.chart')].flatMap((chart) => {
        const texts = [...chart.querySelectorAll('.ticks text, .titles text')];
        const boxes = texts.map((text) => text.getBoundingClientRect());
        const cover = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
        return boxes.flatMap((box, place) => boxes.slice(place + 1).flatMap((other, later) =>
          cover(box, other) ? [[texts[place].textContent, texts[place + 1 + later].textContent]] : [])); })"""
    )
    assert page.locator("svg.chart .titles text").count() > 8
    assert covered == []


def test_texts_of_the_data_run_no_script(visit):
    page = visit()
    assert page.evaluate("typeof window.hurt") == "undefined"
    assert page.locator(".flips img").count() == 0


def test_the_changed_rows_are_searched_and_filtered(visit):
    page = visit()
    section = page.locator(".changed").first
    rows = section.locator(".flips li:visible")
    assert rows.count() == 3
    section.locator("input[type=search]").fill("FINE day")
    assert rows.count() == 1
    assert section.locator("output").inner_text() == "1 of 3 rows"
    section.locator("input[type=search]").fill("")
    section.locator("select[data-filter=variants]").select_option("openvino-int8")
    assert rows.count() == 1
    section.locator("select[data-filter=kind]").select_option("right")
    assert rows.count() == 0


def test_everything_is_reached_by_keyboard_and_shows_that_it_is(visit):
    page = visit()
    reached = reached_by_tab(page, 120)
    names = [name for name, _ in reached]
    assert names[0] == "skip"
    assert {"theme", "INPUT", "SELECT", "SUMMARY", "scroll"} <= set(names)
    # Leaving the page's end, the focus is on nothing.
    assert all(shown for name, shown in reached if name != "BODY")
    details = page.locator("details").first
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.get_attribute("open") is not None


def test_dark_and_light_follow_the_system_and_the_button(visit):
    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert min(paper_of(light)) > 240 and max(paper_of(dark)) < 40
    light.locator("#theme").click()
    assert max(paper_of(light)) < 40
    light.locator("#theme").click()
    assert min(paper_of(light)) > 240


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(visit, scheme):
    page = visit(color_scheme=scheme)
    ratios = contrasts_of(page)
    assert len(ratios) > 100
    assert ratios[0][0] >= 4.5, ratios[:5]


def test_without_script_all_rows_are_there_and_nothing_that_needs_one(visit):
    page = visit(java_script_enabled=False)
    assert page.locator(".flips li:visible").count() == 6
    assert page.locator(".tools:visible").count() == 0
    assert page.locator("#theme:visible").count() == 0


def test_on_paper_the_settings_are_open_and_the_navigation_is_gone(visit):
    page = visit()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".settings").first.is_visible()
    assert not page.locator(".bar").is_visible()
    assert page.pdf()[:4] == b"%PDF"
