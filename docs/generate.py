"""Pages of the reference, made out of the code whenever the site is built; a hook of mkdocs."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from ftx.command_docs import command_docs
from ftx.python_docs import python_docs
from ftx.settings_docs import settings_docs

PAGES = {
    "reference/commands.md": command_docs,
    "reference/configuration.md": settings_docs,
    "reference/python.md": python_docs,
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages to those that were found in docs/."""
    for path, write in PAGES.items():
        files.append(File.generated(config, path, content=write()))
    return files
