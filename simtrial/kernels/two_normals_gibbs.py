"""Gibbs sampler of two outcomes with random intercepts, of which cells are missing; all trials of a block at once.

Y_i = B'x_i + u_j + e_i, u_j ~ N(0, Psi), e_i ~ N(0, Sigma), B flat, Psi ~ IW(a, A) and Sigma ~ IW(b, C): the model of
pan (Schafer and Yucel 2002, doi:10.1198/106186002760180608) and jomo, one covariance of all practices. A sweep draws

    B | rest      N((X'X)^-1 X'(Y - U), Sigma (x) (X'X)^-1)
    Sigma | rest  IW(b + N, C + E'E)
    Psi | rest    IW(a + J, A + U'U)
    u_j | rest    N(P_j^-1 Sigma^-1 r_j, P_j^-1), P_j = n_j Sigma^-1 + Psi^-1, r_j the sum of residuals of practice j
    missing cells normal given the person's other cell

With D = Y - U, B^ its least squares and B = B^ + L z R', where (X'X)^-1 = LL' and Sigma = RR', E'E is
D'D - D'XB^ + Rz'zR'. With T such that T Sigma T' = I and T Psi T' is diagonal, the elements of T u_j are independent.
People enter by sums over practices; only those with a missing cell are gone through, person by person. Arrays have
trials first and J places for practices, of which some may be empty, so that sums over practices are matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from simtrial.arrays import Floats
from simtrial.core import compiled
from simtrial.kernels.two_normals_layout import Layout, square


@dataclass(frozen=True, kw_only=True)
class InverseWishart:
    """IW(df, scale I) of a 2 x 2 covariance."""

    df: float
    scale: float


@dataclass(frozen=True)
class State:
    """Where the chain is: practice effects (trials, 2, J), covariances (trials, 2, 2), and cells (2, rows)."""

    effects: Floats
    residual: Floats
    between: Floats
    cells: Floats


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Random numbers of one sweep.

    ``beta`` (trials, p, 2) and ``effects`` (trials, 2, J) standard normal; ``residual`` and ``between`` (3, trials):
    two gamma numbers and a normal one for each covariance; ``cells`` standard normal, one for each gap of either.
    """

    beta: Floats
    residual: Floats
    between: Floats
    effects: Floats
    cells: tuple[Floats, Floats]

    @classmethod
    def drawn(cls, own: Layout, residual: InverseWishart, between: InverseWishart, rng: np.random.Generator) -> Numbers:
        """Draw them."""
        trials, p, places = own.x_means.shape
        return cls(
            beta=rng.standard_normal((trials, p, 2)),
            residual=_for_inverse_wishart(residual.df + own.counts, rng),
            between=_for_inverse_wishart(between.df + own.practices, rng),
            effects=rng.standard_normal((trials, 2, places)),
            cells=(rng.standard_normal(len(own.gaps[0])), rng.standard_normal(len(own.gaps[1]))),
        )


def _for_inverse_wishart(df: Floats, rng: np.random.Generator) -> Floats:
    out = np.empty((3, len(df)))
    rng.standard_gamma(0.5 * df, out=out[0])
    rng.standard_gamma(0.5 * (df - 1.0), out=out[1])
    rng.standard_normal(out=out[2])
    return out


def one_sweep(
    own: Layout, state: State, residual: InverseWishart, between: InverseWishart, rng: np.random.Generator
) -> State:
    """Draw everything once."""
    numbers = Numbers.drawn(own, residual, between, rng)
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/two_normals_gibbs.c takes over
        return _swept(core, own, state, residual, between, numbers)
    trials, _, places = own.x_means.shape
    cells, u = state.cells, state.effects
    sums, inside, squares = _sums(own, cells)
    d = own.x_means @ (sums - own.sizes * u).transpose(0, 2, 1) + inside
    best = own.inverse @ d
    away = (numbers.beta * own.kept) @ _root(state.residual).transpose(0, 2, 1)
    beta = best + own.root @ away
    cross = (0.5 * own.sizes * u - sums) @ u.transpose(0, 2, 1)
    rest = squares + cross + cross.transpose(0, 2, 1) - d.transpose(0, 2, 1) @ best + away.transpose(0, 2, 1) @ away
    sigma = _inverse_wishart(rest, residual, numbers.residual)
    psi = _inverse_wishart(u @ u.transpose(0, 2, 1), between, numbers.between)
    fitted = beta.transpose(0, 2, 1) @ own.x_means
    effects = _effects(own, sums - own.sizes * fitted, sigma, psi, numbers.effects)
    mean = (fitted + effects).transpose(1, 0, 2).reshape(2, trials * places)[:, own.place]
    for at, column in enumerate(own.varying):
        mean += own.inner[at] * beta[own.trial, column].T
    return State(effects=effects, residual=sigma, between=psi, cells=_cells(own, mean, cells, sigma, numbers.cells))


def _swept(
    core: ModuleType, own: Layout, state: State, residual: InverseWishart, between: InverseWishart, numbers: Numbers
) -> State:
    """The same by the compiled kernel, which writes into the state that it is given."""
    new = State(*(values.copy() for values in (state.effects, state.residual, state.between, state.cells)))
    core.one_sweep(
        own.inverse, own.root, own.kept, own.x_means, own.sizes, own.place, own.trial, own.missing, own.varying,
        own.inner, own.seen_inside, own.seen_sums, own.seen_squares, numbers.beta, numbers.residual, numbers.between,
        numbers.effects, *numbers.cells, new.effects, new.residual, new.between, new.cells, residual.scale,
        between.scale,
    )  # fmt: skip
    return new


