"""Named estimands, and their true values by super-population Monte Carlo with practices as the unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simtrial.batch import TrialBatch
from simtrial.expressions import columns, evaluate, parse, truth
from simtrial.generate import (
    Generator,
    Mechanism,
    Variable,
    before_allocation,
    drawn_for,
    practices_per_trial,
    simulate,
)
from simtrial.generate.column_names import IF_CONTROL, IF_OFFERED, in_either_world
from simtrial.generate.worlds import access, if_control, if_offered, without_chance
from simtrial.kernels.segments import sum_by
from simtrial.limits import World, coefficient, cross_products

Floats = NDArray[np.float64]

PRACTICES = 100_000
"""Practices simulated for the true values of a cell: a fixed effort, whatever the number of replicates."""


NEEDS = {"cace": "received", "as-treated": "received", "per-protocol": "keep", "subgroup": "among"}
"""The expression each kind is defined by."""

EXAMPLES = {
    "received": "sessions >= 6",
    "keep": "arm == 0 or availability >= 0.7",
    "among": "provider == 'primary'",
}

LIMITS = ("per-protocol", "as-treated")
"""Contrasts of different people: what an analysis converges to, not the effect of anything on anyone."""


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
    kind: Literal["itt", "cace", "subgroup", "full-availability", "per-protocol", "as-treated"] = Field(
        description="which effect"
    )
    unit: Literal["participant", "cluster"] = Field("participant", description="unit over which the effect is averaged")
    response: str = Field("mansa", description="outcome")
    received: str | None = Field(None, description="expression that defines receipt, for cace and as-treated")
    keep: str | None = Field(None, description="expression that defines who is kept, for per-protocol")
    among: str | None = Field(None, description="expression that defines the subgroup")
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
        if needed and getattr(self, needed) is None:
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
        if self.finite and self.kind in LIMITS:
            raise ValueError(f"kind '{self.kind}' is a limit in large samples and has no value in a finite one")
        return self

    @property
    def expression(self) -> str | None:
        """The expression it is defined by."""
        found: str | None = getattr(self, NEEDS[self.kind]) if self.kind in NEEDS else None
        return found

    def reads(self) -> frozenset[str]:
        """Columns its true value is found from."""
        needed = set(in_either_world(self.response))
        if self.weights not in (None, COMPLIER_SHARE):
            needed.add(str(self.weights))
        return frozenset(
            needed | set(self.adjust or ()) | (columns(parse(self.expression)) if self.expression else set())
        )


def _takers(option: str) -> str:
    return " or ".join(f"'{kind}'" for kind, needed in NEEDS.items() if needed == option)


@dataclass(frozen=True)
class TrueValue:
    """A true value with its Monte Carlo standard error and the practices it rests on."""

    estimand: str
    value: float
    mcse: float
    practices: int


def _everyone(estimand: Estimand, batch: TrialBatch) -> NDArray[np.bool_]:
    return np.ones(batch.index.participants, dtype=bool)


def _described(estimand: Estimand, batch: TrialBatch) -> NDArray[np.bool_]:
    assert estimand.expression is not None
    return evaluate(estimand.expression, if_offered(batch))


def _compliers(estimand: Estimand, batch: TrialBatch) -> NDArray[np.bool_]:
    """Those who receive it if offered, and would not in control (those with access there are always-takers)."""
    takers = _described(estimand, batch)
    if access(batch) is None:
        return takers
    assert estimand.expression is not None
    return takers & ~evaluate(estimand.expression, if_control(batch))


POPULATIONS: dict[str, Callable[[Estimand, TrialBatch], NDArray[np.bool_]]] = {
    "itt": _everyone,
    "cace": _compliers,
    "subgroup": _described,
    "full-availability": _everyone,
}
"""Whom each kind of effect is about."""

MEANINGS = {
    "itt": "effect of allocation on everyone randomised",
    "cace": "effect of allocation on those who would receive the intervention if offered",
    "subgroup": "effect of allocation on those a baseline characteristic describes",
    "full-availability": "effect of allocation if the intervention reached everyone offered (hypothetical)",
    "per-protocol": "limit of comparing those kept in the intervention arm with those kept in control; not an effect",
    "as-treated": "limit of comparing those who received with those who did not; not an effect",
}


def _average(
    estimand: Estimand, batch: TrialBatch, values: Floats, counted: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Numerator and denominator, from every practice, of the mean of some people's values, each (practices,)."""
    practice, practices = batch.index.participant_practice, batch.index.practices
    total = sum_by(values * counted, practice, practices)
    people = sum_by(counted, practice, practices)
    if estimand.unit == "participant":
        return total, people
    if estimand.weights == COMPLIER_SHARE:
        everyone = np.maximum(sum_by(np.ones(len(practice)), practice, practices), 1.0)
        return total / everyone, people / everyone
    weight = (people > 0).astype(np.float64)
    if estimand.weights is not None:
        weight *= batch.at(estimand.weights, "practice")
    return weight * total / np.maximum(people, 1.0), weight


