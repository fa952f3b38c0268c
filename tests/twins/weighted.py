"""Inverse-probability weighting from matrices of people: logistic models by their limit, scores of both models."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from twins.frame import EPS, LONG, Frame, Said, frame, refused
from twins.linear import LONELY, power, said

EXTREME = 14.0  # linear predictor beyond which an estimate cannot be told from separation


@dataclass
class Fitted:
    """A logistic regression: probabilities, who is certain, columns, inverse information, and doubts."""

    p: np.ndarray
    certain: np.ndarray
    z: np.ndarray
    inverse: np.ndarray
    happened: np.ndarray
    grey: str = ""

    @property
    def score(self):
        """Columns times what is left, 0 for those who are certain (people, q)."""
        return self.z * np.where(self.certain, 0.0, self.happened - self.p)[:, None]


def logistic(z, happened):
    """Fit to an orthonormal basis; people in a direction of recession of the likelihood are certain."""
    n, q = z.shape
    sign = np.where(happened, 1.0, -1.0)
    rows = sign[:, None] * z * np.sqrt(n)
    # maximise sum t, 0 <= t <= 1, t <= rows d: t = 1 where some direction has nothing against it and moves the person
    identity = sparse.identity(n, format="csr")
    found = linprog(
        -np.r_[np.zeros(q), np.ones(n)], A_ub=sparse.hstack([sparse.csr_matrix(-rows), identity]), b_ub=np.zeros(n),
        bounds=[(None, None)] * q + [(0, 1)] * n, method="highs",
    )  # fmt: skip
    if found.status != 0:
        return Fitted(happened * 1.0, np.ones(n, dtype=bool), z, np.zeros((q, q)), happened, "no linear programme")
    share = found.x[q:]
    certain = share > 0.5
    grey = "separation in doubt" if ((share > 1e-6) & (share < 1 - 1e-6)).any() else ""
    p, inverse = happened * 1.0, np.zeros((q, q))
    rest = ~certain
    if rest.any():
        u, s, vt = np.linalg.svd(z[rest], full_matrices=False)
        there = s > 1e-7 * s[0]
        if ((s > 1e-9 * s[0]) & (s < 1e-4 * s[0])).any():
            grey = grey or "rank beside certain people"
        beta, basis = np.zeros(there.sum()), u[:, there]
        for _ in range(60):
            fitted = 1 / (1 + np.exp(-basis @ beta))
            information = (basis.T * (fitted * (1 - fitted))) @ basis
            step = np.linalg.solve(information, basis.T @ (happened[rest] - fitted))
            beta = beta + step * min(1.0, 4.0 / np.abs(basis @ step).max(initial=1e-300))
        if np.abs(basis @ beta).max() > EXTREME or not np.isfinite(beta).all():
            grey = grey or "nearly separated"
        p[rest] = 1 / (1 + np.exp(-basis @ beta))
        into = vt[there].T / s[there]
        inverse = into @ np.linalg.inv(information) @ into.T
    return Fitted(p, certain, z, inverse, happened, grey)


@dataclass
class Everyone:
    """Everybody with the covariates of both models: practices, who is seen, weights, and the model of being seen."""

    made: Frame
    practice: np.ndarray
    arm: np.ndarray
    seen: np.ndarray
    raw: np.ndarray
    x: np.ndarray
    loss: Fitted
    weight: np.ndarray
    slope: np.ndarray
    condition: float
    grey: str

    @property
    def labels(self):
        return list(dict.fromkeys(self.practice.tolist()))


def everyone(data, adjust, auxiliary, where, by_arm, smallest):
    """Fit the model of being observed; None where nobody can be analysed."""
    wide = [*adjust, *(name for name in auxiliary if name not in adjust)]
    there = [lambda d, n=n: (d[n] != "") if d[n].dtype.kind == "U" else ~np.isnan(d[n]) for n in wide]
    made = frame(data, "mansa_followup", adjust, where=[*where, *there])
    if made.refusal or made.grey:
        return made, None
    whole = {**data, "whole": np.random.default_rng(1).normal(size=len(data["arm"]))}
    arms = [[lambda d, a=a: d["arm"] == a] for a in (0, 1)] if by_arm else [[]]
    parts = [frame(whole, "whole", wide, where=[*where, *more], arm=not by_arm) for more in arms]
    rows = np.sort(np.concatenate([part.rows for part in parts]))
    z, grey = np.zeros((len(rows), sum(part.rank for part in parts))), ""
    seen, at, first = ~np.isnan(data["mansa_followup"][rows]), 0, []
    p, certain = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    inverse = np.zeros((z.shape[1], z.shape[1]))
    for part in parts:
        here, own = np.searchsorted(rows, part.rows), slice(at, at + part.rank)
        fitted = logistic(part.q.astype(float), seen[here])
        z[here, own], inverse[own, own] = fitted.z, fitted.inverse
        p[here], certain[here], at = fitted.p, fitted.certain, at + part.rank
        first.append(part.condition)
        grey = grey or fitted.grey or (part.grey if "perfect" not in part.grey else "")
    loss = Fitted(p, certain, z, inverse, seen, grey)
    own = p[seen]
    if (np.abs(own - smallest) < 1e-9).any():
        grey = grey or "a probability at the smallest"
    with np.errstate(divide="ignore"):
        weight = np.where(seen, 1 / np.maximum(np.where(seen, p, 1.0), max(smallest, 1e-300)), 0.0)
    slope = np.where(seen & (p > smallest), weight - 1.0, 0.0)
    raw = _raw(made, data, rows)
    measured = np.array([name not in ("intercept", "arm") and "=" not in name for name in made.terms])
    x = (raw - measured * made.x.astype(LONG).mean(axis=0)) @ np.array([made.contrasts[name] for name in made.terms])
    known = Everyone(
        made,
        data["practice"][rows],
        data["arm"][rows],
        seen,
        raw,
        x.astype(float),
        loss,
        weight,
        slope,
        max(first),
        grey,
    )
    return made, known


def _raw(made, data, rows):
    """Columns of everybody, as those analysed have them."""
    columns = []
    for name in made.terms:
        if name == "intercept":
            columns.append(np.ones(len(rows)))
        elif name == "arm":
            columns.append(data["arm"][rows])
        elif "=" in name:
            factor, label = name.split("=")
            columns.append((data[factor][rows] == label).astype(float))
        else:
            columns.append(data[name][rows])
    return np.column_stack(columns)


def ipw(data, adjust, where, found, trial, *, auxiliary=(), by_arm=False, working="independence",
        se="kauermann-carroll", smallest_probability=0.05, df="clusters-p"):  # fmt: skip
    """Weighted estimating equations with the sandwich of both models; a correlation of the product is verified."""
    made, known = everyone(data, adjust, auxiliary, where, by_arm, smallest_probability)
    no = refused(made) or (Said(grey=known.grey) if known.grey else None)
    if no:
        return made, no
    if made.clusters - made.cluster_rank <= 0:
        return made, Said(refusal="tau2_not_identified")
    n = np.array([(known.practice == k).sum() for k in known.labels])
    place = np.array([known.labels.index(k) for k in known.practice])
    seen, w = known.seen, known.weight[known.seen]
    q, e, group = known.x[seen], made.residual.astype(float), place[seen]
    sums = np.array([known.x[place == k].sum(axis=0) for k in range(len(n))])

    def solve(alpha):
        turned = q - (alpha / (1 + (n - 1) * alpha))[group, None] * sums[group]
        a = (turned.T * w) @ q
        change = np.linalg.solve(a, turned.T @ (w * e))
        return turned, a, change, e - q @ change

    def pairs(values):
        total = np.bincount(group, w * values)
        return 0.5 * ((total**2).sum() - ((w * values) ** 2).sum())

    alpha, p = 0.0, made.rank
    if working == "exchangeable" and pairs(np.ones(len(w))) > p and w.sum() > p:

        def again(alpha):
            r = solve(alpha)[-1]
            return pairs(r) / ((pairs(np.ones(len(w))) - p) * (w * r**2).sum() / (w.sum() - p))

        alpha, refusal = correlation(again, n.max(), found, trial)
        if refusal:
            return made, Said(refusal=refusal)
    turned, a, change, r = solve(alpha)
    loss, m = known.loss, np.linalg.inv(a)
    moved = (turned.T * (known.slope[seen] * r)) @ loss.z[seen] @ loss.inverse
    contrast = made.contrasts["arm"]
    scale = float(np.sqrt((contrast**2).sum()))
    unit, total, least = (contrast / scale).astype(float), 0.0, 1.0
    exponent = {"kauermann-carroll": -0.5, "robust": 0.0, "mancl-derouen": -1.0}[se]
    for k in range(len(n)):
        own = group == k
        score = (turned[own] * (w[own] * r[own])[:, None]).sum(axis=0) - moved @ loss.score[place == k].sum(axis=0)
        if exponent and own.any():
            score, low = _raised((turned[own].T * w[own]) @ q[own], m, exponent, score, alpha)
            least = min(least, low)
        total += (unit @ m @ score) ** 2
    used = np.inf if df == "normal" else made.clusters - made.cluster_rank
    out = said(made, float(contrast @ (made.fitted + change)), np.sqrt(total) * scale, used, least)
    return made, loosened(out, known, a, w)


def correlation(again, largest, found, trial):
    """The product's correlation if it gives itself; that of alternation from 0 where the product refuses."""
    if not found.failed[trial]:
        alpha = float(found.extras["alpha"][trial])
        return alpha, "" if abs(again(alpha) - alpha) < 1e-6 else f"alpha {alpha} gives {again(alpha)}"
    low, high, alpha = -(1 - 1e-6) / max(largest - 1, 1), 1 - 1e-6, 0.0
    for _ in range(200):
        before, alpha = alpha, min(max(again(alpha), low), high)
    return alpha, "" if abs(alpha - before) < 1e-9 and low < alpha < high else "not_converged"


def _raised(c, m, exponent, score, alpha):
    """(I - C M)^exponent times a score, and the least eigenvalue of I - C M."""
    if alpha == 0.0:
        lower = np.linalg.cholesky(m)
        raised, low = power(np.eye(len(m)) - lower.T @ c @ lower, exponent)
        return np.linalg.solve(lower.T, raised @ lower.T @ score), low
    values, vectors = np.linalg.eig(np.eye(len(m)) - c @ m)
    there = np.abs(values) > LONELY
    raised = np.where(there, np.where(there, values, 1.0).astype(complex) ** exponent, 0.0)
    out = (vectors @ (raised * np.linalg.solve(vectors, score))).real
    return out, np.abs(values[there]).min() if there.any() else 1.0


def loosened(out, known, a, w):
    """Weights carry the error of their own columns, and an uneven bread more of that of the rows."""
    singular = np.linalg.svd(a, compute_uv=False)
    spread = singular[0] / singular[-1]
    out.tolerance = (
        10 * spread * (out.tolerance + 1e4 * EPS * known.condition**2 * w.max(initial=1.0) * known.loss.z.shape[1])
    )
    out.df_tolerance = 1e-12
    return out
