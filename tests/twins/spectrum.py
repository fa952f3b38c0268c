"""The criterion of the random-intercept model as a sum over eigenvalues, so that thousands of points cost nothing.

With K an orthonormal basis of what X leaves, K'ZZ'K = U diag(l) U' and h = U'K'y, minus twice the REML log-likelihood
is sum log(1 + g l_i) + nu log sum h_i^2 / (1 + g l_i) plus a constant (Crainiceanu and Ruppert 2004,
doi:10.1111/j.1467-9868.2004.00438.x); under ML the determinant is that of I + g ZZ', sum_j log(1 + g n_j).
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from twins.frame import EPS, Blocks, Frame

FARTHEST = 1e10  # gamma from which the model is its limit, least squares of practice means, to 1e-10
TIE = 1e-9  # two minima this close, as a difference of the criterion: either is right


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues and squared scores, ``flat`` the squares where the eigenvalue is 0; ``nu`` and the sizes."""

    eigenvalues: np.ndarray
    h2: np.ndarray
    flat: float
    nu: float
    sizes: np.ndarray
    reml: bool
    doubtful: bool = False  # whether an eigenvalue lies next to what is 0, far beyond its rounding

    def logs(self):
        return self.eigenvalues if self.reml else self.sizes

    def value(self, g):
        g = np.asarray(g, dtype=float)[..., None]
        rss = self.flat + (self.h2 / (1 + g * self.eigenvalues)).sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log1p(g * self.logs()).sum(axis=-1) + self.nu * np.log(rss)

    def farthest(self):
        """The criterion as gamma grows without bound, where no eigenvalue is 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.log(self.eigenvalues).sum() + self.nu * np.log((self.h2 / self.eigenvalues).sum()))

    def slope(self, g):
        """Derivative by gamma, and the sum of its absolute terms."""
        g = np.asarray(g, dtype=float)[..., None]
        s = 1 + g * self.eigenvalues
        rss = self.flat + (self.h2 / s).sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            down = self.nu * (self.eigenvalues * self.h2 / s**2).sum(axis=-1) / rss
        up = (self.logs() / (1 + g * self.logs())).sum(axis=-1)
        return up - down, np.abs(up) + down

    def curvature(self, g):
        """Second derivative by gamma."""
        s = 1 + g * self.eigenvalues
        rss = self.flat + (self.h2 / s).sum()
        first, second = -(self.eigenvalues * self.h2 / s**2).sum(), 2 * (self.eigenvalues**2 * self.h2 / s**3).sum()
        return self.nu * (second / rss - (first / rss) ** 2) - (self.logs() ** 2 / (1 + g * self.logs()) ** 2).sum()


def spectrum(made: Frame, parts: Blocks, reml: bool) -> Spectrum:
    """Diagonalise; rows lost by rotation of large practices have eigenvalue 0 and score 0."""
    if reml in made.spectra:
        return made.spectra[reml]
    q, e, _ = parts.stacked
    whole = np.linalg.qr(q, mode="complete")[0]
    k = whole[:, q.shape[1] :]
    values, vectors = np.linalg.eigh(k.T @ parts.shared @ k)
    h2 = (vectors.T @ (k.T @ e)) ** 2
    largest = max(values.max(initial=0.0), 1e-300)
    zero, doubtful = values <= 1e-10 * largest, bool(((values > 1e-13 * largest) & (values < 1e-8 * largest)).any())
    nu = made.people - (made.rank if reml else 0)
    flat = float(h2[zero].sum())
    made.spectra[reml] = Spectrum(values[~zero], h2[~zero], flat, float(nu), made.sizes, reml, doubtful)
    return made.spectra[reml]


@dataclass(frozen=True)
class Optimum:
    """Global minimum; ``doubt`` the relative error of gamma that rounding allows; others as good as it; refusals."""

    gamma: float
    doubt: float
    grey: str = ""
    either: str = ""
    unbounded: bool = False


def optimum(made: Frame, s: Spectrum, unconstrained=False) -> Optimum:
    """Find all minima between sign changes of the derivative on a fine grid, and keep the lowest."""
    if s.doubtful:
        return Optimum(np.nan, 0.0, grey="a combination of covariates hardly varies within practices")
    total = s.flat + s.h2.sum()
    largest = s.sizes.max()
    some_flat = s.nu - len(s.eigenvalues) > (0 if s.reml else made.rank)
    if (some_flat or not s.reml) and s.flat <= 1e-26 * total:  # under ML the criterion falls without bound then
        return Optimum(np.inf, 0.0, either="outcome constant within practices", unbounded=True)
    if s.reml and not some_flat and np.ptp(s.eigenvalues) <= 1e-9 * s.eigenvalues.max(initial=0.0):
        return Optimum(np.nan, 0.0, grey="flat: one eigenvalue, and no degree of freedom within practices")
    top = max(1e9, 1e3 * total / s.flat) if s.flat > 0 else 1e14
    grid = np.concatenate([[0.0], np.geomspace(1e-4 / largest, top, 600)])
    grey = ""
    if unconstrained:
        bound = 1.0 / largest
        shares = 1 - np.geomspace(1e-3, 1.0, 200)
        grid = np.concatenate([-bound * shares, grid[1:]])
    slopes, size = s.slope(grid)
    candidates = [] if unconstrained else [0.0] * bool(slopes[0] >= 0)
    for k in np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] >= 0)):
        candidates.append(brentq(lambda g: float(s.slope(g)[0]), grid[k], grid[k + 1], xtol=1e-300, rtol=1e-14))
    if not candidates and not some_flat and s.reml:
        return Optimum(np.inf, 0.0, grey, "nothing left within practices", unbounded=True)
    if not candidates:
        why = "lowest at the bound of compound symmetry" if unconstrained else "no minimum inside"
        return Optimum(np.nan, 0.0, grey=why)
    values = s.value(np.array(candidates))
    if not some_flat and s.farthest() < values.min():
        return Optimum(np.inf, 0.0, grey, "nothing left within practices", unbounded=True)
    best = int(np.argmin(values))
    if (np.sort(values)[1:2] - values[best] < TIE * s.nu).any():
        grey = grey or "two minima as deep as each other"
    noise = made.noise + 1e-14
    if not unconstrained and abs(slopes[0]) <= noise * size[0]:
        grey = grey or "slope at 0 is rounding"
    gamma = candidates[best]
    if gamma > FARTHEST:
        return Optimum(np.inf, 0.0, grey, "outcome nearly constant within practices", unbounded=True)
    return Optimum(gamma, _doubt(s, gamma, noise), grey, _limit(s, gamma, total))


def _limit(s, gamma, total):
    """Nearly no variation within practices: the product may refuse."""
    return "outcome nearly constant within practices" if gamma > 1e5 else ""


def _doubt(s, gamma, noise):
    """Relative error of gamma: rounding of the slope over the curvature of the criterion in log(1/n + gamma)."""
    if gamma == 0:
        return 0.0
    scale = abs(gamma) + 0.02 / s.sizes.max() if gamma > 0 else gamma + 1 / s.sizes.max()
    bend = s.curvature(gamma) * scale**2
    pull = s.slope(gamma)[1] * scale
    return float((noise + 10 * EPS) * pull / max(bend, 1e-300))
