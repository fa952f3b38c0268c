"""Draw the trials of a block: the fold of a mechanism's steps, each from its own stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import Column, Index, TrialBatch
from simtrial.errors import SimtrialError
from simtrial.generate.by_practice import practice_of_people
from simtrial.generate.mechanism import added, drawing_order, variables
from simtrial.generate.step import Generator, Mechanism, Step, Variable
from simtrial.seeding import stream

Timed = Callable[[str], AbstractContextManager[None]]
"""Context that takes the time of a stage."""


def practices_per_trial(mechanism: Mechanism) -> int:
    """Practices of a trial, to reckon effort with: the number, the mean of those that open, or a generator's first."""
    if "generator" in mechanism:
        return simulate(mechanism, 1, 0, "", 0, purpose="size: ").index.practices
    practices = mechanism["practices"]
    number: int = practices.number  # type: ignore[attr-defined]
    if practices.enrols() is None:
        return number
    trials = max(2, -(-20_000 // number))
    opened = simulate({"practices": practices}, trials, 0, "", 0, purpose="size: ").index.practices
    return max(1, round(opened / trials))


def _untimed(stage: str) -> AbstractContextManager[None]:
    return nullcontext()


def simulate(
    mechanism: Mechanism, trials: int, seed: int, cell: str, block: int, *, purpose: str = "", timed: Timed = _untimed
) -> TrialBatch:
    """Draw the trials of one block.

    Parameters
    ----------
    mechanism
        Options of each stage; stages left out are skipped and move nothing else, for each has its own stream.
    trials
        Trials in the block. The same number must be used whenever the block is drawn again.
    seed, cell, block
        Address of the random streams; ``purpose`` sets apart other uses, such as finding true values.
    timed
        Entered by the name of each stage while it is drawn.
    """
    batch = nobody(trials)
    for stage in drawing_order(mechanism):
        with timed(stage):
            step, rng = mechanism[stage], stream(seed, cell, block, purpose + stage)
            batch = after(batch, stage, step.settled(mechanism), rng, added(step))
    return TrialBatch(batch.index, {name: batch.columns[name] for name in variables(mechanism)})


def nobody(trials: int) -> TrialBatch:
    """Trials before any stage."""
    return TrialBatch(Index(trials, np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)))


def after(
    batch: TrialBatch, stage: str, step: Step, rng: np.random.Generator, promised: Mapping[str, Variable] | None = None
) -> TrialBatch:
    """Trials after one more stage, whose options are `settled`; ``promised`` is what it adds, where that is at hand."""
    if isinstance(step, Generator):
        return _generated(step, batch.index.trials, rng)
    if stage == "practices":
        batch = _open_practices(batch, step)
    values = step.draw(batch, rng)
    promised = step.adds() if promised is None else promised
    if values.keys() != promised.keys():
        raise AssertionError(f"{stage} promised {sorted(promised)} and drew {sorted(values)}")
    if stage == "practices":
        batch = _open_participants(batch, values["recruited"])
    batch = batch.add({n: _column(promised[n], values[n]) for n in promised})
    enrolled = step.enrols()
    if enrolled is None:
        return batch
    kept = values[enrolled].astype(bool)
    practices = promised[enrolled].level == "practice"
    return batch.only_practices(kept) if practices else batch.only_participants(kept)


def _column(variable: Variable, values: NDArray[Any]) -> Column:
    return Column(values, variable.level, variable.categories, variable.latent, variable.hides)


def _open_practices(batch: TrialBatch, step: Step) -> TrialBatch:
    number: int = step.number  # type: ignore[attr-defined]
    trials = batch.index.trials
    trial = np.broadcast_to(np.arange(trials)[:, None], (trials, number)).ravel()
    return TrialBatch(Index(trials, trial, np.zeros(0, dtype=np.intp)))


def _open_participants(batch: TrialBatch, recruited: NDArray[Any]) -> TrialBatch:
    index = batch.index
    people = practice_of_people(recruited.astype(np.intp))
    return TrialBatch(Index(index.trials, index.practice_trial, people))


def _generated(step: Generator, trials: int, rng: np.random.Generator) -> TrialBatch:
    """Trials of a generator, checked against its declared columns."""
    drawn, promised = step.draw_trials(trials, rng), step.adds()
    practices, people = (np.asarray(number).astype(np.intp) for number in (drawn.practices, drawn.people))
    subject = f"generator '{step.name}'"
    if practices.shape != (trials,) or (practices < 1).any():
        raise SimtrialError(f"{subject}: practices must be {trials} numbers, one per trial, all at least 1")
    if people.shape != (practices.sum(),) or (people < 0).any():
        raise SimtrialError(f"{subject}: people must be {practices.sum()} numbers, one per practice, none below 0")
    if set(drawn.columns) != set(promised):
        raise SimtrialError(f"{subject} promised {', '.join(promised)} and drew {', '.join(sorted(drawn.columns))}")
    index = Index(trials, np.repeat(np.arange(trials), practices), np.repeat(np.arange(len(people)), people))
    try:
        return TrialBatch(index).add({n: _column(v, np.asarray(drawn.columns[n])) for n, v in promised.items()})
    except SimtrialError as error:
        rows = f"there are {index.practices} practices and {index.participants} people"
        raise SimtrialError(f"{subject}: {error}; {rows}") from None
