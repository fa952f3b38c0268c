"""Practices that sample their people: the simulation of Wang, Park, Small and Li (2024)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Floats
from simtrial.generate.generators import Drawn, EstimandOptions, Generator, Variable, register_generator


@register_generator("wang-2024")
class Wang2024(Generator):
    """Practices with a source population of N_j people, of whom M_j are sampled; the effect grows with N_j.

    Simulation 1 of Wang, Park, Small and Li (2024, doi:10.1080/01621459.2023.2289693), h = 1 (sizes two: N is 10 or
    50) or 2 (sizes range: N from 10 to 100, all alike)::

        C1 ~ N(N/(10h), 4)   C2 ~ Bernoulli(expit(C1 log(N/(10h))))   A ~ Bernoulli(1/2)
        X1 ~ Bernoulli(N/(50h))   X2 ~ N((2 C2 - 1) mean of X1 in the source, 9)
        Y(1) = sin(C1) (2 C2 - 1) N/(30h) + 5 exp(X1) |X2| + e1 + N/(5h)
        Y(0) = sin(C1) (2 C2 - 1) N/(30h) + 5 exp(X1) |X2| + e0 + u      e1, e0, u ~ N(0, 1)

    Sampled, without looking at anybody: 9 or 10 of the practice (non-informative); N/(5h) + 5 C2 in the intervention
    arm, 3 or (large practices) 6 in control (informative). People of a practice being exchangeable, those sampled are
    drawn, and of the others only how many have X1 = 1.
    """

    name: Literal["wang-2024"] = "wang-2024"
    practices: int = Field(100, ge=2, le=100_000, description="practices of a trial, m")
    sizes: Literal["two", "range"] = Field("two", description="source population: 10 or 50, or 10 to 100")
    sampling: Literal["informative", "non-informative"] = Field(
        "informative", description="whether the number sampled depends on size, arm and practice"
    )

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there, in the order of a trial's life."""
        return {
            "register_size": Variable("practice", "People in the practice's source population, N", "people"),
            "c1": Variable("practice", "Practice-level covariate, continuous, C1"),
            "c2": Variable("practice", "Practice-level covariate, 0 or 1, C2"),
            "arm": Variable("practice", "Arm: 0 control, 1 intervention"),
            "x1": Variable("participant", "Individual covariate, 0 or 1, X1"),
            "x2": Variable("participant", "Individual covariate, continuous, X2"),
            "y_if_control": Variable("participant", "Outcome in control", latent=True),
            "y_if_intervention": Variable("participant", "Outcome if offered", latent=True),
            "y_followup": Variable("participant", "Outcome"),
        }

    def known(self, estimand: EstimandOptions) -> float | None:
        """E N/(5h) over practices, E N^2/(5h E N) over the people of the source population."""
        size, h = (np.array([10.0, 50.0]), 1) if self.sizes == "two" else (np.arange(10.0, 101.0), 2)
        if estimand.kind != "itt" or estimand.unit != "cluster":
            return None  # an average over those sampled, whose number may go with the arm
        if estimand.weights == "register_size":
            return float((size**2).sum() / size.sum() / (5 * h))
        return float(size.mean() / (5 * h)) if estimand.weights is None else None

    def draw_trials(self, trials: int, rng: np.random.Generator) -> Drawn:
        """Draw practices, allocate them, sample their people, and give them both potential outcomes."""
        h = 1 if self.sizes == "two" else 2
        total = trials * self.practices
        n = rng.choice([10.0, 50.0], total) if h == 1 else rng.integers(10, 101, total).astype(np.float64)
        c1 = rng.normal(n / (10 * h), 2.0)
        c2 = (rng.random(total) < _expit(c1 * np.log(n / (10 * h)))).astype(np.int64)
        arm = (rng.random(total) < 0.5).astype(np.int64)
        people = self._sampled(n, c2, arm, h, rng)
        of = np.repeat(np.arange(total), people)
        columns = {"register_size": n, "c1": c1, "c2": c2, "arm": arm}
        return Drawn(np.full(trials, self.practices), people, {**columns, **_outcomes(n, c1, c2, arm, of, h, rng)})

    def _sampled(
        self, n: Floats, c2: NDArray[np.int64], arm: NDArray[np.int64], h: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """People sampled in every practice, given its arm (practices,)."""
        if self.sampling == "non-informative":
            return rng.integers(9, 11, len(n))
        treated, control = np.round(n / (5 * h)) + 5 * c2, np.where(n > 27.5 * h, 6, 3)
        return np.where(arm == 1, treated, control).astype(np.int64)


def _outcomes(
    n: Floats, c1: Floats, c2: NDArray[np.int64], arm: NDArray[np.int64], of: NDArray[np.intp], h: int,
    rng: np.random.Generator,
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """Covariates and outcomes of the people sampled; ``of`` is the practice of each (participants,)."""
    share, sampled = n / (50 * h), np.bincount(of, minlength=len(n))
    x1 = (rng.random(len(of)) < share[of]).astype(np.int64)
    ones = np.bincount(of, weights=x1, minlength=len(n)) + rng.binomial((n - sampled).astype(np.int64), share)
    sign = 2 * c2 - 1
    x2 = rng.normal((sign * ones / n)[of], 3.0)
    common = (np.sin(c1) * sign * n / (30 * h))[of] + 5.0 * np.exp(x1) * np.abs(x2)
    treated = common + rng.standard_normal(len(of)) + (n / (5 * h))[of]
    control = common + rng.standard_normal(len(of)) + rng.standard_normal(len(n))[of]
    happens = np.where(arm[of] == 1, treated, control)
    return {"x1": x1, "x2": x2, "y_if_control": control, "y_if_intervention": treated, "y_followup": happens}


def _expit(x: Floats) -> Floats:
    return 0.5 * (1.0 + np.tanh(0.5 * x))
