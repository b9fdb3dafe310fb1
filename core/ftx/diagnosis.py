"""What may be wrong with this machine, this installation and this project: one function a check.

Each check says what it found in a line and in facts, and names, for each finding, the line that repairs it. Nothing
heavy is imported: whether torch and ONNX Runtime work is asked of another process.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from ftx import machine
from ftx.errors import FtxError
from ftx.machine import AMX, BF16, INT8_DOT_PRODUCT, VNNI
from ftx.plugins import DISTRIBUTION, SLOW_IMPORT_MS, PluginManager
from ftx.runs import list_runs
from ftx.schema import project_schema
from ftx.store import Store

Severity = Literal["error", "warning", "note"]
"""error: something fails; warning: something is slower or nearly fails; note: worth knowing."""

GIGABYTE = 1e9
LOW_DISK_GB = 2.0
NO_DISK_GB = 0.2
ONNXRUNTIMES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-rocm",
)
"""Distributions that all install the package `onnxruntime`, each over the files of the other."""
KEY_PACKAGES = {
    "train": "torch",
    "onnx": "onnxruntime",
    "gpu": "onnxruntime-gpu",
    "openvino": "openvino",
}
"""Extra -> the package that tells that it is wanted here."""
INT8_ON_ARM = frozenset({"asimddp", "i8mm"})

PROBE = """
import json, sys
found = {}
try:
    import torch
    found["torch"] = {"version": torch.__version__, "cuda": torch.version.cuda,
                      "gpu": torch.cuda.is_available(), "threads": torch.get_num_threads()}
except ModuleNotFoundError as error:
    if error.name != "torch":
        found["torch"] = {"error": f"{type(error).__name__}: {error}"}
except Exception as error:
    found["torch"] = {"error": f"{type(error).__name__}: {error}"}
try:
    import onnxruntime
    found["onnxruntime"] = {"version": onnxruntime.__version__, "providers": onnxruntime.get_available_providers()}
except ModuleNotFoundError as error:
    if error.name != "onnxruntime":
        found["onnxruntime"] = {"error": f"{type(error).__name__}: {error}"}
except Exception as error:
    found["onnxruntime"] = {"error": f"{type(error).__name__}: {error}"}
