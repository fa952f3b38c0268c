"""Missingness: scores that are incomplete although the person was seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from simtrial.batch import TrialBatch
from simtrial.errors import unknown
from simtrial.generate import Step, Variable
from simtrial.generate.by_person import spared
from simtrial.generate.missing.dropout_model import Lost

INSTRUMENTS = {
    "tus": "Time use",
    "wemwbs": "WEMWBS",
    "swemwbs": "SWEMWBS",
    "qpr15": "QPR-15",
    "brief_inspire": "Brief INSPIRE",
    "icecap_a": "ICECAP-A",
    "eq5d5l": "EQ-5D-5L",
}
"""Instruments other than MANSA, by the name of their columns."""


class Incomplete(BaseModel):
    """Probabilities that the score of one instrument is incomplete."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    baseline: Lost = Field(0.0, description="probability that the baseline score is incomplete")
    followup: Lost = Field(0.0, description="probability that a follow-up score is incomplete")
    followup_intervention: Lost | None = Field(
        None, description="that probability in the intervention arm; default: the same"
    )
    missing_with: str = Field(
        "",
        description="instrument without whose score this one is missing too; probabilities are then of those with it",
    )


class Missingness(Step):
    """Incomplete scores: completely at random, at follow-up within arms.

    Every score is incomplete independently of the others and of dropout; probabilities at follow-up are among those
    followed up. A score ``missing_with`` another is missing wherever that one is, and with its own probabilities among
    the others: exactly where that one is when these are 0.
    """

    stage: ClassVar[str] = "missingness"

    baseline: Lost = Field(0.0, description="probability that the baseline score of MANSA is incomplete")
    followup: Lost = Field(0.0, description="probability that a follow-up score of MANSA is incomplete")
    instruments: dict[str, Incomplete] = Field(
        default_factory=dict, description="the same for instruments other than MANSA"
    )

    @field_validator("instruments")
    @classmethod
    def _known(cls, value: dict[str, Incomplete]) -> dict[str, Incomplete]:
        for name in value:
            if name == "mansa":
                raise ValueError("for MANSA write baseline and followup of [mechanism.missingness]")
            if name not in INSTRUMENTS:
                raise ValueError(unknown("instrument", name, INSTRUMENTS))
        return value

    @field_validator("instruments")
    @classmethod
    def _tied(cls, value: dict[str, Incomplete]) -> dict[str, Incomplete]:
        free = [name for name, chances in value.items() if not chances.missing_with]
        for name, chances in value.items():
            if chances.missing_with and chances.missing_with not in free:
                message = unknown("instrument", chances.missing_with, free)
                raise ValueError(f"{name}.missing_with names an instrument listed here and not itself tied: {message}")
        return value

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        by_arm = any(i.followup_intervention is not None for i in self.instruments.values())
        return frozenset({"arm"} if by_arm else ())

    def trimmed(self, wanted: frozenset[str]) -> Missingness:
        """Return these options without what nobody reads; as many numbers are drawn for MANSA, before the others."""
        scores = {f"{n}_{wave}" for n in self.instruments for wave in ("baseline", "followup")}
        unread: dict[str, Any] = {
            wave: 0.0 for wave in ("baseline", "followup") if not wanted & {f"mansa_{wave}", f"{wave}_complete"}
        }
        if not wanted & (scores | {f"{score}_complete" for score in scores}):
            unread["instruments"] = {}
        return self.model_copy(update=unread) if unread else self

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        masks = {"baseline_complete": "mansa_baseline", "followup_complete": "mansa_followup"}
        masks |= {f"{n}_{wave}_complete": f"{n}_{wave}" for n in self.instruments for wave in ("baseline", "followup")}
        return {mask: Variable("participant", _label(score), hides=(score,)) for mask, score in masks.items()}

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw whose scores are complete."""
        people = batch.index.participants
        values = {
            "baseline_complete": spared(rng, people, self.baseline),
            "followup_complete": spared(rng, people, self.followup),
        }
        for name, chances in self.instruments.items():
            values[f"{name}_baseline_complete"] = spared(rng, people, chances.baseline)
            if chances.followup_intervention is None:
                complete = spared(rng, people, chances.followup)
            else:
                by_arm = np.where(batch.at("arm") == 1, chances.followup_intervention, chances.followup)
                complete = (rng.random(people) >= by_arm).astype(np.float64)
            values[f"{name}_followup_complete"] = complete
        # afterwards, and by the numbers drawn anyway: tying one instrument moves no other
        for name, chances in self.instruments.items():
            for wave in ("baseline", "followup") if chances.missing_with else ():
                values[f"{name}_{wave}_complete"] *= values[f"{chances.missing_with}_{wave}_complete"]
        return values


def _label(score: str) -> str:
    name, _, wave = score.rpartition("_")
    title = {"mansa": "MANSA", **INSTRUMENTS}[name]
    return f"{'Baseline' if wave == 'baseline' else 'Follow-up'} {title} complete: 0 no, 1 yes"
