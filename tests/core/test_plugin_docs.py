from __future__ import annotations

import re
from pathlib import Path

import pytest

from ftx import hookspecs
from ftx.plugin_docs import TYPES, plugin_docs

ROOT = Path(__file__).parents[2]
HOOKS = [name for name in vars(hookspecs) if name.startswith("ftx_")]


def test_the_page_on_plugins_is_what_the_hookspecs_say():
    written = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert written == plugin_docs(), "write it again: python -m ftx.plugin_docs > docs/plugins.md"


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_on_the_page_with_its_status_and_its_example(hook):
    section = plugin_docs().split(f"\n### {hook}\n")[1].split("\n### ")[0]
    assert re.search(rf"^`{hook}\(.*\) -> .*`, (stable|provisional)$", section, re.MULTILINE)
    assert "```python\nfrom ftx import" in section
    assert f"def {hook}(" in section


def test_every_field_of_every_type_is_on_the_page():
    import dataclasses

    page = plugin_docs()
    for kind in TYPES:
        section = page.split(f"\n### {kind.__name__}\n")[1].split("\n### ")[0]
        for field in dataclasses.fields(kind):
            assert f"| `{field.name}` |" in section


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_tested_by_a_plugin_that_implements_it(hook):
    """Beside the tests of examples: some test's plugin has the hook."""
    own = {"test_hookspecs.py", "test_plugin_docs.py"}
    tests = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py") if path.name not in own]
    assert any(f"def {hook}(" in text or f'"{hook}"' in text for text in tests), f"no test has a plugin with {hook}"
