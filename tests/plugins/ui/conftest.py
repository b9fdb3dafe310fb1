"""A server of the pages over a store whose runs are made up, and one that goes on while it is looked at."""

from __future__ import annotations

import asyncio
import http.client
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.plugins.report.conftest import STEPS, write_run

from ftx.artifacts import Artifact
from ftx.events import RunLog
from ftx.plugins import PluginManager
from ftx.runs import RunRecord, new_run, save_plan
from ftx.store import Store
from ftx_plugins.ui.server import server as make_server
from ftx_serving.listening import listen

FIRST, SECOND = "20260102-030405-00000", "20260102-030406-00000"
NONE: Mapping[str, str] = MappingProxyType({})
HOSTILE = "<script>window.hurt = 1</script><img src=x onerror='window.hurt = 2'>"


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str


@dataclass
class Site:
    """The pages of `store`, at 127.0.0.1:`port`."""

    store: Store
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Answer:
        """The path is sent as it is, dots and all."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body.encode())))
        connection.endheaders(body.encode() if body is not None else None)
        response = connection.getresponse()
        answer = Answer(
            response.status,
            {k.lower(): v for k, v in response.getheaders()},
            response.read().decode("utf-8", "replace"),
        )
        connection.close()
        return answer

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def post(self, path: str, body: str, origin: str | None = None) -> Answer:
        return self.request("POST", path, body, {"Origin": origin or self.address})

    def events(self, path: str, until: Callable[[dict[str, str]], bool]) -> dict[str, str]:
        """The parts of a page that follows something, as they are once `until` is so of them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request("GET", path)
        response = connection.getresponse()
        parts: dict[str, str] = {}
        try:
            while not until(parts):
                line = response.readline()
                assert line, "the stream ended"
                if line.startswith(b"data: "):
                    parts |= json.loads(line.removeprefix(b"data: "))
                if line.startswith(b"event: over"):
                    parts["over"] = "yes"
        finally:
            connection.close()
        return parts


def start(store: Store) -> tuple[Site, Callable[[], None]]:
    """The site, and what stops it."""
    store.create()
    listener = listen("127.0.0.1", 0)
    running = make_server(store, PluginManager.load(third_party=False), "127.0.0.1")
    thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listener])), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not running.started and time.monotonic() < deadline:
        time.sleep(0.01)

    def stop() -> None:
        running.should_exit = True
        thread.join(20)
        listener.close()

    return Site(store, listener.getsockname()[1]), stop


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Of an empty store of one's own."""
    site, stop = start(Store(tmp_path / ".ftx"))
    yield site
    stop()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Of two runs that are done and one that failed; a module's tests share it, and change nothing."""
    store = Store(tmp_path_factory.mktemp("filled") / ".ftx")
    write_run(store, FIRST, budget={"accuracy_drop": 0.02})
    write_run(store, SECOND, epochs=4)
    write_run(
        store,
        "20260102-030407-00000",
        {"data:clean": STEPS["data:clean"]},
        status="failed",
        error={"code": 1, "message": f"no such column {HOSTILE}", "hints": ["look: ftx plan"]},
    )
    site, stop = start(store)
    yield site
    stop()


@dataclass
class Going:
    """A run that this process carries out, as far as the pages can tell."""

    store: Store
    record: RunRecord
    log: RunLog

    def tell(self, name: str, **values: Any) -> None:
        """An event, written as a run writes it."""
        self.log._last_progress = 0.0
        self.log(name, values)

    def train(self, losses: list[float], total: int = 10) -> None:
        for place, loss in enumerate(losses):
            figures = {"epoch": round((place + 1) / 4, 2), "loss": loss}
            self.tell(
                "step_progress", step="train:finetune", done=place + 1, total=total, unit="steps", figures=figures
            )


@pytest.fixture
def going(site: Site) -> Going:
    """A run of `site` whose training has begun."""
    record = new_run(("train", "export"), None)
    record.save(site.store)
    names = ("data:clean", "train:finetune", "evaluate:validation", "export:bundle")
    settings = {"epochs": {"value": 3, "source": "ftx.toml"}, "seeds": {"value": 1, "source": "default"}}
    steps = [{"step": name, "id": name, "added": False, "inputs": {}, "settings": settings} for name in names]
    save_plan(site.store, record.id, {"model": "tiny", "seed": 0, "device": "cpu", "budget": {}, "steps": steps})
    going = Going(site.store, record, RunLog(site.store.runs / record.id / "events.jsonl"))
    going.tell("run_started", run=record.id, steps=names)
    going.tell("step_started", step="data:clean", key="0" * 64)
    done = {"step": "data:clean", "key": "0" * 64, "cached": True, "seconds": 0.1, "artifact": None}
    record.steps.append({**done, "metrics": {}, "warnings": []})
    record.save(site.store)
    going.tell("step_finished", step="data:clean", result=record.steps[-1])
    going.tell("step_started", step="train:finetune", key="1" * 64)
    return going


@pytest.fixture
def with_bundle(site: Site, tiny_bundle: Artifact) -> tuple[Site, str]:
    """A site whose store has the tiny bundle, and its digest."""
    shutil.copytree(tiny_bundle.path, site.store.objects / tiny_bundle.digest)
    return site, tiny_bundle.digest