def _sums(own: Layout, cells: Floats) -> tuple[Floats, Floats, Floats]:
    """Sums of the outcomes by practice, X'Y of deviations, and Y'Y, with the cells as they are."""
    trials, _, places = own.x_means.shape
    sums, inside, squares = own.seen_sums.copy(), own.seen_inside, own.seen_squares.copy()
    for at in range(2):
        sums[:, at] += np.bincount(own.place, cells[at], trials * places).reshape(trials, places)
    if len(own.first):
        more = np.add.reduceat(cells[[0, 0, 1]] * cells[[0, 1, 1]], own.first, axis=1)
        squares[own.some] += square(*more)
        if len(own.varying):
            inside = inside.copy()
            more = np.add.reduceat(own.inner[:, None] * cells, own.first, axis=2)
            inside[own.some[:, None], own.varying] += more.transpose(2, 0, 1)
    return sums, inside, squares


def _root(covariance: Floats) -> Floats:
    """Lower factors (trials, 2, 2)."""
    out = np.zeros_like(covariance)
    out[:, 0, 0] = np.sqrt(covariance[:, 0, 0])
    out[:, 1, 0] = covariance[:, 1, 0] / out[:, 0, 0]
    out[:, 1, 1] = np.sqrt(covariance[:, 1, 1] - out[:, 1, 0] ** 2)
    return out


def _inverse_root(root: Floats) -> Floats:
    """Inverses of lower factors (trials, 2, 2)."""
    out = np.zeros_like(root)
    out[:, 0, 0], out[:, 1, 1] = 1.0 / root[:, 0, 0], 1.0 / root[:, 1, 1]
    out[:, 1, 0] = -root[:, 1, 0] * out[:, 0, 0] * out[:, 1, 1]
    return out


def _inverse_wishart(squares: Floats, prior: InverseWishart, numbers: Floats) -> Floats:
    """Draw IW(df + rows, scale I + squares) by Bartlett's decomposition (trials, 2, 2); ``numbers`` as of `Numbers`.

    With S = RR' and A lower, W = R'^-1 A A' R^-1 is Wishart with scale S^-1, and its inverse (R A'^-1)(R A'^-1)'.
    """
    lower = np.zeros_like(squares)
    lower[:, 0, 0], lower[:, 1, 1] = np.sqrt(2.0 * numbers[0]), np.sqrt(2.0 * numbers[1])
    lower[:, 1, 0] = numbers[2]
    root = _root(squares + prior.scale * np.eye(2)) @ _inverse_root(lower).transpose(0, 2, 1)
    return np.asarray(root @ root.transpose(0, 2, 1))


def _effects(own: Layout, left: Floats, sigma: Floats, psi: Floats, normals: Floats) -> Floats:
    """Draw practice effects (trials, 2, J) where both covariances are diagonal, 0 in empty places."""
    root = _root(sigma)
    into = _inverse_root(root)
    values, vectors = _eigen(into @ psi @ into.transpose(0, 2, 1))
    turn, back = vectors.transpose(0, 2, 1) @ into, root @ vectors
    variance = 1.0 / (own.sizes + 1.0 / values[:, :, None])
    drawn = turn @ left
    drawn *= variance
    drawn += np.sqrt(variance, out=variance) * normals
    drawn *= own.sizes > 0.0
    return np.asarray(back @ drawn)


def _eigen(matrix: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues (trials, 2) and orthonormal eigenvectors (trials, 2, 2) of positive symmetric 2 x 2 matrices."""
    a, b, c = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 1]
    half, apart = 0.5 * (a + c), np.hypot(0.5 * (a - c), b)
    large = half + apart
    small = np.maximum((a * c - b * b) / large, np.finfo(np.float64).tiny)  # no difference of two large numbers
    angle = 0.5 * np.arctan2(2.0 * b, a - c)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([large, small], axis=1), np.stack([cos, -sin, sin, cos], axis=-1).reshape(-1, 2, 2)


def _cells(own: Layout, mean: Floats, cells: Floats, sigma: Floats, normals: tuple[Floats, Floats]) -> Floats:
    """Draw missing cells (2, rows): the first given the second where that is there, then the second given the first."""
    out, (first, second) = cells.copy(), own.gaps
    whole, both = np.sqrt(sigma[:, 0, 0]), sigma[:, 0, 1]
    left = np.sqrt(sigma[:, 0, 0] - both**2 / sigma[:, 1, 1])
    slopes = both / sigma[:, 1, 1], both / sigma[:, 0, 0]
    trial, there = own.trial[first], ~own.missing[1, first]
    given = slopes[0][trial] * (cells[1, first] - mean[1, first])
    spread = np.where(there, left[trial], whole[trial])
    out[0, first] = mean[0, first] + np.where(there, given, 0.0) + spread * normals[0]
    trial = own.trial[second]
    spread = np.sqrt(sigma[:, 1, 1] - both**2 / sigma[:, 0, 0])[trial]
    given = slopes[1][trial] * (out[0, second] - mean[0, second])
    out[1, second] = mean[1, second] + given + spread * normals[1]
    return out
