"""An estimand of a scenario file: its kind, the people it is about, and what it needs of the mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simtrial.expressions import columns, parse
from simtrial.generate import (
    Mechanism,
    Variable,
    added,
    before_allocation,
)
from simtrial.generate.column_names import IF_CONTROL, IF_OFFERED, in_either_world

NEEDS = {
    "cace": "received",
    "iv-limit": "received",
    "as-treated": "received",
    "per-protocol": "keep",
    "subgroup": "among",
}
"""The expression each kind is defined by."""

EXAMPLES = {
    "received": "sessions >= 6",
    "keep": "arm == 0 or availability >= 0.7",
    "among": "provider == 'primary'",
}

LIMITS = ("per-protocol", "as-treated")
"""Contrasts of different people: limits of analyses, not causal effects."""

NOT_EFFECTS = (*LIMITS, "iv-limit")
"""Limits of any kind: they have no value in a finite sample."""

COMPLIER_SHARE = "complier-share"
"""Practices count as much as the share of their people who are compliers."""


class Estimand(BaseModel):
    """A quantity that methods estimate.

    ``unit`` participant averages over people, cluster over practices: each practice's mean counts once, or as much as
    the practice-level column ``weights`` says. For the complier effect ``weights`` may be complier-share: with c_j of
    the n_j people of practice j compliers and d_j their mean effect, it is sum_j (c_j/n_j) d_j / sum_j c_j/n_j. That is
    the ratio of the unweighted means over practices of the effects of allocation on outcome and on receipt (where
    allocation works through receipt alone), to which the instrumental-variable ratio of practice means tends.
    ``adjust``: covariates of the least squares whose limit a contrast of different people is. ``finite``: the effect
    among the very people of a trial, instead of the effect in the population that trials are drawn from; every trial
    has a true value of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: str = Field(min_length=1, description="unique within the file")
    kind: Literal["itt", "cace", "subgroup", "full-availability", "per-protocol", "as-treated", "iv-limit"] = Field(
        description="which effect"
    )
    unit: Literal["participant", "cluster"] = Field("participant", description="unit over which the effect is averaged")
    response: str = Field(min_length=1, description="outcome; default: the primary outcome")
    received: str | None = Field(None, description="expression that defines receipt, for cace, as-treated and iv-limit")
    keep: str | None = Field(None, description="expression that defines who is kept, for per-protocol")
    among: str | None = Field(None, description="expression that defines the subgroup")
    dose: str | None = Field(None, description="column of numbers in place of received, for iv-limit: effect per unit")
    weights: str | None = Field(
        None, description="practice-level column that weights practices, or complier-share, for unit cluster"
    )
    adjust: list[str] | None = Field(
        None, description="covariates the contrast is adjusted for, for per-protocol and as-treated"
    )
    finite: bool = Field(False, description="effect among the people of each trial: a true value per trial")

    @model_validator(mode="after")
    def _its_own_options(self) -> Estimand:
        needed = NEEDS.get(self.kind)
        if self.dose is not None and (self.kind != "iv-limit" or self.received is not None):
            raise ValueError("dose is for kind 'iv-limit', in place of received")
        if needed and getattr(self, needed) is None and self.dose is None:
            raise ValueError(f"kind '{self.kind}' needs {needed}, e.g. {needed} = \"{EXAMPLES[needed]}\"")
        for option in EXAMPLES:
            if option != needed and getattr(self, option) is not None:
                raise ValueError(f"{option} is for kind {_takers(option)}; kind '{self.kind}' takes none")
        if self.weights is not None and self.unit == "participant":
            raise ValueError(
                "weights are of practices: they need unit = 'cluster' (unit 'participant' weights by size)"
            )
        if self.weights == COMPLIER_SHARE and self.kind != "cace":
            raise ValueError(f"weights '{COMPLIER_SHARE}' are for kind 'cace'; kind '{self.kind}' has no compliers")
        if self.adjust and self.kind not in LIMITS:
            raise ValueError(f"adjust is for kind {' or '.join(map(repr, LIMITS))}: an effect needs no adjustment")
        if self.adjust and self.weights is not None:
            raise ValueError("adjust goes with unit 'participant' or 'cluster', without weights")
        if self.finite and self.kind in NOT_EFFECTS:
            raise ValueError(f"kind '{self.kind}' is a limit in large samples and has no value in a finite one")
        return self

    @property
    def expression(self) -> str | None:
        """The expression that defines it."""
        found: str | None = getattr(self, NEEDS[self.kind]) if self.kind in NEEDS else None
        return found

    def reads(self) -> frozenset[str]:
        """Columns that define its true value."""
        needed = set(in_either_world(self.response))
        if self.weights not in (None, COMPLIER_SHARE):
            needed.add(str(self.weights))
        return frozenset(
            needed
            | set(self.adjust or ())
            | ({self.dose} if self.dose else set())
            | (columns(parse(self.expression)) if self.expression else set())
        )


