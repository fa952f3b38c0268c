"""Named estimands, and their true values by super-population Monte Carlo with practices as the unit."""

from __future__ import annotations

from simtrial.estimands.contributions import contributions, ratio, sample_values
from simtrial.estimands.estimand import COMPLIER_SHARE, MEANINGS, NEEDS, Estimand, problems
from simtrial.estimands.values import (
    TrueValue,
    both_ways,
    in_simulated_practices,
    known_values,
    own_values,
    planned,
    true_values,
)

__all__ = [
    "COMPLIER_SHARE", "MEANINGS", "NEEDS", "Estimand", "TrueValue", "both_ways", "contributions",
    "in_simulated_practices", "known_values", "own_values", "planned", "problems", "ratio", "sample_values",
    "true_values",
]  # fmt: skip
