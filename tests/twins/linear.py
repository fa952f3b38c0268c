"""Least squares with every standard error, weighted or not, from hat matrices and eigenvectors of their blocks."""

from itertools import pairwise

import numpy as np

from twins.frame import EPS, Frame, Said, blocks, refused, rotated

POWERS = {"CR0": 0.0, "CR1": 0.0, "CR1S": 0.0, "CR2": -0.5, "CR3": -1.0}
LONELY = 1e-9  # eigenvalue of I - H_jj at which a practice determines a coefficient alone
LEVERAGE_DOUBT = 1e3  # an eigenvalue nearer to `LONELY` than this factor cannot be told


def power(matrix, exponent):
    """A^exponent by eigenvectors, zero eigenvalues left at 0 (Moore-Penrose), and the least that counts as positive."""
    values, vectors = np.linalg.eigh(matrix)
    there = values > LONELY
    least = values[there].min() if there.any() else 1.0
    return (vectors[:, there] * values[there] ** exponent) @ vectors[:, there].T, least


def factor(made: Frame, se):
    """Small-sample factor of CR1 and CR1S."""
    n, j, p = made.people, made.clusters, made.rank
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"CR1": np.divide(j, j - 1), "CR1S": np.divide(j, j - 1) * (n - 1) / (n - p)}.get(se, 1.0)


def robust(x, residuals, starts, contrast, se):
    """Joint covariance of c'b over several residuals, Bell and McCaffrey's df, and the least eigenvalue of I - H_jj."""
    bread = np.linalg.inv(x.T @ x)
    hat = x @ bread @ x.T
    identity, parts, least, scores = np.eye(len(x)), [], 1.0, []
    for a, b in pairwise(starts):
        adjust, low = power(identity[a:b, a:b] - hat[a:b, a:b], POWERS[se])
        least = min(least, low)
        if not POWERS[se]:
            adjust = np.eye(b - a)
        along = adjust @ x[a:b] @ bread @ contrast
        scores.append([along @ e[a:b] for e in residuals])
        parts.append((identity - hat)[:, a:b] @ along)
    g = np.column_stack(parts)
    p = g.T @ g
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.divide(np.trace(p) ** 2, (p**2).sum())
    scores = np.array(scores)
    return scores.T @ scores, df, least


def counted(made: Frame, df):
    """Degrees of freedom that are counts."""
    j = made.clusters
    return {
        "normal": np.inf, "residual": made.people - made.rank, "satterthwaite": made.people - made.rank,
        "clusters-1": j - 1, "clusters-2": j - 2, "clusters-p": j - made.cluster_rank,
    }[df]  # fmt: skip


def covariance(made: Frame, residuals, se, df, contrast, x=None):
    """Covariance of c'b over residuals (lists of raw rows), its df, and what rounding of leverages may do to it."""
    n, p = made.people, made.rank
    q = made.q.astype(float) if x is None else x
    stacked = [np.asarray(e, dtype=float) for e in residuals]
    if se in ("classical", "HC1"):
        bread = np.linalg.inv(q.T @ q)
        if se == "classical":
            gram = np.array([[a @ b for a in stacked] for b in stacked])
            return gram / (n - p) * (contrast @ bread @ contrast), counted(made, df), 1.0
        along = q @ bread @ contrast
        scores = np.array([along * e for e in stacked])
        return scores @ scores.T * n / (n - p), counted(made, df), 1.0
    split = _rotated(made, q, stacked)
    found, own, least = robust(*split, contrast, se)
    return found * factor(made, se), own if df == "satterthwaite" else counted(made, df), least


def _rotated(made, q, responses):
    """Rows by practice, those of large practices rotated and shortened."""
    parts = []
    for g in made.groups:
        table = np.column_stack([q[g], *(e[g] for e in responses)])
        parts.append(rotated(table, made.people))
    starts = np.cumsum([0, *(len(t) for t in parts)])
    table, p = np.concatenate(parts), q.shape[1]
    return table[:, :p], [table[:, p + k] for k in range(len(responses))], starts


