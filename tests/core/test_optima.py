"""The compiled searches of the models with several variances: the same ends from the same starts, or none at all."""

from typing import Any

import numpy as np
import pytest
from cores import needs_compiled
from reference import method
from twins.designs import draw
from twins.product import made, observed

from simtrial import core
from simtrial.estimators.visit_rows import VisitData, prepare
from simtrial.generate import simulate
from simtrial.kernels import by_arm_fit, two_visits_fit
from simtrial.kernels.by_arm_criterion import ArmSums
from simtrial.kernels.two_visits_criterion import evaluate, expected_curvature, value
from simtrial.kernels.two_visits_starts import evaluate_at, roots, squares, starts_of
from simtrial.moments.build import moments
from simtrial.scenario import load

pytestmark = needs_compiled
ADJUST = ["mansa_baseline", "region"]


def batch(trials: int) -> Any:
    """Trials of the scenario `partners`."""
    return simulate(load("partners")[1][0].scenario.mechanism, trials, 1, "", 0).observed()


def visits(trials: int) -> VisitData:
    """Sums of both visits of these trials."""
    data = prepare(batch(trials), method("clda", adjust=ADJUST).spec(), "mansa_baseline")
    assert not data.failed.any()
    return data


def arms(trials: int) -> ArmSums:
    """Sums by arm of these trials."""
    found = batch(trials)
    return moments(found, method("lmm", adjust=ADJUST, heteroscedastic="both").spec()).by_arm


@pytest.mark.parametrize("reml", [True, False])
def test_criterion_of_two_visits_and_its_derivatives(reml: bool) -> None:
    sums = visits(9).sums
    found: dict[str, list[np.ndarray]] = {}
    with core.using("numpy"):
        who, starts = starts_of(sums, np.ones((9, 6), dtype=bool), reml)
    sums = sums.take(who)
    a, b = roots(starts)
    e = squares(starts)[0]
    for name in core.CORES:
        with core.using(name):
            at = evaluate(sums, e, b, reml)
            for part, numbers in {**vars(at), "curvature": expected_curvature(sums, e, at)}.items():
                found.setdefault(part, []).append(numbers)
    with core.using("numpy"):
        np.testing.assert_allclose(value(sums, e, b, reml), found["value"][0], rtol=1e-13)
    for part, (one, other) in found.items():
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-12 * np.abs(one).max(), err_msg=part)
    assert a.shape == b.shape


def test_ordinary_trials_are_certain() -> None:
    data = visits(40)
    free = np.ones((40, 6), dtype=bool)
    with core.using("compiled"):
        _, converged, sure = two_visits_fit._lowest(data.sums, free, True)
        assert converged[sure].all()
        assert sure.mean() > 0.9
        sums = arms(40)
        scale, beta = by_arm_fit._least_squares(sums)
        for by in ("residual", "cluster", "both"):
            less = by_arm_fit.less_least_squares(sums, beta)
            assert by_arm_fit._lowest(less, by, True, scale, by_arm_fit._held(sums, by))[2].mean() > 0.9


@pytest.mark.parametrize("name", core.CORES)
def test_a_trial_of_two_visits_has_the_same_numbers_whatever_stands_beside_it(name: core.Core) -> None:
    data = visits(5)
    with core.using(name):
        whole = two_visits_fit.fit(data.sums, data.unclustered, True)
        for order in (np.array([3]), np.array([4, 0]), np.arange(4, -1, -1)):
            part = two_visits_fit.fit(data.sums.take(order), data.unclustered[order], True)
            np.testing.assert_array_equal(part.e, whole.e[..., order])
            np.testing.assert_array_equal(part.u, whole.u[..., order])
            np.testing.assert_array_equal(part.at.inverse, whole.at.inverse[..., order])


def test_a_trial_by_arm_has_the_same_numbers_whatever_stands_beside_it() -> None:
    sums = arms(5)
    with core.using("compiled"):
        whole = by_arm_fit.fit(sums, "both", True)
        for order in (np.array([3]), np.array([4, 0]), np.arange(4, -1, -1)):
            np.testing.assert_allclose(
                by_arm_fit.fit(sums.take(order), "both", True).theta, whole.theta[:, order], rtol=1e-13
            )


@pytest.mark.parametrize("number", [3, 17, 25])
def test_what_is_not_certain_is_as_numpy_says(number: int) -> None:
    """Odd designs, among them residuals that nearly vanish: there every number is numpy's, but for the moments."""
    drawn = draw(11, number, 6)
    chosen = made("clda", drawn.adjust, drawn.subset, {})
    data = prepare(observed(drawn.trials), chosen.spec(), "mansa_baseline")
    usable = np.flatnonzero(~data.failed)
    sums, alone = data.sums.take(usable), data.unclustered[usable]
    free = np.ones((len(usable), 6), dtype=bool)
    free[:, 3:] &= ~alone[:, None]
    with core.using("compiled"):
        sure = two_visits_fit._lowest(sums, free, True)[2]
        found = two_visits_fit.fit(sums, alone, True)
    with core.using("numpy"):
        right = two_visits_fit.fit(sums, alone, True)
    assert not sure.all()
    np.testing.assert_array_equal(found.e[..., ~sure], right.e[..., ~sure])
    np.testing.assert_array_equal(found.at.inverse[..., ~sure], right.at.inverse[..., ~sure])
    np.testing.assert_array_equal(found.converged, right.converged)


def test_without_a_trial_there_is_nothing_to_do() -> None:
    data, nothing = visits(2), np.arange(0)
    with core.using("compiled"):
        sums = data.sums.take(nothing)
        assert evaluate_at(sums, np.empty((0, 6)), True).value.shape == (0,)
