"""Bytes that are not what they were said to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from ftx.errors import FtxError
from ftx_plugins.data.config import DataConfig
from ftx_plugins.data.encoding import CHUNK, open_utf8

CHINESE = "文本,标签\n" + "".join(f"第{n}条评论很好,{'好' if n % 2 else '坏'}\n" for n in range(20))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_an_invalid_byte_is_named_with_its_line_and_the_setting(
    suffix: str, clean: Callable[..., Any], write: Callable[..., Path]
) -> None:
    lines = {
        ".csv": b"text,label\nfine,1\nna\xefve,2\n",
        ".jsonl": b'{"text": "a", "label": 1}\n\n{"text": "na\xefve"}\n',
    }
    path = write(f"rows{suffix}", lines[suffix])
    offset = lines[suffix].index(b"\xef")
    with pytest.raises(FtxError, match=rf"rows\{suffix}, line 3: 0xef at byte {offset} of the file") as caught:
        clean(train=path)
    assert "data.encoding" in str(caught.value)


@pytest.mark.parametrize("before", [CHUNK - 1, CHUNK, CHUNK + 1])
def test_the_place_is_right_across_chunks(before: int, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    line = b"x" * 63 + b"\n"
    start = (line * (before // len(line) + 1))[:before]
    # Two bytes of a character of three: cut by the chunk's end, and never completed.
    path.write_bytes(start + b"\xe6\x96" + b"!\n")
    config = DataConfig(train=str(path))
    expected = f"line {start.count(10) + 1}: 0xe6 0x96 at byte {before} "
    with open_utf8(path, config) as stream, pytest.raises(FtxError, match=expected):
        stream.read()


def test_replaced_characters_are_counted_by_row(
    clean: Callable[..., Any], write: Callable[..., Path], make_table: Callable[..., str], recorder: Any
) -> None:
    content = make_table().encode() + b"na\xefve \xff\xfe,no\ngar\xe7on,yes\n"
    cleaned = clean(train=write("rows.csv", content), encoding="replace")
    assert cleaned.metrics["replaced_characters"] == 2
    assert "gar\ufffdon" in cleaned.texts()
    assert any("2 rows have replaced characters" in message for message in recorder.messages("warning"))


@pytest.mark.parametrize("codec", ["gb18030", "utf-16", "utf-8-sig", "utf-32-le"])
def test_any_codec_of_python_reads_its_files(codec: str, clean: Callable[..., Any], write: Callable[..., Path]) -> None:
    cleaned = clean(train=write("rows.csv", CHINESE.encode(codec)), encoding=codec, text="文本", label="标签")
    assert sorted(cleaned.texts()) == sorted(line.split(",")[0] for line in CHINESE.splitlines()[1:])


def test_an_unknown_codec_is_refused_with_a_suggestion() -> None:
    with pytest.raises(pydantic.ValidationError, match="did you mean 'gb18030'"):
        DataConfig(train="rows.csv", encoding="gb18o30")
    with pytest.raises(pydantic.ValidationError, match="no text encoding"):
        DataConfig(train="rows.csv", encoding="base64")
