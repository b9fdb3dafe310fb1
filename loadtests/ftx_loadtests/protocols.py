"""What is said to the endpoint, and what its answer must look like.

Four ways to ask for the label of one text: as text-embeddings-inference has it (`tei`), as the Open Inference Protocol
version 2 has it over REST (`oip`), as the usual guides to fine-tuning answer a query (`guide`), and by a template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ftx.errors import FtxError

NAMES = ("tei", "oip", "guide", "template")
MARK = "{{text}}"


class SchemaMismatch(Exception):
    """A 2xx whose body is not what the protocol promises."""


@dataclass(frozen=True)
class Ask:
    """One request: path with its query, and a body of JSON."""

    path: str
    body: bytes


@dataclass(frozen=True)
class Protocol:
    """`ask` makes the request for a text; `label` finds the label in an answer, or raises `SchemaMismatch`."""

    name: str
    ask: Callable[[str], Ask]
    label: Callable[[Any], str]
    headers: Mapping[str, str] = field(default_factory=dict)

    def read(self, body: bytes) -> str:
        """The label in an answer's body. Raises `SchemaMismatch` where there is none."""
        try:
            return self.label(json.loads(body))
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise SchemaMismatch(f"{type(error).__name__}: {error}") from None


def tei() -> Protocol:
    """`POST /predict` of text-embeddings-inference: `{"inputs": text}`, answered by labels with scores."""

    def ask(text: str) -> Ask:
        return Ask("/predict", _encode({"inputs": text}))

    def label(document: Any) -> str:
        rows = document[0] if isinstance(document[0], list) else document
        return _text(max(rows, key=lambda row: float(row["score"]))["label"])

    return Protocol("tei", ask, label)


def oip(model: str) -> Protocol:
    """`POST /v2/models/MODEL/infer` with one text as a BYTES tensor.

    The label is that of an output `label`, or else the index of the greatest value of the first numeric output.
    """
    path = f"/v2/models/{quote(model, safe='')}/infer"

    def ask(text: str) -> Ask:
        return Ask(path, _encode({"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}]}))

    def label(document: Any) -> str:
        outputs = {output["name"]: output for output in document["outputs"]}
        if "label" in outputs:
            return _text(outputs["label"]["data"][0])
        values = next(output["data"] for output in outputs.values() if output["datatype"].startswith("FP"))
        flat = values[0] if isinstance(values[0], list) else values
        return str(flat.index(max(flat)))

    return Protocol("oip", ask, lambda document: _or_mismatch(label, document))


def guide() -> Protocol:
    """`POST /predict?text=…`, answered by `{"label": …, "score": …}`."""

    def ask(text: str) -> Ask:
        return Ask(f"/predict?text={quote(text, safe='')}", b"")

    return Protocol("guide", ask, lambda document: _text(document["label"]))


def read_template(path: Path) -> str:
    """The content of a file that describes a protocol; see `template_of`. Raises `FtxError` where it does not."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FtxError(f"{path} cannot be read: {error}", "name a JSON file: --template request.json") from None
    template_of(content, str(path))
    return content


def template_of(content: str, where: str) -> Protocol:
    """A protocol that JSON describes.

    `{"path": "/classify", "body": {"q": "{{text}}"}, "label": "$.result[0].label", "headers": {…}}`: the text takes the
    place of `{{text}}` in any string of the body; `label` is a path to the answer's label, of names and indices.
    Raises `FtxError` where the file is not that.
    """
    hint = '{"path": "/classify", "body": {"text": "{{text}}"}, "label": "$.label"}'
    try:
        document = json.loads(content)
        body = json.dumps(document["body"], ensure_ascii=False)
        steps = parse_path(document["label"])
        route = document.get("path", "/")
        headers = {str(name): str(value) for name, value in document.get("headers", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise FtxError(f"{where} is no template of a request: {what}", f"write one like this: {hint}") from None
    if MARK not in body:
        raise FtxError(f"the body in {where} has no {MARK}, so that no text would be sent", f"write it: {hint}")
    if not isinstance(route, str) or not re.fullmatch(r"/[\x21-\x7e]*", route):
        raise FtxError(f"the path in {where} does not begin with / or holds what a URL may not", f"write it: {hint}")
    if any(re.search(r"[\r\n:]", name) or re.search(r"[\r\n]", value) for name, value in headers.items()):
        raise FtxError(f"a header in {where} holds a line break", f"write it on one line: {hint}")
    if re.search(r"[^\x00-\xff]", "".join([*headers, *headers.values()])):
        raise FtxError(f"a header in {where} is not Latin-1, as HTTP has them", f"write it otherwise: {hint}")

    def ask(text: str) -> Ask:
        # Within a JSON string; the quotes around it are the template's.
        return Ask(route, body.replace(MARK, json.dumps(text, ensure_ascii=False)[1:-1]).encode())

    def label(document: Any) -> str:
        for step in steps:
            document = document[step]
        return str(document) if isinstance(document, int | float) else _text(document)

    return Protocol("template", ask, label, headers)


def parse_path(path: str) -> tuple[str | int, ...]:
    """The names and indices of a JSON path such as `$.result[0].label`. Raises `ValueError` for anything richer."""
    rest = path.removeprefix("$")
    rest = rest if rest.startswith((".", "[")) else f".{rest}"
    steps: list[str | int] = []
    while rest:
        found = re.match(r"\.([^.\[\]]+)|\[(\d+)\]|\[(['\"])(.+?)\3\]", rest)
        if found is None:
            raise ValueError(f"the path {path!r} is not made of names and indices: $.result[0].label")
        steps.append(found[1] or found[4] or int(found[2]))
        rest = rest[found.end() :]
    return tuple(steps)


def make(name: str, *, model: str = "") -> Protocol:
    """The protocol of that name, which is none that a template describes."""
    if name == "oip":
        return oip(model)
    return {"tei": tei, "guide": guide}[name]()


def _encode(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the label is a {type(value).__name__}")
    return value


def _or_mismatch(label: Callable[[Any], str], document: Any) -> str:
    try:
        return label(document)
    except StopIteration:
        raise KeyError("an output of labels or scores") from None
