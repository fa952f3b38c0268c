"""A slow search for the optimum of the model with variances by arm: dense grid, then polishing; no code shared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hard_designs import design
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[Any]
GAMMAS, RATIOS = 14, np.log([0.05, 0.2, 0.5, 0.8, 1.25, 2.0, 5.0, 20.0])


@dataclass(frozen=True)
class ArmCriterion:
    """-2 log-likelihood less a constant, by QR, the common scale profiled out: of log s_1/s_0, gamma_0 and gamma_1."""

    inside: tuple[Array, Array]
    means: Array
    sizes: Array
    arm: Array
    deviations: tuple[float, float]
    nu: float
    reml: bool

    @classmethod
    def of(cls, data: Mapping[str, Array], adjust: list[str], reml: bool) -> "ArmCriterion":
        """Reduce a trial whose outcome has mean square 1 after least squares."""
        x, y = design(data, adjust), data["mansa_followup"]
        y = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        every, practice = np.column_stack([x, y / np.sqrt((y**2).mean())]), data["practice"]
        sizes = np.bincount(practice).astype(float)
        means = np.stack([np.bincount(practice, column) for column in every.T], axis=1) / sizes[:, None]
        arm = (np.bincount(practice, data["arm"]) > 0).astype(int)
        rest = every - means[practice]
        parts, people = [], []
        for a in (0, 1):
            own = rest[arm[practice] == a]
            padded = np.concatenate([own, np.zeros((every.shape[1], every.shape[1]))])
            parts.append(np.linalg.qr(padded, mode="r"))
            people.append(float(len(own) - (arm == a).sum()))
        nu = len(y) - (x.shape[1] if reml else 0)
        return cls((parts[0], parts[1]), means, sizes, arm, (people[0], people[1]), nu, reml)

    def __call__(self, ratio: Array, gamma: Array) -> Array:
        """Criterion at log ratios (points,) and gammas (points, 2); an arm's residual variance is exp(+-ratio / 2)."""
        s = np.exp(0.5 * ratio[:, None] * np.array([-1.0, 1.0]))
        own_s, own_g = s[:, self.arm], gamma[:, self.arm]
        spread = own_s * (1.0 + self.sizes * own_g)
        rows = [np.sqrt(self.sizes / spread)[:, :, None] * self.means]
        rows += [part / np.sqrt(s[:, a])[:, None, None] for a, part in enumerate(self.inside)]
        r = np.abs(np.einsum("gii->gi", np.linalg.qr(np.concatenate(rows, axis=1), mode="r")))
        value = np.log(spread).sum(axis=1) + np.log(s) @ np.array(self.deviations)
        value += self.nu * (2.0 * np.log(r[:, -1]) - np.log(self.nu) + 1.0)
        return np.asarray(value + (2.0 * np.log(r[:, :-1]).sum(axis=1) if self.reml else 0.0))

    def of_point(self, point: Array, by: str) -> float:
        """Criterion at what is optimised: see `lowest`."""
        shift = 1.0 / self.sizes.max()
        if by == "residual":  # one practice variance t = gamma_a s_a
            ratio, t = point[0], max(np.exp(point[1]) - shift, 0.0)
            gamma = t / np.exp(0.5 * ratio * np.array([-1.0, 1.0]))
        else:
            ratio, gamma = (0.0, point) if by == "cluster" else (point[0], point[1:])
            gamma = np.maximum(np.exp(gamma) - shift, 0.0)
        return float(self(np.array([ratio]), gamma[None])[0])

    def lowest(self, by: str, most: int = 8) -> float:
        """Least value: local minima of a dense grid of log ratio and log(gamma + 1 / max n), polished."""
        shift = 1.0 / self.sizes.max()
        logs = np.linspace(np.log(shift), np.log(30.0), GAMMAS)
        axes = {"residual": [RATIOS, logs], "cluster": [logs, logs], "both": [RATIOS, logs, logs]}[by]
        mesh = np.stack([m.ravel() for m in np.meshgrid(*axes, indexing="ij")], axis=1)
        values = self._of_points(mesh, by).reshape([len(a) for a in axes])
        low = np.ones(values.shape, dtype=bool)
        for axis in range(values.ndim):
            turned, mark = np.moveaxis(values, axis, 0), np.moveaxis(low, axis, 0)
            mark[1:] &= turned[1:] <= turned[:-1]
            mark[:-1] &= turned[:-1] <= turned[1:]
        where = np.flatnonzero(low.ravel())
        where = where[np.argsort(values.ravel()[where])][:most]
        bounds = [(-12.0, 12.0)] * (by != "cluster") + [(np.log(shift), 25.0)] * (1 if by == "residual" else 2)
        return min(self._polished(mesh[at], by, bounds) for at in where)

    def _of_points(self, mesh: Array, by: str) -> Array:
        shift = 1.0 / self.sizes.max()
        if by == "residual":
            t = np.maximum(np.exp(mesh[:, 1]) - shift, 0.0)
            return self(mesh[:, 0], t[:, None] / np.exp(0.5 * mesh[:, :1] * np.array([-1.0, 1.0])))
        gamma = np.maximum(np.exp(mesh if by == "cluster" else mesh[:, 1:]) - shift, 0.0)
        return self(np.zeros(len(mesh)) if by == "cluster" else mesh[:, 0], gamma)

    def _polished(self, point: Array, by: str, bounds: list[tuple[float, float]]) -> float:
        of = lambda p: self.of_point(p, by)  # noqa: E731
        for _ in range(3):
            point = minimize(of, point, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-15, "gtol": 1e-9}).x
        return of(point)
