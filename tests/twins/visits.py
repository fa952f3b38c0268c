"""Constrained longitudinal analysis from rows of both visits and whole covariance matrices of practices."""

import numpy as np
from scipy.optimize import minimize

from twins.frame import Frame, Said, frame

DEEPER = 1e-6
LARGEST = 600  # rows of both visits: a practice is one matrix here
VANISHING = (1e-6, 1e-9)  # variances of residuals in one direction
SEARCHED = 25  # covariances tried around the product's


class Visits:
    """Rows of both visits: X (orthonormal by visit), outcomes, who and which visit; -2 log-likelihood."""

    def __init__(self, early: Frame, late: Frame, data) -> None:
        p0, p1 = early.rank, late.rank
        self.x = np.zeros((early.people + late.people, p0 + p1))
        self.x[: early.people, :p0] = early.q.astype(float)
        self.x[early.people :, p0:] = late.q.astype(float)
        self.units = [float(np.sqrt((f.residual**2).mean())) for f in (early, late)]
        self.y = np.concatenate([f.residual.astype(float) / u for f, u in zip((early, late), self.units, strict=True)])
        self.person = np.concatenate([early.rows, late.rows])
        self.visit = np.repeat([0, 1], [early.people, late.people])
        practice = data["practice"][self.person]
        self.parts = [np.flatnonzero(practice == label) for label in dict.fromkeys(practice.tolist())]

    def solved(self, e, u):
        p = self.x.shape[1]
        a, b, logs, inverses = np.zeros((p, p)), np.zeros(p), 0.0, []
        for rows in self.parts:
            visit, person = self.visit[rows], self.person[rows]
            v = u[np.ix_(visit, visit)] + e[np.ix_(visit, visit)] * (person[:, None] == person[None, :])
            inverse = np.linalg.inv(v)
            x = self.x[rows]
            a, b, logs = a + x.T @ inverse @ x, b + x.T @ inverse @ self.y[rows], logs + np.linalg.slogdet(v)[1]
            inverses.append(inverse)
        phi = np.linalg.inv(a)
        return phi, phi @ b, logs, inverses

    def value(self, e, u, reml):
        phi, beta, logs, inverses = self.solved(e, u)
        left = self.y - self.x @ beta
        rest = sum(left[rows] @ v @ left[rows] for rows, v in zip(self.parts, inverses, strict=True))
        return logs + rest - (np.linalg.slogdet(phi)[1] if reml else 0.0)


def clda(data, adjust, where, found, trial, estimation="reml", df="clusters-p"):
    """Verify the product's six variances as a minimum, and its inference there."""
    late = frame(data, "mansa_followup", adjust, where=where)
    early = frame(data, "mansa_baseline", adjust, where=where, arm=False)
    for made in (late, early):
        if made.refusal or made.grey:
            return late, Said(refusal=made.refusal, grey=made.grey)
    if early.people + late.people > LARGEST:
        return late, Said(grey="too many people for whole matrices")
    if float((early.residual**2).sum() / (early.outcome**2).sum()) < 1e-5:
        return late, Said(grey="baseline nearly explained")
    both = np.intersect1d(early.rows, late.rows)
    if len(both) <= early.rank + late.rank:
        return late, Said(refusal="no_data", grey="few with both visits")
    joined = frame({**data}, "mansa_followup", [*adjust, "mansa_baseline"], where=where)
    if (joined.refusal and joined.refusal != "arm_aliased") or joined.grey:
        return late, Said(refusal=joined.refusal, grey=joined.grey)
    between = late.clusters - late.cluster_rank
    if between <= 0:
        return late, Said(refusal="tau2_not_identified")
    model = Visits(early, late, data)
    if found.failed[trial]:
        return late, _whether_refused(model, estimation == "reml")
    at = {n: float(found.extras[n][trial]) for n in found.extras}
    first, second = model.units
    covariance = at["correlation"] * np.sqrt(at["sigma2"] * at["sigma2_baseline"])
    e = np.array([[at["sigma2_baseline"] / first**2, covariance / (first * second)], [0, at["sigma2"] / second**2]])
    u = np.array([[at["tau2_baseline"] / first**2, at["tau2_both"] / (first * second)], [0, at["tau2"] / second**2]])
    e[1, 0], u[1, 0] = e[0, 1], u[0, 1]
    u = np.nan_to_num(u)
    if np.linalg.eigvalsh(e)[0] < 1e-4 or max(late.noise, early.noise, joined.noise) > 1e-6:
        return late, Said(grey="residuals nearly collinear")
    return late, _verified(late, model, e, u, between, estimation == "reml", df)


