"""Writes docs/plugins.md out of the hookspecs and the types: `python -m ftx.plugin_docs > docs/plugins.md`.

A test compares the file with what this prints, so that it cannot fall behind.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from ftx import hookspecs, step
from ftx.api_version import API_VERSION, RENAMED, field_status, hook_status
from ftx.plugins import SLOW_IMPORT_MS

TYPES = (
    step.Step,
    step.Metric,
    step.Runtime,
    step.Command,
    step.Executor,
    step.Architecture,
    step.Translator,
    step.Context,
)

HEAD = f"""\
<!-- Written by `python -m ftx.plugin_docs > docs/plugins.md` out of core/ftx/hookspecs.py and step.py: edit those. -->

# Plugins

A plugin is a module with hooks, in any installed package that names it in the entry-point group `ftx`:

```toml
[project.entry-points.ftx]
cluster = "ftx_cluster.hooks"
```

Every built-in step is added by the same hooks. The module is imported by every command, so it imports nothing heavy:
what needs torch stands in another module, behind an import string (`run = "ftx_cluster.kmeans:run"`).

`ftx plugins` lists what is installed, what each plugin adds, and what is broken, with the line that repairs it. A
plugin whose import takes more than {SLOW_IMPORT_MS} ms is named with its milliseconds.

## What keeps plugins apart

- Whatever a plugin does while it loads, ftx and the other plugins go on. It matters only to a plan that needs it.
- Two plugins that register the same name are an error that names both. Names of ftx's own are reserved.
- The distribution's name and version are in the key of each of its steps: after an upgrade they run again. So do the
  evaluations, if the plugin adds a metric.
- What a plugin made is still shown by `ftx show` and `ftx runs` after it was uninstalled.
- An observer's exception is logged, and never fails a run. A metric that fails costs its own figure alone.

| setting | effect |
|---|---|
| `ftx --no-plugins …` | no plugin of a third party loads |
| `FTX_PLUGINS=a,b` | only these load, by the name of the plugin or of its distribution; empty: none |
| `FTX_PLUGINS=-a` | all but `a` |
| `FTX_STRICT_PLUGINS=1` | a broken plugin, or two that clash, is an error |
| `[requires] plugins = ["a"]` in ftx.toml | a plan without `a` is refused |

## Versions

`ftx.API_VERSION` is `{API_VERSION}`: the version of all that stands below. It counts apart from ftx's own. What is
*stable* stays through all minor versions, save that it may be renamed: the old name then works for one minor version,
with a `DeprecationWarning` that names the new one (`ftx plugins` shows it too), and is an error that names it after
that. What is *provisional* may change with any version.
"""


def plugin_docs() -> str:
    """The whole of docs/plugins.md."""
    hooks = [(name, value) for name, value in vars(hookspecs).items() if name.startswith("ftx_")]
    parts = [HEAD, _renamed(), "## Hooks\n", _table_of_hooks(hooks)]
    parts += [_hook(name, value) for name, value in hooks]
    parts += ["## What hooks give, and what steps get\n", *(_type(each) for each in TYPES)]
    return "\n".join(parts)


def _renamed() -> str:
    if not RENAMED:
        return "Nothing has been renamed yet.\n"
    rows = [
        f"| `{_place(entry.owner)}{entry.old}` | `{_place(entry.owner)}{entry.new}` | {entry.since} |"
        for entry in RENAMED
    ]
    return "\n".join(["| old name | new name | since |", "|---|---|---|", *rows, ""])


def _place(owner: str) -> str:
    return f"{owner}." if owner else ""


def _table_of_hooks(hooks: list[tuple[str, FunctionType]]) -> str:
    rows = [f"| [`{name}`](#{name}) | {hook_status(name)} | {_summary(value)} |" for name, value in hooks]
    return "\n".join(["| hook | | |", "|---|---|---|", *rows, ""])


def _summary(hook: FunctionType) -> str:
    return (inspect.getdoc(hook) or "").splitlines()[0]


def _hook(name: str, hook: FunctionType) -> str:
    text, _, example = (inspect.getdoc(hook) or "").partition("\nExample:\n")
    code = textwrap.dedent(example).strip()
    return (
        f"### {name}\n\n`{name}{_signature(hook)}`, {hook_status(name)}\n\n{text.strip()}\n\n```python\n{code}\n```\n"
    )


def _signature(function: FunctionType) -> str:
    """As it is written: annotations, which are strings here, without their quotes."""
    return re.sub(r"'([A-Za-z][^']*)'", r"\1", str(inspect.signature(function)))


def _type(kind: type[Any]) -> str:
    lines = [
        f"### {kind.__name__}\n",
        f"{inspect.getdoc(kind)}\n",
        "| field | type | default | | |",
        "|---|---|---|---|---|",
    ]
    told = dict(_attribute_docs(kind))
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for field in fields.values():
        if field.name.startswith("_"):
            continue
        status = field_status(kind.__name__, field.name)
        annotation = str(field.type).replace("|", "\\|")
        lines.append(f"| `{field.name}` | `{annotation}` | {_default(field)} | {status} | {told.get(field.name, '')} |")
    for name, method in vars(kind).items():
        if inspect.isfunction(method) and not name.startswith("_") and name not in fields:
            signature = _signature(method).replace("(self, ", "(")
            status = field_status(kind.__name__, name)
            lines.append(f"\n`{name}{signature}`, {status}: {inspect.getdoc(method)}")
    return "\n".join([*lines, ""])


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING and not callable(field.default):
        return f"`{field.default!r}`"
    return "must be given" if field.default_factory is dataclasses.MISSING and not callable(field.default) else ""


def _attribute_docs(kind: type[Any]) -> Iterator[tuple[str, str]]:
    """Field -> the string that stands behind it in the source, on one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and is_text:
            yield field.target.id, " ".join(inspect.cleandoc(str(ast.literal_eval(after.value))).split())  # type: ignore[attr-defined]


if __name__ == "__main__":
    print(plugin_docs(), end="")
