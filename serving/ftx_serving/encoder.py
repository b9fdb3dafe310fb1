"""From texts to the model's inputs, with `tokenizers` alone: the same ids as in training, for any text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from ftx.errors import FtxError
from ftx_serving import windows
from ftx_serving.contract import Contract
from ftx_serving.words import Words, words_of_each

Feed = dict[str, np.ndarray]
"""Input name -> int64 of shape (batch, length)."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_CHARACTERS_PER_TOKEN = 16
"""How many characters a token covers at most, as a rule; where a text breaks it, more of the text is read."""


class TextEncoder:
    """Tokenizes, cuts to the longest input, and pads. Safe to share between threads: nothing changes after it is made.

    The tokenizer is a private copy, since truncation is a setting of the tokenizer itself.
    """

    def __init__(self, tokenizer: Tokenizer, contract: Contract) -> None:
        self.contract = contract
        serialized = tokenizer.to_str()
        self._tokenizer = Tokenizer.from_str(serialized)
        self._tokenizer.no_padding()
        in_windows = contract.long_text == "window"
        self._tokenizer.enable_truncation(
            contract.max_length,
            stride=contract.max_length // windows.OVERLAP if in_windows else 0,
            strategy="longest_first",
            direction=contract.truncation_side,
        )
        cut_early = contract.truncation_side == "right" and not in_windows
        self._boundary = _boundary(json.loads(serialized)) if cut_early else None

    @classmethod
    def from_file(cls, path: Path, contract: Contract) -> TextEncoder:
        return cls(Tokenizer.from_file(str(path)), contract)

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None = None) -> list[Encoding]:
        """One encoding a text (or a pair), of at most `max_length` tokens, not padded.

        Raises `FtxError` where pairs are missing, unwanted, or not as many as the texts.
        """
        self._check_pairs(texts, pairs)
        if pairs is not None:
            rows = [(clean(text), clean(pair)) for text, pair in zip(texts, pairs, strict=True)]
            return list(self._tokenizer.encode_batch(rows))
        short: list[int] = []
        long: list[int] = []
        for place, text in enumerate(texts):
            (long if self._is_long(text) else short).append(place)
        encodings = dict(
            zip(short, self._tokenizer.encode_batch([clean(texts[place]) for place in short]), strict=True)
        )
        encodings.update({place: self._encode_long(clean(texts[place])) for place in long})
        return [encodings[place] for place in range(len(texts))]

    def words(self, texts: Sequence[str]) -> list[Words]:
        """The words of each text, for a model of tokens: of all of it, or, where the beginning would be cut, of what is
        left, so that they are in line with what the model says."""
        tokenizer = self._whole if self.contract.truncation_side == "right" else self._tokenizer
        encodings = tokenizer.encode_batch([clean(text) for text in texts])
        return words_of_each(encodings, texts)

    @cached_property
    def _whole(self) -> Tokenizer:
        """The tokenizer, cutting nothing."""
        tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        tokenizer.no_truncation()
        return tokenizer

    def rows(self, encoding: Encoding) -> list[Encoding]:
        """What the model is given of a text: its encoding, and, where texts are read in windows, those that follow."""
        if self.contract.long_text == "window":
            return [encoding, *encoding.overflowing][: windows.MOST]
        return [encoding]

    def was_cut(self, encoding: Encoding) -> bool:
        """Whether some of the text is in none of its `rows`."""
        return len(encoding.overflowing) >= len(self.rows(encoding))

    def feed(self, encodings: Sequence[Encoding], *, side: str | None = None, length: int | None = None) -> Feed:
        """The inputs of one batch, padded to its longest row (or to `length` tokens, if that is more) on the contract's
        padding side (or `side`)."""
        longest = max(length or 0, *(len(encoding) for encoding in encodings))
        contract = self.contract
        fills = {"input_ids": contract.pad_token_id, "token_type_ids": contract.pad_token_type_id}
        shape = (len(encodings), longest)
        feed = {name: np.full(shape, fills.get(name, 0), dtype=np.int64) for name in contract.inputs}
        for row, encoding in enumerate(encodings):
            length = len(encoding)
            place = slice(longest - length, None) if (side or contract.padding_side) == "left" else slice(length)
            for name, values in feed.items():
                values[row, place] = getattr(encoding, _ATTRIBUTES[name])
        return feed

    def _check_pairs(self, texts: Sequence[str], pairs: Sequence[str] | None) -> None:
        if self.contract.pair and pairs is None:
            raise FtxError("this model classifies pairs of texts", "give each a second text: --pair TEXT, or pairs=[…]")
        if pairs is not None and not self.contract.pair:
            raise FtxError("this model classifies single texts, not pairs", "leave the second texts out")
        if pairs is not None and len(pairs) != len(texts):
            raise FtxError(f"{len(texts)} texts came with {len(pairs)} second texts", "give one second text to each")

    def _is_long(self, text: str) -> bool:
        return self._boundary is not None and len(text) > 2 * _CHARACTERS_PER_TOKEN * self.contract.max_length

    def _encode_long(self, text: str) -> Encoding:
        """The encoding of a long text from no more of its beginning than it takes.

        The beginning ends at a boundary that no token crosses, so its tokens are the first ones of the whole text; once
        there are more than the input holds, nothing behind them matters. `overflowing` thus tells of a long text, too,
        whether it was cut.
        """
        for prefix in self._beginnings(text):
            [encoding] = self._tokenizer.encode_batch([prefix])
            if encoding.overflowing:
                return encoding
        return self._tokenizer.encode_batch([text])[0]

    def _beginnings(self, text: str) -> Iterator[str]:
        assert self._boundary is not None
        size = _CHARACTERS_PER_TOKEN * self.contract.max_length
        while size < len(text):
            found = self._boundary.search(text, size)
            if found is None:
                return
            yield text[: found.start()]
            size = max(size * 4, found.start() * 4)


_ATTRIBUTES = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def clean(text: str) -> str:
    """`text` with lone surrogates, which no UTF-8 text has and the tokenizer refuses, as U+FFFD."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def _boundary(tokenizer: Mapping[str, Any]) -> re.Pattern[str] | None:
    """Where a text may be cut so that the tokens before the cut stay as they are; None where that is not sure.

    Sure are: WordPiece behind BERT's pre-tokenizer (it splits at white space, and, if asked to, around CJK
    ideographs), and byte-level BPE behind GPT-2's pattern (white space opens a new piece). Unigram models and other
    pre-tokenizers look at the whole text, and an added token may hold a boundary.
    """
    model = (tokenizer.get("model") or {}).get("type")
    normalizer = tokenizer.get("normalizer") or {"type": None}
    splitter = tokenizer.get("pre_tokenizer") or {"type": None}
    pattern = None
    if model == "WordPiece" and splitter["type"] == "BertPreTokenizer" and normalizer["type"] == "BertNormalizer":
        pattern = "[ \t\r\n\u4e00-\u9fff]" if normalizer.get("handle_chinese_chars") else "[ \t\r\n]"
    if model == "BPE" and splitter["type"] == "ByteLevel" and normalizer["type"] in {None, "NFC"}:
        pattern = "(?<=[^\\s])[ \t\r\n]" if splitter.get("use_regex", True) else None
    added = [token["content"] for token in tokenizer.get("added_tokens") or ()]
    return None if pattern is None or any(re.search(pattern, content) for content in added) else re.compile(pattern)
