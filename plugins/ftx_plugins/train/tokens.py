"""Splits as tokens, in flat files that are mapped into memory: one pass over the texts, whatever the epochs.

work/tokens/train/ids.bin       token ids of all rows, end to end, uint16 or uint32
                  types.bin     token type ids, uint8; only for pairs and tokenizers that have them
                  ends.npy      int64, shape (rows,): where each row ends in the files above
                  labels.npy    int64, shape (rows,), in the head's order; multi-label: float32, shape (rows, labels),
                                1 for each label; regression: float32, shape (rows,), standardised
                  tags.bin      token classification, instead: the tag of each token, int16, end to end, in the head's
                                order; -100 on special tokens and on all of a word but its first
                  done.json     written last: the number of rows and of rows that were cut
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset as TorchDataset

from ftx import FtxError
from ftx_plugins.checkpoint import require_offsets
from ftx_plugins.tasks.alignment import Aligner, count_unaligned
from ftx_plugins.train.saves import write_json
from ftx_serving.tags import IGNORED
from ftx_serving.words import words_of_each

CHUNK = 1000
"""Rows tokenized at a time."""


class TokenizedSplit(TorchDataset[dict[str, Any]]):
    """Rows of token ids, mapped into memory. A row is a dict of `input_ids`, `labels`, and perhaps
    `token_type_ids` and `hidden`."""

    def __init__(self, folder: Path) -> None:
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        self.truncated: int = done["truncated"]
        self.unaligned: int = done.get("unaligned", 0)
        """Entities that begin or end within a word, or are cut off, in whole or in part."""
        self._ends: np.ndarray = np.load(folder / "ends.npy")
        self._ids = np.memmap(folder / "ids.bin", dtype=done["dtype"], mode="r")
        types = folder / "types.bin"
        self._types = np.memmap(types, dtype=np.uint8, mode="r") if types.exists() else None
        self.lengths: np.ndarray = np.diff(self._ends, prepend=0)
        """Tokens of each row, int64 of shape (rows,)."""
        tags = folder / "tags.bin"
        self._tags = np.memmap(tags, dtype=np.int16, mode="r") if tags.exists() else None
        self.labels: np.ndarray = np.load(folder / "labels.npy") if self._tags is None else self._tags_of_words()
        """As `labels.npy` says; in token classification the words' tags, int64 of shape (rows, words), -100 behind a
        row's last word."""
        self.hidden: np.ndarray | None = None
        """What frozen layers give for each token, float32 of shape (tokens of all rows, hidden size), where kept."""

    def select(self, rows: np.ndarray) -> TokenizedSplit:
        """Some of the rows (int64, shape (selected,)), over the same files."""
        selected = copy.copy(self)
        selected.labels, selected._ends, selected.lengths = self.labels[rows], self._ends[rows], self.lengths[rows]
        return selected

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> dict[str, Any]:
        end = self._ends[row]
        span = slice(end - self.lengths[row], end)
        labels = self.labels[row] if self._tags is None else self._tags[span]
        item = {"input_ids": self._ids[span], "labels": labels}
        if self._types is not None:
            item["token_type_ids"] = self._types[span]
        if self.hidden is not None:
            item["hidden"] = self.hidden[span]
        return item

    def _tags_of_words(self) -> np.ndarray:
        assert self._tags is not None
        row = np.repeat(np.arange(len(self._ends)), self.lengths)
        there = np.flatnonzero(self._tags != IGNORED)
        row = row[there]
        counts = np.bincount(row, minlength=len(self._ends))
        place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
        found = np.full((len(self._ends), int(counts.max(initial=0))), IGNORED, dtype=np.int64)
        found[row, place] = self._tags[there]
        return found


