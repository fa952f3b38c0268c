"""Power by formula with the numbers that a cell implies, instead of those of [design]."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from simtrial.estimators import Method
from simtrial.run.implied_people import Quantity
from simtrial.sample_size import Design, power
from simtrial.scenario import Cell
from simtrial.scenario.schema import targets


def following(
    design: Design, cell: Cell, method: Method, quantities: Sequence[Quantity], practices: int
) -> tuple[str, str]:
    """Power by normal and t quantiles with what the cell implies for a method; a dash where it implies no design."""
    of = design_of(design, cell, method, quantities)
    if of is None:
        return "-", "-"
    found = [power(of, practices, t=t) for t in (False, True)]
    normal, t = (f"{p:.3f}" if isfinite(p) else "-" for p in found)
    return normal, t


def design_of(design: Design, cell: Cell, method: Method, quantities: Sequence[Quantity]) -> Design | None:
    """[design] with the numbers of the cell: alpha and power stay. None where one of them does not exist there.

    Difference: true value of the method's first estimand. SD, ICC and correlation: in control, the ICC at least 0, the
    correlation 0 where the method does not adjust for baseline. Losses: people without an outcome, of whom whole
    practices are part.
    """
    known = {(q.name, q.of, q.arm): q.value for q in quantities}
    response = method.response
    effect = abs(known.get(("true_value", next(iter(targets(method, cell.scenario)), ""), ""), float("nan")))
    sd, icc = (known.get((name, response, "control"), float("nan")) for name in ("sd", "icc"))
    blank = sum(known.get(("no_outcome", response, arm), float("nan")) for arm in ("control", "intervention")) / 2
    mean, cv = (known[name, "", ""] for name in ("cluster_size_mean", "cluster_size_cv"))
    adjusts = {f"{response}_baseline"} & {*method.spec().adjust, str(method.spec().minus)}
    r = known.get(("baseline_correlation", response, "control"), float("nan")) if adjusts else 0.0
    if not all(isfinite(x) for x in (effect, sd, icc, blank, mean, cv, r)) or not (sd > 0 and blank < 1):
        return None
    dropout: Any = cell.scenario.mechanism.get("dropout")
    practice_loss = min(dropout.practice_rate, blank) if dropout is not None else 0.0
    return design.model_copy(update={
        "difference": effect, "sd": sd, "icc": max(icc, 0.0), "baseline_correlation": r, "cluster_size_mean": mean,
        "cluster_size_cv": cv, "practice_loss": practice_loss,
        "individual_loss": 1.0 - (1.0 - blank) / (1.0 - practice_loss),
    })  # fmt: skip
