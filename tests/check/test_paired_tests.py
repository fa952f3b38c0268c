"""Paired tests against scipy and statsmodels, exact enumeration, and identities."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from simtrial.check.paired_tests import (
    detectable_share,
    holm,
    least_discordant,
    mcnemar,
    mean_shift,
    share_shift,
    tango,
)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (3, 9), (20, 0), (23, 0), (8, 8), (150, 110)])
def test_mcnemar_is_that_of_statsmodels_and_the_binomial_test(gained, lost):
    table = [[500, gained], [lost, 400]]
    assert mcnemar(gained, lost) == pytest.approx(sm_mcnemar(table, exact=True).pvalue if gained + lost else 1.0)
    if gained + lost:
        assert mcnemar(gained, lost) == pytest.approx(stats.binomtest(gained, gained + lost, 0.5).pvalue, rel=1e-9)


def test_holm_is_that_of_statsmodels():
    p = np.random.default_rng(1).uniform(size=40) ** 3
    p[7] = p[8]
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert holm(np.array([0.2])) == pytest.approx([0.2])


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_shift_is_the_paired_t_test_and_its_equivalence_test(seed):
    rng = np.random.default_rng(seed)
    before = rng.normal(size=60)
    now = before + rng.normal(0.1 * seed, 0.3, size=60)
    found = mean_shift(now - before)
    assert found.p == pytest.approx(stats.ttest_rel(now, before).pvalue)
    for margin in (0.05, 0.1, 0.3, 0.5):
        p = ttost_paired(now, before, -margin, margin)[0]
        assert found.inside(margin) == (p < 0.05)


def test_the_interval_of_paired_shares_is_the_score_interval():
    """Its statistic at no difference is McNemar's; the ends solve the score equation, by its maximum likelihood."""
    gained, lost, n = 12, 5, 200
    low, high = tango(gained, lost, n)
    z = stats.norm.ppf(0.95)
    for end, sign in ((low, 1), (high, -1)):
        grid = np.linspace(max(0.0, -end) + 1e-9, (1 - end) / 2 - 1e-9, 400_001)  # share lost, given the difference
        rest = np.log1p(-2 * grid - end)
        likelihood = gained * np.log(grid + end) + lost * np.log(grid) + (n - gained - lost) * rest
        other = grid[np.argmax(likelihood)]
        score = (gained - lost - n * end) / math.sqrt(n * (2 * other + end * (1 - end)))
        assert score == pytest.approx(sign * z, abs=2e-3)


def test_equivalence_of_shares_is_seldom_claimed_at_the_margin():
    """Exact probability, by enumeration, that the whole interval is inside a margin which the true difference is at."""
    n, margin = 150, 0.06
    for lost, least in ((0.01, 0.005), (0.05, 0.0), (0.15, 0.0)):
        gained = lost + margin
        total = 0.0
        for x, y in itertools.product(range(45), repeat=2):
            low, high = tango(x, y, n)
            if low > -margin and high < margin:
                total += stats.multinomial.pmf([x, y, n - x - y], n, [gained, lost, 1 - gained - lost])
        assert least <= total < 0.065, lost


def test_constant_differences_are_judged_by_the_sign_test():
    found = mean_shift(np.full(8, 0.25))
    assert (found.size, found.lower, found.upper, found.p) == (0.25, 0.25, 0.25, 2.0**-7)
    assert mean_shift(np.zeros(8)).p == 1.0
    assert mean_shift(np.zeros(8)).inside(1e-12)
    assert mean_shift(np.full(2000, 0.25)).p > 0  # no underflow
    assert mean_shift(np.array([0.25])).p == 1.0  # one replicate decides nothing
    assert not mean_shift(np.array([0.0])).inside(1.0)
    assert not mean_shift(np.array([1.0, np.inf, 2.0])).inside(10.0)


def test_the_smallest_detectable_shift_is_detected_in_nine_of_ten():
    rng = np.random.default_rng(3)
    n, level = 400, 1e-4
    spread = mean_shift(rng.normal(size=n)).spread
    shift = mean_shift(rng.normal(size=n)).detectable(0.0, level)
    theory = (stats.norm.isf(level / 2) + stats.norm.isf(0.1)) / math.sqrt(n)
    assert shift == pytest.approx(theory, rel=4 / math.sqrt(2 * n))  # 4 errors of an SD
    hits = [mean_shift(rng.normal(shift * spread, 1, size=n)).p < level for _ in range(400)]
    assert abs(np.mean(hits) - 0.9) < 0.1  # 4 Monte Carlo errors of 0.015, and 4% for the estimated spread


def test_the_replicates_that_decide_do():
    rng = np.random.default_rng(4)
    for true, margin in ((0.02, 0.05), (0.2, 0.05)):
        few = mean_shift(rng.normal(true, 1, size=50))
        few = few.__class__(**{**vars(few), "size": true, "spread": 1.0})
        n = few.enough(margin, 1e-4)
        many = [mean_shift(rng.normal(true, 1, size=int(n * 2))) for _ in range(100)]
        decided = [m.inside(margin) if true < margin else m.p < 1e-4 for m in many]
        assert np.mean(decided) > 0.7


@pytest.mark.parametrize("level", [0.05, 1e-3, 1e-5])
def test_the_least_number_of_discordant_pairs(level):
    k = least_discordant(level)
    assert mcnemar(k, 0) <= level < mcnemar(k - 1, 0)


@pytest.mark.parametrize("level", [0.05, 1e-3, 1e-5])
def test_the_detectable_share_is_detected_in_nine_of_ten(level):
    n = 2000
    power = stats.binom.sf(least_discordant(level) - 1, n, detectable_share(n, level))
    assert power == pytest.approx(0.9, abs=0.02)


def test_shares_of_nobody():
    assert share_shift(np.array([]), np.array([])).p == 1.0
    same = share_shift(np.ones(30), np.ones(30))
    assert (same.size, same.p) == (0.0, 1.0)
