"""The random-intercept model with one V of all people: Satterthwaite, Kenward and Roger, the limit of the model."""

import numpy as np

from twins.frame import EPS, Frame, Said, blocks, refused
from twins.linear import said
from twins.spectrum import optimum, spectrum

DOUBTFUL = 1e-4  # a relative error of gamma at which nothing can be compared
HARDLY = 3e-5  # of a direction's length: 1e-9 of its square, next to what counts as no variation within practices
STOP = 1e-10  # relative error of gamma at which an optimiser may stop


def lmm(made: Frame, estimation="reml", df="between-within", tau2="nonnegative", term="arm"):
    """Random-intercept model at the global optimum of its criterion."""
    no = refused(made)
    if no:
        return no
    between = made.clusters - made.cluster_rank
    if between <= 0:
        return Said(refusal="tau2_not_identified")
    parts = blocks(made)
    reml = estimation == "reml"
    alone = made.people == made.clusters
    if reml and not alone and made.people - made.rank <= 1:
        return Said(refusal="tau2_not_identified")  # one contrast: its likelihood does not depend on gamma
    if alone:
        gamma, best = 0.0, None
    else:
        s = spectrum(made, parts, reml)
        best = optimum(made, s, tau2 == "unconstrained")
        if best.grey:
            return Said(grey=best.grey)
        if best.unbounded:
            return limit(made, df, term, best.either, reml)
        gamma = best.gamma
    out = _inferred(made, parts, gamma, reml, df, term, alone, between)
    if best is not None:
        error = best.doubt + STOP
        if error > DOUBTFUL:
            out.grey = out.grey or "flat criterion"
        size = abs(out.estimate - float(made.contrasts[term] @ made.fitted)) / out.std_error
        out.tolerance += error * (10 + size)
        out.df_tolerance += 100 * error
        out.either = best.either
        if best.either:  # gamma is above 1e5, and the product may take the limit
            out.tolerance += 1e-5 * (1 + size)  # 1/gamma of the way from least squares
            # the observed information is a difference of large numbers there
            out.df_tolerance += np.inf if df == "satterthwaite-observed" else 1e-3
        out.spectrum = s
    return out


def limit(made: Frame, df, term, why, reml):
    """As residuals vanish people decide what varies within practices, and practices, all alike, the rest.

    Coefficients of directions that vary within practices come from deviations from practice means; those of the others
    from least squares of the practice means less that part.
    """
    sizes = np.linalg.svd(_deviations(made.q.astype(float), made.groups), compute_uv=False)
    if ((sizes > 1e-12) & (sizes < HARDLY)).any():
        return Said(grey="a combination of covariates hardly varies within practices")
    beta, rest, left = limit_fit(made.q.astype(float), made.residual.astype(float), made.groups)
    contrast = made.contrasts[term].astype(float)
    out = Said(either=why, tolerance=1e-6, df_tolerance=1e-5)
    if not rest.shape[1]:
        return Said(either=why, grey="everything varies within practices in the limit")
    inside = rest.T @ contrast  # the part that people decide has no variance in the limit
    if np.linalg.norm(inside) <= 1e-7 * np.linalg.norm(contrast):
        return Said(either=why, grey="people decide all of the effect, which has no error in the limit")
    x = np.array([made.q[g].astype(float).mean(axis=0) for g in made.groups]) @ rest
    if made.clusters <= rest.shape[1] or np.linalg.matrix_rank(x, tol=1e-9) < rest.shape[1]:
        return Said(refusal="tau2_not_identified", either=why, grey="limit not identified")
    nu = made.clusters - (rest.shape[1] if reml else 0)
    spread = left @ left / nu * (inside @ np.linalg.inv(x.T @ x) @ inside)
    out.estimate, out.std_error = float(contrast @ (made.fitted + beta)), float(np.sqrt(spread))
    rules = {"normal": np.inf, "residual": made.people - made.rank, "between-within": made.clusters - made.cluster_rank}
    out.df = rules.get(df, nu)  # of one variance, the other being 0: 2 v^2 / (v'^2 / information) = nu
    return out


def limit_fit(q, e, groups):
    """Coefficients in the limit, directions (p, k) that do not vary within practices, and residuals of practices."""
    within = _deviations(q, groups)
    inner = np.concatenate([e[g] - e[g].mean() for g in groups])
    u, s, vt = np.linalg.svd(within, full_matrices=False)
    there = s > 1e-7
    own = vt[there].T @ ((u[:, there].T @ inner) / s[there])
    rest = np.linalg.svd(np.vstack([vt[there], np.zeros((1, q.shape[1]))]))[2][int(there.sum()) :].T
    x = np.array([q[g].mean(axis=0) for g in groups])
    y = np.array([e[g].mean() for g in groups]) - x @ own
    other = np.linalg.lstsq(x @ rest, y, rcond=1e-9)[0]
    return own + rest @ other, rest, y - x @ rest @ other


