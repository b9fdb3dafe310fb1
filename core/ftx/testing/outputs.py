"""What an artifact of each kind must hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from ftx.artifacts import Artifact
from ftx.step import load_by_name

PICKLES = ("*.pkl", "*.pickle", "*.bin.index.json", "pytorch_model*.bin", "*.joblib")


def output_problems(artifact: Artifact) -> Iterator[str]:
    """What is wrong with an artifact of its kind."""
    names = set(artifact.manifest.files)
    if not names:
        yield f"gives a {artifact.kind} and wrote no file under context.out"
        return
    yield from (f"{name} is a link" for name in sorted(names) if (artifact.path / name).is_symlink())
    pickles = sorted(name for name in names for pattern in PICKLES if fnmatch(Path(name).name, pattern))
    yield from (f"{name} holds pickle, which runs code when it is read: write safetensors" for name in pickles)
    if check := _CHECKS.get(artifact.kind):
        yield from check(artifact, names)


def _dataset(artifact: Artifact, names: Iterable[str]) -> Iterator[str]:
    yield from _missing("a data set", ("train.arrow", "validation.arrow", "test.arrow"), names)
    if not artifact.meta.get("labels"):
        yield "a data set names its labels: context.describe(labels=[…])"


def _checkpoint(artifact: Artifact, names: Iterable[str]) -> Iterator[str]:
    yield from _missing("a checkpoint", ("config.json", "*.safetensors", "tokenizer*"), names)


def _bundle(artifact: Artifact, names: Iterable[str]) -> Iterator[str]:
    try:
        contract = load_by_name("ftx_serving.contract:Contract").from_meta(artifact.meta)
    except (KeyError, TypeError) as error:
        yield f"a bundle's meta is a contract (ftx_serving.contract.Contract.to_meta): {error!r}"
        return
    yield from _missing("a bundle", ("tokenizer.json",), names)
    if not contract.variants:
        yield "a bundle has at least one variant"
    for variant in contract.variants:
        yield from _missing(f"the variant {variant.name}", (variant.file, *variant.files), names)


def _evaluation(artifact: Artifact, names: Iterable[str]) -> Iterator[str]:
    yield from _missing("an evaluation", ("evaluation.json",), names)
    if not {"split", "models"} <= set(artifact.manifest.metrics):
        yield "the metrics of an evaluation are `split`, `rows` and `models`"


def _missing(what: str, patterns: Iterable[str], names: Iterable[str]) -> Iterator[str]:
    for pattern in dict.fromkeys(patterns):
        if not any(fnmatch(name, pattern) for name in names):
            yield f"{what} holds {pattern}, and this one does not"


_CHECKS: Mapping[str, Callable[[Artifact, Iterable[str]], Iterator[str]]] = {
    "dataset": _dataset,
    "checkpoint": _checkpoint,
    "bundle": _bundle,
    "evaluation": _evaluation,
}
