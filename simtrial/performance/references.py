"""What measures are compared with: reference values, and classes of how far a coverage is from its nominal value."""

from __future__ import annotations

from math import sqrt

ZERO = frozenset({
    "bias", "median_bias", "standardised_bias", "relative_bias", "trimmed_bias", "winsorised_bias",
    "relative_error_model_se", "relative_bias_variance", "relative_precision",
})  # fmt: skip
"""Measures that are 0 for a perfect method."""

COVERAGES = frozenset({"coverage", "bias_eliminated_coverage", "worst_case_coverage"})

CLASSES = (2.0, 3.5, 5.0)
"""Monte Carlo standard errors at which the class of a coverage changes."""


def reference_value(measure: str, true_value: float | None, nominal: float) -> float | None:
    """Value that a perfect method has: none where there is no such value.

    Rejection rates have one where the true value is 0: there they are the type I error.
    """
    if measure in ZERO or measure.endswith("_difference"):
        return 0.0
    if measure in COVERAGES:
        return nominal
    if measure == "convergence_rate":
        return 1.0
    return 1.0 - nominal if measure == "rejection_rate" and true_value == 0 else None


def distance(value: float | None, nominal: float, n: int) -> float | None:
    """How far a share is from its nominal value in Monte Carlo standard errors, those that the nominal value has."""
    if value is None or value != value or not n:
        return None
    return (value - nominal) / sqrt(nominal * (1 - nominal) / n)


def distance_class(away: float | None) -> int | None:
    """Class of a distance: 0 within 2 standard errors, then 1, 2, 3 upwards, -1, -2, -3 downwards."""
    if away is None:
        return None
    size = sum(abs(away) > bound for bound in CLASSES)
    return size if away > 0 else -size
