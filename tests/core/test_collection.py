from __future__ import annotations

from pathlib import Path

import pytest

from ftx.collection import collect, verify_all
from ftx.errors import FtxError
from ftx.events import Events
from ftx.planner import make_plan
from ftx.runner import run_plan
from ftx.runs import find_artifact, list_runs
from ftx.store import Store


@pytest.fixture
def two_runs(project, words_plugin):
    """The store after two runs whose exports differ, and the digests of the two bundles."""
    digests = []
    for text in ("one", "two"):
        config = project("", f"export.text={text}")
        plan = make_plan(["train", "export"], config, words_plugin)
        result = run_plan(plan, words_plugin, Events())
        digests.append(result.record.artifact["digest"])
    return Store(plan.store), *digests


def test_what_only_older_runs_made_is_collected(two_runs):
    store, old, new = two_runs
    removed = collect(store, keep=1)
    assert old in {item.name for item in removed}
    assert old not in store.digests()
    assert store.verify(new)
    assert verify_all(store)[1] == []


def test_a_dry_run_collects_nothing(two_runs):
    store, old, new = two_runs
    assert collect(store, keep=0, dry_run=True)
    assert {old, new} <= set(store.digests())


def test_what_a_run_is_using_now_stays_however_few_are_kept(two_runs):
    store, old, new = two_runs
    going_on = list(list_runs(store))[1]
    going_on.status = "running"
    going_on.save(store)
    collect(store, keep=0)
    assert store.verify(old)
    assert new not in store.digests()


def test_a_damaged_artifact_is_named_by_verify(two_runs):
    store, old, _ = two_runs
    (store.objects / old / "words.txt").unlink()
    checked, damaged = verify_all(store)
    assert checked == len(store.digests())
    assert len(damaged) == 1
    assert "words.txt is missing" in damaged[0]


def test_references_name_artifacts_by_stage_step_digest_and_folder(two_runs):
    store, old, new = two_runs
    assert find_artifact("latest", store).digest == new
    assert find_artifact("latest:export", store).digest == new
    assert find_artifact("latest:train:words", store).manifest.step == "train:words"
    assert find_artifact(old[:10], store).digest == old
    assert find_artifact(str(Path(store.objects) / old), store).digest == old


def test_a_reference_that_fits_several_is_ambiguous(two_runs):
    store, *_ = two_runs
    with pytest.raises(FtxError, match=r"ambiguous|no artifact"):
        find_artifact("", store)
    with pytest.raises(FtxError, match="no run"):
        find_artifact("latest:prune", store)
