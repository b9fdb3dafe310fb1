"""What replicas tell one another: their measurements, and that a model is to be loaded anew.

Whichever replica a request for the whole server reaches asks the others, over a socket file that each has in a folder
that this user alone can read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path

import msgspec
from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

METRICS_SECONDS = 2.0
LOAD_SECONDS = 600.0

Answer = Callable[["Ask"], Awaitable[bytes]]


class Ask(msgspec.Struct):
    """`load` names a model to load anew; else the measurements are asked for."""

    load: str | None = None


class Siblings:
    """The other replicas, and what answers them."""

    def __init__(self, folder: Path, number: int, count: int) -> None:
        self.number = number
        self.others = [other for other in range(count) if other != number]
        self._folder = folder

    async def listen(self, answer: Answer) -> asyncio.AbstractServer:
        """Answer the others until the server that is returned is closed."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                writer.write(await answer(msgspec.json.decode(await reader.readline(), type=Ask)))
                await writer.drain()
            finally:
                writer.close()

        path = self._path(self.number)
        path.unlink(missing_ok=True)  # of a predecessor that died
        return await asyncio.start_unix_server(handle, path)

    async def ask(self, ask: Ask, seconds: float) -> dict[int, bytes]:
        """The others' answers by their numbers; one that is not there, or too slow, is left out."""
        answers = await asyncio.gather(*(self._ask(number, ask, seconds) for number in self.others))
        return {number: answer for number, answer in zip(self.others, answers, strict=True) if answer is not None}

    async def _ask(self, number: int, ask: Ask, seconds: float) -> bytes | None:
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_unix_connection(self._path(number))
                try:
                    writer.write(msgspec.json.encode(ask) + b"\n")
                    return await reader.read()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.sock"


def merge(rendered: Mapping[int, bytes]) -> bytes:
    """The measurements of all replicas in one document, each with the label `replica`."""
    families: dict[str, Metric] = {}
    for number, text in sorted(rendered.items()):
        for family in text_string_to_metric_families(text.decode()):
            merged = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                merged.add_sample(sample.name, {**sample.labels, "replica": str(number)}, sample.value)
    return generate_latest(_Merged(families.values()))


class _Merged(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
