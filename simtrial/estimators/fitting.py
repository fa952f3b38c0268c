"""How a method is fitted to a batch, and what becomes of one that raises."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simtrial.errors import in_words
from simtrial.estimators import Estimates, Method, failed_estimates
from simtrial.moments.shared import SharedMoments


def fit(
    method: Method, shared: SharedMoments, rng: np.random.Generator | None = None, every_term: bool = False
) -> Estimates:
    """Fit a method to every trial of a batch; ``rng`` is for methods that draw."""
    return method.fit(shared.batch, shared.moments(method.spec()), rng, every_term)


class Attempt(NamedTuple):
    """Estimates of a method, failed in every trial where it raised, and the exception."""

    estimates: Estimates
    error: Exception | None = None

    @property
    def with_message(self) -> Estimates:
        """The estimates, with the exception as a message in every row that it cost."""
        if self.error is None:
            return self.estimates
        message = np.full(len(self.estimates.failed), in_words(self.error))
        return replace(self.estimates, notes={"message": message})


def attempt(
    method: Method,
    shared: SharedMoments,
    rng: np.random.Generator | None = None,
    every_term: bool = False,
    *,
    refuse: tuple[type[Exception], ...] = (),
) -> Attempt:
    """Fit a method; one that raises costs its own rows and nothing else, unless ``refuse`` lets the exception pass."""
    try:
        return Attempt(fit(method, shared, rng, every_term))
    except refuse:
        raise
    except Exception as error:
        return Attempt(failed_estimates(shared.batch.index.trials, method.target, "error"), error)
