"""Methods of analysis: options in, estimates out; one method per file, found by its kind."""

from __future__ import annotations

from simtrial.arrays import Floats
from simtrial.estimators.assemble import (
    EXPLAINED,
    FATAL,
    OF_A_FIT,
    failed_estimates,
    practice_df,
    report,
    rounding_variance,
    terms_of,
    wald,
)
from simtrial.estimators.method import METHODS, Estimates, M, Method, kinds, method_class, register
from simtrial.estimators.wrapping import inherit

__all__ = [
    "EXPLAINED",
    "FATAL",
    "METHODS",
    "OF_A_FIT",
    "Estimates",
    "Floats",
    "M",
    "Method",
    "failed_estimates",
    "inherit",
    "kinds",
    "method_class",
    "practice_df",
    "register",
    "report",
    "rounding_variance",
    "terms_of",
    "wald",
]
