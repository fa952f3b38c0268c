"""Analyses of practice means, and standardisation by refitting without each practice in turn."""

import numpy as np

from twins.frame import EPS, PERFECT, RANK, Frame, Said, refused
from twins.instrument import residual_means
from twins.linear import said


def components(made: Frame):
    """One-way analysis of variance within arms of what covariates leave: between and within variance."""
    rest = made.q[:, :-1]
    left = (made.outcome - rest @ (rest.T @ made.outcome)).astype(float)
    means, sizes, arm = np.array([left[g].mean() for g in made.groups]), made.sizes, made.arm_of_practice
    n, j = made.people, made.clusters
    within = sum(((left[g] - left[g].mean()) ** 2).sum() for g in made.groups)
    between, unequal = 0.0, 0.0
    for side in (0, 1):
        own = arm == side
        if own.any():
            mean = np.average(means[own], weights=sizes[own])
            between += (sizes[own] * (means[own] - mean) ** 2).sum()
            unequal += (sizes[own] ** 2).sum() / sizes[own].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma2 = np.divide(within, n - j)
        tau2 = np.divide(np.divide(between, j - 2) - sigma2, np.divide(n - unequal, j - 2))
    return max(tau2, 0.0) if not np.isnan(tau2) else tau2, sigma2


def weights_of(made: Frame, weights):
    """What every practice counts."""
    if weights == "equal":
        return np.ones(made.clusters)
    if weights == "size":
        return made.sizes
    tau2, sigma2 = components(made)
    spread = tau2 + sigma2 / made.sizes
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        return np.ones(made.clusters)
    return (tau2 + sigma2) / spread


def cluster_means(made: Frame, weights="equal", variance="pooled", adjustment="two-stage", df="clusters-2"):
    """Comparison of practice means: two samples, or a regression on mean covariates."""
    no = refused(made)
    if no:
        return no
    weight = weights_of(made, weights)
    grey = "one variance component is rounding" if weights == "inverse-variance" and _doubtful(made) else ""
    out = (_ancova if adjustment == "ancova" else _two_samples)(made, weight, variance, df)
    out.grey = out.grey or grey
    out.tolerance *= weight.max() / weight.min()
    out.df_tolerance *= weight.max() / weight.min()
    return out


def _doubtful(made):
    """Whether the within variance is nothing beside that of the outcome, or rounding decides whether tau2 is 0."""
    _, sigma2 = components(made)
    scale = float((made.outcome**2).mean())
    return bool(sigma2 <= 1e-10 * scale)


def _two_samples(made, weight, variance, df):
    means, arm = residual_means(made, made.outcome), made.arm_of_practice
    j = made.clusters
    sides = [arm == 0, arm == 1]
    average = [np.average(means[s], weights=weight[s]) for s in sides]
    squares = [(weight[s] * (means[s] - a) ** 2).sum() for s, a in zip(sides, average, strict=True)]
    total, count = [weight[s].sum() for s in sides], [s.sum() for s in sides]
    with np.errstate(divide="ignore", invalid="ignore"):
        if variance == "welch":
            each = [np.divide(q, (c - 1) * t) for q, c, t in zip(squares, count, total, strict=True)]
            spread = sum(each)
            used = np.divide(spread**2, sum(np.divide(e**2, c - 1) for e, c in zip(each, count, strict=True)))
        else:
            spread = np.divide(sum(squares), j - 2) * sum(1 / t for t in total)
            used = j - (2 if df == "clusters-2" else made.cluster_rank)
    no = _flat(made, weight, sum(squares), j > 2)
    if no:
        return no
    if j <= 2 or not used > 0:
        return Said(refusal="no_data")
    return _scaled(made, average[1] - average[0], np.sqrt(spread), used)


def _scaled(made, estimate, std_error, used):
    """Rounding is relative to the variation of people, and an error of means may be far below it."""
    out = said(made, estimate, std_error, used)
    deviation = float(np.sqrt((made.outcome**2).mean()))
    own = EPS * 40 * made.rank * np.sqrt(made.people) * made.condition**2 * deviation / max(std_error, 1e-300)
    out.tolerance += own + own**2
    out.df_tolerance += 10 * own
    return out


