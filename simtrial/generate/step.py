"""One stage of a trial's life: its options, the columns it reads and adds, and how it draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from simtrial.batch import Level, TrialBatch
from simtrial.expressions import ExpressionError, check


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


class EstimandOptions(Protocol):
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

    def known(self, estimand: EstimandOptions) -> float | None:
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