def contributions(estimand: Estimand, batch: TrialBatch) -> tuple[Floats, ...]:
    """What every practice adds to the estimand, each (practices,): numerator and denominator of an effect.

    Participant average: sum of unit effects and number of people; cluster average: mean unit effect and 1 (or the
    practice's weight), for practices with at least one person concerned. A limit has two pairs, one for each side of
    the contrast: E[Y(1) | kept] and E[Y(0) | kept] (per protocol); E[Y | received] and E[Y | not received], practices
    allocated 1:1 (as treated). Whoever is not known to be on a side is on none. With covariates it has the
    cross-products of the regression instead, see `simtrial.limits`.
    """
    control, treated = (batch.at(f"{estimand.response}_if_{arm}") for arm in ("control", "intervention"))
    if estimand.kind not in LIMITS:
        return _average(estimand, batch, treated - control, POPULATIONS[estimand.kind](estimand, batch))
    assert estimand.expression is not None
    offered, without = (truth(estimand.expression, world(batch)) for world in (if_offered, if_control))
    protocol = estimand.kind == "per-protocol"
    if estimand.adjust:
        ones = np.ones(batch.index.participants)
        worlds = [
            World(values, known.holds if protocol else ~known.unknown, arm * ones if protocol else known.holds * ones)
            for arm, values, known in ((0.0, control, without), (1.0, treated, offered))
        ]
        return cross_products(batch, worlds, estimand.adjust, estimand.unit == "cluster")
    if protocol:
        return (
            *_average(estimand, batch, treated, offered.holds), *_average(estimand, batch, control, without.holds)
        )  # fmt: skip
    sides: list[Floats] = []
    for one, other in ((offered.holds, without.holds), (offered.fails, without.fails)):
        first, second = (_average(estimand, batch, *pair) for pair in ((treated, one), (control, other)))
        sides += [0.5 * (first[0] + second[0]), 0.5 * (first[1] + second[1])]
    return tuple(sides)


def ratio(*parts: Floats) -> tuple[float, float]:
    """Ratio of means, or a difference of two, with its delta-method standard error, rows independent.

    ``parts`` are numerator and denominator, and those of what is subtracted. With sums N_k/D_k = r_k the error is that
    of the sum over rows of (n_1 - r_1 d_1)/D_1 - (n_2 - r_2 d_2)/D_2.
    """
    value, influence = 0.0, np.zeros(len(parts[0]))
    for sign, numerator, denominator in zip((1.0, -1.0), parts[::2], parts[1::2], strict=False):
        total = denominator.sum()
        if total == 0:
            return float("nan"), float("nan")
        mean = numerator.sum() / total
        value += sign * mean
        influence += sign * (numerator - mean * denominator) / total
    return float(value), float(np.sqrt((influence**2).sum()))


