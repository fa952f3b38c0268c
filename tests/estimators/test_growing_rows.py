"""Rows that are put below others without copying them: what somebody holds never changes."""

import numpy as np
import pytest
from trials import batch, ragged

from simtrial.moments.build import moments
from simtrial.moments.growing import SPARE, Growing
from simtrial.moments.rows import Spec

FIRST = np.arange(6.0).reshape(2, 3)


def with_row(rows: Growing, value: float) -> Growing:
    """The same with a row of one number."""
    more = rows.grown()
    more.values[-1] = value
    return more


def test_rows_go_where_there_is_room() -> None:
    rows = Growing.of(FIRST, 3)
    whole = rows
    for number in range(SPARE):
        whole = with_row(whole, float(number))
    assert whole.values.base is rows.values.base
    np.testing.assert_array_equal(whole.values, np.vstack([FIRST, [[0.0] * 3, [1.0] * 3]]))
    np.testing.assert_array_equal(rows.values, FIRST)


@pytest.mark.parametrize("between", range(4))
def test_those_who_add_to_the_same_rows_do_not_meet(between: int) -> None:
    """One adds a row, others after it, and then somebody adds to what the first began with."""
    rows = Growing.of(FIRST, 3)
    one = with_row(rows, 7.0)
    for number in range(between):
        with_row(one, float(number))
    other = with_row(rows, 8.0)
    np.testing.assert_array_equal(one.values, np.vstack([FIRST, [[7.0] * 3]]))
    np.testing.assert_array_equal(other.values, np.vstack([FIRST, [[8.0] * 3]]))
    np.testing.assert_array_equal(rows.values, FIRST)


def test_a_full_array_is_copied() -> None:
    rows = Growing.of(np.empty((0, 3)), 3)
    held = []
    for number in range(7):
        rows = with_row(rows, float(number))
        held.append(rows.values)
    for number, values in enumerate(held):
        np.testing.assert_array_equal(values, np.repeat(np.arange(number + 1.0)[:, None], 3, axis=1))


def test_responses_added_to_the_same_regressors_stay_apart() -> None:
    observed, spec = batch(ragged(3)), Spec(outcome="mansa_followup", adjust=("mansa_baseline", "size"))
    x = moments(observed, spec).root
    regressors, values = x.design.copy(), np.random.default_rng(1).normal(size=(4, len(x.analysed.rows)))
    one, two = x.with_response(values[0]), x.with_response(values[1])
    three, four = one.with_response(values[2]), one.with_response(values[3])
    for found, own in ((one, [0]), (two, [1]), (three, [0, 2]), (four, [0, 3])):
        centred = values[own] - values[own].mean(axis=1, keepdims=True)
        np.testing.assert_allclose(found.design[x.regressors :], centred, atol=1e-13)
        np.testing.assert_array_equal(found.design[: x.regressors], regressors)
