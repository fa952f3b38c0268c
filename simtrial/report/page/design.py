"""The design of a scenario in sentences: practices, people, outcomes, losses; varied values with all their levels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from simtrial.scenario import Scenario


class Values:
    """Values of the keys of a mechanism in words; of varied keys all levels."""

    def __init__(self, scenario: Scenario, factors: Mapping[str, Mapping[str, Any]]) -> None:
        self._mechanism = scenario.mechanism
        keys = dict.fromkeys(key for varied in factors.values() for key in varied)
        levels = {key: [written(varied.get(key)) for varied in factors.values()] for key in keys}
        self.levels = {key: list(dict.fromkeys(found)) for key, found in levels.items()}

    def has(self, stage: str, name: str) -> bool:
        """Whether a stage has a key that is neither 0 nor blank in every cell."""
        step = self._mechanism.get(stage)
        return bool(getattr(step, name, None)) or self.varied(stage, name)

    def varied(self, stage: str, name: str) -> bool:
        """Whether cells differ in a key."""
        return len(self.levels.get(f"mechanism.{stage}.{name}", ())) > 1

    def of(self, stage: str, name: str) -> str:
        """Value of a key: ``24``, or ``12, 16 or 24`` where it is varied."""
        if self.varied(stage, name):
            *first, last = self.levels[f"mechanism.{stage}.{name}"]
            return f"{', '.join(first)} or {last}"
        return written(getattr(self._mechanism[stage], name))


def written(value: Any) -> str:
    """A value as a scenario has it, whole numbers without a point."""
    if isinstance(value, float) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value, ensure_ascii=False)


def sentences(scenario: Scenario, factors: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The design in a few sentences; only what all scenarios can have, the keys tell the rest."""
    generator = scenario.mechanism.get("generator")
    if generator is not None:
        return [f"Whole trials are drawn by the generator {getattr(generator, 'name', '')}."]
    values = Values(scenario, factors)
    found = [_practices(values)] if "practices" in scenario.mechanism else []
    responses = list(dict.fromkeys(method.response for method in scenario.methods))
    found += [_outcome(values, name) for name in responses if f"outcomes.{name}" in scenario.mechanism]
    return [*found, *_losses(values)] if "dropout" in scenario.mechanism else found


def _practices(values: Values) -> str:
    stage = "practices"
    number = f"{values.of(stage, 'number')} practices"
    if values.has(stage, "size_list"):
        people = "people as the scenario lists them"
    elif values.has(stage, "total"):
        people = f"{values.of(stage, 'total')} people in all"
    else:
        people = f"{values.of(stage, 'cluster_size_mean')} people each"
        if values.has(stage, "cluster_size_cv"):
            people += f" on average (coefficient of variation {values.of(stage, 'cluster_size_cv')})"
    if values.has(stage, "until_participants"):
        number, opened = f"at most {number}", f", opened until {values.of(stage, 'until_participants')} people are in"
    else:
        opened = ""
    try:
        ratio, method = values.of("allocation", "ratio"), values.of("allocation", "method")
    except KeyError:
        return f"Cluster-randomised trials of {number} with {people}{opened}."
    ratio = (
        ratio.replace("[", "").replace("]", "").replace(", ", ":")
        if not values.varied("allocation", "ratio")
        else ratio
    )
    return f"Cluster-randomised trials of {number} with {people}{opened}; practices are allocated {ratio} ({method})."


OUTCOME = (
    ("baseline_mean", "mean at baseline"), ("baseline_sd", "SD at baseline"), ("icc_baseline", "ICC at baseline"),
    ("followup_sd", "SD at follow-up"), ("icc", "ICC at follow-up given baseline"),
    ("rho", "correlation of baseline with follow-up"), ("effect", "effect of the intervention"),
)  # fmt: skip
"""Keys of an outcome, and what they are."""


def _outcome(values: Values, name: str) -> str:
    stage = f"outcomes.{name}"
    parts = [f"{words} {values.of(stage, key)}" for key, words in OUTCOME if _there(values, stage, key)]
    return f"Outcome {name}: {', '.join(parts)}." if parts else f"Outcome {name}."


def _there(values: Values, stage: str, key: str) -> bool:
    try:
        values.of(stage, key)
    except (AttributeError, KeyError):
        return False
    return True


def _losses(values: Values) -> Iterator[str]:
    stage = "dropout"
    arms = ""
    if values.has(stage, "rate_intervention"):
        arms = f" in control and {values.of(stage, 'rate_intervention')} in intervention"
    lost = f"A person is not followed up with probability {values.of(stage, 'rate')}{arms}"
    if values.has(stage, "practice_rate"):
        lost += f", a whole practice with probability {values.of(stage, 'practice_rate')}"
    yield f"{lost}."
