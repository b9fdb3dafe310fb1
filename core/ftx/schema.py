"""JSON Schema of a step's settings, and of a whole ftx.toml with the steps that are installed.

Draft 2020-12 (https://json-schema.org/draft/2020-12). Only keywords that older drafts read alike are used outside
`$schema`, since editors (taplo, Even Better TOML) know the older ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.errors import PydanticUserError

from ftx.config import BudgetTable, ModelTable, ProjectTable, RequiresTable
from ftx.errors import FtxError
from ftx.plugins import PluginManager
from ftx.settings import StepConfig
from ftx.step import Step
from ftx.step_settings import methods_of

DRAFT = "https://json-schema.org/draft/2020-12/schema"
WRITTEN_BY = "Written by ftx init --schema, from the plugins that were installed: run it again after a change of them."

Schema = dict[str, Any]


def step_schema(step: Step, plugins: PluginManager) -> Schema:
    """The schema of a step's settings; `FtxError` where a plugin's settings have none."""
    described = _describe(step.config, step, plugins)
    return {"$schema": DRAFT, **described, "title": step.full_name, "description": step.summary}


def project_schema(plugins: PluginManager) -> tuple[Schema, list[str]]:
    """The schema of ftx.toml, and what could not be described (a plugin's stage that is left open).

    No key is required: it may also come from the environment or from `--set`.
    """
    definitions: Schema = {}
    properties: Schema = dict(_fields(ProjectTable))
    own: Mapping[str, type[StepConfig]] = {"model": ModelTable, "budget": BudgetTable, "requires": RequiresTable}
    for name, table in own.items():
        properties[name] = _table(_fields(table), (table.__doc__ or "").strip())
    gaps: list[str] = []
    for stage in sorted({step.stage for step in plugins.steps().values()} - set(own)):
        properties[stage] = _stage_table(stage, plugins, definitions, gaps)
    schema = {"$schema": DRAFT, "$comment": WRITTEN_BY, "title": "ftx.toml", **_table(properties, "A project of ftx.")}
    return (schema | {"$defs": definitions} if definitions else schema), gaps


def type_name(schema: Mapping[str, Any]) -> str:
    """A short name for a field's JSON schema, with its bounds."""
    if "anyOf" in schema:
        return " or ".join(type_name(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(repr(value) for value in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    name = str(schema.get("type", "any"))
    if name == "array":
        name = f"list of {type_name(schema.get('items', {}))}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[bound]:g}" for bound, sign in signs.items() if bound in schema]
    return name + (f" ({', '.join(bounds)})" if bounds else "")


def _stage_table(stage: str, plugins: PluginManager, definitions: Schema, gaps: list[str]) -> Schema:
    """`[stage]`: the keys of any of its methods, `method`, and a sub-table for each method."""
    methods = methods_of(stage, plugins)
    shared: dict[str, list[Schema]] = {}
    tables: Schema = {}
    is_open = False
    for name, step in sorted(methods.items()):
        try:
            described = _describe(step.config, step, plugins)
        except FtxError as error:
            gaps.append(error.message)
            is_open = True
            tables[name] = {"type": "object", "description": step.summary}
            continue
        definitions |= described.pop("$defs", {})
        for key, field in described["properties"].items():
            shared.setdefault(key, []).append(field)
        tables[name] = _table(described["properties"], f"Settings of {step.full_name} alone: {step.summary}")
    properties = {key: _any_of(fields) for key, fields in shared.items()}
    for name, table in tables.items():
        # `name` may be both a key of some method and a method: a value is the one, a table the other.
        properties[name] = _any_of([properties[name], table]) if name in properties else table
    chosen = {"enum": sorted(methods), "description": f"What the bare name {stage} means"}
    properties["method"] = _any_of([properties["method"], chosen]) if "method" in properties else chosen
    return _table(properties, f"Settings of the stage {stage}.", is_open=is_open)


def _table(properties: Mapping[str, Any], description: str, *, is_open: bool = False) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "additionalProperties": is_open,
    }


def _fields(table: type[StepConfig]) -> Schema:
    properties: Schema = _for_toml(table.model_json_schema())["properties"]
    return properties


def _describe(config: type[StepConfig], step: Step, plugins: PluginManager) -> Schema:
    """The schema of a configuration; its definitions carry the step's name, so that those of two steps never meet."""
    prefix = f"{step.full_name}."
    try:
        schema = config.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    except PydanticUserError as error:
        message = f"the settings of {step.full_name} ({plugins.origin(step)}) have no JSON Schema: {error.message}"
        raise FtxError(message, "report it to those who wrote the plugin") from error
    if "$defs" in schema:
        schema["$defs"] = {prefix + name: definition for name, definition in schema["$defs"].items()}
    schema.setdefault("properties", {})
    described: Schema = _for_toml(schema)
    return described


def _for_toml(schema: Any) -> Any:
    """Without null, which TOML has not, and without the titles that pydantic makes of the names."""
    if isinstance(schema, list):
        return [_for_toml(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result: Schema = {}
    for keyword, value in schema.items():
        if keyword in ("properties", "$defs"):
            result[keyword] = {name: _for_toml(inner) for name, inner in value.items()}
        elif keyword in ("default", "enum", "const", "examples"):
            result |= {keyword: value} if value is not None else {}
        elif keyword != "title":
            result[keyword] = _for_toml(value)
    if "anyOf" in result:
        options = [option for option in result.pop("anyOf") if option != {"type": "null"}]
        result = {**options[0], **result} if len(options) == 1 else {**result, "anyOf": options}
    return result


def _any_of(schemas: Iterable[Schema]) -> Schema:
    """What any of the schemas allows; a description that they share stands once, outside."""
    distinct: list[Schema] = []
    for schema in schemas:
        if schema not in distinct:
            distinct.append(schema)
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}
