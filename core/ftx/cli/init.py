"""`ftx init`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import click
from click.core import ParameterSource

from ftx.cli.options import json_option, load_plugins, print_json
from ftx.cli.schema_file import directive, name_schema, write_schema
from ftx.config import DEFAULT_FILE
from ftx.errors import FtxError
from ftx.tasks import MULTI_LABEL, REGRESSION, TASKS, TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION

TEXT_NAMES = ("text", "sentence", "content", "review", "comment", "tweet", "message", "title")
LABEL_NAMES = ("label", "sentiment", "class", "category", "target", "intent", "rating")

TEMPLATE = """\
# ftx run train quantize export
# Every setting of a step: ftx steps show train (and quantize, export, data, evaluate)

[model]
name = {model}  # a hub id, a folder, or pkg:package/path
task = {task}

[data]
train = {data}  # csv, tsv, json, jsonl, parquet, a folder, or a hub id
text = {text}
label = {label}

[train]
epochs = 3
learning_rate = 2e-5
batch_size = 16

[export]
formats = ["openvino", "onnx", "torchscript"]

# What the run may lose against the trained model; beyond it, it stops with exit code 3.
[budget]
{limit}
"""


@click.command()
@click.option(
    "--model", default="bert-base-uncased", show_default=True, help="A hub id, a folder, or pkg:package/path."
)
@click.option(
    "--task", type=click.Choice(list(TASKS)), default=TEXT_CLASSIFICATION, show_default=True, help="What to learn."
)
@click.option("--data", default="data.csv", show_default=True, help="The labelled file.")
@click.option("--text", help="Its column of texts.  [default: guessed from the header]")
@click.option("--label", help="Its column of labels.  [default: guessed from the header]")
@click.option(
    "--schema", is_flag=True, help="Write a JSON Schema beside it too, by which editors complete and check the file."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path(DEFAULT_FILE), show_default=True)
@json_option
@click.pass_context
def init(
    context: click.Context,
    model: str,
    task: str,
    data: str,
    text: str | None,
    label: str | None,
    schema: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Write an ftx.toml to start from. A file that is there is never overwritten.

    With --schema an ftx.toml that is there gets a first line that names the schema; run it again when plugins have
    changed.
    """
    given = [name for name in ("model", "task", "data", "text", "label") if _is_given(context, name)]
    if schema and out.exists() and not given:
        _add_schema(context, out, as_json)
        return
    if out.exists():
        raise FtxError(f"{out} exists already", f"edit it, or write another: ftx init --out my-{out.name}")
    columns = _columns(out.parent / data)
    text = text or _guess(columns, TEXT_NAMES)
    label = label or _guess(columns, LABEL_NAMES)
    path = write_schema(out, load_plugins(context)) if schema else None
    values = {"model": model, "task": task, "data": data, "text": text, "label": label}
    lines = TEMPLATE.format(**{name: json.dumps(value) for name, value in values.items()}, limit=_LIMITS[task])
    out.write_text((directive(path) if path else "") + lines, encoding="utf-8")
    config = "" if out.name == DEFAULT_FILE and out.parent == Path() else f" --config {out}"
    following = f"ftx plan train quantize export{config}"
    if as_json:
        print_json({"path": str(out), **values, **({"schema": str(path)} if path else {}), "next": following})
        return
    click.echo(f"wrote {out}" + (f" and {path}" if path else ""))
    click.echo(f"next: {following}")


_LIMITS = {
    TEXT_CLASSIFICATION: "accuracy_drop = 0.01",
    MULTI_LABEL: "metric_drop = 0.01  # of micro F1",
    REGRESSION: "flip_rate = 0.05  # rows moved by more than data.tolerance",
    TOKEN_CLASSIFICATION: "metric_drop = 0.01  # of the entities' F1",
}
"""Task -> the line of `[budget]` to start from."""


def _is_given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def _add_schema(context: click.Context, out: Path, as_json: bool) -> None:
    """Write the schema of an ftx.toml that is there, and name it in its first line."""
    path = write_schema(out, load_plugins(context))
    added = name_schema(out, path)
    if as_json:
        print_json({"path": str(out), "schema": str(path), "named": added})
        return
    click.echo(f"wrote {path}" + (f"; {out} names it now in its first line" if added else ""))


def _columns(path: Path) -> list[str]:
    """The header of a csv or tsv that is there; nothing for any other file."""
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), [])


def _guess(columns: list[str], names: tuple[str, ...]) -> str:
    lowered = {column.strip().lower(): column for column in columns}
    return next((lowered[name] for name in names if name in lowered), names[0])
