"""What a twin analyses: the rows of one trial, its regressors in extended precision, an orthonormal basis of them.

All inference but Fay and Graubard's depends on X only through the space of its columns and the contrast that gives a
coefficient. So X is orthogonalised once in extended precision (80 bits where the machine has them) with every column
first less its mean and in units of its own spread; the textbook formulas then run in double precision on a basis whose
condition number is 1. The response is what least squares leaves of the outcome, the fitted part being added again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

LONG = np.longdouble
RANK = 1e-10  # remainder of a column, as a share of its own sum of squares, at which it is a combination of others
PERFECT = 1e-13  # residual share of the outcome's sum of squares at which the fit is perfect
EPS = float(np.finfo(np.float64).eps)
WHOLE = 80  # people of a trial up to which every matrix is of people; beyond, large practices are rotated


@dataclass
class Frame:
    """One trial as analysed: basis Q (N, p), contrasts c_k with beta_k = c_k'b, residual of the outcome, practices.

    ``practice_level`` says which kept columns are of covariates that are the same for all analysed people of every
    practice, ``cluster_rank`` what these span; ``condition`` is that of the columns in units of their own length,
    ``origin`` the largest size of a column in units of its spread. ``refusal`` and ``grey`` say why nothing can be
    said, or nothing compared.
    """

    terms: list[str] = field(default_factory=list)
    q: np.ndarray | None = None
    r: np.ndarray | None = None
    contrasts: dict[str, np.ndarray] = field(default_factory=dict)
    fitted: np.ndarray | None = None
    residual: np.ndarray | None = None
    outcome: np.ndarray | None = None
    receipt: np.ndarray | None = None
    groups: list[np.ndarray] = field(default_factory=list)
    arm: np.ndarray | None = None
    rows: np.ndarray | None = None
    x: np.ndarray | None = None
    practice_level: dict[str, bool] = field(default_factory=dict)
    cluster_rank: int = 0
    condition: float = 1.0
    origin: float = 1.0
    noise: float = 0.0
    refusal: str = ""
    grey: str = ""
    columns: int = 0
    spectra: dict[bool, object] = field(default_factory=dict)

    @property
    def people(self) -> int:
        return 0 if self.arm is None else len(self.arm)

    @property
    def rank(self) -> int:
        return len(self.terms)

    @property
    def clusters(self) -> int:
        return len(self.groups)

    @property
    def arm_of_practice(self) -> np.ndarray:
        return np.array([self.arm[g[0]] for g in self.groups])

    @property
    def sizes(self) -> np.ndarray:
        return np.array([len(g) for g in self.groups], dtype=float)


Condition = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Truth of a condition for every person: 1, 0, or NaN where it is not known."""


def frame(
    data: Mapping[str, np.ndarray], outcome: str, adjust: Sequence[str], *, minus: str | None = None,
    where: Sequence[Condition] = (), received: Condition | None = None, arm: bool = True,
) -> Frame:  # fmt: skip
    """Take the rows with everything observed that meet every condition, and orthogonalise their regressors."""
    y = data[outcome].astype(LONG) - (data[minus].astype(LONG) if minus else 0)
    seen = ~np.isnan(y)
    for name in adjust:
        seen &= (data[name] != "") if data[name].dtype.kind == "U" else ~np.isnan(data[name])
    for condition in where:
        seen &= condition(data) == 1
    receipt = None
    if received is not None:
        truth = received(data)
        seen &= ~np.isnan(truth)
        receipt = truth[seen].astype(LONG)
    made = Frame(rows=np.flatnonzero(seen), arm=data["arm"][seen].astype(float), receipt=receipt)
    practice = data["practice"][seen]
    made.groups = [np.flatnonzero(practice == label) for label in dict.fromkeys(practice.tolist())]
    if not seen.any():
        made.refusal = "no_data"
        return made
    columns = _columns(data, adjust, seen, made.arm if arm else None)
    _orthogonalise(made, columns)
    _respond(made, y[seen])
    return made


def _columns(data, adjust, seen, arm):
    """Name, values and whether a measurement, in the order in which columns give way: arm comes last."""
    columns = [("intercept", np.ones(int(seen.sum())), False)]
    for name in adjust:
        values = data[name]
        if values.dtype.kind == "U":
            labels = sorted(set(values[seen].tolist()))  # the first that is analysed is the reference
            columns += [(f"{name}={label}", (values[seen] == label).astype(float), False) for label in labels[1:]]
        else:
            columns.append((name, values[seen], True))
    return [*columns, ("arm", arm, False)] if arm is not None else columns


