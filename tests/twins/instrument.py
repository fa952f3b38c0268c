"""Two-stage least squares by explicit projection, of people and of practice means, with Anderson and Rubin's set."""

from dataclasses import replace

import numpy as np
from scipy import stats

from simtrial.kernels.adjusted_t import CRITICAL, FIRST_STAGE
from twins.frame import EPS, Frame, Said, refused
from twins.linear import covariance, said

WEAKEST = 1e-12  # square of the first stage as a share of the mean square of receipt at which there is none


def iv(made: Frame, level="participant", se="CR2", df="satterthwaite", ci="wald", confidence=0.95):
    """Effect of receipt; arm, the last column, is the instrument."""
    no = refused(made)
    if no:
        return no
    if level == "cluster":
        return _of_means(made, se, df, ci, confidence)
    q, e = made.q.astype(float), made.residual.astype(float)
    d = made.receipt
    first = made.q.T @ d
    left = (d - made.q @ first).astype(float)
    arm = made.contrasts["arm"]
    effects = float(arm @ made.fitted), float(arm @ first)
    squares = float((d**2).mean())
    absent = _absent(made, effects[1], squares)
    if absent:
        return absent
    theta = effects[0] / effects[1]
    # 2SLS: the outcome less what covariates explain is e + q_arm b_arm, the treatment d; the projection is on Q
    y = e + q[:, -1] * float(made.fitted[-1])
    x = np.column_stack([q[:, :-1], d.astype(float)])
    fitted = q @ (q.T @ x)
    beta = np.linalg.solve(fitted.T @ x, fitted.T @ y)
    structural = y - x @ beta
    unit = np.zeros(made.rank)
    unit[-1] = 1.0
    joint, used, least = covariance(made, [structural], se, df, unit, fitted)
    out = said(made, theta, np.sqrt(joint[0, 0]), used, least)
    if not abs(beta[-1] - theta) <= 1e-8 * (abs(theta) + out.std_error):
        out.grey = out.grey or "projection and ratio of reduced forms differ"
    scale = float(np.sqrt((arm**2).sum()))
    both, _, _ = covariance(made, [e, left], se, df, (arm / scale).astype(float))
    _finish(out, made, np.array(effects), both * scale**2, squares, ci, confidence)
    return out


def of_mixed_models(made: Frame, refits, ci="wald", df="clusters-p", confidence=0.95):
    """Ratio of two mixed-model effects, every practice left out in turn; ``refits`` fits some practices of a frame."""
    no = refused(made)
    if no:
        return no
    arm = made.arm_of_practice
    first = made.q.T @ made.receipt
    left = made.receipt - made.q @ first
    squares = float((made.receipt**2).mean())
    of_receipt = replace(made, fitted=first, residual=left, outcome=made.receipt, spectra={})
    absent = _absent(made, float(made.contrasts["arm"] @ first), squares)
    if absent:
        return absent
    if min(arm.sum(), len(arm) - arm.sum()) < 2:
        return Said(refusal="too_few_clusters")
    if made.clusters - made.cluster_rank <= 0:
        return Said(refusal="tau2_not_identified")
    sets = [np.arange(made.clusters), *(np.delete(np.arange(made.clusters), out) for out in range(made.clusters))]
    grey, found = "", []
    for own in (made, of_receipt):
        refit, shift = refits(own), float(own.contrasts["arm"] @ own.fitted)
        fitted = [refit(practices) for practices in sets]
        if any(beta is None for beta, _ in fitted):
            return Said(refusal="no_data", grey="a left-out fit has no residual")
        if any(len(free) for _, free in fitted):
            grey = "a left-out fit is not unique"
        found.append([shift + float(own.contrasts["arm"] @ beta) for beta, _ in fitted])
    if float((left**2).sum()) <= 1e-9 * float((made.receipt**2).sum()):
        grey = grey or "receipt nearly explained"
    found = np.array(found)
    apart = found[:, 1:] - found[:, 1:].mean(axis=1)[:, None]
    j = made.clusters
    both = (j - 1) / j * apart @ apart.T
    rho, pi = found[:, 0]
    theta = rho / pi
    variance = (both[0, 0] - 2 * theta * both[0, 1] + theta**2 * both[1, 1]) / pi**2
    spent = {"clusters-1": 1, "clusters-2": 2, "normal": -np.inf}.get(df, made.cluster_rank)
    out = said(made, theta, np.sqrt(variance), j - spent)
    out.grey = out.grey or grey
    out.tolerance = 100 * out.tolerance + 1e-6  # the minimum of a flat criterion, found twice
    out.df_tolerance = 1e-12
    _finish(out, made, np.array([rho, pi]), both, squares, ci, confidence)
    return out


