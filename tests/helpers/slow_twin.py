"""The same estimators as the kernels, by whole N x N matrices and plain loops: slow, and easy to check by eye.

y = X beta + e, Var(e) = V = sigma2 (I + gamma Z Z'), gamma = tau2/sigma2, Z the membership of practices.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq, minimize_scalar

GRID = np.linspace(0.0, 0.995, 400)  # of rho = gamma / (1 + gamma)


def design(data, adjust):
    """X: intercept, covariates (a factor by treatment contrasts, reference first in the alphabet), arm last."""
    columns = [np.ones(len(data["arm"]))]
    for name in adjust:
        values = np.asarray(data[name])
        if values.dtype.kind == "U":
            columns += [(values == label).astype(float) for label in np.unique(values)[1:]]
        else:
            columns.append(values.astype(float))
    return np.column_stack([*columns, np.asarray(data["arm"], dtype=float)])


def same_practice(practice):
    """Z Z': 1 where two people share a practice."""
    return (practice[:, None] == practice[None, :]).astype(float)


def criterion(gamma, y, x, shared, reml):
    """-2 log-likelihood profiled over sigma2 and beta, in lme4's convention."""
    n, p = x.shape
    h = np.eye(n) + gamma * shared
    solved = np.linalg.solve(h, np.column_stack([x, y]))
    information = x.T @ solved[:, :p]
    beta = np.linalg.solve(information, x.T @ solved[:, p])
    residual = y - x @ beta
    rss = residual @ np.linalg.solve(h, residual)
    nu = n - p if reml else n
    value = np.linalg.slogdet(h)[1] + nu * (1 + np.log(2 * np.pi * rss / nu))
    return value + (np.linalg.slogdet(information)[1] if reml else 0.0)


def slope(gamma, y, x, shared, reml):
    """Derivative of the criterion by gamma: tr(P ZZ') - nu y'P ZZ' P y / y'P y (ML: tr(H^-1 ZZ') first)."""
    n, p = x.shape
    inverse = np.linalg.inv(np.eye(n) + gamma * shared)
    projection = inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    moved = projection @ y
    nu = n - p if reml else n
    return np.trace((projection if reml else inverse) @ shared) - nu * (moved @ shared @ moved) / (y @ moved)


def optimum(y, x, shared, reml=True):
    """Global minimum of the criterion: fine grid over rho, polished by minimisation and by a root of the derivative."""
    gammas = GRID / (1 - GRID)
    values = [criterion(gamma, y, x, shared, reml) for gamma in gammas]
    best = int(np.argmin(values))
    if best == 0 and slope(0.0, y, x, shared, reml) >= 0:
        return 0.0
    low, high = GRID[max(best - 1, 0)], GRID[min(best + 1, len(GRID) - 1)]
    rough = minimize_scalar(
        lambda rho: criterion(rho / (1 - rho), y, x, shared, reml), bounds=(low, high), method="bounded"
    ).x
    ends = [rho / (1 - rho) for rho in (low, high)]
    exact = brentq(slope, *ends, args=(y, x, shared, reml), xtol=1e-15, rtol=1e-14)
    assert abs(exact - rough / (1 - rough)) < 1e-3 * (1 + exact)  # both polishes found the same minimum
    return exact


@dataclass(frozen=True)
class MixedModel:
    """A fitted random-intercept model: coefficients, covariances, and the df of every coefficient."""

    tau2: float
    sigma2: float
    deviance: float
    beta: np.ndarray
    covariance: np.ndarray
    satterthwaite: np.ndarray
    observed: np.ndarray
    kenward_roger_covariance: np.ndarray
    kenward_roger_df: np.ndarray
    kenward_roger_scale: np.ndarray


