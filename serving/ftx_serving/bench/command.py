"""`ftx bench` on a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ftx.artifacts import Bundle
from ftx.plugins import PluginManager
from ftx_serving.bench.candidates import find_candidates
from ftx_serving.bench.choosing import choose
from ftx_serving.bench.measure import measure
from ftx_serving.bench.race import Prefer, Terms
from ftx_serving.bench.texts import Columns, read_texts
from ftx_serving.choice import Choice, describe_machine
from ftx_serving.contract import Contract
from ftx_serving.golden import read_golden


def bench(
    bundle: Bundle,
    plugins: PluginManager,
    *,
    file: Path | None,
    of_data: Callable[[], Columns] | None,
    seconds: float,
    prefer: Prefer,
    batch_size: int,
    variants: Sequence[str],
    threads: Sequence[int],
    progress: Callable[[float, float], None],
) -> dict[str, Any]:
    """The measurement as JSON values, the fastest candidate first.

    Texts are those of `file`, or else what `of_data` reads (the bundle's data set), or else the golden examples.
    """
    contract = Contract.from_meta(bundle.meta)
    if file is not None:
        source, (texts, pairs) = str(file), read_texts(file, pair=contract.pair)
    elif of_data is not None:
        source, (texts, pairs) = "the data set's validation split", of_data()
    else:
        golden = read_golden(bundle)
        source, texts, pairs = "golden examples", golden.texts, golden.pairs
    candidates, skipped = find_candidates(bundle, plugins.runtimes(), variants=variants, threads=threads)
    found = measure(bundle, candidates, skipped, texts, pairs, Terms(seconds, prefer, batch_size), progress)
    chosen, refused = choose(found, {})
    document = found.to_dict()
    for candidate, each in zip(document["candidates"], found.measured, strict=True):
        candidate["fastest"] = each is chosen
    earlier = Choice.from_meta(bundle.meta)
    return {
        "bundle": bundle.digest,
        "machine": describe_machine("cpu"),
        "source": source,
        **document,
        "refused": refused,
        "chosen_before": None if earlier is None else vars(earlier),
    }
