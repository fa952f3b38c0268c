"""Complier effect by maximum likelihood: compliers and never-takers as a mixture of two normal distributions."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, practice_df, register, report
from simtrial.estimators.compliers.mixture_model import EFFECT, OFFSETS, MixtureModel
from simtrial.estimators.compliers.one_sided import Receipt, with_receipt
from simtrial.flags import BIT
from simtrial.kernels.two_classes_fit import Fit, fit
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


@register("cace-mixture")
class CaceMixture(Method):
    """Mixture of compliers and never-takers with a shared practice effect, by maximum likelihood.

    Little and Yau (1998, doi:10.1037/1082-989X.3.2.147); Jo, Asparouhov and Muthen (2008, doi:10.1002/sim.3276).
    Receipt is observed in the intervention arm; nobody in control receives. Whether somebody would take up the
    intervention follows a logistic model with ``predictors``; outcomes of either kind are normal with the same slopes,
    practice variance and residual variance. With ``exclusion`` allocation does not act on never-takers. Standard error
    by the observed information. The likelihood can have several maxima: it is climbed from ``starts`` points.
    """

    t_interval: ClassVar[bool] = False  # the imputation model would have to be the mixture as well

    kind: Literal["cace-mixture"] = "cace-mixture"
    target = "received"
    received: str = Field(description="expression that defines receipt, e.g. sessions >= 6")
    predictors: list[str] = Field(default_factory=list, description="covariates that predict receipt")
    exclusion: bool = Field(True, description="whether allocation has no effect on never-takers")
    starts: int = Field(5, ge=1, le=len(OFFSETS), description="points from which the likelihood is climbed")
    nodes: int = Field(15, ge=5, le=101, description="quadrature points of the practice effect")
    df: Literal["clusters-p", "clusters-2", "normal"] = Field("clusters-p", description="df of the t interval")

    @field_validator("predictors")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        if len(set(value)) < len(value):
            raise ValueError("predictors: a covariate is listed twice")
        return value

    def spec(self) -> Spec:
        """Rows whose receipt is known or who are in control."""
        return with_receipt(super().spec(), self.received, self.predictors)

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return (*super().expressions(), self.received)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial from each start, and keep the highest maximum."""
        receipt = Receipt.of(batch, moments, super().spec(), self.received)
        model = MixtureModel.of(moments, receipt, self.adjust or (), self.predictors, self.exclusion, self.starts)
        trials, flags, failed = moments.trials, receipt.flags.copy(), receipt.failed
        estimate, variance = np.full((2, 1, trials), np.nan)
        extras = {name: np.full(trials, np.nan) for name in self._extras()}
        if len(model.numbered):
            found = fit(model.groups, model.starts, model.free, EFFECT, self.nodes)
            self._fill(found, model, (estimate, variance), extras)
            lost, odd = _oddities(found, model)
            for numbers in (estimate, variance):
                numbers[0, model.numbered[lost]] = np.nan
            flags[model.numbered] |= odd
        extras["complier_share"] = np.where(receipt.failed, np.nan, receipt.share)
        df = practice_df(self.df, moments.clusters, moments.cluster_rank)
        saturated = ~failed & (df <= 0)
        flags |= np.where(saturated, BIT["tau2_not_identified"], 0)
        return report(
            moments, ("received",), estimate, variance, df[None], self.level,
            failed=failed | saturated, flags=flags, extras=extras,
        )  # fmt: skip

    def _extras(self) -> tuple[str, ...]:
        more = () if self.exclusion else ("never_taker_effect",)
        return ("complier_share", "tau2", "sigma2", "icc", "loglik", "class_difference", *more)

    def _fill(self, found: Fit, model: MixtureModel, numbers: tuple[Floats, Floats], extras: dict[str, Floats]) -> None:
        """Write estimates in units of the outcome."""
        at, trials, p = found.at, model.numbered, model.groups[0].first.shape[1]
        estimate, variance = numbers
        estimate[0, trials] = at[:, EFFECT] * model.scale
        variance[0, trials] = found.covariance[:, EFFECT, EFFECT] * model.scale**2
        tau2, sigma2 = at[:, p] ** 2, np.exp(2.0 * at[:, p + 1])
        people = sum(np.bincount(group.trial, minlength=len(trials)) for group in model.groups)
        extras["tau2"][trials], extras["sigma2"][trials] = tau2 * model.scale**2, sigma2 * model.scale**2
        extras["icc"][trials] = tau2 / (tau2 + sigma2)
        extras["loglik"][trials] = found.loglik - people * np.log(model.scale)
        extras["class_difference"][trials] = (at[:, 0] - at[:, 1]) * model.scale
        if not self.exclusion:
            extras["never_taker_effect"][trials] = at[:, 3] * model.scale


def _oddities(found: Fit, model: MixtureModel) -> tuple[Bools, NDArray[np.int64]]:
    """Trials without a result, and flags (usable trials,)."""
    p = model.groups[0].first.shape[1]
    lost = ~found.converged
    flags = np.where(found.separated & ~lost, BIT["separation"], 0)
    flags |= np.where(found.collapsed, BIT["collapsed"], 0)
    flags |= np.where(lost & ~found.collapsed, BIT["not_converged"], 0)
    flags |= np.where(found.several & ~lost, BIT["several_modes"], 0)
    flags |= np.where(~model.free[:, p], BIT["tau2_not_identified"], 0)
    flags |= np.where(model.free[:, p] & (found.at[:, p] < 1e-5) & ~lost, BIT["boundary"], 0)
    return lost, flags
