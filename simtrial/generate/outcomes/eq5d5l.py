"""Health state utility."""

from __future__ import annotations

from typing import ClassVar

from simtrial.generate.outcomes.instrument import Instrument


class Eq5d5l(Instrument):
    """Health state utility: EQ-5D-5L, crosswalk to the UK values of EQ-5D-3L."""

    stage: ClassVar[str] = "outcomes.eq5d5l"
    instrument: ClassVar[str] = "eq5d5l"
    label: ClassVar[str] = "Health state utility (EQ-5D-5L)"
    unit: ClassVar[str] = ""
