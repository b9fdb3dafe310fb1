"""Settings that only one task has. Light."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ftx import Problem, StepConfig


def check_task(stage: str, config: StepConfig, of_task: Mapping[str, str], task: str) -> Iterator[Problem]:
    """Settings that mean nothing for `task`, and would be passed over; `of_task` names the only task of each."""
    for name, wanted in of_task.items():
        if wanted != task and getattr(config, name) != type(config).model_fields[name].default:
            hint = f"leave it out, or set the task: --set model.task={wanted}"
            yield Problem(f"{stage}.{name} is for {wanted}, and model.task is {task}", f"{stage}.{name}", (hint,))
