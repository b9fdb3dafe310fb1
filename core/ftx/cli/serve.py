"""`ftx serve`."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from ftx.artifacts import Bundle
from ftx.cli.completing import complete_classifier, complete_runtime, complete_variant
from ftx.cli.options import config_option, load_plugins, open_store, read_config
from ftx.errors import FtxError
from ftx.runs import find_artifact
from ftx.step import load_by_name
from ftx.store import Store

TARGET = "ftx_serving.command:serve_references"
STEP = "serve:http"
"""It needs what this command needs."""
DEFAULT_NAME = "classifier"


@click.command()
@click.argument("references", metavar="[REF]...", nargs=-1, shell_complete=complete_classifier)
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any that is free.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="Speak gRPC there, too.  [default: not at all]")
@click.option("--name", "names", multiple=True, help="Name of the model; once for each REF.  [default: classifier]")
@click.option("--variant", shell_complete=complete_variant, help="A variant of the bundle.  [default: the one chosen]")
@click.option("--runtime", shell_complete=complete_runtime, help="What executes it: onnxruntime, openvino.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--api-key-env", metavar="VAR", help="Ask for the API key that this environment variable holds.")
@click.option("--closed-metrics", is_flag=True, help="Ask for the key at /health and /metrics, too.")
@click.option(
    "--replicas",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes, each with its share of the cores or a GPU of its own.",
)
@click.option("--telemetry", is_flag=True, help="Send OpenTelemetry spans to where OTEL_EXPORTER_OTLP_ENDPOINT says.")
@click.option("--workers", type=click.IntRange(min=1), help="Batches computed at a time.  [default: measured]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of one batch.  [default: measured]")
@click.option("--batch-tokens", type=click.IntRange(min=1), help="Padded tokens of a batch.  [default: measured]")
@click.option("--tokenizers", type=click.IntRange(min=1), help="Threads that tokenize.  [default: by the cores]")
@click.option("--cache", type=click.IntRange(min=0), default=0, help="Answers kept for equal texts.  [default: none]")
@click.option(
    "--queue-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=0.2,
    show_default=True,
    help="Refuse requests (429) while what waits is predicted to take longer.",
)
@click.option("--max-texts", type=click.IntRange(min=1), default=1024, show_default=True, help="Of a request.")
@click.option("--max-characters", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--max-body", type=click.IntRange(min=1), default=4 * 1024 * 1024, show_default=True, help="Bytes.")
@click.option("--grace", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Seconds after SIGTERM.")
@click.option("--drain", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds after that.")
@click.pass_context
def serve(
    context: click.Context,
    /,
    references: tuple[str, ...],
    config_path: Path | None,
    names: tuple[str, ...],
    **flags: Any,
) -> None:
    """Serve the bundle REF over HTTP: a folder, the beginning of a digest, or latest:STAGE.  [default: latest]

    Several REFs are several models, each with its --name; the first is the one of /predict. SIGHUP looks for each REF
    again, and loads what it finds anew, changed or not. SIGTERM and SIGINT stop it once everything is answered.
    """
    wanted = references or ("latest",)
    named = _names(wanted, names)
    plugins = load_plugins(context)
    if missing := [package for package in plugins.steps()[STEP].requires if find_spec(package) is None]:
        raise FtxError(f"to serve, {', '.join(missing)} must be there", "pip install 'ftx-toolchain[serve,onnx]'")
    store = open_store(read_config(config_path))
    found = {name: _finder(reference, store) for name, reference in zip(named, wanted, strict=True)}
    load_by_name(TARGET)(found, plugins, flags)


def _finder(reference: str, store: Store) -> Callable[[], Bundle]:
    """What finds REF, once now and again whenever the model is loaded anew."""

    def find() -> Bundle:
        artifact = find_artifact(reference, store)
        if not isinstance(artifact, Bundle):
            raise FtxError(
                f"{reference} is a {artifact.manifest.kind}, and a server needs a bundle", "export it: ftx run export"
            )
        return artifact

    find()
    return find


def _names(references: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    if not names and len(references) == 1:
        return (DEFAULT_NAME,)
    if len(names) != len(references) or len(set(names)) != len(names):
        given = " ".join(f"--name NAME{place}" for place in range(1, len(references) + 1))
        raise FtxError(
            f"{len(references)} models came with {len(set(names))} names", f"name each once: ftx serve REF... {given}"
        )
    if bad := [name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]+", name)]:
        raise FtxError(f"{bad[0]!r} is no name for a model", "use letters, digits, dots, dashes and underscores")
    return names
