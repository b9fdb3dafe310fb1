"""What a comparison of two models says, in words; `found` is what `ftx_plugins.evaluate.compare` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sentence(found: Mapping[str, Any]) -> str:
    """Whether the second model is better than the first, worse, or whether the rows cannot tell."""
    a, b = (f"{found[side]['reference']} ({found[side]['model']})" for side in ("a", "b"))
    return {
        "better": f"B is better than A: {b} than {a}",
        "worse": f"B is worse than A: {b} than {a}",
        "cannot tell": f"cannot tell whether {b} is better or worse than {a}",
    }[found["verdict"]]


def what_would_tell(found: Mapping[str, Any]) -> list[str]:
    """How many more rows would tell, and what these tell; nothing where they told."""
    if found["verdict"] != "cannot tell":
        return []
    if found["detectable"] is None:
        return ["both are right on the same rows: no number of rows like these would tell"]
    smallest = f"{found['rows']} rows tell differences of {found['detectable']:.4f} and more, four times in five"
    if found["more_rows"] is None:
        return [f"{smallest}; here there is none"]
    return [
        f"about {found['more_rows']} more rows would tell, if the difference is as large as it seems here",
        smallest,
    ]
