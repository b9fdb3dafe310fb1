"""The golden examples of a bundle as payloads: texts whose labels the export has written down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftx.errors import FtxError
from ftx_loadtests.payloads import Payloads

FILE = "golden.jsonl"


def golden_payloads(folder: Path, meta: Mapping[str, Any], variant: str | None = None) -> Payloads:
    """The texts of the bundle in `folder`, with the labels that `variant` (or else its first) gave them.

    `meta` is the manifest's. Raises `FtxError` for a bundle without examples, or whose model takes pairs of texts.
    """
    labels = meta.get("labels")
    try:
        with (folder / FILE).open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise FtxError(
            f"{folder} has no golden examples: {error}", "send texts of your own: --texts texts.txt"
        ) from None
    if not rows or not labels:
        raise FtxError(f"{folder} has no golden examples", "send texts of your own: --texts texts.txt")
    if "text_pair" in rows[0]:
        raise FtxError(
            "the model classifies pairs of texts, and a load test sends single ones",
            "describe its requests in a file: --protocol template --template request.json --texts texts.txt",
        )
    name = variant if variant in rows[0]["logits"] else next(iter(rows[0]["logits"]))
    answers = [row["logits"][name] for row in rows]
    return Payloads(
        tuple(row["text"] for row in rows),
        tuple(str(labels[max(range(len(logits)), key=logits.__getitem__)]) for logits in answers),
    )
