"""The mixed model with variances by arm: criterion and slopes from V_j inverted, optimum verified and searched anew."""

from itertools import product

import numpy as np
from scipy.optimize import minimize

from twins.frame import Frame, Said, blocks, refused
from twins.linear import said

TIED = {
    "residual": np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]),
    "cluster": np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "both": np.eye(4),
}
RESIDUALS = {"residual": 2, "cluster": 1, "both": 2}
HARDLY = 1e-5  # of a direction of X: below, nothing varies along it
DEEPER = 1e-7  # a criterion lower by this much is another optimum
STARTS = ((0.01, 0.01), (0.3, 0.3), (2.0, 0.05), (0.05, 2.0))


class Criterion:
    """-2 log-likelihood less a constant, of variances (s_0, s_1, t_0, t_1)."""

    def __init__(self, made: Frame, reml: bool) -> None:
        parts = blocks(made)
        self.made, self.reml = made, reml
        self.practices = list(zip(parts.q, parts.e, parts.ones, made.sizes, made.arm_of_practice, strict=True))

    def inverses(self, theta):
        out = []
        for q, _, one, n, arm in self.practices:
            s, t = theta[int(arm)], theta[2 + int(arm)]
            v = s * np.eye(len(q)) + t * np.outer(one, one)
            out.append((np.linalg.inv(v), np.linalg.slogdet(v)[1] + (n - len(q)) * np.log(s)))
        return out

    def solved(self, theta):
        p = self.made.rank
        a, b, logs, inverses = np.zeros((p, p)), np.zeros(p), 0.0, []
        for (q, e, *_), (v, log) in zip(self.practices, self.inverses(theta), strict=True):
            a, b, logs = a + q.T @ v @ q, b + q.T @ v @ e, logs + log
            inverses.append(v)
        phi = np.linalg.inv(a)
        return phi, phi @ b, logs, inverses

    def __call__(self, theta):
        phi, beta, logs, inverses = self.solved(theta)
        rest = sum((e - q @ beta) @ v @ (e - q @ beta) for (q, e, *_), v in zip(self.practices, inverses, strict=True))
        return logs + rest - (np.linalg.slogdet(phi)[1] if self.reml else 0.0)

    def slopes(self, theta):
        """Value, derivatives by the four variances, and their expected information, REML's and without coefficients."""
        phi, beta, logs, inverses = self.solved(theta)
        p = self.made.rank
        slope, rest = np.zeros(4), 0.0
        first, plain, own = [np.zeros((p, p)) for _ in range(4)], np.zeros((4, 4)), {}
        second = [[np.zeros((p, p)) for _ in range(4)] for _ in range(4)]
        for (q, e, one, n, arm), v in zip(self.practices, inverses, strict=True):
            r = v @ (e - q @ beta)
            rest += (e - q @ beta) @ r
            lost = n - len(q)
            pair = ((int(arm), np.eye(len(q)), lost), (2 + int(arm), np.outer(one, one), 0))
            for a, part, more in pair:
                slope[a] += np.trace(v @ part) + more / theta[int(arm)] - r @ part @ r
                first[a] += q.T @ v @ part @ v @ q
                for b, other, also in pair:
                    both = more / theta[int(arm)] ** 2 if a == b and also == more else 0.0
                    plain[a, b] += (np.trace(v @ part @ v @ other) + both) / 2
                    second[a][b] += q.T @ v @ part @ v @ other @ v @ q
        restricted = plain.copy()
        for a in range(4):
            if self.reml:
                slope[a] -= np.trace(phi @ first[a])
            for b in range(4):
                restricted[a, b] += np.trace(phi @ first[a] @ phi @ first[b]) / 2 - np.trace(phi @ second[a][b])
        value = logs + rest - (np.linalg.slogdet(phi)[1] if self.reml else 0.0)
        own = (phi, beta, first, plain, restricted)
        return value, slope, own


def by_arm(made: Frame, heteroscedastic, estimation="reml", df="between-within", found=None, trial=0):
    """Inference at the product's variances, once these are shown to be a minimum that no search goes below."""
    no = refused(made)
    if no:
        return no
    one = estimation == "reml" and made.people > made.clusters and made.people - made.rank <= 1
    if one or made.clusters - made.cluster_rank <= 0:
        return Said(refusal="tau2_not_identified")
    criterion = Criterion(made, estimation == "reml")
    tied, count = TIED[heteroscedastic], RESIDUALS[heteroscedastic]
    scale = float((made.residual**2).sum()) / (made.people - made.rank)
    held = _held(made, heteroscedastic)
    if estimation == "ml" and _without_bound(made, heteroscedastic, scale):
        return Said(refusal="the likelihood has no upper bound")
    best, where = _searched(criterion, tied, _starts(made, heteroscedastic, count), scale, held)
    if found.failed[trial]:
        return _whether_refused(criterion, tied, where, scale)
    at = {n: float(found.extras[n][trial]) for n in found.extras}
    theta = np.nan_to_num(
        [at["sigma2_control"], at["sigma2_intervention"], at["tau2_control"], at["tau2_intervention"]]
    )
    value, slope, (phi, beta, first, plain, restricted) = criterion.slopes(theta)
    noise = 1e-9 * made.people + 1e3 * made.noise
    if theta[:2].min() < 1e-6 * scale or made.noise > 1e-6:
        return Said(grey="an arm hardly varies within practices")
    contrast = made.contrasts["arm"]
    out = said(made, float(contrast @ (made.fitted + beta)), np.inf, 0.0)
    decrement = _decrement(tied, theta, slope, plain, np.concatenate([np.zeros(count, dtype=bool), held]))
    if where is not None and where[:2].min() < 1e-4 * scale:
        return Said(grey="the likelihood has no upper bound")
    if value > best + max(DEEPER, noise):
        out.extras["not the minimum"] = value - best
        out.std_error, out.df = np.nan, np.nan
        return Said(refusal=f"not the minimum by {value - best:.2g}")
    if decrement > 1e-6 + noise:
        return Said(refusal=f"slope not zero: {decrement:.1e}")
    unit = contrast.astype(float)
    out.std_error = float(np.sqrt(unit @ phi @ unit))
    information = restricted if estimation == "reml" else plain
    between = made.clusters - made.cluster_rank
    out.df = {"normal": np.inf, "residual": made.people - made.rank, "between-within": between}.get(df, 0.0)
    if df == "satterthwaite":
        free = tied.T @ theta > 0  # variances at 0 are taken as known
        of = (tied.T @ information @ tied)[np.ix_(free, free)]
        gradient = (tied.T @ np.array([unit @ phi @ m @ phi @ unit for m in first]))[free]
        out.df = 2 * (unit @ phi @ unit) ** 2 / (gradient @ np.linalg.solve(of, gradient))
        out.df_tolerance += 1e-6
    out.tolerance += 1e-8 * theta[:2].max() / theta[:2].min()
    return out


