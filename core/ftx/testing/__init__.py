"""The test kit for plugins: `pytest_plugins = ["ftx.testing"]` in a conftest.py brings the fixtures.

The fixtures are in `ftx.testing.fixtures`; `assert_step_contract` holds a step against what ftx expects of every step,
its own included. Nothing heavy, pytest included, is imported before it is used.
"""

from __future__ import annotations

from ftx.testing.contract import CLAUSES, Finding, assert_step_contract, check_step

pytest_plugins = ("ftx.testing.fixtures",)

__all__ = ["CLAUSES", "Finding", "assert_step_contract", "check_step", "pytest_plugins"]
