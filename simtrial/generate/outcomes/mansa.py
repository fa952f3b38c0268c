"""Quality of life at follow-up under either allocation, and when it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PrivateAttr, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable
from simtrial.generate.by_practice import from_baseline, recorded_in_arm, with_practices
from simtrial.generate.column_names import MANSA, Outcome
from simtrial.generate.distributions.shapes import Shapes
from simtrial.generate.outcomes.effects import Effects
from simtrial.generate.outcomes.expected import Expected
from simtrial.generate.outcomes.leavers import Leavers
from simtrial.generate.outcomes.ratings import Ratings
from simtrial.generate.outcomes.residuals import Residuals
from simtrial.generate.outcomes.sizes import Sizes
from simtrial.generate.outcomes.timing import Timing
from simtrial.generate.parts import Composed, Held, flat


@flat
class Mansa(Composed):
    """MANSA at follow-up: baseline, practice and individual effects, and the effect of the intervention.

    Y(0) = mean + slope (baseline - at_baseline) + shifts by region, size and period + u_j + v_ij (`Residuals`); Y(1) =
    Y(0) + effect (`Effects`), with residuals stretched where the arms' SDs differ; the difference that stretching makes
    has mean 0 in everybody, and stays as a latent column. Shifts of those who would leave are added to either
    (`Leavers`). Both are recorded on the scale, whose ends may move the mean of either.
    """

    stage: ClassVar[str] = "outcomes.mansa"
    outcome: ClassVar[Outcome] = MANSA
    _timed: bool = PrivateAttr(True)

    sizes: ClassVar[Held[Sizes]] = Held(Sizes)
    expected: ClassVar[Held[Expected]] = Held(Expected)
    ratings: ClassVar[Held[Ratings]] = Held(Ratings)
    shapes: ClassVar[Held[Shapes]] = Held(Shapes)
    residual: ClassVar[Held[Residuals]] = Held(Residuals)
    leavers: ClassVar[Held[Leavers]] = Held(Leavers)
    effects: ClassVar[Held[Effects]] = Held(Effects)
    timing: ClassVar[Held[Timing]] = Held(Timing)

    @model_validator(mode="after")
    def _room_for_noise(self) -> Mansa:
        residual, ratings = self.residual, self.ratings
        for intervention in (False, True):
            ratings.check_noise(residual.spread(intervention)[1], self.expected.mean, self._score_sd)
        residual.check_shared(ratings.noise)
        return self

    @property
    def _score_sd(self) -> float:
        """SD of the score at follow-up, roughly: ratings are calibrated over it and hardly depend on it.

        As if baseline had an SD of 0.93/0.701 residual SDs, the published ratio.
        """
        slope = self.expected.baseline_slope
        ratio = 0.93 / 0.701 if slope else 0.0
        return self.residual.residual_sd * float(np.sqrt(1.0 + (slope * ratio) ** 2))

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        parts = self.sizes, self.expected, self.residual, self.effects, self.leavers, self.timing
        return frozenset({"arm"}).union(*(part.reads() for part in parts))

    def settled(self, mechanism: Mapping[str, Step]) -> Mansa:
        """Return these options with the moments of practices' sizes, where the outcome goes with them."""
        moments = self.sizes.drawn(mechanism["practices"])  # type: ignore[arg-type]
        return self.model_copy(update=moments) if moments else self

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse unknown regions, expressions over what nobody observes, and correlation with what does not vary."""
        parts = self.expected, self.residual, self.effects, self.leavers
        return [problem for part in parts for problem in part.problems(available)]

    def trimmed(self, wanted: frozenset[str]) -> Mansa:
        """Return these options without times of follow-up that nobody asks for; the other draws are kept."""
        if wanted & set(self.timing.columns()):
            return self
        made = self.model_copy()
        made._timed = False
        return made

    def _draws_after_timing(self) -> bool:
        """Whether other numbers follow those of the times in the stream."""
        return bool(self.effects.effect_sd) or self.ratings.form == "items"

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        of = self.outcome
        control, intervention = of.potential
        deviation = Variable("practice", "Practice's deviation from the mean effect", "points", latent=True)
        stretched = Variable("participant", "Difference of the arms' residuals, of mean 0", "points", latent=True)
        return {
            control: Variable("participant", f"{of.title} at follow-up in control", "points", latent=True),
            intervention: Variable("participant", f"{of.title} at follow-up if offered", "points", latent=True),
            of.latent("practice_effect"): Variable("practice", f"Practice effect on {of.title}", "points", latent=True),
            of.followup: Variable("participant", f"{of.title} at follow-up", "points"),
            **(self.timing.columns() if self._timed else {}),
            **({of.latent("effect_deviation"): deviation} if self.effects.effect_sd else {}),
            **({of.residual_difference: stretched} if self.residual.differs() else {}),
            **self.leavers.columns(),
            **self.ratings.columns("followup"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw both potential outcomes, and record that of the allocated arm."""
        scores, added = self._scores(batch, rng)
        return {**added, **self._recorded(batch, scores, rng)}

    def cut(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[np.bool_]]:
        """Whose potential outcomes the ends of the scale cut (participants,)."""
        scores, _ = self._scores(batch, rng)
        return {name: self.ratings.beyond(scores[name]) for name in self.outcome.potential}

    def _scores(self, batch: TrialBatch, rng: np.random.Generator) -> tuple[dict[str, Floats], dict[str, NDArray[Any]]]:
        """Both potential outcomes before they are recorded (participants,), and what else is drawn."""
        index, of, sizes = batch.index, self.outcome, self.sizes
        normals = rng.standard_normal(index.practices), rng.standard_normal(index.participants)
        of_practices, own = self.residual.standard(batch, self.shapes, *normals)
        added: dict[str, NDArray[Any]] = {}
        if self._timed or self._draws_after_timing():
            months = rng.standard_normal(index.participants)
            added |= self.timing.timed(batch, months) if self._timed else {}
        deviations = None
        if self.effects.effect_sd:
            deviations = self.effects.practice_deviations(of_practices, rng.standard_normal(index.practices))
            added[of.latent("effect_deviation")] = deviations
        added[of.latent("practice_effect")] = self.residual.spread(False)[0] * of_practices
        untreated = treated = self._outcome(batch, of_practices, own, intervention=False)
        if self.residual.differs():
            noise = self.ratings.noise
            stretched = self.residual.standard(batch, self.shapes, *normals, intervention=True, noise=noise)
            treated = self._outcome(batch, *stretched, intervention=True)
            added[of.residual_difference] = treated - untreated
        treated = self.effects.added(treated, batch, sizes, deviations)  # its own array now
        if (gained := self.effects.in_control(batch, sizes, deviations)) is not None:
            untreated += gained
        if not self.leavers.shifts():
            return dict(zip(of.potential, (untreated, treated), strict=True)), added
        shifted = self.leavers.shifted(batch, untreated, treated)
        return {**dict(zip(of.potential, shifted, strict=True)), of.before_shift: untreated}, added

    def _outcome(self, batch: TrialBatch, of_practices: Floats, own: Floats, intervention: bool) -> Floats:
        """Outcome with the residual variances of one arm, before any effect (participants,)."""
        between, within = self.residual.spread(intervention, self.ratings.noise)
        practice, line = batch.index.participant_practice, self.expected.line(self.sizes)
        if line is not None:
            before = batch.at(self.outcome.baseline)
            return from_baseline(before, line, between * of_practices, practice, own, within)
        expected = self.expected.untreated(batch, self.sizes)
        return with_practices(expected, between * of_practices, practice, own, within, out=expected)

    def _recorded(
        self, batch: TrialBatch, scores: Mapping[str, Floats], rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """Both potential outcomes as all items would give them, and what is recorded in the arm allocated."""
        ratings, practice = self.ratings, batch.index.participant_practice
        control, intervention = self.outcome.potential
        if ratings.form == "direct":
            arm, scale = batch.at("arm", "practice"), (ratings.items, *ratings.ends)
            happens = recorded_in_arm(arm, practice, scores[control], scores[intervention], scale)
            others = {name: score for name, score in scores.items() if name not in self.outcome.potential}
            recorded = {name: ratings.recorded(score, out=score) for name, score in others.items()}
            return {**scores, **recorded, self.outcome.followup: happens}
        offered = batch.at("arm") == 1
        deviations = rng.standard_normal((batch.index.participants, ratings.items))
        rated = {n: ratings.rated(s, deviations, self.expected.mean, self._score_sd) for n, s in scores.items()}
        realised = np.where(offered[:, None], rated[intervention], rated[control])
        means = {name: each.mean(axis=1) for name, each in rated.items()}
        return {**means, **ratings.prorated(realised, "followup", rng)}
