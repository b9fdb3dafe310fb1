"""`augment:back-translation`: texts are translated into another language and back, by a translator of a plugin.

Each batch is written into the work folder when it is done: a translator that fails, or is killed, in the middle costs
its own batch alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from ftx.artifacts import Artifact
from ftx.errors import ExitCode, FtxError
from ftx.step import Context, Translator, load_by_name
from ftx_plugins.augment.config import BackTranslationConfig
from ftx_plugins.augment.extend import Proposal, extend
from ftx_plugins.augment.words import find_words, is_negation

FILE = "translations.jsonl"
Translate = Callable[[Sequence[str], str, str, Context], Sequence[str]]


def run(config: BackTranslationConfig, inputs: Mapping[str, Artifact], context: Context) -> dict[str, Any]:
    """Extend the training rows of `inputs["data"]`; returns how many came and what they gained.

    Raises `FtxError` where there is no such translator, or where it fails; what was translated is kept.
    """
    translator = choose_translator(config.translator, context.plugins.translators())
    translate = load_by_name(translator.translate)
    done = Translations(context.work / FILE)
    copy = 0

    def propose(texts: Sequence[str], randoms: Sequence[Random]) -> Iterator[Proposal]:
        nonlocal copy
        language = config.through[copy % len(config.through)]
        copy += 1
        for start in range(0, len(texts), config.batch_size):
            batch = texts[start : start + config.batch_size]
            for text, back in zip(
                batch, _there_and_back(batch, language, translator, translate, done, config, context), strict=True
            ):
                yield back if _keeps(text, back, config) else None

    return extend("back-translation", propose, config, inputs, context)


def choose_translator(name: str | None, there: Mapping[str, Translator]) -> Translator:
    """The translator called so, or the only one; `FtxError` where there is none, or several."""
    if name is not None and name in there:
        return there[name]
    if name is None and len(there) == 1:
        return next(iter(there.values()))
    if not there:
        raise FtxError(
            "no plugin adds a translator (ftx_translators)",
            "write one around a translator that runs on this machine, such as argostranslate or a Marian model: "
            "docs/plugins.md#ftx_translators, ftx plugins new",
        )
    wanted = f"there is no translator {name!r}" if name else f"there are {len(there)} translators"
    raise FtxError(wanted, f"name one of {', '.join(sorted(there))}: --set augment.translator={min(there)}")


class Translations:
    """What is translated already: a line for each text, written when its batch is done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, str] = {}
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):  # a kill in the middle of a line
            path.write_text("".join(whole), encoding="utf-8")
        for line in whole:
            entry = json.loads(line)
            self._known[entry["key"]] = entry["text"]

    def __len__(self) -> int:
        return len(self._known)

    def get(self, text: str, source: str, target: str) -> str | None:
        return self._known.get(_key(text, source, target))

    def add(self, texts: Sequence[str], translated: Sequence[str], source: str, target: str) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            for text, new in zip(texts, translated, strict=True):
                key = _key(text, source, target)
                self._known[key] = new
                file.write(json.dumps({"key": key, "text": new}, ensure_ascii=False) + "\n")


def _key(text: str, source: str, target: str) -> str:
    return hashlib.blake2b(f"{source}\0{target}\0{text}".encode(), digest_size=16).hexdigest()


def _there_and_back(
    texts: Sequence[str],
    language: str,
    translator: Translator,
    translate: Translate,
    done: Translations,
    config: BackTranslationConfig,
    context: Context,
) -> list[str]:
    there = _translated(texts, config.language, language, translator, translate, done, context)
    return _translated(there, language, config.language, translator, translate, done, context)


def _translated(
    texts: Sequence[str],
    source: str,
    target: str,
    translator: Translator,
    translate: Translate,
    done: Translations,
    context: Context,
) -> list[str]:
    missing = list(dict.fromkeys(text for text in texts if done.get(text, source, target) is None))
    if missing:
        try:
            new = list(translate(missing, source, target, context))
            _check(new, missing)
        except Exception as error:
            raise FtxError(
                f"the translator {translator.name} failed from {source} to {target}: {type(error).__name__}: {error}",
                f"{len(done)} translations are kept: the same command goes on from there",
                code=ExitCode.STEP_FAILED,
            ) from error
        done.add(missing, new, source, target)
    return [done.get(text, source, target) or "" for text in texts]


def _check(translated: Sequence[Any], texts: Sequence[str]) -> None:
    if len(translated) != len(texts) or not all(isinstance(text, str) for text in translated):
        raise ValueError(f"it gave {len(translated)} results for {len(texts)} texts, or some that are no strings")


def _keeps(text: str, back: str, config: BackTranslationConfig) -> bool:
    """Whether what is protected survived: negations (none lost, none new) and the user's words."""
    return _denials(text) == _denials(back) and all(
        phrase.casefold() in back.casefold() for phrase in config.protect if phrase.casefold() in text.casefold()
    )


def _denials(text: str) -> int:
    return sum(is_negation(word.text) for word in find_words(text))
