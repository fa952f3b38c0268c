"""Weighting by adherence: principal scores with a loop of refits, and per-protocol analyses weighted for adherence."""

import numpy as np

from twins.frame import EPS, Frame, Said, frame, refused
from twins.linear import said

STEPS, ENDLESS = 60, 12.0  # Newton's, and a linear predictor beyond which a class may be separated
FLAT = 1e-7  # singular value, of the largest, at which a regression is not determined by its rows


def logistic(z, event):
    """Coefficients of a logistic regression by Newton's method; None where it has no clear finite maximum."""
    singular = np.linalg.svd(z, compute_uv=False) if len(z) else np.zeros(1)
    if len(z) < z.shape[1] or singular[-1] <= FLAT * singular[0]:
        return None
    beta = np.zeros(z.shape[1])

    def likelihood(b):
        return -np.logaddexp(0, np.where(event, -1, 1) * (z @ b)).sum()

    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-z @ beta))
        information = (z.T * (p * (1 - p))) @ z
        if np.linalg.cond(information) > 1e12:
            return None
        step, share = np.linalg.solve(information, z.T @ (event - p)), 1.0
        while likelihood(beta + share * step) < likelihood(beta) - 1e-12 and share > 1e-6:
            share /= 2
        beta = beta + share * step
        if np.abs(z @ beta).max() > ENDLESS:
            return None
        if np.abs(z @ step).max() < 1e-13:
            return beta
    return beta if np.abs(z @ step).max() < 1e-8 else None


def principal_score(made: Frame, data, adjust, predictors, receipt, df="clusters-p") -> Said:
    """Those who received against controls weighted by their chance; every practice left out in turn.

    ``made`` has the covariates of both models and arm; ``receipt`` is of all people of the trial.
    """
    arm, rows = made.arm == 1, made.rows
    taken = receipt[rows] == 1
    if made.refusal or made.grey:
        return refused(made)
    if (taken & ~arm).any():
        return Said(refusal="receipt_in_control")
    if not (taken & arm).any() or not (~taken & arm).any():
        return Said(refusal="one_stratum")
    if min(len({data["practice"][rows[k]] for k in np.flatnonzero(side)}) for side in (arm, ~arm)) < 2:
        return Said(refusal="too_few_clusters")
    spent = {"clusters-2": 2, "normal": -np.inf}.get(df, made.cluster_rank)
    if made.clusters - spent <= 0:
        return Said(refusal="tau2_not_identified")
    x, z = _basis(made, adjust, True), _basis(made, predictors, False)
    y, effects = made.outcome.astype(float), []
    for out in [None, *made.groups]:
        inside = np.ones(made.people, dtype=bool)
        if out is not None:
            inside[out] = False
        own = inside & arm
        if not (own & taken).any() or not (own & ~taken).any():
            return Said(refusal="one_compliant_practice")
        gamma = logistic(z[own], taken[own])
        if gamma is None:
            return Said(grey="receipt is separated, or a covariate does not vary among those offered")
        chance = 1 / (1 + np.exp(-z @ gamma))
        weight = np.sqrt(inside * np.where(arm, taken, chance))
        design = x * weight[:, None]
        singular = np.linalg.svd(design, compute_uv=False)
        if singular[-1] <= 1e-4 * singular[0]:
            return Said(grey="weighted least squares is nearly singular")
        effects.append((np.linalg.lstsq(design, y * weight, rcond=None)[0] @ x_contrast(x, made))[()])
    without = np.array(effects[1:])
    j = made.clusters
    variance = (j - 1) / j * ((without - without.mean()) ** 2).sum()
    found = said(made, effects[0], np.sqrt(variance), j - spent)
    found.tolerance = 1e4 * found.tolerance + 1e-7  # chances of subsets that are nearly separated, and their weights
    found.df_tolerance = 1e-12
    return found


def x_contrast(x, made):
    """What gives the coefficient of arm, the last column of ``x``, which is left as it is."""
    return np.eye(x.shape[1])[-1]


def _basis(made, names, with_arm):
    """Intercept and the columns of some covariates that are kept, orthonormalised; arm behind them as it is."""
    chosen = [k for k, term in enumerate(made.terms) if term.split("=")[0] in names]
    columns = made.x[:, chosen].astype(np.longdouble)
    columns = columns - columns.mean(axis=0)
    spread = np.sqrt((columns**2).mean(axis=0))
    columns = (columns / np.where(spread > 0, spread, 1.0)).astype(float)
    ones = np.ones((made.people, 1))
    q = np.linalg.qr(np.column_stack([ones, columns]))[0] * np.sqrt(made.people)
    return np.column_stack([q, made.arm]) if with_arm else q


