"""A bundle's model card: `README.md` with the metadata that the Hugging Face hub reads.

https://huggingface.co/docs/hub/model-cards
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ftx.markdown_table import cell
from ftx.step import ModelSettings
from ftx.tasks import MULTI_LABEL, REGRESSION, TASKS, TEXT_CLASSIFICATION, TOKEN_CLASSIFICATION

CARD_FILE = "README.md"
METRICS = {
    "accuracy": ("accuracy", "Accuracy"),
    "f1_macro": ("f1", "Macro F1"),
    "f1_micro": ("f1", "Micro F1"),
    "rmse": ("rmse", "RMSE"),
    "pearson": ("pearsonr", "Pearson correlation"),
    "entity_f1": ("f1", "Entity F1"),
    "token_accuracy": ("accuracy", "Token accuracy"),
}
"""Name in an evaluation -> type and name on the hub."""
HUB_TASK = TEXT_CLASSIFICATION
"""What the hub calls all tasks with one head on top of the whole text."""
MEANINGS = {
    TEXT_CLASSIFICATION: (
        "Sorts a {text} into {outputs} labels.",
        "A text of another kind gets one of the labels too: check on rows of your own before you rely on it. Scores "
        "are probabilities; they say how often such an answer was right only where a temperature was fitted.",
    ),
    MULTI_LABEL: (
        "Gives a {text} any number of {outputs} labels, perhaps none.",
        "A text of another kind may get some of the labels too: check on rows of your own before you rely on it. Each "
        "score is a probability of its own, and a label is predicted where its score reaches its threshold.",
    ),
    REGRESSION: (
        "Gives a {text} a number.",
        "A text of another kind gets a number too: check on rows of your own before you rely on it.",
    ),
    TOKEN_CLASSIFICATION: (
        "Finds entities in a {text}, each with its place in characters, by {outputs} tags of words.",
        "In a text of another kind it may find what is none, or nothing: check on rows of your own before you rely on "
        "it. A score is the mean probability of the tags of an entity's words.",
    ),
}
"""Task -> what the model does, and what its answers are worth."""
Json = Mapping[str, Any]


def write_card(folder: Path, meta: Json, model: ModelSettings, evaluation: Json | None = None) -> None:
    """Write the card of the bundle in `folder` whose `meta` this is.

    `model` is the table `[model]`; the name of a folder is not told. `evaluation` are the metrics of an evaluation of
    the bundle, where there has been one: a card says nothing that was not measured. The same facts give the same bytes.
    """
    measured = evaluation or {}
    base = model.name if model.on_hub else None  # a folder of this machine says nothing to others
    data = ModelCardData(
        pipeline_tag=_hub_task(meta),
        library_name="ftx",
        base_model=base,
        tags=["ftx", *dict.fromkeys(variant["format"] for variant in meta["variants"])],
        # The hub takes results under the name of a model only.
        model_name=_title(meta) if measured else None,
        eval_results=list(_results(meta, measured)) or None,
    )
    lines = ["---", data.to_yaml().strip(), "---", "", f"# {_text(_title(meta))}", "", *_body(meta, measured, base)]
    (folder / CARD_FILE).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _hub_task(meta: Json) -> str:
    return TOKEN_CLASSIFICATION if meta["task"] == TOKEN_CLASSIFICATION else HUB_TASK


def _title(meta: Json) -> str:
    labels = meta["labels"]
    shown = ", ".join(labels[:6]) + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")
    return f"{meta['task']}: {shown}"


def _results(meta: Json, measured: Json) -> Iterator[EvalResult]:
    for model in measured.get("models", ()):
        if not model.get("variant"):
            continue
        for name in _measures(meta):
            kind, title = METRICS[name]
            if isinstance(model.get(name), int | float):
                yield EvalResult(
                    task_type=_hub_task(meta),
                    dataset_type="private",
                    dataset_name="the training data's held-out rows",
                    dataset_split=measured["split"],
                    metric_type=kind,
                    metric_name=f"{title}, {model['variant']}",
                    metric_value=round(float(model[name]), 4),
                )


def _body(meta: Json, measured: Json, base: str | None) -> Iterator[str]:
    pair = "pair of texts" if meta.get("pair") else "text"
    what, worth = MEANINGS[meta["task"]]
    yield what.format(text=pair, outputs=len(meta["labels"]))
    yield "Exported by ftx, each variant checked against the model that it was made from."
    yield from ("", "## Intended use", "")
    yield f"Texts like those it was trained on, of at most {meta['max_length']} tokens; longer ones are cut."
    yield worth
    yield from ("", "```sh", 'ftx predict FOLDER "some text"', "ftx bench FOLDER", "```")
    if meta["task"] != REGRESSION:
        yield from ("", "## Labels", "")
        yield from (f"{place}. {_text(label)}" for place, label in enumerate(meta["labels"]))
    yield from ("", "## Variants", "")
    yield from _table(
        ("variant", "runtime", "MB", "largest difference of a logit", "label independent of its batch", "temperature"),
        [_variant(each) for each in meta["variants"]],
    )
    if choice := meta.get("choice"):
        where = choice["machine"]
        yield from ("", f"Chosen by measurement: `{choice['variant']}` with {choice['runtime']},")
        yield f"{choice['threads']} threads, on {where['processor']}, {where['cores']} cores."
    if measured.get("models"):
        yield from ("", "## Evaluation", "")
        yield f"{measured['rows']} rows of the {measured['split']} split; in brackets 95% intervals."
        yield ""
        titles = (
            "variant",
            *(METRICS[name][1] for name in _measures(meta)),
            "predictions that are not the reference’s",
        )
        yield from _table(titles, [_evaluated(meta, each) for each in measured["models"] if each.get("variant")])
    yield from ("", "## Provenance", "")
    yield from _provenance(meta, base)


def _variant(variant: Json) -> tuple[str, ...]:
    parity = variant.get("parity", {})
    difference = f"{parity['max_difference']:.2g} from {parity.get('against', 'torch')}" if parity else "–"
    size = f"{variant['size_bytes'] / 1e6:.1f}"
    independent = "yes" if variant["batch_invariant"] else "no"
    return (variant["name"], variant["runtime"], size, difference, independent, f"{variant.get('temperature', 1):.3g}")


def _measures(meta: Json) -> tuple[str, ...]:
    """The figures that are told: the task's first two."""
    return TASKS[meta["task"]].figures[:2]