print("\\n" + json.dumps(found))
"""
"""Imports what is heavy, in a process of its own, and prints one line of JSON last."""


@dataclass(frozen=True)
class Finding:
    """Something to know or to do: `repair` is the line that does it."""

    severity: Severity
    message: str
    repair: str


@dataclass(frozen=True)
class Check:
    """What one check saw: in a line, in facts for `--json`, and what is to be done."""

    name: str
    summary: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    findings: Sequence[Finding] = ()


def probe_packages(timeout: float = 120) -> Mapping[str, Any]:
    """`torch` and `onnxruntime` as another process sees them: `{"version", …}`, `{"error"}`, or nothing if missing."""
    try:
        ran = subprocess.run(
            [sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        return {"torch": {"error": f"its import took more than {timeout:.0f} s"}}
    try:
        probed: Mapping[str, Any] = json.loads(ran.stdout.rstrip().rpartition("\n")[2])
    except ValueError:
        # The process was ended from below: a library of another processor, too little memory.
        return {"torch": {"error": f"the process that imported it ended with {ran.returncode}"}}
    return probed


def check_interpreter() -> Check:
    """Python's version against what ftx asks for; a system's own Python, in which nothing should be installed."""
    version = platform.python_version()
    findings = []
    wanted = _requires_python()
    if version not in SpecifierSet(wanted, prereleases=True):
        repair = "python3.11 -m venv .venv && .venv/bin/pip install ftx-toolchain"
        findings.append(Finding("error", f"ftx needs Python {wanted}, and this is {version}", repair))
    if sys.maxsize <= 2**32:
        repair = "install a 64-bit Python: torch and ONNX Runtime have no wheels for 32 bits"
        findings.append(Finding("error", "this is a Python of 32 bits", repair))
    facts = {"python": version, "executable": sys.executable, "system": platform.platform()}
    return Check("interpreter", f"Python {version} at {sys.executable}", facts, findings)


def check_processor(described: str | None = None, architecture: str | None = None) -> Check:
    """The instructions that decide what int8 and bf16 are worth: VNNI, AMX, bf16."""
    described = described if described is not None else machine.processor()
    flags = machine.flags_of(described)
    is_arm = (architecture or platform.machine()).lower() in ("arm64", "aarch64")
    int8 = sorted(flags & (INT8_ON_ARM if is_arm else INT8_DOT_PRODUCT))
    has = {"vnni": bool(flags & VNNI), "amx": bool(flags & AMX), "bf16": bool(flags & BF16)}
    findings = []
    if not int8 and flags:
        message = "the processor has no int8 dot product (VNNI): int8 may be no faster than fp32 here"
        findings.append(Finding("note", message, "compare them by the scoreboard: ftx run train quantize export"))
    gigabytes = machine.memory_bytes() / GIGABYTE
    listed = ", ".join(
        f"{name.upper() if name != 'bf16' else name} {'yes' if on else 'no'}" for name, on in has.items()
    )
    summary = f"{described.rpartition(' [')[0] or described}: {listed}; {machine.cores()} cores, {gigabytes:.1f} GB"
    facts = {"processor": described, **has, "cores": machine.cores(), "memory_gb": round(gigabytes, 1)}
    return Check("processor", summary, facts, findings)


def check_torch(probed: Mapping[str, Any]) -> Check:
    """Whether torch imports; a serving machine needs none."""
    found = probed.get("torch")
    if found is None:
        repair = "pip install 'ftx-toolchain[train]'"
        finding = Finding("note", "torch is not installed: nothing can be trained, pruned or exported here", repair)
        return Check("torch", "not installed", {"torch": None}, [finding])
    if "error" in found:
        finding = Finding("error", f"torch cannot be imported: {found['error']}", "pip install --force-reinstall torch")
        return Check("torch", "broken", {"torch": found}, [finding])
    built = f"CUDA {found['cuda']}" if found["cuda"] else "the processor alone"
    return Check("torch", f"{found['version']} for {built}, {found['threads']} threads", {"torch": found})


def check_cuda(probed: Mapping[str, Any], present: bool | None = None) -> Check:
    """The GPU, and whether torch can use it."""
    present = machine.has_cuda() if present is None else present
    torch = probed.get("torch") or {}
    findings = []
    if present and torch.get("cuda", "") is None:
        message = "there is an NVIDIA GPU, and torch is built for the processor alone"
        findings.append(Finding("warning", message, "pip install --force-reinstall torch"))
    elif torch.get("cuda") and present and not torch.get("gpu"):
        message = f"there is an NVIDIA GPU, and torch for CUDA {torch['cuda']} cannot use it: its driver may be too old"
        findings.append(Finding("error", message, "look at the driver's version, and update it: nvidia-smi"))
    usable = " that torch can use" if torch.get("gpu") else ""
    summary = f"an NVIDIA GPU{usable}" if present else "no NVIDIA GPU"
    return Check("cuda", summary, {"cuda": present}, findings)


def check_onnxruntime(
    probed: Mapping[str, Any], installed: Mapping[str, str] | None = None, has_gpu: bool | None = None
) -> Check:
    """Which flavour of ONNX Runtime is installed: there can be only one, and it should be the GPU's where one is."""
    installed = _installed(ONNXRUNTIMES) if installed is None else installed
    has_gpu = machine.has_cuda() if has_gpu is None else has_gpu
    found = probed.get("onnxruntime") or {}
    findings = []
    wanted = "onnxruntime-gpu" if has_gpu else "onnxruntime"
    if len(installed) > 1:
        names = " ".join(installed)
        message = f"{' and '.join(installed)} are both installed, and overwrite each other's files"
        findings.append(Finding("error", message, f"pip uninstall -y {names} && pip install {wanted}"))
    elif "error" in found:
        name = next(iter(installed), wanted)
        message = f"onnxruntime cannot be imported: {found['error']}"
        findings.append(Finding("error", message, f"pip install --force-reinstall {name}"))
    elif installed and has_gpu and "onnxruntime" in installed:
        repair = "pip uninstall -y onnxruntime && pip install 'ftx-toolchain[gpu]'"
        findings.append(Finding("warning", "there is an NVIDIA GPU, and ONNX Runtime is the processor's", repair))
    elif "onnxruntime-gpu" in installed and not has_gpu:
        repair = "pip uninstall -y onnxruntime-gpu && pip install onnxruntime"
        findings.append(Finding("note", "onnxruntime-gpu is installed, and there is no NVIDIA GPU", repair))
    elif "onnxruntime-gpu" in installed and "CUDAExecutionProvider" not in found.get("providers", ()):
        repair = "pip install --force-reinstall onnxruntime-gpu, for the CUDA that nvidia-smi shows"
        findings.append(Finding("error", "onnxruntime-gpu finds no CUDA", repair))
    summary = ", ".join(f"{name} {version}" for name, version in installed.items()) or "not installed"
    return Check("onnxruntime", summary, {"onnxruntime": dict(installed)}, findings)


