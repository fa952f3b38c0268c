"""In words: how often a check fails because of chance, and how far published values are off as a whole."""

from __future__ import annotations

import polars as pl

USUAL = 1.96
"""Standard errors beyond which a twentieth of correct values lie."""


def alarms(frame: pl.DataFrame) -> str:
    """Say of a check's rows what its false-alarm rate is, and how the distances are spread."""
    rate = min(float(frame["false_alarm"].sum()), 1.0)
    values = frame.filter(~pl.col("expected").str.contains("<=|>=| to ") & pl.col("distance").is_finite())
    beyond = int((values["distance"].abs() > USUAL).sum())
    spread = (
        f" Values more than {USUAL} errors off: {beyond} of {values.height} ({values.height / 20:.1f} due to chance)."
    )
    return (
        f"{frame.height} judged; if all are correct, one or more fail because of chance with probability {rate:.2g} at "
        "most." + (spread if values.height > 1 else "")
    )
