"""`ftx init`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import click

from ftx.cli.options import json_option, print_json
from ftx.config import DEFAULT_FILE
from ftx.errors import FtxError

TEXT_NAMES = ("text", "sentence", "content", "review", "comment", "tweet", "message", "title")
LABEL_NAMES = ("label", "sentiment", "class", "category", "target", "intent", "rating")

TEMPLATE = """\
# ftx run train quantize export
# Every setting of a step: ftx steps show train (and quantize, export, data, evaluate)

[model]
name = {model}  # a hub id, a folder, or pkg:package/path

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
accuracy_drop = 0.01
"""


@click.command()
@click.option(
    "--model", default="bert-base-uncased", show_default=True, help="A hub id, a folder, or pkg:package/path."
)
@click.option("--data", default="data.csv", show_default=True, help="The labelled file.")
@click.option("--text", help="Its column of texts.  [default: guessed from the header]")
@click.option("--label", help="Its column of labels.  [default: guessed from the header]")
@click.option("--out", type=click.Path(path_type=Path), default=Path(DEFAULT_FILE), show_default=True)
@json_option
def init(model: str, data: str, text: str | None, label: str | None, out: Path, as_json: bool) -> None:
    """Write an ftx.toml to start from. A file that is there is never overwritten."""
    if out.exists():
        raise FtxError(f"{out} exists already", f"edit it, or write another: ftx init --out my-{out.name}")
    columns = _columns(out.parent / data)
    text = text or _guess(columns, TEXT_NAMES)
    label = label or _guess(columns, LABEL_NAMES)
    values = {"model": model, "data": data, "text": text, "label": label}
    out.write_text(TEMPLATE.format(**{name: json.dumps(value) for name, value in values.items()}), encoding="utf-8")
    config = "" if out.name == DEFAULT_FILE and out.parent == Path() else f" --config {out}"
    following = f"ftx plan train quantize export{config}"
    if as_json:
        print_json({"path": str(out), **values, "next": following})
        return
    click.echo(f"wrote {out}")
    click.echo(f"next: {following}")


def _columns(path: Path) -> list[str]:
    """The header of a csv or tsv that is there; nothing for any other file."""
    if path.suffix.lower() not in (".csv", ".tsv") or not path.is_file():
        return []
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        return next(csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ","), [])


def _guess(columns: list[str], names: tuple[str, ...]) -> str:
    lowered = {column.strip().lower(): column for column in columns}
    return next((lowered[name] for name in names if name in lowered), names[0])
