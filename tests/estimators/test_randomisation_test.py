"""The randomisation test: full enumeration, intervals where the p-value crosses, size under minimisation."""

from itertools import combinations

import numpy as np
import pytest
import slow_twin
from reference import method
from trials import batch, fit, ragged

from simtrial.errors import ScenarioError
from simtrial.flags import BIT
from simtrial.kernels.randomisation_interval import interval
from simtrial.scenario import load, load_methods

COMPLETE = {"method": "complete"}


def replayed(data, adjust=(), draws=999, allocation=COMPLETE, seed=1, **options):
    chosen = method("randomisation-test", adjust=list(adjust), draws=draws, allocation=allocation, **options)
    return fit(batch(data), chosen, seed=seed)


def residual_means(data, covariates):
    """Cluster means of residuals of outcome and arm, from least squares on the covariates, by lstsq."""
    x = np.column_stack([np.ones(len(data["arm"])), *(data[name] for name in covariates)])
    both = np.column_stack([data["mansa_followup"], data["arm"]])
    rest = both - x @ np.linalg.lstsq(x, both, rcond=None)[0]
    practices = np.unique(data["practice"])
    return np.stack([rest[data["practice"] == j].mean(axis=0) for j in practices]).T


def scores(data, covariates):
    """Cluster sums of H^-1 r, r what is left by generalised least squares without arm, H by REML without arm."""
    x = np.column_stack([np.ones(len(data["arm"])), *(data[name] for name in covariates)])
    shared = slow_twin.same_practice(data["practice"])
    h = np.eye(len(x)) + slow_twin.optimum(data["mansa_followup"], x, shared) * shared
    both = np.column_stack([data["mansa_followup"], data["arm"]])
    solved = np.linalg.solve(h, x)
    rest = np.linalg.solve(h, both - x @ np.linalg.solve(solved.T @ x, solved.T @ both))
    return np.stack([rest[data["practice"] == j].sum(axis=0) for j in np.unique(data["practice"])]).T


STATISTICS = {"cluster-means": residual_means, "score": scores}