def check_packages() -> Check:
    """The packages of each extra that is wanted here: missing, or of a version that ftx does not work with."""
    extras = _requirements()
    packages = {
        extra: {requirement.name: _provided(requirement.name) for requirement in requirements}
        for extra, requirements in extras.items()
    }
    findings = []
    for extra, requirements in extras.items():
        key = KEY_PACKAGES.get(extra)
        if extra and not (key and _version(key)):
            continue
        name = f"ftx-toolchain[{extra}]" if extra else "ftx-toolchain"
        if missing := [requirement.name for requirement in requirements if not _provided(requirement.name)]:
            severity: Severity = "warning" if extra else "error"
            message = f"{', '.join(missing)} missing, of {name}"
            findings.append(Finding(severity, message, f"pip install '{name}'"))
        findings += [
            Finding(
                "error", f"{each.name} {_provided(each.name)} is not what ftx needs ({each})", f"pip install '{each}'"
            )
            for each in requirements
            if _provided(each.name) and not each.specifier.contains(_provided(each.name), prereleases=True)
        ]
    if extras and not any(_version(name) for name in KEY_PACKAGES.values()):
        message = "no runtime is installed: no bundle can be executed here"
        findings.append(Finding("warning", message, "pip install 'ftx-toolchain[onnx]'"))
    present = [extra for extra, key in KEY_PACKAGES.items() if _version(key)]
    summary = f"extras {', '.join(present) or 'none'}"
    return Check("packages", summary, {"packages": packages}, list(dict.fromkeys(findings)))


def check_plugins(plugins: PluginManager) -> Check:
    """Broken plugins, names that clash, slow imports."""
    plugins.find_clashes()
    plugins.commands()
    findings = [
        Finding("error", f"the plugin {info} is broken: {info.error}", info.repair) for info in plugins.broken()
    ]
    findings += [Finding("error", problem.message, " ".join(problem.hints)) for problem in plugins.problems]
    others = [info for info in plugins.infos if not info.built_in]
    findings += [
        Finding("warning", f"the plugin {info}: {deprecated}", f"pip install --upgrade {info.distribution}")
        for info in others
        for deprecated in info.deprecations
    ]
    for info in others:
        if info.milliseconds > SLOW_IMPORT_MS and not info.error:
            message = f"the plugin {info} takes {info.milliseconds:.0f} ms to import, at each command"
            findings.append(Finding("warning", message, f"go without it: FTX_PLUGINS=-{info.name} ftx …"))
    listed = ", ".join(str(info) for info in others) or "none of third parties"
    facts = {"plugins": [str(info) for info in others], "blocked": dict(plugins.blocked)}
    return Check("plugins", listed, facts, findings)


