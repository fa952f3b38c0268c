"""Default estimand of a method: the first of its outcome that its estimate converges to."""

from __future__ import annotations

from collections.abc import Sequence

from simtrial.estimands import COMPLIER_SHARE, Estimand
from simtrial.estimands.estimand import LIMITS, NEEDS
from simtrial.estimators import Method
from simtrial.expressions import parse

COMPLIER_METHODS = ("iv", "cace-mixture", "principal-score")
"""Kinds whose estimate is of a complier effect."""


def default_estimand(method: Method, estimands: Sequence[Estimand]) -> str | None:
    """Name of the first estimand of the method's outcome that fits best; None where no estimand is about the outcome.

    An instrumental-variable ratio takes a complier effect with its definition of receipt, averaged as it averages; a
    per-protocol analysis the limit for those it keeps, an as-treated one the limit for its definition of receipt. All
    others, and these where the file has nothing of the kind, take the first one.
    """
    inner = getattr(method, "analysis", None)
    if isinstance(inner, Method) and method.kind not in LIMITS:
        return default_estimand(inner, estimands)
    about = [e for e in estimands if e.response == method.response]
    return max(about, key=lambda e: _fit(method, e)).name if about else None  # the first of those that fit best


def _fit(method: Method, estimand: Estimand) -> int:
    """How well an estimand matches the limit of the method: 2 exactly, 1 nearly, 0 no better than any other."""
    dose: str | None = getattr(method, "dose", None)
    if dose:
        return 2 if estimand.kind == "iv-limit" and estimand.dose == dose else 0
    if method.kind in COMPLIER_METHODS and estimand.kind == "cace" and _same(estimand.received, method, "received"):
        return 2 if (estimand.unit, estimand.weights) == _averaged(method) else 1
    if method.kind in LIMITS and estimand.kind == method.kind:
        if not _same(estimand.expression, method, NEEDS[method.kind]):
            return 0
        return 2 if set(estimand.adjust or ()) == set(method.spec().adjust) else 1
    return 0


def _averaged(method: Method) -> tuple[str, str | None]:
    """Unit and weights of the complier effect: of practices weighted by variance, as in mixed models, there is none."""
    if method.kind != "iv" or getattr(method, "ratio", "2sls") == "lmm":
        return "neither", None
    if getattr(method, "level_of_analysis", "participant") == "participant":
        return "participant", None
    by_weights = {"equal": ("cluster", COMPLIER_SHARE), "size": ("participant", None)}
    return by_weights.get(getattr(method, "weights", ""), ("neither", None))


def _same(expression: str | None, method: Method, option: str) -> bool:
    return expression is not None and parse(expression) == parse(getattr(method, option))
