"""Text of other people in a file for spreadsheets: nothing that is taken for a formula, or does not show as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simtrial.errors import one_line

if TYPE_CHECKING:
    import polars as pl

FORMULA = r"^[=+\-@\t\r]"
"""How text begins that a spreadsheet would take for a formula; it is written after an apostrophe."""


def harmless(text: str) -> str:
    """Text as it may stand in a cell of a CSV file: as on a terminal, and never a formula."""
    return "'" + one_line(text) if re.match(FORMULA, text) else one_line(text)


def harmless_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame whose columns of text, and their names, may stand in a CSV file; few texts are many cells."""
    import polars as pl

    columns = []
    for name, kind in frame.schema.items():
        if kind not in (pl.String, pl.Categorical, pl.Enum):
            continue
        texts = frame[name].cast(pl.String)
        changed = {text: harmless(text) for text in texts.unique().drop_nulls() if harmless(text) != text}
        columns += [texts.replace(changed).alias(name)] if changed else []
    return frame.with_columns(columns).rename(harmless)
