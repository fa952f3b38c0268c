"""Multiple imputation given its draws: completed values from parameters and noise, completed analyses, pooling."""

import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import numpy as np
from scipy import stats

from simtrial.estimators import mi
from simtrial.kernels import posterior
from twins.frame import Said


class Spy(np.random.Generator):
    """A generator that remembers the normal numbers it gave."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))
        self.normals: list[np.ndarray] = []

    def standard_normal(self, *args, **kwargs):
        out = super().standard_normal(*args, **kwargs)
        self.normals.append(np.array(out))
        return out


@dataclass
class Seen:
    """Parameters drawn and data completed, in the order in which they came."""

    draws: list = field(default_factory=list)
    completed: list = field(default_factory=list)


@contextmanager
def watched():
    """Record what `mi` draws and completes."""
    seen, drawn, analysed = Seen(), posterior.draw, mi.analyses_of

    def draw(*args, **kwargs):
        seen.draws.append(drawn(*args, **kwargs))
        return seen.draws[-1]

    def analyse(analysis, completions, every_term=False):
        def kept():
            for completed in completions:
                seen.completed.append(completed)
                yield completed

        return analysed(analysis, kept(), every_term)

    users = [m for n, m in list(sys.modules.items()) if n.startswith("simtrial") and getattr(m, "draw", None) is drawn]
    with patch.object(mi, "analyses_of", analyse):
        patches = [patch.object(module, "draw", draw) for module in users]
        for one in patches:
            one.start()
        try:
            yield seen
        finally:
            for one in patches:
                one.stop()


def completed_values(data, columns, outcome, missing, draw, noise_of_practices, noise):
    """Values of the missing outcomes from one draw of gamma, sigma2 and the coefficients of centred columns.

    Practice effects are normal with mean tau2 1'V^-1 r and variance tau2 - tau2^2 1'V^-1 1, V that of the observed.
    """
    gamma, sigma2 = float(draw.gamma[0]), float(draw.sigma2[0])
    tau2, seen = gamma * sigma2, ~missing
    x = np.column_stack([v - (v[seen].mean() if measured else 0.0) for v, measured in columns])
    beta, mean = draw.coefficients[:, 0], outcome[seen].mean()
    out = np.zeros(missing.sum())
    labels = list(dict.fromkeys(data["practice"].tolist()))
    rows = np.flatnonzero(missing)
    for label, z in zip(labels, noise_of_practices, strict=True):
        own = seen & (data["practice"] == label)
        r = outcome[own] - mean - x[own] @ beta
        v = sigma2 * np.eye(own.sum()) + tau2 * np.ones((own.sum(), own.sum()))
        along = np.linalg.solve(v, np.column_stack([r, np.ones(own.sum())])) if own.any() else np.zeros((0, 2))
        center, spread = tau2 * along[:, 0].sum(), tau2 - tau2**2 * along[:, 1].sum()
        here = data["practice"][rows] == label
        out[here] = mean + x[rows[here]] @ beta + center + np.sqrt(spread) * z
    return out + np.sqrt(sigma2) * noise


def coefficients_given(data, columns, outcome, missing, draw, noise):
    """(beta - b)'(X'H^-1X)(beta - b)/sigma2 at the drawn gamma: the sum of squares of the normals that made beta."""
    gamma, sigma2 = float(draw.gamma[0]), float(draw.sigma2[0])
    seen = ~missing
    x = np.column_stack([v[seen] - (v[seen].mean() if measured else 0.0) for v, measured in columns])
    y = outcome[seen] - outcome[seen].mean()
    practice = data["practice"][seen]
    h = np.linalg.inv(np.eye(len(y)) + gamma * (practice[:, None] == practice[None, :]))
    information = x.T @ h @ x
    apart = draw.coefficients[:, 0] - np.linalg.solve(information, x.T @ h @ y)
    return float(apart @ information @ apart / sigma2), float((noise**2).sum())


def pooled(analyses: list[Said], rule="barnard-rubin", level=0.95) -> Said:
    """Rubin's rules (1987) with Barnard and Rubin's degrees of freedom (1999), as printed."""
    m = len(analyses)
    q = np.array([a.estimate for a in analyses])
    u = np.array([a.std_error**2 for a in analyses])
    complete = np.mean([a.df for a in analyses])
    between = ((q - q.mean()) ** 2).sum() / (m - 1)
    total = u.mean() + (1 + 1 / m) * between
    share = (1 + 1 / m) * between / total
    if share == 0:
        df = complete * (complete + 1) / (complete + 3) if rule == "barnard-rubin" else np.inf
    else:
        df = (m - 1) / share**2
        if rule == "barnard-rubin" and np.isfinite(complete):
            observed = complete * (complete + 1) / (complete + 3) * (1 - share)
            df = 1 / (1 / df + 1 / observed)
    half = stats.t.ppf(0.5 + level / 2, df) * np.sqrt(total)
    out = Said(q.mean(), float(np.sqrt(total)), float(df), ends=(q.mean() - half, q.mean() + half))
    out.grey = next((a.grey for a in analyses if a.grey), "")
    out.refusal = next((a.refusal for a in analyses if a.refusal), "")
    out.tolerance = sum(a.tolerance for a in analyses) * 10
    out.df_tolerance = sum(a.df_tolerance + a.tolerance for a in analyses) * 100
    return out
