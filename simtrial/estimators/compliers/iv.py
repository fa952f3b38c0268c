"""Complier-average effect by two-stage least squares: allocation is the instrument, receipt the treatment."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, register, report, rounding_variance
from simtrial.estimators.compliers.iv_intervals import adjusted, quadratic_set
from simtrial.estimators.compliers.iv_means import ReducedForms, reduced_forms_of_means
from simtrial.estimators.compliers.iv_mixed import reduced_forms_of_mixed_models
from simtrial.estimators.compliers.iv_options import RESAMPLED, Options
from simtrial.estimators.compliers.iv_resampled import of_reallocations, of_samples
from simtrial.estimators.ols import StandardError, covariance
from simtrial.estimators.randomisation_test import stream_of
from simtrial.flags import BIT
from simtrial.kernels.segments import sum_by
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

WEAK = 10.0  # first-stage F of Staiger and Stock (1997, doi:10.2307/2171753)
CANCELLED = 1e-14  # share of the variances of outcome and receipt below which that of y - theta d is rounding
ABSENT = 1e-12  # share of the sum of squares of receipt that allocation must explain


@register("iv")
class InstrumentalVariable(Options):
    """Effect of receiving the intervention among those who take it up when offered.

    Outcome and receipt are regressed on arm and covariates; the ratio of the two arm coefficients is 2SLS with one
    instrument. Its robust variance is the OLS sandwich of the structural residual divided by the square of the first
    stage. Participants whose receipt is unknown are left out. ``ci`` anderson-rubin inverts the test that outcome -
    theta receipt has no arm effect; with fixed covariance estimates that is Fieller's set, ``ci`` fieller: an interval,
    or unbounded (``ci_type``). ``ci`` randomisation and wild-bootstrap invert two tests of the same hypothesis by
    resampling. ``ci`` tf widens Wald's interval as the first-stage F demands.

    ``level_of_analysis`` cluster takes both reduced forms from practice means of what the covariates leave of outcome
    and receipt (Agbla, De Stavola and DiazOrdaz 2020, Statistical Methods in Medical Research 29); a practice is then a
    row, so CR0 is HC0 and CR2 is HC2. ``weights`` say what a practice counts: all alike, by its size, or
    1/(tau2 + sigma2/n_j) with the outcome's variances of a one-way analysis of variance within arms.

    ``ratio`` lmm divides the effects of allocation on outcome and on receipt by two random-intercept models; their
    joint covariance is the jackknife over practices, the error of the ratio its delta method.

    ``never_taker_effect`` h relaxes the exclusion restriction by a stated amount: the outcome is taken less h in those
    offered who do not receive, so that the ratio is (rho - (1 - pi) h)/pi.
    """

    kind: Literal["iv"] = "iv"

    def spec(self) -> Spec:
        """Rows and columns analysed, receipt as a second response."""
        return replace(super().spec(), received=self.received or None, dose=self.dose or None)

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        replayed = self.allocation.reads() if self.allocation and self.ci == "randomisation" else set()
        return super().reads() | ({self.dose} if self.dose else set()) | replayed

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return (*super().expressions(), *((self.received,) if self.received else ()))

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial by indirect least squares; ``every_term`` adds the covariates of the structural equation."""
        forms = self.reduced_forms(moments)
        robust = self.reduced_forms(moments, "CR2") if self.se == "classical" else forms
        result = self.ratio_of(moments, forms, robust, moments.failed, moments.flags, every_term)
        if self.ci not in RESAMPLED:
            return result
        generator, alpha = stream_of(moments) if rng is None else rng, 1.0 - self.level
        draws, assumed, unfit = self.replays, self.never_taker_effect, result.failed
        if self.ci == "randomisation":
            return of_reallocations(
                self.allocation, draws, assumed, batch, moments, unfit, alpha, generator
            ).of(result)  # fmt: skip
        own = _less_direct(self.reduced_forms(moments, "CR1"), assumed)
        return of_samples(own, draws, self.distribution, assumed, moments, unfit, alpha, generator).of(result)

    def ratio_of(
        self, moments: Moments, forms: ReducedForms, robust: ReducedForms, failed: Bools, flags: NDArray[np.int64],
        every_term: bool = False,
    ) -> Estimates:  # fmt: skip
        """Ratio of two effects with the interval asked for; ``robust`` are the forms that the effective F is taken of.

        ``moments`` say whose they are; ``failed`` trials have no effects.
        """
        assumed = self.never_taker_effect
        if assumed:
            forms, robust = (_less_direct(one, assumed) for one in (forms, robust))
            crossed = _in_control(moments) & ~failed
            failed, flags = failed | crossed, flags | np.where(crossed, BIT["receipt_in_control"], 0)
        outcome, receipt, joint = forms.outcome, forms.receipt, forms.joint
        absent = ~(receipt**2 > ABSENT * _receipt_squares(moments)) & ~failed
        unfit = absent | failed
        safe = np.where(unfit, np.nan, receipt)
        theta = outcome / safe
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = _structural(joint, theta) / safe**2
        first_stage = _first_stage_f(forms)
        flags = flags | forms.flags | np.where(forms.singular, BIT["leverage_one"], 0)
        flags |= np.where(absent, BIT["no_first_stage"], 0)
        flags |= np.where((first_stage < WEAK) & ~unfit, BIT["weak_instrument"], 0)
        exact = ~unfit & _explained(moments, joint, theta)
        flags |= np.where(exact, BIT["constant_outcome"], 0)
        effective = first_stage if robust is forms else _first_stage_f(robust)
        extras = {
            "first_stage": receipt, "first_stage_f": np.where(absent, 0.0, first_stage),
            "effective_f": np.where(absent, 0.0, effective), **forms.extras,
        }  # fmt: skip
        terms: tuple[str, ...] = ("received",)
        estimate, variances, dfs = theta[None], variance[None], forms.df[None]
        if every_term and self.level_of_analysis == "participant" and self.ratio == "2sls":
            terms, estimate, variances, dfs = self._structural_terms(moments, theta, safe, variance, forms.df, assumed)
        result = report(
            moments, terms, estimate, variances, dfs, self.level,
            failed=unfit | exact, flags=flags, extras=extras, in_outcome_units=False,
        )  # fmt: skip
        if self.ci == "tf":
            return adjusted(result, self.level)
        return (
            result
            if self.ci not in ("fieller", "anderson-rubin")
            else quadratic_set(result, outcome, receipt, joint, self.level)
        )

    def reduced_forms(self, moments: Moments, se: StandardError | None = None) -> ReducedForms:
        """Effects of arm on outcome and receipt, of people or of practices; ``se`` in place of the method's own."""
        se = se or self.se
        if self.ratio == "lmm":
            return reduced_forms_of_mixed_models(moments, self.df)
        if self.level_of_analysis == "cluster":
            return reduced_forms_of_means(moments, se, self.df, self.weights)
        outcome, receipt = moments.least_squares.coefficients[-1]
        joint, df, singular = covariance(moments, None, se, self.df)
        return ReducedForms(
            outcome=outcome, receipt=receipt, joint=joint, df=df, singular=singular,
            flags=np.zeros(moments.trials, dtype=np.int64),
        )  # fmt: skip

    def _structural_terms(
        self, moments: Moments, theta: Floats, safe: Floats, variance: Floats, df: Floats, assumed: float
    ) -> tuple[tuple[str, ...], Floats, Floats, Floats]:
        """Coefficients of the covariates: contrast l of y - theta d, minus its first-stage share along arm."""
        terms = tuple(term for term in moments.terms if term != "arm")
        coefficients = moments.least_squares.coefficients
        rows, variances, dfs = [theta], [variance], [df]
        theta = theta - assumed  # y - assumed arm (1 - d) - theta d, without its part along arm
        for term in terms:
            contrast = moments.contrast(term)
            shift = moments.center[moments.regressors] if term == "intercept" else 0.0
            along = (contrast * coefficients[:, 1]).sum(axis=0) / safe
            direction = contrast.copy()
            direction[-1] -= along
            rows.append((contrast * (coefficients[:, 0] - theta * coefficients[:, 1])).sum(axis=0) + shift)
            joint, term_df, _ = covariance(moments, direction, self.se, self.df)
            variances.append(_structural(joint, theta))
            dfs.append(term_df)
        return ("received", *terms), np.stack(rows), np.stack(variances), np.stack(dfs)


