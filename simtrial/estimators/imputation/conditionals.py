"""Models of one column given all others, for chained equations: numbers and categories, of people and of practices.

Each step draws the parameters from their posterior given what is observed of the column and the current values of
the others, then what is missing of it.

=================== ==============================================================================
number of people    random-intercept regression, exact draws (`random_intercept`)
number of practices regression over practices on practice-level columns and means
categories          probit steps in the order of the categories, each "beyond it" among those who are
                    not before it; with a random intercept, or over practices. Latent outcomes are
                    drawn given the parameters of the sweep before (Albert and Chib 1993,
                    doi:10.1080/01621459.1993.10476321), scale and parameters given them
=================== ==============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import Column, ObservedBatch
from simtrial.estimators.imputation.random_intercept import IMPROPER, MissingColumn, Tabulate
from simtrial.estimators.imputation.single_level import Regression
from simtrial.kernels.posterior import Posterior, posterior
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.truncated_normal import one_sided
from simtrial.kernels.variance_priors import LatentScale
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec


@dataclass
class Conditional:
    """One column with its gaps.

    Attributes
    ----------
    spec
        The column, and the columns it is drawn from.
    observed
        The column before anything was filled, at its own level.
    gaps
        Rows of that level to be filled.
    people
        Participants who stand for the rows of the level (rows of the level,): themselves, or one of every practice, -1
        for a practice without anybody to be analysed.
    tabulate
        How variances are drawn.
    failed, reasons
        Trials whose model could not be fitted in some sweep (trials,), and why.
    latent
        By category: linear predictors of the sweep before (participants,).
    """

    spec: Spec
    observed: Column
    gaps: Ints
    people: Ints
    tabulate: Tabulate
    failed: Bools
    flags: NDArray[np.int64]
    reasons: dict[int, str] = field(default_factory=dict)
    latent: dict[int, Floats] = field(default_factory=dict)

    def drawn(self, batch: ObservedBatch, rng: np.random.Generator) -> Column:
        """Draw parameters and values once; the column filled, at its own level."""
        values = batch.column(self.spec.outcome).values.copy()
        values[self.gaps] = self._categories(batch, rng) if self.observed.categories else self._numbers(batch, rng)
        return Column(values, self.observed.level, self.observed.categories)

    def _numbers(self, batch: ObservedBatch, rng: np.random.Generator) -> Floats:
        seen = self._seen()
        made = self._with(batch, seen, self.observed.values[seen])
        model = self._fitted(made, latent=False)
        before = batch.column(self.spec.outcome).values[self.gaps]
        if not model.drawable:
            return np.asarray(before)
        found = model.drawn(made, rng)[self.people[self.gaps]]
        return np.where(np.isnan(found), before, found)  # trials that have failed keep their first values

    def _categories(self, batch: ObservedBatch, rng: np.random.Generator) -> Ints:
        codes, rows, labels = self.observed.values, self.people[self.gaps], self.observed.categories
        trial = batch.index.participant_trial
        out = np.full(len(self.gaps), len(labels) - 1)
        open_ = np.ones(len(self.gaps), dtype=bool)
        for k in range(len(labels) - 1):
            seen = self._seen()
            seen = seen[codes[seen] >= k]
            beyond, at = codes[seen] > k, self.people[seen]
            eta = self.latent.setdefault(k, np.zeros(len(trial)))
            made = self._with(batch, seen, one_sided(eta[at], beyond, rng))
            count, further = (np.bincount(trial[part], minlength=batch.index.trials) for part in (at, at[beyond]))
            mixed = (further > 0) & (further < count)
            goes_on = open_ & (further[trial[rows]] == count[trial[rows]]) & (count[trial[rows]] > 0)
            model = self._fitted(made, latent=True, among=mixed)
            if model.drawable:
                own = model.parameters(made, rng)
                scale = np.sqrt(np.where(own.sigma2 > 0.0, own.sigma2, 1.0))
                inside = at[mixed[trial[at]] & (own.sigma2[trial[at]] > 0.0)]
                eta[inside] = model.mean(made, own, inside) / scale[trial[inside]]
                mean = np.nan_to_num(model.mean(made, own, rows)) / scale[trial[rows]]
                goes_on |= open_ & mixed[trial[rows]] & (mean + rng.standard_normal(len(rows)) > 0.0)
            out[open_ & ~goes_on] = k
            open_ &= goes_on
        return out

    def _seen(self) -> Ints:
        """Rows of the level with a value, and somebody to stand for them."""
        values = self.observed.values
        return np.flatnonzero((values >= 0 if self.observed.categories else ~np.isnan(values)) & (self.people >= 0))

    def _with(self, batch: ObservedBatch, seen: Ints, values: Floats) -> ObservedBatch:
        """The batch with the column as numbers of people, blank where it is not seen."""
        own = np.full(batch.index.participants, np.nan)
        own[self.people[seen]] = values
        return batch.with_columns({self.spec.outcome: Column(own, "participant")})

    def _fitted(self, batch: ObservedBatch, latent: bool, among: Bools | None = None) -> MissingColumn | Regression:
        """Fit the model; trials in which it fails are kept in mind, those outside ``among`` (trials,) need none."""
        rows = self.people[self.gaps]
        if among is not None:
            rows = rows[among[batch.index.participant_trial[rows]]]
        fitted = moments(batch, self.spec)
        if self.observed.level == "practice":
            model: MissingColumn | Regression = Regression.of(batch, self.spec, fitted, rows, latent)
        else:
            model = MissingColumn.of(
                batch, self.spec, fitted, rows, latent_scale if latent else self.tabulate, IMPROPER
            )
        for trial in np.flatnonzero(model.failed & ~self.failed).tolist():
            self.reasons[trial] = model.reason(trial)
        self.failed = self.failed | model.failed
        self.flags = self.flags | model.flags
        return model


def latent_scale(sums: SizeSums, needed: Bools) -> Posterior:
    """Posterior of the parameters of latent outcomes."""
    return posterior(sums, LatentScale(), needed=needed)
