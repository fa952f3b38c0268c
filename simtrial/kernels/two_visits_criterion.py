"""Bivariate random-intercept model of two visits, for all trials of a block at once, without any N x N matrix.

Participant i of practice j has rows (x_0, x_1) for as many of the two visits as were observed, of mean X beta, residual
covariance E and practice covariance U, both 2 x 2. Inside a practice every participant of one pattern (both visits, the
first alone, the second alone) has the same precision W, so V_j^-1 = R^-1 - R^-1 Z K Z'R^-1 with S = sum n W and
K = U (I + S U)^-1 is a matter of 2 x 2 matrices, and counts, sums and cross-products by pattern are sufficient.

The criterion is -2 log L, restricted (Patterson and Thompson 1971, doi:10.1093/biomet/58.3.545) or full. It is made a
smooth function without constraints by E = A A and U = B B with symmetric roots A, B: on the boundary, where U is
singular, the criterion is quadratic in B.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from simtrial.arrays import Floats, Ints
from simtrial.core import compiled
from simtrial.kernels.small_matrices import eliminate, sweep

BASIS = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
"""Directions in which a symmetric 2 x 2 matrix moves, one for each of its entries 00, 01, 11."""


BY_PRACTICE = ("s", "k")
"""Members of `Evaluation` whose last axis is practices."""


@dataclass(frozen=True)
class VisitSums:
    """Sufficient statistics; columns are p regressors and the response last, q = p + 1; practices side by side.

    Attributes
    ----------
    counts
        Participants with both visits, the first alone, the second alone (trials, 3, positions).
    sums
        Sums of rows per practice: first and second visit of those with both, first alone, second alone
        (trials, 4, positions, q).
    products
        Cross-products per trial: first with first, first with second plus its transpose, second with second among
        those with both; first alone; second alone (trials, 5, q, q).
    dropped
        1 where a regressor is left out, its column being 0 (trials, p).
    """

    counts: Floats
    sums: Floats
    products: Floats
    dropped: Floats

    def take(self, trials: Ints) -> VisitSums:
        """Return the statistics of some of the trials."""
        return VisitSums(*(getattr(self, f.name)[trials] for f in fields(self)))

    @property
    def arrays(self) -> tuple[Floats, Floats, Floats, Floats]:
        """The members as the compiled kernels take them."""
        counts, sums, products, dropped = (np.ascontiguousarray(getattr(self, f.name)) for f in fields(self))
        return counts, sums, products, dropped


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The criterion at one value of the covariances, per trial.

    ``value`` (trials,) without the constant; ``slopes`` (2, 2, 2, trials) its derivatives by E and by U; ``inverse``
    (p, p, trials) of X'V^-1 X, ``coefficients`` (p, trials), ``log_determinant`` of X'V^-1 X; ``rest`` (2, 2, trials)
    residual cross-products of those with both visits; S, K (2, 2, trials, positions).
    """

    value: Floats
    slopes: Floats
    inverse: Floats
    coefficients: Floats
    log_determinant: Floats
    rest: Floats
    s: Floats
    k: Floats


def times(a: Floats, b: Floats) -> Floats:
    """Products of 2 x 2 matrices along the first two axes."""
    out = np.empty((2, 2, *np.broadcast_shapes(a.shape[2:], b.shape[2:])))
    for i in (0, 1):
        for j in (0, 1):
            np.multiply(a[i, 0], b[0, j], out=out[i, j])
            out[i, j] += a[i, 1] * b[1, j]
    return out


def inverse(a: Floats) -> tuple[Floats, Floats]:
    """Inverses and determinants of 2 x 2 matrices along the first two axes."""
    determinant = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    out = np.empty_like(a)
    out[0, 0], out[0, 1], out[1, 0], out[1, 1] = a[1, 1], -a[0, 1], -a[1, 0], a[0, 0]
    out /= determinant
    return out, determinant


def precisions(e: Floats) -> Floats:
    """Precision matrices W of the three patterns (3, 2, 2, trials)."""
    w = np.zeros((3, *e.shape))
    w[0] = inverse(e)[0]
    w[1, 0, 0], w[2, 1, 1] = 1.0 / e[0, 0], 1.0 / e[1, 1]
    return w


def value(sums: VisitSums, e: Floats, root: Floats, reml: bool) -> Floats:
    """Evaluate the criterion alone at E (2, 2, trials) and the root B of U (2, 2, trials)."""
    p = sums.dropped.shape[1]
    w = precisions(e)
    _, k, determinant = _by_practice(sums, w, root)
    gram = _gram(sums, w, k, _weighted(sums, w))
    pivots, rest = eliminate(np.ascontiguousarray(gram.transpose(1, 2, 0)), p)
    log_determinant = np.add.accumulate(np.log(pivots))[-1]  # one after the other, whichever trials are there
    return _value(sums, e, determinant, rest[0, 0], log_determinant if reml else 0.0)