def _less_direct(forms: ReducedForms, effect: float) -> ReducedForms:
    """Reduced forms of the outcome less an effect on never-takers: arm (1 - d) = arm - d if no control receives."""
    joint = forms.joint.copy()
    joint[0, 1] += effect * forms.joint[1, 1]
    joint[1, 0] = joint[0, 1]
    joint[0, 0] += 2.0 * effect * forms.joint[0, 1] + effect**2 * forms.joint[1, 1]
    return replace(forms, outcome=forms.outcome - effect * (1.0 - forms.receipt), joint=joint)


def _in_control(moments: Moments) -> Bools:
    """Trials in which somebody in control received (trials,)."""
    control = np.rint(moments.means[moments.regressors - 1]) == 0
    return np.asarray(
        sum_by(moments.sizes * np.abs(moments.means[-1]) * control, moments.cluster_trial, moments.trials) > 0
    )


def _receipt_squares(moments: Moments) -> Floats:
    """Mean square of receipt per trial (trials,)."""
    mean, inside = moments.sizes * moments.means[-1] ** 2, moments.within[-1, -1]
    return moments.analysed.by_trial(mean + inside) / np.maximum(moments.counts, 1.0)


def _explained(moments: Moments, joint: Floats, theta: Floats) -> Bools:
    """Trials in which receipt and covariates explain the outcome, or its practice means: no variance but rounding."""
    whole = joint[0, 0] + theta**2 * joint[1, 1]
    with np.errstate(invalid="ignore"):
        cancelled = _structural(joint, theta) <= CANCELLED * whole
    return np.asarray(cancelled | (joint[0, 0] <= rounding_variance(moments)))


def _first_stage_f(forms: ReducedForms) -> Floats:
    """Square of t of arm in the regression of receipt (trials,); infinite where arm explains it."""
    receipt, variance = forms.receipt, forms.joint[1, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > ABSENT * receipt**2, receipt**2 / variance, np.inf)


def _structural(joint: Floats, theta: Floats) -> Floats:
    """Variance of the arm coefficient of y - theta d."""
    return np.asarray(np.maximum(joint[0, 0] - 2.0 * theta * joint[0, 1] + theta**2 * joint[1, 1], 0.0))
