"""The page as a browser shows it: quiet, offline, at phone width, by keyboard, in the dark and on paper."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: apt-get install chromium")
DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 780}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, two_runs: Path) -> Iterator[Callable[..., Any]]:
    """`visit(**options of the browser's context)`: the report of two runs; what the console said fails the test."""
    said: list[str] = []
    requested: list[str] = []
    opened = []

    def open_page(**options: Any) -> Any:
        context = browser.new_context(**{"viewport": DESK, **options})
        opened.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: requested.append(request.url))
        page.goto(two_runs.as_uri())
        return page

    yield open_page
    for context in opened:
        context.close()
    assert said == []
    assert requested == [two_runs.as_uri()] * len(opened)


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
    reached = []
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => { const e = document.activeElement; const s = getComputedStyle(e);
                return [e.id || e.className || e.tagName, s.outlineStyle !== 'none' || e.className === 'skip'] }"""
            )
        )
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
    def paper(page: Any) -> list[int]:
        color = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return [int(part) for part in color.strip("rgb()").split(",")]

    light, dark = visit(color_scheme="light"), visit(color_scheme="dark")
    assert min(paper(light)) > 240 and max(paper(dark)) < 40
    light.locator("#theme").click()
    assert max(paper(light)) < 40
    light.locator("#theme").click()
    assert min(paper(light)) > 240


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(visit, scheme):
    page = visit(color_scheme=scheme)
    ratios = page.evaluate(
        """() => {
        const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
        const rgb = (color) => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
          return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3); };
        const light = (color) => rgb(color).map((v) => v / 255)
          .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
          .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
        const style = getComputedStyle(document.body);
        const behind = (element) => { for (let e = element; e; e = e.parentElement) {
          const color = getComputedStyle(e).backgroundColor;
          if (!/, 0\\)$|\\/ 0\\)$|transparent/.test(color)) return color; } return style.backgroundColor; };
        const seen = [];
        for (const element of document.querySelectorAll('main *, .bar *')) {
          const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
          if (!own || element.closest('svg, .unseen, .skip, option')) continue;
          const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
          const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
          seen.push([ratio, element.className || element.tagName]);
        }
        return seen.sort((a, b) => a[0] - b[0]); }"""
    )
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