def _evaluated(meta: Json, model: Json) -> tuple[str, ...]:
    intervals = model.get("intervals", {})
    flips = model.get("flip_rate")
    quality = (_figure(model.get(name), intervals.get(name)) for name in _measures(meta))
    return (model["variant"], *quality, "–" if flips is None else f"{flips:.2%}")


def _figure(value: float | None, ends: Sequence[float] | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f} [{ends[0]:.4f}, {ends[1]:.4f}]" if ends else f"{value:.4f}"


def _provenance(meta: Json, base: str | None) -> Iterator[str]:
    lineage = meta.get("lineage", {})
    named = (("base model", meta.get("base")), ("model", lineage.get("model")), ("data", lineage.get("data")))
    for name, digest in named:
        if digest:
            yield f"- {name}: {f'{base}, ' if name == 'base model' and base else ''}sha256 `{digest}`"
    if recipe := meta.get("recipe"):
        yield f"- quantization: {recipe['scheme']}, {recipe.get('activations', '')} × {recipe.get('weights', '')}"
    yield "- " + ", ".join(f"{name} {version}" for name, version in meta.get("versions", {}).items())


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "|" + "---|" * len(titles)
    yield from (f"| {' | '.join(map(_text, row))} |" for row in rows)


def _text(text: str) -> str:
    """On one line, and no end of a table's cell."""
    return cell(" ".join(str(text).split()))
