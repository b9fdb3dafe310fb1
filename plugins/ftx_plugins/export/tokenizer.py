"""The tokenizer of a bundle: one file that `tokenizers` reads alone, with the same ids as in training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tokenizers import Tokenizer

from ftx.errors import ExitCode, FtxError
from ftx_plugins.checkpoint import LoadedCheckpoint
from ftx_plugins.export.rows import Row, texts_of
from ftx_plugins.export.torchscript_runtime import INPUT_ORDER
from ftx_serving.contract import Contract
from ftx_serving.encoder import TextEncoder

ODD_TEXTS = (
    "",
    " \t\n ",
    "naïve café — “quotes” … ﬁ",
    "中文和 English 混合，繁體字",
    "👩‍👩‍👧 🇨🇳 zero​width \u202eright-to-left عربى",
    "a" * 300,
    "e\u0301 \u00ad \x00 \x1c [MASK] </s> <mask> @user #tag http://t.co/x",
)
"""Texts on which tokenizers go apart: nothing, white space, accents, CJK, joined emoji, one long word, controls."""


def contract_of(
    loaded: LoadedCheckpoint,
    *,
    pair: bool,
    tolerance: float | None = None,
    long_text: Literal["truncate", "window"] = "truncate",
    abstain_below: float | None = None,
) -> Contract:
    """What the tokenizer and the model promise; the variants are still to come.

    `tolerance` is that of a regression's data set. Raises `FtxError` for pairs that would be read in windows.
    """
    if pair and long_text == "window":
        raise FtxError("pairs of texts are not read in windows", 'cut them: --set export.long_text="truncate"')
    tokenizer = loaded.tokenizer
    if not getattr(tokenizer, "is_fast", False):
        raise FtxError(
            f"{type(tokenizer).__name__} has no tokenizer.json, and a server has nothing else to tokenize with",
            "use a model with a fast tokenizer",
        )
    return Contract(
        labels=loaded.labels,
        max_length=loaded.max_length,
        inputs=tuple(name for name in INPUT_ORDER if name in tokenizer.model_input_names),
        pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
        task=loaded.task,
        thresholds=loaded.thresholds,
        tolerance=tolerance,
        pair=pair,
        pad_token_type_id=tokenizer.pad_token_type_id,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        long_text=long_text,
        abstain_below=abstain_below,
    )


def backend_tokenizer(loaded: LoadedCheckpoint) -> Tokenizer:
    """A copy of the checkpoint's tokenizer with truncation and padding off: how to cut and pad is in the contract."""
    tokenizer = Tokenizer.from_str(loaded.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def check_tokenizer(loaded: LoadedCheckpoint, encoder: TextEncoder, rows: Sequence[Row]) -> None:
    """Raise `FtxError` unless the encoder gives the ids of the checkpoint's tokenizer, on real and odd texts."""
    odd = [Row(text, text if encoder.contract.pair else None) for text in ODD_TEXTS]
    texts, pairs = texts_of([*rows, *odd])
    if pairs is None:
        texts.append(" ".join(texts) * 20)
    expected = loaded.tokenizer(texts, pairs, truncation=True, max_length=loaded.max_length)
    for row, encoding in enumerate(encoder.encode(texts, pairs)):
        same = encoding.ids == expected["input_ids"][row]
        if "token_type_ids" in encoder.contract.inputs:
            same = same and encoding.type_ids == expected["token_type_ids"][row]
        if not same:
            raise FtxError(
                f"tokenizer.json gives other tokens than {type(loaded.tokenizer).__name__} for {texts[row][:60]!r}",
                "save the checkpoint's tokenizer again with transformers, and export again",
                code=ExitCode.STEP_FAILED,
            )
