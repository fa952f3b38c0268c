"""What a grid says of the variance ratio holds, however far it reaches, and large practices are certain at once."""

import numpy as np
import pytest
from cores import needs_compiled
from hard_designs import Criterion, trial
from reference import method
from trials import batch

from simtrial import core
from simtrial.kernels import random_intercept_fit, ratio_search
from simtrial.kernels.ratio_survey import CAP, FAR, NEAR, grid_of, survey
from simtrial.moments.build import moments

REACHES = (1.0, NEAR, FAR, 1e5 * NEAR)


def plain_trial(practices, people, icc, seed):
    """Practices of about so many people, of which one has a single person."""
    rng = np.random.default_rng([practices, people, seed])
    sizes = np.append(1, rng.integers(people // 2, 2 * people, practices - 1))
    practice = np.repeat(np.arange(practices), sizes)
    effect = np.sqrt(icc / (1.0 - icc)) * rng.normal(size=practices)
    inner = rng.normal(size=len(practice))
    y = 0.5 * inner + effect[practice] + rng.normal(size=len(practice))
    return {"practice": practice, "arm": (practice % 2).astype(int), "inner": inner, "mansa_followup": y}


def sums_of(data, adjust=("inner",)):
    return random_intercept_fit.fit(moments(batch(data), method("lmm", adjust=list(adjust)).spec()).size_sums()).sums


def where(seen, gamma):
    """Whether a minimum at gamma lies where the grid admits one: in an open cell, on the border of one, or beyond."""
    t, cells = np.log(gamma + seen.shift), np.flatnonzero(seen.open[:, 0])
    inside = any(seen.nodes[c] - 1e-6 <= t <= seen.nodes[c + 1] + 1e-6 for c in cells)
    return inside or (t >= seen.last and bool(seen.beyond[0]))


def excluded(data, adjust, reach):
    """Fits of a trial whose global minimum, by a slow search, lies where the grid has excluded any."""
    sums, wrong = sums_of(data, adjust), []
    for reml in (True, False):
        nu = np.asarray(sums.rows - (sums.rank if reml else 0.0))
        seen = survey(sums, nu, reml, reach=reach)
        criterion = Criterion.of(data, adjust, reml)
        gamma, value = criterion.lowest()
        if gamma == 0.0 or not np.isfinite(seen.values[1:, 0]).all():
            continue
        if value > float(criterion(0.0)[0]) - 1e-8:
            continue  # no lower than 0, rounding apart
        if not where(seen, gamma):
            wrong.append((reml, gamma))
    return wrong


@pytest.mark.parametrize("reach", REACHES)
def test_no_grid_excludes_the_minimum_of_a_hard_trial(reach):
    found = {}
    for seed in range(70):
        kind, data, adjust = trial(seed)
        if kind != "perfect":  # what is left of a nearly perfect fit is taken out before a search
            found[seed] = excluded(data, adjust, reach)
    assert {seed: wrong for seed, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("reach", REACHES)
def test_no_grid_excludes_the_minimum_of_large_practices(reach):
    for people, icc in ((20, 0.5), (120, 0.05), (120, 0.3), (500, 0.01), (500, 0.9)):
        for seed in range(3):
            assert excluded(plain_trial(12, people, icc, seed), ["inner"], reach) == [], (people, icc, seed)


def test_the_grid_ends_at_a_ratio_of_sixteen_over_the_mean_size_or_at_one():
    for people in (2, 5, 15, 17, 40, 500):
        sums = sums_of(plain_trial(10, people, 0.05, 0))
        mean = float(sums.rows[0] / sums.counts.sum())
        for reach, end in ((NEAR, max(16.0 / mean, 1.0)), (FAR, max(1600.0 / mean, 100.0))):
            gamma, t, shift = grid_of(sums, reach)
            assert gamma[-1] == CAP
            assert gamma[-3] >= end * (1.0 - 1e-12)
            assert gamma[-4] < end
            assert np.exp(t) - shift == pytest.approx(gamma[:-1], rel=1e-9, abs=1e-12 * shift)


@pytest.mark.parametrize("people", [120, 250, 500])
@pytest.mark.parametrize("icc", [0.0, 0.01, 0.05, 0.2])
def test_large_practices_are_certain_at_once(people, icc):
    for seed in range(3):
        sums = sums_of(plain_trial(39, people, icc, seed))
        for reml in (True, False):
            nu = np.asarray(sums.rows - (sums.rank if reml else 0.0))
            assert survey(sums, nu, reml).one_stretch.all()


def by(monkeypatch, name):
    """Count the pieces that are searched without a grid, and how often."""
    made = []
    plain = ratio_search.isolate

    def kept(sums, nu, reml, shift, pieces, best=None):
        made.append(len(pieces))
        return plain(sums, nu, reml, shift, pieces, best)

    monkeypatch.setattr(ratio_search, "isolate", kept)
    return made, core.using(name)


@pytest.mark.parametrize("name", [pytest.param("compiled", marks=needs_compiled), "numpy"])
def test_where_practices_differ_much_the_second_grid_decides(monkeypatch, name):
    made, using = by(monkeypatch, name)
    data = [plain_trial(10, 8, icc, seed) for seed in range(4) for icc in (0.05, 0.8)]
    together = {n: np.concatenate([d[n] for d in data]) for n in data[0]}
    together["trial"] = np.repeat(np.arange(len(data)), [len(d["arm"]) for d in data])
    with using:
        every = random_intercept_fit.fit(sums_of(together))
        nu = np.asarray(every.sums.rows - every.sums.rank)
        beyond = survey(every.sums, nu, True).beyond
        assert 0 < beyond.sum() < len(data)
        assert not survey(every.sums, nu, True, reach=FAR).beyond.any()
        assert made == []
        for at, one in enumerate(data):
            alone = random_intercept_fit.fit(sums_of(one))
            assert every.gamma[at] == pytest.approx(alone.gamma[0], rel=1e-8, abs=1e-12)
            criterion = Criterion.of(one, ["inner"], True)
            assert float(criterion(every.gamma[at])[0]) <= criterion.lowest()[1] + 1e-8


def test_parts_of_a_survey_are_those_of_its_trials():
    data = plain_trial(10, 8, 0.2, 0)
    sums = sums_of({n: np.tile(v, 3) for n, v in data.items()} | {"trial": np.repeat(range(3), len(data["arm"]))})
    seen = survey(sums, np.asarray(sums.rows - sums.rank), True)
    chosen = seen.take(np.array([2, 0]))
    assert chosen.last == seen.last
    assert np.array_equal(chosen.values, seen.values[:, [2, 0]])
    assert np.array_equal(chosen.one_stretch, seen.one_stretch[[2, 0]])
    assert seen.take(np.array([], dtype=int)).beyond.shape == (0,)
