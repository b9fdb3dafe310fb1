"""Back-translation by translators that a plugin adds, also where they fail in the middle."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ftx import Translator, hookimpl
from ftx.errors import ExitCode, FtxError
from ftx.plugins import PluginManager

Augment = Callable[..., Any]


class Recorded:
    """A translator that marks what it has translated, and may fail from one call on."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.fails_at: int | None = None

    def __call__(self, texts: Sequence[str], source: str, target: str, context: Any) -> list[str]:
        if self.fails_at is not None and len(self.calls) >= self.fails_at:
            raise ConnectionError("the line is dead")
        self.calls.append((source, target, len(texts)))
        if target == "en":
            return [text.removeprefix(f"<{source}> ").replace("the", "that") for text in texts]
        return [f"<{target}> {text}" for text in texts]


@pytest.fixture
def translator(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()
    module = types.ModuleType("spoken_plugin")

    @hookimpl
    def ftx_translators() -> list[Translator]:
        return [Translator(name="spoken", summary="", translate="spoken_plugin:translate")]

    module.ftx_translators = ftx_translators  # type: ignore[attr-defined]
    module.translate = recorded  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spoken_plugin", module)
    return recorded


@pytest.fixture
def plugins(translator: Recorded) -> PluginManager:
    manager = PluginManager.load(third_party=False)
    manager.add("spoken", "spoken_plugin", "spoken", "1")
    assert manager.broken() == []
    return manager


def test_texts_go_there_and_back_and_copies_take_turns(augment: Augment, translator: Recorded, plugins: Any) -> None:
    done = augment("back-translation", plugins=plugins, through=("de", "fr"), copies=2, batch_size=48)
    assert translator.calls == [
        ("en", "de", 48), ("de", "en", 48), ("en", "de", 48), ("de", "en", 48),
        ("en", "fr", 48), ("fr", "en", 48), ("en", "fr", 48), ("fr", "en", 48),
    ]  # fmt: skip
    originals = {row["row"]: row["text"] for row in done.rows() if not row["origin"]}
    added = done.added()
    assert all(row["text"] == originals[row["row"]].replace("the", "that") for row in added)
    assert {row["origin"] for row in added} == {"back-translation"}
    # What came back as it was, or as from the other language, is no new row.
    assert len(added) == sum("the" in text for text in originals.values())


def test_after_a_failure_in_the_middle_the_same_command_goes_on(
    augment: Augment, translator: Recorded, plugins: Any, tmp_path: Path
) -> None:
    work = tmp_path / "kept"
    translator.fails_at = 5
    with pytest.raises(FtxError, match="spoken failed from de to en: ConnectionError: the line is dead") as caught:
        augment("back-translation", plugins=plugins, work=work, batch_size=16)
    assert caught.value.code == ExitCode.STEP_FAILED
    assert "80 translations are kept" in str(caught.value)
    translator.fails_at = None
    before = list(translator.calls)
    resumed = augment("back-translation", plugins=plugins, work=work, batch_size=16)
    assert translator.calls[len(before) :][0] == ("de", "en", 16)
    assert len(translator.calls) == 12
    assert resumed.data.digest == augment("back-translation", plugins=plugins, batch_size=16).data.digest


def test_a_line_cut_by_a_kill_is_translated_again(
    augment: Augment, translator: Recorded, plugins: Any, tmp_path: Path
) -> None:
    work = tmp_path / "kept"
    whole = augment("back-translation", plugins=plugins, work=work)
    file = work / "translations.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:40]) + lines[40][:20], encoding="utf-8")
    assert augment("back-translation", plugins=plugins, work=work).data.digest == whole.data.digest
    assert len([json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]) == len(lines)


def test_what_lost_a_negation_or_a_protected_word_is_left_out(
    augment: Augment, plugins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(texts: Sequence[str], source: str, target: str, context: Any) -> list[str]:
        return [text.replace("car", "wagon") if source == "en" else f"{text} not" for text in texts]

    monkeypatch.setattr(sys.modules["spoken_plugin"], "translate", forgetful)
    assert augment("back-translation", plugins=plugins).metrics["added"] == 0
    monkeypatch.setattr(
        sys.modules["spoken_plugin"], "translate", lambda texts, *_: [text.replace("car", "wagon") for text in texts]
    )
    assert augment("back-translation", plugins=plugins).metrics["added"] > 20
    assert augment("back-translation", plugins=plugins, protect=("Car",)).metrics["added"] == 0


def test_a_translator_that_gives_too_few_results_is_named(
    augment: Augment, plugins: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["spoken_plugin"], "translate", lambda texts, *_: list(texts)[1:])
    with pytest.raises(FtxError, match=r"the translator spoken failed from en to de: .* 31 results for 32 texts"):
        augment("back-translation", plugins=plugins)


def test_without_a_translator_it_says_what_to_install(augment: Augment) -> None:
    with pytest.raises(FtxError, match="no plugin adds a translator") as caught:
        augment("back-translation")
    assert "argostranslate" in str(caught.value)


def test_an_unknown_translator_is_refused_with_those_that_there_are(augment: Augment, plugins: Any) -> None:
    with pytest.raises(FtxError, match="there is no translator 'deep'") as caught:
        augment("back-translation", plugins=plugins, translator="deep")
    assert "augment.translator=spoken" in str(caught.value)