def _decrement(tied, theta, slope, plain, held):
    """What a scoring step still promises, over parameters that are not at 0 and pushed below it."""
    g = tied.T @ slope
    phi = np.array([theta[np.flatnonzero(row)[0]] for row in tied.T])
    free = ((phi > 1e-6 * theta.max()) | (g < 0)) & ~held
    of = (tied.T @ plain @ tied)[np.ix_(free, free)]
    return float(g[free] @ np.linalg.lstsq(2 * of, g[free], rcond=1e-10)[0])


def _without_bound(made, heteroscedastic, scale):
    """Whether some coefficients leave nothing of the deviations from practice means in an arm, or in both.

    With e_a of these, N_a - J_a in number, -2 log L holds (N_a - J_a) log s_a + e_a'e_a / s_a and falls without end as
    s_a -> 0 if they can be 0, the practice variance staying above 0. In an arm of practices of one person s_a + t is
    the variance of its rows, which falls to 0 with both at no cost if its rows are fitted exactly.
    """
    for side in _sides(heteroscedastic):
        x, y = _told_apart(made, side)
        u, s, _ = np.linalg.svd(x, full_matrices=False)
        u = u[:, s > HARDLY]
        if ((y - u @ (u.T @ y)) ** 2).sum() <= 1e-9 * scale:
            return True
    return False


def _sides(heteroscedastic):
    """Arms that share a residual variance."""
    return ((0, 1),) if heteroscedastic == "cluster" else ((0,), (1,))


def _told_apart(made, side):
    """Deviations from practice means in some arms of X and the outcome; the rows, if practices have one person."""
    groups = [g for g in made.groups if made.arm[g[0]] in side]
    alone = all(len(g) == 1 for g in groups)
    q, e = made.q.astype(float), made.residual.astype(float)
    x = np.concatenate([q[g] - (0.0 if alone else q[g].mean(axis=0)) for g in groups])
    return x, np.concatenate([e[g] - (0.0 if alone else e[g].mean()) for g in groups])


def _starts(made, heteroscedastic, count):
    """Logarithms of residual variances to start from: of an arm with no deviation left REML may come to rest at 0."""
    starts = [np.zeros(count)]
    for at, side in enumerate(_sides(heteroscedastic)):
        x, _ = _told_apart(made, side)
        deviations = len(x) - sum(made.arm[g[0]] in side for g in made.groups)
        if deviations <= (np.linalg.svd(x, compute_uv=False) > HARDLY).sum():
            starts.append(np.where(np.arange(count) == at, np.log(1e-7), 0.0))
    return starts


def _held(made, heteroscedastic):
    """Practice variances that nothing tells from residual ones, all practices concerned having one person: 0."""
    alone = [bool((made.sizes[made.arm_of_practice == arm] == 1).all()) for arm in (0, 1)]
    return alone if heteroscedastic == "both" else [all(alone)] * (1 if heteroscedastic == "residual" else 2)


def _searched(criterion, tied, residuals, scale, held):
    """Lowest criterion over several starts, and where."""
    best, where, count = np.inf, None, len(residuals[0])
    for start, residual in product(STARTS, residuals):
        begin = np.concatenate([residual, np.where(held, 0.0, start[: tied.shape[1] - count])])

        def value(x):
            phi = np.concatenate([np.exp(x[:count]), x[count:]]) * scale
            found, slope, _ = criterion.slopes(tied @ phi)
            rate = np.concatenate([phi[:count], np.full(len(x) - count, scale)])
            return found, (tied.T @ slope) * rate

        bounds = [(-25, 5)] * count + [(0, 0) if still else (0, 1e4) for still in held]
        try:
            ended = minimize(value, begin, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
        except np.linalg.LinAlgError:
            continue
        if ended.fun < best:
            best, where = ended.fun, tied @ (np.concatenate([np.exp(ended.x[:count]), ended.x[count:]]) * scale)
    return best, where


def _whether_refused(criterion, tied, where, scale):
    """The product refuses: rightly if an arm leaves no residual, or nothing tells the variances apart."""
    if where is None or where[:2].min() < 1e-4 * scale:
        return Said(refusal="an arm leaves no residual")
    _, _, (_, _, _, plain, restricted) = criterion.slopes(where)
    size = np.sqrt(np.diag(tied.T @ plain @ tied))
    apart = np.linalg.eigvalsh((tied.T @ restricted @ tied) / np.outer(size, size))[0]
    if apart < 1e-3:
        return Said(refusal="variances not told apart")
    return Said(estimate=0.0, std_error=1.0, df=1.0, grey="variances hardly told apart" if apart < 0.1 else "")
