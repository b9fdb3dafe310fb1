"""Signals while models are loaded, and loads that fail."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Mapping
from typing import Any

import pytest
from tests.serving.server.conftest import ONE_WORKER

from ftx.artifacts import Bundle
from ftx.step import Runtime
from ftx_serving.engine.refusal import Refused
from ftx_serving.server.app import Service
from ftx_serving.server.lifecycle import _reload, addresses, bind, run
from ftx_serving.server.metrics import Metrics
from ftx_serving.server.models import Models
from ftx_serving.server.settings import ServerSettings


def service_of(models: Models) -> Service:
    return Service(models, ServerSettings(port=0, grace_seconds=0), Metrics())


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_addresses_are_urls(host: str, shown: str) -> None:
    with bind(ServerSettings(host=host, port=0)) as listener:
        port = listener.getsockname()[1]
        assert addresses(listener, 9) == f"http://{shown}:{port} and grpc://{shown}:9"
        assert addresses(listener, None) == f"http://{shown}:{port}"


def test_a_signal_while_models_are_loaded_ends_the_server_after_the_load_that_has_begun(
    tiny_bundle: Bundle, runtimes: Mapping[str, Runtime]
) -> None:
    looked_for: list[str] = []

    def find_first() -> Bundle:
        looked_for.append("first")
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 5
        while not getattr(models, "_stopped", False) and time.monotonic() < deadline:
            time.sleep(0.005)
        return tiny_bundle

    def find_second() -> Bundle:
        looked_for.append("second")
        return tiny_bundle

    models = Models({"first": find_first, "second": find_second}, runtimes, ONE_WORKER)
    said: list[str] = []
    run(service_of(models), said.append)
    assert looked_for == ["first"]
    assert said[-1] == "stopped" and not any(line.startswith("ready") for line in said)


def test_nothing_is_loaded_once_the_models_have_stopped(tiny_bundle: Bundle, runtimes: Mapping[str, Runtime]) -> None:
    models = Models({"tiny": lambda: tiny_bundle}, runtimes, ONE_WORKER)
    models.stop()
    with pytest.raises(Refused, match="stopping"):
        models.load("tiny")
    models.load_all()
    assert models.serving() == []


def test_a_reload_that_fails_in_whatever_way_is_logged_and_the_next_model_is_reloaded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def find() -> Any:
        raise RuntimeError("the disk is gone")

    models = Models({"first": find, "second": find}, {}, ONE_WORKER)
    with caplog.at_level(logging.ERROR, "ftx_serving.server"):
        asyncio.run(_reload(service_of(models)))
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [f"{name} is not replaced: RuntimeError: the disk is gone" for name in ("first", "second")]