def enumerated(data, covariates, statistic="cluster-means"):
    """Statistics of outcome and arm as allocated, and under every allocation of half of the practices."""
    means = STATISTICS[statistic](data, covariates)
    count = means.shape[1]
    arm = np.array([data["arm"][data["practice"] == j][0] for j in range(count)]) == 1
    schemes = np.zeros((0, count), dtype=bool)
    for chosen in combinations(range(count), count // 2):
        schemes = np.vstack([schemes, np.isin(np.arange(count), chosen)])

    def difference(values, scheme):
        if statistic == "score":
            return values[scheme].sum()
        return values[scheme].mean() - values[~scheme].mean()

    own = [difference(values, arm) for values in means]
    return own, [np.array([difference(values, scheme) for scheme in schemes]) for values in means]


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("covariates", [(), ("mansa_baseline", "list_size")])
def test_the_p_value_is_that_of_every_possible_allocation(covariates, statistic):
    data = ragged(3, practices=10)
    (y, _), (every, _) = enumerated(data, covariates, statistic)
    truth = (np.abs(every) >= np.abs(y) - 1e-9).mean()
    found = replayed(data, covariates, draws=9999, statistic=statistic)
    # binomial with 9,999 draws; 4 standard errors: a false alarm in 15,000
    assert found.p_value[0, 0] == pytest.approx(truth, abs=4 * np.sqrt(truth * (1 - truth) / 9999) + 1e-4)
    assert found.extras["allocations"][0] == 252  # all of them: one is missed with chance 252 exp(-9999/252)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("covariates", [(), ("mansa_baseline", "list_size")])
def test_the_estimate_is_the_effect_at_which_the_statistic_is_zero(covariates, statistic):
    data = ragged(4, practices=10)
    (y, a), _ = enumerated(data, covariates, statistic)
    found = replayed(data, covariates, draws=99, statistic=statistic)
    assert found.estimate[0, 0] == pytest.approx(y / a, rel=1e-8)


def test_the_score_of_equal_practices_is_the_difference_of_their_means():
    data = ragged(6, practices=12)
    people = np.flatnonzero(np.arange(len(data["practice"])) - np.searchsorted(data["practice"], data["practice"]) < 1)
    equal = {name: np.repeat(values[people], 4) for name, values in data.items()}
    equal["mansa_followup"] = equal["mansa_followup"] + np.random.default_rng(1).normal(size=48)
    one, other = (replayed(equal, draws=199, statistic=statistic) for statistic in STATISTICS)
    for name in ("estimate", "p_value", "ci_lower", "ci_upper"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("covariates", [(), ("mansa_baseline", "list_size")])
def test_limits_are_where_the_p_value_crosses(seed, covariates):
    data = ragged(seed, practices=12)
    found = replayed(data, covariates, draws=199)

    def p_value(effect):
        moved = {**data, "mansa_followup": data["mansa_followup"] - effect * data["arm"]}
        return replayed(moved, covariates, draws=199).p_value[0, 0]

    for end, outwards in ((found.ci_lower[0, 0], -1), (found.ci_upper[0, 0], 1)):
        assert p_value(end - 1e-6 * outwards) > 0.05
        assert p_value(end + 1e-6 * outwards) <= 0.05


def test_limits_are_the_hull_where_draws_depend_on_the_arm_more_than_the_trial_does():
    rng = np.random.default_rng(1)
    draws, arm = rng.normal(size=(99, 40)), rng.normal(0, 0.8, (99, 40))
    own, there = np.ones(40), rng.random((99, 40)) < 0.9
    ends = interval(draws, arm, own, there, 0.3)
    for trial in range(40):
        grid = np.concatenate([np.linspace(-60, 60, 4001), ends[:, trial][np.isfinite(ends[:, trial])] * (1 - 1e-9)])
        extreme = np.abs(draws[:, [trial]] - grid * arm[:, [trial]]) >= np.abs(grid)
        p = (1 + (extreme & there[:, [trial]]).sum(axis=0)) / (1 + there[:, trial].sum())
        inside = grid[p > 0.3]
        assert (inside >= ends[0, trial] - 1e-9).all()
        assert (inside <= ends[1, trial] + 1e-9).all()
        for end in ends[:, trial][np.isfinite(ends[:, trial])]:
            assert np.isclose(inside, end, rtol=1e-6).any()


@pytest.mark.parametrize("statistic", STATISTICS)
def test_type_one_error_under_minimisation_is_the_nominal_one(statistic):
    """16 practices with effects of the factors balanced; 2,000 trials, 199 draws each.

    P(p <= .05) = .05 exactly with continuous outcomes, as the trial is one of 200 exchangeable allocations; 3.3 Monte
    Carlo errors: a false alarm in 1,000.
    """
    from simtrial.generate.allocation.minimisation import minimise

    rng, trials, practices = np.random.default_rng(5), 2000, 16
    trial = np.repeat(np.arange(trials), practices)
    region, size = rng.integers(0, 3, trials * practices), rng.integers(0, 2, trials * practices)
    arm = minimise(np.stack([region, size]), rng.random(len(trial)), trial, best=0.8)
    y = rng.normal(size=len(trial)) + 0.6 * region + 0.8 * size
    data = {"trial": trial, "practice": np.tile(np.arange(practices), trials), "arm": arm, "mansa_followup": y}
    data |= {"region": np.array(["a", "b", "c"])[region], "size": np.array(["l", "s"])[size]}
    if statistic == "score":  # unequal practices, which the score weighs
        row = np.repeat(np.arange(len(trial)), rng.integers(1, 6, len(trial)))
        data = {name: values[row] for name, values in data.items()}
        data["mansa_followup"] = data["mansa_followup"] + rng.normal(size=len(row))
    found = replayed(
        data, draws=199, statistic=statistic, allocation={"method": "minimisation", "factors": ["region", "size"]}
    )
    rejected = (found.p_value[0][~found.failed] <= 0.05).mean()
    assert not found.failed.any()
    assert rejected == pytest.approx(0.05, abs=3.3 * np.sqrt(0.05 * 0.95 / trials))
    assert ((found.p_value[0] > 0.05) == ((found.ci_lower[0] < 0) & (found.ci_upper[0] > 0))).all()


def test_practices_without_an_outcome_take_part_in_the_re_allocation():
    data = ragged(2, practices=8)
    gone = {**data, "mansa_followup": np.where(data["practice"] >= 6, np.nan, data["mansa_followup"])}
    found = replayed(gone, draws=4999)
    # 6 of 8 are seen, 4 of 8 treated: 70 allocations show all sets of 2 to 4 of the 6, 15 + 20 + 15
    assert found.extras["allocations"][0] == 50
    assert found.clusters_used[0] == 6


def test_few_distinct_allocations_are_flagged():
    found = replayed(ragged(5, practices=6), draws=199)
    assert found.extras["allocations"][0] == 20
    assert found.flags[0] & BIT["few_allocations"]
    assert not found.failed[0]
    assert np.isinf([found.ci_lower[0, 0], found.ci_upper[0, 0]]).all()  # p is at least 2/20
    assert found.flags[0] & BIT["unbounded_interval"]


@pytest.mark.parametrize("allocation", [
    None,
    {"method": "minimisation", "factors": ["nowhere"]},
    {"method": "minimisation", "factors": ["age"]},
    {"method": "constrained", "numeric": ["size"]},
    {"method": "complete", "intervention_practices": 12},
])  # fmt: skip
def test_an_allocation_that_cannot_be_replayed_is_a_status(allocation):
    found = replayed(ragged(6), allocation=allocation, draws=99)
    assert found.failed.tolist() == [True]
    assert found.flags[0] == BIT["no_allocation"]
    assert np.isnan([found.estimate[0, 0], found.p_value[0, 0], found.ci_lower[0, 0], found.std_error[0, 0]]).all()


@pytest.mark.parametrize("allocation", [
    {"method": "simple"}, {"method": "blocks", "factors": ["size"]},
    {"method": "constrained", "numeric": ["list_size"], "candidates": 20},
    {"method": "minimisation", "factors": ["size"], "order": "random"},
])  # fmt: skip
def test_every_scheme_can_be_replayed(allocation):
    found = replayed(ragged(7), ("mansa_baseline",), allocation=allocation, draws=199)
    assert not found.failed[0]
    assert found.ci_lower[0, 0] <= found.estimate[0, 0] <= found.ci_upper[0, 0]


def test_a_scenario_hands_its_allocation_over(tmp_path):
    file = tmp_path / "r.toml"
    file.write_text(
        'schema = 1\nname = "r"\nextends = "partners"\n[[methods]]\nname = "test"\nkind = "randomisation-test"\n'
    )
    scenario = load(str(file))[0]
    assert scenario.methods[0].allocation == scenario.mechanism["allocation"]
    assert {"region", "practice_size"} <= scenario.methods[0].reads()


def test_a_methods_file_states_the_allocation(tmp_path):
    file = tmp_path / "m.toml"
    table = 'primary = "mansa"\n[allocation]\nmethod = "minimisation"\nfactors = ["region"]\n'
    file.write_text(table + '[[methods]]\nname = "test"\nkind = "randomisation-test"\n')
    (chosen,) = load_methods(str(file))
    assert chosen.allocation.factors == ["region"]
    assert chosen.adjust == ["mansa_baseline", "region"]
    file.write_text(table.replace("minim", "maxim") + '[[methods]]\nname = "test"\nkind = "randomisation-test"\n')
    with pytest.raises(ScenarioError, match=r"m.toml:3: .*method"):
        load_methods(str(file))


def test_an_unknown_option_is_told_with_those_there_are(tmp_path):
    file = tmp_path / "m.toml"
    file.write_text('[[methods]]\nname = "test"\nkind = "randomisation-test"\ndrawz = 99\n')
    with pytest.raises(ScenarioError, match="did you mean 'draws'"):
        load_methods(str(file))


def test_inside_another_method_it_draws_by_itself():
    inner = {"kind": "randomisation-test", "draws": 99, "allocation": COMPLETE}
    chosen = method("per-protocol", keep="age >= 0", analysis=inner)
    first, again = (fit(batch(ragged(8)), chosen) for _ in range(2))
    assert first.p_value.tolist() == again.p_value.tolist()
    assert not first.failed[0]
