"""A page as one file of HTML: style, script and charts inside it, nothing fetched, every text escaped."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ftx.plugins import own_version

BASE_SHEET = Path(__file__).with_suffix(".css")


def environment(templates: Path) -> Environment:
    """Whatever is put into one of the templates is escaped, unless it is markup of ours."""
    return Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(templates: Path, name: str, **values: Any) -> str:
    """The template NAME.html with NAME.css, behind the sheet that all pages share, and NAME.js; and our version."""
    sheets = [path.read_text(encoding="utf-8") for path in (BASE_SHEET, templates / f"{name}.css")]
    script = (templates / f"{name}.js").read_text(encoding="utf-8")
    return (
        environment(templates)
        .get_template(f"{name}.html")
        .render(
            **values,
            style=Markup("\n".join(sheets)),  # ours: no user's text is in it
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            version=own_version(),
        )
    )
