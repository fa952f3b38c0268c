"""What is exactly true of analyses of practices of one size: rejection rates, standard errors, fits on the boundary.

k1 and k0 practices of m people with total SD 1 and ICC rho. The estimate is normal, with variance B (1/k1 + 1/k0) and
B = rho + (1 - rho)/m; it is independent of the sums of squares, which are multiples of chi-squared variables.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

POINTS = 4000
"""Quantiles that an average over a chi-squared variable is taken at."""


def quantiles(df: int) -> np.ndarray:
    """A chi-squared variable by equally likely values."""
    return np.asarray(stats.chi2.ppf((np.arange(POINTS) + 0.5) / POINTS, df))


@dataclass(frozen=True)
class Design:
    """Practices by arm, people in each, ICC; total SD 1."""

    k1: int
    k0: int
    m: int
    rho: float

    @property
    def between(self) -> float:
        """Variance of a practice mean."""
        return self.rho + (1 - self.rho) / self.m

    @property
    def se(self) -> float:
        """SD of the difference of the mean practice means."""
        return float(np.sqrt(self.between * (1 / self.k1 + 1 / self.k0)))

    @property
    def within(self) -> tuple[int, int]:
        """Degrees of freedom between and within practices."""
        j = self.k1 + self.k0
        return j - 2, j * (self.m - 1)

    def power(self, effect: float) -> float:
        """Power of the t test of practice means."""
        df, shift = self.within[0], effect / self.se
        limit = stats.t.isf(0.025, df)
        return float(stats.nct.sf(limit, df, shift) + stats.nct.cdf(-limit, df, shift))

    def rejected(self, variance: np.ndarray, limit: float) -> float:
        """Rejection rate without an effect: mean over equally likely variances that the analysis reports."""
        return float(2 * special.ndtr(-limit / self.se * np.sqrt(variance)).mean())

    def mean_squares(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums of squares of people between and within practices, a row and a column of equally likely values."""
        b, w = self.within
        return self.m * self.between * quantiles(b)[:, None], (1 - self.rho) * quantiles(w)[None, :]

    def boundary(self) -> float:
        """Probability that REML finds no variance between practices: mean square between at most that within."""
        b, w = self.within
        return float(stats.f.cdf((1 - self.rho) / (self.m * self.between), b, w))

    def classical(self) -> tuple[float, float]:
        """Rejection rate and root mean squared SE of least squares that takes people as independent."""
        b, w = self.within
        ssb, ssw = self.mean_squares()
        variance = (ssb + ssw) / (b + w) * self.people
        expected = (b * self.m * self.between + w * (1 - self.rho)) / (b + w) * self.people
        return self.rejected(variance, float(stats.t.isf(0.025, b + w))), float(np.sqrt(expected))

    def mixed_model(self) -> float:
        """Rejection rate of the mixed model by REML with normal quantiles."""
        b, w = self.within
        ssb, ssw = self.mean_squares()
        pooled = (ssb + ssw) / (b + w)
        variance = np.where(ssb / b > ssw / w, ssb / b, pooled) * self.people
        return self.rejected(variance, 1.959963984540054)

    @property
    def people(self) -> float:
        """What a variance between people is multiplied with: 1/n1 + 1/n0."""
        return (1 / self.k1 + 1 / self.k0) / self.m

    def robust(self, kind: str) -> tuple[float, float]:
        """Rejection rate and root mean squared SE of least squares: CR0 with normal, or CR2 with Satterthwaite's t."""
        ks = np.array([self.k1, self.k0])
        divisor = ks**2 if kind == "CR0" else ks * (ks - 1)
        one, other = (quantiles(k - 1) / d * self.between for k, d in zip(ks, divisor, strict=True))
        expected = self.between * ((ks - 1) / divisor).sum()
        df = np.inf if kind == "CR0" else (1 / ks).sum() ** 2 / (1 / (ks**2 * (ks - 1))).sum()
        limit = float(stats.t.isf(0.025, df))
        return self.rejected(one[:, None] + other[None, :], limit), float(np.sqrt(expected))


def lost_at_random(people: int, rate: float) -> float:
    """SD of the difference of two means of independent people, each lost with this probability."""
    n = np.arange(1, people + 1)
    share = stats.binom.pmf(n, people, 1 - rate)
    return float(np.sqrt(2 * (share / n).sum() / share.sum()))


