"""Predictive mean matching: the nearest by brute force, whom values come from, and where it has nobody."""

import numpy as np
import pytest
from odd_shapes import SHAPES, oddly_shaped
from reference import method
from trials import batch, fit, ragged

from simtrial.flags import text
from simtrial.kernels.nearest import Donors
from simtrial.moments.build import moments

Z = 4.0  # two-sided standard errors: a false alarm in 16,000 comparisons


@pytest.mark.parametrize("count", [1, 3, 8])
def test_donors_are_among_the_nearest_of_the_same_group(count):
    rng = np.random.default_rng(count)
    group, value = np.sort(rng.integers(0, 5, 60)), rng.normal(size=60)
    wanted_group, wanted = rng.integers(0, 5, 300), rng.normal(size=300) * 2
    donors = Donors.of(value, group, 5)
    taken = {at: set() for at in range(300)}
    for _ in range(120):
        for at, donor in enumerate(donors.drawn(wanted, wanted_group, count, rng).tolist()):
            taken[at].add(donor)
    for at in range(300):
        own = np.flatnonzero(group == wanted_group[at])
        nearest = own[np.argsort(np.abs(value[own] - wanted[at]))[:count]]
        assert taken[at] == set(nearest.tolist())  # one of 8 is missed in 120 draws once in 9 million times


def test_a_group_with_fewer_donors_gives_all_of_them():
    rng = np.random.default_rng(1)
    donors = Donors.of(np.array([1.0, 5.0, 2.0]), np.array([0, 0, 1]), 2)
    found = donors.drawn(np.zeros(400), np.repeat([0, 1], 200), 5, rng)
    assert set(found[:200].tolist()) == {0, 1}
    assert set(found[200:].tolist()) == {2}


def lacking(seed=8, practices=20, trials=1):
    rng, parts = np.random.default_rng(seed), []
    for at in range(trials):
        data = ragged(seed + at, practices=practices)
        people = len(data["arm"])
        data["mansa_followup"] = np.round(data["mansa_followup"], 1)
        for name, share in (("mansa_followup", 0.25), ("mansa_baseline", 0.1)):
            data[name] = np.where(rng.random(people) < share, np.nan, data[name])
        parts.append({"trial": np.full(people, at), **data})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def filled(data, **options):
    observed = batch(data)
    mi = method("mi", analysis={"kind": "lmm"}, imputation="pmm", adjust=["mansa_baseline", "size"], **options)
    engine = mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec())))
    return observed, engine, engine.complete(np.random.default_rng(1))


def test_values_are_those_of_others_of_the_same_trial():
    observed, engine, after = filled(lacking(trials=3))
    trial = observed.index.participant_trial
    seen = ~np.isnan(observed.at("mansa_baseline"))
    able = {"mansa_baseline": seen, "mansa_followup": seen & ~np.isnan(observed.at("mansa_followup"))}
    assert not engine.failed.any()
    for name in ("mansa_followup", "mansa_baseline"):
        before, values = observed.at(name), after.at(name)
        gone = np.isnan(before)
        assert np.array_equal(values[~gone], before[~gone])
        for t in range(3):
            assert set(values[gone & (trial == t)]) <= set(before[able[name] & (trial == t)])


def test_values_follow_covariates_and_practices():
    """An outcome that covariate and practice decide: the nearest donor is nearly right, a random one is not."""
    data, rng = lacking(practices=30), np.random.default_rng(2)
    people = len(data["arm"])
    effect = rng.normal(0, 1.5, 30)[data["practice"]]
    data["mansa_baseline"] = rng.normal(size=people)
    truth = data["mansa_baseline"] + effect + 0.05 * rng.normal(size=people)
    gone = rng.random(people) < 0.2
    data["mansa_followup"] = np.where(gone, np.nan, truth)
    _, _, after = filled(data, donors=1)
    error = (after.at("mansa_followup") - truth)[gone]
    alone = np.bincount(data["practice"][~gone], minlength=30)[data["practice"][gone]] == 0
    assert np.abs(error[~alone]).mean() < 0.25 * truth.std()


def test_the_mean_of_what_is_imputed_is_that_of_the_model():
    """Missing completely at random, and plenty of donors: means agree with the random-intercept engine."""
    data = lacking(seed=3, practices=40)
    observed = batch(data)
    gone = np.isnan(observed.at("mansa_followup"))
    found = {}
    for name in ("pmm", "random-intercept"):
        mi = method("mi", analysis={"kind": "lmm"}, imputation=name, adjust=["mansa_baseline", "size"])
        engine = mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec())))
        rng = np.random.default_rng(4)
        found[name] = np.array([engine.complete(rng).at("mansa_followup")[gone].mean() for _ in range(200)])
    means = [values.mean() for values in found.values()]
    error = np.hypot(*(values.std() / np.sqrt(200) for values in found.values()))
    spacing = 0.05 * np.nanstd(data["mansa_followup"])  # a donor among five of some 120 is this near, on either side
    assert abs(means[0] - means[1]) < Z * error + spacing


@pytest.mark.parametrize("by_arm", [False, True])
def test_it_ends_in_numbers(by_arm):
    found = fit(
        batch(lacking()), method("mi", analysis={"kind": "lmm"}, imputation="pmm", adjust=["mansa_baseline"],
                                 by_arm=by_arm, m=6)
    )  # fmt: skip
    assert not found.failed[0]
    assert found.n_used[0] == len(lacking()["arm"])


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes_end_in_numbers_or_a_status(shape):
    data, adjust = lacking(practices=14), ["mansa_baseline"]
    data, adjust = oddly_shaped(data, adjust, shape)
    found = fit(batch(data), method("mi", analysis={"kind": "lmm"}, imputation="pmm", adjust=adjust, m=4))
    assert found.failed[0] == np.isnan(found.std_error[0, 0])
    assert not found.failed[0] or (str(found.notes["message"][0]) and text(int(found.flags[0])))
