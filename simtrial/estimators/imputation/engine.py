"""Engines of `mi`: ways to draw what is missing, by the name that ``imputation`` takes.

An engine is a frozen options model; its options stand beside those of `mi` in the method's table. ``fit`` fits its
models to a batch, once; what it returns completes the batch as often as `mi` asks. One file holds one engine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from simtrial.arrays import Bools
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.registry import Registry


class FittedEngine(Protocol):
    """Models of an engine that were fitted to one batch."""

    @property
    def failed(self) -> Bools:
        """Trials in which somebody needs a value from a model that cannot be fitted (trials,)."""

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the models of trials in which they were used, bits of `simtrial.flags` (trials,)."""

    def reason(self, trial: int) -> str:
        """Say why one trial has failed."""

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Draw parameters, then what is missing, and return the trials completed; those that failed may keep gaps."""


class ImputationEngine(BaseModel):
    """Options of an engine, beyond those of `mi`.

    ``arm_alone`` says that it can impute one arm from its own people: it takes them and their moments from
    ``Incomplete.lacks``, ``moments`` and ``moments_of``, never from the columns of the batch.
    ``fills_covariates`` says that it fills every column of ``Incomplete.fillable``, not the baseline and the outcome
    alone. ``extrapolates`` says that it would impute people from covariates that nobody with everything observed has:
    by arm, such trials fail. ``needs_baseline`` puts the baseline of the outcome in the model, whether or not the
    analysis reads it. ``takes_arm`` says that what it imputes moves with the arm in the batch by its coefficient: then
    people can be imputed as if in control.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    arm_alone: ClassVar[bool] = False
    extrapolates: ClassVar[bool] = True
    needs_baseline: ClassVar[bool] = False
    takes_arm: ClassVar[bool] = False
    fills_covariates: ClassVar[bool] = False

    def fit(self, incomplete: Incomplete) -> FittedEngine:
        """Fit the models of whatever is missing."""
        raise NotImplementedError  # pragma: no cover - every registered engine has its own


E = TypeVar("E", bound=type[ImputationEngine])
IMPUTATION_ENGINES: Registry[type[ImputationEngine]] = Registry("imputation engine", str(__package__))


def register_imputation(name: str) -> Callable[[E], E]:
    """Enter an engine under the name that ``imputation`` takes; a name that is taken is an error."""

    def enter(engine: E) -> E:
        IMPUTATION_ENGINES.enter(name, engine)
        return engine

    return enter


def imputation_engine(name: str) -> type[ImputationEngine]:
    """Return the engine of a name, or say which one was probably meant."""
    return IMPUTATION_ENGINES.get(name)