def _absent(made, receipt, squares):
    share = receipt**2 / squares if squares > 0 else 0.0
    doubt = made.condition**2 * EPS * 100
    if share <= WEAKEST:
        return Said(refusal="no_first_stage", grey="weakest" if share > 0.01 * WEAKEST else "")
    if share < max(100 * WEAKEST, doubt**2):
        return Said(refusal="no_first_stage", grey="weakest")
    return None


def _of_means(made, se, df, ci, confidence):
    """Two-stage least squares of practice means of what covariates leave, practices alike and independent."""
    y, d = (residual_means(made, r) for r in (made.outcome, made.receipt))
    arm = made.arm_of_practice
    z = np.column_stack([np.ones(len(arm)), arm])
    squares = float((made.receipt**2).mean())
    if min(arm.sum(), len(arm) - arm.sum()) < 1:
        return Said(refusal="arm_aliased")
    first = np.linalg.lstsq(z, d, rcond=None)[0]
    absent = _absent(made, first[1], squares)
    if absent:
        return absent
    reduced = np.linalg.lstsq(z, y, rcond=None)[0]
    theta = reduced[1] / first[1]
    residuals = [y - z @ reduced, d - z @ first]
    j = len(arm)
    k = np.where(arm == 1, arm.sum(), j - arm.sum())
    leverage = 1.0 / k
    with np.errstate(divide="ignore", invalid="ignore"):
        weight = {"CR2": 1 / (1 - leverage), "CR3": 1 / (1 - leverage) ** 2}.get(se, np.ones(j))
        scale = {"CR1": np.divide(j, j - 1), "CR1S": np.divide(j, j - 2), "HC1": np.divide(j, j - 2)}.get(se, 1.0)
        bread = np.linalg.inv(z.T @ z)
        along = z @ bread[:, 1]
        both = np.array([[scale * (weight * along**2 * a * b).sum() for a in residuals] for b in residuals])
        if se == "classical":
            both = np.array([[a @ b / (j - 2) * bread[1, 1] for a in residuals] for b in residuals])
        variance = (both[0, 0] - 2 * theta * both[0, 1] + theta**2 * both[1, 1]) / first[1] ** 2
        used = _df_of_means(made, df, se, z, bread, along, weight)
    out = said(made, theta, np.sqrt(variance), used)
    _finish(out, made, np.array([reduced[1], first[1]]), both, squares, ci, confidence)
    return out


def residual_means(made: Frame, response):
    """Practice means of the residuals from least squares on everything but arm, in extended precision."""
    rest = made.q[:, :-1]
    left = response - rest @ (rest.T @ response)
    return np.array([float(left[g].mean()) for g in made.groups])


def _df_of_means(made, df, se, z, bread, along, weight):
    j = len(z)
    if df != "satterthwaite":
        counts = {"normal": np.inf, "residual": j - 2, "clusters-1": j - 1, "clusters-2": j - 2}
        return counts.get(df, j - made.cluster_rank)
    if se == "classical":
        return j - 2
    hat = z @ bread @ z.T
    quadratic = (np.eye(j) - hat) @ np.diag(weight * along**2) @ (np.eye(j) - hat)
    return np.trace(quadratic) ** 2 / (quadratic**2).sum()


