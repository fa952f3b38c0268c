"""A slow search for the optimum of the two-visit model where everybody has both visits; no code shared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hard_designs import trial
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[Any]


def two_visits(seed: int) -> tuple[str, dict[str, Array], list[str]]:
    """A hard trial with a baseline that shares something with the follow-up."""
    kind, data, _ = trial(seed)
    rng = np.random.default_rng([seed, 78])
    people, practice = len(data["arm"]), data["practice"]
    scale = data["mansa_followup"].std()
    sizes = np.bincount(practice)
    effect = rng.uniform(0.0, 1.0) * rng.normal(size=len(sizes)) / sizes ** rng.uniform(0.0, 0.8)
    share = rng.uniform(0.0, 0.9)
    shared = share * (data["mansa_followup"] - 0.5 * scale * data["inner"]) / scale
    data["mansa_baseline"] = 10.0 ** rng.uniform(-3, 3) * (shared + rng.normal(size=people) + effect[practice])
    return kind, data, [[], ["inner"], ["outer"]][rng.integers(3)]


@dataclass(frozen=True)
class VisitCriterion:
    """-2 log-likelihood less a constant at E and U, by QR; columns are X of both visits and the response.

    ``inside`` is R of the deviations from practice means, rows of the first visit beside those of the second; ``means``
    (practices, 2, columns); ``unit`` the standard deviations of both outcomes, which E and U are in units of.
    """

    inside: Array
    means: Array
    sizes: Array
    people: int
    unit: Array
    reml: bool

    @classmethod
    def of(cls, data: Mapping[str, Array], adjust: list[str], reml: bool) -> "VisitCriterion":
        """Reduce a trial."""
        practice, people = data["practice"], len(data["arm"])
        x = np.column_stack([np.ones(people), *((data[n] - data[n].mean()) / data[n].std() for n in adjust)])
        none, arm = np.zeros_like(x), data["arm"][:, None] * 1.0
        unit = np.array([data["mansa_baseline"].std(), data["mansa_followup"].std()])
        y = [data[name] / u for name, u in zip(("mansa_baseline", "mansa_followup"), unit, strict=True)]
        y = [v - v.mean() for v in y]
        rows = np.stack([
            np.column_stack([x, none, 0.0 * arm, y[0]]), np.column_stack([none, x, arm, y[1]]),
        ], axis=1)  # fmt: skip
        sizes = np.bincount(practice).astype(float)
        flat = rows.reshape(people, -1)
        means = np.stack([np.bincount(practice, c) for c in flat.T], axis=1) / sizes[:, None]
        inside = np.linalg.qr(flat - means[practice], mode="r")
        q = rows.shape[-1]
        return cls(inside.reshape(-1, 2, q), means.reshape(-1, 2, q), sizes, people, unit, reml)

    def __call__(self, e: Array, u: Array) -> Array:
        """Criterion at E and U (points, 2, 2)."""
        own = np.linalg.cholesky(e)
        spread = np.linalg.cholesky(e[:, None] + self.sizes[:, None, None] * u[:, None])
        means = np.broadcast_to(self.means, (len(e), *self.means.shape))
        rows = np.sqrt(self.sizes)[:, None, None] * np.linalg.solve(spread, means)
        inner = np.linalg.solve(own[:, None], np.broadcast_to(self.inside, (len(e), *self.inside.shape)))
        q = self.means.shape[-1]
        stacked = np.concatenate([rows.reshape(len(e), -1, q), inner.reshape(len(e), -1, q)], axis=1)
        r = np.abs(np.einsum("gii->gi", np.linalg.qr(stacked, mode="r")))
        value = 2.0 * np.log(np.einsum("gkii->gki", spread)).sum(axis=(1, 2))
        value += 2.0 * (self.people - len(self.sizes)) * np.log(np.einsum("gii->gi", own)).sum(axis=1) + r[:, -1] ** 2
        return np.asarray(value + (2.0 * np.log(r[:, :-1]).sum(axis=1) if self.reml else 0.0))

    def matrices(self, points: Array) -> tuple[Array, Array]:
        """E = L L' and U = B B' from log diagonals and off-diagonals (points, 6)."""
        out = []
        for at, logged in ((0, True), (3, False)):
            root = np.zeros((len(points), 2, 2))
            for row, column, k in ((0, 0, 0), (1, 0, 1), (1, 1, 2)):
                value = points[:, at + k]
                root[:, row, column] = np.exp(np.clip(value, -18.0, 9.0)) if logged and row == column else value
            out.append(root @ root.transpose(0, 2, 1))
        return out[0], out[1]

    def lowest(self, most: int = 6) -> float:
        """Least value: a grid of practice variances and their correlation, the best points polished."""
        least = 0.2 / self.sizes.max()
        gamma = np.append(0.15 * least, np.exp(np.linspace(np.log(least), np.log(20.0), 10)))
        points = []
        for g in gamma:
            for h in gamma:
                for r in (-0.9, 0.0, 0.9):
                    a, b = 1.0 / np.sqrt(1.0 + g), 1.0 / np.sqrt(1.0 + h)
                    for c in (0.0, 0.6):
                        points.append([np.log(a), c * b, np.log(b * np.sqrt(1.0 - c**2)), a * np.sqrt(g),
                                       r * b * np.sqrt(h), b * np.sqrt(h * (1.0 - r**2))])  # fmt: skip
        mesh = np.array(points)
        parts = [self(*self.matrices(mesh[k : k + 100])) for k in range(0, len(mesh), 100)]
        order = np.argsort(np.concatenate(parts))
        chosen = list(order[:2]) + list(order[2 :: max(1, len(order) // 40)][: most - 2])
        return min(self._polished(mesh[at]) for at in chosen)

    def _polished(self, point: Array) -> float:
        steps = 1e-6 * np.eye(6)

        def both(p: Array) -> tuple[float, Array]:
            values = self(*self.matrices(np.concatenate([p[None], p + steps, p - steps])))
            return float(values[0]), (values[1:7] - values[7:]) / 2e-6

        for _ in range(3):
            point = minimize(both, point, jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 300}).x
        return both(point)[0]
