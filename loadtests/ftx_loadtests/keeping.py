"""What stays of a load test: the raw samples, and everything that was made of them."""

from __future__ import annotations

import json
from pathlib import Path

from ftx_loadtests.outcome import Result

SAMPLES, RESULT = "samples.npz", "result.json"


def keep(result: Result, folder: Path) -> None:
    """Write them into `folder`, which must be there."""
    result.measurement.samples.save(folder / SAMPLES)
    document = json.dumps(result.as_json(), indent=1, ensure_ascii=False)
    (folder / RESULT).write_text(document + "\n", encoding="utf-8")
