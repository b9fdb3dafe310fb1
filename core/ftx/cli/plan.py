"""`ftx plan`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape

from ftx.artifacts import Artifact
from ftx.cli.completing import complete_steps
from ftx.cli.options import config_option, json_option, load_plugins, print_json, read_config, set_option
from ftx.errors import FtxError
from ftx.plan import Plan, step_key
from ftx.planner import make_plan
from ftx.store import Store


@click.command()
@click.argument("steps", nargs=-1, shell_complete=complete_steps)
@config_option
@set_option
@json_option
@click.pass_context
def plan(
    context: click.Context, steps: tuple[str, ...], config_path: Path | None, settings: tuple[str, ...], as_json: bool
) -> None:
    """Show what ftx run STEPS would do: the steps with their inputs, each setting with its source, and what is a hit.

    Every problem is reported at once, and nothing is run.
    """
    made = make_plan(steps, read_config(config_path, settings), load_plugins(context))
    states = list(_states(made, Store(made.store)))
    if as_json:
        print_json(_as_json(made, states))
    else:
        _print(made, states)


def _states(plan: Plan, store: Store) -> Iterator[str]:
    """For each step `hit`, `to do`, or `depends` (on what a step before it will make)."""
    made: dict[str, Artifact] = dict(plan.given_artifacts(store))
    for planned in plan.steps:
        if not set(planned.inputs.values()) <= made.keys():
            yield "depends"
            continue
        inputs = {name: made[producer] for name, producer in planned.inputs.items()}
        record = store.find(step_key(planned, inputs, plan, store)) if planned.step.cached else None
        try:
            if record is not None and record.digest:
                made[planned.id] = store.open(record.digest)
        except FtxError:  # gone or damaged: it will be made again
            record = None
        yield "to do" if record is None else "hit"


def _as_json(plan: Plan, states: list[str]) -> dict[str, Any]:
    document = plan.to_json()
    steps = [step | {"state": state} for step, state in zip(document["steps"], states, strict=True)]
    return {"words": plan.words, "config": plan.config_path, "store": plan.store, **document, "steps": steps}


def _print(plan: Plan, states: list[str]) -> None:
    console = Console(highlight=False)
    budget = ", ".join(
        f"{name} {str(limit).lower() if isinstance(limit, bool) else format(limit, 'g')}"
        for name, limit in plan.budget.limits().items()
    )
    console.print(
        escape(f"model {plan.model.name}, seed {plan.seed}, device {plan.device}, store {plan.store}"), soft_wrap=True
    )
    console.print(escape(f"budget: {budget or 'none set, so nothing is gated'}"))
    for message in plan.warnings:
        console.print(escape(f"warning: {message}"), style="yellow")
    for place, (planned, state) in enumerate(zip(plan.steps, states, strict=True), 1):
        inputs = ", ".join(f"{name} from {producer}" for name, producer in planned.inputs.items())
        added = " (added)" if planned.added else ""
        console.print(escape(f"\n[{place}] {planned.id}{added}: {planned.step.summary}"), style="bold", soft_wrap=True)
        words = {"hit": "a hit", "to do": "to do", "depends": "depends on what comes before"}
        console.print(escape(f"    {words[state]}" + (f"; {inputs}" if inputs else "")), soft_wrap=True)
        for name, setting in planned.settings().items():
            style = "dim" if setting["source"] == "default" else ""
            line = f"    {name} = {setting['value']!r}  ({setting['source']})"
            console.print(escape(line), style=style or None, soft_wrap=True)
