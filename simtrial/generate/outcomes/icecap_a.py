"""Capability."""

from __future__ import annotations

from typing import ClassVar

from simtrial.generate.outcomes.instrument import Instrument


class IcecapA(Instrument):
    """Capability: ICECAP-A, 0 no capability, 1 full capability."""

    stage: ClassVar[str] = "outcomes.icecap_a"
    instrument: ClassVar[str] = "icecap_a"
    label: ClassVar[str] = "Capability (ICECAP-A)"
    unit: ClassVar[str] = ""
