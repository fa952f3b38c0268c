"""Correlation of baseline and follow-up over both arms, for a blinded interim analysis."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field
from scipy.special import ndtri

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report
from simtrial.flags import BIT
from simtrial.kernels.segments import count_by, sum_by
from simtrial.kernels.students_t import two_sided
from simtrial.moments.columns import in_range, less_mean
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


@register("correlation")
class BaselineCorrelation(Method):
    """Pearson correlation of baseline and follow-up over all people, or the ``first`` ones in a given order.

    Neither arm nor practice is used, so nothing is unblinded, and the interval is narrower than it should be where
    people of a practice are alike. Interval by Fisher's z, tanh(atanh r +- z/sqrt(n - 3)); standard error
    (1 - r^2)/sqrt(n - 3), the same on the scale of r; P value of no correlation by t on n - 2 df.
    """

    target = "correlation"
    effect = False
    t_interval = False

    kind: Literal["correlation"] = "correlation"
    first: int | None = Field(None, ge=4, le=1_000_000, description="number of people analysed; default: everyone")
    order: str = Field("recruitment_month", description="column that orders people, if first is given")

    def spec(self) -> Spec:
        """Rows analysed: both visits known, and the place in the order if it matters."""
        where = (self.subset,) if self.subset else ()
        needed = (self.order,) if self.first is not None else ()
        return Spec(f"{self.response}_followup", None, (f"{self.response}_baseline", *needed), where)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Correlate the two visits in every trial."""
        rows, trials = self._rows(batch, moments), moments.trials
        trial, practice = batch.index.participant_trial[rows], batch.index.participant_practice[rows]
        n = count_by(trial, trials)
        visits = [batch.at(f"{self.response}_{visit}")[rows] for visit in ("baseline", "followup")]
        x, y, flat, beyond = _standardised(visits, trial, n)
        xy = sum_by(x * y, trial, trials)
        few = n < 4
        with np.errstate(divide="ignore", invalid="ignore"):
            r = np.clip(xy / n, -1.0, 1.0)
            spread = 1.0 / np.sqrt(n - 3.0)
            half = float(ndtri(0.5 + self.level / 2)) * spread
            lower, upper = (np.tanh(np.arctanh(r) + side * half) for side in (-1.0, 1.0))
            t = r * np.sqrt((n - 2.0) / (1.0 - r**2))
            p_value = two_sided(t, n - 2.0)
            variance = ((1.0 - r**2) * spread) ** 2
        flags = np.where(few, BIT["no_data"], np.where(flat, BIT["constant_outcome"], 0)).astype(np.int64)
        flags = np.where(beyond, BIT["out_of_range"], flags)
        found = report(
            moments, (self.target,), r[None], variance[None], (n - 2.0)[None], self.level,
            failed=few | flat | beyond, flags=flags, extras={"statistic": t}, in_outcome_units=False,
        )  # fmt: skip
        lower, upper, p_value = (np.where(found.failed, np.nan, v)[None] for v in (lower, upper, p_value))
        practices = batch.index.practices
        seen = sum_by(count_by(practice, practices) > 0, batch.index.practice_trial, trials)
        return replace(found, ci_lower=lower, ci_upper=upper, p_value=p_value, n_used=n, clusters_used=seen)

    def _rows(self, batch: ObservedBatch, moments: Moments) -> Ints:
        """Participants analysed, ties in the order settled by the order of the data."""
        rows, trial = moments.analysed.rows, moments.analysed.trial
        if self.first is None:
            return rows
        order = np.lexsort((batch.at(self.order)[rows], trial))
        starts = np.searchsorted(trial[order], np.arange(moments.trials))
        place = np.arange(len(rows)) - starts[trial[order]]
        return np.sort(rows[order[place < self.first]])


def _standardised(visits: list[Floats], trial: Ints, n: Floats) -> tuple[Floats, Floats, Bools, Bools]:
    """Both visits less their mean over their SD (rows,); trials where one is constant, or cannot be computed with."""
    scores, flat, beyond = [], np.zeros(len(n), dtype=bool), np.zeros(len(n), dtype=bool)
    for values in visits:
        values, size, outside = in_range(values, trial, len(n))
        values, _ = less_mean(values, trial, size, n)
        deviation = np.sqrt(sum_by(values**2, trial, len(n)) / np.maximum(n, 1.0))
        scores.append(values / np.where(deviation > 0.0, deviation, 1.0)[trial])
        flat, beyond = flat | (deviation == 0.0), beyond | outside
    return scores[0], scores[1], flat, beyond