def mixed_model(y, x, practice):
    """REML with Satterthwaite's and Kenward and Roger's inference (1997, doi:10.2307/2533558), from dense matrices."""
    n, p = x.shape
    shared = same_practice(practice)
    gamma = optimum(y, x, shared)
    h = np.eye(n) + gamma * shared
    inverse = np.linalg.inv(h)
    beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
    residual = y - x @ beta
    sigma2 = residual @ inverse @ residual / (n - p)
    v_inverse = inverse / sigma2
    phi = np.linalg.inv(x.T @ v_inverse @ x)
    projection = v_inverse - v_inverse @ x @ phi @ x.T @ v_inverse
    parts = (shared, np.eye(n))  # dV/dtau2, dV/dsigma2
    first = [-x.T @ v_inverse @ part @ v_inverse @ x for part in parts]
    expected, observed = np.empty((2, 2)), np.empty((2, 2))
    second = [[None, None], [None, None]]
    for i in range(2):
        for j in range(2):
            second[i][j] = x.T @ v_inverse @ parts[i] @ v_inverse @ parts[j] @ v_inverse @ x
            trace = np.trace(projection @ parts[i] @ projection @ parts[j])
            expected[i, j] = trace / 2
            observed[i, j] = -trace / 2 + y @ projection @ parts[i] @ projection @ parts[j] @ projection @ y
    w = np.linalg.inv(expected)
    correction = np.zeros((p, p))
    for i in range(2):
        for j in range(2):
            correction += w[i, j] * (second[i][j] - first[i] @ phi @ first[j])
    adjusted = phi + 2 * phi @ correction @ phi
    inference = [_kenward_roger(np.eye(p)[k], phi, first, w) for k in range(p)]
    boundary = gamma == 0.0
    return MixedModel(
        tau2=gamma * sigma2,
        sigma2=sigma2,
        deviance=criterion(gamma, y, x, shared, True),
        beta=beta,
        covariance=phi,
        satterthwaite=np.array([_delta_df(k, phi, first, w) for k in range(p)]),
        observed=np.array(
            [n - p if boundary else _delta_df(k, phi, first, np.linalg.inv(observed)) for k in range(p)], dtype=float
        ),
        kenward_roger_covariance=adjusted,
        kenward_roger_df=np.array([df for df, _ in inference]),
        kenward_roger_scale=np.array([scale for _, scale in inference]),
    )


def _delta_df(k, phi, first, w):
    """2 f^2 / Var(f) with f the variance of coefficient k and Var(f) by the delta method."""
    gradient = np.array([-(phi @ matrix @ phi)[k, k] for matrix in first])
    return 2 * phi[k, k] ** 2 / (gradient @ w @ gradient)


def _kenward_roger(contrast, phi, first, w):
    """Denominator df m and scale lambda of the F test of one contrast, by the general formulas (p. 987-988)."""
    rank = 1
    theta = np.outer(contrast, contrast) / (contrast @ phi @ contrast)
    a1 = a2 = 0.0
    for i in range(2):
        for j in range(2):
            left, right = (theta @ phi @ first[at] @ phi for at in (i, j))
            a1 += w[i, j] * np.trace(left) * np.trace(right)
            a2 += w[i, j] * np.trace(left @ right)
    b = (a1 + 6 * a2) / (2 * rank)
    g = ((rank + 1) * a1 - (rank + 4) * a2) / ((rank + 2) * a2)
    base = 3 * rank + 2 * (1 - g)
    c1, c2, c3 = g / base, (rank - g) / base, (rank + 2 - g) / base
    mean = 1 / (1 - a2 / rank)
    variance = (2 / rank) * (1 + c1 * b) / ((1 - c2 * b) ** 2 * (1 - c3 * b))
    ratio = variance / (2 * mean**2)
    df = 4 + (rank + 2) / (rank * ratio - 1)
    return df, df / (mean * (df - 2))


def power(matrix, exponent):
    """A^exponent of a symmetric matrix by its eigenvalues, zero ones left at zero (Moore-Penrose)."""
    values, vectors = np.linalg.eigh(matrix)
    kept = values > 1e-9
    return (vectors[:, kept] * values[kept] ** exponent) @ vectors[:, kept].T


EXPONENTS = {"CR0": 0.0, "CR1": 0.0, "CR1S": 0.0, "CR2": -0.5, "CR3": -1.0}


