"""Imputation from the joint model of baseline and follow-up: two outcomes with random intercepts, by Gibbs sampling."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.chain import Sweeps
from simtrial.estimators.imputation.engine import ImputationEngine, register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.estimators.imputation.regressions import reason
from simtrial.kernels.two_normals_gibbs import InverseWishart, State, one_sweep
from simtrial.kernels.two_normals_layout import layout
from simtrial.moments.build import moments, x_moments
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec, analysed

IMPROPER = "no residual variance can be computed"
UNTOLD = "people with a value of it do not tell the effect of '{}', by which others differ from them"


@register_imputation("joint")
class Joint(ImputationEngine):
    """Baseline and follow-up as two outcomes, each with a random intercept, as pan and jomo impute them.

    The fixed effects are arm and the other covariates, flat; the covariance of people is IW(2, ``residual_scale`` I),
    that of practices IW(2, ``practice_scale`` I), both outcomes in units of their residual SD, or as they are.
    """

    needs_baseline: ClassVar[bool] = True

    burn_in: int = Field(200, ge=0, description="sweeps before the first imputation")
    thin: int = Field(25, ge=1, description="sweeps from one imputation to the next")
    practice_scale: float = Field(1.0, gt=0, description="inverse-Wishart scale of the covariance of practices")
    residual_scale: float = Field(1.0, gt=0, description="inverse-Wishart scale of the covariance of people")

    standardise: bool = Field(True, description="whether the scales are in units of the residual variances")

    def fit(self, incomplete: Incomplete) -> TwoOutcomes:
        """Prepare the sums of the model."""
        return TwoOutcomes(incomplete, self)


class TwoOutcomes:
    """A chain for every trial of a batch, all at once."""

    def __init__(self, incomplete: Incomplete, engine: Joint) -> None:
        assert incomplete.model.baseline is not None
        self.incomplete, self.engine = incomplete, engine
        batch, index = incomplete.batch, incomplete.batch.index
        self.names = (incomplete.model.baseline, incomplete.spec.outcome)
        self.sweeps = Sweeps(incomplete, self.names, engine)
        spec = Spec(self.names[1], None, incomplete.covariates, incomplete.spec.where)
        everybody = analysed(batch, spec, np.where(incomplete.imputable, 0.0, np.nan))
        self.x = x_moments(batch, spec, everybody)
        self.alone = tuple(moments(batch, Spec(name, None, spec.adjust, spec.where)) for name in self.names)
        own, gram = everybody, np.where(self.x.failed, np.eye(len(self.x.terms))[:, :, None], self.x.gram)
        y = np.stack([batch.at(name)[own.rows] for name in self.names])
        p = self.x.regressors
        self.center = np.stack([each.center[p] for each in self.alone])
        self.unit = np.stack([_residual_sd(each) for each in self.alone])
        if not engine.standardise:
            self.unit = np.ones_like(self.unit)
        y = (y - self.center[:, own.trial]) / self.unit[:, own.trial]
        self.layout, rows = layout(
            self.x.design, gram, self.x.kept.astype(np.float64), y, index.participant_practice[own.rows],
            index.practice_trial, np.array(self.x.varying, dtype=np.intp),
        )  # fmt: skip
        self.rows, self.start = own.rows[rows], np.ascontiguousarray(y[:, rows])
        self.state: State | None = None
        self.untold = [self.x.kept & ~each.kept & ~each.failed for each in self.alone]

    @property
    def failed(self) -> Bools:
        """Trials whose model of either outcome cannot be told from those who have it (trials,)."""
        lacking = np.bincount(self.layout.trial, minlength=len(self.x.failed)) > 0
        bad = self.x.failed.copy()
        for each, untold in zip(self.alone, self.untold, strict=True):
            bad |= each.failed | untold.any(axis=0)
        return np.asarray(bad & lacking)

    @property
    def flags(self) -> NDArray[np.int64]:
        """Chains that have not settled (trials,)."""
        return self.sweeps.flags

    @property
    def extras(self) -> dict[str, Floats]:
        """R-hat of the chain (trials,)."""
        return {"rhat": self.sweeps.rhat}

    def reason(self, trial: int) -> str:
        """Say of a trial that failed which outcome cannot be modelled, and why."""
        found: tuple[tuple[str, Moments, Bools], ...] = tuple(zip(self.names, self.alone, self.untold, strict=True))
        for name, each, untold in found:
            if each.failed[trial] or self.x.failed[trial]:
                return reason(name, int(each.flags[trial] | self.x.flags[trial]), IMPROPER)
            if untold[:, trial].any():
                term = self.x.terms[int(untold[:, trial].argmax())]
                return f"the imputation model of '{name}' cannot be fitted: {UNTOLD.format(term)}"
        return ""

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Sweep up to the next imputation."""
        state = self._started(rng) if self.state is None else self.state
        sweeps = self.sweeps.before_next() if len(self.rows) else 0
        residual = InverseWishart(df=2.0, scale=self.engine.residual_scale)
        between = InverseWishart(df=2.0, scale=self.engine.practice_scale)
        with np.errstate(all="ignore"):  # trials that have failed
            for sweep in range(sweeps):
                state = one_sweep(self.layout, state, residual, between, rng)
                if self.sweeps.keeps(sweep, sweeps):
                    self.sweeps.keep(self._values(state))
        self.state = state
        return self._filled(state)

    def _started(self, rng: np.random.Generator) -> State:
        """Residual variances of least squares, small practice effects, missing cells at random about the trial mean."""
        variance = [(_residual_sd(each) / unit) ** 2 for each, unit in zip(self.alone, self.unit, strict=True)]
        zero = np.zeros_like(variance[0])
        residual = np.stack([variance[0], zero, zero, variance[1]], axis=-1).reshape(-1, 2, 2)
        noise = np.sqrt(np.stack(variance))[:, self.layout.trial] * rng.standard_normal(self.start.shape)
        effects = np.zeros_like(self.layout.seen_sums)
        cells = np.where(self.layout.missing, noise, self.start)
        return State(effects=effects, residual=residual, between=0.1 * residual, cells=cells)

    def _values(self, state: State) -> dict[str, Floats]:
        """Values of the missing cells of either outcome, in the units of the outcome."""
        found = {}
        for at, (name, gaps) in enumerate(zip(self.names, self.layout.gaps, strict=True)):
            trial = self.layout.trial[gaps]
            found[name] = state.cells[at, gaps] * self.unit[at, trial] + self.center[at, trial]
        return found

    def _filled(self, state: State) -> ObservedBatch:
        batch = self.incomplete.batch
        for at, (name, found) in enumerate(self._values(state).items()):
            if len(found):
                values = batch.at(name).copy()
                values[self.rows[self.layout.missing[at]]] = found
                batch = self.incomplete.filled(batch, name, values)
        return batch


def _residual_sd(own: Moments) -> Floats:
    """Residual SD of least squares, 1 where there is none (trials,)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = own.least_squares.residual[0, 0] / np.maximum(own.counts - own.rank, 1.0)
    usable = np.isfinite(variance) & (variance > 0.0) & ~own.failed
    return np.sqrt(np.where(usable, variance, 1.0))
