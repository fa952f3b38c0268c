"""Figures as files: the same bytes whenever and wherever the same figure is saved."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from simtrial.errors import SimtrialError, nearest
from simtrial.figures.parts.look import settings
from simtrial.files.whole import write_bytes

FORMATS: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "simtrial"},
    "pdf": {"CreationDate": None, "Creator": "simtrial", "Producer": None},
    "png": {"Software": None},
}
"""Formats, and what a file says of itself: no time, no version."""


def as_bytes(figure: Figure, form: str, title: str = "") -> bytes:
    """Return a figure in a format; ``title`` is told to who reads it aloud."""
    about = {**FORMATS[form], **({"Title": title} if title else {})}
    out = io.BytesIO()
    with settings():
        figure.savefig(out, format=form, metadata=about)
    return _rounded(out.getvalue()) if form == "svg" else out.getvalue()


def save(figure: Figure, file: Path, title: str = "") -> None:
    """Write a figure whole into a file, in the format that its name ends in."""
    write_bytes(file, as_bytes(figure, format_of(file), title))


def format_of(file: Path) -> str:
    """Format of a file by the end of its name."""
    form = file.suffix.removeprefix(".").lower()
    if form not in FORMATS:
        close = nearest(form, FORMATS)
        hint = f"; did you mean .{close}?" if close else ""
        raise SimtrialError(f"{file}: the name must end in .svg, .png or .pdf{hint}")
    return form


_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_LEVEL = re.compile(r"M (\S+) (\S+) \nL (\S+) \2(?= )")
_PLACES = re.compile(r'(?<= )(?:d|x|y)="[^"]*"')


def _rounded(svg: bytes) -> bytes:
    """An SVG whose coordinates have two decimals, a hundredth of a point, and level lines as such: half the size."""

    def places(found: re.Match[str]) -> str:
        short = _NUMBER.sub(lambda n: f"{float(n[0]):.2f}".rstrip("0").rstrip("."), found[0])
        return _LEVEL.sub(r"M\1 \2H\3", short)

    return _PLACES.sub(places, svg.decode("utf-8")).encode("utf-8")
