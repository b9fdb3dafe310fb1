"""The repository's own tests use the kit that plugins use; and a browser, for all that makes pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

pytest_plugins = ["ftx.testing"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass
class Browsing:
    """Pages that one test opens, each in a context of its own."""

    browser: Any
    contexts: list[Any] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """By the pages' consoles; at the end of the test nothing may have been."""
    requested: list[str] = field(default_factory=list)

    def open(self, address: str, **options: Any) -> Any:
        """A page at `address`; `options` are those of the browser's context."""
        context = self.browser.new_context(**options)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.requested.append(request.url))
        page.goto(address)
        return page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium is installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def browsing(browser: Any) -> Iterator[Browsing]:
    browsing = Browsing(browser)
    yield browsing
    for context in browsing.contexts:
        context.close()
    assert browsing.said == []


def paper_of(page: Any) -> list[int]:
    """Red, green and blue of a page's background."""
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [int(part) for part in color.strip("rgb()").split(",")]


def reached_by_tab(page: Any, times: int) -> list[tuple[str, bool]]:
    """What the tab key reaches, one after another: its id, class or tag, and whether it shows that it is reached."""
    reached = []
    for _ in range(times):
        page.keyboard.press("Tab")
        name, shown = page.evaluate(
            """() => { const e = document.activeElement; const s = getComputedStyle(e);
            return [e.id || e.className || e.tagName, s.outlineStyle !== 'none' || e.className === 'skip'] }"""
        )
        reached.append((name, shown))
    return reached


def contrasts_of(page: Any) -> list[list[Any]]:
    """The contrast of each text with what is behind it, as WCAG reckons it, and whose it is; the least first."""
    found: list[list[Any]] = page.evaluate(
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
          if (!own || element.closest('svg, .unseen, .skip, option, progress')) continue;
          const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
          const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
          seen.push([ratio, element.className || element.tagName]);
        }
        return seen.sort((a, b) => a[0] - b[0]); }"""
    )
    return found
