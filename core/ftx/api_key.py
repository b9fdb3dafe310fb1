"""The API key of a server, which settings name by its environment variable and never hold."""

from __future__ import annotations

import os

from ftx.errors import FtxError


def read_key(variable: str | None) -> str | None:
    """The API key in that environment variable. Raises `FtxError` where it is named and not set."""
    if variable is None:
        return None
    if not (key := os.environ.get(variable, "").strip()):
        raise FtxError(f"the environment variable {variable} holds no API key", f"set it: export {variable}=…")
    return key
