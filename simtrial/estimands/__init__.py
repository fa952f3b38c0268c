"""Named estimands, and their true values by super-population Monte Carlo with practices as the unit."""

from __future__ import annotations

from simtrial.estimands.contributions import contributions, ratio, sample_values
from simtrial.estimands.estimand import COMPLIER_SHARE, MEANINGS, NEEDS, Estimand, problems
from simtrial.estimands.values import TrueValue, in_simulated_practices, known_values, own_values, true_values

__all__ = [
    "COMPLIER_SHARE", "MEANINGS", "NEEDS", "Estimand", "TrueValue", "contributions", "in_simulated_practices",
    "known_values", "own_values", "problems", "ratio", "sample_values", "true_values",
]  # fmt: skip
