"""Sets by inversion of resampling tests, against plain loops over draws, roots and the cells between them."""

import itertools

import numpy as np
import pytest

from simtrial.kernels.inverted_test import linear, not_rejected, quartic

ALPHA = 0.3


def polynomials(kind, rng, draws):
    """Arguments of one trial, and each draw's polynomial in x: as extreme where it is not negative."""
    y, d = rng.normal(size=draws), rng.normal(0.0, rng.choice([0.3, 1.0]), draws)
    if kind == "linear":
        own_d = rng.choice([0.5, 1.0])
        square = np.polynomial.Polynomial([0.0, own_d]) ** 2
        each = [np.polynomial.Polynomial([a, -b]) ** 2 - square for a, b in zip(y, d, strict=True)]
        return (y[:, None], d[:, None], np.zeros(1), np.array([own_d])), each
    spread = rng.uniform(0.2, 2.0, (2, draws))
    draw = np.stack([spread[0], rng.normal(0, 0.3, draws) * np.sqrt(spread[0] * spread[1]), spread[1]])
    own = np.array([1.0, rng.normal(0, 0.3), rng.uniform(0.02, 1.5)])
    each = [
        np.polynomial.Polynomial([a, -b]) ** 2 * np.polynomial.Polynomial(own)
        - np.polynomial.Polynomial([0.0, 0.0, 1.0]) * np.polynomial.Polynomial(c)
        for a, b, c in zip(y, d, draw.T, strict=True)
    ]
    return (y[:, None], d[:, None], draw[:, :, None], own[:, None]), each


def by_loop(each, there):
    """Pieces of the set: the number of draws as extreme is counted in every cell between the roots of all draws."""
    each = [one for one, counts in zip(each, there, strict=True) if counts]
    roots = np.sort([r.real for one in each for r in one.roots() if abs(r.imag) < 1e-9])
    edges = np.concatenate([[-np.inf], roots, [np.inf]])
    pieces = []
    for left, right in itertools.pairwise(edges):
        at = right - 1.0 if np.isinf(left) else left + 1.0 if np.isinf(right) else (left + right) / 2
        if (1 + sum(one(at) >= 0 for one in each)) / (1 + len(each)) > ALPHA:
            if pieces and pieces[-1][1] == left:
                pieces[-1][1] = right
            else:
                pieces.append([left, right])
    return pieces


def smallest(pieces):
    """The smallest set with a name that holds all pieces."""
    if not pieces:
        return "empty", np.nan, np.nan
    lower, upper = pieces[0][0], pieces[-1][1]
    if np.isinf(lower) and np.isinf(upper):
        if len(pieces) == 1:
            return "whole-line", lower, upper
        gaps = [(b[0] - a[1], a[1], b[0]) for a, b in itertools.pairwise(pieces)]
        return "two-rays", *max(gaps)[1:]
    return "ray" if np.isinf(lower) or np.isinf(upper) else "interval", lower, upper


@pytest.mark.parametrize("kind", ["linear", "quartic"])
def test_the_set_is_that_of_a_loop_over_cells(kind):
    """300 trials of 19 draws, some of which do not count: ends, kind and number of pieces, all kinds but one-sided."""
    seen, several = set(), 0
    for seed in range(300):
        rng = np.random.default_rng([5, seed])
        given, each = polynomials(kind, rng, 19)
        there = rng.random(19) < 0.9
        found, pieces = not_rejected(*(linear if kind == "linear" else quartic)(*given), there[:, None], ALPHA)
        expected = by_loop(each, there)
        name, lower, upper = smallest(expected)
        assert (found.kind[0], pieces[0]) == (name, len(expected)), seed
        assert (found.lower[0], found.upper[0]) == pytest.approx((lower, upper), rel=1e-6, abs=1e-6, nan_ok=True), seed
        seen.add(name)
        several += len(expected) > 1 + (name == "two-rays")
    assert seen >= {"interval", "whole-line", "two-rays"}
    assert several > 3


def test_trials_stand_side_by_side():
    parts = [polynomials("linear", np.random.default_rng(k), 29)[0] for k in range(5)]
    there = np.random.default_rng(9).random((29, 5)) < 0.8
    together = [np.concatenate(values, axis=-1) for values in zip(*parts, strict=True)]
    found, pieces = not_rejected(*linear(*together), there, 0.1)
    for k, part in enumerate(parts):
        alone, own = not_rejected(*linear(*part), there[:, [k]], 0.1)
        assert (found.lower[k], found.upper[k], found.kind[k], pieces[k]) == (
            alone.lower[0],
            alone.upper[0],
            alone.kind[0],
            own[0],
        )


def test_a_draw_that_is_the_trial_counts_everywhere_and_one_without_roots_never_changes():
    own_y, own_d = np.array([0.2]), np.array([1.0])
    y, d = np.array([[0.2], [-0.2], [5.0]]), np.array([[1.0], [-1.0], [0.0]])
    roots, extreme = linear(y, d, own_y, own_d)
    for at in (-1e6, -1.0, 0.2, 3.0, 1e6):
        assert extreme(np.full((3, 1), at))[:2].all()
    assert not np.isfinite(roots[:, 0]).all() or not np.isfinite(roots[:, 1]).all()
    found, pieces = not_rejected(roots, extreme, np.ones((3, 1), dtype=bool), 0.5)
    assert (found.kind[0], pieces[0]) == ("whole-line", 1)


def test_nothing_but_a_rejection_is_empty():
    """Every draw is smaller than the trial at every effect, and one in 20 is not enough."""
    roots, extreme = linear(np.zeros((19, 1)), np.zeros((19, 1)), np.ones(1), np.zeros(1))
    found, pieces = not_rejected(roots, extreme, np.ones((19, 1), dtype=bool), 0.06)
    assert (found.kind[0], pieces[0]) == ("empty", 0)
    assert np.isnan([found.lower[0], found.upper[0]]).all()
