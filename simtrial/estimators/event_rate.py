"""Event rates as treated: person-time and events before treatment begins against those after it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report
from simtrial.flags import BIT
from simtrial.kernels.segments import sum_by
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

MONTHS_PER_YEAR = 12.0


@register("event-rate")
class EventRate(Method):
    """Difference in events per person-year, treated minus untreated, every event classed by its own date of onset.

    Controls are untreated throughout; people in the intervention arm are so until ``treated_from``, and throughout
    where that is blank. The variance is that of a difference of two ratios linearised over practices (Cochran 1977,
    Sampling Techniques, section 6.5) with factor J/(J - 1), so people of one practice, and one person's time on both
    sides, may be correlated.
    """

    target = "treated"
    effect = False

    kind: Literal["event-rate"] = "event-rate"
    events: str = Field("acute_episodes", description="column with the events of a person")
    events_treated: str = Field("acute_treated", description="column with those that began while treated")
    treated_from: str = Field("first_contact_months", description="column with the months until treatment begins")
    months: float = Field(10.0, gt=0, le=1200, description="months over which events are counted")
    df: Literal["clusters-2", "normal"] = Field("clusters-2", description="degrees of freedom of the t interval")

    def spec(self) -> Spec:
        """Rows analysed: everyone with the events, and those under treatment, known; covariates play no part."""
        return Spec(self.events, None, (self.events_treated,), (self.subset,) if self.subset else ())

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return super().reads() | {self.events_treated, self.treated_from}

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Compare the two rates in every trial; trials without events fail."""
        treated, untreated = self._by_cluster(batch, moments)
        trial, trials = moments.cluster_trial, moments.trials
        rates, influence = [], []
        for events, time in (treated, untreated):
            total = sum_by(time, trial, trials)
            with np.errstate(divide="ignore", invalid="ignore"):
                rate = sum_by(events, trial, trials) / total
                influence.append((events - rate[trial] * time) / total[trial])
            rates.append(rate)
        squares = sum_by((influence[0] - influence[1]) ** 2, trial, trials)
        clusters = moments.clusters
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = squares * clusters / (clusters - 1.0)
            ratio = rates[0] / rates[1]
        failed, flags = self._status(moments, rates)
        df = np.full(trials, np.inf) if self.df == "normal" else clusters - 2.0
        extras = {
            "rate_treated": rates[0], "rate_untreated": rates[1],
            "rate_ratio": np.where(np.isfinite(ratio), ratio, np.nan),
            "events_treated": sum_by(treated[0], trial, trials),
            "events_untreated": sum_by(untreated[0], trial, trials),
        }  # fmt: skip
        return report(
            moments, ("treated",), (rates[0] - rates[1])[None], variance[None], df[None], self.level,
            failed=failed, flags=flags, extras=extras, in_outcome_units=False,
        )  # fmt: skip

    def _by_cluster(self, batch: ObservedBatch, moments: Moments) -> tuple[tuple[Floats, Floats], ...]:
        """Events and person-years per practice (clusters,), treated and untreated."""
        rows, cluster = moments.analysed.rows, moments.analysed.cluster_of_row
        begins = np.asarray(batch.at(self.treated_from)[rows], dtype=np.float64)
        begins = np.where(np.isnan(begins), self.months, np.clip(begins, 0.0, self.months))
        untreated = np.where(batch.at("arm")[rows] == 1, begins, self.months)
        every, while_treated = (
            np.asarray(batch.at(name)[rows], dtype=np.float64) for name in (self.events, self.events_treated)
        )
        clusters = len(moments.sizes)
        return tuple(
            (sum_by(events, cluster, clusters), sum_by(months / MONTHS_PER_YEAR, cluster, clusters))
            for events, months in ((while_treated, self.months - untreated), (every - while_treated, untreated))
        )

    def _status(self, moments: Moments, rates: list[Floats]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Trials without a rate on one side, or without any event."""
        unknown = np.isnan(rates[0]) | np.isnan(rates[1])
        no_events = ~unknown & (rates[0] + rates[1] == 0.0)
        cause = np.where(unknown, BIT["no_data"], np.where(no_events, BIT["constant_outcome"], 0)).astype(np.int64)
        return unknown | no_events, cause | (moments.flags & BIT["too_few_clusters"])
