"""A stated allocation that cannot have given the arms: told with the reason, and never where it did give them."""

from itertools import product

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from reference import method
from trials import batch, fit, ragged

from simtrial.flags import BIT
from simtrial.generate.allocation.allocation import Allocation, allocate
from simtrial.generate.allocation.minimisation import steps_against
from simtrial.generate.allocation.permuted_blocks import count_fits, sequence_fits
from simtrial.generate.allocation.possible import doubts

TRIALS = 2000


def practices(sizes=(1, 41), seed=1):
    """Columns of the practices of many trials, and their trials."""
    rng = np.random.default_rng(seed)
    trial = np.repeat(np.arange(TRIALS), rng.integers(*sizes, TRIALS))
    columns = {"region": rng.integers(0, 3, len(trial)), "size": rng.integers(0, 2, len(trial))}
    return columns | {"people": rng.lognormal(3, 1, len(trial)), "rural": rng.normal(size=len(trial))}, trial


def told(options, columns, arm, trial):
    return doubts(options, columns, arm, trial, lambda name, practice: str(columns[name][practice]))


GIVEN = [
    {"method": "simple"},
    {"method": "simple", "ratio": [1, 3]},
    {"method": "complete"},
    {"method": "complete", "ratio": [2, 3]},
    {"method": "blocks"},
    {"method": "blocks", "factors": ["region", "size"]},
    {"method": "blocks", "factors": ["region"], "block_sizes": [4, 6, 10], "order": "random"},
    {"method": "blocks", "factors": ["region"], "strata": ["size"], "block_sizes": [3, 9], "ratio": [2, 1]},
    {"method": "blocks", "block_sizes": [2]},
    {"method": "minimisation", "factors": ["region", "size"]},
    {"method": "minimisation", "factors": ["region"], "best_arm_probability": 1.0},
    {"method": "minimisation", "factors": ["region", "size"], "best_arm_probability": 1.0, "order": "random"},
    {"method": "minimisation", "factors": ["region", "size"], "weights": {"size": 0.1}, "best_arm_probability": 1.0,
     "imbalance": "variance"},
    {"method": "minimisation", "factors": ["size", "region"], "ratio": [1, 2], "best_arm_probability": 0.95},
    {"method": "minimisation", "factors": ["size", "region"], "ratio": [3, 1], "best_arm_probability": 1.0},
    {"method": "minimisation", "factors": ["size", "region"], "imbalance": "marginal-sum"},
    {"method": "constrained", "numeric": ["people"], "candidates": 50},
    {"method": "constrained", "factors": ["region"], "numeric": ["people", "rural"], "candidates": 40, "share": 0.05},
    {"method": "constrained", "factors": ["region"], "candidates": 60, "share": 0.5, "ratio": [1, 2]},
]  # fmt: skip


@pytest.mark.parametrize("options", GIVEN, ids=lambda o: "-".join(map(str, o.values())))
def test_nothing_is_told_of_trials_that_the_allocation_gave(options):
    """2,000 trials of 1 to 40 practices each; where a chance is judged, 2 false alarms in 1,000 such tests."""
    stated = Allocation.model_validate(options)
    columns, trial = practices()
    arm = allocate(stated, columns, trial, np.random.default_rng(2))
    assert set(told(stated, columns, arm, trial)) == {""}


@pytest.mark.parametrize("options", [
    {"method": "complete", "intervention_practices": 7},
    {"method": "constrained", "numeric": ["people"], "candidates": 40, "intervention_practices": 7},
])  # fmt: skip
def test_nothing_is_told_where_the_number_in_intervention_is_stated(options):
    stated = Allocation.model_validate(options)
    columns, trial = practices(sizes=(8, 20))
    arm = allocate(stated, columns, trial, np.random.default_rng(2))
    assert set(told(stated, columns, arm, trial)) == {""}
    arm[np.flatnonzero(trial == 5)[np.argmin(arm[trial == 5])]] = 1
    found = told(stated, columns, arm, trial)
    assert np.flatnonzero(found != "").tolist() == [5]
    assert found[5].startswith(f"8 of {(trial == 5).sum()} practices are in intervention; intervention_practices = 7")