def check_disk(store: Path) -> Check:
    """Room for the store, and the right to write there."""
    place = next(parent for parent in (store, *store.parents) if parent.exists())
    free = shutil.disk_usage(place).free / GIGABYTE
    findings = []
    if free < LOW_DISK_GB:
        severity: Severity = "error" if free < NO_DISK_GB else "warning"
        findings.append(Finding(severity, f"{free:.2f} GB are free for the store {store}", "ftx cache gc"))
    if not os.access(place, os.W_OK):
        repair = "put the store elsewhere: ftx run … --set store=DIR"
        findings.append(Finding("error", f"{place} cannot be written to", repair))
    return Check("disk", f"{free:.1f} GB free for {store}", {"free_disk_gb": round(free, 1)}, findings)


def check_store(store: Store) -> Check:
    """Damaged artifacts, keys that point at nothing, steps that were stopped half-way. Bytes are not read."""
    digests = store.digests()
    damaged = []
    for digest in digests:
        try:
            if store.open(digest).digest != digest:
                damaged.append(f"the artifact {digest[:12]} holds another")
        except FtxError as error:
            damaged.append(error.message)
    present = set(digests)
    lost = [record for record in store.records() if record.digest and record.digest not in present]
    findings = [
        Finding("error", message, "see all damage: ftx cache verify; what is damaged is made anew")
        for message in damaged
    ]
    if lost:
        message = f"{len(lost)} steps' results are missing from the store: these steps will run again"
        findings.append(Finding("warning", message, "ftx cache gc"))
    if leftovers := sum(1 for _ in store.leftovers()):
        message = f"{leftovers} steps were stopped half-way"
        findings.append(Finding("note", message, "run the same command again to go on, or: ftx cache gc"))
    runs = sum(1 for _ in list_runs(store))
    summary = f"{len(digests)} artifacts and {runs} runs in {store.root}"
    facts = {"store": str(store.root), "artifacts": len(digests), "runs": runs}
    return Check("store", summary, facts, findings)


def check_schema(config: Path, plugins: PluginManager) -> Check | None:
    """Whether the JSON Schema beside `config` tells of the plugins that are installed; None where there is none."""
    path = config.with_suffix(".schema.json")
    if not path.exists():
        return None
    repair = "ftx init --schema" if config.name == "ftx.toml" else f"ftx init --schema --out {config}"
    try:
        is_current = json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(project_schema(plugins)[0]))
    except ValueError:
        is_current = False
    finding = Finding("warning", f"{path.name} is not of the plugins that are installed now", repair)
    return Check("schema", str(path), {"schema": str(path)}, [] if is_current else [finding])


def _requires_python() -> str:
    try:
        return str(metadata.metadata(DISTRIBUTION)["Requires-Python"] or "")
    except metadata.PackageNotFoundError:
        return ""


def _requirements() -> dict[str, list[Requirement]]:
    """Extra (empty: always needed) -> what ftx's own metadata requires, for this interpreter."""
    found: dict[str, list[Requirement]] = {}
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return {}
    extras = ("", *KEY_PACKAGES)
    for requirement in map(Requirement, lines):
        marker = requirement.marker
        for extra in extras:
            is_always = marker is None or marker.evaluate({"extra": ""})
            if is_always == (not extra) and (marker is None or marker.evaluate({"extra": extra})):
                plain = Requirement(f"{requirement.name}{requirement.specifier}")
                found.setdefault(extra, []).append(plain)
    return found


def _installed(names: Sequence[str]) -> dict[str, str]:
    return {name: version for name in names if (version := _version(name))}


def _provided(name: str) -> str:
    """The version of a requirement; any flavour of ONNX Runtime meets that for onnxruntime."""
    return next(iter(_installed(ONNXRUNTIMES).values()), "") if name == "onnxruntime" else _version(name)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
