"""Characteristics of people before the trial other than age, sex, diagnosis and care provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, Strict, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.errors import unknown
from simtrial.generate import Step, Variable
from simtrial.generate.distributions.copula import latent_normals, not_positive_definite, refused, within_parts
from simtrial.generate.participants.amounts import AgeAtDiagnosis, Hours, Occasions

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Icc = Annotated[float, Field(ge=0, lt=1)]
Correlation = Annotated[tuple[str, str, float], Strict(False)]

FACTORS = {
    "ethnicity": "Ethnicity", "relationship": "Relationship status", "education": "Highest education",
    "health_check": "Physical health check in the past year",
}  # fmt: skip
YES_NO = {
    "smoking": "Smokes", "alcohol": "Drinks alcohol", "carer_formal": "Has a formal carer",
    "carer_informal": "Has an informal carer", "childcare": "Responsible for childcare",
    "other_caring": "Responsible for other caring", "household_tasks": "Responsible for household tasks",
}  # fmt: skip
OF_SMOKERS = {"cigarettes": "Smokes cigarettes", "pipe": "Smokes a pipe", "e_cigarette": "Smokes e-cigarettes"}
QUANTITIES = {
    "smoking_times_per_day": ("smoking", "Times smoking", "times per day"),
    "alcohol_times_per_week": ("alcohol", "Times drinking", "times per week"),
    "childcare_hours_month": ("childcare", "Childcare", "hours in the past month"),
    "other_caring_hours_week": ("other_caring", "Other caring", "hours in the past week"),
    "household_hours_week": ("household_tasks", "Household tasks", "hours per week"),
    "age_at_diagnosis": ("", "Age at diagnosis", "years"),
}
"""The variable that must be 1 for each to apply, label and unit."""

APPLIES = {**dict.fromkeys(OF_SMOKERS, "smoking"), **{name: of for name, (of, _, _) in QUANTITIES.items() if of}}
KNOWN: dict[str, tuple[str, ...]] = {
    "gender": ("sex",), "diagnosis": ("diagnosis",), "ethnicity": ("ethnicity",), "relationship": ("relationship",),
    "health_check": ("health_check",), "household_tasks": ("household_tasks", "household_hours_week"),
}  # fmt: skip
"""What is hidden together in people in whom it is not known."""


def _shares(meaning: str, **shares: float) -> Any:
    return Field(default_factory=lambda: dict(shares), description=meaning)


class Characteristics(Step):
    """Everything else that a table of baseline characteristics shows.

    Every variable is a non-decreasing function of a standard normal of its own (categories in the order stated), so
    that its distribution is exact whatever is shared or correlated. People of one practice share ``icc`` of it;
    ``correlations`` ties the normals of different variables (a Gaussian copula). A variable that applies to some people
    only, such as cigarettes to smokers, is blank in the others.
    """

    stage: ClassVar[str] = "characteristics"

    ethnicity: dict[str, Weight] = _shares(
        "share by ethnicity, in any unit", white=176, mixed=4, asian=5, black=8, other=1, unknown=3
    )
    relationship: dict[str, Weight] = _shares(
        "share by relationship status, in any unit",
        single=78, married=55, partner=24, divorced_separated=31, widowed=8, other=1,
    )  # fmt: skip
    education: dict[str, Weight] = _shares(
        "share by highest education, in any unit", level_1_2=52, level_3_5=73, level_6_8=41, none=29, other=3
    )
    health_check: dict[str, Weight] = _shares(
        "share by physical health check, in any unit", no=65, yes=125, do_not_know=5
    )
    conditions: dict[str, Share] = _shares(
        "share of people with each long-term condition",
        chronic_heart_disease=0.0556, cancer=0.0253, stroke=0.0404, bronchitis_emphysema=0.1263, asthma=0.2172,
        diabetes=0.1263, epilepsy=0.0606, hypertension=0.2323, liver_disease=0.0556, kidney_disease=0.0657,
    )  # fmt: skip
    medication: dict[str, Share] = _shares(
        "share of people on each medication",
        antipsychotics=0.6869, antidepressants=0.6111, sedatives_hypnotics=0.2576, mood_stabilisers=0.4899,
        other=0.0859,
    )  # fmt: skip
    smoking: float = Field(0.4141, ge=0, le=1, description="share who smoke")
    cigarettes: float = Field(0.8659, ge=0, le=1, description="share of smokers who smoke cigarettes")
    pipe: float = Field(0.0122, ge=0, le=1, description="share of smokers who smoke a pipe")
    e_cigarette: float = Field(0.2439, ge=0, le=1, description="share of smokers who smoke e-cigarettes")
    alcohol: float = Field(0.4596, ge=0, le=1, description="share who drink alcohol")
    carer_formal: float = Field(0.0909, ge=0, le=1, description="share with a formal carer")
    carer_informal: float = Field(0.4192, ge=0, le=1, description="share with an informal carer")
    childcare: float = Field(0.2323, ge=0, le=1, description="share responsible for childcare")
    other_caring: float = Field(0.1970, ge=0, le=1, description="share responsible for other caring")
    household_tasks: float = Field(0.9340, ge=0, le=1, description="share responsible for household tasks")
    smoking_times_per_day: Occasions = Field(
        default_factory=lambda: Occasions(mean=17.5, sd=12.2, lowest=1, highest=60, answered=0.927),
        description="times smokers smoke a day: mean and SD between bounds",
    )
    alcohol_times_per_week: Occasions = Field(
        default_factory=lambda: Occasions(mean=2.8, sd=2.2, lowest=0, highest=7, answered=0.824),
        description="times drinkers drink a week: mean and SD between bounds",
    )
    childcare_hours_month: Hours = Field(
        default_factory=lambda: Hours(q1=24, median=64, q3=288, highest=744, answered=0.848),
        description="hours of childcare in a month: quartiles",
    )
    other_caring_hours_week: Hours = Field(
        default_factory=lambda: Hours(q1=10, median=28, q3=90, highest=168, answered=0.897),
        description="hours of other caring in a week: quartiles",
    )
    household_hours_week: Hours = Field(
        default_factory=lambda: Hours(q1=4, median=7, q3=14, highest=168, answered=0.973),
        description="hours of household tasks in a week: quartiles",
    )
    age_at_diagnosis: AgeAtDiagnosis = Field(
        default_factory=lambda: AgeAtDiagnosis(mean=35.1, sd=12.8, lowest=12, highest=70, answered=0.904),
        description="age at diagnosis in completed years: mean and SD between bounds",
    )
    known: dict[str, Share] = Field(
        default_factory=dict, description=f"share in whom each is known, of {', '.join(KNOWN)}; default: everybody"
    )
    icc: float = Field(0.05, ge=0, lt=1, description="latent-scale ICC by practice of every characteristic")
    iccs: dict[str, Icc] = Field(default_factory=dict, description="latent-scale ICC of single characteristics")
    correlations: list[Correlation] = Field(
        default_factory=list, description="latent correlations as [name, name, value]; all others are 0"
    )

    @model_validator(mode="after")
    def _possible(self) -> Characteristics:
        for name in FACTORS:
            if not sum(getattr(self, name).values()) > 0:
                raise ValueError(f"{name}: no category has a positive share")
        names = self._names()
        for stated, what, valid in ((self.known, "group", KNOWN), (self.iccs, "characteristic", names)):
            wrong = [name for name in stated if name not in valid]
            if wrong:
                raise ValueError(unknown(what, wrong[0], valid))
        problem = refused(names, self.correlations) or self._tied_to_what_decides()
        problem = problem or not_positive_definite(names, self.correlations, self._matrix())
        if problem:
            raise ValueError(problem)
        return self

    def _tied_to_what_decides(self) -> str | None:
        for first, second, r in self.correlations:
            for name, other in ((first, second), (second, first)):
                if r and APPLIES.get(name) == other:
                    return (
                        f"correlations: {name} with {other}: {name} exists only where {other} is 1, and a correlation "
                        "would move its distribution there"
                    )
        return None

    def _binary(self) -> dict[str, tuple[float, str]]:
        """Share and label of every 0/1 variable."""
        found = {f"condition_{n}": (p, f"Long-term condition: {_plain(n)}") for n, p in self.conditions.items()}
        found |= {n: (getattr(self, n), label) for n, label in (YES_NO | OF_SMOKERS).items()}
        return found | {f"medication_{n}": (p, f"Medication: {_plain(n)}") for n, p in self.medication.items()}

    def _names(self) -> list[str]:
        """Every characteristic that has a normal of its own, in the order these are drawn."""
        return [*FACTORS, *QUANTITIES, *self._binary()]

    def _icc(self) -> dict[str, float]:
        return {name: self.iccs.get(name, self.icc) for name in self._names()}

    def _matrix(self) -> Floats:
        return within_parts(self._names(), self.correlations, self._icc())

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        return frozenset({"age"} if self.age_at_diagnosis.up_to_age else ())

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        found = {n: Variable("participant", label, categories=tuple(getattr(self, n))) for n, label in FACTORS.items()}
        for name, (_, label) in self._binary().items():
            blank = "; blank in non-smokers" if name in OF_SMOKERS else ""
            found[name] = Variable("participant", f"{label}: 0 no, 1 yes{blank}")
        for name, (of, label, unit) in QUANTITIES.items():
            blank = "; blank where not applicable or not answered" if of else "; blank where not answered"
            found[name] = Variable("participant", label + blank, unit)
        for group, hides in KNOWN.items():
            found[f"{group}_known"] = Variable("participant", f"{_plain(group)} known: 0 no, 1 yes", hides=hides)
        return found

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw the characteristics of everybody."""
        from scipy.special import ndtri

        names, people = self._names(), batch.index.participants
        normals = latent_normals(batch.index, np.array(list(self._icc().values())), self._matrix(), rng)
        z = dict(zip(names, normals, strict=True))
        found: dict[str, NDArray[Any]] = {}
        for name in FACTORS:
            weights = np.array(list(getattr(self, name).values()), dtype=np.float64)
            edges = ndtri(np.minimum(np.cumsum(weights / weights.sum())[:-1], 1.0))
            found[name] = np.searchsorted(edges, z[name], side="right").astype(np.int64)
        for name, (share, _) in self._binary().items():
            found[name] = (z[name] > -ndtri(share)).astype(np.int64)
        for group in KNOWN:
            found[f"{group}_known"] = (rng.random(people) < self.known.get(group, 1.0)).astype(np.int64)
        for name in QUANTITIES:
            options: Occasions | Hours | AgeAtDiagnosis = getattr(self, name)
            values = options.value(z[name], batch) if isinstance(options, AgeAtDiagnosis) else options.value(z[name])
            found[name] = np.where(rng.random(people) < options.answered, values, np.nan)
        for name, of in APPLIES.items():
            found[name] = np.where(found[of] == 1, found[name], np.nan)
        return found


def _plain(name: str) -> str:
    return name.replace("_", " ")
