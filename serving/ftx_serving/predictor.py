"""A bundle as a function: texts in, labels with scores out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Encoding

from ftx.artifacts import Bundle, Manifest
from ftx.errors import FtxError
from ftx.hashing import hash_file
from ftx.step import Runtime, load_by_name
from ftx.tasks import TOKEN_CLASSIFICATION
from ftx_serving.choice import Choice
from ftx_serving.contract import TOKENIZER_FILE, Contract, Variant
from ftx_serving.decoding import Decoder, abstentions, flagged
from ftx_serving.encoder import TextEncoder
from ftx_serving.runtimes import Session
from ftx_serving.windows import pool
from ftx_serving.words import at_words, join_rows, words_of_each


class Predictor:
    """One variant of a bundle, ready to classify texts."""

    def __init__(
        self, session: Session, encoder: TextEncoder, variant: Variant, executor: Runtime | None = None
    ) -> None:
        """`executor` is the runtime that the session is of; None for one that came from no runtime's `load`."""
        self.session = session
        self.encoder = encoder
        self.variant = variant
        self.executor = executor

    @property
    def contract(self) -> Contract:
        return self.encoder.contract

    @property
    def labels(self) -> tuple[str, ...]:
        return self.contract.labels

    @property
    def decoder(self) -> Decoder:
        return self.contract.decoder

    @classmethod
    def load(
        cls,
        folder: Path | str,
        *,
        runtimes: Mapping[str, Runtime],
        variant: str | None = None,
        runtime: str | None = None,
        device: str = "cpu",
        threads: int | None = None,
        verify: bool = True,
        encoder: TextEncoder | None = None,
        warn: Callable[[str], None] = warnings.warn,
    ) -> Predictor:
        """The bundle in `folder`: the `variant` and `runtime` named, or else the one chosen by measurement on such a
        processor, or else the first that runs here.

        Each file is checked against its hash in the manifest before anything reads it (`verify`). `encoder` is that of
        another predictor of the bundle, to share; None: made anew. Raises `FtxError` where the bundle is damaged, or
        holds no such variant.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        if manifest.kind != Bundle.kind:
            raise FtxError(f"{folder} holds a {manifest.kind}, not a bundle", "export it first: ftx run export")
        contract = Contract.from_meta(manifest.meta)
        choice = _choice_of(manifest, contract, runtimes, variant, runtime, device, warn)
        if choice is not None:
            variant, runtime, threads = choice.variant, choice.runtime, threads or choice.threads_here
        chosen, executor = choose_variant(contract, runtimes, variant=variant, runtime=runtime, device=device)
        if verify:
            verify_files(folder, manifest, (TOKENIZER_FILE, *chosen.files))
        session = load_by_name(executor.load)(folder, chosen.to_dict(), device, threads)
        return cls(session, encoder or TextEncoder.from_file(folder / TOKENIZER_FILE, contract), chosen, executor)

    def logits(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        *,
        batch_size: int = 32,
        alone: bool | None = None,
    ) -> np.ndarray:
        """Logits of `texts` (with `pairs`, of pairs of texts), float32 of shape (rows, classes), in the order given; of
        a model of tokens those of the words, (rows, words, labels), padded with zeros.

        Texts of like length share a batch, padded to its longest. Where a text's logits would depend on its
        neighbours (the variant is not batch-invariant) each text goes alone, unless `alone` says otherwise.
        """
        return self._logits(texts, self.encoder.encode(texts, pairs), batch_size, alone)

    def _logits(
        self,
        texts: Sequence[str],
        encoded: Sequence[Encoding],
        batch_size: int = 32,
        alone: bool | None = None,
    ) -> np.ndarray:
        rows_of_texts = [self.encoder.rows(encoding) for encoding in encoded]
        encodings = [row for rows in rows_of_texts for row in rows]
        sources = [text for text, rows in zip(texts, rows_of_texts, strict=True) for _ in rows]
        if alone if alone is not None else not self.variant.batch_invariant:
            batch_size = 1
        order = sorted(range(len(encodings)), key=lambda row: -len(encodings[row]))
        parts = []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            parts.append(self.logits_of([sources[row] for row in rows], [encodings[row] for row in rows]))
        if not parts:
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        found = join_rows(parts)
        logits = np.empty_like(found)
        logits[order] = found
        return pool(logits, [len(rows) for rows in rows_of_texts])

    def logits_of(
        self,
        texts: Sequence[str],
        encodings: Sequence[Encoding],
        *,
        side: Literal["left", "right"] | None = None,
        length: int | None = None,
    ) -> np.ndarray:
        """Logits of one batch as it stands; `side` and `length` are those of `TextEncoder.feed`."""
        logits = self.session(**self.encoder.feed(encodings, side=side, length=length))
        if logits.ndim == 2:
            return logits
        words = words_of_each(encodings, texts)
        left = (side or self.contract.padding_side) == "left"
        return at_words(logits, [len(encoding) for encoding in encodings], words, left=left)

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, *, top_k: int | None = None
    ) -> list[list[dict[str, Any]]]:
        """For each text a list of `{"label", "score"}`, best first; `top_k` keeps that many. Scores add up to 1.

        Multi-label: each score is a probability of its own, and `predicted` says whether it reaches the label's
        threshold. Regression: one entry, whose score is the number. Token classification: the entities in order, each
        with `start` and `end` in characters, and `text`. A text that was cut, and one of which the best label's score
        is below the contract's `abstain_below`, say so in each of their entries.
        """
        encodings = self.encoder.encode(texts, pairs)
        logits, temperature = self._logits(texts, encodings), self.variant.temperature
        words = self.encoder.words(texts) if self.contract.task == TOKEN_CLASSIFICATION else None
        answers = self.decoder.answers(logits, top_k=top_k, temperature=temperature, words=words)
        below = self.contract.abstain_below
        abstained = [False] * len(answers)
        if below is not None:
            abstained = abstentions(self.decoder.scores(logits, temperature), below)
        return flagged(answers, [self.encoder.was_cut(encoding) for encoding in encodings], abstained)


def choose_variant(
    contract: Contract,
    runtimes: Mapping[str, Runtime],
    *,
    variant: str | None = None,
    runtime: str | None = None,
    device: str = "cpu",
) -> tuple[Variant, Runtime]:
    """The first variant, in the bundle's order, that a runtime installed here executes on `device`.

    `variant` and `runtime` narrow the choice; a variant named is taken on any device that its runtime supports.
    Raises `FtxError`, which lists what there is, where nothing is left.
    """
    known = {candidate.name: candidate for candidate in contract.variants}
    if variant is not None and variant not in known:
        raise FtxError(
            f"the bundle has no variant {variant}; it has: {', '.join(known) or 'none'}",
            "name one of them: --variant NAME",
        )
    if runtime is not None and runtime not in runtimes:
        raise FtxError(
            f"there is no runtime {runtime}; there are: {', '.join(sorted(runtimes)) or 'none'}",
            "name one of them: --runtime NAME",
        )
    candidates = [known[variant]] if variant is not None else contract.variants
    executors = [runtimes[runtime]] if runtime is not None else list(runtimes.values())
    refused = []
    for candidate in candidates:
        if candidate.runtime not in runtimes:
            refused.append(f"{candidate.name}: nothing that is installed adds its runtime {candidate.runtime}")
        for executor in executors:
            reason = _refusal(candidate, executor, device, named=variant is not None)
            if reason is None:
                return candidate, executor
            refused.append(f"{candidate.name} with {executor.name}: {reason}")
    wanted = f"on {device}" + (f" with {runtime}" if runtime else "")
    raise FtxError(
        f"no variant of the bundle runs {wanted}\n  " + "\n  ".join(refused),
        "install a runtime that is missing: pip install 'ftx-toolchain[onnx]' or 'ftx-toolchain[openvino]'",
        "or choose another variant, runtime or device; a runtime of a plugin is there if ftx plugins lists it",
    )


def _choice_of(
    manifest: Manifest,
    contract: Contract,
    runtimes: Mapping[str, Runtime],
    variant: str | None,
    runtime: str | None,
    device: str,
    warn: Callable[[str], None],
) -> Choice | None:
    """The bundle's choice, where it is among what was asked for, holds on this machine, and can run here."""
    choice = Choice.from_meta(manifest.meta)
    if choice is None or variant not in (None, choice.variant) or runtime not in (None, choice.runtime):
        return None
    asked = variant is not None or runtime is not None
    # Who names a variant wants no advice on which one to take.
    if not choice.holds_here(device, (lambda message: None) if asked else warn):
        return None
    found = next(candidate for candidate in contract.variants if candidate.name == choice.variant)
    executor = runtimes.get(choice.runtime)
    reason = "not installed here" if executor is None else _refusal(found, executor, device, named=True)
    if reason is None:
        return choice
    if not asked:
        warn(f"{choice.variant} was chosen with {choice.runtime}, {reason}: the bundle's own order is used")
    return None


def verify_files(folder: Path, manifest: Manifest, names: Sequence[str]) -> None:
    """Raise `FtxError` unless each of the files is what the manifest says."""
    for name in names:
        entry = manifest.files.get(name)
        path = folder / name
        if entry is None or not path.is_file():
            raise FtxError(f"{path} is missing", "check the store: ftx cache verify")
        if hash_file(path) != entry:
            raise FtxError(
                f"{path} is not the file that was exported (its sha256 is another), and was not loaded",
                "check the store: ftx cache verify",
                "or export again: ftx run export",
            )


def _refusal(variant: Variant, runtime: Runtime, device: str, *, named: bool) -> str | None:
    """Why `runtime` does not execute `variant` on `device`; None if it does."""
    if variant.format not in runtime.formats:
        return f"it does not read {variant.format}"
    if missing := [name for name in runtime.requires if find_spec(name) is None]:
        return f"not installed here ({', '.join(missing)})"
    if device not in runtime.devices:
        return f"it does not run on {device}"
    if device not in variant.devices and not named:
        return f"the variant is not meant for {device}"
    return None
