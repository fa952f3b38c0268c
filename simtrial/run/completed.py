"""Data sets that `mi` completed, with the draws of `simtrial.run.analyse`: one row per person and set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from simtrial.batch import ObservedBatch
from simtrial.estimators.mi import MultipleImputation
from simtrial.moments.build import moments
from simtrial.moments.rows import PRODUCT
from simtrial.plugins.trial_frame import trial_frame
from simtrial.seeding import stream

IMPUTATION, PERSON = ".imp", ".id"


def completed_frame(
    trial_ids: Sequence[str], batch: ObservedBatch, method: MultipleImputation, seed: int
) -> tuple[pl.DataFrame, list[str]]:
    """Completed data sets below each other, the incomplete one first, and the trials that could not be imputed.

    Columns: `IMPUTATION` (0: incomplete, then 1 to m), `PERSON` (unique over trials), trial_id, practice (numbered
    within the trial) and those that were read. Draws are those of the method's row in `analyse` at the same seed.
    """
    parts, failed, people = list[pl.DataFrame](), list[str](), 0
    for at, name in enumerate(trial_ids):
        alone = batch.only(at)
        rng = stream(seed, name, 0, f"method:{method.name}")
        sets, unfit = method.completed(alone, moments(alone, method.spec()), rng)
        if unfit[0]:
            failed.append(name)
            continue
        number = np.arange(people + 1, people + 1 + alone.index.participants)
        people += len(number)
        parts += [_labelled(one, imputation, number, name) for imputation, one in enumerate([alone, *sets])]
    if not parts:
        return pl.DataFrame(), failed
    frame = pl.concat(parts).sort(IMPUTATION, PERSON, maintain_order=True)
    return frame, failed


def _labelled(trial: ObservedBatch, imputation: int, people: np.ndarray, name: str) -> pl.DataFrame:
    frame = trial_frame(trial)
    frame = frame.select(column for column in frame.columns if not column.startswith(PRODUCT))
    labels: list[pl.Expr | pl.Series] = [
        pl.lit(imputation, dtype=pl.Int64).alias(IMPUTATION),
        pl.Series(PERSON, people, dtype=pl.Int64),
        pl.lit(name).alias("trial_id"),
    ]
    return frame.select(*labels, pl.all())