@pytest.mark.parametrize(("sizes", "ratio"), [
    ([2], (1, 1)), ([4], (1, 1)), ([2, 4], (1, 1)), ([4, 6], (1, 1)), ([3], (1, 2)), ([3, 6], (2, 1)), ([8], (3, 1)),
])  # fmt: skip
def test_blocks_are_told_apart_exactly(sizes, ratio):
    """All sequences of up to 9 practices against every sequence that blocks can give, made by hand."""
    possible: set[tuple[int, ...]] = {()}
    for size in sizes:
        treated = size * ratio[1] // sum(ratio)
        possible |= {s for s in product((0, 1), repeat=size) if sum(s) == treated}
    whole = {s for s in possible if s}
    grown, every = {()}, {()}
    while grown:
        grown = {a + b for a in grown for b in whole if len(a) < 9}
        every |= grown
    prefixes = {s[:n] for s in every for n in range(len(s) + 1)}
    for n in range(1, 10):
        sequences = np.array(list(product((0, 1), repeat=n)))
        group = np.repeat(np.arange(len(sequences)), n)
        found = sequence_fits(group, sequences.ravel(), sizes, ratio)
        assert found.tolist() == [tuple(s) in prefixes for s in sequences.tolist()]
        counts = {sum(s) for s in prefixes if len(s) == n}
        fits = count_fits(np.full(n + 1, n), np.arange(n + 1), sizes, ratio)
        assert fits.tolist() == [t in counts for t in range(n + 1)]


def test_sequences_need_not_lie_together():
    group, arm = np.array([0, 1, 0, 1, 0, 1, 0, 1]), np.array([1, 1, 1, 0, 0, 0, 0, 1])
    assert sequence_fits(group, arm, [2], (1, 1)).tolist() == [False, True]
    assert sequence_fits(group, arm, [4], (1, 1)).tolist() == [True, True]


def one(arm, **columns):
    """Judge one trial: arms of its practices in order, columns the allocation needs, and the options."""
    options = columns.pop("options")
    columns = {name: np.asarray(values) for name, values in columns.items()}
    arm = np.asarray(arm)
    (found,) = told(Allocation.model_validate(options), columns, arm, np.zeros(len(arm), dtype=np.intp))
    return found


TWENTY = [1] * 10 + [0] * 10


@pytest.mark.parametrize(("arm", "options", "said"), [
    ([1] * 12 + [0] * 8, {"method": "complete"}, "12 of 20 practices .* ratio = .1, 1. gives 10"),
    ([1] * 9 + [0] * 10 + [1, 1], {"method": "complete", "ratio": [2, 1]}, "11 of 21 .* gives 7"),
    ([1, 1, 0], {"method": "complete", "ratio": [1, 3]}, None),
    ([1, 0, 0], {"method": "complete", "ratio": [1, 3]}, "1 of 3 .* gives 2 or 3"),
    ([1] * 10 + [0] * 11, {"method": "complete"}, None),
    (TWENTY, {"method": "complete", "intervention_practices": 9}, "10 of 20 .* intervention_practices = 9 gives 9"),
    ([1] * 40, {"method": "simple"}, "40 of 40 practices .* coins of 0.5"),
    ([0] * 90 + [1] * 10, {"method": "simple"}, "10 of 100"),
    ([1] * 15, {"method": "simple"}, None),
    ([1] * 30, {"method": "simple", "ratio": [1, 3]}, None),
    ([1, 0, 1, 1, 1, 0], {"method": "blocks", "block_sizes": [2]}, "4 of 6 .*: blocks of 2 cannot"),
    ([1, 1, 0, 0], {"method": "blocks", "block_sizes": [2]}, "in their order, 1 1 0 0: .*order = 'random'"),
    ([1, 1, 0, 0], {"method": "blocks", "block_sizes": [2], "order": "random"}, None),
    ([1, 1, 0, 0], {"method": "blocks", "block_sizes": [2, 4]}, None),
    ([1, 1, 1, 0], {"method": "blocks", "block_sizes": [3], "ratio": [1, 2]}, "in their order, 1 1 1 0"),
])  # fmt: skip
def test_the_reason_is_told(arm, options, said):
    found = one(arm, options=options)
    if said is None:
        assert found == ""
    else:
        import re

        assert re.search(said, found), found


