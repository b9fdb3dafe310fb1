"""OpenVINO reports its use to its makers, from its import on; ftx sends nothing of a user's."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def without_telemetry() -> Iterator[None]:
    """Within the block OpenVINO takes this process for a job of a CI, where it reports nothing.

    The first import of `openvino` decides for the process, so it stands in such a block; each conversion asks again.
    """
    before = os.environ.get("CI")
    os.environ["CI"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["CI"]
        else:
            os.environ["CI"] = before