def hossain_s3(slope: float = 0.3, more: float = 0.4, leaving: float = 1.0) -> tuple[float, float, float]:
    """Bias of complete cases, of one slope for both arms, and of weighting, of `verify/hossain-s3`, in large trials.

    A tenth of control is lost, whoever they are; half of intervention, by a probit model of X ~ N(0, 1). One slope is
    that of least squares on those who stay, whether fitted to them or used to impute. Weights are of a logistic
    regression on X, which is nearly a probit, and none is above 20.
    """
    x, w = np.polynomial.hermite_e.hermegauss(120)
    w = w / w.sum()
    arms = []
    for b, s, lost in ((slope, 0.0, 0.1), (slope + more, leaving, 0.5)):
        stays = stats.norm.cdf(stats.norm.ppf(1 - lost) * np.sqrt(1 + s * s) - s * x)

        def score(g, stays=stays):
            rest = stays - 1 / (1 + np.exp(-g[0] - g[1] * x))
            return [(w * rest).sum(), (w * rest * x).sum()]

        g = optimize.root(score, [stats.norm.ppf(1 - lost), -s], tol=1e-13).x
        weight = np.minimum(1 + np.exp(-g[0] - g[1] * x), 20.0)
        mean = (w * stays * x).sum() / (1 - lost)
        squares = (w * stays * x**2).sum() - (1 - lost) * mean**2
        arms.append((b, mean, squares, b * (w * stays * weight * x).sum() / (w * stays * weight).sum()))
    (b0, m0, v0, w0), (b1, m1, v1, w1) = arms
    pooled = (v0 * b0 + v1 * b1) / (v0 + v1)
    return b1 * m1 - b0 * m0, (b1 - pooled) * m1 - (b0 - pooled) * m0, w1 - w0


def reference_based(f: float = 0.3, m: int = 20, effect: float = 0.5) -> tuple[float, float, float]:
    """Bias as if in control, and relative errors (percent) of Rubin's SE as if in control and at random.

    Of `verify/reference-based`: a share f of either arm is lost at random, people are independent, SD 1. Variances are
    times the number of people in an arm. As if in control the estimate is (1 - f) of that of complete cases, but for
    noise: the coefficients drawn are the same for both arms, and cancel.
    """
    mixed = f * (1 - f) * effect**2  # those lost in intervention are imputed an effect lower
    empirical, rubin = 2 * (1 - f + f / m) + mixed, 2 + 2 * f * (1 + 1 / m) + mixed
    at_random = 2 / (1 - f) + 2 * f / m, 2 + (1 + 1 / m) * (2 * f**2 / (1 - f) + 2 * f)
    return -f * effect, 100 * ((rubin / empirical) ** 0.5 - 1), 100 * ((at_random[1] / at_random[0]) ** 0.5 - 1)


def slopes_by_arm(slope: float = 1.5) -> tuple[float, float]:
    """Bias of complete cases, and of imputation with one slope, of `verify/mi-by-arm`, in large trials.

    Half the people have x = 1, an effect of 1 and, in intervention, a chance Phi(slope/2) to leave, the others its
    complement. The one slope is that of each arm, 0 and 1, weighted by its sum of squares of x.
    """
    gone = float(stats.norm.cdf(slope / 2))
    weights = np.array([0.25, 0.5 * gone * (1 - gone)])  # control, intervention
    pooled = weights[1] / weights.sum()
    return 0.5 - gone, float(0.5 * (pooled - 1) * (2 * gone - 1))


@dataclass(frozen=True)
class NonAdherence:
    """People who receive if offered: those above a cut of a standard normal engagement that goes with the outcome.

    ``shared`` points of the untreated outcome per SD of engagement, whose mean outcome is 0; ``people`` in either arm;
    ``effect`` in those who receive, ``otherwise`` of the offer on others. Sessions are 0 with probability
    ``no_contact``, else a negative binomial of mean mu and variance mu + mu^2/k given that it is not 0.
    """

    shared: float
    otherwise: float = 0.0
    effect: float = 0.5
    no_contact: float = 0.09
    people: int = 100
    mu: float = 10.4
    k: float = 3.0

    @property
    def share(self) -> float:
        """Probability of six sessions or more."""
        sessions = stats.nbinom(self.k, self.k / (self.k + self.mu))
        return float((1 - self.no_contact) * sessions.sf(5) / sessions.sf(0))

    @property
    def means(self) -> tuple[float, float]:
        """Mean untreated outcome of those who would receive, and of others: truncated normal distributions."""
        density = self.shared * stats.norm.pdf(stats.norm.isf(self.share))
        return float(density / self.share), float(-density / (1 - self.share))

    @property
    def limit(self) -> float:
        """What the ratio of effects tends to, less the effect."""
        return self.otherwise * (1 - self.share) / self.share

    @property
    def per_protocol(self) -> float:
        """Bias of the mean of those who received less that of all controls."""
        return self.means[0]

    @property
    def as_treated(self) -> float:
        """Bias of the mean of those who received less that of controls and never-takers, whose number varies."""
        never = np.arange(self.people + 1)
        weight = (stats.binom.pmf(never, self.people, 1 - self.share) * never / (never + self.people)).sum()
        return float(self.means[0] - (self.means[1] + self.otherwise) * weight)

    @property
    def nobody(self) -> float:
        """Probability that nobody in the intervention arm receives."""
        return float((1 - self.share) ** self.people)