def cluster_robust(residual, x, practice, correction):
    """Covariance of OLS coefficients, and the Bell-McCaffrey df of each, from whole hat matrices.

    ``residual`` may be that of any response, or a structural one. A practice of leverage one: the pseudo-inverse.
    """
    n, p = x.shape
    bread = np.linalg.inv(x.T @ x)
    hat = x @ bread @ x.T
    meat, columns = np.zeros((p, p)), [[] for _ in range(p)]
    for label in np.unique(practice):
        rows = practice == label
        size = rows.sum()
        exponent = EXPONENTS[correction]
        adjust = power(np.eye(size) - hat[np.ix_(rows, rows)], exponent) if exponent else np.eye(size)
        score = x[rows].T @ adjust @ residual[rows]
        meat += np.outer(score, score)
        for k in range(p):
            columns[k].append((np.eye(n) - hat)[:, rows] @ adjust @ x[rows] @ bread[:, k])
    grams = [np.column_stack(parts).T @ np.column_stack(parts) for parts in columns]
    df = np.array([np.trace(gram) ** 2 / np.sum(gram**2) for gram in grams])
    count = len(np.unique(practice))
    factor = {"CR1": count / (count - 1), "CR1S": count / (count - 1) * (n - 1) / (n - p)}.get(correction, 1.0)
    return factor * bread @ meat @ bread, df


def greatest_leverage(x, practice):
    """Largest eigenvalue of the hat matrix within a practice."""
    hat = x @ np.linalg.inv(x.T @ x) @ x.T
    return max(np.linalg.eigvalsh(hat[np.ix_(rows, rows)])[-1] for rows in (practice == p for p in np.unique(practice)))


def least_squares(y, x):
    """Coefficients and residuals of OLS."""
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    return beta, y - x @ beta


def two_stage(y, received, x, practice, correction):
    """2SLS with the arm (last column of x) as instrument: coefficients (received last), covariance and df."""
    fitted = x @ least_squares(received, x)[0]
    second = np.column_stack([x[:, :-1], fitted])
    beta = least_squares(y, second)[0]
    structural = y - np.column_stack([x[:, :-1], received]) @ beta
    covariance, df = cluster_robust(structural, second, practice, correction)
    return beta, covariance, df


def posterior(y, x, practice, points, tau2_prior=None, sigma2_prior=None):
    """Mass of rho on the midpoints of a grid, beta flat.

    Without priors: rho uniform, p(sigma2) ~ 1/sigma2, sigma2 integrated in closed form. With inverse-gamma priors
    (shape, scale) of tau2 and sigma2: sigma2 integrated numerically, on a fine grid of its logarithm.
    """
    n, p = x.shape
    shared = same_practice(practice)
    logs = []
    for k in range(points):
        rho = (k + 0.5) / points
        gamma = rho / (1 - rho)
        h = np.eye(n) + gamma * shared
        solved = np.linalg.solve(h, x)
        information = x.T @ solved
        beta = np.linalg.solve(information, solved.T @ y)
        rss = (y - x @ beta) @ np.linalg.solve(h, y - x @ beta)
        log = -0.5 * (np.linalg.slogdet(h)[1] + np.linalg.slogdet(information)[1])
        if tau2_prior is None:
            log += -0.5 * (n - p) * np.log(rss)
        else:
            log_s = np.log(rss / n) + np.linspace(-8, 8, 4001)
            s = np.exp(log_s)
            inside = -0.5 * (n - p) * log_s - 0.5 * rss / s
            for (shape, scale), variance in ((tau2_prior, gamma * s), (sigma2_prior, s)):
                inside = inside - (shape + 1) * np.log(variance) - scale / variance
            inside = inside + log_s + log_s  # dtau2 = sigma2 dgamma, dsigma2 = sigma2 dlog(sigma2)
            top = inside.max()
            log += top + np.log(np.exp(inside - top).sum()) - 2 * np.log1p(-rho)  # dgamma = drho / (1 - rho)^2
        logs.append(log)
    mass = np.exp(np.array(logs) - max(logs))
    return mass / mass.sum()
