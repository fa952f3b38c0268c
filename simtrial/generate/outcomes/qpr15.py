"""Recovery."""

from __future__ import annotations

from typing import ClassVar

from simtrial.generate.outcomes.sum_of_items import ItemScale, SumOfItems


class Qpr15(SumOfItems):
    """Recovery: Questionnaire about the Process of Recovery, 15 items rated 0 to 4, summed."""

    stage: ClassVar[str] = "outcomes.qpr15"
    instrument: ClassVar[str] = "qpr15"
    label: ClassVar[str] = "Recovery (QPR-15)"
    scale: ClassVar[ItemScale] = ItemScale(15, 0, 4)
