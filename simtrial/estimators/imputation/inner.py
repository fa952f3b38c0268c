"""The analysis inside `mi`, and those inside that: the innermost one, conditions on people, and what is refused."""

from __future__ import annotations

from simtrial.estimators import Method, kinds
from simtrial.estimators.compliers.iv import InstrumentalVariable


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


def refuse_what_has_no_t(analysis: Method) -> None:
    """Refuse an analysis that Rubin's rules cannot pool."""
    if analysis.has_t_interval():
        return
    pool_effects = ", or write pooled = 'effects'" if isinstance(analysis, InstrumentalVariable) else ""
    raise ValueError(
        f"mi cannot wrap {in_words(analysis)}{pool_effects}: Rubin's rules pool an effect whose interval and p-value "
        f"are t on its estimate and standard error; wrap {wrappable()}"
    )


def refuse_what_has_no_effects(analysis: Method, plain: bool) -> None:
    """Refuse what the pooled effects of a ratio do not go with; ``plain``: no tipping point, and df by one rule."""
    if not isinstance(analysis, InstrumentalVariable):
        raise ValueError(f"pooled = 'effects': kind '{analysis.kind}' divides no effects; only kind 'iv' does")
    if not plain:
        raise ValueError("pooled = 'effects' has no tipping point, and does not take df = 'barnard-rubin-residual'")
    if analysis.is_random():
        raise ValueError(
            f"pooled = 'effects' leaves no data set to resample: it does not take {in_words(analysis)}; "
            "take ci = 'wald', 'anderson-rubin', 'fieller' or 'tf'"
        )
