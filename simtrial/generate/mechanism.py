"""A mechanism as its stages: the order of drawing, the columns they add, and which stages some columns need."""

from __future__ import annotations

from simtrial.batch import hidden_by
from simtrial.generate.stages import REQUIRED, STAGES
from simtrial.generate.step import Mechanism, Variable


def drawing_order(mechanism: Mechanism) -> list[str]:
    """Stages of a mechanism as they are drawn: as in `STAGES`, but for those that ask to be drawn before another.

    What a stage draws does not depend on its place, for its stream is its own.
    """
    order = [stage for stage in STAGES if stage in mechanism]
    for stage in list(order):
        later = mechanism[stage].drawn_before()
        if later in order:
            order.remove(stage)
            order.insert(order.index(later), stage)
    return order


def before_allocation(mechanism: Mechanism) -> frozenset[str]:
    """Names of the columns that are known when practices are allocated."""
    if "generator" in mechanism:
        names = list(mechanism["generator"].adds())
        return frozenset(names[: names.index("arm")])
    earlier = STAGES[: STAGES.index("allocation")]
    return frozenset(name for stage in earlier if stage in mechanism for name in mechanism[stage].adds())


def variables(mechanism: Mechanism) -> dict[str, Variable]:
    """All columns of the mechanism, in order."""
    return {name: v for stage in STAGES if stage in mechanism for name, v in mechanism[stage].adds().items()}


def drawn_for(mechanism: Mechanism, wanted: frozenset[str], masks: bool = True) -> Mechanism:
    """Leave out stages, and parts of stages, that some columns do not need; what is left draws the same.

    Parameters
    ----------
    wanted
        Names of columns to be there as an analyst sees them; those that no stage adds are left to whoever asks.
    masks
        Draw what hides any of them as well.
    """
    adds = {stage: step.adds() for stage, step in mechanism.items()}
    chosen = {s for s in mechanism if s in (*REQUIRED[:2], "generator") or mechanism[s].enrols()}
    open_ = set(wanted).union(*(mechanism[s].reads() for s in chosen))
    needed: set[str] = set()
    while open_:
        name = open_.pop()
        needed.add(name)
        for stage, promised in adds.items():
            hides = masks and any(hidden_by(name, v.hides) for v in promised.values())
            if stage not in chosen and (name in promised or hides):
                chosen.add(stage)
                open_ |= mechanism[stage].reads() - needed
    return {stage: step.trimmed(frozenset(needed)) for stage, step in mechanism.items() if stage in chosen}
