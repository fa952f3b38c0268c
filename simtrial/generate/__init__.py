"""The life of a trial as a fold of steps: each reads columns, draws from its own stream, and adds columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from simtrial.batch import Column, Index, Level, TrialBatch, hidden_by
from simtrial.errors import SimtrialError
from simtrial.expressions import ExpressionError, check
from simtrial.seeding import stream

STAGES = (
    "generator", "practices", "screening", "recruitment", "participants", "characteristics", "baseline", "allocation",
    "identification", "delivery", "outcomes.mansa", "outcomes.tus", "outcomes.wemwbs", "outcomes.qpr15",
    "outcomes.brief_inspire", "outcomes.icecap_a", "outcomes.eq5d5l", "safety", "dropout", "missingness",
)  # fmt: skip
"""Tables below [mechanism], in order of drawing; a generator replaces all the others."""

REQUIRED = ("practices", "allocation", "outcomes.mansa")
"""Required stages; the first two are always drawn."""


@dataclass(frozen=True)
class Variable:
    """Description of an added column; ``label`` and ``unit`` go into the codebook."""

    level: Level
    label: str
    unit: str = ""
    categories: tuple[str, ...] = ()
    latent: bool = False
    hides: tuple[str, ...] = ()


class Step(BaseModel):
    """Options of one stage, the columns that it reads and adds, and its draws."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    stage: ClassVar[str]

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        return frozenset()

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        raise NotImplementedError(self.stage)  # pragma: no cover - every stage has its own

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Values of the added columns, for all trials of the batch at once."""
        raise NotImplementedError(self.stage)  # pragma: no cover

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """What is wrong with these options given the columns of earlier stages: (dotted key, message) pairs."""
        return []

    def settled(self, mechanism: Mapping[str, Step]) -> Step:
        """Return these options with constants that depend on other stages' options; most stages have none."""
        return self

    def cut(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[np.bool_]]:
        """Whose score the ends of a scale cut (participants,), by column; most stages record none.

        ``batch`` holds what the stage reads, and ``rng`` its stream, with which it draws again what it has drawn.
        """
        return {}

    def trimmed(self, wanted: frozenset[str]) -> Step:
        """Return these options without unneeded columns, if this changes no other draw."""
        return self

    def drawn_before(self) -> str | None:
        """Stage that follows from this one with these options, although it is earlier in `STAGES`; None: none does."""
        return None

    def enrols(self) -> str | None:
        """Name of an added 0/1 column whose zeros (practices or people) leave the trial at this stage, or None."""
        return None


class Drawn(NamedTuple):
    """Trials of a generator: practices of every trial (trials,), people of every practice, and the columns by name."""

    practices: NDArray[Any]
    people: NDArray[Any]
    columns: Mapping[str, NDArray[Any]]


class Asked(Protocol):
    """Options of an estimand, passed to a generator that may know its true value."""

    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def response(self) -> str: ...  # noqa: D102
    @property
    def weights(self) -> str | None: ...  # noqa: D102
    @property
    def expression(self) -> str | None: ...  # noqa: D102


class Generator(Step):
    """Options of a generator that draws whole trials and replaces all stages.

    It says in `adds` which columns there are, in the order of a trial's life: those named before ``arm`` are known
    before allocation. Registered by `simtrial.generate.generators.register_generator`.
    """

    stage: ClassVar[str] = "generator"
    name: str

    def draw_trials(self, trials: int, rng: np.random.Generator) -> Drawn:
        """Draw trials with all of their columns, every random number from ``rng``."""
        raise NotImplementedError(self.name)  # pragma: no cover - every generator has its own

    def known(self, estimand: Asked) -> float | None:
        """True value in the population in closed form, or None to estimate it from simulated potential outcomes."""
        return None


