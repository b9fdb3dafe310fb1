"""`augment:masked`: words are masked, and a masked language model fills them in anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from ftx.artifacts import Artifact
from ftx.errors import FtxError
from ftx.step import Context
from ftx_plugins.augment.config import MaskedConfig
from ftx_plugins.augment.extend import Proposal, extend
from ftx_plugins.augment.words import Word, count_words, find_words, is_negation, replace_words, with_case_of
from ftx_plugins.checkpoint import loading, max_length_of

CANDIDATES = 5
"""Times `top_k` tokens are looked at, for `top_k` that are whole words and not the old one."""


def run(config: MaskedConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Extend the training rows of `inputs["data"]`; returns how many came and what they gained."""
    folder = Path(config.masked_model) if config.masked_model else inputs["model"].path
    filler = Filler(folder, config, context)
    return extend("masked", filler.propose, config, inputs, context)


class Filler:
    """A masked language model that puts other words into texts."""

    def __init__(self, folder: Path, config: MaskedConfig, context: Context) -> None:
        self._config = config
        options = {"local_files_only": True, "trust_remote_code": context.model.trust_remote_code}
        with loading(folder):
            model, info = AutoModelForMaskedLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **options
            )
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, **options)
        # A head of random numbers would put in random words. Tied weights are not saved, and not missing.
        if missing := sorted(info["missing_keys"]):
            raise FtxError(
                f"{folder} has no masked-language head (missing: {', '.join(missing[:3])})",
                "name a model that has one, of the texts' language: --set augment.masked_model=FOLDER",
            )
        if self._tokenizer.mask_token is None:
            raise FtxError(
                f"the tokenizer of {folder} has no mask token", "name another model: --set augment.masked_model=FOLDER"
            )
        self._model: Any = model.to(context.device).eval()
        self._max_length = max_length_of(model.config, self._tokenizer)

    def propose(self, texts: Sequence[str], randoms: Sequence[Random]) -> Iterator[Proposal]:
        """Each text with a share of its words filled in anew; None where no word may change."""
        size = self._config.batch_size
        for start in range(0, len(texts), size):
            yield from self._fill(texts[start : start + size], randoms[start : start + size])

    def _fill(self, texts: Sequence[str], randoms: Sequence[Random]) -> list[Proposal]:
        chosen = [self._choose(text, random) for text, random in zip(texts, randoms, strict=True)]
        mask = self._tokenizer.mask_token
        masked = [
            replace_words(text, [(word.start, word.end, mask) for word in words])
            for text, words in zip(texts, chosen, strict=True)
        ]
        batch = self._tokenizer(
            masked, truncation=True, max_length=self._max_length, padding=True, return_tensors="pt"
        ).to(self._model.device)
        with torch.inference_mode():
            is_mask = batch["input_ids"] == self._tokenizer.mask_token_id
            # Of the scores of a whole vocabulary for each token, those of masks alone leave the device.
            logits = self._model(**batch).logits[is_mask].float().cpu()
        of_text = logits.split(is_mask.sum(dim=1).tolist())
        return [
            self._put(text, words, scores, random)
            for text, words, scores, random in zip(texts, chosen, of_text, randoms, strict=True)
        ]

    def _choose(self, text: str, random: Random) -> list[Word]:
        """The words to mask, in order. A text that holds the mask token itself is left alone."""
        if self._tokenizer.mask_token in text:
            return []
        words = find_words(text, self._config.protect)
        free = [word for word in words if not word.is_fixed]
        count = count_words(words, self._config.change)
        return sorted(random.sample(free, min(count, len(free))), key=lambda word: word.start)

    def _put(self, text: str, words: Sequence[Word], logits: torch.Tensor, random: Random) -> Proposal:
        """The text with drawn words; those behind the longest input have no logits, and stay."""
        changes = []
        for word, scores in zip(words, logits, strict=False):
            options, weights = self._options(word, scores)
            if options:
                changes.append((word.start, word.end, random.choices(options, weights)[0]))
        return replace_words(text, changes) if changes else None

    def _options(self, word: Word, scores: torch.Tensor) -> tuple[list[str], list[float]]:
        """The likeliest whole words, and how likely; without the old one, without negations."""
        top = scores.softmax(-1).topk(min(CANDIDATES * self._config.top_k, scores.shape[-1]))
        options, weights = [], []
        for token, probability in zip(
            self._tokenizer.convert_ids_to_tokens(top.indices.tolist()), top.values.tolist(), strict=True
        ):
            # A token that begins a word is written with a marker by some tokenizers.
            piece = token.lstrip("▁Ġ")
            if not piece.isalpha() or piece.casefold() == word.text.casefold() or is_negation(piece):
                continue
            if [len(found.text) for found in find_words(piece)] != [len(piece)]:
                continue
            options.append(with_case_of(piece, word.text))
            weights.append(probability)
            if len(options) == self._config.top_k:
                break
        return options, weights
