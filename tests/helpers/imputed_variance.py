"""Expected variance after imputation of practice means, exactly, given who is observed: k practices an arm, n people.

Outcomes have variance tau2 between and sigma2 within practices, and no effect; ``seen`` (trials, 2, k) people are
observed in every practice. The analysis is the difference of the mean practice means, with the pooled variance of
completed means; imputation is by a common model of both arms with no covariate. W is the expected variance within, B
that between imputations, V that of the pooled estimate over trials, all of an infinite number of imputations.
"""

import numpy as np


def single_level(seen, n, tau2, sigma2):
    """W, B, V (trials,) where practices are ignored: y is normal about the mean of the arm."""
    k, total = seen.shape[2], seen.sum(axis=2, keepdims=True)
    share, mean = seen / n, seen.mean(axis=2) / n
    own = tau2 + sigma2 / seen  # variance of the mean of those observed
    var = (seen**2 * own).sum(axis=2) / total[..., 0] ** 2  # of the mean of an arm
    rss = (total[..., 0] * (tau2 + sigma2 - var)).sum(axis=1)
    residual = (rss / (total.sum(axis=(1, 2)) - 4))[:, None]  # chi-squared of R - 2, mean of its inverse 1/(R - 4)
    drawn = residual / total[..., 0]
    squares = (
        share**2 * own + (1 - share) ** 2 * (var + drawn)[..., None]
        + 2 * share * (1 - share) * seen * own / total + (1 - share) * residual[..., None] / n
    ).sum(axis=2)  # fmt: skip
    between = (1 - mean) ** 2 * drawn + (1 - mean) * residual / (n * k)
    within = (squares - k * (var + between)) / (k - 1) / k
    return within.sum(axis=1), between.sum(axis=1), var.sum(axis=1)


def fixed_effects(seen, n, tau2, sigma2):
    """W, B, V (trials,) with a mean of every practice."""
    k, df = seen.shape[2], (seen - 1).sum(axis=(1, 2))
    residual = sigma2 * df / (df - 2)
    var = (tau2 + sigma2 / seen).sum(axis=(1, 2)) / k**2
    between = residual * (1 / seen - 1 / n).sum(axis=(1, 2)) / k**2
    return var + between, between, var


def inverse_seen(n, lost):
    """E(1/r), r binomial of n people, at least 1."""
    from scipy import stats

    r = np.arange(1, n + 1)
    weight = stats.binom.pmf(r, n, 1 - lost)
    return float((weight / r).sum() / weight.sum())


def inflation(n, lost, icc):
    """E(W + B)/V by fixed effects with many practices, outcomes missing completely at random."""
    inverse = inverse_seen(n, lost)
    return 1 + 2 * (1 - icc) * (inverse - 1 / n) / (icc + (1 - icc) * inverse)


def deflation(r, n, icc):
    """The same by single-level imputation where r of n people are observed in every practice."""
    p, v = 1 - r / n, icc + (1 - icc) / r
    return ((1 - p) ** 2 * v + 2 * p / n + p**2 / r) / v