def ols(made: Frame, se="CR2", df="satterthwaite", term="arm"):
    """Least squares of the outcome."""
    no = refused(made)
    if no:
        return no
    contrast = made.contrasts[term]
    scale = float(np.sqrt((contrast**2).sum()))
    unit = (contrast / scale).astype(float)
    joint, used, least = covariance(made, [made.residual], se, df, unit)
    return said(made, float(contrast @ made.fitted), np.sqrt(joint[0, 0]) * scale, used, least)


def said(made, estimate, std_error, df, least=1.0, in_units=True):
    """Numbers with the tolerance that cross-products of these columns deserve.

    An eigenvalue 1 - h of I - H_jj is wrong by rounding times the squared condition, relative to itself more where
    it is small; the standard error follows its root, the df its first power.
    """
    rounding = 100 * EPS * made.condition**2 * made.rank
    tolerance = made.noise + rounding * (1.0 + 1.0 / least)
    grey = ""
    if least < LONELY * LEVERAGE_DOUBT:
        grey = f"leverage {1 - least:.12f}"
    refusal, share = "", float(std_error) / float(np.sqrt((made.outcome**2).mean()))
    if (
        in_units and share < 1e-8
    ):  # no error at all beside the outcome's own spread: nothing between practices, or nothing left
        refusal = "error is rounding"
        grey = grey or ("error is nearly rounding" if share > 1e-12 * made.condition else "")
    return Said(
        float(estimate), float(std_error), float(df), refusal=refusal, tolerance=tolerance,
        df_tolerance=10 * tolerance / least, grey=grey,
    )  # fmt: skip


def weighted_ols(made: Frame, weight, se, df, term="arm"):
    """Weighted least squares, ``weight`` per practice, inference under independent errors of one variance."""
    no = refused(made)
    if no:
        return no
    made_blocks = blocks(made)
    q, e, _ = made_blocks.stacked
    starts = made_blocks.starts
    weight = np.asarray(weight, dtype=float) / np.mean(weight)
    w = np.repeat(weight, np.diff(starts))
    bread = np.linalg.inv(q.T @ (w[:, None] * q))
    change = bread @ (q.T @ (w * e))
    residual = e - q @ change
    contrast = made.contrasts[term]
    scale = float(np.sqrt((contrast**2).sum()))
    unit = (contrast / scale).astype(float)
    hat = q @ bread @ (q * w[:, None]).T
    whole = np.eye(len(q)) - hat
    square = whole @ whole.T
    variance, least, parts = 0.0, 1.0, []
    for a, b in pairwise(starts):
        adjust = np.eye(b - a)
        least = min(least, power(((np.eye(b - a) - hat[a:b, a:b]) + (np.eye(b - a) - hat[a:b, a:b]).T) / 2, -1.0)[1])
        if POWERS[se]:
            # the covariance of residuals for CR2; I - H_jj, of which w_j is the same for all of a practice, for CR3
            matrix = square[a:b, a:b] if se == "CR2" else np.eye(b - a) - hat[a:b, a:b]
            adjust, _ = power((matrix + matrix.T) / 2, POWERS[se])
        along = adjust @ (w[a:b, None] * q[a:b]) @ bread @ unit
        variance += (along @ residual[a:b]) ** 2
        parts.append(whole.T[:, a:b] @ along)
    g = np.column_stack(parts)
    p = g.T @ g
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.divide(np.trace(p) ** 2, (p**2).sum())
    used = own if df == "satterthwaite" else counted(made, df)
    estimate = float(contrast @ (made.fitted + change))
    uneven = weight.max() / weight.min()
    out = said(made, estimate, np.sqrt(variance * factor(made, se)) * scale, used, least)
    out.tolerance *= uneven
    out.df_tolerance *= uneven
    return out
