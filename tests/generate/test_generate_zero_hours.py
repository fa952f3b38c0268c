"""Time use with a share of zeros: moments and correlation with the zeros, who they are, and what is refused.

Tolerances of draws are Z = 4.5 standard errors (`simulated.Z`): 7e-6 per check.
"""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import ndtri
from scipy.stats import gamma, norm
from simulated import assert_mean, assert_person_mean, draw, partners, published

from simtrial.generate.distributions.margins import (
    NODES,
    WEIGHTS,
    Margin,
    WithZeros,
    correlation_before,
    margin,
    positive_moments,
    with_zeros,
)

TUS = "outcomes.tus"
WIDE = {"highest": 1e6, "loading": 0.0, "icc_baseline": 0.0, "icc": 0.0, "outlier_probability": 0.0}


@pytest.mark.parametrize("share", [0.05, 0.2, 0.33])
def test_mean_sd_share_and_correlation_hold_with_the_zeros(share: float) -> None:
    batch = draw({TUS: {"zero_share": share, "outlier_probability": 0.0}}, trials=400)
    o = published()[TUS]
    scores = batch.at("tus_baseline"), batch.at("tus_if_control")
    before = (scores[0] - o["baseline_mean"]) / o["baseline_sd"]
    after = (scores[1] - o["baseline_mean"] - o["change"]) / o["followup_sd"]
    for score, standard in zip(scores, (before, after), strict=True):
        assert_person_mean((score == 0).astype(float), batch.index, share, sharp=0.01)
        assert_person_mean(standard, batch.index, 0.0, sharp=0.035)
        assert_person_mean(standard**2, batch.index, 1.0, sharp=0.08)
        assert np.min(score[score > 0]) >= 0.1
    assert_person_mean(before * after, batch.index, o["rho"], sharp=0.08)


def test_moments_above_zero_by_hand() -> None:
    """A quarter 0, the rest 4 or 8, half each: mean 4.5, SD sqrt((16 + 64)(3/8) - 4.5^2) = 3.12; above 0 6 and 2."""
    assert positive_moments(0.25, 4.5, np.sqrt(30 - 4.5**2)) == pytest.approx((6.0, 2.0))
    half = WithZeros(0.25, Margin("normal", 6.0, 2.0, -1e9, 1e9, 0.0))
    assert half.moments() == pytest.approx((4.5, np.sqrt(30 - 4.5**2)), rel=1e-6)


@pytest.mark.parametrize("shape", ["gamma", "normal"])
@pytest.mark.parametrize("share", [0.02, 0.15, 0.35])
def test_the_recorded_moments_are_those_asked_for(shape: str, share: float) -> None:
    """`margin` settles to 2e-4 SD of the positive part.

    A sum over nodes 0.001 apart misplaces every step of f by half a node at most, which moves E f by at most 0.0005
    times the sum of (density times height of the step); twice, as the moments are such sums themselves.
    """
    found = with_zeros(share, shape, 32.0, 25.0, 168.0, 0.1)  # type: ignore[arg-type]
    mean, sd = found.moments()
    assert mean == pytest.approx(32.0, abs=2e-4 * 25)
    assert sd == pytest.approx(25.0, abs=1e-3 * 25)
    values = found.record(found.score(NODES))
    for power, expected in ((values, mean), ((values - mean) ** 2, sd**2)):
        steps = norm.pdf(NODES[1:]) @ np.abs(np.diff(power))
        assert WEIGHTS @ power == pytest.approx(expected, abs=2 * 0.0005 * steps)


def test_zeros_are_the_lowest_of_the_same_score() -> None:
    found = with_zeros(0.2, "gamma", 32.0, 25.0, 168.0, 0.1)
    z = np.concatenate([NODES, ndtri(0.2) + np.array([-1e-9, 1e-9])])
    z.sort()
    values = found.record(found.score(z))
    assert np.all(np.diff(values) >= 0)
    assert np.array_equal(values == 0, z < ndtri(0.2))
    assert np.all(np.isfinite(values))


def test_positive_hours_are_gamma_above_the_lowest_step() -> None:
    """Quantiles of everybody against scipy's: F(y) = share + (1 - share) G(y), G continuous from 0."""
    found = with_zeros(0.2, "gamma", 32.0, 25.0, 1e9, 0.0)
    above, spread = positive_moments(0.2, 32.0, 25.0)
    shape = (above / spread) ** 2
    for p in (0.21, 0.3, 0.5, 0.9, 0.999):
        expected = gamma.ppf((p - 0.2) / 0.8, shape, scale=above / shape)
        # `margin` settles to 2e-4 SD; quantiles of its mean and SD are that much off
        assert found.score(np.array([ndtri(p)]))[0] == pytest.approx(expected, rel=2e-3, abs=0.01)


