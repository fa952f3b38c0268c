"""The analysis inside `mi`, and those inside that: the innermost one, conditions on people, and how errors name it."""

from __future__ import annotations

from simtrial.estimators import Method, kinds


def innermost(method: Method) -> Method:
    """Return the analysis that wraps no other."""
    inner = getattr(method, "analysis", None)
    return innermost(inner) if isinstance(inner, Method) else method


def kept_people(method: Method) -> tuple[str, ...]:
    """Expressions of who kept to the protocol, of a method and those inside it."""
    inner = getattr(method, "analysis", None)
    own = getattr(method, "keep", None)
    return (*((own,) if isinstance(own, str) else ()), *(kept_people(inner) if isinstance(inner, Method) else ()))


def in_words(method: Method) -> str:
    """Name an analysis by its kind, the decisive option, and its wrapper."""
    inner = innermost(method)
    option = f" with ci = '{ci}'" if inner.t_interval and (ci := getattr(inner, "ci", "")) else ""
    around = "" if inner is method else f" inside '{method.kind}'"
    return f"kind '{inner.kind}'{option}{around}"


def wrappable() -> str:
    """Kinds of analysis that `mi` can wrap, as a list in words."""
    plain = [
        f"{kind} (ci = 'wald')" if "ci" in model.model_fields else kind
        for kind, model in kinds().items()
        if model.t_interval and model.effect and "analysis" not in model.model_fields
    ]
    return f"one of {', '.join(plain)}, or per-protocol or as-treated around one of them"