def _flat(made, weight, squares, there):
    """Means that leave nothing."""
    limit = PERFECT * float((made.outcome**2).mean()) * weight.sum()
    if there and squares <= limit:
        return Said(refusal="constant_outcome", grey="flat means" if squares > 0.01 * limit else "")
    return Said(grey="flat means") if there and squares <= 100 * limit else None


def _ancova(made, weight, variance, df):
    """Weighted regression of mean outcomes on mean covariates, aliased ones dropped among the means."""
    root = np.sqrt(weight)
    kept, basis, grey = [], [], ""
    contrast = None
    for k, name in enumerate(made.terms):
        values = made.x[:, k].astype(np.longdouble)
        if not set(np.unique(values)) <= {0.0, 1.0}:
            values = values - values.mean()
        means = root * np.array([values[g].mean() for g in made.groups])
        scale = max((means**2).sum(), (values**2).mean() * weight.sum())
        rest = means.copy()
        for _ in range(2):
            for b in basis:
                rest = rest - (b @ rest) * b
        share = float((rest**2).sum() / scale)
        if share > 1e-2 * RANK and share < 1e2 * RANK:
            grey = grey or f"rank of means: {name}"
        if share > RANK:
            length = np.sqrt((rest**2).sum())
            basis.append(rest / length)
            kept.append(name)
            contrast = length
    if not kept or kept[-1] != "arm":
        return Said(refusal="arm_aliased", grey=grey)
    q = np.column_stack(basis)
    y = root * np.array([made.outcome[g].mean() for g in made.groups])
    left = y - q @ (q.T @ y)
    j, rank = made.clusters, len(kept)
    squares = float((left**2).sum())
    no = _flat(made, weight, squares, j > rank)
    if no:
        no.grey = no.grey or grey
        return no
    used = j - (2 if df == "clusters-2" else rank)
    if min(used, j - rank) <= 0:
        return Said(refusal="no_data", grey=grey)
    # the last column of an upper triangle: its coefficient is that of the last basis vector over the diagonal
    estimate = float(q[:, -1] @ y / contrast)
    out = _scaled(made, estimate, np.sqrt(squares / (j - rank)) / float(contrast), used)
    out.tolerance = _means_noise(made, q, root, kept, out)
    out.grey = out.grey or grey
    return out


def _means_noise(made, q, root, kept, out):
    """Tolerance by the condition of the means, in units of the columns' variation among people."""
    columns = []
    for name in kept:
        values = made.x[:, made.terms.index(name)].astype(float)
        if not set(np.unique(values)) <= {0.0, 1.0}:
            values = values - values.mean()
        means = root * np.array([values[g].mean() for g in made.groups])
        columns.append(means / max(np.sqrt((means**2).sum()), np.sqrt((values**2).mean() * (root**2).sum())))
    singular = np.linalg.svd(np.column_stack(columns), compute_uv=False)
    condition = singular[0] / singular[-1]
    return out.tolerance * max(1.0, (condition / made.condition) ** 2)


def g_computation(made: Frame, average="participant", by_arm=False, df="clusters-p", fits=None):
    """Standardised means less each practice in turn; ``fits`` gives coefficients of the mixed model for some rows."""
    no = refused(made)
    if no:
        return no
    arm = made.arm_of_practice
    if min(arm.sum(), len(arm) - arm.sum()) < 2:
        return Said(refusal="too_few_clusters")
    x, rank, grey, aliased = _products(made) if by_arm else (made.q.astype(float), made.cluster_rank, "", False)
    if aliased:
        return Said(refusal="arm_aliased", grey=grey)
    if made.clusters - rank <= 0:
        return Said(refusal="tau2_not_identified", grey=grey)
    if made.people <= np.linalg.matrix_rank(x, tol=1e-6):
        return Said(refusal="no_data", grey=grey)
    every = [effect(made, x, np.arange(made.clusters), average, by_arm, fits)]
    every += [
        effect(made, x, np.delete(np.arange(made.clusters), out), average, by_arm, fits) for out in range(made.clusters)
    ]
    estimates = np.array([value for value, _ in every])
    if not all(unique for _, unique in every):
        grey = grey or "a left-out fit is not unique"
    if np.isnan(estimates).any():
        return Said(refusal="no_data", grey=grey)
    j = made.clusters
    spread = (j - 1) / j * ((estimates[1:] - estimates[1:].mean()) ** 2).sum()
    spent = {"clusters-p": rank, "clusters-2": 2, "normal": -np.inf}[df]
    shift = float(made.contrasts["arm"] @ made.fitted) if not by_arm else 0.0
    out = said(made, estimates[0] + shift, np.sqrt(spread), j - spent)
    out.tolerance *= 100
    out.df_tolerance = 1e-12
    out.grey = out.grey or grey
    return out


