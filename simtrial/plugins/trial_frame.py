"""One trial of a batch as a data frame."""

from __future__ import annotations

import numpy as np
import polars as pl

from simtrial.batch import ObservedBatch


def trial_frame(trial: ObservedBatch) -> pl.DataFrame:
    """A row per participant: ``practice`` from 1 on, then every column, a null where something is missing.

    Numbers are floats, the arm a whole number where it is known; factors are Enum, the reference category first.
    """
    data: dict[str, pl.Series] = {"practice": pl.Series(trial.index.participant_practice + 1, dtype=pl.Int64)}
    for name, column in trial.columns.items():
        if name == "practice":
            continue
        values = trial.at(name)
        if column.categories:
            labels = np.array([*column.categories, None], dtype=object)[values]
            data[name] = pl.Series(labels.tolist(), dtype=pl.Enum(column.categories))
        else:
            data[name] = pl.Series(values.astype(np.float64)).fill_nan(None)
    return pl.DataFrame(data).with_columns(pl.col("arm").cast(pl.Int64))
