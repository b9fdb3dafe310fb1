"""What passes between a run and the server that it has started."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ftx.plugins import PluginManager
from ftx.step import Context, ModelSettings
from ftx.testing import tiny
from ftx_serving.background import _document, _Output
from ftx_serving.hooks import ServeConfig


@pytest.mark.parametrize(
    "line", ["ready: http://127.0.0.1:8000", "ready: http://127.0.0.1:8000 and grpc://127.0.0.1:9"]
)
def test_the_url_is_that_of_http(line: str) -> None:
    output = _Output(io.StringIO(f"loading\n{line}\n"))
    output.reader.join()
    assert output.url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("third_party", [True, False])
def test_the_server_loads_the_plugins_that_the_run_loads(third_party: bool, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    bundle = tiny.make_artifact(tmp_path / "bundle", "bundle")
    plugins = PluginManager.load()
    plugins.blocked = {} if third_party else {"acme": "--no-plugins"}
    context = Context("serve:http", tmp_path, tmp_path, 0, "cpu", ModelSettings("tiny"), plugins)
    assert _document(ServeConfig(), {"model": bundle}, context)["third_party"] is third_party