def evaluate(sums: VisitSums, e: Floats, root: Floats, reml: bool) -> Evaluation:
    """Evaluate criterion, derivatives and coefficients at E (2, 2, trials) and the root B of U (2, 2, trials)."""
    if kernels := compiled():
        at = _empty(sums)
        arrays = (np.ascontiguousarray(matrix, dtype=np.float64) for matrix in (e, root))
        kernels.evaluate_visits(*sums.arrays, *arrays, reml, *(getattr(at, f.name) for f in fields(at)))
        return at
    p = sums.dropped.shape[1]
    w = precisions(e)
    s, k, determinant = _by_practice(sums, w, root)
    c = _weighted(sums, w)
    gram = _gram(sums, w, k, c)
    phi, beta, rest, log_determinant = sweep(np.ascontiguousarray(gram.transpose(1, 2, 0)), p)
    psi = _spread(phi, beta[:, 0], reml)
    slopes, both = _slopes(sums, w, s, k, c, psi)
    return Evaluation(
        value=_value(sums, e, determinant, rest[0, 0], log_determinant if reml else 0.0), slopes=slopes, inverse=phi,
        coefficients=beta[:, 0], log_determinant=log_determinant, rest=both, s=s, k=k,
    )  # fmt: skip


def _empty(sums: VisitSums) -> Evaluation:
    trials, _, positions = sums.counts.shape
    p, of_practices = sums.dropped.shape[1], (2, 2, trials, positions)
    return Evaluation(
        value=np.empty(trials), slopes=np.empty((2, 2, 2, trials)), inverse=np.empty((p, p, trials)),
        coefficients=np.empty((p, trials)), log_determinant=np.empty(trials), rest=np.empty((2, 2, trials)),
        s=np.empty(of_practices), k=np.empty(of_practices),
    )  # fmt: skip


def _by_practice(sums: VisitSums, w: Floats, root: Floats) -> tuple[Floats, Floats, Floats]:
    """S and K (2, 2, trials, positions) and |I + B S B| (trials, positions)."""
    s = np.einsum("kabt,tkj->abtj", w, sums.counts)
    b = root[..., None]
    inside, determinant = inverse(np.eye(2)[:, :, None, None] + times(times(b, s), b))
    return s, times(times(b, inside), b), determinant


def _gram(sums: VisitSums, w: Floats, k: Floats, c: Floats) -> Floats:
    """[X y]'V^-1[X y], with 1 for dropped columns (trials, q, q)."""
    p = sums.dropped.shape[1]
    weights = np.stack([w[0, 0, 0], w[0, 0, 1], w[0, 1, 1], w[1, 0, 0], w[2, 1, 1]], axis=-1)
    gram = np.einsum("tm,tmij->tij", weights, sums.products)
    moved = np.einsum("abtj,tbjq->tajq", k, c)
    flat = c.reshape(len(c), -1, c.shape[-1])
    gram = gram - flat.transpose(0, 2, 1) @ moved.reshape(flat.shape)
    gram[:, np.arange(p), np.arange(p)] += sums.dropped
    return np.asarray(gram)


def _value(sums: VisitSums, e: Floats, determinant: Floats, rest: Floats, of_design: Floats | float) -> Floats:
    """The criterion (trials,) from its parts, the last log |X'V^-1 X| or nothing."""
    total = sums.counts.sum(axis=-1)
    value = np.log(determinant).sum(axis=-1) + rest
    value += total[:, 0] * np.log(e[0, 0] * e[1, 1] - e[0, 1] ** 2)
    value += total[:, 1] * np.log(e[0, 0]) + total[:, 2] * np.log(e[1, 1]) + of_design
    return np.asarray(value)


def _weighted(sums: VisitSums, w: Floats) -> Floats:
    """Z'R^-1 [X y] of every practice (trials, 2, positions, q)."""
    trials, kinds, positions, q = sums.sums.shape
    weights = np.zeros((trials, 2, kinds))
    weights[:, :, :2] = w[0].transpose(2, 0, 1)
    weights[:, 0, 2], weights[:, 1, 3] = w[1, 0, 0], w[2, 1, 1]
    return (weights @ sums.sums.reshape(trials, kinds, -1)).reshape(trials, 2, positions, q)


def _spread(phi: Floats, beta: Floats, reml: bool) -> Floats:
    """Matrix that gives r'Mr + tr(X'M X (X'V^-1 X)^-1) from [X y]'M[X y], the second term for REML (trials, q, q)."""
    direction = np.concatenate([-beta, np.ones((1, beta.shape[1]))]).T
    psi = np.asarray(direction[:, :, None] * direction[:, None, :])
    if reml:
        psi[:, :-1, :-1] += phi.transpose(2, 0, 1)
    return psi


