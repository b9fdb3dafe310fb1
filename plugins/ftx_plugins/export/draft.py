"""A bundle while it is being made: variants join it once they have passed, and the rest is written around them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ftx.artifacts import Bundle
from ftx.plan import installed_version
from ftx.step import Context
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.export.card import CARD_FILE, write_card
from ftx_plugins.export.config import Format
from ftx_plugins.export.files import carry_over, size_of
from ftx_plugins.export.rows import Row, texts_of
from ftx_plugins.export.tokenizer import backend_tokenizer
from ftx_serving.contract import GOLDEN_FILE, TOKENIZER_FILE, Contract, Variant
from ftx_serving.encoder import TextEncoder
from ftx_serving.golden import read_golden
from ftx_serving.predictor import Predictor
from ftx_serving.runtimes import Session

VARIANTS = "variants"
PACKAGES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "tokenizers")
FORMAT_ORDER = get_args(Format)


@dataclass
class Draft:
    """`rows` are the golden examples, `golden[variant]` their logits, of shape (rows, classes), each text alone; of a
    model of tokens (words, labels) of each."""

    out: Path
    encoder: TextEncoder
    rows: list[Row]
    golden: dict[str, list[list[Any]]] = field(default_factory=dict)
    variants: list[Variant] = field(default_factory=list)

    @classmethod
    def start(cls, out: Path, loaded: LoadedCheckpoint, encoder: TextEncoder, rows: list[Row]) -> Draft:
        """A bundle without variants."""
        backend_tokenizer(loaded).save(str(out / TOKENIZER_FILE))
        loaded.model.config.save_pretrained(out)
        return cls(out, encoder, rows)

    @classmethod
    def extend(cls, out: Path, bundle: Bundle, *, without: Sequence[str] = ()) -> Draft:
        """The same bundle, its variants of the formats in `without` left out."""
        contract = Contract.from_meta(bundle.meta)
        kept = [variant for variant in contract.variants if variant.format not in without]
        dropped = {file for variant in contract.variants if variant not in kept for file in variant.files}
        rewritten = {*dropped, GOLDEN_FILE, CARD_FILE}
        carry_over(bundle.path, out, [name for name in bundle.manifest.files if name not in rewritten])
        examples = read_golden(bundle)
        golden = {variant.name: [logits[variant.name] for logits in examples.logits] for variant in kept}
        pairs: Sequence[str | None] = examples.pairs or [None] * len(examples.texts)
        rows = [Row(text, pair) for text, pair in zip(examples.texts, pairs, strict=True)]
        encoder = TextEncoder.from_file(bundle.path / TOKENIZER_FILE, contract)
        return cls(out, encoder, rows, golden, kept)

    def add(self, variant: Variant, files: Iterable[Path], session: Session) -> Variant:
        """Move the variant's `files` in, and note what it answers to the golden examples.

        `variant` comes without names and sizes of files; the one returned has them.
        """
        folder = self.out / VARIANTS / variant.name
        folder.mkdir(parents=True)
        moved = [Path(shutil.move(file, folder / file.name)) for file in files]
        names = sorted(path.relative_to(self.out).as_posix() for path in moved)
        file = next(name for name in names if name.endswith(variant.file))
        complete = replace(variant, file=file, files=tuple(names), size_bytes=size_of(moved))
        texts, pairs = texts_of(self.rows)
        logits = Predictor(session, self.encoder, complete).logits(texts, pairs, alone=True)
        if logits.ndim == 3:  # without the padding behind a text's last word; one word at least has a place
            counts = [max(1, len(words)) for words in self.encoder.words(texts)]
            self.golden[variant.name] = [_rounded(row[:count]) for row, count in zip(logits, counts, strict=True)]
        else:
            self.golden[variant.name] = [_rounded(row) for row in logits]
        self.variants.append(complete)
        return complete

    def finish(self, context: Context, **facts: Any) -> None:
        """Write the golden examples and the card, and put contract, variants and `facts` into the manifest."""
        lines = (json.dumps(self._example(place), ensure_ascii=False) + "\n" for place in range(len(self.rows)))
        (self.out / GOLDEN_FILE).write_text("".join(lines), encoding="utf-8")
        variants = tuple(sorted(self.variants, key=_preference))
        contract = replace(self.encoder.contract, variants=variants)
        context.describe(**{**facts, **contract.to_meta(), "golden": GOLDEN_FILE, "versions": versions()})
        write_card(self.out, context.meta, context.model)

    def _example(self, place: int) -> dict[str, Any]:
        row = self.rows[place]
        pair = {} if row.pair is None else {"text_pair": row.pair}
        return {"text": row.text, **pair, "logits": {name: logits[place] for name, logits in self.golden.items()}}


def _rounded(values: np.ndarray) -> list[Any]:
    """To seven digits, as JSON holds them."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{value:.7g}") for value in values]


def versions() -> Mapping[str, str]:
    """The versions of the packages that had a hand in it, of those that are installed."""
    return {name: version for name in PACKAGES if (version := installed_version(name))}


def _preference(variant: Variant) -> tuple[bool, int, str]:
    """Quantized before fp32, OpenVINO before ONNX before TorchScript before what a plugin adds."""
    known = variant.format in FORMAT_ORDER
    return (
        variant.precision == "fp32",
        FORMAT_ORDER.index(variant.format) if known else len(FORMAT_ORDER),
        variant.name,
    )
