from __future__ import annotations

import json
import sys

import pytest

from ftx import diagnosis
from ftx.artifacts import Manifest
from ftx.diagnosis import check_cuda, check_onnxruntime, check_packages, check_processor, check_torch
from ftx.plugins import PluginManager
from ftx.store import Store

XEON = "Xeon [avx2 avx512f avx512_vnni avx512_bf16]"
SAPPHIRE = "Xeon [avx2 avx512f avx512_vnni avx512_bf16 amx_int8 amx_bf16]"
OLD = "Core i5 [avx2]"
ARM = "Neoverse [asimddp i8mm bf16]"
CPU_TORCH = {"version": "2.13.0+cpu", "cuda": None, "gpu": False, "threads": 2}
CUDA_TORCH = {"version": "2.13.0", "cuda": "12.8", "gpu": True, "threads": 2}
CPU_RUNTIME = {"version": "1.32.0", "providers": ["CPUExecutionProvider"]}
CUDA_RUNTIME = {"version": "1.32.0", "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"]}


def only(check):
    """The one finding of a check, as `severity: message → repair`."""
    (finding,) = check.findings
    return f"{finding.severity}: {finding.message} → {finding.repair}"


def test_doctor_describes_the_machine_and_is_content(ftx):
    ran = ftx("doctor", "--json")
    facts = json.loads(ran.stdout)
    assert facts["python"] == sys.version.split()[0]
    assert facts["cores"] >= 1
    assert facts["processor"]
    assert {"vnni", "amx", "bf16", "cuda", "free_disk_gb", "store"} <= facts.keys()
    assert facts["torch"]["version"].startswith(facts["packages"]["train"]["torch"].partition("+")[0])
    assert facts["onnxruntime"]
    assert ran.returncode == (1 if [each for each in facts["findings"] if each["severity"] == "error"] else 0)


def test_errors_are_exit_code_1_and_each_finding_has_its_repair_below(ftx, install):
    install("broken", "raise RuntimeError('boom')")
    ran = ftx("doctor")
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    place = lines.index("error: the plugin broken (ftx-broken 2.1) is broken: RuntimeError: boom")
    assert lines[place + 1].startswith("  → pip install --upgrade ftx-broken")
    assert ftx("--no-plugins", "doctor").returncode == 0


def test_a_project_that_cannot_be_read_is_one_finding_among_others(ftx, tmp_path):
    (tmp_path / "ftx.toml").write_text("[[[")
    ran = ftx("doctor", "--json")
    assert ran.returncode == 1
    document = json.loads(ran.stdout)
    (finding,) = [finding for finding in document["findings"] if finding["check"] == "project"]
    assert "ftx.toml is not TOML" in finding["message"]
    assert document["cores"] >= 1


def test_the_probe_tells_versions_and_what_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("import a_library_that_is_not_there")
    (tmp_path / "onnxruntime.py").write_text("__version__ = '9'\ndef get_available_providers(): return ['CPU']")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert diagnosis.probe_packages() == {
        "torch": {"error": "ModuleNotFoundError: No module named 'a_library_that_is_not_there'"},
        "onnxruntime": {"version": "9", "providers": ["CPU"]},
    }