@pytest.mark.parametrize(("share", "rho"), [(0.25, -0.2), (0.25, 0.1), (0.25, 0.45), (0.25, 0.7), (0.37, 0.7)])
def test_the_correlation_found_gives_the_recorded_one_by_quadrature(share: float, rho: float) -> None:
    """Against E f(Z) g(r Z + sqrt(1 - r^2) W) as a sum over a grid of Z and W, instead of Hermite polynomials.

    Nodes of Z stand on either side of its step from 0, 35 hours or 1.4 SD high at a share of 0.37. The coefficients'
    own nodes misplace it by 0.0005 at most: that is 0.0005 times a density of 0.4 times 1.4 times 0.7, or 2e-4.
    """
    first = with_zeros(share, "gamma", 32.0, 25.0, 168.0, 0.1)
    second = with_zeros(0.3, "gamma", 26.0, 23.6, 168.0, 0.1)
    r = correlation_before(first, second, rho)
    nodes = ndtri(share) + 0.005 + 0.01 * np.arange(-800, 800)
    weights = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()
    given = np.array([weights @ second.record(second.score(r * z + np.sqrt(1 - r * r) * nodes)) for z in nodes])
    f = first.record(first.score(nodes))
    product = weights @ (f * given) - (weights @ f) * (weights @ given)
    assert product / (first.moments()[1] * second.moments()[1]) == pytest.approx(rho, abs=5e-4)


def test_correlation_of_the_scores_differs_with_and_without_zeros() -> None:
    """More than the check above can see: the zeros are taken into account."""
    plain, zeros = margin("gamma", 32.0, 25.0, 0.0, 168.0, 0.1), with_zeros(0.3, "gamma", 32.0, 25.0, 168.0, 0.1)
    assert abs(correlation_before(plain, plain, 0.45) - correlation_before(zeros, zeros, 0.45)) > 0.005


def test_the_effect_reaches_those_with_hours() -> None:
    """Mean effect (1 - share) effect; the share without hours is the same in both arms."""
    batch = draw({TUS: {**WIDE, "zero_share": 0.2, "effect": 4.0}}, trials=200)
    control, treated = batch.at("tus_if_control"), batch.at("tus_if_intervention")
    assert np.array_equal(control == 0, treated == 0)
    assert (treated - control)[control > 0] == pytest.approx(4.0)
    assert_mean(treated - control, 0.8 * 4.0, sharp=0.06)
    less = draw({TUS: {**WIDE, "zero_share": 0.2, "effect": -4.0}}, trials=20)
    control, treated = less.at("tus_if_control"), less.at("tus_if_intervention")
    assert np.array_equal(control == 0, treated == 0)
    assert np.min(treated[treated > 0]) == pytest.approx(0.1)


def test_without_zeros_nothing_changes() -> None:
    step = partners({TUS: {"zero_share": 0.0}})[TUS]
    o = published()[TUS]
    first = margin("gamma", o["baseline_mean"], o["baseline_sd"], 0.0, 168.0, 0.1)
    assert step._margins()[0] is first  # type: ignore[attr-defined]
    first_batch, second = draw(trials=10), draw({TUS: {"zero_share": 0.0}}, trials=10)
    assert np.array_equal(first_batch.at("tus_followup"), second.at("tus_followup"))


def test_zeros_come_from_the_scores_that_are_drawn_anyway() -> None:
    """With and without zeros the same people have the lower hours, in the same order."""
    options = {**WIDE, "grid": 0.0}
    plain, zeros = (draw({TUS: {**options, "zero_share": share}}, trials=20).at("tus_baseline") for share in (0.0, 0.2))
    assert np.all(np.diff(zeros[np.argsort(plain)]) >= 0)
    assert plain[zeros == 0].max() < plain[zeros > 0].min()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        # 24.8^2/(24.8^2 + 31.96^2)
        ({"zero_share": 0.3759}, r"zero_share lies between 0 and 0\.3758, where all others are alike; 0\.3759"),
        ({"zero_share": 0.99}, "zero_share lies between"),
        (
            {"zero_share": 0.3757, "grid": 5.0},
            r"leaves a mean of 51\.19 and an SD of .* between 0 and 0\.3758, not too",
        ),
        ({"zero_share": 0.101, "change": -20.0, "followup_sd": 4.0}, r"between 0 and 0\.1006"),
        ({"zero_share": 0.1, "lowest": 1.0}, "people with 0 hours, the lowest of the scale; lowest = 1"),
        ({"zero_share": 0.1, "shape": "normal", "grid": 0.0}, "need a grid"),
    ],
)
def test_impossible_shares_are_refused(options: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        partners({TUS: options})


def test_shares_up_to_the_range_told_are_accepted() -> None:
    """0.3757 of 0.3758: those with hours all have about 51."""
    step = partners({TUS: {"zero_share": 0.3757}})[TUS]
    first = step._margins()[0]  # type: ignore[attr-defined]
    above, spread = positive_moments(0.3757, 31.96, 24.80)
    assert above == pytest.approx(31.96 / 0.6243)
    assert 0.6243 * (spread**2 + above**2) - 31.96**2 == pytest.approx(24.80**2)
    assert first.moments() == pytest.approx((31.96, 24.80), abs=2e-4 * 24.80)
