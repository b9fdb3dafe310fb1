"""Text files of any encoding as a stream of valid UTF-8. Light."""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import TYPE_CHECKING

from ftx.errors import FtxError
from ftx_plugins.data.config import REPLACE, DataConfig

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 1 << 20
"""Bytes decoded at a time."""
BOM = "\ufeff"


def open_utf8(path: Path, config: DataConfig) -> io.BufferedReader:
    """The bytes of `path` as UTF-8 without a byte order mark.

    Reading raises `FtxError` at bytes that the encoding does not have, unless `encoding = "replace"`.
    """
    return io.BufferedReader(Utf8Stream(path, config), CHUNK)


class Utf8Stream(io.RawIOBase):
    """Decodes a file chunk by chunk and gives it out as UTF-8; knows the line it is at, for errors."""

    def __init__(self, path: Path, config: DataConfig) -> None:
        self._path = path
        self._config = config
        self._file = path.open("rb")
        errors = "replace" if config.encoding == REPLACE else "strict"
        self._decoder = codecs.getincrementaldecoder(config.codec)(errors)
        self._ready = memoryview(b"")
        self._consumed = 0
        self._lines = 0
        self._started = False
        self._ended = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        # An empty answer means the end of the file, so go on where a chunk gives no text (half a character, a BOM).
        while not self._ready and not self._ended:
            self._ready = memoryview(self._decode(self._file.read(CHUNK)).encode())
        target = memoryview(buffer).cast("B")
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _decode(self, chunk: bytes) -> str:
        self._consumed += len(chunk)
        self._ended = not chunk
        try:
            text = self._decoder.decode(chunk, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._as_error(error) from None
        self._lines += text.count("\n")
        if text and not self._started:
            self._started = True
            text = text.removeprefix(BOM)
        return text

    def _as_error(self, error: UnicodeDecodeError) -> FtxError:
        # `error.object` is what was left of the chunk before, and this one: it ends where reading stands.
        offset = self._consumed - len(error.object) + error.start
        line = self._lines + error.object[: error.start].count(b"\n") + 1
        found = " ".join(f"0x{byte:02x}" for byte in error.object[error.start : error.end][:4])
        where = f"{self._path}, line {line}"
        return FtxError(
            f"{where}: {found} at byte {offset} of the file is not {self._config.codec}: {error.reason}",
            'if the file has another encoding, name it: --set data.encoding="gb18030" (or cp1252, latin-1 …)',
            'if some bytes are broken, replace them and go on: --set data.encoding="replace"',
        )
