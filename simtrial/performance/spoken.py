"""What people call measures: headings of our tables and words of the field, for messages that name the measure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from simtrial.errors import unknown

SPOKEN = {
    "rejection_rate": (
        "power", "size", "type i error", "type i error rate", "type 1 error", "type 1 error rate", "alpha", "rejected",
        "rejections", "share rejected",
    ),
    "relative_error_model_se": (
        "se error", "error of model se", "error of the model se", "relative error", "model se error", "relerror",
        "relative error in model se", "se ratio",
    ),
    "empirical_se": ("se", "empse", "emp se", "sd", "empirical sd", "empirical standard error", "standard error"),
    "model_se": ("modelse", "mod se", "modse", "average se", "mean se", "model standard error"),
    "coverage": ("cover", "coverage rate", "coverage probability"),
    "bias_eliminated_coverage": ("becover", "bias corrected coverage"),
    "mean_width": ("width", "ci width", "interval width", "length", "average width"),
    "mse": ("mean squared error",),
    "rmse": ("root mean squared error", "rmsd"),
    "convergence_rate": ("convergence", "converged"),
    "failures": ("failed", "failure rate", "non convergence", "nonconvergence"),
    "relative_precision": ("relprec", "precision", "precision gain", "relative efficiency", "efficiency"),
    "relative_bias": ("percent bias", "percentage bias", "bias percent", "relbias"),
    "mean_absolute_error": ("mae",),
    "mean_estimate": ("mean", "estimate", "average estimate", "thetamean"),
    "type_s_rate": ("sign error", "type s error"),
    "exaggeration_ratio": ("type m error", "exaggeration"),
}  # fmt: skip
"""Measures, and what else they are called."""

_MEASURE = {word: name for name, words in SPOKEN.items() for word in words}


def unknown_measure(name: str, valid: Iterable[str]) -> str:
    """Message for an unknown name of a measure, with the measure that is meant by a heading or a usual word."""
    names = list(valid)
    return unknown("measure", name, names, meant(name, names))


def meant(name: str, valid: Iterable[str]) -> str | None:
    """The measure that is meant by a word, None where it is no such word or there is no such measure."""
    words = " ".join(re.sub(r"[^a-z0-9]+", " ", name.casefold()).split())
    found = _MEASURE.get(words, words.replace(" ", "_"))
    return found if found in valid else None
