"""What an address or a form names, looked up."""

from __future__ import annotations

from ftx.errors import FtxError
from ftx.runs import RunRecord, find_run
from ftx.store import Store


class NotThere(FtxError):
    """There is nothing of that name: the page is answered with 404."""


def run_named(identity: str, store: Store) -> RunRecord:
    """`NotThere` unless there is such a run: what is asked for is the name of no other folder."""
    record = find_run(identity, store)
    if record is None:
        raise no_run(identity)
    return record


def no_run(identity: str) -> NotThere:
    return NotThere(f"there is no run {identity[:40]}", "see the list of runs")