@dataclass(frozen=True)
class Collator:
    """Pads rows to the longest of the batch, rounded up to a multiple of `multiple`, and never beyond `max_length`."""

    pad_id: int
    pad_left: bool
    multiple: int
    max_length: int
    tags: bool = False
    """Whether labels are a tag for each token."""

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        width = max(longest, min(-(-longest // self.multiple) * self.multiple, self.max_length))
        batch = {
            "input_ids": self._padded([row["input_ids"] for row in rows], width, self.pad_id),
            "attention_mask": self._padded([np.ones(len(row["input_ids"])) for row in rows], width, 0),
            "labels": self._padded([row["labels"] for row in rows], width, IGNORED)
            if self.tags
            else torch.from_numpy(np.stack([row["labels"] for row in rows])),
        }
        if "token_type_ids" in rows[0]:
            batch["token_type_ids"] = self._padded([row["token_type_ids"] for row in rows], width, 0)
        if "hidden" in rows[0]:
            hidden = torch.zeros(len(rows), width, rows[0]["hidden"].shape[1])
            for place, row in enumerate(rows):
                hidden[place, : len(row["hidden"])] = torch.from_numpy(np.array(row["hidden"]))
            batch["hidden"] = hidden
        return batch

    def _padded(self, values: Sequence[np.ndarray], width: int, filler: int) -> torch.Tensor:
        padded = np.full((len(values), width), filler, dtype=np.int64)
        for row, value in enumerate(values):
            start = width - len(value) if self.pad_left else 0
            padded[row, start : start + len(value)] = value
        return torch.from_numpy(padded)


def collator_of(tokenizer: Any, max_length: int, multiple: int = 1, *, tags: bool = False) -> Collator:
    """The collator for a tokenizer; `FtxError` where that has no padding token."""
    if tokenizer.pad_token_id is None:
        raise FtxError(
            f"the tokenizer of {tokenizer.name_or_path} has no padding token", "give it one, and save it in the folder"
        )
    return Collator(tokenizer.pad_token_id, tokenizer.padding_side == "left", multiple, max_length, tags)


def tokenize_split(
    split: Any,
    tokenizer: Any,
    folder: Path,
    *,
    max_length: int,
    encode_labels: Callable[[Any], np.ndarray] | Aligner,
    progress: Callable[[int, int], None],
) -> TokenizedSplit:
    """The rows of `split` (columns `text`, `label`, perhaps `text_pair`) as tokens, kept in `folder`.

    `encode_labels(split)` gives what is kept as labels; an `Aligner` gives each token its tag. A folder that an
    earlier, killed run completed is used as it is. `progress(done, total)` is called after each chunk of rows.
    """
    if not (folder / "done.json").exists():
        _write(split, tokenizer, folder, max_length, encode_labels, progress)
    return TokenizedSplit(folder)


def _write(
    split: Any,
    tokenizer: Any,
    folder: Path,
    max_length: int,
    encode_labels: Callable[[Any], np.ndarray] | Aligner,
    progress: Callable[[int, int], None],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    has_pairs = "text_pair" in split.column_names
    columns: dict[str, tuple[str, type]] = {
        "input_ids": ("ids.bin", np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    }
    if has_pairs and "token_type_ids" in tokenizer.model_input_names:
        columns["token_type_ids"] = ("types.bin", np.uint8)
    lengths: list[int] = []
    truncated = unaligned = 0
    aligner = encode_labels if isinstance(encode_labels, Aligner) else None
    if aligner is not None:
        require_offsets(tokenizer)
        columns["tags"] = ("tags.bin", np.int16)
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context((folder / file).open("wb")) for name, (file, _) in columns.items()}
        for chunk in split.iter(batch_size=CHUNK):
            texts, pairs = chunk["text"], chunk["text_pair"] if has_pairs else None
            encoded = tokenizer(
                texts, pairs, truncation=True, max_length=max_length, return_token_type_ids="token_type_ids" in columns
            )
            if aligner is not None:
                words = words_of_each(encoded.encodings, texts)
                rows = zip(chunk["label"], words, encoded["input_ids"], strict=True)
                encoded["tags"] = [aligner.tokens(entities, each, len(ids)) for entities, each, ids in rows]
                unaligned += count_unaligned(chunk["label"], words)
            for name, (_, dtype) in columns.items():
                np.concatenate([np.asarray(row, dtype=dtype) for row in encoded[name]]).tofile(files[name])
            lengths.extend(map(len, encoded["input_ids"]))
            truncated += _count_truncated(tokenizer, encoded, texts, pairs, max_length)
            progress(len(lengths), len(split))
    np.save(folder / "ends.npy", np.cumsum(np.asarray(lengths, dtype=np.int64)))
    if not isinstance(encode_labels, Aligner):
        np.save(folder / "labels.npy", encode_labels(split))
    done = {
        "rows": len(lengths),
        "truncated": truncated,
        "unaligned": unaligned,
        "dtype": np.dtype(columns["input_ids"][1]).name,
    }
    write_json(folder / "done.json", done)


def _count_truncated(
    tokenizer: Any, encoded: Any, texts: Sequence[str], pairs: Sequence[str] | None, max_length: int
) -> int:
    if encoded.encodings is not None:
        return sum(bool(encoding.overflowing) for encoding in encoded.encodings)
    # A tokenizer written in Python keeps nothing of what it cut: the rows that fill the limit are tokenized again.
    full = [row for row, ids in enumerate(encoded["input_ids"]) if len(ids) == max_length]
    return sum(
        len(tokenizer(texts[row], pairs[row] if pairs else None, truncation=False)["input_ids"]) > max_length
        for row in full
    )
