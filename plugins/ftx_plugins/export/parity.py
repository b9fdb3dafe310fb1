"""Whether a variant computes what the torch model computes: on real texts and on the inputs that break exports.

Every input is compared on its own: what a mask hides is hidden from both sides. Padding on either side, holes in the
mask, one token, the longest input, and batches of other sizes than the traced one each have caught a real fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ftx.errors import ExitCode, FtxError
from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_plugins.export.rows import Row, texts_of
from ftx_serving.decoding import Decoder, Number
from ftx_serving.encoder import Feed, TextEncoder
from ftx_serving.runtimes import Session
from ftx_serving.words import Words, words_of_each

FP32_TOLERANCE = 1e-4
"""The largest difference of any logit of an fp32 variant from torch's."""
INT8_MAX = 1.0
INT8_RMS = 0.25
"""The largest and the root-mean-square difference of a quantized variant's logits from its fp32 variant's, in units
of the spread of the fp32 logits over real texts. Measured on a fine-tuned MiniLM: 0.15 to 0.3 and 0.04 to 0.05 (0.5 and
0.11 with one scale a weight); one layer's output set to zero: 1.1 and 0.25, its channels shuffled: 1.4 and 0.41.
Small losses are not judged here: the budget does that, on quality."""
HALF_MAX = 0.25
HALF_RMS = 0.05
"""The same of a variant in bf16 or fp16. Measured on a fine-tuned MiniLM in bf16: 0.005 and 0.0025."""
LEAST_SPREAD = 0.1
"""A model whose logits hardly vary (barely trained, or few texts) has too little spread to measure by."""
REAL_TEXTS = "real texts"
HOLES = "holes in the mask"
BATCH = 16
HIDDEN_SHARE = 0.2


@dataclass(frozen=True)
class Case:
    """Batches that are tried under one name."""

    name: str
    feeds: tuple[Feed, ...]
    words: tuple[Words, ...] = ()
    """Of each text, for real texts and a model of tokens."""


@dataclass(frozen=True)
class Tolerance:
    """What a difference of logits may be at most; `rms` is the root mean square over all cases."""

    max: float
    rms: float | None = None

    def to_dict(self) -> dict[str, float]:
        return {"max": self.max} if self.rms is None else {"max": self.max, "rms": self.rms}


Outputs = Mapping[str, np.ndarray]
"""Case -> logits, float32 of shape (rows, classes); of a model of tokens (tokens, labels)."""


def make_cases(encoder: TextEncoder, rows: Sequence[Row], seed: int) -> list[Case]:
    """The cases, out of `rows` that go from short to long."""
    texts, pairs = texts_of(rows)
    encodings = encoder.encode(texts, pairs)
    few = [encodings[place] for place in np.linspace(0, len(encodings) - 1, num=5).round().astype(int)]
    [empty] = encoder.encode([""], None if pairs is None else [""])
    everything = " ".join(texts) + " "
    repeats = 1 + 2 * encoder.contract.max_length // max(1, len(everything.split()))
    [longest] = encoder.encode([everything * repeats], None if pairs is None else [texts[0]])
    shortest = encoder.feed([encodings[0]])
    right = encoder.feed(few, side="right")
    alone = [encoder.feed([encoding]) for encoding in few]
    cases = {
        "length 1": [{name: values[:, :1] for name, values in shortest.items()}],
        "max length": [encoder.feed([longest]), encoder.feed([longest, encodings[0]])],
        "right padding": [right],
        "left padding": [encoder.feed(few, side="left")],
        HOLES: [with_holes(right, seed)],
        "alone": [*alone, *([encoder.feed([empty])] if len(empty) else [])],
    }
    real = tuple(encoder.feed(encodings[start : start + BATCH]) for start in range(0, len(encodings), BATCH))
    words: tuple[Words, ...] = ()
    if encoder.contract.task == TOKEN_CLASSIFICATION:
        words = tuple(words_of_each(encodings, texts))
    return [*(Case(name, tuple(feeds)) for name, feeds in cases.items()), Case(REAL_TEXTS, real, words)]


def with_holes(feed: Feed, seed: int) -> Feed:
    """The same batch with a fifth of the visible positions hidden, the first of each row apart."""
    hidden = np.random.default_rng(seed).random(feed["attention_mask"].shape) < HIDDEN_SHARE
    hidden[:, 0] = False
    return {**feed, "attention_mask": np.where(hidden, 0, feed["attention_mask"])}


def run_cases(session: Session, cases: Sequence[Case]) -> Outputs:
    """Of a model of tokens, the logits of all tokens that the mask shows."""
    return {case.name: np.concatenate([_shown(session(**feed), feed) for feed in case.feeds]) for case in cases}


