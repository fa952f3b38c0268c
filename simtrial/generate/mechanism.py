"""A mechanism as its stages: the order of drawing, the columns they add, and which stages some columns need."""

from __future__ import annotations

from collections.abc import Mapping

from simtrial.batch import hidden_by
from simtrial.generate.stages import REQUIRED, STAGES
from simtrial.generate.step import Mechanism, Step, Variable


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


_ADDED: dict[int, tuple[Step, Mapping[str, Variable]]] = {}
"""Columns by the identity of the step that adds them, which is kept, so that no other can take its place."""

KEPT = 4096
"""Steps whose columns are kept."""


def added(step: Step) -> Mapping[str, Variable]:
    """Columns that a step adds; found once for each step, as cells of a sweep share most of theirs."""
    known = _ADDED.get(id(step))
    if known is None:
        if len(_ADDED) >= KEPT:
            _ADDED.clear()
        known = _ADDED[id(step)] = step, step.adds()
    return known[1]


def before_allocation(mechanism: Mechanism) -> frozenset[str]:
    """Names of the columns that are known when practices are allocated."""
    if "generator" in mechanism:
        names = list(added(mechanism["generator"]))
        return frozenset(names[: names.index("arm")])
    earlier = STAGES[: STAGES.index("allocation")]
    return frozenset().union(*(added(mechanism[stage]) for stage in earlier if stage in mechanism))


def variables(mechanism: Mechanism) -> dict[str, Variable]:
    """All columns of the mechanism, in order."""
    columns: dict[str, Variable] = {}
    for stage in STAGES:
        if stage in mechanism:
            columns |= added(mechanism[stage])
    return columns


def drawn_for(mechanism: Mechanism, wanted: frozenset[str], masks: bool = True) -> Mechanism:
    """Leave out stages, and parts of stages, that some columns do not need; what is left draws the same.

    Parameters
    ----------
    wanted
        Names of columns to be there as an analyst sees them; those that no stage adds are left to whoever asks.
    masks
        Draw what hides any of them as well.
    """
    adds = {stage: added(step) for stage, step in mechanism.items()}
    hidden = {stage: [v.hides for v in promised.values() if v.hides] for stage, promised in adds.items() if masks}
    chosen = {s for s in mechanism if s in (*REQUIRED[:2], "generator") or mechanism[s].enrols()}
    open_ = set(wanted).union(*(mechanism[s].reads() for s in chosen))
    needed: set[str] = set()
    while open_:
        name = open_.pop()
        needed.add(name)
        for stage, promised in adds.items():
            if stage in chosen:
                continue
            if name in promised or any(hidden_by(name, masked) for masked in hidden.get(stage, ())):
                chosen.add(stage)
                open_ |= mechanism[stage].reads() - needed
    return {stage: step.trimmed(frozenset(needed)) for stage, step in mechanism.items() if stage in chosen}