def sample_values(estimand: Estimand, batch: TrialBatch) -> Floats:
    """Effect among the very people of each trial (trials,); NaN where nobody is concerned."""
    numerator, denominator = contributions(estimand, batch)
    index = batch.index
    above, below = (sum_by(part, index.practice_trial, index.trials) for part in (numerator, denominator))
    return np.asarray(np.divide(above, below, out=np.full(index.trials, np.nan), where=below > 0))


def own_values(
    estimands: list[Estimand], mechanism: Mechanism, batch: TrialBatch, seed: int, cell: str, block: int
) -> dict[str, Floats]:
    """True value of finite estimands in every trial of a block, each (trials,); NaN where nobody is concerned.

    ``batch`` is the block as drawn, potential outcomes included. Effects that reach everyone are those of the same
    people in a hypothetical world, which is drawn again from the same streams.
    """
    found = {e.name: sample_values(e, batch) for e in estimands if e.kind != "full-availability"}
    hypothetical = [e for e in estimands if e.kind == "full-availability"]
    if hypothetical:
        needed = drawn_for(mechanism, frozenset[str]().union(*(e.reads() for e in hypothetical)), masks=False)
        again = simulate(reaching_everyone(needed), batch.index.trials, seed, cell, block)
        found |= {e.name: sample_values(e, again) for e in hypothetical}
    return found


def reaching_everyone(mechanism: Mechanism) -> Mechanism:
    """Return the mechanism with effects that reach everyone offered, whatever they would receive."""
    return {
        stage: step.model_copy(update={"effect_among": ""}) if "effect_among" in type(step).model_fields else step
        for stage, step in mechanism.items()
    }


def true_values(
    estimands: list[Estimand], mechanism: Mechanism, seed: int, cell: str, block: int = 250
) -> list[TrueValue]:
    """Find the true value of every estimand in a cell, from potential outcomes of `PRACTICES` practices.

    Allocation and missingness play no part, nor does dropout unless the outcome follows from it. The streams are set
    apart from those of the replicates, and are the same for hypothetical effects.
    """
    found = known_values(estimands, mechanism)
    for hypothetical in (False, True):
        some = [e for e in estimands if e.name not in found and (e.kind == "full-availability") == hypothetical]
        if some:
            world = reaching_everyone(mechanism) if hypothetical else mechanism
            found |= {t.estimand: t for t in in_simulated_practices(some, world, seed, cell, block)}
    return [found[e.name] for e in estimands]


def known_values(estimands: list[Estimand], mechanism: Mechanism) -> dict[str, TrueValue]:
    """True values that a generator gives in closed form: error 0, resting on no simulated practice."""
    step = mechanism.get("generator")
    if not isinstance(step, Generator):
        return {}
    pairs = [(e.name, step.known(e)) for e in estimands if not e.finite]
    return {name: TrueValue(name, float(value), 0.0, 0) for name, value in pairs if value is not None}


def in_simulated_practices(
    estimands: list[Estimand], mechanism: Mechanism, seed: int, cell: str, block: int = 250
) -> list[TrueValue]:
    """Find true values from potential outcomes, whether or not they are known in closed form."""
    number = practices_per_trial(mechanism)
    blocks = ceil(PRACTICES / (number * block))
    trials = ceil(PRACTICES / (number * blocks))
    needed = drawn_for(mechanism, frozenset[str]().union(*(e.reads() for e in estimands)), masks=False)
    parts: list[list[list[tuple[Floats, ...]]]] = []
    practices, largest = 0, dict.fromkeys((e.response for e in estimands), 0.0)
    while len(parts) < blocks or practices < PRACTICES:  # where not all practices open, a block may fall short
        batch = simulate(needed, trials, seed, cell, len(parts), purpose="true values: ")
        practices += batch.index.practices
        largest = {name: max(old, _largest(name, batch)) for name, old in largest.items()}
        steadier = without_chance(batch)
        parts.append([_both_ways(e, batch, steadier) for e in estimands])
    found = []
    for at, estimand in enumerate(estimands):
        ways = [
            [np.concatenate(side) for side in zip(*way, strict=True)]
            for way in zip(*(p[at] for p in parts), strict=True)
        ]
        values = [_combined(estimand, way) for way in ways]
        best = int(values[-1][1] < values[0][1])  # chosen by errors alone, which say nothing of the values
        concerned = practices if estimand.finite or estimand.adjust else _concerned(ways[best])
        exact = _exact(*values[best], concerned, largest[estimand.response])
        found.append(TrueValue(estimand.name, *exact, practices))
    return found


