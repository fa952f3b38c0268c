"""The same people under one mechanism after another: what two mechanisms have in common is drawn once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from simtrial.batch import TrialBatch
from simtrial.generate import Mechanism, Step, after, drawing_order, drawn_for, nobody
from simtrial.run.implied_people import PURPOSE, trials_of
from simtrial.seeding import stream

Key = tuple[str, ...]
"""Stages with all their options, as they are drawn: equal keys mean equal draws."""


def key_of(mechanism: Mechanism, drawn: Iterable[str], whole: Mechanism) -> Key:
    """Key of some stages; where one is settled by others, by all of ``whole`` that might settle it."""
    settled = {stage: mechanism[stage].settled(whole) for stage in drawn}
    every = _texts(whole) if any(step is not mechanism[stage] for stage, step in settled.items()) else ()
    return (*every, *_texts(settled))


def _texts(mechanism: Mechanism) -> Key:
    return tuple(f"{stage} {type(step).__qualname__} {step.model_dump_json()}" for stage, step in mechanism.items())


class SharedPeople:
    """People of `drawn_people`, of one mechanism after another; drawn again only from the first stage that differs.

    Batches of the last mechanism alone are kept, one for each of its stages: in the order of their keys, mechanisms
    share the most.
    """

    def __init__(self) -> None:
        self._trials: dict[Key, int] = {}
        self._last: list[tuple[Key, TrialBatch]] = []

    def trials(self, mechanism: Mechanism) -> int:
        """Trials of a mechanism, found once for all that enrol alike."""
        enrolling = drawn_for(mechanism, frozenset(), masks=False)
        key = key_of(enrolling, drawing_order(enrolling), mechanism)
        if key not in self._trials:
            self._trials[key] = trials_of(mechanism)
        return self._trials[key]

    def draw(self, mechanism: Mechanism, whole: Mechanism) -> TrialBatch:
        """People after all stages of a mechanism, the part of ``whole`` that somebody reads."""
        trials = self.trials(mechanism)
        stages = drawing_order(mechanism)
        keys = [(str(trials), *key_of(mechanism, stages[: at + 1], whole)) for at in range(len(stages))]
        shared = _alike(keys, [key for key, _ in self._last])
        del self._last[shared:]
        batch = self._last[-1][1] if self._last else nobody(trials)
        for stage, key in zip(stages[shared:], keys[shared:], strict=True):
            step: Step = mechanism[stage].settled(whole)
            batch = after(batch, stage, step, stream(0, "", 0, PURPOSE + stage))
            self._last.append((key, batch))
        return batch


def _alike(one: Sequence[Key], other: Sequence[Key]) -> int:
    """Number of stages from the first on that two mechanisms have in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