def _finish(out, made, effects, both, squares, ci, confidence):
    """First-stage F, tolerance of a ratio, and the set {theta : |t(theta)| <= t_crit} where asked for."""
    rho, pi = effects
    with np.errstate(divide="ignore", invalid="ignore"):
        out.extras = {"first_stage": pi, "first_stage_f": np.divide(pi**2, both[1, 1])}
    # rounding of the first stage, relative to itself, is the same in the ratio and in its error
    loss = made.condition**2 * EPS * 50 * np.sqrt(made.people * squares) / abs(pi)
    if both[0, 0] <= 1e-18 * float((made.outcome**2).mean()):
        out.either = "nothing between practices in the outcome"
    size = abs(out.estimate) / out.std_error if out.std_error > 0 else 0.0
    out.tolerance += loss * (1 + size)
    out.df_tolerance += loss
    cancel = both[0, 0] + out.estimate**2 * both[1, 1]
    structural = (out.std_error * pi) ** 2
    if structural <= 1e-9 * cancel:  # outcome and receipt left the same: an error that is a difference of equals
        out.grey = out.grey or "structural residual cancels"
    else:
        out.tolerance += EPS * 100 * made.condition**2 * cancel / structural
    if ci == "wald" or not np.isfinite(out.std_error) or out.grey:
        return
    critical = (
        stats.t.ppf(0.5 + confidence / 2, out.df) if np.isfinite(out.df) else stats.norm.ppf(0.5 + confidence / 2)
    )
    if ci == "tf":
        _widen(out, float(out.extras["first_stage_f"]), critical)
        return
    a, b = pi**2 - critical**2 * both[1, 1], rho * pi - critical**2 * both[0, 1]
    c = rho**2 - critical**2 * both[0, 0]
    within = b**2 - a * c
    out.p_value = float(2 * stats.t.sf(abs(rho) / np.sqrt(both[0, 0]), min(out.df, 1e300)))
    # near a = 0, or near a double root, rounding decides what kind of set it is
    flat = abs(a) <= 1e-6 * pi**2 or abs(within) <= 1e-6 * (b**2 + abs(a * c))
    out.grey = out.grey or ("kind of set" if flat else "")
    roots = sorted([(b - np.sqrt(max(within, 0.0))) / a, (b + np.sqrt(max(within, 0.0))) / a])
    kind = "bounded" if a > 0 else "rays" if within > 0 else "line"
    out.extras["ci_type"] = kind
    out.ends = tuple(roots) if kind != "line" else (-np.inf, np.inf)
    out.tolerance *= 1 + np.sqrt(b**2 + abs(a * c)) / np.sqrt(abs(within)) + pi**2 / abs(a)


def _widen(out, f, critical):
    """Wald's interval times c(F)/1.96, straight lines between the points of the table."""
    if abs(f / FIRST_STAGE[0] - 1) < 1e-6:
        out.grey = out.grey or "F where the table begins"
    if f < FIRST_STAGE[0]:
        out.ends, out.p_value = (-np.inf, np.inf), 1.0
        return
    at = min(int(np.searchsorted(FIRST_STAGE, f, side="right")) - 1, len(FIRST_STAGE) - 2)
    share = min((f - FIRST_STAGE[at]) / (FIRST_STAGE[at + 1] - FIRST_STAGE[at]), 1.0)
    error = out.std_error * (CRITICAL[at] + share * (CRITICAL[at + 1] - CRITICAL[at])) / 1.96
    out.ends = out.estimate - critical * error, out.estimate + critical * error
    out.p_value = float(2 * stats.t.sf(abs(out.estimate) / error, min(out.df, 1e300)))
    out.tolerance *= 400  # c falls by up to 26 per unit of F near 4, and F carries its own rounding