def _orthogonalise(made, columns):
    """Gram-Schmidt, each column twice; a column of which nothing is left is left out."""
    basis, kept, scaled, lengths, entries = [], [], [], [], []
    people = made.people
    for name, values, measured in columns:
        v = values.astype(LONG)
        raw_length = np.sqrt((v**2).sum())
        if measured:
            v = v - (values[0] if (values == values[0]).all() else v.mean())
            v = v - v.mean() if v.any() else v
        length = np.sqrt((v**2).sum())
        if not length > 0:
            continue
        own, rest, into = v / length, v / length, np.zeros(len(basis) + 1, dtype=LONG)
        for _ in range(2):
            for k, b in enumerate(basis):
                part = b @ rest
                into[k] += part
                rest = rest - part * b
        left = float((rest**2).sum())
        spread = _spread(entries, into[: len(basis)])
        doubt = 20 * EPS * len(columns) * np.sqrt(people) * (1 + spread) ** 2
        # a column of great origin is rounded itself: what is left of it may be that rounding
        doubt += (EPS * float(raw_length / length)) ** 2 * people if measured else 0.0
        if abs(left - RANK) <= max(0.9 * RANK, doubt) or RANK < left <= 10 * RANK:
            if not (left < 0.1 * RANK and doubt < 0.5 * RANK):
                made.grey = made.grey or f"rank: {name} leaves {left:.1e}, doubt {doubt:.1e}"
        if left <= RANK:
            continue
        made.origin = max(made.origin, float(raw_length / length))
        into[-1] = np.sqrt((rest**2).sum())
        basis.append(rest / into[-1])
        kept.append(name)
        scaled.append(own)
        lengths.append(length)
        entries.append(into)
    _finish(made, columns, basis, kept, lengths, entries)


def _spread(entries, into):
    """Sum of the absolute coefficients of a column on those before it, all in units of their length."""
    w = np.zeros(len(into), dtype=LONG)
    for k in reversed(range(len(into))):
        w[k] = (into[k] - sum(entries[m][k] * w[m] for m in range(k + 1, len(into)))) / entries[k][k]
    return float(np.abs(w).sum())


def _finish(made, columns, basis, kept, lengths, entries):
    p = len(basis)
    r = np.zeros((p, p), dtype=LONG)
    for k, into in enumerate(entries):
        r[: k + 1, k] = into
    inverse = np.zeros((p, p), dtype=LONG)
    for k in range(p):
        for i in reversed(range(k + 1)):
            inverse[i, k] = ((1 if i == k else 0) - r[i, i + 1 : k + 1] @ inverse[i + 1 : k + 1, k]) / r[i, i]
    made.columns = len(columns)
    made.terms, made.q = kept, np.column_stack(basis)
    made.r = r * np.array(lengths)
    made.contrasts = {name: inverse[k] / lengths[k] for k, name in enumerate(kept)}
    values = {name: v for name, v, _ in columns}
    made.x = np.column_stack([values[name] for name in kept])
    _levels(made, columns)
    for name in kept:
        within = max(np.ptp(values[name][g]) for g in made.groups)
        if 0 < within < 1e-7 * np.ptp(values[name]):
            made.grey = made.grey or "a covariate hardly varies within practices"
    singular = np.linalg.svd(r.astype(float), compute_uv=False)
    made.condition = float(singular[0] / singular[-1])
    if made.people <= p:
        made.refusal = "no_data"
    if kept[-1] != "arm" and columns[-1][0] == "arm":
        made.refusal = "arm_aliased"


def _levels(made, columns):
    """Which terms are of practices: every column of their covariate is the same for all analysed people of each.

    ``cluster_rank`` counts what such columns span, whichever of them the order of covariates left out.
    """
    same = {name: all((v[g] == v[g[0]]).all() for g in made.groups) for name, v, _ in columns}
    covariate = {name: name.split("=")[0] for name in same}
    level = {name: all(same[other] for other in same if covariate[other] == covariate[name]) for name in same}
    made.practice_level = {name: level[name] for name in made.terms}
    basis = []
    for name, values, measured in columns:
        if level[name]:
            v = values.astype(LONG)
            v = v - v.mean() if measured and (values != values[0]).any() else v * (not measured)
            rest = v
            for _ in range(2):
                for b in basis:
                    rest = rest - (b @ rest) * b
            if (v**2).sum() > 0 and (rest**2).sum() > RANK * (v**2).sum():
                basis.append(rest / np.sqrt((rest**2).sum()))
    made.cluster_rank = len(basis)


