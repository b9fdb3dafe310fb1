"""The golden examples of a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from ftx.artifacts import Artifact, Bundle
from ftx_serving.contract import GOLDEN_FILE
from ftx_serving.golden import read_golden


def test_a_text_with_a_line_separator_of_unicode_is_one_example(
    tmp_path: Path, as_artifact: Callable[..., Artifact]
) -> None:
    texts = ["one\u2028two", "next\x85line", "plain"]
    rows = [{"text": text, "logits": {"onnx-fp32": [0.0, 1.0]}} for text in texts]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / GOLDEN_FILE).write_text(lines, encoding="utf-8")
    bundle = as_artifact(tmp_path, "bundle")
    assert isinstance(bundle, Bundle)
    assert list(read_golden(bundle).texts) == texts
