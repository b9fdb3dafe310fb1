"""What `ftx compare` reads: the evaluations that two references have in common, or two load tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftx.artifacts import Artifact, Bundle, Checkpoint, Evaluation, LoadTest
from ftx.errors import FtxError
from ftx.runs import find_artifact, find_run
from ftx.scoreboard import model_name
from ftx.store import Store

SPLITS = ("test", "validation")
"""In order of preference: the test split has chosen nothing."""
LOAD_TEST_FILES = ("result.json", "samples.npz")


@dataclass(frozen=True)
class LookedAt:
    """One model in one evaluation."""

    reference: str
    """What the user called it."""
    evaluation: Evaluation
    model: str
    """Its name in `logits.npz`: a variant, `torch`, or `reference`."""

    @property
    def split(self) -> str:
        return str(self.evaluation.manifest.metrics["split"])

    def to_json(self) -> dict[str, Any]:
        return {"reference": self.reference, "evaluation": self.evaluation.digest, "model": self.model}


def find_pair(
    references: Sequence[str], variants: Sequence[str | None], split: str | None, store: Store
) -> tuple[LookedAt, LookedAt]:
    """The evaluations of two references on one split of the same data; the variant is a bundle's first, if not named.

    A reference is a run's ID, an evaluation, a bundle or a checkpoint. Raises `FtxError` where one was not evaluated,
    or the two have no split of the same data in common.
    """
    first, second = (_evaluations(reference, store) for reference in references)
    for name in SPLITS if split is None else (split,):
        for one in first.get(name, ()):
            for other in second.get(name, ()):
                if _data(one) == _data(other):
                    chosen = (_choose(*given) for given in zip(references, (one, other), variants, strict=True))
                    return next(chosen), next(chosen)
    raise _nothing_shared(references, first, second, split)


def find_load_tests(references: Sequence[str], store: Store) -> list[Path] | None:
    """The folders of load tests, artifacts or what `ftx loadtest --report` has written; None where none is named.

    Raises `FtxError` where one reference is a load test and another is not.
    """
    found = [_load_test(reference, store) for reference in references]
    folders = [folder for folder in found if folder is not None]
    if folders and len(folders) < len(found):
        other = references[found.index(None)]
        raise FtxError(
            f"{other} is no load test, and cannot be compared with one",
            "name two: ftx compare DIR DIR, of --report DIR",
        )
    return folders or None


def _load_test(reference: str, store: Store) -> Path | None:
    folder = Path(reference).expanduser()
    if all((folder / name).is_file() for name in LOAD_TEST_FILES):
        return folder
    if find_run(reference, store) is not None:
        return None
    artifact = find_artifact(reference, store)
    return artifact.path if isinstance(artifact, LoadTest) else None


def _evaluations(reference: str, store: Store) -> Mapping[str, list[Evaluation]]:
    """Split -> evaluations of what is referred to, the newest first."""
    run = find_run(reference, store)
    if run is not None and run.artifact is None:
        raise FtxError(f"the run {reference} made no model", "see what it did: ftx show " + reference)
    subject = store.open(run.artifact["digest"]) if run and run.artifact else find_artifact(reference, store)
    if isinstance(subject, Evaluation):
        found = [subject]
    elif isinstance(subject, Bundle | Checkpoint):
        found = list(_of_model(subject, store))
    else:
        raise FtxError(f"{reference} is a {subject.kind}", "name a run, an evaluation, a bundle or a checkpoint")
    if not found:
        raise FtxError(f"{reference} has not been evaluated", f"evaluate it: ftx eval {reference}")
    by_split: dict[str, list[Evaluation]] = {}
    for evaluation in sorted(found, key=lambda each: each.manifest.created, reverse=True):
        by_split.setdefault(str(evaluation.manifest.metrics.get("split", "")), []).append(evaluation)
    return by_split


def _of_model(model: Artifact, store: Store) -> Iterator[Evaluation]:
    for digest in store.digests():
        artifact = store.open(digest)
        if isinstance(artifact, Evaluation) and artifact.manifest.inputs.get("model") == model.digest:
            yield artifact


def _choose(reference: str, evaluation: Evaluation, variant: str | None) -> LookedAt:
    models = evaluation.manifest.metrics["models"]
    names = [model_name(model) for model in models]
    own = [name for name in names if name != "reference"] or names
    if variant is not None and variant not in names:
        raise FtxError(
            f"the evaluation of {reference} has no variant {variant}; it has: {', '.join(names)}",
            f"name one of them: --variant {own[0]}",
        )
    return LookedAt(reference, evaluation, variant or own[0])


def _data(evaluation: Evaluation) -> str:
    return evaluation.manifest.inputs.get("data", "")


def _nothing_shared(
    references: Sequence[str],
    first: Mapping[str, list[Evaluation]],
    second: Mapping[str, list[Evaluation]],
    split: str | None,
) -> FtxError:
    wanted = " and ".join(references)
    hint = f"evaluate both on the same: ftx eval {references[0]}; ftx eval {references[1]}"
    shared = [name for name in SPLITS if name in first and name in second and split in (None, name)]
    if not shared:
        seen = "; ".join(
            f"{reference}: {', '.join(found)}" for reference, found in zip(references, (first, second), strict=True)
        )
        what = f"the {split} split" if split else "any split in common"
        return FtxError(f"{wanted} were not both evaluated on {what} ({seen})", hint)
    digests = [_data(found[shared[0]][0])[:12] or "unknown" for found in (first, second)]
    return FtxError(
        f"{wanted} were evaluated on different data ({digests[0]} and {digests[1]}): a row of one may have trained the "
        "other",
        hint,
    )
