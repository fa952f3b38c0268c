"""Wald tests of several coefficients at once: F statistics and denominator degrees of freedom, one per trial.

Coefficients that were dropped in a trial count for nothing there. Satterthwaite's df of an F test are those of Fai and
Cornelius (1996, doi:10.1080/00949659608811740), the scaled F test is that of Kenward and Roger (1997,
doi:10.2307/2533558).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc

from simtrial.arrays import Bools, Floats
from simtrial.kernels.random_intercept_fit import Fit

SINGULAR = 1e-11  # smallest eigenvalue of a correlation matrix of estimates that can be inverted
SAME = 1e-8  # df that differ by less are one


@dataclass(frozen=True)
class Tested:
    """What was tested together: coefficients and which there are (terms, trials), covariance (terms, terms, trials)."""

    estimate: Floats
    covariance: Floats
    kept: Bools

    def spread(self, places: NDArray[np.intp], trials: int) -> Tested:
        """Put those of some trials into all of them."""
        terms = len(self.estimate)
        estimate, covariance = np.full((terms, trials), np.nan), np.full((terms, terms, trials), np.nan)
        kept = np.zeros((terms, trials), dtype=bool)
        estimate[:, places], covariance[:, :, places], kept[:, places] = self.estimate, self.covariance, self.kept
        return Tested(estimate, covariance, kept)


@dataclass(frozen=True)
class JointTest:
    """An F test per trial: statistic, numerator and denominator df (trials,); NaN where there is none.

    ``of`` is what was tested, for those who pool tests of several data sets.
    """

    statistic: Floats
    df_num: Floats
    df_den: Floats
    of: Tested | None = None

    @classmethod
    def failed(cls, trials: int) -> JointTest:
        """Tests that say nothing."""
        blank = np.full(trials, np.nan)
        return cls(blank, blank, blank)

    @property
    def p_value(self) -> Floats:
        """Upper tail of F (trials,), of chi-squared where the denominator df are infinite."""
        normal = np.isinf(self.df_den)
        finite = np.where(normal | ~(self.df_den > 0), np.nan, self.df_den)
        by_f = fdtrc(self.df_num, finite, self.statistic)
        return np.asarray(np.where(normal, chdtrc(self.df_num, self.df_num * self.statistic), by_f))

    def scaled(self, factor: Floats | float, df_den: Floats) -> JointTest:
        """Multiply the statistic and set the denominator df."""
        return replace(self, statistic=self.statistic * factor, df_den=df_den)

    def spread(self, places: NDArray[np.intp], trials: int) -> JointTest:
        """Put tests of some trials into all of them."""
        out = np.full((3, trials), np.nan)
        out[:, places] = self.statistic, self.df_num, self.df_den
        return JointTest(out[0], out[1], out[2], self.of and self.of.spread(places, trials))


def wald(estimate: Floats, covariance: Floats, kept: Bools) -> JointTest:
    """b'V^-1 b / q over the kept ones of the coefficients b (terms, trials), V (terms, terms, trials).

    NaN where V is singular or nothing is kept; the denominator df are not known here.
    """
    q = kept.sum(axis=0).astype(np.float64)
    spread = np.where(kept, np.einsum("iir->ir", covariance), 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = (q > 0) & np.isfinite(spread).all(axis=0) & (spread > 0).all(axis=0)
        scale = np.sqrt(np.where(usable, spread, 1.0))
        values, vectors = _eigen(covariance / (scale[:, None] * scale), kept & usable, 1.0)
        usable &= values[0] > SINGULAR
        turned = np.einsum("imr,ir->mr", vectors, np.where(kept, estimate, 0.0) / scale)
        square = (turned**2 / np.where(usable, values, 1.0)).sum(axis=0)
        tested = Tested(estimate, covariance, kept)
        return JointTest(np.where(usable, square / q, np.nan), q, np.full(len(q), np.nan), tested)


def _eigen(matrix: Floats, kept: Bools, instead: float) -> tuple[Floats, Floats]:
    """Eigenvalues (terms, trials), ascending, and vectors (terms, values, trials); dropped terms stand alone."""
    clean = np.where(kept[:, None] & kept, matrix, 0.0)
    clean = np.where(np.isfinite(clean), clean, 0.0)
    diagonal = np.arange(len(matrix))
    clean[diagonal, diagonal] += instead * ~kept
    values, vectors = np.linalg.eigh(clean.transpose(2, 0, 1))
    return values.T, vectors.transpose(1, 2, 0)


def fai_cornelius(covariance: Floats, kept: Bools, df_of: Callable[[Floats], Floats]) -> Floats:
    """Denominator df (trials,) of an F test from the df of the independent contrasts that it is the mean of.

    Parameters
    ----------
    covariance, kept
        (terms, terms, trials) and (terms, trials).
    df_of
        Satterthwaite's df (trials,) of a contrast of the terms (terms, trials).

    Notes
    -----
    With E = sum nu/(nu - 2) the mean of the statistic is E/q, that of F with 2E/(E - q) df. As lmerTest has it: 2 where
    some nu is at most 2, and the common df where all are the same.
    """
    terms, q = len(covariance), kept.sum(axis=0)
    _, vectors = _eigen(covariance, kept, 0.0)
    counted = np.arange(terms)[:, None] >= terms - q
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.stack([df_of(vectors[:, m]) for m in range(terms)])
        expected = np.where(counted, each / (each - 2.0), 0.0).sum(axis=0)
        df = 2.0 * expected / (expected - q)
        least, most = np.where(counted, each, np.inf).min(axis=0), np.where(counted, each, -np.inf).max(axis=0)
        mean = np.where(counted, each, 0.0).sum(axis=0) / q
        df = np.where(least > 2.0, df, 2.0)
        return np.where((q == 1) | (most - least < SAME), mean, df)


def kenward_roger_covariance(fit: Fit, at: list[int]) -> Floats:
    """Adjusted covariance Phi + 2 Phi Lambda Phi of some coefficients (terms, terms, trials)."""
    info, g = fit.information, _weights(fit, at)
    moved = [np.einsum("ijr,jtr->itr", matrix, g) for matrix in info.first]
    total = np.zeros((len(at), len(at), len(fit.gamma)))
    for weight, second, i, j in zip(info.inverse, info.second, (0, 0, 1), (0, 1, 1), strict=True):
        part = np.einsum("isr,ijr,jtr->str", g, second, g, optimize=True)
        part -= np.einsum("isr,ijr,jtr->str", moved[i], fit.inner, moved[j], optimize=True)
        with np.errstate(invalid="ignore"):  # variances that are not identified
            total += weight * (part + part.transpose(1, 0, 2) if i != j else part)
    return np.asarray(fit.sigma2 * (fit.at.inverse[np.ix_(at, at)] + 2.0 * total))


def _weights(fit: Fit, at: list[int]) -> Floats:
    """C^-1 c of the contrasts that are single coefficients (p, terms, trials)."""
    ones = np.eye(len(fit.inner))[:, at, None]
    return fit.weights(np.broadcast_to(ones, (*ones.shape[:2], len(fit.gamma))))


def kenward_roger(fit: Fit, at: list[int], kept: Bools) -> tuple[Floats, Floats]:
    """Scale lambda and denominator df m of Kenward and Roger's F test of some coefficients, (trials,) each.

    Their page 987: A1 and A2 from tr(Theta Phi P_i Phi), Theta = L'(L Phi L')^-1 L; lambda F ~ F(q, m).
    """
    q = np.maximum(kept.sum(axis=0), 1).astype(np.float64)
    g = _weights(fit, at)
    both = kept[:, None] & kept
    middle = np.where(both, fit.at.inverse[np.ix_(at, at)], np.eye(len(at))[:, :, None])
    inverse = np.linalg.inv(middle.transpose(2, 0, 1)).transpose(1, 2, 0)
    traces, products = [], []
    for matrix in fit.information.first:
        inner = np.where(both, np.einsum("isr,ijr,jtr->str", g, matrix, g, optimize=True), 0.0)
        products.append(np.einsum("str,tur->sur", inverse, inner))
        traces.append(np.einsum("ssr->r", products[-1]))
    a1, a2 = np.zeros(len(q)), np.zeros(len(q))
    for weight, i, j in zip(fit.information.inverse, (0, 0, 1), (0, 1, 1), strict=True):
        times = 2.0 if i != j else 1.0
        with np.errstate(invalid="ignore"):  # variances that are not identified
            a1 += times * weight * traces[i] * traces[j]
            a2 += times * weight * np.einsum("str,tsr->r", products[i], products[j])
    with np.errstate(divide="ignore", invalid="ignore"):
        b = (a1 + 6.0 * a2) / (2.0 * q)
        ratio = ((q + 1.0) * a1 - (q + 4.0) * a2) / ((q + 2.0) * a2)
        base = 3.0 * q + 2.0 * (1.0 - ratio)
        c1, c2, c3 = ratio / base, (q - ratio) / base, (q + 2.0 - ratio) / base
        mean = 1.0 / (1.0 - a2 / q)
        variance = 2.0 / q * (1.0 + c1 * b) / ((1.0 - c2 * b) ** 2 * (1.0 - c3 * b))
        rho = variance / (2.0 * mean**2)
        df = 4.0 + (q + 2.0) / (q * rho - 1.0)
        return df / (mean * (df - 2.0)), df
