"""Support for recovery by the worker."""

from __future__ import annotations

from typing import ClassVar

from simtrial.generate.outcomes.sum_of_items import ItemScale, SumOfItems


class BriefInspire(SumOfItems):
    """Support for recovery by the worker: Brief INSPIRE, 5 items rated 0 to 4, as a percentage."""

    stage: ClassVar[str] = "outcomes.brief_inspire"
    instrument: ClassVar[str] = "brief_inspire"
    label: ClassVar[str] = "Support for recovery (Brief INSPIRE)"
    scale: ClassVar[ItemScale] = ItemScale(5, 0, 4, 5.0)
