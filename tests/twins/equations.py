"""Generalised estimating equations, stacked: coefficients, scale and correlation are a root of one set of equations."""

import numpy as np
from scipy.optimize import brentq

from twins.frame import EPS, Frame, Said, blocks, refused
from twins.linear import LONELY, power, said

INSIDE = 1e-6  # the correlation stays this share inside its bounds


class Scores:
    """Moment equation of alpha with the coefficients solved for."""

    def __init__(self, made: Frame, moments: str) -> None:
        self.made, self.parts = made, blocks(made)
        self.lost = made.rank if moments == "n-p" else 0
        self.pairs = (made.sizes * (made.sizes - 1)).sum() / 2

    def solve(self, alpha):
        """Coefficients, bread and phi at alpha, V_j inverted practice by practice."""
        p = self.made.rank
        a, b = np.zeros((p, p)), np.zeros(p)
        weights = []
        for q, e, one in zip(self.parts.q, self.parts.e, self.parts.ones, strict=True):
            v = np.linalg.inv((1 - alpha) * np.eye(len(e)) + alpha * np.outer(one, one))
            weights.append(v)
            a += q.T @ v @ q
            b += q.T @ v @ e
        bread = np.linalg.inv(a)
        beta = bread @ b
        residuals = [e - q @ beta for q, e in zip(self.parts.q, self.parts.e, strict=True)]
        squares = sum(r @ r for r in residuals)
        together = sum((one @ r) ** 2 for one, r in zip(self.parts.ones, residuals, strict=True))
        return beta, bread, weights, residuals, squares / (self.made.people - self.lost), (together - squares) / 2

    def next(self, alpha):
        """Alpha that the residuals of alpha give."""
        *_, phi, together = self.solve(alpha)
        return together / ((self.pairs - self.lost) * phi)


def gee(made: Frame, working="exchangeable", se="kauermann-carroll", df="clusters-p", moments="n-p", hint=None):
    """Solve the equations; ``hint`` is a correlation to be verified as a root, where there may be several."""
    no = refused(made)
    if no:
        return no
    if made.clusters - made.cluster_rank <= 0:
        return Said(refusal="tau2_not_identified")
    scores = Scores(made, moments)
    identified = scores.pairs > scores.lost
    alpha, slope, grey = 0.0, 0.0, ""
    if working == "exchangeable" and identified:
        low, high = -(1 - INSIDE) / max(made.sizes.max() - 1, 1), 1 - INSIDE
        alpha, slope, grey = _root(scores, low, high, hint)
        if alpha is None:
            return Said(refusal="not_converged", grey=grey)
    beta, bread, weights, residuals, phi, _ = scores.solve(alpha)
    contrast = made.contrasts["arm"]
    scale = float(np.sqrt((contrast**2).sum()))
    unit = (contrast / scale).astype(float)
    if se == "fay-graubard":
        variance, origin = _fay_graubard(made, scores.parts, weights, residuals, bread, contrast)
        least = 1.0
    else:
        variance, least = _sandwich(scores.parts, weights, residuals, bread, unit, se)
        variance, origin = variance * scale**2, 1.0
    used = np.inf if df == "normal" else made.clusters - made.cluster_rank
    out = said(made, float(contrast @ (made.fitted + beta)), np.sqrt(variance), used, least)
    out.extras = {"phi": phi}
    if identified and working == "exchangeable":
        out.extras["alpha"] = alpha
    stretch = (1 + made.sizes.max() * abs(alpha)) / (1 - alpha)
    edge = 1 + (made.sizes.max() - 1) * alpha
    error = (made.noise + 1e-12) * stretch / abs(min(edge, 1.0)) / max(abs(slope), 1e-3 if slope else 1.0)
    out.tolerance = out.tolerance * origin + 100 * error + EPS * origin
    out.grey = out.grey or grey or ("correlation at its bound" if edge < 1e-3 or alpha > 0.9999 else "")
    out.df_tolerance = 1e-12
    return out


def _root(scores, low, high, hint):
    """Correlation reached by alternating from 0, made exact; whether the product's is a root where it differs."""

    def gap(alpha):
        return scores.next(alpha) - alpha

    alpha, history = 0.0, []
    for _ in range(60):
        new = min(max(scores.next(alpha), low), high)
        history.append(abs(new - alpha))
        if history[-1] < 1e-9:
            break
        alpha = new
    settled = history[-1] < 1e-9
    start = hint if hint is not None and np.isfinite(hint) else alpha
    if not low < start < high:
        return None, 0.0, "" if not settled or alpha in (low, high) else "beside the bound"
    if hint is None or not np.isfinite(hint):  # the product refuses
        if not settled:
            return None, 0.0, "alternation has not settled"
        return (None, 0.0, "") if min(alpha - low, high - alpha) <= 0 else (alpha, 1.0, "")
    width = max(1e-7, 1e-4 * min(start - low, high - start))
    a, b = max(start - width, low), min(start + width, high)
    if gap(a) * gap(b) > 0:
        return (alpha, 1.0, "") if settled else (None, 0.0, "alternation has not settled")
    root = brentq(gap, a, b, xtol=1e-16, rtol=1e-14)
    step = 1e-6 * min(root - low, high - root)
    return root, (gap(root + step) - gap(root - step)) / (2 * step), ""


def _sandwich(parts, weights, residuals, bread, unit, se):
    exponent = {"robust": 0.0, "kauermann-carroll": -0.5, "mancl-derouen": -1.0}[se]
    total, least = 0.0, 1.0
    for q, v, r in zip(parts.q, weights, residuals, strict=True):
        values, vectors = np.linalg.eigh(v)
        root = (vectors * np.sqrt(values)) @ vectors.T
        x, e = root @ q, root @ r
        adjust = np.eye(len(e))
        if exponent:
            adjust, low = power(np.eye(len(e)) - x @ bread @ x.T, exponent)
            least = min(least, low)
        total += (unit @ bread @ x.T @ adjust @ e) ** 2
    assert least > LONELY
    return total, least


def _fay_graubard(made, parts, weights, residuals, bread, contrast):
    """Scores divided by root 1 - min(.75, (C_j M)_kk) in the user's own columns: they depend on the origin."""
    turn = _in_own_units(made)
    back = np.linalg.inv(turn)
    m = back @ bread @ back.T  # of the raw columns X = Q turn
    total = np.zeros(made.rank)
    for q, v, r in zip(parts.q, weights, residuals, strict=True):
        x = q @ turn
        diagonal = np.clip(np.diag(x.T @ v @ x @ m), None, 0.75)
        total = np.vstack([total, (x.T @ v @ r) / np.sqrt(1 - diagonal)])
    at = made.terms.index("arm")
    condition = np.linalg.cond(turn / np.linalg.norm(turn, axis=0))
    return ((total @ m[:, at]) ** 2).sum(), (condition / made.condition) ** 2 * 10


def _in_own_units(made):
    return (made.q.T @ made.x.astype(np.longdouble)).astype(float)