def ipw_per_protocol(
    data, adjust, auxiliary, where, keep, se="kauermann-carroll", df="clusters-p"
) -> tuple[Frame, Said]:
    """Weighted least squares of those kept, and the sandwich of both models' scores by whole matrices."""
    wide = list(dict.fromkeys([*adjust, *auxiliary]))
    complete = [lambda d, name=name: _there(d[name]) for name in wide]
    made = frame(data, "mansa_followup", adjust, where=[*where, *complete, keep])
    if refused(made):
        return made, refused(made)
    known = [*where, *complete, lambda d: np.where(np.isnan(keep(d)), np.nan, 1.0)]
    everyone = frame(data, "mansa_followup", [], where=known, arm=False)
    kept = np.isin(everyone.rows, made.rows)
    offered = everyone.arm == 1
    probability, blocks = np.ones(len(kept)), []
    for side in (~offered, offered):
        own = np.flatnonzero(side)
        if kept[own].all():
            continue
        part = {name: values[everyone.rows[own]] for name, values in data.items()}
        scored = frame(part, "mansa_followup", wide, arm=False)
        if scored.grey:
            return made, Said(grey=scored.grey)
        z = (scored.q * np.sqrt(len(own))).astype(float)
        gamma = logistic(z, kept[own])
        if gamma is None:
            return made, Said(grey="adherence is separated, or nearly")
        probability[own] = 1 / (1 + np.exp(-z @ gamma))
        blocks.append((own, z))
    if (np.abs(probability[kept] - 0.05) < 1e-6).any():
        return made, Said(grey="a probability at its bound")
    return made, _weighted(made, everyone, kept, probability, blocks, data, se, df)


def _there(values):
    return ((values != "") if values.dtype.kind == "U" else ~np.isnan(values)).astype(float)


def _weighted(made, everyone, kept, probability, blocks, data, se, df):
    q, e = made.q.astype(float), made.residual.astype(float)
    weight = 1 / np.maximum(probability[kept], 0.05)
    slope = np.where(probability[kept] > 0.05, weight - 1, 0.0)
    bread = np.linalg.inv((q.T * weight) @ q)
    change = bread @ (q.T @ (weight * e))
    left = e - q @ change
    practice = data["practice"]
    labels = list(dict.fromkeys(practice[everyone.rows].tolist()))
    if made.clusters - made.cluster_rank <= 0:
        return Said(refusal="tau2_not_identified")
    scores = {label: np.zeros(q.shape[1]) for label in labels}
    place = np.cumsum(kept) - 1
    for own, z in blocks:
        p = probability[own]
        information = (z.T * (p * (1 - p))) @ z
        at = kept[own]
        moved = (q[place[own[at]]].T * (slope[place[own[at]]] * left[place[own[at]]])) @ z[at]
        taken = moved @ np.linalg.solve(information, (z * (at - p)[:, None]).T)
        for k, person in enumerate(own):
            scores[practice[everyone.rows[person]]] -= taken[:, k]
    scale = float(np.sqrt((made.contrasts["arm"] ** 2).sum()))
    contrast = (made.contrasts["arm"] / scale).astype(float)
    variance, least = 0.0, 1.0
    exponent = {"kauermann-carroll": -0.5, "robust": 0.0, "mancl-derouen": -1.0}[se]
    rows_of = {practice[made.rows[g[0]]]: g for g in made.groups}
    root = np.linalg.cholesky(bread)
    for label, score in scores.items():
        g = rows_of.get(label)
        if g is not None:
            score = score + q[g].T @ (weight[g] * left[g])
            if exponent:
                hat = root.T @ ((q[g].T * weight[g]) @ q[g]) @ root
                values, vectors = np.linalg.eigh(np.eye(len(hat)) - hat)
                least = min(least, values[values > 1e-9].min())
                raised = np.where(values > 1e-9, np.abs(values) ** exponent, 0.0)
                score = np.linalg.solve(root.T, vectors @ (raised * (vectors.T @ (root.T @ score))))
        variance += (contrast @ bread @ score) ** 2
    estimate = float(made.contrasts["arm"] @ (made.fitted + change))
    out = said(
        made,
        estimate,
        np.sqrt(variance) * scale,
        np.inf if df == "normal" else made.clusters - made.cluster_rank,
        least,
    )
    out.tolerance = 100 * out.tolerance + 1e-8 + 1e4 * EPS / least
    out.df_tolerance = 1e-12
    return out
