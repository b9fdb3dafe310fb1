"""Texts in tables of Markdown."""

from __future__ import annotations


def cell(text: str) -> str:
    """The text as it stands in a table's cell: no bar of it ends the cell, and nothing of it is markup of HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")
