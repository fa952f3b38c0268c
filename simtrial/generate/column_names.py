"""Names of columns: of whom or what, and then when it is seen or in which world."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

BASELINE, FOLLOWUP = "_baseline", "_followup"
"""Endings of what is seen, before allocation and after."""

IF_CONTROL, IF_INTERVENTION = "_if_control", "_if_intervention"
"""Endings of potential outcomes, and of whatever else is known in both worlds."""

IF_OFFERED = "_offered"
"""Ending of what a practice or a person would receive if offered the intervention."""

RESIDUAL_DIFFERENCE = "_residual_difference"
"""Ending of how far chance alone sets a person's potential outcomes apart, where arms differ in spread.

Its mean is 0 given everything that says whom an estimand is about, so that a true value may be found without it.
"""


def at_baseline(outcome: str) -> str:
    """Name of the column of an outcome at baseline."""
    return outcome + BASELINE


def at_followup(outcome: str) -> str:
    """Name of the column of an outcome at follow-up."""
    return outcome + FOLLOWUP


def in_either_world(name: str) -> tuple[str, str]:
    """Names of the columns in the world where all are in control, and in that where all are offered."""
    return name + IF_CONTROL, name + IF_INTERVENTION


def outcomes_in(names: Iterable[str]) -> list[str]:
    """Names of the outcomes among columns, in their order: of what has a value in control."""
    return [name.removesuffix(IF_CONTROL) for name in names if name.endswith(IF_CONTROL)]


@dataclass(frozen=True)
class Outcome:
    """An outcome: what the names of its columns begin with, and what their labels call it."""

    name: str
    title: str

    @property
    def baseline(self) -> str:
        """Column of the score at baseline."""
        return at_baseline(self.name)

    @property
    def followup(self) -> str:
        """Column of the score at follow-up."""
        return at_followup(self.name)

    @property
    def potential(self) -> tuple[str, str]:
        """Columns of the potential outcomes, in control and under the intervention."""
        return in_either_world(self.name)

    @property
    def before_shift(self) -> str:
        """Column of the potential outcome in control were nobody's shifted by leaving."""
        return f"{self.name}_before_shift"

    @property
    def residual_difference(self) -> str:
        """Column of the difference that chance makes between potential outcomes."""
        return self.name + RESIDUAL_DIFFERENCE

    def latent(self, what: str) -> str:
        """Column of what nobody observes, such as a practice's effect; MANSA's bear no outcome's name."""
        return what if self == MANSA else f"{self.name}_{what}"


MANSA = Outcome("mansa", "MANSA")
"""The primary outcome, of which baseline is a stage of its own."""
