"""Likelihood of two classes by either core: value, score and information differ by rounding."""

from typing import Any

import numpy as np
import pytest
from cores import needs_compiled
from reference import method

from simtrial import core
from simtrial.generate import simulate
from simtrial.kernels.two_classes import People, Point, point
from simtrial.moments.build import moments
from simtrial.scenario import load

pytestmark = needs_compiled
CLOSE = 1e-11
"""Relative to the terms that are added up (`sizes_of`). Log odds of the classes, which are known to eps times their own
size, are below 1,000 with these parameters; a sum adds at most 2,000 terms of a few products each, and its error is
some eps times the root of their number."""


def drawn(rng: np.random.Generator, p: int, q: int, known: bool, most: int) -> People:
    """People of five trials, of which the second has no practice in this group."""
    practices = np.array([4, 0, 1, 7, 3])
    trial = np.repeat(np.arange(5), practices)
    sizes = rng.integers(1, most, len(trial))
    sizes[0] = 1
    practice = np.repeat(np.arange(len(trial)), sizes)
    n = len(practice)
    return People(
        outcome=rng.normal(size=n), first=rng.normal(size=(n, p)), other=rng.normal(size=(n, p)),
        predictors=rng.normal(size=(n, q)), in_first=(rng.random(n) < 0.5) * 1.0 if known else None,
        trial=trial[practice], practice=practice, practice_trial=trial, sizes=sizes.astype(float),
    )  # fmt: skip


def by_both(people: People, at: np.ndarray, nodes: int, derivatives: bool = True) -> tuple[Point, Point]:
    found = []
    for name in core.CORES:
        with core.using(name), np.errstate(all="ignore"):
            found.append(point(people, at, nodes, derivatives))
    return found[0], found[1]


def sizes_of(found: Point, people: People) -> tuple[np.ndarray, ...]:
    """Sizes of the terms of each field: of scores the root of their mean squares, which the information is made of."""
    n = np.bincount(people.trial, minlength=len(found.loglik))
    squares = sum(np.abs(np.einsum("tii->ti", matrix)) for matrix in (found.complete, found.missing)) + n[:, None]
    root = np.sqrt(squares)
    return np.abs(found.loglik) + n, np.sqrt(n)[:, None] * root, *[root[:, :, None] * root[:, None]] * 2


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("nodes", [1, 5, 15, 16, 101])
@pytest.mark.parametrize(("p", "q"), [(1, 0), (3, 1), (5, 3)])
def test_value_and_derivatives_agree(p: int, q: int, nodes: int, known: bool) -> None:
    rng = np.random.default_rng(100 * nodes + p)
    for turn in range(4):
        people = drawn(rng, p, q, known, 2 if turn == 0 else 12)
        at = rng.normal(size=(5, p + 2 + q))
        at[:, p] *= turn != 1  # no practice effect
        if turn == 2:
            at[:, p + 2 :] *= 30.0  # classes that predictors tell
        for derivatives in (True, False):
            one, other = by_both(people, at, nodes, derivatives)
            for size, ours, theirs in zip(sizes_of(one, people), vars(one).values(), vars(other).values(), strict=True):
                assert (np.abs(ours - theirs) <= CLOSE * size).all()
                assert np.any(ours) == (derivatives or ours.ndim == 1) or people.in_first is not None


def test_practices_of_more_people_than_factors_are_multiplied_at_once() -> None:
    rng = np.random.default_rng(1)
    people = drawn(rng, 2, 1, False, 1600)
    one, other = by_both(people, rng.normal(scale=0.5, size=(5, 5)), 15)
    assert people.sizes.max() > 1024
    for size, ours, theirs in zip(sizes_of(one, people), vars(one).values(), vars(other).values(), strict=True):
        assert (np.abs(ours - theirs) <= CLOSE * size).all()


def test_parameters_that_are_no_numbers_or_beyond_all_measure_spoil_their_own_trial_alone() -> None:
    rng = np.random.default_rng(2)
    people, at = drawn(rng, 2, 1, False, 9), rng.normal(size=(5, 5))
    good = by_both(people, at, 15)
    for column, value in ((0, np.nan), (3, -400.0), (2, 1e200), (3, 800.0), (0, np.inf)):
        odd = at.copy()
        odd[0, column] = value
        for found, whole in zip(by_both(people, odd, 15), good, strict=True):
            assert not np.isfinite(found.loglik[0]) or found.loglik[0] < -1e3 or value == 800.0
            np.testing.assert_array_equal(found.loglik[1:], whole.loglik[1:])
            np.testing.assert_array_equal(found.complete[1:], whole.complete[1:])


@pytest.mark.parametrize("options", [{}, {"nodes": 7}, {"adjust": []}], ids=str)
def test_estimates_of_the_mixture_agree(options: dict[str, Any]) -> None:
    """The optimum is where the score is 0 to the square of its own last step, so that rounding of it moves nobody."""
    scenario = load("partners")[1][0].scenario
    batch = simulate(scenario.needed, 60, 1, "", 0).observed()
    chosen = method("cace-mixture", **{"received": "sessions >= 6", "adjust": ["mansa_baseline"], **options})
    found = []
    for name in core.CORES:
        with core.using(name):
            found.append(chosen.fit(batch, moments(batch, chosen.spec()), np.random.default_rng(1), False))
    one, other = found
    np.testing.assert_array_equal(one.failed, other.failed)
    np.testing.assert_array_equal(one.flags, other.flags)
    fitted = ~one.failed
    assert fitted.mean() > 0.5
    for name in ("estimate", "std_error", "ci_lower", "ci_upper"):
        apart = np.abs(getattr(one, name)[0] - getattr(other, name)[0]) / one.std_error[0]
        assert apart[fitted].max() < 1e-11, name