def _combined(estimand: Estimand, whole: list[Floats]) -> tuple[float, float]:
    """Value and error from what every practice, or every trial, contributes."""
    if estimand.finite:
        return _mean_over_trials(whole[0])
    return coefficient(whole) if estimand.adjust else ratio(*whole)


def _both_ways(estimand: Estimand, batch: TrialBatch, steadier: TrialBatch) -> list[tuple[Floats, ...]]:
    """What every practice contributes as it is, and, if there is such, without what chance alone adds, of mean 0."""
    if estimand.finite:
        return [(sample_values(estimand, batch),)]
    return [contributions(estimand, world) for world in ((batch,) if steadier is batch else (batch, steadier))]


def _largest(response: str, batch: TrialBatch) -> float:
    """Largest size of a potential outcome: its rounding is what no difference of two can be told from."""
    return max(float(np.abs(batch.at(f"{response}_if_{arm}")).max(initial=0.0)) for arm in ("control", "intervention"))


def _concerned(parts: list[Floats]) -> int:
    """Practices that hold somebody concerned, on either side of a contrast."""
    return min(int((below > 0).sum()) for below in parts[1::2])


def _mean_over_trials(values: Floats) -> tuple[float, float]:
    """Mean of the trials in which the estimand is defined, and its standard error."""
    defined = values[~np.isnan(values)]
    if len(defined) < 2:
        return float("nan"), float("nan")
    return float(defined.mean()), float(defined.std(ddof=1) / np.sqrt(len(defined)))


EVIDENCE = 100
"""Practices all alike from which on an effect counts as the same in all: then fewer than 3% differ (rule of three)."""


def _exact(value: float, mcse: float, concerned: int, largest: float) -> tuple[float, float]:
    """Return an effect that is the same in every practice concerned as it is: without rounding error, error 0.

    The same: the spread between practices is no more than rounding makes of outcomes as large as ``largest``. Where too
    few practices are concerned for that to show, the error is unknown (NaN), not 0.
    """
    if concerned < 2:
        return value, float("nan")
    if mcse * np.sqrt(concerned) > 1000 * np.finfo(float).eps * largest:
        return value, mcse
    if concerned < EVIDENCE:
        return value, float("nan")
    return round(value, 14 - floor(log10(largest or 1.0))), 0.0


def problems(estimand: Estimand, mechanism: Mechanism, variables: Mapping[str, Variable]) -> list[tuple[str, str]]:
    """What an estimand asks for that has no true value in a mechanism: (key, message) pairs."""
    found = []
    home = {name: stage for stage, step in mechanism.items() for name in step.adds()}
    option = NEEDS.get(estimand.kind)
    read = columns(parse(estimand.expression)) if estimand.expression else frozenset()
    earlier = before_allocation(mechanism)
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
        step = mechanism.get(home.get(estimand.response + IF_CONTROL, ""))
        if step is not None and "effect_among" not in type(step).model_fields:
            found.append(("kind", f"the effect on '{estimand.response}' reaches everyone already: use kind 'itt'"))
    return found


KNOWN_EITHER_WAY = ("arm", "followup_months", "in_window")
"""Columns drawn after allocation that have one value whatever the arm, or are the arm."""
