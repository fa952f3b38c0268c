"""Augmented weighting from matrices of people: practices left out one by one, or all equations in one stack."""

from dataclasses import dataclass

import numpy as np

from twins import means
from twins.frame import Said, refused
from twins.linear import power, said
from twins.weighted import Everyone, correlation, everyone, logistic, loosened


def aipw(data, adjust, where, found, trial, *, auxiliary=(), by_arm=False, average="participant", form="plain",
         smallest_probability=0.05, df="clusters-p"):  # fmt: skip
    """Augmented weighting: by the jackknife over practices, or in its efficient form by the stack of equations."""
    made, known = everyone(data, adjust, auxiliary, where, by_arm, smallest_probability)
    no = refused(made) or (Said(grey=known.grey) if known.grey else None)
    if no:
        return made, no
    arm = made.arm_of_practice
    if min(arm.sum(), len(arm) - arm.sum()) < 2:
        return made, Said(refusal="too_few_clusters")
    x, rank, grey, aliased = means._products(made) if by_arm else (made.q.astype(float), made.cluster_rank, "", False)
    if aliased:
        return made, Said(refusal="arm_aliased", grey=grey)
    if made.people <= np.linalg.matrix_rank(x, tol=1e-6):
        return made, Said(refusal="no_data", grey=grey)
    if made.clusters - rank <= 0:
        return made, Said(refusal="tau2_not_identified", grey=grey)
    y = made.outcome.astype(float) if by_arm else made.residual.astype(float)
    either = [_set_arm(made, known, x, data, a, by_arm) for a in (0, 1)]
    task = Augmented(known, x, y, either, average)
    if form == "efficient":
        return made, task.stacked(made, by_arm, rank, grey, df, smallest_probability, found, trial)
    whole, unique = task.effect(np.ones(len(known.practice), dtype=bool), known.weight)
    left = []
    for k in known.labels:
        rows = known.practice != k
        weight, sure = task.moved(rows)
        value, alone = task.effect(rows, weight)
        left.append(value)
        unique &= sure and alone
    j = len(left)
    if np.isnan(left).any():
        return made, Said(refusal="no_data", grey=grey)
    spread = (j - 1) / j * ((np.array(left) - np.mean(left)) ** 2).sum()
    shift = 0.0 if by_arm else float(made.contrasts["arm"] @ made.fitted)
    spent = {"clusters-p": rank, "clusters-2": 2, "normal": -np.inf}[df]
    out = said(made, whole + shift, np.sqrt(spread), made.clusters - spent)
    out.tolerance *= 100
    out.grey = out.grey or grey or ("" if unique else "a left-out fit is not unique")
    return made, loosened(out, known, np.eye(1), known.weight)


def _set_arm(made, known, x, data, a, by_arm):
    """Everybody in arm a, in the basis of the model of the outcome."""
    if not by_arm:
        direction = made.contrasts["arm"].astype(float)
        return known.x + (a - known.arm)[:, None] * direction
    inner = made.x[:, 1:-1].astype(float)
    raw = known.raw[:, 1:-1]
    scaled = []
    for own, other in zip(inner.T, raw.T, strict=True):
        binary = set(np.unique(own)) <= {0.0, 1.0}
        scaled.append(other if binary else (other - own.mean()) / max(own.std(), 1e-300))
    scaled = np.column_stack(scaled) if scaled else np.zeros((len(raw), 0))
    turn = np.linalg.lstsq(means._raw(made, made.arm), x, rcond=None)[0]
    return np.column_stack([np.ones(len(raw)), scaled, np.full(len(raw), float(a)), scaled * a]) @ turn


