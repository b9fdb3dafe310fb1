"""The page of the reference on ftx.toml, out of the tables of settings and those of the built-in steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from ftx.config import RESERVED_ENVIRONMENT, TABLES, BudgetTable, ModelTable, ProjectTable, RequiresTable
from ftx.markdown_table import cell
from ftx.plugins import PluginManager
from ftx.schema import type_name
from ftx.settings import StepConfig
from ftx.step import Step

HEAD = """\
# Configuration

`ftx.toml` has a table for each stage, and in it a sub-table for each method that needs settings of its own
(`[quantize.static]`). A key of `[quantize]` reaches every method of the stage that has it; one that none has is an
error. Paths are relative to the file. In rising order of precedence: the defaults below, the file, the environment
(`FTX_TRAIN__LEARNING_RATE=3e-5`), `--set train.learning_rate=3e-5`. `ftx plan` shows where each value is from.

`ftx steps show STEP` prints what is below for one step, those of plugins included; `ftx init --schema` writes it all as
a JSON Schema, by which editors complete and check the file.
"""


def settings_docs() -> str:
    """The whole page, as Markdown; of the built-in steps, whatever else is installed."""
    plugins = PluginManager.load(third_party=False)
    steps = sorted(plugins.steps().values(), key=lambda step: step.full_name)
    reserved = ", ".join(f"`{name}`" for name in RESERVED_ENVIRONMENT)
    parts = [HEAD, f"These variables of the environment are no settings: {reserved}.\n", "## Outside any table\n"]
    parts += [_table(ProjectTable)]
    for name, table in (("model", ModelTable), ("budget", BudgetTable), ("requires", RequiresTable)):
        parts += [f"## `[{name}]` {{#{name}}}\n", _sentence(table), _table(table)]
    for stage, methods in groupby((step for step in steps if step.stage not in TABLES), key=lambda step: step.stage):
        parts += [f"## `[{stage}]` {{#{stage}}}\n", *_stage(stage, list(methods))]
    return "\n".join(parts)


def _stage(stage: str, methods: list[Step]) -> Iterator[str]:
    default = next((step.full_name for step in methods if step.default or len(methods) == 1), None)
    if default:
        yield f"`{stage}` alone means `{default}`.\n"
    for step in methods:
        yield f"### {step.full_name} {{#{step.stage}-{step.name}}}\n"
        yield f"{step.summary[0].upper()}{step.summary[1:]}.\n"
        yield _table(step.config) if step.config.model_fields else "It has no settings.\n"


def _sentence(table: type[StepConfig]) -> str:
    said = (table.__doc__ or "").strip().partition(": ")[2]
    return f"{said[0].upper()}{said[1:]}\n"


def _table(table: type[StepConfig]) -> str:
    described = table.model_json_schema(by_alias=False).get("properties", {})
    rows = [_row(name, described[name], table) for name in table.model_fields]
    return "\n".join(["| key | type | default | |", "|---|---|---|---|", *rows, ""])


def _row(name: str, schema: Mapping[str, Any], table: type[StepConfig]) -> str:
    field = table.model_fields[name]
    default = "must be set" if field.is_required() else "" if field.default is None else f"`{_toml(field.default)}`"
    return f"| `{name}` | {cell(type_name(schema))} | {cell(default)} | {cell(field.description or '')} |"


def _toml(value: Any) -> str:
    """A default as it would stand in ftx.toml."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)
