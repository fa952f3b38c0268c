"""Trials whose random-intercept criterion is hard to minimise, and a slow search for its minimum that shares no code.

The search orthogonalises the data themselves: in every practice the mean direction and the deviations are separate, so
a QR decomposition of sqrt(n_j / (1 + n_j gamma)) z_j stacked on that of the deviations gives the residual sum of
squares and the determinant at any gamma. It runs over a dense grid of log(gamma + 1/max n_j) and polishes every local
minimum.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Array = NDArray[Any]
KINDS = ("log sizes", "two giants", "few practices", "pairs", "one outlier", "nearly alike", "perfect")


def sizes_of(kind: str, rng: np.random.Generator) -> Array:
    """Sizes of the practices of a trial."""
    if kind == "log sizes":
        return np.exp(rng.uniform(0.0, np.log(rng.choice([30, 400, 20_000])), rng.integers(6, 25))).astype(int)
    if kind == "two giants":
        dozens = rng.integers(5, 60, 20)
        return np.concatenate([rng.integers(1_000, 6_000, 2), dozens])
    if kind == "few practices":
        return np.exp(rng.uniform(0.0, np.log(rng.choice([10, 300, 3_000])), rng.integers(4, 8))).astype(int) + 1
    if kind == "pairs":
        return rng.integers(1, 3, rng.integers(10, 60))
    if kind == "one outlier":
        return np.concatenate([[rng.integers(2, 6)], np.full(rng.integers(8, 40), rng.choice([12, 60, 300]))])
    return rng.integers(2, 30, rng.integers(8, 40))


def trial(seed: int) -> tuple[str, dict[str, Array], list[str]]:
    """A hard trial: its kind, its columns, and the covariates to adjust for."""
    rng = np.random.default_rng([seed, 77])
    kind = KINDS[seed % len(KINDS)]
    sizes = sizes_of(kind, rng)
    rng.shuffle(sizes)
    practices = len(sizes)
    practice = np.repeat(np.arange(practices), sizes)
    arms = rng.permutation(np.arange(practices) % 2)
    gamma = rng.choice([0.0, 0.3 / sizes.max(), 1.0 / sizes.max(), 1.0 / sizes.mean(), 0.05, 1.0, 30.0])
    effect = np.sqrt(gamma) * rng.standard_t(rng.choice([2.5, 30.0]), practices)
    if kind == "one outlier":
        effect += (sizes == sizes.min()) * rng.uniform(1.0, 5.0)
    if rng.random() < 0.6:  # small practices differ as if gamma were 1 / n_j, large ones hardly: several minima
        effect = rng.uniform(0.3, 1.5) * rng.normal(size=practices) / sizes ** rng.uniform(0.3, 0.8)
        effect *= np.where(sizes > 5 * np.median(sizes), rng.uniform(0.0, 1.0), 1.0)
    people = rng.normal(size=len(practice))
    if kind == "nearly alike":  # practice means closer together than chance would bring them
        people -= (np.bincount(practice, people) / sizes)[practice] * rng.uniform(0.5, 1.0)
    data = {"practice": practice, "arm": arms[practice]}
    data["inner"] = rng.normal(size=len(practice)) + rng.choice([0.0, 3.0]) * rng.normal(size=practices)[practice]
    data["outer"] = rng.normal(size=practices)[practice]
    data["twin"] = 2.0 * data["inner"] - 1.0
    choices = [[], ["inner"], ["outer"], ["inner", "outer"], ["inner", "twin"], ["outer", "inner", "twin"]]
    adjust = choices[rng.integers(len(choices))]
    signal = 0.2 * data["arm"] + 0.5 * data["inner"] + 0.3 * data["outer"]
    noise = 1e-4 if kind == "perfect" else 1.0
    scale = 10.0 ** rng.uniform(-6.0, 6.0)
    constant = rng.choice([0.0, 3.0])
    data["mansa_followup"] = scale * (signal + noise * (effect[practice] + people) + constant)
    if rng.random() < 0.7:
        data["mansa_followup"] += scale * noise * _two_minima(data, adjust, sizes, rng)[practice]
    return kind, data, adjust


def _two_minima(data: Mapping[str, Array], adjust: list[str], sizes: Array, rng: np.random.Generator) -> Array:
    """Of many draws of further practice effects those with two minima as nearly alike as can be, if any."""
    plain = Criterion.of(data, adjust, rng.random() < 0.5)
    shift, best, chosen = 1.0 / sizes.max(), np.inf, np.zeros(len(sizes))
    gamma = np.append(0.0, np.exp(np.linspace(np.log(shift / 30.0), np.log(30.0), 60)))
    unit = np.abs(plain.inside[-1, -1]) / np.sqrt(sizes.sum())  # of people, where the outcome has mean square 1
    for _ in range(60):
        power, cut = rng.uniform(0.0, 0.8), rng.uniform(0.0, 1.0)
        effect = rng.uniform(0.2, 2.0) * rng.normal(size=len(sizes)) / sizes**power
        effect *= np.where(sizes >= np.quantile(sizes, rng.uniform(0.5, 1.0)), cut, 1.0)
        moved = plain.means.copy()
        moved[:, -1] += unit * effect
        values = np.concatenate([[np.inf], replace(plain, means=moved)(gamma), [np.inf]])
        minima = np.sort(values[1:-1][(values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:])])
        if len(minima) > 1 and minima[1] - minima[0] < best:
            best, chosen = minima[1] - minima[0], effect
    return chosen


def design(data: Mapping[str, Array], adjust: list[str]) -> Array:
    """X without what an earlier column already spans, arm last."""
    names = [name for name in adjust if not (name == "twin" and "inner" in adjust)]
    columns = [np.ones(len(data["arm"]))]
    columns += [(data[n] - data[n].mean()) / data[n].std() for n in names]
    return np.column_stack([*columns, data["arm"]])


@dataclass(frozen=True)
class Criterion:
    """f by QR of one trial: orthogonal parts of the data inside practices, means, sizes."""

    inside: Array
    means: Array
    sizes: Array
    nu: float
    reml: bool

    @classmethod
    def of(cls, data: Mapping[str, Array], adjust: list[str], reml: bool) -> "Criterion":
        """Reduce a trial."""
        x, y = design(data, adjust), data["mansa_followup"]
        y = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        y = y / np.sqrt((y**2).mean())
        every, practice = np.column_stack([x, y]), data["practice"]
        sizes = np.bincount(practice).astype(float)
        means = np.stack([np.bincount(practice, column) for column in every.T], axis=1) / sizes[:, None]
        inside = np.linalg.qr(every - means[practice], mode="r")
        return cls(inside, means, sizes, len(y) - (x.shape[1] if reml else 0), reml)

    def __call__(self, gamma: Array | float) -> Array:
        """Twice f, at one gamma or several."""
        gamma = np.atleast_1d(gamma)
        weight = np.sqrt(self.sizes / (1.0 + self.sizes * gamma[:, None]))
        stacked = np.concatenate(
            [weight[:, :, None] * self.means, np.broadcast_to(self.inside, (len(gamma), *self.inside.shape))], axis=1
        )
        r = np.abs(np.einsum("gii->gi", np.linalg.qr(stacked, mode="r")))
        value = 2.0 * self.nu * np.log(r[:, -1]) + np.log1p(self.sizes * gamma[:, None]).sum(axis=1)
        return np.asarray(value + (2.0 * np.log(r[:, :-1]).sum(axis=1) if self.reml else 0.0))

    def lowest(self, below: bool = False, points: int = 600) -> tuple[float, float]:
        """Gamma and value of the least value found; ``below`` 0 as well, minima inside only."""
        shift = 1.0 / self.sizes.max()
        low, high = np.log(shift) + np.log(1e-5 if below else 1.0), np.log(1e8)
        ends = np.linspace(low, high, points)
        values = self(np.maximum(np.exp(ends) - shift, -shift if below else 0.0))
        middle = np.flatnonzero((values[1:-1] <= values[:-2]) & (values[1:-1] <= values[2:])) + 1
        found = [] if below else [(0.0, float(self(0.0)[0]))]
        of: Callable[[float], float] = lambda t: float(self(np.exp(t) - shift)[0])  # noqa: E731
        for at in middle:
            best = minimize_scalar(of, bounds=(ends[at - 1], ends[at + 1]), method="bounded", options={"xatol": 1e-9})
            found.append((float(np.exp(best.x) - shift), float(best.fun)))
        return min(found, key=lambda pair: pair[1], default=(np.nan, np.nan))
