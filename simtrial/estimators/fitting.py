"""How a method is fitted to a batch, and what becomes of one that raises."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from simtrial.errors import in_words
from simtrial.estimators import Estimates, Method, failed_estimates
from simtrial.estimators.contained import (
    FitTimeoutError,
    InvalidResultError,
    apart,
    checked,
    global_seeds,
    is_own,
    limited,
    quiet,
    seconds_per_fit,
    seeded,
)
from simtrial.flags import BIT
from simtrial.moments.shared import SharedMoments


def fit(
    method: Method, shared: SharedMoments, rng: np.random.Generator | None = None, every_term: bool = False
) -> Estimates:
    """Fit a method to every trial of a batch; ``rng`` is for methods that draw."""
    return method.fit(shared.batch, shared.moments(method.spec()), rng, every_term)


class Attempt(NamedTuple):
    """Estimates of a method, failed in every trial where it raised, and the exception."""

    estimates: Estimates
    error: BaseException | None = None

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
    seconds: float | None = None,
    seeds: np.random.Generator | None = None,
) -> Attempt:
    """Fit a method; one that raises costs its own rows and nothing else, unless ``refuse`` lets the exception pass.

    A method of the user's own is contained (see `contained`): ``seconds`` is its time limit for each trial, ``seeds``
    seeds the global random generators. A lack of memory is no result and passes.
    """
    trials = shared.batch.index.trials
    try:
        found = _contained(method, shared, rng, every_term, seconds, seeds) if is_own(method) else fit(
            method, shared, rng, every_term
        )  # fmt: skip
        return Attempt(checked(found, trials))
    except MemoryError:
        raise
    except refuse:
        raise
    except FitTimeoutError as error:
        return Attempt(failed_estimates(trials, method.target, "timeout"), error)
    except InvalidResultError as error:
        return Attempt(failed_estimates(trials, method.target, "invalid_result"), error)
    except (Exception, SystemExit) as error:
        return Attempt(failed_estimates(trials, method.target, "error"), error)


def killed(method: Method, trials: int) -> Attempt:
    """What becomes of a method that ends the process it runs in."""
    error = RuntimeError("the method ended its process")
    return Attempt(failed_estimates(trials, method.target, "error"), error)


def _contained(
    method: Method, shared: SharedMoments, rng: np.random.Generator | None, every_term: bool,
    seconds: float | None, seeds: np.random.Generator | None,
) -> Estimates:  # fmt: skip
    """Fit a method of the user's own on data that it shares with nobody."""
    own = SharedMoments(apart(shared.batch))
    moments = own.moments(method.spec())
    limit, source = seconds_per_fit.set(seconds), global_seeds.set(seeds)
    together = None if seconds is None or method.times_itself else seconds * own.batch.index.trials
    try:
        with quiet(), limited(together), seeded() as drawn:
            found = method.fit(own.batch, moments, rng, every_term)
    finally:
        seconds_per_fit.reset(limit)
        global_seeds.reset(source)
    if not drawn[0] or not isinstance(found, Estimates) or not isinstance(found.flags, np.ndarray):
        return found
    return replace(found, flags=found.flags | BIT["global_random"])