def expression_problems(key: str, text: str, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
    """Hold an expression (empty: none) against the columns that an analyst will see."""
    if not text:
        return []
    try:
        check(text, {name: v.categories for name, v in available.items() if not v.latent})
    except ExpressionError as error:
        return [(key, str(error))]
    return []


Mechanism = Mapping[str, Step]


@cache
def steps() -> dict[str, type[Step]]:
    """Options model of every stage, in the order of a trial's life."""
    from simtrial.generate.stages import by_stage, classes_in

    return by_stage(classes_in(sys.modules[__name__]))


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
    asked: set[str] = set()
    while open_:
        name = open_.pop()
        asked.add(name)
        for stage, promised in adds.items():
            hides = masks and any(hidden_by(name, v.hides) for v in promised.values())
            if stage not in chosen and (name in promised or hides):
                chosen.add(stage)
                open_ |= mechanism[stage].reads() - asked
    return {stage: step.trimmed(frozenset(asked)) for stage, step in mechanism.items() if stage in chosen}


def simulate(mechanism: Mechanism, trials: int, seed: int, cell: str, block: int, *, purpose: str = "") -> TrialBatch:
    """Draw the trials of one block.

    Parameters
    ----------
    mechanism
        Options of each stage; stages left out are skipped and move nothing else, for each has its own stream.
    trials
        Trials in the block. The same number must be used whenever the block is drawn again.
    seed, cell, block
        Address of the random streams; ``purpose`` sets apart other uses, such as finding true values.
    """
    batch = TrialBatch(Index(trials, np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)))
    for stage in drawing_order(mechanism):
        step = mechanism[stage].settled(mechanism)
        if isinstance(step, Generator):
            batch = _generated(step, trials, stream(seed, cell, block, purpose + stage))
            continue
        if stage == "practices":
            batch = _open_practices(batch, step)
        values = step.draw(batch, stream(seed, cell, block, purpose + stage))
        promised = step.adds()
        if set(values) != set(promised):
            raise AssertionError(f"{stage} promised {sorted(promised)} and drew {sorted(values)}")
        if stage == "practices":
            batch = _open_participants(batch, values["recruited"])
        batch = batch.add({n: _column(promised[n], values[n]) for n in promised})
        enrolled = step.enrols()
        if enrolled is not None:
            kept = values[enrolled].astype(bool)
            practices = promised[enrolled].level == "practice"
            batch = batch.only_practices(kept) if practices else batch.only_participants(kept)
    return replace(batch, columns={name: batch.columns[name] for name in variables(mechanism)})


def _column(variable: Variable, values: NDArray[Any]) -> Column:
    return Column(values, variable.level, variable.categories, variable.latent, variable.hides)


def _open_practices(batch: TrialBatch, step: Step) -> TrialBatch:
    number: int = step.number  # type: ignore[attr-defined]
    trials = batch.index.trials
    return TrialBatch(Index(trials, np.repeat(np.arange(trials), number), np.zeros(0, dtype=np.intp)))


def _open_participants(batch: TrialBatch, recruited: NDArray[Any]) -> TrialBatch:
    index = batch.index
    people = np.repeat(np.arange(index.practices), recruited.astype(np.intp))
    return TrialBatch(Index(index.trials, index.practice_trial, people))


def _generated(step: Generator, trials: int, rng: np.random.Generator) -> TrialBatch:
    """Trials of a generator, checked against its declared columns."""
    drawn, promised = step.draw_trials(trials, rng), step.adds()
    practices, people = (np.asarray(number).astype(np.intp) for number in (drawn.practices, drawn.people))
    told = f"generator '{step.name}'"
    if practices.shape != (trials,) or (practices < 1).any():
        raise SimtrialError(f"{told}: practices must be {trials} numbers, one per trial, all at least 1")
    if people.shape != (practices.sum(),) or (people < 0).any():
        raise SimtrialError(f"{told}: people must be {practices.sum()} numbers, one per practice, none below 0")
    if set(drawn.columns) != set(promised):
        raise SimtrialError(f"{told} promised {', '.join(promised)} and drew {', '.join(sorted(drawn.columns))}")
    index = Index(trials, np.repeat(np.arange(trials), practices), np.repeat(np.arange(len(people)), people))
    try:
        return TrialBatch(index).add({n: _column(v, np.asarray(drawn.columns[n])) for n, v in promised.items()})
    except SimtrialError as error:
        rows = f"there are {index.practices} practices and {index.participants} people"
        raise SimtrialError(f"{told}: {error}; {rows}") from None
