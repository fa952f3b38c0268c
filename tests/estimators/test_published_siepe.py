"""Covariance analysis, change scores and follow-up alone: the published table, and exact power by noncentral t."""

from math import hypot, sqrt

import numpy as np
import polars as pl
import pytest
from scipy import stats

from simtrial.run.block import block_rows
from simtrial.scenario import Cell, load

PUBLISHED = {  # (r, delta): rejection rates, then variances of the estimates, by ANCOVA, change and post; 10,000 each
    (0.0, 0.0): ((0.0447, 0.0508, 0.0464), (0.0393591, 0.0803905, 0.0390635)),
    (0.0, 0.2): ((0.1655, 0.1111, 0.1671), (0.0410019, 0.0815435, 0.0405811)),
    (0.0, 0.5): ((0.6907, 0.4137, 0.6940), (0.0405119, 0.0791579, 0.0400814)),
    (0.5, 0.0): ((0.0496, 0.0474, 0.0500), (0.0300935, 0.0392946, 0.0399133)),
    (0.5, 0.2): ((0.2108, 0.1715, 0.1646), (0.0302106, 0.0409626, 0.0388515)),
    (0.5, 0.5): ((0.8130, 0.6978, 0.6973), (0.0307530, 0.0401487, 0.0407127)),
    (0.7, 0.0): ((0.0487, 0.0503, 0.0500), (0.0205178, 0.0239307, 0.0396030)),
    (0.7, 0.2): ((0.2782, 0.2459, 0.1641), (0.0209454, 0.0240314, 0.0400775)),
    (0.7, 0.5): ((0.9296, 0.8913, 0.6944), (0.0209344, 0.0242557, 0.0398013)),
}
METHODS = ("ANCOVA", "change", "post")
N = 10_000


def power(variance: float | np.ndarray, delta: float, df: int) -> np.ndarray:
    """Two-sided rejection rate at 5% of an estimate with this variance."""
    ncp, limit = delta / np.sqrt(variance), stats.t.ppf(0.975, df)
    return np.asarray(stats.nct.sf(limit, df, ncp) + stats.nct.cdf(-limit, df, ncp))


def exact(method: str, r: float, delta: float) -> tuple[float, float]:
    """Rejection rate and variance of the estimate, two arms of 50 and SDs of 1.

    Given the baselines the ANCOVA estimate has variance (1 - r^2)(1/25 + D^2/W), D their difference between the arms
    and W their sum of squares within; D^2/W = F/(25 * 98) with F on 1 and 98 degrees of freedom, E F = 98/96.
    """
    if method != "ANCOVA":
        variance = 0.04 * (2 * (1 - r) if method == "change" else 1.0)
        return float(power(variance, delta, 98)), variance
    f = stats.f.ppf((np.arange(2000) + 0.5) / 2000, 1, 98)
    given = (1 - r**2) * 0.04 * (1 + f / 98)
    return float(power(given, delta, 97).mean()), (1 - r**2) * 0.04 * (1 + 1 / 96)


def of(cell: Cell) -> tuple[float, float]:
    """Correlation and effect of a cell."""
    options = cell.scenario.mechanism["outcomes.mansa"]
    return options.baseline_slope, options.effect  # type: ignore[attr-defined]


def found(cell: Cell, blocks: int) -> dict[str, tuple[float, float]]:
    """Rejection rate and variance of the estimate by method."""
    rows = pl.concat([block_rows(cell, block) for block in range(blocks)])
    assert (rows["status"] == "ok").all()
    parts = {m: rows.filter(method=m) for m in METHODS}
    return {m: (float((p["p_value"] < 0.05).to_numpy().mean()), float(np.var(p["estimate"].to_numpy(), ddof=1)))
            for m, p in parts.items()}  # fmt: skip


def errors(rate: float, variance: float, n: int) -> tuple[float, float]:
    """Monte Carlo errors of a rate and of a variance of normal estimates."""
    return sqrt(rate * (1 - rate) / n), variance * sqrt(2 / (n - 1))


def test_the_closed_forms_are_the_stated_ones():
    """Worked out elsewhere to four digits."""
    stated = {
        ("post", 0.0): (0.1677, 0.6969), ("change", 0.0): (0.1078, 0.4171), ("change", 0.5): (0.1677, 0.6969),
        ("change", 0.7): (0.2483, 0.8917), ("ANCOVA", 0.0): (0.1664, 0.6924), ("ANCOVA", 0.5): (0.2064, 0.8115),
        ("ANCOVA", 0.7): (0.2812, 0.9316),
    }  # fmt: skip
    for (method, r), rates in stated.items():
        assert [exact(method, r, d)[0] for d in (0.2, 0.5)] == pytest.approx(rates, abs=6e-5)
    assert [exact("ANCOVA", r, 0)[1] for r in (0, 0.5, 0.7)] == pytest.approx([0.0404, 0.0303, 0.0206], abs=5e-5)


def test_trials_are_two_arms_of_fifty_people_of_their_own():
    from simtrial.generate import simulate

    _, cells = load("published/siepe-2024")
    batch = simulate(cells[-1].scenario.mechanism, 200, 1, "", 0)
    assert batch.index.practices == batch.index.participants == 200 * 100
    assert (np.bincount(batch.index.participant_trial, weights=batch.at("arm")) == 50).all()
    before, after = batch.at("mansa_baseline"), batch.at("mansa_if_control")
    assert np.corrcoef(before, after)[0, 1] == pytest.approx(0.7, abs=4.5 * (1 - 0.49) / sqrt(20_000))
    for score in (before, after):
        assert score.mean() == pytest.approx(0, abs=4.5 / sqrt(20_000))
        assert score.std() == pytest.approx(1, abs=4.5 / sqrt(2 * 20_000))


def test_a_thousand_trials_meet_theory():
    """Three cells, 4.5 Monte Carlo errors: a false alarm in 7,000."""
    _, cells = load("published/siepe-2024")
    for cell in cells[2::3]:
        for method, values in found(cell, 4).items():
            theory = exact(method, *of(cell))
            for value, target, error in zip(values, theory, errors(*theory, 1000), strict=True):
                assert value == pytest.approx(target, abs=4.5 * error), (of(cell), method)


@pytest.mark.verify
def test_every_cell_meets_the_published_table_and_theory():
    """27 rates and 27 variances, each within 3.3 combined errors.

    Of 54 true differences 2.7 exceed 1.96 errors on average; more than 9 with probability 0.0005 if independent.
    """
    _, cells = load("published/siepe-2024")
    assert sorted(map(of, cells)) == sorted(PUBLISHED)
    beyond = {"published": 0, "theory": 0}
    for cell in cells:
        for at, (method, values) in enumerate(found(cell, N // 250).items()):
            theory = exact(method, *of(cell))
            mine = errors(*theory, N)
            for k, (value, error) in enumerate(zip(values, mine, strict=True)):
                printed = PUBLISHED[of(cell)][k][at]
                ratios = {
                    "published": abs(value - printed) / hypot(error, errors(printed, printed, N)[k]),
                    "theory": abs(value - theory[k]) / error,
                }
                for name, ratio in ratios.items():
                    assert ratio <= 3.3, (of(cell), method, k, name)
                    beyond[name] += ratio > 1.96
    assert max(beyond.values()) <= 9, beyond
