"""The page of the reference on the Python API: which objects mkdocstrings is to describe."""

from __future__ import annotations

import ftx

HEAD = """\
# Python API

All that is promised is in `ftx`; what a plugin's hooks give and get is in [Hooks](../plugins.md).
"""

SECTIONS = {
    "Run": (
        "ftx.api.run",
        "ftx.api.report",
        "ftx.reporting.Report",
        "ftx.runner.RunResult",
        "ftx.runs.RunRecord",
        "ftx.scoreboard.Row",
        "ftx.api.load_checkpoint",
    ),
    "Artifacts": tuple(
        f"ftx.artifacts.{name}"
        for name in ("Artifact", "Dataset", "Checkpoint", "Bundle", "Evaluation", "LoadTest", "Manifest")
    ),
    "Settings of steps": ("ftx.settings.StepConfig", "ftx.settings.FilePath", "ftx.settings.SourcePath"),
    "Errors": ("ftx.errors.FtxError", "ftx.errors.Problem", "ftx.errors.ExitCode"),
}
IN_HOOKS = (
    "Architecture",
    "Command",
    "Context",
    "Executor",
    "Metric",
    "ModelSettings",
    "Runtime",
    "Step",
    "Translator",
)
"""What stands on the page on hooks."""


def python_docs() -> str:
    """The whole page, as Markdown with mkdocstrings' directives."""
    parts = [HEAD, f"`ftx.__version__` is `{ftx.__version__}`, `ftx.API_VERSION` is `{ftx.API_VERSION}`.\n"]
    for title, names in SECTIONS.items():
        parts += [f"## {title}\n", *(f"::: {name}\n    options:\n      heading_level: 3\n" for name in names)]
    return "\n".join(parts)
