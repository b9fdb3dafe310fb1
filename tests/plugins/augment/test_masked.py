"""Words filled in by a masked language model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ftx.errors import FtxError
from ftx_plugins.augment.config import MaskedConfig

Augment = Callable[..., Any]


@pytest.fixture(scope="module")
def masked_model(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny encoder with a masked-language head of random weights."""
    from transformers import AutoTokenizer, BertForMaskedLM

    folder = tmp_path_factory.mktemp("masked")
    BertForMaskedLM.from_pretrained(tiny_encoder).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_encoder).save_pretrained(folder)
    return folder


def test_a_share_of_the_words_is_filled_in_anew_and_the_rest_stays(augment: Augment, masked_model: Path) -> None:
    done = augment("masked", masked_model=str(masked_model), change=0.2, protect=("very",))
    originals = {row["row"]: row["text"] for row in done.rows() if not row["origin"]}
    assert len(done.added()) > 80
    for row in done.added():
        old, new = originals[row["row"]].split(), row["text"].split()
        assert len(old) == len(new)
        changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
        assert len(changed) == max(1, int(len(old) * 0.2 + 0.5))
        assert not any(a == "very" or (a.startswith("n") and a[1:].isdigit()) for a, _ in changed)
        assert all(b.isalpha() for _, b in changed)


def test_the_projects_own_encoder_serves_where_it_has_the_head(augment: Augment, masked_model: Path) -> None:
    by_setting = augment("masked", masked_model=str(masked_model))
    assert augment("masked", model=masked_model).data.digest == by_setting.data.digest


def test_an_encoder_without_the_head_is_refused_with_the_setting_to_name(augment: Augment) -> None:
    with pytest.raises(FtxError, match="has no masked-language head") as caught:
        augment("masked")
    assert "augment.masked_model=FOLDER" in str(caught.value)


def test_negations_stay(masked_model: Path, make_context: Any) -> None:
    from ftx_plugins.augment.masked import Filler

    filler = Filler(masked_model, MaskedConfig(change=1.0, top_k=1000), make_context())
    text = "the car was not good and never very fine"
    [new] = filler.propose([text], [Random(0)])
    assert new is not None
    assert [new.split()[place] for place in (3, 6)] == ["not", "never"]
    assert new.split()[1] != "car"


def test_a_text_beyond_the_longest_input_keeps_what_stands_behind(masked_model: Path, make_context: Any) -> None:
    from ftx_plugins.augment.masked import Filler

    text = " ".join(["good", "car"] * 80)
    [new] = Filler(masked_model, MaskedConfig(change=1.0), make_context()).propose([text], [Random(0)])
    assert new is not None
    assert new.split()[70:] == text.split()[70:]
    assert new.split()[:40] != text.split()[:40]
