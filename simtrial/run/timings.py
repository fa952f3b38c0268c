"""What the time of a stored run went to, from the records of its chunks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from simtrial.run.stopwatch import ROWS
from simtrial.store.chunks import stored_chunks
from simtrial.store.directory import read_run
from simtrial.store.identity import from_json

SCHEMA = {"work": pl.String, "seconds": pl.Float64, "share": pl.Float64, "microseconds_per_trial": pl.Float64}

REST = "rest"
"""What is not taken apart: reading the scenario, and what lies between the parts."""


def timings(folder: Path, cells: Sequence[str]) -> pl.DataFrame:
    """Seconds of workers by stage drawn and by method, in the order of their work, over all chunks of some cells.

    Chunks without timings do not count.
    """
    run = read_run(folder)
    identity = from_json(run)
    size, trials, whole = run["scenario"]["run"]["block"], 0, 0.0
    spent: dict[str, float] = {}
    for cell in cells:
        for chunk in stored_chunks(folder, cell, identity):
            parts = chunk.record.get("timings")
            if parts is None:
                continue
            trials += size * len(chunk.blocks)
            whole += chunk.record["seconds"]
            for work, seconds in parts.items():
                spent[work] = spent.get(work, 0.0) + seconds
    if not trials:
        return pl.DataFrame(schema=SCHEMA)
    if ROWS in spent:  # of all methods: not beside the first
        spent[ROWS] = spent.pop(ROWS)
    spent[REST] = max(whole - sum(spent.values()), 0.0)
    total = sum(spent.values())
    rows = [(work, seconds, seconds / total, 1e6 * seconds / trials) for work, seconds in spent.items()]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")
