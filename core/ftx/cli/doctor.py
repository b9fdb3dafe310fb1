"""`ftx doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from ftx import diagnosis
from ftx.cli.options import config_option, json_option, load_plugins, open_store, print_json, read_config
from ftx.diagnosis import Check, Finding
from ftx.errors import ExitCode, FtxError
from ftx.plugins import own_version

COLORS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@config_option
@json_option
@click.pass_context
def doctor(context: click.Context, config_path: Path | None, as_json: bool) -> None:
    """Look at this machine, this installation and this project; each finding ends with the line that repairs it.

    Exit code 1 if something fails (an error), 0 otherwise: warnings and notes are no reason to stop.
    """
    checks = list(_checks(context, config_path))
    findings = [(check, finding) for check in checks for finding in check.findings]
    if as_json:
        document = {"ftx": own_version()}
        for check in checks:
            document |= check.facts
        print_json(document | {"findings": [{"check": check.name, **asdict(finding)} for check, finding in findings]})
    else:
        _print(checks)
    failed = any(finding.severity == "error" for _, finding in findings)
    context.exit(int(ExitCode.STEP_FAILED) if failed else 0)


def _checks(context: click.Context, config_path: Path | None) -> Iterator[Check]:
    # Not strict: a broken plugin is a finding.
    plugins = load_plugins(context, strict=False)
    probed = diagnosis.probe_packages()
    yield diagnosis.check_interpreter()
    yield diagnosis.check_processor()
    yield diagnosis.check_torch(probed)
    yield diagnosis.check_cuda(probed)
    yield diagnosis.check_onnxruntime(probed)
    yield diagnosis.check_packages()
    yield diagnosis.check_plugins(plugins)
    try:
        config = read_config(config_path)
        store = open_store(config)
    except FtxError as error:
        # Settings that are no TOML, or a store of a newer ftx: the machine is looked at all the same.
        yield Check("project", "cannot be read", {}, [Finding("error", error.message, " ".join(error.hints[-1:]))])
        return
    yield diagnosis.check_disk(store.root)
    yield diagnosis.check_store(store)
    if config.path and (checked := diagnosis.check_schema(config.path, plugins)):
        yield checked


def _print(checks: list[Check]) -> None:
    click.echo(f"{'ftx':<13}{own_version()}")
    for check in checks:
        click.echo(f"{check.name:<13}{check.summary}")
    findings = [finding for check in checks for finding in check.findings]
    for finding in sorted(findings, key=lambda finding: list(COLORS).index(finding.severity)):
        click.secho(f"{finding.severity}: {finding.message}", fg=COLORS[finding.severity])
        click.echo(f"  → {finding.repair}")
    if not findings:
        click.echo("all is well")
