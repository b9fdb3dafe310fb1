"""The repository's own tests use the kit that plugins use."""

from __future__ import annotations

pytest_plugins = ["ftx.testing"]
