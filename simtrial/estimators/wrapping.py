"""Methods around another method: the options that the outer one hands down."""

from __future__ import annotations

from typing import Any


def inherit(outer: Any) -> Any:
    """Hand the common options of a wrapping method down to the analysis inside it, where it does not set its own."""
    if not isinstance(outer, dict) or not isinstance(outer.get("analysis"), dict):
        return outer
    common = ("name", "response", "outcome", "adjust", "interaction", "subset", "level", "estimand")
    handed = {key: outer[key] for key in common if key in outer}
    return {**outer, "analysis": {**handed, **outer["analysis"]}}
