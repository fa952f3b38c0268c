"""Priors of the variances of the random-intercept model: a density of gamma = tau2/sigma2, and of sigma2 given it.

All of them are p(gamma) times an inverse gamma, possibly improper, of sigma2 given gamma, so that sigma2 is integrated
out in closed form: with nu = N - p and the residual sum of squares q(gamma),

    p(gamma | y)  ~  p(gamma) |H|^(-1/2) |X'H^-1 X|^(-1/2) (q/2 + b(gamma))^-(nu/2 + a)
    sigma2 | gamma, y  ~  IG(nu/2 + a, q/2 + b(gamma))

UniformIcc   rho = gamma/(1 + gamma) uniform on (0, 1), p(sigma2) ~ 1/sigma2; a = b = 0
RatioPrior   theta = tau/sigma half-normal or half-Cauchy, p(sigma2) ~ 1/sigma2 (Gelman 2006, doi:10.1214/06-BA117A,
             with theta for tau); a = b = 0
UniformTau   p(tau, sigma2) ~ 1/sigma2 (Gelman 2006, section 2.2): theta flat, p(sigma2) ~ sigma2^(-1/2); a = -1/2
InverseGamma tau2 ~ IG and sigma2 ~ IG, independent, as in pan and jomo; a the sum of the shapes, b = b0 + b1/gamma
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from simtrial.arrays import Floats


class VariancePrior(Protocol):
    """Prior of both variances."""

    def shape(self, rank: Floats) -> Floats | float:
        """What the prior adds to the shape nu/2 of sigma2, a; ``rank`` (trials,) is that of X."""

    @property
    def power(self) -> int:
        """Power k of which rho = t^k has a density in t that is finite at 0: equal cells are those of t."""

    @property
    def slowest(self) -> float:
        """Power of gamma in proportion to which the density of log gamma falls towards 0, at its slowest."""

    def scale(self, gamma: Floats) -> Floats | None:
        """What it adds to the scale q/2 of sigma2, b(gamma); None: nothing."""

    def log_density(self, u: Floats) -> Floats:
        """Log density of u = log gamma, up to a constant."""

    def log_density_of_icc(self, gamma: Floats, rho: Floats) -> Floats | None:
        """Log density of rho, up to a constant, with ``gamma`` at hand; None: it is constant."""

    def log_bend(self, half_squares: Floats) -> Floats | None:
        """Log gamma at which the prior begins to tell (trials,), given q/2 at gamma = 0; None: nowhere."""

    def steepness(self, nu: Floats) -> Floats | float:
        """How much more the log density of u may bend at a mode than the likelihood does."""


@dataclass(frozen=True)
class UniformIcc:
    """Intracluster correlation uniform on (0, 1)."""

    power = 1
    slowest = 1.0

    def shape(self, rank: Floats) -> Floats | float:
        """Nothing is added."""
        return 0.0

    def scale(self, gamma: Floats) -> None:
        """Nothing is added."""

    def log_density(self, u: Floats) -> Floats:
        """Of u: d rho / d u = rho (1 - rho)."""
        return np.asarray(-np.logaddexp(0.0, u) - np.logaddexp(0.0, -u))

    def log_density_of_icc(self, gamma: Floats, rho: Floats) -> None:
        """It is constant."""

    def log_bend(self, half_squares: Floats) -> None:
        """Nowhere."""

    def steepness(self, nu: Floats) -> float:
        """Not at all."""
        return 0.0


@dataclass(frozen=True)
class RatioPrior:
    """Half-normal, or half-Cauchy, of theta = tau/sigma, with this ``spread``."""

    form: Literal["half-normal", "half-cauchy"]
    spread: float
    power = 2
    slowest = 0.5

    def shape(self, rank: Floats) -> Floats | float:
        """Nothing is added."""
        return 0.0

    def scale(self, gamma: Floats) -> None:
        """Nothing is added."""

    def log_density(self, u: Floats) -> Floats:
        """Of u: d theta / d u = theta / 2."""
        return np.asarray(0.5 * u + self._of_theta(np.exp(u)))

    def log_density_of_icc(self, gamma: Floats, rho: Floats) -> Floats:
        """Of rho: d theta / d rho = (1 + gamma)^2 / (2 theta)."""
        return np.asarray(self._of_theta(gamma) - 0.5 * np.log(gamma) - 2.0 * np.log1p(-rho))

    def _of_theta(self, gamma: Floats) -> Floats:
        """Log density of theta, given its square."""
        share = gamma / self.spread**2
        return np.asarray(-0.5 * share if self.form == "half-normal" else -np.log1p(share))

    def log_bend(self, half_squares: Floats) -> Floats:
        """At the square of its spread."""
        return np.full_like(half_squares, 2.0 * np.log(self.spread))

    def steepness(self, nu: Floats) -> Floats | float:
        """A half-normal bends as it falls, and falls no faster at a mode than the likelihood rises, nu/2 at most."""
        return 0.5 * nu if self.form == "half-normal" else 0.25


@dataclass(frozen=True)
class UniformTau:
    """The SD between practices, tau, uniform on (0, infinity)."""

    power = 2
    slowest = 0.5

    def shape(self, rank: Floats) -> Floats | float:
        """The flat density is of tau, in units of sigma."""
        return -0.5

    def scale(self, gamma: Floats) -> None:
        """Nothing is added."""

    def log_density(self, u: Floats) -> Floats:
        """Of u: d theta / d u = theta / 2."""
        return np.asarray(0.5 * u)

    def log_density_of_icc(self, gamma: Floats, rho: Floats) -> Floats:
        """Of rho: d theta / d rho = (1 + gamma)^2 / (2 theta)."""
        return np.asarray(-0.5 * np.log(gamma) - 2.0 * np.log1p(-rho))

    def log_bend(self, half_squares: Floats) -> None:
        """Nowhere."""

    def steepness(self, nu: Floats) -> float:
        """Not at all."""
        return 0.0


@dataclass(frozen=True)
class InverseGamma:
    """Inverse-gamma priors of tau2 and sigma2, each (shape, scale); IW(df, S) is shape df/2, scale S/2."""

    tau2: tuple[float, float]
    sigma2: tuple[float, float]
    power = 1
    slowest = 1.0  # towards 0 its own scale ends the density

    def shape(self, rank: Floats) -> Floats | float:
        """Both shapes."""
        return self.tau2[0] + self.sigma2[0]

    def scale(self, gamma: Floats) -> Floats:
        """Both scales, that of tau2 in units of sigma2."""
        return np.asarray(self.sigma2[1] + self.tau2[1] / gamma)

    def log_density(self, u: Floats) -> Floats:
        """Of u."""
        return np.asarray(-self.tau2[0] * u)

    def log_density_of_icc(self, gamma: Floats, rho: Floats) -> Floats:
        """Of rho."""
        return np.asarray(-((self.tau2[0] + 1.0) * np.log(gamma) + 2.0 * np.log1p(-rho)))

    def log_bend(self, half_squares: Floats) -> Floats:
        """Where the prior scale of tau2 outweighs the squares."""
        return np.asarray(np.log(self.tau2[1]) - np.log(half_squares + self.sigma2[1]))

    def steepness(self, nu: Floats) -> float:
        """Not reckoned with: log(q/2 + b) bends by a quarter of its factor, over several units of u."""
        return 0.0


@dataclass(frozen=True)
class LatentScale(UniformIcc):
    """For latent normal outcomes of a probit model, whose residual variance is 1 and whose ICC is uniform.

    sigma2 is the scale by which the outcomes are multiplied, drawn by Haar's measure (Liu and Wu 1999,
    doi:10.2307/2669940, section 4): its shape is N/2, not (N - p)/2.
    """

    def shape(self, rank: Floats) -> Floats | float:
        """Half the rank."""
        return 0.5 * rank


UNIFORM_ICC = UniformIcc()