@pytest.mark.parametrize(
    ("code", "error"),
    [("import os; os.abort()", "ended with -6"), ("import time; time.sleep(60)", "took more than 1 s")],
)
def test_an_import_that_dies_or_hangs_is_told_of(code, error, tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert error in check_torch(diagnosis.probe_packages(timeout=1 if "sleep" in code else 60)).findings[0].message


def test_an_interpreter_that_is_too_old_is_an_error(monkeypatch):
    monkeypatch.setattr(diagnosis.platform, "python_version", lambda: "3.10.2")
    assert "ftx needs Python >=3.11, and this is 3.10.2" in only(diagnosis.check_interpreter())
    monkeypatch.setattr(diagnosis.platform, "python_version", lambda: "3.11.0")
    assert diagnosis.check_interpreter().findings == []


@pytest.mark.parametrize(
    ("described", "architecture", "vnni", "amx", "bf16"),
    [
        (XEON, "x86_64", True, False, True),
        (SAPPHIRE, "x86_64", True, True, True),
        (OLD, "x86_64", False, False, False),
        (ARM, "aarch64", False, False, True),
    ],
)
def test_what_the_processor_is_good_for(described, architecture, vnni, amx, bf16):
    check = check_processor(described, architecture)
    assert (check.facts["vnni"], check.facts["amx"], check.facts["bf16"]) == (vnni, amx, bf16)
    assert (
        f"VNNI {'yes' if vnni else 'no'}, AMX {'yes' if amx else 'no'}, bf16 {'yes' if bf16 else 'no'}" in check.summary
    )
    if described == OLD:
        assert only(check).startswith("note: the processor has no int8 dot product")
    else:
        assert check.findings == []


def test_torch_is_missing_broken_or_well():
    assert only(check_torch({})) == (
        "note: torch is not installed: nothing can be trained, pruned or exported here"
        " → pip install 'ftx-toolchain[train]'"
    )
    broken = only(check_torch({"torch": {"error": "ImportError: libgomp.so.1"}}))
    assert broken == "error: torch cannot be imported: ImportError: libgomp.so.1 → pip install --force-reinstall torch"
    assert not check_torch({"torch": CPU_TORCH}).findings


@pytest.mark.parametrize(
    ("torch", "present", "expected"),
    [
        (CPU_TORCH, False, None),
        (CUDA_TORCH, True, None),
        (None, True, None),
        (CPU_TORCH, True, "warning: there is an NVIDIA GPU, and torch is built for the processor alone"),
        ({**CUDA_TORCH, "gpu": False}, True, "error: there is an NVIDIA GPU, and torch for CUDA 12.8 cannot use it"),
        ({**CUDA_TORCH, "gpu": False}, False, None),
    ],
)
def test_cuda_as_torch_sees_it(torch, present, expected):
    check = check_cuda({"torch": torch} if torch else {}, present)
    if expected:
        assert only(check).startswith(expected)
    else:
        assert check.findings == []


@pytest.mark.parametrize(
    ("flavours", "runtime", "gpu", "expected"),
    [
        (["onnxruntime"], CPU_RUNTIME, False, None),
        (["onnxruntime-gpu"], CUDA_RUNTIME, True, None),
        ([], None, False, None),
        (
            ["onnxruntime", "onnxruntime-gpu"],
            CPU_RUNTIME,
            False,
            "error: onnxruntime and onnxruntime-gpu are both installed, and overwrite each other's files"
            " → pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime",
        ),
        (
            ["onnxruntime", "onnxruntime-gpu"],
            CUDA_RUNTIME,
            True,
            "error: onnxruntime and onnxruntime-gpu are both installed, and overwrite each other's files"
            " → pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        ),
        (["onnxruntime"], CPU_RUNTIME, True, "warning: there is an NVIDIA GPU, and ONNX Runtime is the processor's"),
        (["onnxruntime-gpu"], CPU_RUNTIME, True, "error: onnxruntime-gpu finds no CUDA"),
        (["onnxruntime-gpu"], CPU_RUNTIME, False, "note: onnxruntime-gpu is installed, and there is no NVIDIA GPU"),
        (["onnxruntime"], {"error": "OSError: x"}, False, "error: onnxruntime cannot be imported: OSError: x"),
    ],
)
def test_the_flavour_of_onnx_runtime(flavours, runtime, gpu, expected):
    probed = {"onnxruntime": runtime} if runtime else {}
    check = check_onnxruntime(probed, dict.fromkeys(flavours, "1.32.0"), gpu)
    if expected:
        assert only(check).startswith(expected)
    else:
        assert check.findings == []


def test_two_flavours_that_are_really_installed_are_found(install, site, ftx):
    for name in ("onnxruntime", "onnxruntime-gpu"):
        info = site / f"{name.replace('-', '_')}-1.24.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.24.0\n")
    ran = ftx("doctor")
    assert ran.returncode == 1
    assert "error: onnxruntime and onnxruntime-gpu are both installed" in ran.stdout


@pytest.fixture
def versions(monkeypatch):
    """`versions(requirements, name=version, …)`: what ftx requires, and what is installed."""

    def set_versions(lines, **installed):
        monkeypatch.setattr(diagnosis.metadata, "requires", lambda name: lines)
        monkeypatch.setattr(diagnosis, "_version", lambda name: installed.get(name.replace("-", "_"), ""))

    return set_versions


REQUIRES = [
    "click>=8.2",
    "torch>=2.6; extra == 'train'",
    "transformers<5.24,>=5.23; extra == 'train'",
    "onnxruntime>=1.24; extra == 'train'",
    "onnxruntime>=1.24; extra == 'onnx'",
    "onnxruntime-gpu>=1.24; extra == 'gpu'",
]


def test_packages_that_fit_are_no_finding(versions):
    versions(REQUIRES, click="8.5", torch="2.13.0+cpu", transformers="5.23.0", onnxruntime="1.32")
    check = check_packages()
    assert check.findings == []
    assert check.facts["packages"]["train"]["transformers"] == "5.23.0"


def test_a_serving_machine_needs_no_torch(versions):
    versions(REQUIRES, click="8.5", onnxruntime="1.32")
    assert check_packages().findings == []


def test_the_gpus_onnx_runtime_stands_for_onnxruntime(versions):
    versions(REQUIRES, click="8.5", torch="2.13.0", transformers="5.23.0", onnxruntime_gpu="1.32")
    assert check_packages().findings == []


def test_missing_and_unfit_packages_come_with_the_line_that_installs_them(versions):
    versions(REQUIRES, click="8.1", torch="2.13.0", onnxruntime="1.32")
    found = [f"{each.severity}: {each.message} → {each.repair}" for each in check_packages().findings]
    assert found == [
        "error: click 8.1 is not what ftx needs (click>=8.2) → pip install 'click>=8.2'",
        "warning: transformers missing, of ftx-toolchain[train] → pip install 'ftx-toolchain[train]'",
    ]
    versions(REQUIRES, click="8.5")
    assert "no runtime is installed" in only(check_packages())


def test_slow_plugins_and_clashes_are_found(install):
    install("sleepy", "import time\ntime.sleep(0.31)\n")
    code = "from ftx import Metric, hookimpl\n@hookimpl\ndef ftx_metrics():\n yield Metric('x', '', 'a:b')"
    install("one", code)
    install("two", code)
    found = {each.message: each.severity for each in diagnosis.check_plugins(PluginManager.load()).findings}
    assert found.pop("the metric x is registered by both one (ftx-one 2.1) and two (ftx-two 2.1)") == "error"
    ((message, severity),) = found.items()
    assert message.startswith("the plugin sleepy (ftx-sleepy 2.1) takes 3")
    assert severity == "warning"


@pytest.mark.parametrize(("free", "severity"), [(100, None), (1, "warning"), (0.1, "error")])
def test_a_disk_that_fills(free, severity, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda path: type("Usage", (), {"free": free * 1e9}))
    check = diagnosis.check_disk(tmp_path / "project" / ".ftx")
    assert [finding.severity for finding in check.findings] == ([severity] if severity else [])
    assert all(finding.repair == "ftx cache gc" for finding in check.findings)


def test_damage_in_the_store_is_found_without_reading_what_it_holds(tmp_path):
    store = Store(tmp_path / ".ftx")
    store.create()
    assert diagnosis.check_store(store).findings == []
    manifest = Manifest(kind="dataset", files={})
    (store.objects / manifest.digest).mkdir()
    (store.objects / manifest.digest / "manifest.json").write_text(manifest.to_json())
    (store.objects / "abc").mkdir()
    (store.keys / "key.json").write_text(
        '{"key": "key", "step": "data:clean", "digest": "gone", "metrics": {}, "warnings": [], "seconds": 1.0,'
        ' "created": ""}'
    )
    store.prepare("other")
    check = diagnosis.check_store(store)
    assert [finding.severity for finding in check.findings] == ["error", "warning", "note"]
    assert "abc holds no artifact" in check.findings[0].message
    assert check.facts["artifacts"] == 2


def test_a_schema_that_is_older_than_the_plugins_is_found(tmp_path, install):
    from ftx.cli.schema_file import write_schema

    config = tmp_path / "ftx.toml"
    assert diagnosis.check_schema(config, PluginManager.load()) is None
    write_schema(config, PluginManager.load())
    assert diagnosis.check_schema(config, PluginManager.load()).findings == []
    install(
        "cluster",
        """
        from ftx import Step, StepConfig, hookimpl
        @hookimpl
        def ftx_steps():
            yield Step(name="kmeans", stage="cluster", summary="x", takes={}, gives=None, config=StepConfig, run="a:b")
        """,
    )
    stale = only(diagnosis.check_schema(config, PluginManager.load()))
    assert stale.endswith("→ ftx init --schema")