def test_the_stratum_that_is_out_of_balance_is_named():
    options = {"method": "blocks", "factors": ["region", "size"], "block_sizes": [4]}
    arm = [1, 0, 1, 0, 1, 1, 1, 0]
    region, size = [0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0, 0, 0]
    assert one(arm, region=region, size=size, options=options).startswith("3 of 4 practices with region 1 and size 0")


def test_minimisation_without_chance_is_followed_step_by_step():
    options = {"method": "minimisation", "factors": ["size"], "best_arm_probability": 1.0}
    assert one([1, 0, 0, 1], size=[0, 0, 0, 0], options=options) == ""
    assert one([1, 1, 0, 0], size=[0, 1, 0, 1], options=options) == ""
    assert "1 of the 3 practices" in one([1, 1, 0, 0], size=[0, 0, 0, 0], options=options)
    assert one([1, 1, 0, 0], size=[0, 0, 0, 0], options={**options, "order": "random"}) == ""


def test_minimisation_with_a_coin_is_doubted_when_a_million_trials_would_not_show_it():
    size = np.zeros(80, dtype=int)
    options = {"method": "minimisation", "factors": ["size"]}
    assert "practices for which one arm balanced better" in one([1] * 40 + [0] * 40, size=size, options=options)
    assert one([1, 0, 1, 1, 0, 0, 1, 0, 1, 0] * 8, size=size, options=options) == ""


def test_steps_against_the_preferred_arm_are_counted_by_hand():
    # tie; 0 preferred, given 1; 0 preferred (d = 2), given 0; 0 preferred (d = 1), given 0
    against, steps = steps_against(np.zeros((1, 4), dtype=int), np.array([1, 1, 0, 0]), np.zeros(4, dtype=int),
                                   weights=[1.0])  # fmt: skip
    assert (against.tolist(), steps.tolist()) == ([1], [3])


def test_a_scheme_that_is_not_among_the_best_is_doubted():
    people = np.arange(20.0)
    options = {"method": "constrained", "numeric": ["people"]}
    found = one(TWENTY, people=people, options=options)  # all small practices in one arm
    assert "100% of all schemes balance better" in found
    assert "not among the best 100 of 1000" in found
    assert one([0, 1, 1, 0] * 5, people=people, options=options) == ""
    assert one([1] * 11 + [0] * 9, people=people, options=options).startswith("11 of 20 practices")


def test_schemes_just_beyond_the_best_tenth_are_left_alone_and_those_well_beyond_are_not():
    """Of random schemes about one in ten is among the best tenth; the doubt begins well beyond it, before a fifth."""
    columns, trial = practices(sizes=(20, 21))
    columns, trial = {"people": columns["people"][:8000]}, trial[:8000]
    stated = Allocation.model_validate({"method": "constrained", "numeric": ["people"]})
    arm = allocate(Allocation(method="complete"), {}, trial, np.random.default_rng(4))
    share = (told(stated, columns, arm, trial) != "").mean()
    # between 1 - 0.2 and 1 - 0.1, give or take 4 errors of a share over 400 trials
    assert 0.8 - 0.08 < share < 0.9 + 0.06