def _shown(logits: np.ndarray, feed: Feed) -> np.ndarray:
    return logits if logits.ndim == 2 else np.asarray(logits[feed["attention_mask"] == 1])


def against_alone(session: Session, cases: Sequence[Case], outputs: Outputs, decoder: Decoder) -> dict[str, float]:
    """What sharing a batch does to the real texts, whose logits in batches are among `outputs`.

    `batch_spread` is the largest difference of any logit from the one that the text has alone, `batch_flips` the share
    of texts whose prediction is another.
    """
    case = next(case for case in cases if case.name == REAL_TEXTS)
    each = [session(**_unpadded(feed, row)) for feed in case.feeds for row in range(len(feed["input_ids"]))]
    together = outputs[REAL_TEXTS]
    if not case.words:
        alone = np.concatenate(each)
        changed = decoder.changed(alone, together)
    else:
        alone = np.concatenate([logits[0] for logits in each])
        ends = np.cumsum([logits.shape[1] for logits in each])
        rows = zip(each, np.split(together, ends[:-1]), case.words, strict=True)
        changed = np.array(
            [decoder.changed(one[:, of.tokens], other[None, of.tokens])[0] for one, other, of in rows], dtype=bool
        )
    return {
        "batch_spread": _rounded(float(np.abs(together - alone).max())),
        "batch_flips": _rounded(float(changed.mean())),
    }


def _unpadded(feed: Feed, row: int) -> Feed:
    """One row of a batch by itself, without its padding."""
    shown = np.flatnonzero(feed["attention_mask"][row])
    return {name: values[row : row + 1, shown[0] : shown[-1] + 1] for name, values in feed.items()}


def spread_of(outputs: Outputs) -> float:
    """The standard deviation of the logits over real texts, about the mean of each class."""
    logits = outputs[REAL_TEXTS].astype(np.float64)
    return max(LEAST_SPREAD, float(np.sqrt(logits.var(axis=0).mean())))


def fp32_tolerance(decoder: Decoder) -> Tolerance:
    """What an fp32 variant may differ from torch. Numbers in units of a target are as exact as its size allows: their
    tolerance tells it."""
    scale = max(1.0, decoder.tolerance) if isinstance(decoder, Number) else 1.0
    return Tolerance(FP32_TOLERANCE * scale)


def quantized_tolerance(fp32: Outputs, precision: str = "int8", jump: float = 0.0) -> Tolerance:
    """What a variant of that precision may differ from its fp32 variant, whose logits are `fp32`.

    `jump` is what a logit may move beyond that in single rows, where a model decides instead of weighing.
    """
    spread = spread_of(fp32)
    largest, rms = (INT8_MAX, INT8_RMS) if precision == "int8" else (HALF_MAX, HALF_RMS)
    return Tolerance(round(largest * spread + jump, 6), round(rms * spread, 6))


def check(name: str, outputs: Outputs, expected: Outputs, against: str, tolerance: Tolerance) -> dict[str, Any]:
    """The measured differences of the variant `name` from `expected`, for the bundle's `meta`.

    Raises `FtxError` that names variant, case and difference where one is beyond `tolerance`, or not finite.
    """
    differences = {case: np.abs(outputs[case].astype(np.float64) - logits) for case, logits in expected.items()}
    largest = {case: float(values.max()) for case, values in differences.items()}
    for case, difference in largest.items():
        # Not `>`: a NaN must fail too.
        if not difference <= tolerance.max:
            raise _disagreement(name, f"case: {case}; largest difference {difference:.3g}", against, tolerance.max)
    rms = float(np.sqrt(np.concatenate([values.ravel() ** 2 for values in differences.values()]).mean()))
    if tolerance.rms is not None and not rms <= tolerance.rms:
        raise _disagreement(name, f"all cases; root mean square difference {rms:.3g}", against, tolerance.rms)
    return {
        "against": against,
        "max_difference": _rounded(max(largest.values())),
        "rms_difference": _rounded(rms),
        "cases": {case: _rounded(value) for case, value in largest.items()},
    }


def _disagreement(name: str, what: str, against: str, allowed: float) -> FtxError:
    return FtxError(
        f"the variant {name} does not compute what {against} computes, and was not written "
        f"({what}; {allowed:.3g} is allowed on the logits)",
        "for a quantized variant: leave sensitive layers in fp32, [quantize] exclude",
        "or export the other format alone, such as: ftx run export:torchscript",
        code=ExitCode.STEP_FAILED,
    )


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
