"""The funnel behind the practices and people randomised: who was approached, screened, eligible, and consented."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable
from simtrial.kernels.segments import sum_by

Weight = Annotated[float, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, le=1)]
Ints = NDArray[np.int64]

LONGEST = 32
"""Letters in a name that Stata takes."""

STEPS = ("screened", "eligible", "consented", "assessed")

APPROACHED = {
    "birmingham": {
        "no_response": 17.0, "lacking_capacity": 7.0, "in_discussion": 6.0, "not_interested": 1.0, "interested": 3.0,
        "declined": 4.0, "reason_unknown": 2.0,
    },
    "plymouth": {"target_reached": 3.0, "no_response": 4.0, "lacking_capacity": 2.0, "merger": 2.0},
    "cornwall": {"no_response": 7.0, "not_interested": 2.0},
    "somerset": {"target_reached": 17.0},
    "lancashire": {"no_response": 10.0, "few_patients": 1.0, "merger": 1.0, "lacking_capacity": 3.0},
}  # fmt: skip
"""Practices approached and not recruited, by locality and reason: Byng et al. 2023, Fig. 1."""


class Screening(Step):
    """Counts before randomisation, drawn backwards from the randomised practices and people.

    A step that keeps each unit with probability p and ends with n of them began with n plus a negative binomial number
    of failures (n, p), n/p on average. Practices: approached, recruited, screened (also consented and assessed),
    randomised. People of every practice: screened, eligible, consented, assessed, recruited. Practices excluded just
    before allocation had people of their own, who went through the same steps. Those lost are divided among reasons
    multinomially.
    """

    stage: ClassVar[str] = "screening"

    practice_recruited: Rate = Field(59 / 151, description="share of practices approached that were recruited")
    practice_screened: Rate = Field(41 / 59, description="share of practices recruited that went on to screen people")
    practice_consented: Rate = Field(1.0, description="share of practices screening in which somebody consented")
    practice_assessed: Rate = Field(1.0, description="share of those practices in which somebody was assessed")
    practice_randomised: Rate = Field(39 / 41, description="share of practices assessed that were allocated")
    eligible: Rate = Field(1427 / 2465, description="share of people screened who were eligible")
    consented: Rate = Field(208 / 1427, description="share of people eligible who consented")
    assessed: Rate = Field(200 / 208, description="share of people who consented that were assessed at baseline")
    recruited: Rate = Field(1.0, description="share of people assessed, in practices allocated, who were recruited")
    excluded_practice_size: float = Field(
        1.0, ge=1, le=1000, description="mean people assessed in a practice excluded before allocation"
    )
    not_recruited: dict[str, dict[str, Weight]] = Field(
        default_factory=lambda: {place: dict(reasons) for place, reasons in APPROACHED.items()},
        description="practices approached and not recruited, by locality and reason, in any unit",
    )
    not_screened: dict[str, Weight] = Field(
        default_factory=lambda: {"lancashire": 9.0, "withdrew": 9.0},
        description="practices recruited that did not screen, by reason, in any unit",
    )
    not_assessed: dict[str, Weight] = Field(
        default_factory=lambda: {"withdrew": 4.0, "diagnosis": 2.0, "target": 2.0},
        description="people who consented and were not assessed, by reason, in any unit",
    )
    not_allocated: dict[str, Weight] = Field(
        default_factory=lambda: {"poor_recruitment": 1.0, "single": 1.0},
        description="practices assessed that were not allocated, by reason, in any unit",
    )

    @field_validator("not_recruited", "not_screened", "not_assessed", "not_allocated")
    @classmethod
    def _some_reason(cls, value: dict[str, Any]) -> dict[str, Any]:
        flat = _flat(value) if value and isinstance(next(iter(value.values())), dict) else value
        strange = [name for name in (*value, *flat) if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]
        if strange:
            raise ValueError(f"reasons name columns: lower-case letters, digits and _; '{strange[0]}' given")
        if sum(flat.values()) <= 0:
            raise ValueError("the shares of the reasons must add up to more than 0")
        return value

    @model_validator(mode="after")
    def _short_names(self) -> Screening:
        long = [name for name in self.adds() if len(name) > LONGEST]
        if long:
            raise ValueError(f"column '{long[0]}' has {len(long[0])} letters; other programs take {LONGEST} at most")
        return self

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        return frozenset({"recruited"})

    def _reasons(self) -> dict[str, tuple[str, dict[str, float]]]:
        """Count that is divided -> beginning of the columns' names, and shares of the reasons."""
        return {
            "excluded_before_recruitment": ("excl", _flat(self.not_recruited)),
            "excluded_before_screening": ("not_screened", self.not_screened),
            "people_not_assessed": ("not_assessed", self.not_assessed),
            "practices_excluded": ("not_allocated", self.not_allocated),
        }

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        labels = {
            "approached": "Practices approached",
            "practices_recruited": "Practices recruited",
            "practices_screened": "Practices that screened people",
            "practices_consented": "Practices in which somebody consented",
            "practices_assessed": "Practices in which somebody was assessed",
            "practices_excluded": "Practices excluded before allocation",
            "excluded_before_recruitment": "Practices approached and not recruited",
            "excluded_before_screening": "Practices recruited that did not screen",
        }
        found = {name: Variable("trial", label, "practices") for name, label in labels.items()}
        for step in STEPS:
            found[f"people_{step}"] = Variable("trial", f"People {step}, all practices", "people")
        found["people_not_assessed"] = Variable("trial", "People who consented and were not assessed", "people")
        found["people_excluded"] = Variable(
            "trial", "People assessed in practices excluded before allocation", "people"
        )
        for total, (prefix, shares) in self._reasons().items():
            for reason in shares:
                label = f"{labels.get(total, 'Not assessed')}: {reason.replace('_', ' ')}"
                found[f"{prefix}_{reason}"] = Variable("trial", label, found[total].unit)
        for step in STEPS:
            found[step] = Variable("practice", f"People {step} in the practice", "people")
        return found

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw the funnel of every trial."""
        index = batch.index
        practices = np.bincount(index.practice_trial, minlength=index.trials)
        counts = self._practices(practices, rng)
        excluded = counts["practices_excluded"]
        counts["people_excluded"] = excluded + rng.poisson((self.excluded_practice_size - 1.0) * excluded)
        own = self._people(before(batch.at("recruited", "practice").astype(np.int64), self.recruited, rng), rng)
        others = self._people(counts["people_excluded"], rng)
        for step in STEPS:
            total = sum_by(own[step], index.practice_trial, index.trials) + others[step]
            counts[f"people_{step}"] = total.astype(np.int64)
        counts["people_not_assessed"] = counts["people_consented"] - counts["people_assessed"]
        for name, (prefix, shares) in self._reasons().items():
            weights = np.asarray(list(shares.values()))
            divided = rng.multinomial(counts[name], weights / weights.sum())
            counts.update({f"{prefix}_{reason}": divided[:, k] for k, reason in enumerate(shares)})
        return {**counts, **own}

    def _practices(self, randomised: Ints, rng: np.random.Generator) -> dict[str, Ints]:
        """Practices at every step (trials,), backwards from those randomised."""
        assessed = before(randomised, self.practice_randomised, rng)
        consented = before(assessed, self.practice_assessed, rng)
        screened = before(consented, self.practice_consented, rng)
        recruited = before(screened, self.practice_screened, rng)
        approached = before(recruited, self.practice_recruited, rng)
        return {
            "approached": approached,
            "practices_recruited": recruited,
            "practices_screened": screened,
            "practices_consented": consented,
            "practices_assessed": assessed,
            "practices_excluded": assessed - randomised,
            "excluded_before_recruitment": approached - recruited,
            "excluded_before_screening": recruited - screened,
        }

    def _people(self, assessed: Ints, rng: np.random.Generator) -> dict[str, Ints]:
        """People at every step, backwards from those assessed, in practices or whole trials."""
        consented = before(assessed, self.assessed, rng)
        eligible = before(consented, self.consented, rng)
        screened = before(eligible, self.eligible, rng)
        return {"screened": screened, "eligible": eligible, "consented": consented, "assessed": assessed}


def before(kept: Ints, rate: float, rng: np.random.Generator) -> Ints:
    """How many there were when each was kept with probability ``rate``: kept + negative binomial failures.

    The negative binomial is a Poisson whose mean is gamma with shape ``kept`` and scale (1 - rate) / rate; 0 of 0.
    """
    return np.asarray(kept + rng.poisson(rng.standard_gamma(kept) * (1.0 - rate) / rate), dtype=np.int64)


def _flat(nested: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{place}_{reason}": share for place, reasons in nested.items() for reason, share in reasons.items()}