def _products(made):
    """Q beside arm times covariates, cluster-level ones among them counted, in a basis of its own."""
    q = made.q.astype(float)
    inner = made.x[:, 1:-1].astype(float)
    scaled = np.column_stack([_centred(v) for v in inner.T]) if inner.shape[1] else inner
    products = scaled * made.arm[:, None]
    basis, rank, grey, aliased = list(q.T), made.cluster_rank, "", False
    for k in range(products.shape[1]):
        length = np.sqrt((products[:, k] ** 2).sum())
        rest = products[:, k]
        for _ in range(2):
            rest = rest - sum((b @ rest) * b for b in basis)
        share = (rest**2).sum() / max(length**2, 1e-300)
        if 1e-13 < share < 1e-6:
            grey = "rank of products"
        aliased |= share <= RANK  # the effect in those who were in one arm only is not identified
        if share > RANK:
            basis.append(rest / np.sqrt((rest**2).sum()))
            rank += made.practice_level[made.terms[1 + k]]
    return np.column_stack(basis), rank, grey, aliased


def _centred(values):
    return values if set(np.unique(values)) <= {0.0, 1.0} else (values - values.mean()) / max(values.std(), 1e-300)


def effect(made, x, practices, average, by_arm, fits):
    """Standardised effect among some practices, and whether their fit leaves it unique."""
    rows = np.concatenate([made.groups[j] for j in practices])
    y = made.outcome.astype(float) if by_arm else made.residual.astype(float)
    unique = True
    if fits is None:
        u, s, vt = np.linalg.svd(x[rows], full_matrices=False)
        there = s > 1e-7 * s[0]
        beta = vt[there].T @ ((u[:, there].T @ y[rows]) / s[there])
        free = vt[~there]
        unique = not ((s > 1e-10 * s[0]) & (s < 1e-3 * s[0])).any()  # neither of full rank nor less
    else:
        beta, free = fits(practices)
        if beta is None:
            return np.nan, True
    found = []
    arm, sizes = made.arm_of_practice[practices], made.sizes[practices]
    weight = sizes if average == "participant" else np.ones(len(practices))
    for a in (0, 1):
        at = _set_arm(made, x, rows, a, by_arm)
        if len(free) and np.abs(free @ at.T).max() > 1e-6:
            unique = False
        predicted, own = at @ beta, x[rows] @ beta
        ends = np.cumsum(made.sizes[practices]).astype(int)
        parts = [slice(e - int(n), e) for e, n in zip(ends, made.sizes[practices], strict=True)]
        m = np.array([predicted[s].mean() for s in parts])
        rest = np.array([(y[rows][s] - own[s]).mean() for s in parts])
        share = (arm == a).mean()
        found.append((weight * (m + (arm == a) * rest / share)).sum() / weight.sum())
    return found[1] - found[0], unique


def _set_arm(made, x, rows, a, by_arm):
    """Rows of X with everyone in arm a, in the basis that X is given in."""
    if not by_arm:
        direction = made.contrasts["arm"].astype(float)  # X = Q R, so a step of arm moves a row of Q by that of R^-1
        return x[rows] + (a - made.arm[rows])[:, None] * direction
    own, other = _raw(made, made.arm), _raw(made, np.full(made.people, float(a)))
    turn = np.linalg.lstsq(own, x, rcond=None)[0]
    return (other @ turn)[rows]


def _raw(made, arm):
    inner = made.x[:, 1:-1].astype(float)
    scaled = np.column_stack([_centred(v) for v in inner.T]) if inner.shape[1] else inner
    return np.column_stack([np.ones(made.people), scaled, arm, scaled * arm[:, None]])
