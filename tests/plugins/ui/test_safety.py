"""Who may ask, what may be sent from where, and which files can be had."""

from __future__ import annotations

import pytest
from tests.plugins.report.conftest import write_run
from tests.plugins.ui.conftest import FIRST, Site

from ftx_plugins.ui.guard import is_loopback, is_ours


@pytest.mark.parametrize("host", ["127.0.0.1:8470", "localhost", "LOCALHOST:9000", "[::1]:8470"])
def test_names_of_this_machine_are_served_whatever_the_port(host: str) -> None:
    assert is_ours(host, "127.0.0.1")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8470",
        "",
        "localhost.evil.example",
        "[::1",
        "@localhost@evil.example",
    ],
)
def test_names_that_somebody_else_may_lead_here_are_not(host: str) -> None:
    assert not is_ours(host, "127.0.0.1")
    assert not is_ours(host, "0.0.0.0")


def test_where_others_may_connect_any_address_is_a_name_of_this_machine() -> None:
    assert is_ours("192.168.1.20:8470", "0.0.0.0")
    assert not is_ours("192.168.1.20:8470", "127.0.0.1")
    assert is_ours("box.lan:8470", "box.lan")
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "box.lan")] == [True] * 3 + [
        False
    ] * 2


def test_a_rebound_name_reads_nothing(filled: Site) -> None:
    for path in ("/runs", f"/runs/{FIRST}/events", "/assets/ui.js"):
        answer = filled.request("GET", path, headers={"Host": f"evil.example:{filled.port}"})
        assert answer.status == 421 and FIRST not in answer.text


@pytest.mark.parametrize("origin", [None, "null", "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1"])
def test_a_form_from_elsewhere_is_refused(filled: Site, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    answer = filled.request("POST", "/try", "text=hello", headers)
    assert answer.status == 403


def test_a_form_of_ours_is_taken(filled: Site) -> None:
    assert filled.post("/try", "text=hello").status == 200


def test_a_text_beyond_the_limit_is_refused(filled: Site) -> None:
    answer = filled.post("/try", "text=" + "a" * 300_000)
    assert answer.status == 413 and "256 kB" in answer.text


def test_pages_may_load_nothing_from_elsewhere_and_run_no_script_in_them(filled: Site) -> None:
    for path in ("/runs", f"/runs/{FIRST}", "/artifacts", "/compare", "/try", "/nowhere"):
        answer = filled.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "http://" not in answer.text and "https://" not in answer.text
        assert "<script>" not in answer.text and " style=" not in answer.text


def test_the_report_keeps_its_own_policy_and_is_framed_by_nobody(filled: Site) -> None:
    answer = filled.get(f"/report?run={FIRST}")
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert "default-src 'none'" in answer.text


@pytest.mark.parametrize(
    "name",
    [
        "../manifest.json",
        "..%2f..%2f..%2fsecret.txt",
        "%2e%2e/%2e%2e/%2e%2e/secret.txt",
        "../../../secret.txt",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "manifest.json",
        "",
    ],
)
def test_only_files_that_the_manifest_names_can_be_had(site: Site, name: str) -> None:
    record = write_run(site.store, FIRST)
    (site.store.root.parent / "secret.txt").write_text("secret")
    answer = site.get(f"/artifacts/{record.steps[0]['artifact']['digest']}/files/{name}")
    assert answer.status == 404
    assert "secret" not in answer.text and "root:" not in answer.text


def test_a_link_out_of_the_store_is_not_followed(site: Site) -> None:
    record = write_run(site.store, FIRST)
    folder = site.store.objects / record.steps[0]["artifact"]["digest"]
    (site.store.root.parent / "secret.txt").write_text("secret")
    (folder / "made.txt").unlink()
    (folder / "made.txt").symlink_to(site.store.root.parent / "secret.txt")
    answer = site.get(f"/artifacts/{folder.name}/files/made.txt")
    assert answer.status == 404 and "secret" not in answer.text


@pytest.mark.parametrize("name", ["..", "%2e%2e", "../../elsewhere", "..%2f..%2felsewhere"])
def test_a_run_or_an_artifact_elsewhere_is_not_opened(site: Site, name: str) -> None:
    write_run(site.store, FIRST)
    elsewhere = site.store.root.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "run.json").write_text((site.store.runs / FIRST / "run.json").read_text())
    for path in (f"/runs/{name}", f"/runs/{name}/events", f"/artifacts/{name}", f"/assets/{name}"):
        assert site.get(path).status == 404, path
    assert site.get(f"/report?run={name}").status == 404
