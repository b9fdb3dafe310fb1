"""The golden examples: what the export's machine answered, asked again on this one."""

from __future__ import annotations

import json

import numpy as np

from ftx.artifacts import Bundle
from ftx.errors import FtxError
from ftx_serving.contract import GOLDEN_FILE
from ftx_serving.predictor import Predictor, verify_files

ROUNDING = 1e-3
"""Logits that differ by no more are the same: kernels of other processors sum in another order."""


def check_golden(bundle: Bundle, predictor: Predictor) -> int:
    """Raise `FtxError` unless this variant answers as it did where it was exported; returns how many texts it is.

    Labels must be equal (but for a tie within rounding), logits within what the export itself allowed the variant.
    """
    verify_files(bundle.path, bundle.manifest, (GOLDEN_FILE,))
    lines = (bundle.path / GOLDEN_FILE).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    name = predictor.variant.name
    expected = np.array([row["logits"][name] for row in rows], dtype=np.float32)
    pairs = [row["text_pair"] for row in rows if "text_pair" in row]
    logits = predictor.logits([row["text"] for row in rows], pairs or None, alone=True)
    tolerance = max(ROUNDING, predictor.variant.tolerance.get("max", 0.0))
    if not np.abs(logits - expected).max() <= tolerance:
        raise _disagreement(name, f"logits differ by {np.abs(logits - expected).max():.3g}, more than {tolerance:.3g}")
    places = np.arange(len(rows))
    labels = logits.argmax(axis=1)
    lost = expected.max(axis=1) - expected[places, labels]
    if changed := int((lost > ROUNDING).sum()):
        raise _disagreement(name, f"{changed} of {len(rows)} labels are others")
    return len(rows)


def _disagreement(variant: str, what: str) -> FtxError:
    return FtxError(
        f"{variant} does not answer the bundle's golden examples as it did where it was exported: {what}",
        "choose another variant: --variant NAME",
        "or export on a machine like this one: ftx run export",
    )
