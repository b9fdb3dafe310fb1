"""The golden examples: texts of a bundle, and what each variant answered to them on the export's machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx.tasks import MULTI_LABEL, REGRESSION
from ftx_serving.contract import GOLDEN_FILE
from ftx_serving.decoding import MultiLabel
from ftx_serving.predictor import Predictor, verify_files
from ftx_serving.words import join_rows

ROUNDING = 1e-3
"""Logits that differ by no more are the same: kernels of other processors sum in another order."""


@dataclass(frozen=True)
class Golden:
    """From the shortest text to the longest."""

    texts: list[str]
    pairs: list[str] | None
    """Second texts, for a model of pairs."""
    logits: list[Mapping[str, list[Any]]]
    """Of each text, by the variants' names: a number for each class; of a model of tokens, such a list a word."""

    def of(self, variant: str) -> np.ndarray:
        """The variant's logits, float32 of shape (texts, classes) or (texts, words, labels), padded with zeros."""
        return join_rows([np.array([logits[variant]], dtype=np.float32) for logits in self.logits])


def read_golden(bundle: Bundle) -> Golden:
    """What the export kept. Checks no hash."""
    with (bundle.path / GOLDEN_FILE).open(encoding="utf-8") as lines:  # splitlines() would part a text at U+2028
        rows = [json.loads(line) for line in lines]
    pairs = [row["text_pair"] for row in rows if "text_pair" in row]
    return Golden([row["text"] for row in rows], pairs or None, [row["logits"] for row in rows])


def check_golden(bundle: Bundle, predictor: Predictor) -> Golden:
    """The examples. Raises `FtxError` unless this variant answers them here as it did where it was exported.

    Labels must be equal (but for a tie within rounding), logits within what the export itself allowed the variant.
    """
    verify_files(bundle.path, bundle.manifest, (GOLDEN_FILE,))
    golden = read_golden(bundle)
    name = predictor.variant.name
    expected = golden.of(name)
    logits = predictor.logits(golden.texts, golden.pairs, alone=True)
    tolerance = max(ROUNDING, predictor.variant.tolerance.get("max", 0.0))
    if not np.abs(logits - expected).max() <= tolerance:
        raise _disagreement(name, f"logits differ by {np.abs(logits - expected).max():.3g}, more than {tolerance:.3g}")
    if changed := _changed(predictor, expected, logits):
        raise _disagreement(name, f"{changed} of {len(expected)} labels are others")
    return golden


def _changed(predictor: Predictor, expected: np.ndarray, logits: np.ndarray) -> int:
    """Rows with another label, ties within rounding apart. Numbers are judged by the logits alone, which they are."""
    task = predictor.contract.task
    if task == REGRESSION:
        return 0
    if task == MULTI_LABEL:
        decoder = predictor.decoder
        assert isinstance(decoder, MultiLabel)
        clear = np.abs(decoder.shifted(expected)) > ROUNDING
        return int(((decoder.decide(expected) != decoder.decide(logits)) & clear).any(axis=1).sum())
    labels = logits.argmax(axis=-1)[..., None]
    lost = expected.max(axis=-1) - np.take_along_axis(expected, labels, axis=-1)[..., 0]
    return int((lost > ROUNDING).reshape(len(expected), -1).any(axis=1).sum())


def _disagreement(variant: str, what: str) -> FtxError:
    return FtxError(
        f"{variant} does not answer the bundle's golden examples as it did where it was exported: {what}",
        "choose another variant: --variant NAME",
        "or export on a machine like this one: ftx run export",
    )