@dataclass
class Augmented:
    """Both models and what is averaged: ``x`` and ``y`` of those seen, ``either`` everybody's columns in each arm."""

    known: Everyone
    x: np.ndarray
    y: np.ndarray
    either: list[np.ndarray]
    average: str

    def effect(self, rows, weight):
        """Effect among some people, and whether the model of the outcome leaves it unique."""
        known, seen = self.known, self.known.seen
        used = rows[seen]
        u, s, vt = np.linalg.svd(self.x[used], full_matrices=False)
        there = s > 1e-7 * s[0]
        beta = vt[there].T @ ((u[:, there].T @ self.y[used]) / s[there])
        unique = not ((s > 1e-10 * s[0]) & (s < 1e-3 * s[0])).any()
        residual = np.zeros(len(rows))
        residual[seen] = weight[seen] * (self.y - self.x @ beta)
        labels = list(dict.fromkeys(known.practice[rows].tolist()))
        arms = np.array([known.arm[known.practice == k][0] for k in labels])
        found = []
        for a in (0, 1):
            if not there.all() and np.abs(self.either[a][rows] @ vt[~there].T).max() > 1e-6:
                unique = False
            share, total, sizes = (arms == a).mean(), 0.0, 0.0
            for k, own_arm in zip(labels, arms, strict=True):
                own = known.practice == k
                value = (self.either[a][own] @ beta).mean() + (own_arm == a) * residual[own].mean() / share
                size = own.sum() if self.average == "participant" else 1.0
                total, sizes = total + size * value, sizes + size
            found.append(total / sizes)
        return found[1] - found[0], unique

    def moved(self, rows):
        """Weights after one Newton step without some people, linear in it; whether the step is unique."""
        known, loss = self.known, self.known.loss
        spread = np.where(loss.certain, 0.0, loss.p * (1 - loss.p))
        full = (loss.z.T * spread) @ loss.z
        left = (loss.z[rows].T * spread[rows]) @ loss.z[rows]
        values, vectors = np.linalg.eigh(full)
        there = values > 1e-12 * max(values.max(), 1e-300)
        root = vectors[:, there] / np.sqrt(values[there])
        raised, low = power(root.T @ left @ root, -1.0)
        step = root @ raised @ root.T @ loss.score[rows].sum(axis=0)
        rank = np.linalg.matrix_rank(root.T @ left @ root, tol=1e-6) if there.any() else 0
        return known.weight - known.slope * (loss.z @ step), low > 1e-6 and rank == there.sum()

    def stacked(self, made, by_arm, rank, grey, df, smallest, found, trial):
        """The efficient form, practice by practice, with the product's correlation verified."""
        known, seen, x = self.known, self.known.seen, self.x
        groups, n = made.groups, made.sizes

        def solve(alpha):
            a, b, parts = 0.0, 0.0, []
            for g in groups:
                v = np.linalg.inv((1 - alpha) * np.eye(len(g)) + alpha) * (1 - alpha)
                a, b = a + x[g].T @ v @ x[g], b + x[g].T @ v @ self.y[g]
                parts.append(v)
            beta = np.linalg.solve(a, b)
            return a, beta, self.y - x @ beta, parts

        pairs, p, alpha = (n * (n - 1)).sum() / 2, x.shape[1], 0.0
        if pairs > p:

            def again(alpha):
                r = solve(alpha)[2]
                together = sum(r[g].sum() ** 2 - (r[g] ** 2).sum() for g in groups) / 2
                return together / ((pairs - p) * (r @ r) / (made.people - p))

            alpha, refusal = correlation(again, n.max(), found, trial)
            if refusal:
                return Said(refusal=refusal)
        a, beta, r, parts = solve(alpha)
        labels, loss = known.labels, known.loss
        arms = np.array([known.arm[known.practice == k][0] for k in labels])
        averages = np.array([known.x[known.practice == k][:, :-1].mean(axis=0) for k in labels])
        allocated, few, doubt = _allocation(averages, known.x[:, :-1], arms)
        grey = grey or doubt or allocated.grey
        j, own = len(labels), np.where(arms == 1, allocated.p, 1 - allocated.p)
        if (np.abs(own - smallest) < 1e-9).any():
            grey = grey or "a probability at the smallest"
        size = 1 / np.maximum(own, max(smallest, 1e-300))
        sign = np.where(arms == 1, 1.0, -1.0)
        bend = np.where(own > smallest, 1 - size, 0.0)
        residual, lost, along = np.zeros(j), np.zeros((j, loss.z.shape[1])), np.zeros((j, p))
        score, where = np.zeros((j, p)), {k: at for at, k in enumerate(labels)}
        full_r, full_x = np.zeros(len(seen)), np.zeros((len(seen), p))
        full_r[seen], full_x[seen] = r, x
        values, share = np.zeros((j, 2)), np.zeros(j)
        practice_of_seen = known.practice[seen]
        for g, v in zip(groups, parts, strict=True):
            score[where[practice_of_seen[g[0]]]] = x[g].T @ v @ r[g]
        for at, k in enumerate(labels):
            rows = known.practice == k
            residual[at] = (known.weight[rows] * full_r[rows]).mean()
            lost[at] = ((known.slope[rows] * full_r[rows])[:, None] * loss.z[rows]).mean(axis=0)
            along[at] = (known.weight[rows][:, None] * full_x[rows]).mean(axis=0)
            values[at] = [
                (self.either[c][rows] @ beta).mean() + (arms[at] == c) * size[at] * residual[at] for c in (0, 1)
            ]
            share[at] = rows.sum() if self.average == "participant" else 1.0
        share /= share.sum()
        between = [(self.either[1] - self.either[0])[known.practice == k].mean(axis=0) for k in labels]
        change = share @ (np.array(between) - (sign * size)[:, None] * along)
        effect = share @ (values[:, 1] - values[:, 0])
        influence = share * (values[:, 1] - values[:, 0] - effect)
        influence += score @ np.linalg.solve(a, change)
        per_practice = np.array([loss.score[known.practice == k].sum(axis=0) for k in labels])
        influence -= per_practice @ loss.inverse @ ((share * sign * size) @ lost)
        influence += allocated.score @ allocated.inverse @ ((share * residual * bend) @ allocated.z)
        rank = max(rank, few + 2)
        if made.clusters - rank <= 0:
            return Said(refusal="tau2_not_identified", grey=grey)
        variance = j / (j - 1) * j / (j - few) * (influence**2).sum()
        shift = 0.0 if by_arm else float(made.contrasts["arm"] @ made.fitted)
        spent = {"clusters-p": rank, "clusters-2": 2, "normal": -np.inf}[df]
        out = said(made, effect + shift, np.sqrt(variance), made.clusters - spent)
        out.tolerance *= 100
        out.grey = out.grey or grey
        return loosened(out, known, a, np.maximum(known.weight.max(), size))


def _allocation(averages, people, arms):
    """Logistic model of the arm of practices on means; number of covariates in it, 0 where they tell some arm."""
    basis, grey = [np.ones(len(arms)) / np.sqrt(len(arms))], ""
    for k in range(1, averages.shape[1]):
        between, whole = averages[:, k].var(), people[:, k].var()
        if 1e-12 * whole < between < 1e-8 * whole:
            grey = "means hardly vary"
        if between <= 1e-10 * whole:
            continue
        rest = averages[:, k] / np.sqrt(between)
        length = np.sqrt(((rest - rest.mean()) ** 2).sum())
        for _ in range(2):
            rest = rest - sum((b @ rest) * b for b in basis)
        left = (rest @ rest) / length**2
        if 1e-14 < left < 1e-6:
            grey = "rank of means"
        if left > 1e-10:
            basis.append(rest / np.sqrt(rest @ rest))
    found = logistic(np.column_stack(basis), arms == 1)
    if found.certain.any():
        alone = logistic(basis[0][:, None], arms == 1)
        alone.grey = found.grey
        return alone, 0, grey
    return found, len(basis) - 1, grey