def _deviations(x, groups):
    """Deviations from the means of practices, stacked by practice."""
    return np.concatenate([x[g] - x[g].mean(axis=0) for g in groups])


def _inferred(made, parts, gamma, reml, df, term, alone, between):
    """Coefficients, variance and degrees of freedom at gamma, from V inverted as a whole."""
    q, e, _ = parts.stacked
    shared = parts.shared
    h = parts.inverse(gamma)
    inside = _deviations(made.q.astype(float), made.groups)
    # all directions, but not a square matrix of thousands of people; what people tell apart from the rest:
    turn = np.linalg.svd(inside, full_matrices=len(inside) < inside.shape[1])[2].T
    q = q @ turn  # as gamma grows the one is beyond all measure better known than the other
    size = np.sqrt(np.einsum("ni,nm,mi->i", q, h, q))
    bread = np.linalg.inv((q.T @ h @ q) / np.outer(size, size)) / np.outer(size, size)
    change = bread @ (q.T @ h @ e)
    left = e - q @ change
    nu = made.people - (made.rank if reml else 0)
    sigma2 = left @ h @ left / nu
    contrast, change = made.contrasts[term], turn @ change
    scale = float(np.sqrt((contrast**2).sum()))
    unit = turn.T @ (contrast / scale).astype(float)
    variance = sigma2 * (unit @ bread @ unit)
    residual = made.people - made.rank
    used = {"normal": np.inf, "residual": residual, "between-within": between}.get(df)
    if df == "between-within" and not made.practice_level[term]:
        used = residual - between
    if used is None:
        if alone:
            used = residual
        else:
            used, variance = _small_sample(made, q, e, h, bread, shared, sigma2, unit, reml, df, gamma)
    estimate = float(contrast @ (made.fitted + change))
    out = said(made, estimate, np.sqrt(max(variance, 0.0)) * scale, used)
    out.extras = {"sigma2": sigma2}
    if not alone:
        out.extras |= {"tau2": gamma * sigma2, "icc": gamma / (1 + gamma)}
    return out


def information(made, q, e, h, bread, shared, sigma2, reml):
    """Expected and observed information of (tau2, sigma2); parts V_i of V; first and second of Kenward and Roger."""
    lost = made.people - len(e)  # rows that are 0 after rotation: of variance sigma2, and nothing else
    inverse, phi = h / sigma2, bread * sigma2
    projection = inverse - inverse @ q @ phi @ q.T @ inverse
    parts = (shared, np.eye(len(e)))
    expected, observed = np.empty((2, 2)), np.empty((2, 2))
    second = [[None, None], [None, None]]
    of = projection if reml else inverse
    for i in range(2):
        for j in range(2):
            second[i][j] = q.T @ inverse @ parts[i] @ inverse @ parts[j] @ inverse @ q
            trace = np.sum((of @ parts[i]) * (of @ parts[j]).T) + (lost / sigma2**2 if i == j == 1 else 0.0)
            expected[i, j] = trace / 2
            observed[i, j] = -trace / 2 + e @ projection @ parts[i] @ projection @ parts[j] @ projection @ e
    first = [-q.T @ inverse @ part @ inverse @ q for part in parts]
    return expected, observed, first, second, phi


def _small_sample(made, q, e, h, bread, shared, sigma2, unit, reml, df, gamma):
    expected, observed, first, second, phi = information(made, q, e, h, bread, shared, sigma2, reml)
    w = np.linalg.inv(expected)
    value = unit @ phi @ unit
    gradient = np.array([-(unit @ phi @ matrix @ phi @ unit) for matrix in first])
    if df == "satterthwaite-observed":
        if gamma == 0:
            return made.people - (made.rank if reml else 0), value
        if np.linalg.det(observed / np.sqrt(np.outer(np.diag(expected), np.diag(expected)))) > 0:
            w = np.linalg.inv(observed)
    used = 2 * value**2 / (gradient @ w @ gradient)
    if df == "kenward-roger":
        change = np.zeros_like(phi)
        for i in range(2):
            for j in range(2):
                change += w[i, j] * (second[i][j] - first[i] @ phi @ first[j])
        value = unit @ (phi + 2 * phi @ change @ phi) @ unit
    return used, value