def _whether_refused(model, reml):
    """The product refuses: rightly if the criterion falls without bound as residuals of the two visits become one."""
    for direction in _thinnest(model):
        for u in (0.0, 0.3):
            try:
                before, lower = (
                    model.value(np.eye(2) - (1 - little) * np.outer(direction, direction), u * np.eye(2), reml)
                    for little in VANISHING
                )
            except np.linalg.LinAlgError:
                return Said(refusal="residuals become collinear")
            if lower < before - 5:  # by log(1e3) for every difference that then is 0
                return Said(refusal="residuals become collinear")
    ends = []
    for start in ((0.8, 0.0, 0.8, 0.3, 0.0, 0.3), (0.8, 0.5, 0.3, 0.3, 0.2, 0.3), (0.3, -0.5, 0.8, 0.5, 0.0, 0.5)):
        try:
            ended = minimize(lambda x: model.value(*_squares(x), reml), start, method="Nelder-Mead")
        except np.linalg.LinAlgError:
            return Said(refusal="residuals become collinear")
        ends.append((ended.fun, np.linalg.eigvalsh(_squares(ended.x)[0])[0]))
    least = min(ends)[1]
    if least < 1e-4:
        return Said(refusal="residuals become collinear")
    return Said(estimate=0.0, std_error=1.0, df=1.0, grey="residuals nearly collinear" if least < 1e-2 else "")


def _squares(x):
    roots = (np.array([[a, 0.0], [b, c]]) for a, b, c in (x[:3], x[3:]))
    return [root @ root.T for root in roots]


def _thinnest(model):
    """Directions of the two visits in which people of a practice differ least, given X and without, and both axes.

    Differences d'(y_1 - X_1 b_1, y_2 - X_2 b_2) between people seen twice are free of practices; d'Ed may be 0 if all
    of them can be: if coefficients leave D d, D their outcomes, nothing.
    """
    outcomes, columns = [], []
    for rows in model.parts:
        person, visit = model.person[rows], model.visit[rows]
        people = [p for p in np.unique(person) if (person == p).sum() == 2]
        if len(people) < 2:
            continue
        places = np.array([[rows[(person == p) & (visit == v)][0] for v in (0, 1)] for p in people])
        x = model.x[places].sum(axis=1)  # the columns of either visit are 0 at the other
        outcomes.append(model.y[places] - model.y[places].mean(axis=0))
        columns.append(x - x.mean(axis=0))
    axes = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    if not outcomes:
        return axes
    plain, x = np.concatenate(outcomes), np.concatenate(columns)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    u = u[:, s > 1e-9]
    return [*axes, *(np.linalg.svd(table)[2][-1] for table in (plain, plain - u @ (u.T @ plain)))]


def _verified(late, model, e, u, between, reml, df):
    phi, beta, *_ = model.solved(e, u)
    value = model.value(e, u, reml)
    rng = np.random.default_rng(len(model.y))
    for k in range(SEARCHED):
        root_e, root_u = (np.linalg.cholesky(m + 1e-12 * np.eye(2)) for m in (e, u))
        size = 10.0 ** -(k % 5)
        root_e = root_e + size * np.tril(rng.normal(size=(2, 2))) * 0.3
        root_u = root_u + size * np.tril(rng.normal(size=(2, 2))) * 0.3
        lower = model.value(root_e @ root_e.T, root_u @ root_u.T, reml)
        if lower < value - DEEPER - 1e-10 * abs(value):
            return Said(refusal=f"not the minimum by {value - lower:.2g}")
    contrast = late.contrasts["arm"].astype(float)
    p0 = model.x.shape[1] - late.rank
    unit = model.units[1]
    estimate = float(late.contrasts["arm"] @ late.fitted) + float(contrast @ beta[p0:]) * unit
    spread = contrast @ phi[p0:, p0:] @ contrast
    used = np.inf if df == "normal" else between
    return Said(
        estimate, float(np.sqrt(spread)) * unit, used, tolerance=1e-6 + 100 * late.noise, df_tolerance=1e-12
    )  # fmt: skip
