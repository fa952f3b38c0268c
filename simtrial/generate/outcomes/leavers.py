"""Pattern mixture: people who would leave the trial have another outcome than those who would stay."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Variable
from simtrial.generate.column_names import in_either_world
from simtrial.generate.parts import Part

LEAVES = in_either_world("leaves")
"""Who would leave under either allocation, known before the outcome where dropout is drawn first."""


class Leavers(Part):
    """Options: shift delta_a of the outcome of people who would leave in arm a.

    Y(a) + delta_a for those who leave in arm a: outcomes are a mixture over the patterns of leaving, and E[Y(1) - Y(0)]
    gains delta_1 P(leaves in 1) - delta_0 P(leaves in 0) (Little 1993, doi:10.1080/01621459.1993.10594302). Whoever
    is shifted is never seen in that arm: no data set shows delta, which is why analyses vary it.
    """

    leavers_shift_control: float = Field(
        0.0, ge=-100, le=100, description="shift of the outcome in control of people who would leave there, points"
    )
    leavers_shift_intervention: float = Field(
        0.0, ge=-100, le=100, description="shift of the outcome in intervention of people who would leave there, points"
    )

    def shifts(self) -> bool:
        """Whether leaving moves the outcome in either arm."""
        return bool(self.leavers_shift_control or self.leavers_shift_intervention)

    def reads(self) -> frozenset[str]:
        """Columns that say who would leave."""
        return frozenset(LEAVES if self.shifts() else ())

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse a shift where nobody has drawn yet who would leave."""
        keys = [key for key in ("leavers_shift_control", "leavers_shift_intervention") if getattr(self, key)]
        if not keys or set(LEAVES) <= set(available):
            return []
        advice = "'leaves_if_control' and 'leaves_if_intervention' must be drawn before the outcome: write "
        return [
            (
                keys[0],
                advice + "drawn_first = true in [mechanism.dropout] with slopes on columns from before the outcome",
            )
        ]

    def columns(self) -> dict[str, Variable]:
        """Columns added where leaving moves the outcome."""
        if not self.shifts():
            return {}
        label = f"{self.outcome.title} at follow-up in control were nobody's outcome shifted by leaving"
        return {self.outcome.before_shift: Variable("participant", label, "points", latent=True)}

    def shifted(self, batch: TrialBatch, untreated: Floats, treated: Floats) -> tuple[Floats, Floats]:
        """Both potential outcomes with the shifts of those who would leave, points, each (participants,)."""
        amounts = (self.leavers_shift_control, self.leavers_shift_intervention)
        control, intervention = (amount * batch.at(name) for amount, name in zip(amounts, LEAVES, strict=True))
        return untreated + control, treated + intervention