def _takers(option: str) -> str:
    return " or ".join(f"'{kind}'" for kind, needed in NEEDS.items() if needed == option)


MEANINGS = {
    "itt": "effect of allocation on everyone randomised",
    "cace": "effect of allocation on those who would receive the intervention if offered",
    "subgroup": "effect of allocation on those a baseline characteristic describes",
    "full-availability": "effect of allocation if the intervention reached everyone offered (hypothetical)",
    "per-protocol": "limit of comparing those kept in the intervention arm with those kept in control; not an effect",
    "iv-limit": "limit of the ratio of the effects on outcome and on receipt; not always an effect",
    "as-treated": "limit of comparing those who received with those who did not; not an effect",
}


def problems(estimand: Estimand, mechanism: Mechanism, variables: Mapping[str, Variable]) -> list[tuple[str, str]]:
    """What an estimand asks for that has no true value in a mechanism: (key, message) pairs."""
    found = []
    option = NEEDS.get(estimand.kind)
    read = columns(parse(estimand.expression)) if estimand.expression else frozenset()
    option, read = ("dose", frozenset({estimand.dose})) if estimand.dose else (option, read)
    by_columns = read or estimand.adjust or estimand.weights not in (None, COMPLIER_SHARE)
    earlier = before_allocation(mechanism) if by_columns else frozenset()
    for name in sorted(read & set(variables)):
        before = name in earlier
        if estimand.kind == "subgroup" and not before:
            found.append((str(option), f"'{name}' comes after allocation; define a subgroup by columns from before it"))
        elif not (before or name in KNOWN_EITHER_WAY or name + IF_OFFERED in variables):
            found.append(
                (str(option), f"'{name}' would differ under the other allocation, in a way that is not simulated")
            )
    for name in estimand.adjust or ():
        if name not in variables or variables[name].latent or name not in earlier:
            found.append(("adjust", f"'{name}' is not a covariate known before allocation"))
    if estimand.weights not in (None, COMPLIER_SHARE):
        weight = variables.get(str(estimand.weights))
        if weight is None or weight.level != "practice" or weight.categories or weight.latent:
            found.append(("weights", f"'{estimand.weights}' is not a number that every practice has"))
        elif estimand.weights not in earlier:
            found.append(("weights", f"'{estimand.weights}' comes after allocation and cannot weight practices"))
    if estimand.kind == "full-availability":
        step = next((s for s in mechanism.values() if estimand.response + IF_CONTROL in added(s)), None)
        if step is not None and "effect_among" not in type(step).model_fields:
            found.append(("kind", f"the effect on '{estimand.response}' reaches everyone already: use kind 'itt'"))
    return found


KNOWN_EITHER_WAY = ("arm", "followup_months", "in_window")
"""Columns drawn after allocation that do not depend on the arm, and the arm itself."""
