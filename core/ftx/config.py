"""ftx.toml, the environment and `--set`, merged with each value's source; and their check against typed settings.

Precedence: defaults < file < environment (`FTX_TRAIN__LEARNING_RATE`) < `--set train.learning_rate=3e-5`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field, ValidationError
from pydantic.fields import FieldInfo

from ftx.errors import FtxError, PlanError, Problem
from ftx.runs import find_artifact
from ftx.settings import InputPath, StepConfig
from ftx.sources import PACKAGE, resolve_path
from ftx.store import Store

DEFAULT_FILE = "ftx.toml"
DEFAULT_STORE = ".ftx"
TABLES = ("model", "budget", "requires")
"""The tables that belong to no stage."""
RESERVED_ENVIRONMENT = ("FTX_PLUGINS", "FTX_STRICT_PLUGINS", "FTX_CONFIG", "FTX_DEBUG")

Task = Literal["text-classification", "multi-label-classification", "regression", "token-classification"]
Share = Annotated[float, Field(ge=0, le=1)]


class ProjectTable(StepConfig):
    """Settings outside any table."""

    seed: int = Field(0, ge=0, lt=2**32, description="Seed of every random choice")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="Where steps compute; auto: cuda where there is one"
    )
    store: str = Field(DEFAULT_STORE, description="Folder of the store, relative to ftx.toml")


class ModelTable(StepConfig):
    """`[model]`: the pretrained encoder."""

    name: str = Field(description="A folder, pkg:package/path, or an id on the hub")
    task: Task = Field("text-classification", description="What the model is for")
    revision: str = Field("main", description="Branch, tag or commit on the hub")
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model: only if you read it")


class BudgetTable(StepConfig):
    """`[budget]`: what a run may lose against the reference; what is not set is not gated."""

    accuracy_drop: Share | None = Field(None, description="Accuracy lost, absolute: 0.01 is one point")
    f1_macro_drop: Share | None = Field(None, description="Macro F1 lost, absolute")
    metric_drop: Annotated[float, Field(ge=0)] | None = Field(
        None,
        description="What the task's own metric may get worse by, absolute: f1_macro (text-classification), f1_micro "
        "(multi-label-classification), rmse (regression, in units of the target)",
    )
    flip_rate: Share | None = Field(None, description="Share of rows whose prediction changes")
    latency_p95_ms: Annotated[float, Field(gt=0)] | None = Field(
        None, description="95th percentile of a bundle's latency at batch 1, milliseconds"
    )
    size_mb: Annotated[float, Field(gt=0)] | None = Field(None, description="Size of the variant on disk, megabytes")
    batch_invariant: bool | None = Field(
        None, description="Whether a text's label must not depend on the texts that share its batch, nor on padding"
    )

    def limits(self) -> dict[str, Any]:
        """The limits that are set."""
        return {name: limit for name, limit in self.model_dump().items() if limit is not None}


class RequiresTable(StepConfig):
    """`[requires]`: what must be installed for this project."""

    plugins: tuple[str, ...] = Field((), description="Names of plugins that must be there and whole")


Table = TypeVar("Table", bound=StepConfig)


@dataclass(frozen=True)
class Config:
    """The merged, not yet validated values, each with its source."""

    root: Path
    """The folder that paths are relative to."""
    path: Path | None
    values: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    """`train.learning_rate` -> `ftx.toml`, an environment variable, or `--set`."""

    def table(self, name: str) -> Mapping[str, Any]:
        value = self.values.get(name, {})
        return value if isinstance(value, Mapping) else {}

    def top_level(self) -> Mapping[str, Any]:
        """The values outside any table."""
        return {name: value for name, value in self.values.items() if not isinstance(value, Mapping)}


def load_config(
    path: Path | None = None, *, settings: Iterable[str] = (), environment: Mapping[str, str] | None = None
) -> Config:
    """Read ftx.toml (`path`, or the one in this folder, if any), the environment, and `KEY=VALUE` settings.

    Raises `FtxError` for a file that is missing or no TOML, and for a setting without `=`.
    """
    if path is None and Path(DEFAULT_FILE).exists():
        path = Path(DEFAULT_FILE)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if path is not None:
        _merge(values, sources, _read_toml(path), path.name)
    for name, text in sorted((environment or {}).items()):
        if name.startswith("FTX_") and name not in RESERVED_ENVIRONMENT and _is_setting(name):
            _set(values, sources, name.removeprefix("FTX_").lower().split("__"), parse_value(text), name)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise FtxError(f"--set {setting}: write KEY=VALUE", "for example: --set train.learning_rate=3e-5")
        _set(values, sources, key.strip().split("."), parse_value(text.strip()), "--set")
    root = path.resolve().parent if path is not None else Path.cwd()
    return Config(root, path.resolve() if path is not None else None, values, sources)


def open_store(config: Config) -> Store:
    """The project's store; `PlanError` where the settings that place it are wrong."""
    project, problems = validate(ProjectTable, {**config.top_level()}, config.sources, "")
    if project is None:
        raise PlanError(problems)
    return Store((config.root / Path(project.store).expanduser()).resolve())


