"""Decode a text file of any program."""

from __future__ import annotations

import codecs
from pathlib import Path

from simtrial.errors import DataError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OTHERS = (
    (b"PK\x03\x04", "is a workbook (or another zip archive) under this name; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is a workbook under this name; save the sheet as CSV"),
    (b"PAR1", "is a Parquet file under this name; let its name end in .parquet"),
    (b"<stata_dta>", "is a Stata file under this name; let its name end in .dta"),
    (b"\x1f\x8b", "is compressed; unpack it first"),
)
SAMPLE = 4096


def decoded(data: bytes, file: Path) -> str:
    """Return text with one kind of line end.

    A byte order mark says the encoding; without one it is UTF-8, UTF-16 where every second byte is zero, and
    Windows-1252 (Latin-1 with a few more letters) where it is none of these.

    Raises
    ------
    DataError
        When the file is no text.
    """
    for start, what in _OTHERS:
        if data.startswith(start):
            raise DataError(f"{file}: {what}")
    text = _text(data, file)
    if "\0" in text:
        raise DataError(f"{file}: not a text file: it contains binary zeros")
    return text.rstrip("\x1a").replace("\r\n", "\n").replace("\r", "\n")


def _text(data: bytes, file: Path) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return _decode(data[len(mark) :], name, file)
    zeros = [data[at:SAMPLE:2].count(0) / max(len(data[at:SAMPLE:2]), 1) for at in (0, 1)]
    if max(zeros) > 0.4 and min(zeros) < 0.1:
        return _decode(data, "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be", file)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return _decode(data, "cp1252", file)


def _decode(data: bytes, name: str, file: Path) -> str:
    try:
        return data.decode(name)
    except UnicodeDecodeError as error:
        fault = "neither UTF-8 nor Windows-1252" if name == "cp1252" else f"marked as {name.upper()} but is not"
        raise DataError(f"{file}: text that is {fault} (byte {error.start + 1}); save it as UTF-8") from None