def _slopes(sums: VisitSums, w: Floats, s: Floats, k: Floats, c: Floats, psi: Floats) -> tuple[Floats, Floats]:
    """Derivatives of the criterion by E and U (2, 2, 2, trials), and residual products of those with both visits."""
    x, n = sums.sums, sums.counts
    f = (c.reshape(len(c), -1, c.shape[-1]) @ psi).reshape(c.shape)
    lost = np.einsum("tmjq,tbjq->mbtj", x, f)
    inner = times(w[0][..., None], lost[:2])
    inner[0] += w[1, 0, 0][:, None] * lost[2]
    inner[1] += w[2, 1, 1][:, None] * lost[3]
    share = np.eye(2)[:, :, None, None] - times(s, k)
    by_u = (times(share, s) - times(times(share, inner), share.transpose(1, 0, 2, 3))).sum(axis=-1)
    products = (sums.products * psi[:, None]).sum(axis=(-2, -1)).T  # in one order, whichever trials are there
    around = times(times(k, inner), k)
    both = np.stack([[products[0], 0.5 * products[1]], [0.5 * products[1], products[2]]])
    cross = times(lost[:2], k)
    both = both + (n[:, 0] * around - cross - cross.transpose(1, 0, 2, 3)).sum(axis=-1)
    total = n.sum(axis=-1)
    weighted_k = np.einsum("tmj,abtj->mabt", n, k)
    by_e = total[:, 0] * w[0] - times(times(w[0], weighted_k[0] + both), w[0])
    for m, at in ((1, 0), (2, 1)):
        alone = products[2 + m] + (
            n[:, m] * around[at, at] - 2.0 * (lost[1 + m, 0] * k[0, at] + lost[1 + m, 1] * k[1, at])
        ).sum(axis=-1)
        own = w[m, at, at]
        by_e[at, at] += total[:, m] * own - own**2 * (weighted_k[m, at, at] + alone)
    return np.stack([by_e, by_u]), both


def expected_curvature(sums: VisitSums, e: Floats, at: Evaluation) -> Floats:
    """Expected second derivatives tr(V^-1 V_a V^-1 V_b), REML's terms left out (trials, 6, 6).

    Entries 00, 01, 11 of E, then of U. With Z'V^-1Z = T and Z'V^-1 of a participant (I - SK) W.
    """
    if kernels := compiled():
        out = np.empty((len(sums.counts), 6, 6))
        kernels.curvature_of_visits(*sums.arrays, np.ascontiguousarray(e), at.s, at.k, out)
        return out
    w, n, s, k = precisions(e), sums.counts, at.s, at.k
    share = np.eye(2)[:, :, None, None] - times(s, k)
    t = times(share, s)
    total, weighted_k = n.sum(axis=-1), np.einsum("tmj,abtj->mabt", n, k)
    out = np.zeros((len(n), 6, 6))
    out[:, 3:, 3:] = _form(_outer(t, t))
    own, mixed = np.zeros((4, 4, len(n))), np.zeros((4, 4, len(n)))
    moved = np.zeros((3, *k.shape))
    for m in range(3):
        shrunk = total[:, m] * w[m] - 2.0 * times(times(w[m], weighted_k[m]), w[m])
        own += w[m].reshape(4, 1, -1) * shrunk.reshape(4, -1)
        u = times(share, np.broadcast_to(w[m][..., None], share.shape))
        mixed += _outer(u, (u * n[:, m]).swapaxes(0, 1))
        moved += np.stack([times(times(w[m], d[..., None]), w[m]) for d in BASIS])[..., None] * n[:, m]
    out[:, :3, :3] = _form(own)
    moved = np.stack([times(k, one) for one in moved])
    out[:, :3, :3] += _traces(moved, moved.swapaxes(1, 2))
    out[:, 3:, :3] = _form(mixed)
    out[:, :3, 3:] = out[:, 3:, :3].transpose(0, 2, 1)
    return out


def _outer(left: Floats, right: Floats) -> Floats:
    """Products of all entries of two matrices, summed over practices: (2, 2, trials, positions) -> (4, 4, trials).

    These and the next are products of matrices trial by trial: the same whichever trials are there.
    """
    by_trial = [a.reshape(4, *a.shape[2:]).swapaxes(0, 1).copy() for a in (left, right)]
    return np.asarray((by_trial[0] @ by_trial[1].swapaxes(1, 2)).transpose(1, 2, 0))


def _traces(left: Floats, right: Floats) -> Floats:
    """Sums over practices and entries for every pair of directions: (3, 2, 2, trials, positions) -> (trials, 3, 3)."""
    by_trial = [a.transpose(3, 0, 1, 2, 4).copy().reshape(a.shape[3], 3, -1) for a in (left, right)]
    return np.asarray(by_trial[0] @ by_trial[1].swapaxes(1, 2))


_FORM = np.einsum("xab,ycd->xybcda", BASIS, BASIS).reshape(9, 16)


def _form(outer: Floats) -> Floats:
    """tr(D_x L D_y R) over the directions of `BASIS`, from L_bc R_da (4, 4, trials) -> (trials, 3, 3)."""
    flat = outer.reshape(16, -1)
    return np.asarray(sum(_FORM[:, i, None] * flat[i] for i in range(16))).T.reshape(-1, 3, 3)