def parse_value(text: str) -> Any:
    """A TOML value; what does not parse as one is a string."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if list(parsed) == ["value"] else text


def validate(
    kind: type[Table], values: Mapping[str, Any], sources: Mapping[str, str], where: str, known: Sequence[str] = ()
) -> tuple[Table | None, list[Problem]]:
    """`values` as settings of `kind`, or every problem with them. `known` adds names for the did-you-mean."""
    try:
        return kind(**{name: _frozen(value) for name, value in values.items()}), []
    except ValidationError as error:
        names = [*kind.model_fields, *known]
        return None, [_problem(kind, details, sources, where, names) for details in error.errors()]


def resolve_paths(
    kind: type[StepConfig], values: Mapping[str, Any], root: Path, where: str, store: Store
) -> tuple[dict[str, Any], list[Problem]]:
    """The values with each path made absolute, and each REF of a model; what is not there, as problems."""
    resolved, problems = dict(values), []
    for name, marker in input_paths(kind):
        if isinstance(value := values.get(name), str):
            try:
                found = _find_model(value, root, store) if marker.model else resolve_path(value, root, hub=marker.hub)
                resolved[name] = str(found)
            except FtxError as error:
                problems.append(Problem(error.message, f"{where}.{name}", error.hints))
    return resolved, problems


def _find_model(text: str, root: Path, store: Store) -> Path:
    """The folder of the model that `text` names: a path, or a REF. A path that is there comes first."""
    try:
        return Path(resolve_path(text, root))
    except FtxError:
        if text.startswith(PACKAGE):
            raise
    return find_artifact(text, store).path


def input_paths(kind: type[StepConfig]) -> Iterator[tuple[str, InputPath]]:
    """The fields that name files, with their markers."""
    for name, info in kind.model_fields.items():
        for marker in _markers(info):
            yield name, marker


def unknown_name(name: str, known: Iterable[str], where: str = "") -> Problem:
    """The problem of a name that is not known, with the nearest that is."""
    names = sorted(set(known))
    prefix = f"{where}." if where else ""
    if name in names:
        return Problem(f"{prefix}{name} is a table, not a value", "", (f"set one of its keys: {prefix}{name}.KEY",))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(names)}"
    show = (
        f"see what there is: ftx steps show {where.replace('.', ':')}"
        if where and where not in TABLES
        else "see what there is: ftx steps"
    )
    return Problem(f"unknown setting {prefix}{name} ({hint})", "", (show,))


def _markers(info: FieldInfo) -> Iterator[InputPath]:
    yield from (item for item in info.metadata if isinstance(item, InputPath))
    for argument in get_args(info.annotation):
        yield from (item for item in getattr(argument, "__metadata__", ()) if isinstance(item, InputPath))


def _problem(
    kind: type[StepConfig], details: Any, sources: Mapping[str, str], where: str, names: Sequence[str]
) -> Problem:
    location = [str(part) for part in details["loc"]]
    dotted = ".".join([where, *location]) if where else ".".join(location)
    source = sources.get(f"{where}.{location[0]}" if where else location[0], "") if location else ""
    origin = f" ({source})" if source else ""
    if details["type"] == "extra_forbidden":
        problem = unknown_name(location[-1], names, where)
        return Problem(problem.message, source, problem.hints)
    if details["type"] == "missing":
        return Problem(f"{dotted} is not set", "", (f"set it: --set {dotted}=…, or in {DEFAULT_FILE}",))
    field = kind.model_fields.get(location[0]) if location else None
    hints = (f"{dotted} is: {field.description}",) if field and field.description else ()
    said = details["msg"].removeprefix("Value error, ")
    return Problem(f"{dotted} = {details['input']!r}{origin}: {said[0].lower()}{said[1:]}", "", hints)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FtxError(f"{path} does not exist", "write one: ftx init", "or name another: --config FILE") from None
    except IsADirectoryError:
        raise FtxError(f"{path} is a folder", f"name the file: --config {path / DEFAULT_FILE}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FtxError(f"{path} is not TOML: {error}", "see https://toml.io for the syntax") from None


def _is_setting(name: str) -> bool:
    return "__" in name or name.removeprefix("FTX_").lower() in ProjectTable.model_fields


def _merge(values: dict[str, Any], sources: dict[str, str], new: Mapping[str, Any], source: str) -> None:
    for path, value in _leaves(new):
        _set(values, sources, path, value, source)


def _leaves(table: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*prefix, name))
        else:
            yield (*prefix, name), value


def _set(values: dict[str, Any], sources: dict[str, str], path: Sequence[str], value: Any, source: str) -> None:
    table = values
    for name in path[:-1]:
        nested = table.setdefault(name, {})
        if not isinstance(nested, dict):
            raise FtxError(f"{'.'.join(path)} ({source}): {name} is a value, not a table")
        table = nested
    table[path[-1]] = value
    sources[".".join(path)] = source


def _frozen(value: Any) -> Any:
    """Arrays as tuples, as frozen settings hold them."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
