"""Scores that the ends of a scale cut: whose, and a warning where many are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import TrialBatch
from simtrial.generate import Mechanism, Step, added, drawing_order, drawn_for
from simtrial.generate.column_names import BASELINE, IF_CONTROL, IF_INTERVENTION
from simtrial.generate.outcomes.instrument import Instrument
from simtrial.run.implied_people import PURPOSE
from simtrial.run.shared_people import Key, SharedPeople, key_of
from simtrial.scenario import Cell
from simtrial.seeding import stream

CUT = 0.01
"""Share of scores cut at the ends of a scale from which on people are warned."""


def cuts(mechanism: Mechanism, batch: TrialBatch, stages: Iterable[str] | None = None) -> dict[str, NDArray[np.bool_]]:
    """Whose scores the ends of scales cut (participants,), by recorded column; ``batch`` as `drawn_people` makes it.

    ``stages`` are those to look at, all by default; the batch must hold what they read.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for stage in mechanism if stages is None else stages:
        found |= mechanism[stage].settled(mechanism).cut(batch, stream(0, "", 0, PURPOSE + stage))
    return found


def warnings(cells: Sequence[Cell]) -> list[str]:
    """One sentence for every stage in which more than `CUT` of the scores that a run draws are cut, none else.

    Instruments recorded with the mean and SD asked for whatever their ends cut count only where an effect is lost.
    Every cell is held against the same people; those alike in what moves scores are simulated once.
    """
    worst: dict[str, list[tuple[float, str, str]]] = {}
    for cell, (recorded, shares) in zip(cells, _shares(cells), strict=True):
        for name, share in shares.items():
            stage = recorded.get(name, "")
            if share > CUT and stage and _counts(cell.scenario.needed[stage], name):
                worst.setdefault(stage, []).append((share, name, cell.label))
    return [_sentence(stage, rows, len(cells)) for stage, rows in worst.items()]


def _shares(cells: Sequence[Cell]) -> list[tuple[Mapping[str, str], Mapping[str, float]]]:
    """Of every cell, the stages that record scores, by score, and the share of each score that is cut."""
    recorded = [_recorded(cell) for cell in cells]
    mechanisms = [
        drawn_for(cell.scenario.needed, frozenset(names) | {"arm"}, masks=False)
        for cell, names in zip(cells, recorded, strict=True)
    ]
    cutting = [_cutting(mechanism) for mechanism in mechanisms]
    keys = [key_of(m, drawing_order(m), m) if stages else () for m, stages in zip(mechanisms, cutting, strict=True)]
    found: dict[Key, dict[str, float]] = {(): {}}
    people = SharedPeople()
    for key, at in sorted({key: at for at, key in enumerate(keys) if key}.items()):
        whole = mechanisms[at]
        read = frozenset[str]().union(*(whole[stage].reads() for stage in cutting[at]))
        batch = people.draw(drawn_for(whole, read, masks=False), whole)
        found[key] = {name: float(cut.mean()) for name, cut in cuts(whole, batch, cutting[at]).items()}
    return [(names, found[key]) for names, key in zip(recorded, keys, strict=True)]


def _recorded(cell: Cell) -> dict[str, str]:
    """Stages that record scores, by score."""
    stages = cell.scenario.needed.items()
    return {name: stage for stage, step in stages for name in added(step) if _is_score(name, stage)}


def _cutting(mechanism: Mechanism) -> list[str]:
    """Stages that say whose scores are cut, where any records scores on a scale that has an end."""
    if not any(_may_cut(step) for step in mechanism.values()):
        return []
    return [stage for stage, step in mechanism.items() if type(step).cut is not Step.cut]


def _is_score(name: str, stage: str) -> bool:
    return stage == "baseline" or (stage.startswith("outcomes.") and name.endswith(ENDINGS))


ENDINGS = (BASELINE, IF_CONTROL, IF_INTERVENTION)


def _may_cut(step: object) -> bool:
    """Whether a stage records scores on a scale that has an end."""
    ends = getattr(step, "lowest", None), getattr(step, "highest", None)
    return any(end is not None for end in ends)


def _counts(step: object, name: str) -> bool:
    return not isinstance(step, Instrument) or (step.effect != 0 and not name.endswith(BASELINE))


def _sentence(stage: str, rows: Sequence[tuple[float, str, str]], cells: int) -> str:
    """Message about the share of scores cut, and the cell with the largest share."""
    most = {name: max(r for r in rows if r[1] == name) for _, name, _ in rows}
    shares = ", ".join(f"{100 * share:.1f}% of {_words(name)}" for name, (share, _, _) in most.items())
    where = f" (in {len({r[2] for r in rows})} of {cells} cells, most in '{max(rows)[2]}')" if cells > 1 else ""
    return (
        f"[mechanism.{stage}] the ends of the scale cut {shares}{where}: mean, SD, ICC and effects differ from those "
        f"written; lowest and highest are the ends, and a continuous score (items = 0) without them has none"
        if not _instrument(stage)
        else f"[mechanism.{stage}] the ends of the scale cut {shares}{where}, which reduces the effect"
    )


def _instrument(stage: str) -> bool:
    return stage not in ("baseline", "outcomes.mansa")


def _words(name: str) -> str:
    outcome, arm = outcome_and_arm(name)
    return f"{outcome} {f'if {arm}' if arm == 'control' else 'if offered'}" if arm else f"{outcome} at baseline"


def outcome_and_arm(name: str) -> tuple[str, str]:
    """Outcome and arm of a recorded column; baseline has no arm."""
    for ending, arm in ((IF_CONTROL, "control"), (IF_INTERVENTION, "intervention")):
        if name.endswith(ending):
            return name.removesuffix(ending), arm
    return name.removesuffix(BASELINE), ""
