"""One model out of several seeds: their weights averaged, which costs no more to run than one of them.

All seeds start from the same weights, head included, and differ in the order of rows and in dropout; averages of such
models are often better than any of them. A greedy soup starts from the best seed and takes in another, best first,
only where the average gets no worse on the validation rows (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ftx.tasks import LOWER_IS_BETTER
from ftx_plugins.tasks.learning import mean_loss
from ftx_plugins.train.job import Job
from ftx_plugins.train.logits import logits_on
from ftx_plugins.train.report import Figures
from ftx_plugins.train.tokens import TokenizedSplit

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Soup:
    """What was kept: the seeds in it, and its figures on the validation rows."""

    seeds: tuple[int, ...]
    figures: Figures


def make_soup(
    model: Any,
    weights: Mapping[int, Weights],
    figures: Mapping[int, Figures],
    kind: Literal["greedy", "uniform", "best"],
    metric: str,
    evaluate: Callable[[Any], Figures],
) -> Soup:
    """Load into `model` what `kind` makes of the seeds' `weights`; `figures` are the seeds' own.

    `best` is the best seed alone; `uniform` the average of all, whether or not it is better.
    """
    sign = _sign(metric)
    ranked = rank(figures, metric)
    if kind == "uniform":
        load_average(model, [weights[seed] for seed in ranked])
        return Soup(ranked, evaluate(model))
    kept, reached = [ranked[0]], figures[ranked[0]]
    for seed in ranked[1:] if kind == "greedy" else ():
        load_average(model, [weights[one] for one in (*kept, seed)])
        tried = evaluate(model)
        if sign * tried[metric] >= sign * reached[metric]:
            kept, reached = [*kept, seed], tried
    load_average(model, [weights[seed] for seed in kept])
    return Soup(tuple(kept), reached)


def rank(figures: Mapping[int, Figures], metric: str) -> tuple[int, ...]:
    """The seeds, best first."""
    return tuple(sorted(figures, key=lambda seed: -_sign(metric) * figures[seed][metric]))


def load_average(model: Any, weights: Sequence[Weights]) -> None:
    """Give `model` the mean of the `weights`; what is no float (position numbers) is alike in all of them."""
    mean = {
        name: sum(one[name].double() for one in weights).div(len(weights)).to(value.dtype)  # type: ignore[union-attr]
        if value.is_floating_point()
        else value
        for name, value in weights[0].items()
    }
    model.load_state_dict(mean)


def figures_of(model: Any, job: Job, rows: TokenizedSplit) -> Figures:
    """The task's figures and the loss of `model` on tokenized rows."""
    logits = logits_on(model, rows, job.collator, len(job.head.labels), job.config.eval_batch_size)
    loss = mean_loss(job.scoring.task, torch.from_numpy(logits), torch.from_numpy(rows.labels))
    return {**job.figures(rows.labels, logits), "loss": float(loss)}


def _sign(metric: str) -> int:
    return -1 if metric in LOWER_IS_BETTER else 1
