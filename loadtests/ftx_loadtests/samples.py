"""The raw samples of a load test: one row for each request, in the order of its schedule.

Everything that a load test reports is computed from these, so nothing here is rounded, averaged or thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ftx.errors import FtxError


class Failure(IntEnum):
    """Why a request counts as failed. The numbers are what files hold: never renumber them."""

    NONE = 0
    TIMEOUT = 1  # no complete answer within the request's time
    CONNECTION = 2  # refused, reset, closed half-way, TLS
    STATUS = 3  # an answer with a status other than 2xx
    SCHEMA = 4  # 2xx, but not the answer that the protocol promises
    DROPPED = 5  # never sent: the client's pool was full when its time came


COLUMNS: dict[str, str] = {
    "scheduled": "f8",
    "sent": "f8",
    "ended": "f8",
    "status": "i2",
    "failure": "u1",
    "text": "i4",
    "tokens": "i4",
    "label": "i4",
    "endpoint": "u1",
    "block": "i4",
    "queue": "f4",
    "tokenize": "f4",
    "batch": "f4",
    "compute": "f4",
    "batch_size": "i4",
    "batch_tokens": "i4",
    "padded_tokens": "i4",
    "worker": "u2",
}

ROW = np.dtype(list(COLUMNS.items()))
"""One request as a fixed number of bytes: what a driver appends to its stream while it measures."""


@dataclass(frozen=True)
class Samples:
    """Columns of the same length, a row for each request, in the order in which they were scheduled.

    Times are seconds since the start of measuring, stages are milliseconds. What is not known is nan in a column of
    floats and -1 in one of integers.
    """

    scheduled: NDArray[np.float64]  # when it should leave
    sent: NDArray[np.float64]  # when it left
    ended: NDArray[np.float64]  # when the answer was complete, or the failure known
    status: NDArray[np.int16]  # of HTTP; 0 = no answer
    failure: NDArray[np.uint8]  # a `Failure`
    text: NDArray[np.int32]  # index of the text among the payloads
    tokens: NDArray[np.int32]  # of the text, as the server counted them
    label: NDArray[np.int32]  # index in `labels`
    endpoint: NDArray[np.uint8]  # 0, or 1 for the one given by --against
    block: NDArray[np.int32]  # number of the block of an A/B, rung of a search, phase of a spike
    queue: NDArray[np.float32]
    tokenize: NDArray[np.float32]
    batch: NDArray[np.float32]
    compute: NDArray[np.float32]
    batch_size: NDArray[np.int32]
    batch_tokens: NDArray[np.int32]
    padded_tokens: NDArray[np.int32]
    worker: NDArray[np.uint16]  # number of the load-generating process
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in COLUMNS}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    def __len__(self) -> int:
        return len(self.scheduled)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """Which requests got the answer that they asked for."""
        return np.equal(self.failure, Failure.NONE)

    @property
    def latency(self) -> NDArray[np.float64]:
        """Seconds from the scheduled start to the end: what a user waits. inf where the request failed."""
        return np.where(self.ok, self.ended - self.scheduled, np.inf)

    @property
    def service(self) -> NDArray[np.float64]:
        """Seconds from the true start to the end: what a closed loop would have seen."""
        return self.ended - self.sent

    @property
    def lag(self) -> NDArray[np.float64]:
        """Seconds by which the client itself was late."""
        return self.sent - self.scheduled

    def select(self, rows: NDArray[Any]) -> Samples:
        """The rows that a mask or an array of indices names, in its order."""
        return Samples(**{name: getattr(self, name)[rows] for name in COLUMNS}, labels=self.labels)

    def save(self, path: Path) -> None:
        """Write a compressed `.npz`, one array for each column; no pickle."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        with path.open("wb") as stream:
            np.savez_compressed(stream, **columns, labels=np.array(self.labels, dtype=np.str_))

    @classmethod
    def load(cls, path: Path) -> Samples:
        """Read what `save` wrote; refuse anything else."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                columns = {name: arrays[name].astype(kind, copy=False) for name, kind in COLUMNS.items()}
                labels = tuple(str(label) for label in arrays["labels"])
        except (OSError, ValueError, KeyError, EOFError) as problem:
            raise FtxError(
                f"{path} holds no samples of a load test: {problem}", "write them: ftx loadtest URL --report DIR"
            ) from problem
        return cls(**columns, labels=labels)

    @classmethod
    def from_rows(cls, rows: NDArray[np.void], labels: Sequence[str] = ()) -> Samples:
        """Turn an array of `ROW`s, in any order, into samples in the order of their schedule."""
        rows = rows[np.argsort(rows["scheduled"], kind="stable")]
        return cls(**{name: np.ascontiguousarray(rows[name]) for name in COLUMNS}, labels=tuple(labels))

    @classmethod
    def empty(cls, labels: Sequence[str] = ()) -> Samples:
        return cls.from_rows(np.empty(0, dtype=ROW), labels)


def concatenate(parts: Sequence[Samples]) -> Samples:
    """One set of samples from several (the workers' of a test), in order of schedule; labels are numbered anew."""
    labels: list[str] = []
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in COLUMNS}
    for part in parts:
        for label in part.labels:
            if label not in labels:
                labels.append(label)
        # The last place serves the index -1.
        renumbered = np.array([*(labels.index(label) for label in part.labels), -1], dtype=np.int32)
        for name in COLUMNS:
            column = getattr(part, name)
            columns[name].append(renumbered[column] if name == "label" else column)
    if not parts:
        return Samples.empty()
    merged = {name: np.concatenate(arrays) for name, arrays in columns.items()}
    order = np.argsort(merged["scheduled"], kind="stable")
    return Samples(**{name: merged[name][order] for name in COLUMNS}, labels=tuple(labels))
