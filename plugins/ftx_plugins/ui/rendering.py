"""Templates to HTML. Whatever is put into one is escaped, unless it is a chart of ours."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from starlette.responses import HTMLResponse

from ftx import html_page
from ftx.errors import FtxError
from ftx.plugins import own_version
from ftx_plugins.report.page import TEMPLATES as REPORT_TEMPLATES

TEMPLATES = Path(__file__).parent / "templates"
ASSETS = {
    "base.css": (html_page.BASE_SHEET, "text/css"),
    "report.css": (REPORT_TEMPLATES / "report.css", "text/css"),
    "icon.svg": (TEMPLATES / "icon.svg", "image/svg+xml"),
    "ui.css": (TEMPLATES / "ui.css", "text/css"),
    "ui.js": (TEMPLATES / "ui.js", "text/javascript"),
}


class Pages:
    """Renders the pages of one store."""

    def __init__(self, root: Path) -> None:
        """`root` is the store's folder, which the pages name."""
        self._environment = html_page.environment(TEMPLATES)
        self._environment.globals |= {"version": own_version(), "store": str(root)}

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        return HTMLResponse(self._environment.get_template(template).render(**values), status)

    def parts(self, template: str, names: Iterable[str], value: Any) -> dict[str, str]:
        """Each macro of the template that is named, called with `value`: its HTML."""
        module = self._environment.get_template(template).module
        return {name: str(getattr(module, name)(value)) for name in names}

    def error(self, error: FtxError, status: int) -> HTMLResponse:
        return self.page("error.html", status, message=error.message, hints=error.hints)
