"""The pages as a browser shows them: quiet, from this server alone, at phone width, by keyboard, light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.conftest import Browsing, contrasts_of, paper_of, reached_by_tab
from tests.plugins.report.conftest import write_run
from tests.plugins.ui.conftest import FIRST, HOSTILE, SECOND, Going, Site

from ftx.runs import find_run

DESK, PHONE = {"width": 1200, "height": 900}, {"width": 360, "height": 780}
FAILED = "20260102-030407-00000"


@pytest.fixture
def visit(browsing: Browsing) -> Iterator[Callable[..., Any]]:
    """`visit(site, path, **options of the browser's context)`: a request to elsewhere fails the test."""
    addresses: set[str] = set()

    def open_page(site: Site, path: str, **options: Any) -> Any:
        addresses.add(site.address)
        return browsing.open(site.address + path, **{"viewport": DESK, **options})

    yield open_page
    assert [url for url in browsing.requested if not url.startswith(tuple(addresses))] == []


def all_paths(site: Site) -> list[str]:
    digest = find_run(FIRST, site.store).steps[3]["artifact"]["digest"]
    runs = ["/runs", f"/runs/{FIRST}", f"/runs/{FAILED}", f"/compare?run={FIRST}&run={SECOND}"]
    return [*runs, "/artifacts", f"/artifacts/{digest}", "/try"]


@pytest.mark.parametrize("size", [DESK, PHONE])
def test_no_page_is_wider_than_the_window(filled: Site, visit: Callable[..., Any], size: dict[str, int]) -> None:
    page = visit(filled, "/runs", viewport=size)
    for path in all_paths(filled):
        page.goto(filled.address + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path


def test_a_run_in_another_terminal_grows_on_the_page(site: Site, going: Going, visit: Callable[..., Any]) -> None:
    going.train([1.0, 0.9])
    page = visit(site, f"/runs/{going.record.id}")
    page.get_by_text("2 of 10 steps").wait_for()
    going.train([1.0, 0.9, 0.7, 0.4])
    going.tell("step_log", step="train:finetune", message=f"all well {HOSTILE}")
    page.get_by_text("4 of 10 steps").wait_for()
    page.get_by_text("all well <script>window.hurt = 1</script>").wait_for()
    assert page.locator(".present .chart circle").count() == 6  # two, and four more
    assert page.evaluate("typeof window.hurt") == "undefined" and page.locator("img").count() == 0
    going.record.status, going.record.finished = "done", going.record.started
    going.record.save(site.store)
    page.locator("#part-state .tag", has_text="done").wait_for()
    assert page.locator(".present").count() == 0


def test_what_is_ticked_and_focused_stays_so_while_the_list_changes(
    site: Site, going: Going, visit: Callable[..., Any]
) -> None:
    write_run(site.store, FIRST)
    going.train([1.0])
    page = visit(site, "/runs")
    page.get_by_text("1 of 10 steps").wait_for()
    page.locator(f"#pick-{FIRST}").check()
    page.locator(f"#to-{FIRST}").focus()
    going.train([1.0, 0.9, 0.8])
    page.get_by_text("3 of 10 steps").wait_for()
    assert page.locator(f"#pick-{FIRST}").is_checked()
    assert page.evaluate("document.activeElement.id") == f"to-{FIRST}"


def test_the_first_run_of_a_store_comes_onto_its_page(site: Site, visit: Callable[..., Any]) -> None:
    page = visit(site, "/runs")
    page.get_by_text("There are no runs yet").wait_for()
    write_run(site.store, FIRST)
    page.locator(f"#to-{FIRST}").wait_for(timeout=10_000)


def test_runs_are_filtered_and_two_that_are_ticked_are_compared(filled: Site, visit: Callable[..., Any]) -> None:
    page = visit(filled, "/runs")
    rows = page.locator("#part-lines tr:visible")
    assert rows.count() == 3
    page.fill("#filter", "FAILED")
    assert rows.count() == 1 and page.inner_text("#filtered") == "1 of 3"
    page.fill("#filter", "")
    page.check(f"#pick-{FIRST}")
    page.check(f"#pick-{SECOND}")
    page.click("text=Compare the two")
    assert page.inner_text("#verdict") == "Cannot tell"


def test_the_report_opens_with_its_own_script_and_styles(filled: Site, visit: Callable[..., Any]) -> None:
    page = visit(filled, f"/runs/{FIRST}")
    page.click("a.button:has-text('Report')")
    page.locator("html.scripted .figures").first.wait_for()
    assert page.evaluate("typeof window.hurt") == "undefined"


def test_a_text_is_classified_and_its_markup_shows_as_text(
    with_bundle: tuple[Site, str], visit: Callable[..., Any]
) -> None:
    page = visit(with_bundle[0], "/try")
    page.fill("textarea", f"a good film </textarea>{HOSTILE}")
    page.keyboard.press("Control+Enter")
    page.locator(".scores tbody tr").first.wait_for()
    assert page.locator(".scores tbody tr").count() == 3
    assert page.input_value("textarea") == f"a good film </textarea>{HOSTILE}"
    assert page.evaluate("typeof window.hurt") == "undefined"


def test_a_page_of_another_site_cannot_send_a_form_here(filled: Site, browser: Any) -> None:
    page = browser.new_page()
    page.set_content(f'<form method="post" action="{filled.address}/try"><input name="text" value="x"></form>')
    with page.expect_navigation() as navigation:
        page.evaluate("document.forms[0].submit()")
    assert navigation.value.status == 403
    page.close()


def test_everything_is_reached_by_keyboard_and_shows_that_it_is(filled: Site, visit: Callable[..., Any]) -> None:
    page = visit(filled, "/runs")
    reached = reached_by_tab(page, 24)
    names = [name for name, _ in reached]
    assert names[0] == "skip"
    assert {"theme", "filter", f"pick-{FIRST}", f"to-{FIRST}", "BUTTON"} <= set(names)
    assert all(shown for name, shown in reached if name != "BODY")


def test_the_theme_follows_the_system_then_the_button_and_is_kept(filled: Site, visit: Callable[..., Any]) -> None:
    page = visit(filled, "/runs", color_scheme="dark")
    assert max(paper_of(page)) < 40
    page.click("#theme")
    assert min(paper_of(page)) > 240
    page.goto(filled.address + "/artifacts")
    assert min(paper_of(page)) > 240


def test_without_script_the_pages_are_there(filled: Site, visit: Callable[..., Any]) -> None:
    page = visit(filled, "/runs", java_script_enabled=False)
    assert page.locator("#part-lines tr:visible").count() == 3
    assert page.locator("#theme:visible").count() == 0 and page.locator(".tools:visible").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_that_wcag_asks_for(filled: Site, visit: Callable[..., Any], scheme: str) -> None:
    page = visit(filled, "/runs", color_scheme=scheme)
    for path in all_paths(filled):
        page.goto(filled.address + path)
        ratios = contrasts_of(page)
        assert len(ratios) > 8 and ratios[0][0] >= 4.5, (path, ratios[:5])