def icc_reml(made: Frame, clusters_spent):
    """Intracluster correlation by REML and its variance from the expected information by the delta method."""
    no = refused(made)
    if no:
        return no
    if made.people == made.clusters or made.clusters <= clusters_spent or made.people - made.rank <= 1:
        return Said(refusal="tau2_not_identified")
    parts = blocks(made)
    s = spectrum(made, parts, True)
    best = optimum(made, s)
    if best.grey or best.unbounded:
        return Said(grey=best.grey or best.either)
    q, e, _ = parts.stacked
    h = parts.inverse(best.gamma)
    bread = np.linalg.inv(q.T @ h @ q)
    left = e - q @ (bread @ (q.T @ h @ e))
    sigma2 = left @ h @ left / s.nu
    expected = information(made, q, e, h, bread, parts.shared, sigma2, True)[0]
    w = np.linalg.inv(expected) / sigma2**2
    spread = w[0, 0] - 2 * best.gamma * w[0, 1] + best.gamma**2 * w[1, 1]
    out = said(made, best.gamma / (1 + best.gamma), np.sqrt(spread) / (1 + best.gamma) ** 2, np.inf, in_units=False)
    out.tolerance += (best.doubt + STOP) * 100 + 8 * EPS / max(out.std_error, EPS)  # of a number near 1
    plain = ((made.sizes / (1 + best.gamma * made.sizes)) ** 2).sum() / (2 * sigma2**2)
    out.tolerance += 10 * EPS * plain / expected[0, 0]  # what covariates leave of it is a difference
    out.spectrum = s
    out.grey = "flat criterion" if best.doubt > DOUBTFUL else ""
    out.either = best.either
    return out


def icc_anova(made: Frame, within_arm=True):
    """Intracluster correlation by mean squares; the variance from whole quadratic forms of normal outcomes."""
    if made.refusal or made.grey:
        return Said(refusal=made.refusal, grey=made.grey)
    j, n = made.clusters, made.people
    spent = 2 if within_arm else 1
    if n == j or j - spent <= 0:
        return Said(refusal="tau2_not_identified")
    sides = made.arm_of_practice if within_arm else np.zeros(j)
    y, sizes = made.outcome.astype(float), made.sizes
    within = sum(((y[g] - y[g].mean()) ** 2).sum() for g in made.groups) / (n - j)
    means = np.array([y[g].mean() for g in made.groups])
    # in units of root n_j times the mean, the between form is I less a projection per arm
    root, b = np.sqrt(sizes), np.eye(j)
    for side in set(sides.tolist()):
        own = np.where(sides == side, root, 0.0)
        b -= np.outer(own, own) / (own @ own)
    z = root * (means - y.mean())
    between = z @ b @ z / (j - spent)
    size = (b @ np.diag(sizes)).trace() / (j - spent)
    if not within > 0:
        return Said(refusal="constant_outcome", grey="flat")
    ratio = between / within
    rho = (ratio - 1) / (ratio + size - 1)
    form = b @ np.diag(1 - rho + sizes * rho)
    spread_between = 2 * np.trace(form @ form) / (j - spent) ** 2
    spread_within = 2 * (1 - rho) ** 2 / (n - j)
    # delta method: d rho / d F = m / (F + m - 1)^2, in units of total variance 1
    mean_between, mean_within = 1 + (size - 1) * rho, 1 - rho
    slope = size / (ratio + size - 1) ** 2
    variance = slope**2 * (spread_between / mean_within**2 + mean_between**2 * spread_within / mean_within**4)
    out = said(made, rho, np.sqrt(variance), np.inf, in_units=False)
    flat = within <= 1e-9 * float((made.outcome**2).mean())
    out.grey = "flat within practices" if flat or between <= 1e-9 * within else ""
    out.tolerance *= 1 + float((made.outcome**2).mean()) / within
    out.df_tolerance = np.inf  # the interval is that of F
    return out


def refits(made: Frame):
    """Coefficients of the mixed model, fitted anew by REML to some practices: for the standardised effect."""
    q, e = made.q.astype(float), made.residual.astype(float)

    def coefficients(practices):
        rows = np.concatenate([made.groups[j] for j in practices])
        u, s, vt = np.linalg.svd(q[rows], full_matrices=False)
        there = s > 1e-7 * s[0]
        if (s[there] < 1e-4 * s[0]).any():  # next to what counts as a combination of others: nothing is compared
            return np.zeros(q.shape[1]), np.eye(q.shape[1])
        own = Frame(terms=["column"] * int(there.sum()), q=u[:, there], condition=1.0)
        own.arm = made.arm[rows]
        fitted = own.q.T @ e[rows]
        own.residual = e[rows] - own.q @ fitted
        ends = np.cumsum(made.sizes[practices]).astype(int)
        own.groups = [np.arange(b - int(n), b) for b, n in zip(ends, made.sizes[practices], strict=True)]
        own.noise = made.noise
        if own.people <= own.rank:
            return None, vt[~there]
        gamma = 0.0
        parts = blocks(own)
        if own.people > own.clusters:
            best = optimum(own, spectrum(own, parts, True))
            gamma = best.gamma
        if np.isnan(gamma):  # no minimum to be had: nothing is compared
            return np.zeros(q.shape[1]), np.eye(q.shape[1])
        x, r, _ = parts.stacked
        if np.isinf(gamma):  # the limit: practice means, all alike
            change = limit_fit(own.q, own.residual, own.groups)[0]
            return vt[there].T @ ((fitted + change) / s[there]), vt[~there]
        h = parts.inverse(gamma)
        change = np.linalg.solve(x.T @ h @ x, x.T @ h @ r)
        return vt[there].T @ ((fitted + change) / s[there]), vt[~there]

    return coefficients
