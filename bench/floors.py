"""What the parts of a replicate need at least, in microseconds per trial: the floor that `cores.py` shows beside them.

A floor is arithmetic that no way of doing the part avoids, at the pace that this machine reaches in the same run:

- Drawing: the random numbers alone. The calls for them of one block are noted and made again, nothing is made of them.
- Sums by practice: one pass over the columns of the people analysed, which is timed, and products of deviations and of
  practice means, which are counted.
- Mixed model: six evaluations of the criterion with two derivatives (a value to begin with, four Newton steps, one at
  the end), and for Kenward and Roger five more weighted sums with their products, counted. Its grid is not in the
  floor: it is what certainty of the global minimum costs.
- CR2: leverage, its inverse root, weights and Bell and McCaffrey's sums of every practice, counted.
- A full replicate: all of these once; models of the same trials share them.

What is counted is additions and multiplications; logarithms, divisions, reading, writing and the calls of Python are
not in it. They go at half the pace of products of matrices of 64 by 64: those add and multiply in one instruction,
which the kernels never do, because results would then depend on the processor. Nothing as small as a trial comes near
that.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from simtrial.core import missing, using
from simtrial.generate import simulate
from simtrial.moments.moments import Moments
from simtrial.seeding import Stream

DRAWS = ("random", "standard_normal", "standard_gamma", "binomial", "integers", "poisson", "normal", "multinomial",
         "hypergeometric", "choice", "permutation", "permuted", "shuffle")  # fmt: skip
SIDE = 64
EVALUATIONS = 6

Call = tuple[str, tuple[Any, ...], dict[str, Any]]


class Noting(np.random.Generator):
    """A generator that notes what it is asked for."""

    calls: ClassVar[list[Call]] = []


def _noted(name: str) -> Callable[..., Any]:
    def call(self: Noting, *given: Any, **named: Any) -> Any:
        Noting.calls.append((name, given, named))
        return getattr(np.random.Generator, name)(self, *given, **named)

    return call


for _name in DRAWS:
    setattr(Noting, _name, _noted(_name))


def numbers_of(needed: Any, trials: int) -> list[Call]:
    """Calls for random numbers of one block."""
    module = importlib.import_module("simtrial.generate.simulate")
    plain = module.stream
    Noting.calls.clear()
    with using("numpy"), mock.patch.object(module, "stream", lambda *names: Noting(plain(*names).bit_generator)):
        simulate(needed, trials, 1, "", 0)
    return list(Noting.calls)


def drawing(calls: list[Call]) -> Callable[[], None]:
    """The random numbers of a block, and nothing else, by the quicker of the cores."""
    rng = Stream(np.random.SFC64(1))
    asked = [(getattr(rng, name), given, named) for name, given, named in calls]

    def draw() -> None:
        with using("compiled" if not missing() else "numpy"):
            for function, given, named in asked:
                function(*given, **named)

    return draw


def one_pass(found: Moments) -> Callable[[], None]:
    """Add up each column of the people analysed."""
    columns = np.ones((len(found.means), len(found.inner[0])))

    def add() -> None:
        columns.sum(axis=1)

    return add


def pace() -> Callable[[], float]:
    """Microseconds of one addition or multiplication, each an instruction of its own, measured when it is called."""
    one, out = np.ones((SIDE, SIDE)), np.empty((SIDE, SIDE))

    def measure(times: int = 200) -> float:
        begun = time.process_time()
        for _ in range(times):
            np.matmul(one, one, out=out)
        return (time.process_time() - begun) / times / SIDE**3 * 1e6

    return measure


def of_sums(found: Moments) -> float:
    """Additions and multiplications of a trial's sums, the pass over its rows aside."""
    q, varying, trials = len(found.means), len(found.varying), found.trials
    people, practices = len(found.inner[0]) / trials, found.means.shape[1] / trials
    return float(people * varying * (2 + varying) + practices * q * (q + 1))


def of_mixed_model(found: Moments) -> float:
    """Those of a fit by REML with Kenward and Roger's variance and df."""
    sums = found.size_sums()
    p, slots = sums.regressors, float((sums.counts > 0).sum(axis=0).mean())
    q = p + 1
    weighted = slots * q * (q + 1)  # one weight for each slot
    evaluation = 3 * weighted + 2 * p * q**2 + 2 * p**3 + 10 * p**2
    kenward_roger = 5 * slots * p * (p + 1) + 4 * p**3 + 20 * p**2
    return float(EVALUATIONS * evaluation + kenward_roger)


def of_sandwich(found: Moments) -> float:
    """Those of CR2 with its df."""
    _, positions, k, p = found.basis.shape
    leverage = 2 * k * p**2 + k * (k + 1) * p
    bell_mccaffrey = 2 * k * p + 2 * p**2 + p * (p + 1)
    return float(positions * (leverage + 4 * k * p + 30 * (k - 1) + bell_mccaffrey))
