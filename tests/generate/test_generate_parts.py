"""Steps that hold parts: a second outcome composed of the same parts, and what keeps its options in one flat table."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import Field, ValidationError
from simulated import CONTINUOUS, draw, drawn_by, partners

from simtrial.batch import Column, TrialBatch
from simtrial.generate import Step, Variable
from simtrial.generate.column_names import MANSA, Outcome
from simtrial.generate.distributions.shapes import Shapes
from simtrial.generate.outcomes.baseline import Baseline
from simtrial.generate.outcomes.effects import Effects
from simtrial.generate.outcomes.expected import Expected
from simtrial.generate.outcomes.leavers import Leavers
from simtrial.generate.outcomes.mansa import Mansa
from simtrial.generate.outcomes.ratings import Ratings
from simtrial.generate.outcomes.residuals import Residuals
from simtrial.generate.outcomes.sizes import Sizes
from simtrial.generate.outcomes.timing import Timing
from simtrial.generate.parts import Composed, Held, Part, flat
from simtrial.generate.worlds import without_chance

TOY = Outcome("toy", "Toy score")
PARTS = Sizes, Expected, Ratings, Shapes, Residuals, Leavers, Effects, Timing


@flat
class Toy(Composed):
    """A second outcome of six of MANSA's parts."""

    stage: ClassVar[str] = "outcomes.toy"
    outcome: ClassVar[Outcome] = TOY

    sizes: ClassVar[Held[Sizes]] = Held(Sizes)
    expected: ClassVar[Held[Expected]] = Held(Expected)
    ratings: ClassVar[Held[Ratings]] = Held(Ratings)
    shapes: ClassVar[Held[Shapes]] = Held(Shapes)
    residual: ClassVar[Held[Residuals]] = Held(Residuals)
    effects: ClassVar[Held[Effects]] = Held(Effects)

    def reads(self) -> frozenset[str]:
        return frozenset({"arm"}) | self.expected.reads() | self.residual.reads() | self.effects.reads()

    def adds(self) -> dict[str, Variable]:
        scores = {name: Variable("participant", TOY.title, latent=True) for name in TOY.potential}
        return {
            **scores,
            TOY.followup: Variable("participant", f"{TOY.title} at follow-up"),
            **self.ratings.columns("followup"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
        normals = rng.standard_normal(batch.index.practices), rng.standard_normal(batch.index.participants)
        of_practices, own = self.residual.standard(batch, self.shapes, *normals)
        between, within = self.residual.spread(False, self.ratings.noise)
        untreated = self.expected.untreated(batch, self.sizes) + within * own
        untreated += (between * of_practices)[batch.index.participant_practice]
        treated = untreated + self.effects.on_everybody(batch, self.sizes, None)
        happens = np.where(batch.at("arm") == 1, treated, untreated)
        deviations = rng.standard_normal((batch.index.participants, self.ratings.items))
        ratings = self.ratings.rated(happens, deviations, self.expected.mean, 1.0)
        return {**dict(zip(TOY.potential, (untreated, treated), strict=True)),
                **self.ratings.prorated(ratings, "followup", rng)}  # fmt: skip


class SecondBaseline(Baseline):
    """Baseline of another outcome."""

    outcome: ClassVar[Outcome] = TOY


class Second(Mansa):
    """MANSA's own step for another outcome."""

    outcome: ClassVar[Outcome] = TOY


def columns(values: Mapping[str, np.ndarray], step: Step) -> dict[str, Column]:
    return {n: Column(values[n], v.level, v.categories, v.latent, v.hides) for n, v in step.adds().items()}


def with_baseline(batch: TrialBatch) -> TrialBatch:
    """Trials in which the second outcome has been measured at baseline as well."""
    step = SecondBaseline.model_validate({"mean": 3.0, "sd": 0.8})
    return batch.add(columns(drawn_by(step, batch, seed=2), step))


def test_a_second_outcome_of_the_same_parts_draws_and_names_its_own_columns() -> None:
    step = Toy.model_validate(
        {"mean": 3.1, "at_baseline": 3.0, "effect": 0.4, "cluster_autocorrelation": 0.5, "form": "items",
         "item_missing": 0.05, "items_needed": 9}
    )  # fmt: skip
    batch = with_baseline(draw(trials=300))
    assert step.reads() == {"arm", "toy_baseline", "toy_baseline_practice_score"}
    found = drawn_by(step, batch)
    assert set(found) == set(step.adds()) == {
        "toy_if_control", "toy_if_intervention", "toy_followup", "toy_items_followup", "toy_scored_followup",
    }  # fmt: skip
    assert step.adds()["toy_scored_followup"].hides == ("toy_followup",)
    assert step.adds()["toy_items_followup"].label == "Toy score items answered at followup"
    assert np.allclose(found["toy_if_intervention"] - found["toy_if_control"], 0.4)
    correlation = np.corrcoef(found["toy_if_control"], batch.at("toy_baseline"))[0, 1]
    assert correlation > 0.4
    assert abs(np.corrcoef(found["toy_if_control"], batch.at("mansa_baseline"))[0, 1]) < 0.05
    both = batch.add(columns(found, step))  # beside MANSA's, under names that are not taken
    assert {"toy_followup", "mansa_followup"} <= set(both.columns)


OPTIONS: dict[str, Any] = {
    "effect_among": "", "effect_sd": 0.3, "residual_sd_intervention": 0.9, "cluster_autocorrelation": 0.4,
    "leavers_shift_control": -0.3, "form": "items", "item_missing": 0.05, "items_needed": 9,
}  # fmt: skip
LEAVING = {"dropout": {"drawn_first": True, "slopes": {}}}


def test_every_column_that_a_part_names_is_that_of_its_outcome() -> None:
    """For another outcome the same draws stand under other names, and are found from its own baseline."""
    whole = partners({"outcomes.mansa": OPTIONS, **LEAVING})
    first, batch = whole["outcomes.mansa"], draw({"outcomes.mansa": OPTIONS, **LEAVING}, trials=20)
    second = Second.model_validate(first.model_dump())
    baseline = {n: c for n, c in batch.columns.items() if n in whole["baseline"].adds()}
    theirs = {toy(n): c for n, c in baseline.items()}
    assert set(theirs) == set(SecondBaseline.model_validate(whole["baseline"].model_dump()).adds())
    without = {n: c for n, c in batch.columns.items() if n not in first.adds()}
    ours = drawn_by(first, TrialBatch(batch.index, without), seed=3)
    renamed = TrialBatch(batch.index, {n: c for n, c in without.items() if n not in baseline} | theirs)
    found = drawn_by(second, renamed, seed=3)
    assert set(found) == set(second.adds()) == {toy(n) for n in first.adds()}
    for name, values in ours.items():
        assert np.array_equal(found[toy(name)], values), name
    assert second.reads() == {toy(n) if n in baseline else n for n in first.reads()}
    labels = [v.label for v in second.adds().values()]
    assert not any("MANSA" in label for label in labels)
    assert [v.label.replace("Toy score", "MANSA") for v in second.adds().values()] == [
        v.label for v in first.adds().values()
    ]


def toy(name: str) -> str:
    """Name of a column of the second outcome, from MANSA's; when people are followed up is nobody's in particular."""
    if name in ("followup_months", "in_window"):
        return name
    return "toy_" + name.removeprefix("mansa_")


def test_chance_is_taken_off_the_means_of_either_outcome() -> None:
    options = {**CONTINUOUS, "effect_among": "", "effect": 0.3, "residual_sd_intervention": 0.9}
    batch = with_baseline(draw({"outcomes.mansa": options}, trials=20))
    second = Second.model_validate({**options, "baseline_slope": 0.0})
    added = {n: c for n, c in columns(drawn_by(second, batch), second).items() if n not in batch.columns}
    batch = without_chance(batch.add(added))
    for outcome in (MANSA, TOY):
        control, intervention = (batch.at(name) for name in outcome.potential)
        assert np.allclose(intervention - control, 0.3), outcome


def test_no_part_is_an_ancestor_and_all_options_are_the_steps() -> None:
    step = partners()["outcomes.mansa"]
    assert not set(PARTS) & set(type(step).__mro__)
    names = [name for kind in PARTS for name in kind.options()]
    assert list(type(step).model_fields) == names == list(step.model_dump())
    assert len(names) == len(set(names))
    with pytest.raises(ValidationError, match="extra_forbidden"):
        Mansa.model_validate({"sizes": {}})


def test_a_part_has_the_options_of_the_step_that_holds_it() -> None:
    step = Mansa.model_validate({"effect_among": "sessions >= 6", "items": 5})
    assert step.effects == Effects(outcome=MANSA, effect_among="sessions >= 6")
    assert step.model_copy(update={"effect_among": ""}).effects.effect_among == ""
    assert (step.ratings.lowest, step.model_dump()["lowest"]) == (1.0, 1.0)  # filled in by the part


class Weight(Part):
    """A part with one option."""

    weight: float = Field(1.0, description="weight, kg")


def test_an_option_that_is_declared_twice_is_refused() -> None:
    class Twice(Composed):
        outcome: ClassVar[Outcome] = TOY
        one: ClassVar[Held[Weight]] = Held(Weight)
        other: ClassVar[Held[Weight]] = Held(Weight)

    class Beside(Composed):
        outcome: ClassVar[Outcome] = TOY
        weight: float = 2.0
        one: ClassVar[Held[Weight]] = Held(Weight)

    class Bearing(Composed):
        outcome: ClassVar[Outcome] = TOY
        weight: ClassVar[Held[Weight]] = Held(Weight)

    for step in (Twice, Beside, Bearing):
        with pytest.raises(TypeError, match=r"option 'weight' is declared twice"):
            flat(step)
