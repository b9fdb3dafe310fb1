"""What a server costs its machine: sources, the sampler beside it, and the recording."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ftx.errors import FtxError
from ftx_loadtests.resources import Reading, Resources
from ftx_loadtests.sampler import listening_processes, local_port, record, sampling
from ftx_loadtests.sources import Gpus, Opened, PackageEnergy, ProcessTrees, RecordedTrace, open_sources

TRACE = [
    Reading(
        0.0, gpu_utilization=0.5, gpu_memory=2.0**30, gpu_power=200.0, gpu_energy=0.0, gpu_clock=1700, gpu_throttle=0
    ),
    Reading(
        1.0,
        gpu_utilization=0.9,
        gpu_memory=2.0**30,
        gpu_power=300.0,
        gpu_energy=250.0,
        gpu_clock=1500,
        gpu_throttle=0x20,
    ),
]
SERVER = """import socket, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""
BUSY = """import time
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
print("done", flush=True)
input()
"""


class FakeNvml(SimpleNamespace):
    """Two GPUs; the second one has no energy counter."""

    class NVMLError(Exception):
        pass

    NVML_CLOCK_SM = 1

    def __init__(self, count: int = 2) -> None:
        super().__init__(count=count, joules=5_000_000)

    def nvmlInit(self) -> None:  # noqa: N802
        pass

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self.count

    def nvmlDeviceGetHandleByIndex(self, place: int) -> int:  # noqa: N802
        return place

    def nvmlDeviceGetName(self, handle: int) -> bytes:  # noqa: N802
        return b"card %d" % handle

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=os.getpid())] if handle == 0 else []

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=40 + 20 * handle)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=10**9)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 70_000

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        if handle == 1:
            raise self.NVMLError("Not Supported")
        self.joules += 3_000
        return int(self.joules)

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        return 1500 - 100 * handle

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: int) -> int:  # noqa: N802
        return (0x4, 0x40)[handle]


def test_gpus_are_summed_and_what_one_lacks_is_left_out():
    gpus, _ = Gpus.find(FakeNvml(), [])
    assert gpus is not None and gpus.names == ("card 0", "card 1")
    found = gpus.read()
    assert found == {
        "gpu_utilization": 0.5,
        "gpu_memory": 2 * 10**9,
        "gpu_power": 140.0,
        "gpu_clock": 1400,
        "gpu_throttle": 0x44,
    }


def test_of_several_gpus_the_servers_own_is_sampled():
    gpus, _ = Gpus.find(FakeNvml(), [os.getpid()])
    assert gpus is not None and gpus.names == ("card 0",)
    assert gpus.read()["gpu_energy"] == 0.0
    assert gpus.read()["gpu_energy"] == 3.0


def test_without_a_gpu_it_says_so_and_goes_on(tmp_path):
    opened = open_sources([], powercap=tmp_path, nvml=FakeNvml(0))
    assert opened.sources == [] and opened.devices == ()
    assert any(note.startswith("no GPU is sampled") for note in opened.notes)
    assert any("process was not found" in note for note in opened.notes)


def test_this_machine_is_sampled_as_it_is():
    opened = open_sources([os.getpid()])
    assert any(isinstance(source, ProcessTrees) for source in opened.sources)


def test_a_process_tree_counts_the_time_of_its_children():
    source = ProcessTrees([os.getpid()])
    before = time.monotonic()
    child = subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    with child:
        child.stdout.readline()
        found = source.read()
        spent = found["cpu"] * (time.monotonic() - before)
        child.stdin.close()
    assert spent >= 0.28 and found["rss"] > 10 * 2**20


def test_a_process_that_has_gone_is_read_as_nothing():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        source = ProcessTrees([child.pid])
        assert child.stdin is not None
        child.stdin.close()
    assert source.read() == {}


def test_energy_counters_of_packages_are_summed_and_wrap_around(tmp_path):
    for name, energy in (("intel-rapl:0", 900), ("intel-rapl:0:0", 5), ("intel-rapl:1", 100)):
        zone = tmp_path / name
        zone.mkdir()
        (zone / "max_energy_range_uj").write_text("1000\n")
        (zone / "energy_uj").write_text(f"{energy}\n")
    energy = PackageEnergy.find(tmp_path)
    assert energy is not None and energy.read()["cpu_energy"] == 0
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("50\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("200\n")
    assert energy.read()["cpu_energy"] == pytest.approx(250e-6)
    assert PackageEnergy.find(tmp_path / "none") is None


def test_a_recorded_trace_is_sampled_as_a_gpu_is(tmp_path):
    out, stop = io.StringIO(), threading.Event()
    stop.set()
    record(Opened([RecordedTrace(TRACE)], ("no energy",), ("card",)), out, stop, 0.1)
    path = tmp_path / "resources.jsonl"
    path.write_text(out.getvalue())
    found = Resources.load(path)
    assert found.devices == ("card",) and found.notes == ("no energy",)
    assert found.readings[0].gpu_power == 200.0 and found.readings[0].rss is None


def test_energy_power_and_throttling_are_told_from_the_series(tmp_path):
    resources = Resources(TRACE, devices=("card",))
    assert resources.joules() == 250.0 and resources.watts() == 250.0
    assert resources.throttled() == {"software thermal slowdown": 0.5}
    assert resources.since(0.5).readings[0].time == 0.5
    assert resources.since(0.5).watts() is None
    assert Resources(()).joules() is None and Resources(()).throttled() == {}
    resources.save(tmp_path / "kept.jsonl")
    assert Resources.load(tmp_path / "kept.jsonl") == Resources(tuple(TRACE), devices=("card",))


def test_a_recording_whose_last_line_is_cut_off_is_read(tmp_path):
    path = tmp_path / "kept.jsonl"
    Resources(TRACE).save(path)
    path.write_text(path.read_text()[:-30])
    assert len(Resources.load(path).readings) == 1
    path.write_text("nonsense\n")
    with pytest.raises(FtxError, match="is no recording"):
        Resources.load(path)


@pytest.fixture
def server():
    """A process that listens, and its port."""
    with subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
        process.kill()


def test_the_servers_process_is_found_by_its_port(server):
    pid, port = server
    assert listening_processes(port) == [pid]
    with socket.create_server(("127.0.0.1", 0)) as free:
        unused = free.getsockname()[1]
    assert listening_processes(unused) == []


def test_a_server_is_sampled_by_a_process_of_its_own(server, tmp_path):
    path = tmp_path / "resources.jsonl"
    before = time.monotonic()
    with sampling(f"http://127.0.0.1:{server[1]}", path, interval=0.05):
        time.sleep(0.2)
    found = Resources.load(path)
    times, rss = found.series("rss")
    assert len(times) >= 2 and before < times[0] < times[-1] < time.monotonic()
    assert np.all(rss > 2**20)


def test_a_sampler_that_cannot_begin_costs_only_its_readings(server, tmp_path, monkeypatch):
    path = tmp_path / "resources.jsonl"
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with sampling(f"http://127.0.0.1:{server[1]}", path):
        pass
    found = Resources.load(path)
    assert found.readings == () and "the sampler ended before its first reading" in found.notes[0]


def test_a_server_elsewhere_is_not_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", ("192.0.2.7" if host == "far" else "127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert local_port("http://near:8000/x") == 8000 and local_port("https://near") == 443
    assert local_port("near:8000") == 8000 and local_port("far:8000") is None
    with sampling("http://far:8000", tmp_path / "resources.jsonl"):
        pass
    found = Resources.load(tmp_path / "resources.jsonl")
    assert found.readings == () and found.notes == ("far is another machine: nothing of it is sampled",)
