"""Why fits failed: what the first of them says."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

LENGTH = 200
"""Characters of a message that are quoted."""


def first_failures(parts: Iterable[pl.DataFrame]) -> dict[tuple[str, str], tuple[int, str]]:
    """First failed replicate of every cell and method that has one, and its cause."""
    found = {}
    for rows in parts:
        failed = rows.filter(pl.col("status") == "failed").sort("replicate", maintain_order=True)
        for row in failed.unique(["cell", "method"], keep="first", maintain_order=True).iter_rows(named=True):
            found[str(row["cell"]), str(row["method"])] = int(row["replicate"]), cause(row)
    return found


def cause(row: dict[str, object]) -> str:
    """Cause of a failed fit in a line: the message of its row, else its flags."""
    text = str(row.get("message") or "") or str(row.get("flags") or "").replace(";", ", ") or "no cause is stated"
    text = text.strip().splitlines()[0]
    return text if len(text) <= LENGTH else f"{text[:LENGTH]}..."