def test_what_is_told_of_a_trial_does_not_depend_on_the_others():
    columns, trial = practices(sizes=(3, 12))
    arm = allocate(Allocation(method="simple"), {}, trial, np.random.default_rng(5))
    for options in ({"method": "constrained", "numeric": ["people"], "share": 0.05}, {"method": "complete"},
                    {"method": "blocks", "factors": ["region"]}):  # fmt: skip
        stated = Allocation.model_validate(options)
        together = told(stated, columns, arm, trial)
        assert 0 < (together != "").mean() < 1
        for t in range(0, TRIALS, 211):
            rows = trial == t
            mine = {name: values[rows] for name, values in columns.items()}
            assert told(stated, mine, arm[rows], np.zeros(rows.sum(), dtype=np.intp)).tolist() == [together[t]]


COMPLETE = {"method": "complete", "intervention_practices": 3}


def test_the_test_flags_the_trial_and_keeps_its_numbers():
    data = ragged(7, practices=12)
    found = fit(batch(data), method("randomisation-test", adjust=[], draws=99, allocation=COMPLETE), seed=1)
    assert found.flags[0] & BIT["impossible_allocation"]
    assert not found.failed[0]
    assert np.isfinite(found.p_value[0, 0])
    assert found.notes["reason"][0] == "6 of 12 practices are in intervention; intervention_practices = 3 gives 3"


@pytest.mark.parametrize(("allocation", "said"), [
    (None, "no allocation is stated"),
    ({"method": "minimisation", "factors": ["nowhere"]}, "no column 'nowhere'"),
    ({"method": "minimisation", "factors": ["age"]}, "'age' varies within practices"),
    ({"method": "constrained", "numeric": ["size"]}, "'size' is no number"),
    ({"method": "complete", "intervention_practices": 12}, "leaves no practice to control"),
])  # fmt: skip
def test_the_reason_is_told_where_the_allocation_cannot_be_replayed(allocation, said):
    found = fit(batch(ragged(6)), method("randomisation-test", adjust=[], draws=99, allocation=allocation), seed=1)
    assert found.flags[0] == BIT["no_allocation"]
    assert said in found.notes["reason"][0]


def test_analyse_prints_the_reason(tmp_path):
    data = ragged(7, practices=12)
    data = {name: values for name, values in data.items() if name != "trial"}
    pl.DataFrame(data).write_csv(tmp_path / "trial.csv")
    (tmp_path / "m.toml").write_text(
        '[allocation]\nmethod = "blocks"\nfactors = ["size"]\nblock_sizes = [2]\n'
        '[[methods]]\nname = "replayed"\nkind = "randomisation-test"\nadjust = []\ndraws = 99\n'
    )
    done = simtrial("analyse", tmp_path / "trial.csv", "--methods", tmp_path / "m.toml")
    assert done.code == 0
    assert "impossible_allocation" in done.out
    assert "blocks of 2 cannot give this" in " ".join(done.out.split())
    long = simtrial("analyse", tmp_path / "trial.csv", "--methods", tmp_path / "m.toml", "--format", "csv")
    assert '""reason"": ' in long.out


def test_a_run_counts_the_flag_and_its_own_allocation_never_earns_it(tmp_path):
    text = (
        'schema = 1\nname = "r"\nextends = "partners"\n[run]\nreplicates = 60\nblock = 60\n'
        '[[methods]]\nname = "own"\nkind = "randomisation-test"\ndraws = 99\n'
        '[[methods]]\nname = "other"\nkind = "randomisation-test"\ndraws = 99\n'
        'allocation = { method = "blocks", factors = ["region", "practice_size"], block_sizes = [2] }\n'
    )
    (tmp_path / "r.toml").write_text(text)
    done = simtrial("run", tmp_path / "r.toml", "-o", tmp_path / "out", "--format", "csv", "--engine", "serial")
    assert done.code == 0, done.err
    counts = pl.read_csv(done.out.encode(), infer_schema_length=None).filter(measure="flag:impossible_allocation")
    assert counts.filter(method="own").height == 0 or counts.filter(method="own")["value"].to_list() == [0]
    assert counts.filter(method="other")["value"].to_list()[0] > 30
