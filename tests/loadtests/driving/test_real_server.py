"""`ftx loadtest` from the command line: against ftx's own server, and against what is none."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.loadtests.driving.conftest import answer
from tests.serving.server.conftest import Running, start_server

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.processes import free_port
from ftx_loadtests.connections import Client, Endpoint
from ftx_loadtests.payloads import Payloads, packaged
from ftx_loadtests.preflight import check, protocol_of, server_info
from ftx_loadtests.preparation import prepare
from ftx_loadtests.server_timing import read_timing
from ftx_loadtests.settings import LoadSettings

pytestmark = pytest.mark.xdist_group("load-command")


@pytest.fixture(scope="module")
def real(tiny_bundle: Bundle) -> Iterator[Running]:
    runtimes: Mapping[str, Any] = PluginManager.load(third_party=False).runtimes()
    running, stop = start_server({"tiny": lambda: tiny_bundle}, runtimes)
    yield running
    stop()


def loadtest(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ftx", "loadtest", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=120)


def job(url: str, texts: Payloads | None = None, **settings: Any) -> Any:
    return prepare(LoadSettings("rate", url, rate=1.0, **settings), texts or packaged())[0]


@pytest.mark.parametrize("protocol", ["tei", "oip", "guide", "template"])
def test_the_real_server_is_understood_by_each_protocol(real, tmp_path, protocol):
    template = tmp_path / "request.json"
    template.write_text('{"path": "/", "body": {"inputs": "{{text}}"}, "label": "$[0][0].label"}')
    checked = check(job(f"http://{real.address}", Payloads(("love great",)), protocol=protocol, template=str(template)))
    spoken = protocol_of(checked)
    client = Client(Endpoint.of(checked.settings.url), {}, 10.0)
    ask = spoken.ask("love great")
    got = client.send(client.message(ask.path, ask.body))
    client.close()
    timing = read_timing(got.headers)
    assert spoken.read(got.body) == "positive"
    assert timing.compute > 0
    assert timing.tokens == 4
    assert timing.batch_size == 1
    assert timing.padded_tokens >= 4


def test_the_command_passes_the_real_server_on_its_golden_texts(real, tiny_bundle, tmp_path):
    ran = loadtest(
        f"http://{real.address}", "--suite", "smoke", "--golden", str(tiny_bundle.path), "--no-calibration", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert document["verdict"] == "pass"
    assert document["agreement"]["share"] == 1.0
    assert document["server"]["served_model_name"] == "tiny"


@pytest.mark.slow
def test_a_calibrated_rate_test_keeps_its_samples_and_says_what_it_found(real, tmp_path):
    report = tmp_path / "report"
    options = ("--rate", "150", "--duration", "4", "--slo-p99", "5000", "--warmup", "0.5", "--report", str(report))
    ran = loadtest(f"http://{real.address}", *options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "rate: pass" in ran.stdout
    assert "floor p99" in ran.stdout
    assert (report / "samples.npz").is_file()


def test_an_slo_below_the_clients_own_floor_is_refused(real):
    ran = loadtest(f"http://{real.address}", "--rate", "50", "--slo-p99", "0.0001")
    assert ran.returncode == 2
    assert "this client alone takes" in ran.stderr
    assert "  → " in ran.stderr


def test_nobody_there_is_one_clear_error():
    with pytest.raises(FtxError, match="cannot be reached: Connection refused") as caught:
        check(job(f"http://127.0.0.1:{free_port()}"))
    assert caught.value.code == 2
    assert caught.value.hints


def test_a_server_of_another_protocol_is_named_with_the_one_it_speaks(real, tmp_path):
    path = tmp_path / "request.json"
    path.write_text('{"path": "/nowhere", "body": "{{text}}", "label": "a"}')
    with pytest.raises(FtxError, match="does not speak the protocol template") as caught:
        check(job(f"http://{real.address}", protocol="template", template=str(path)))
    assert "it speaks tei: --protocol tei" in caught.value.hints


def test_a_server_that_wants_a_key_is_asked_with_one(serve, monkeypatch):
    async def closed(body: bytes) -> bytes | None:
        return answer(status=401)

    url = serve(closed).url
    with pytest.raises(FtxError, match="wants an API key"):
        check(job(url))
    monkeypatch.delenv("FTX_TEST_KEY", raising=False)
    with pytest.raises(FtxError, match="holds no API key"):
        check(job(url, api_key_env="FTX_TEST_KEY"))
    monkeypatch.setenv("FTX_TEST_KEY", "ключ")
    with pytest.raises(FtxError, match="holds what no header may"):
        check(job(url, api_key_env="FTX_TEST_KEY"))


def test_tls_with_a_server_without_it_is_one_clear_error(real):
    with pytest.raises(FtxError, match="no TLS with") as caught:
        check(job(f"https://{real.address}"))
    assert any("http://127" in hint for hint in caught.value.hints)


def test_a_file_of_no_certificates_is_refused(tmp_path, serve):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(FtxError, match="holds no certificates"):
        check(job(serve().url.replace("http://", "https://"), ca_file=str(tmp_path / "ca.pem")))
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED


def test_a_server_without_info_only_loses_that(serve):
    assert server_info(LoadSettings("rate", "x"), serve().url) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "there is no endpoint to test"),
        (("ftp://h", "--rate", "1"), "is no http"),
        (("http://h", "--suite", "rate"), "needs --rate"),
        (("http://h", "--rate", "1", "--texts", "/nowhere.txt"), "cannot be read"),
        (("http://h", "--rate", "1", "--lengths", "odd"), "no distribution of lengths"),
        (("--worker", "h:port"), "h:port is no HOST[:PORT]"),
    ],
)
def test_bad_usage_is_said_at_once(arguments, said):
    ran = loadtest(*arguments)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "  → " in ran.stderr
