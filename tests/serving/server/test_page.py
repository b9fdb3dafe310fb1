"""The page at `/`, in a real browser where there is one."""

from __future__ import annotations

import shutil

import pytest
from tests.serving.server.conftest import Running

from ftx_serving.predictor import Predictor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def test_the_page_may_run_nothing_from_elsewhere(server: Running) -> None:
    answer = server.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b"http://" not in answer.body and b"https://" not in answer.body


def test_the_documentation_fetches_nothing_and_names_every_route(server: Running) -> None:
    answer = server.get("/docs")
    assert answer.status == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.body.decode()
    assert "src=" not in page and "<script" not in page and "<link" not in page
    document = server.get("/openapi.json").json
    for path, methods in document["paths"].items():
        assert all(f"<code>{method.upper()} {path}</code>" in page for method in methods)
    assert server.get("/redoc").status == 404


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
def test_a_text_is_classified_in_the_browser(server: Running, predictor: Predictor) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"http://{server.address}/")
        page.fill("#text", "love <b>great</b>")
        page.click("button")
        page.wait_for_selector("#scores tr")
        shown = page.inner_text("#scores tr:first-child td:first-child")
        card = page.inner_text("#card")
        status = page.inner_text("#status")
        browser.close()
    assert shown == predictor.predict(["love <b>great</b>"])[0][0]["label"]
    assert "onnx-fp32" in card and "positive" in card
    assert "compute" in status
    assert not errors
