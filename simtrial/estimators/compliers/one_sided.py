"""Receipt that is observed in the intervention arm alone: who can be analysed, and why others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.expressions import truth
from simtrial.flags import BIT
from simtrial.kernels.segments import sum_by
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec, analysed, outcome


def with_receipt(spec: Spec, received: str, predictors: Sequence[str]) -> Spec:
    """Rows whose receipt is known or who are in control, and predictors of receipt among the columns."""
    known = f"arm == 0 or ({received}) or not ({received})"
    more = tuple(name for name in predictors if name not in spec.adjust)
    return replace(spec, adjust=(*spec.adjust, *more), where=(*spec.where, known))


@dataclass(frozen=True)
class Receipt:
    """Who is in the intervention arm and who received there (rows,), and trials that cannot be analysed."""

    offered: Bools
    received: Bools
    failed: Bools
    flags: NDArray[np.int64]
    share: Floats

    @classmethod
    def of(cls, batch: ObservedBatch, moments: Moments, spec: Spec, received: str) -> Receipt:
        """Read receipt of the analysed rows; ``spec`` is without the condition that receipt is known."""
        rows, trials = moments.analysed, moments.trials
        said = truth(received, batch)
        offered = batch.at("arm")[rows.rows] == 1
        holds = said.holds[rows.rows]
        takers, others = (
            sum_by((offered & one).astype(np.float64), rows.trial, trials) for one in (holds, ~holds)
        )  # fmt: skip
        anybody = analysed(batch, spec, outcome(batch, spec))
        unknown = said.unknown[anybody.rows] & (batch.at("arm")[anybody.rows] == 1)
        blank = sum_by(unknown.astype(np.float64), anybody.trial, trials) > 0
        fitted = ~moments.failed
        crossed = sum_by((~offered & holds).astype(np.float64), rows.trial, trials) > 0
        one = fitted & ((takers == 0) | (others == 0))
        flags = moments.flags | np.where(blank, BIT["blank_receipt"], 0)
        flags = flags | np.where(crossed & fitted, BIT["receipt_in_control"], 0)
        flags = flags | np.where(one, BIT["one_stratum"], 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = takers / (takers + others)
        return cls(offered, offered & holds, moments.failed | one | crossed, flags, share)


def columns_of(moments: Moments, names: Sequence[str]) -> Floats:
    """Columns of some covariates among the analysed rows (rows, columns), of SD about 1 in every trial."""
    chosen = _places(moments, names)
    if not chosen:
        return np.zeros((len(moments.analysed.rows), 0))
    values = moments.design[chosen]
    squares = sum_by(values**2, moments.analysed.trial, moments.trials) / np.maximum(moments.counts, 1.0)
    scale = np.where(squares > 0, np.sqrt(squares), 1.0)
    return np.asarray((values / scale[:, moments.analysed.trial]).T)


def kept_of(moments: Moments, names: Sequence[str]) -> Bools:
    """Which of these columns are kept in a trial (trials, columns)."""
    return np.asarray(moments.kept[_places(moments, names)].T)


def _places(moments: Moments, names: Sequence[str]) -> list[int]:
    """Where the regressors of some covariates are, indicators of categories included."""
    return [
        at for at, term in enumerate(moments.terms)
        if any(term == name or term.startswith(f"{name}=") for name in names)
    ]  # fmt: skip
