"""`/docs`: the OpenAPI document as one page, which fetches nothing, so that it is legible without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
summary { cursor: pointer; padding: .3rem 0; } summary code { font-weight: bold; }
pre { background: #8881; padding: .6rem; overflow: auto; } table { border-collapse: collapse; }
td { padding: .1rem .8rem .1rem 0; vertical-align: top; } :root { color-scheme: light dark; }
"""


def render(document: Mapping[str, Any]) -> str:
    """The page, as HTML."""
    info = document["info"]
    operations = "\n".join(
        _operation(method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f"<style>{STYLE}</style><h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{escape(info.get('description', ''))}</p>"
        f'<p>As a document for tools: <a href="openapi.json">openapi.json</a>.</p>{operations}</html>'
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = "".join(_parts(method, path, operation))
    summary = escape(operation.get("summary", ""))
    return f"<details><summary><code>{method} {escape(path)}</code> {summary}</summary>{parts}</details>"


def _parts(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    if parameters := operation.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
            f"<td>{'required' if each.get('required') else ''}</td><td>{escape(each.get('description', ''))}</td></tr>"
            for each in parameters
        )
        yield f"<table>{rows}</table>"
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if schema is not None:
        example = schema.get("example")
        if example is not None:
            yield f"<pre>curl -X {method} http://HOST:PORT{escape(path)} -d '{escape(json.dumps(example))}'</pre>"
        shown = {name: value for name, value in schema.items() if name != "example"}
        yield f"<p>Body</p><pre>{_json(shown)}</pre>"
    for status, response in operation.get("responses", {}).items():
        schema = response.get("content", {}).get("application/json", {}).get("schema")
        below = f"<pre>{_json(schema)}</pre>" if schema else ""
        yield f"<p>{escape(status)} {escape(response.get('description', ''))}</p>{below if status == '200' else ''}"


def _json(value: Any) -> str:
    return escape(json.dumps(value, indent=1, ensure_ascii=False))