def _respond(made, y):
    """Fit the outcome by least squares; ``noise`` is the relative error that cross-products may have."""
    size = float(np.sqrt((y**2).sum()))
    y = y - (y[0] if (y == y[0]).all() else y.mean())
    made.outcome = y
    made.fitted = made.q.T @ y
    rest = y - made.q @ made.fitted
    rest = rest - made.q @ (made.q.T @ rest)
    made.residual = rest
    total, left = float((y**2).sum()), float((rest**2).sum())
    if made.refusal:
        return
    if not total > 0 or left <= PERFECT * total:
        made.refusal = "constant_outcome"
        if total > 0 and left > 0.1 * PERFECT * total:
            made.grey = made.grey or "nearly perfect fit"
        return
    # cross-products lose the square of the condition, and values are rounded themselves, by eps of their size
    signal = np.sqrt(total / left)
    work = EPS * len(made.terms) * np.sqrt(made.people) * made.condition * 1000
    made.noise = work * (max(made.condition, made.origin) * signal + size / np.sqrt(left))
    if left <= (10 * PERFECT + made.noise / signal) * total:
        made.grey = made.grey or "nearly perfect fit"
    if made.noise > 1e-3:
        made.grey = made.grey or f"condition {made.condition:.1e}"


@dataclass(frozen=True)
class Blocks:
    """Practices in rows of their own, large ones rotated: bases Q_j, responses, and what 1 of n_j people became."""

    q: list[np.ndarray]
    e: list[np.ndarray]
    d: list[np.ndarray]
    ones: list[np.ndarray]

    @property
    def stacked(self):
        return np.concatenate(self.q), np.concatenate(self.e), np.concatenate(self.d)

    def inverse(self, gamma):
        """(I + gamma ZZ')^-1 by the eigenvectors of its blocks: 1 / root n, of eigenvalue 1 + n gamma, and the rest."""
        out = np.eye(self.starts[-1])
        for a, b, one in zip(self.starts, self.starts[1:], self.ones, strict=False):
            n = one @ one
            along = np.outer(one, one) / n
            out[a:b, a:b] += along * (1.0 / (1.0 + n * gamma) - 1.0)
        return out

    @property
    def starts(self):
        return np.cumsum([0, *(len(q) for q in self.q)])

    @property
    def shared(self):
        """Z Z': blocks of 1 1'."""
        out = np.zeros((self.starts[-1], self.starts[-1]))
        for a, b, one in zip(self.starts, self.starts[1:], self.ones, strict=False):
            out[a:b, a:b] = np.outer(one, one)
        return out


def rotated(table, people):
    """The rows of a practice, or in a large trial those of an orthogonal rotation that leaves most of them 0."""
    return np.linalg.qr(table, mode="r") if people > WHOLE and len(table) > table.shape[1] else table


def blocks(made: Frame, receipt=None) -> Blocks:
    """Split by practice. An orthogonal rotation keeps every formula; rows that become 0 are left out, N being known."""
    q, e = made.q.astype(float), made.residual.astype(float)
    d = np.zeros(len(e)) if receipt is None else receipt.astype(float)
    parts = []
    for g in made.groups:
        one = np.ones(len(g))
        table = np.column_stack([one, q[g], e[g], d[g]])
        parts.append(rotated(table, made.people))
    return Blocks(
        [t[:, 1:-2] for t in parts], [t[:, -2] for t in parts], [t[:, -1] for t in parts], [t[:, 0] for t in parts]
    )


@dataclass
class Said:
    """What a twin says of the target: numbers, or why it refuses; ``tolerance`` relative to the standard error.

    ``either`` where a refusal of the product is as right as the number.
    """

    estimate: float = np.nan
    std_error: float = np.nan
    df: float = np.nan
    refusal: str = ""
    grey: str = ""
    either: str = ""
    tolerance: float = 0.0
    df_tolerance: float = 0.0
    extras: dict[str, float] = field(default_factory=dict)
    p_value: float | None = None
    ends: tuple[float, float] | None = None
    spectrum: object = None
    people: int | None = None


def refused(made: Frame) -> Said | None:
    """Nothing to say of a frame that cannot be fitted."""
    return Said(refusal=made.refusal, grey=made.grey) if made.refusal or made.grey else None
