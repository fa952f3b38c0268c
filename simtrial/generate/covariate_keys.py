"""Keys such as "provider=secondary": a covariate and its category."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import TrialBatch


def split(key: str) -> tuple[str, str]:
    """Column and category of a key such as "provider=secondary"; no category: the column itself, a number."""
    name, _, category = key.partition("=")
    return name.strip(), category.strip()


def in_category(name: str, category: str, batch: TrialBatch) -> NDArray[np.bool_]:
    """Who is of a category of a factor (participants,)."""
    return np.asarray(batch.at(name) == batch.columns[name].categories.index(category))
