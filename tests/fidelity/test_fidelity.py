"""Published facts and what they are in observed trials: each held against the same number found trial by trial."""

import dataclasses
import json

import numpy as np
import pytest
from commands import simtrial
from observed import trials, variables

from simtrial.batch import ObservedBatch
from simtrial.errors import SimtrialError
from simtrial.expressions import evaluate
from simtrial.fidelity import Fact, compared, facts, simulated, summary, without_columns
from simtrial.fidelity.analyses import Analysed, read_request
from simtrial.fidelity.quantities import SUBSETS, Described, quantity
from simtrial.generate import simulate
from simtrial.scenario import load


def test_the_list_is_whole() -> None:
    every = facts()
    assert len(every) >= 900
    assert len({f.id for f in every}) == len({f.quantity for f in every}) == len(every)
    assert {f.section for f in every} == {
        "flow", "table1", "table1 by arm", "table2", "table3", "icc", "adherence", "safety", "subgroups",
    }  # fmt: skip
    assert {f.calibrated for f in every if f.section in ("table1 by arm", "icc", "subgroups")} == {False}
    for fact in every:
        assert round(fact.value, fact.decimals) == fact.value, fact.id
    by = {f.id: f for f in every}
    assert (by["t1_age_all_sd"].value, by["t1_age_all_sd"].quantity) == (13.0, "sd:age:all")
    assert by["t3_swemwbs_change_int_mean"].value == 1.1  # printed without its point


def test_trials_with_every_column_show_every_fact() -> None:
    batch, every = trials(), facts()
    assert without_columns(every, variables()) == {}
    described, analysed = Described(batch), Analysed(batch, 1, "", 0)
    for fact in every:
        text = fact.quantity
        value = described.value(quantity(text)) if fact.described else analysed.value(read_request(text))
        assert value.shape == (batch.index.trials,), fact.id
        assert not np.isnan(value).all(), fact.id


def of_one(batch: ObservedBatch, trial: int, name: str, arm: int | None, subset: str = "") -> np.ndarray:
    """Values of a participant-level column in one trial, found without help from what is tested."""
    one = batch.only(trial)
    left, _, right = name.partition("-")
    values = np.array(one.at(left), dtype=float) - (one.at(right) if right else 0.0)
    kept = np.ones(len(values), dtype=bool) if arm is None else one.at("arm") == arm
    if subset:
        kept &= evaluate(SUBSETS[subset], one)
    return values[kept & ~np.isnan(values)]


def stata_quantile(values: np.ndarray, p: float) -> float:
    ordered, h = sorted(values), len(values) * p
    return float((ordered[int(h) - 1] + ordered[int(h)]) / 2 if h == int(h) else ordered[int(np.ceil(h)) - 1])


SAID = {
    "n": len, "sum": np.sum, "mean": np.mean, "sd": lambda x: np.std(x, ddof=1), "min": np.min, "max": np.max,
    "median": np.median, "q1": lambda x: stata_quantile(x, 0.25), "q3": lambda x: stata_quantile(x, 0.75),
}  # fmt: skip


@pytest.mark.parametrize("statistic", SAID)
@pytest.mark.parametrize(
    ("subject", "column", "arm", "subset"),
    [
        ("age", "age", "all", ""),
        ("wemwbs_change", "wemwbs_followup-wemwbs_baseline", "int", ""),
        ("mansa_followup", "mansa_followup", "ctl", "during"),
        ("mansa_baseline", "mansa_baseline", "int", "available"),
    ],
)
def test_statistics_against_one_trial_at_a_time(
    statistic: str, subject: str, column: str, arm: str, subset: str
) -> None:
    batch = trials()
    code = {"all": None, "int": 1, "ctl": 0}[arm]
    found = Described(batch).value(quantity(f"{statistic}:{subject}:{arm}:{subset}"))
    expected = [SAID[statistic](of_one(batch, t, column, code, subset)) for t in range(batch.index.trials)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_shares_leave_blanks_out() -> None:
    batch = trials()
    found = Described(batch).value(quantity("share:ethnicity=white:ctl"))
    for t in range(batch.index.trials):
        one = batch.only(t)
        codes = one.at("ethnicity")[one.at("arm") == 0]
        label = one.columns["ethnicity"].categories.index("white")
        assert found[t] == pytest.approx(100 * np.mean(codes[codes >= 0] == label))
    available = Described(batch).value(quantity("share:availability>=0.7:int"))
    offered = batch.only(2).columns["availability"].values
    assert available[2] == pytest.approx(100 * np.mean(offered[~np.isnan(offered)] >= 0.7))


def test_sizes_of_practices() -> None:
    batch = trials()
    described = Described(batch)
    one = batch.only(1)
    kept = evaluate(SUBSETS["analysed"], one) & (one.at("arm") == 1)
    sizes = np.bincount(one.index.participant_practice[kept])
    sizes = sizes[sizes > 0]
    assert described.value(quantity("n:size:int:analysed"))[1] == len(sizes)
    assert described.value(quantity("mean:size:int:analysed"))[1] == pytest.approx(sizes.mean())
    assert described.value(quantity("sd:size:int:analysed"))[1] == pytest.approx(sizes.std(ddof=1))
    practices, empty = (described.value(quantity(f"n:{q}")) for q in ("practices:int", "empty:int:analysed"))
    assert empty[1] == practices[1] - len(sizes)
    assert described.value(quantity("share:@analysed:int"))[1] == pytest.approx(
        100 * kept.sum() / (one.at("arm") == 1).sum()
    )


def test_what_trials_and_practices_count() -> None:
    batch = trials()
    described = Described(batch)
    gone = batch.columns["approached"].values - batch.columns["practices_recruited"].values
    np.testing.assert_allclose(described.value(quantity("sum:approached-practices_recruited")), gone)
    screened = described.value(quantity("sum:screened"))
    assert screened[3] == pytest.approx(batch.only(3).columns["screened"].values.sum())
    months = batch.only(4).at("recruitment_month")
    last = np.floor(months) == np.floor(np.nanmax(months))
    assert described.value(quantity("sum:last_month"))[4] == last.sum()


def test_nobody_leaves_a_blank_and_a_count_of_none() -> None:
    batch = trials()
    nobody = batch.with_columns(
        {"died": dataclasses.replace(batch.columns["died"], values=np.zeros(batch.index.participants))}
    )
    described = Described(nobody)
    assert not described.value(quantity("n:people:int:died")).any()
    for statistic in ("mean", "sd", "min", "max", "median", "share"):
        assert np.isnan(described.value(quantity(f"{statistic}:age:int:died"))).all()


@pytest.mark.parametrize("text", ["mode:age", "mean:age:both", "mean:age:all:nobody", "share:@nobody", "mean:a+b"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(SimtrialError, match="names no quantity"):
        quantity(text)


@pytest.mark.parametrize(
    "text", ["p:mansa", "p:mansa:half", "p:mansa:full:nobody", "wald:mansa:full", "icc:mansa:full"]
)
def test_analyses_that_are_none(text: str) -> None:
    with pytest.raises(SimtrialError, match="names no result"):
        read_request(text)


def test_facts_without_their_columns_say_which() -> None:
    every = [f for f in facts() if f.id in ("t1_age_all_mean", "t1_cluster_locality_somerset_all_pct")]
    there = {n: v for n, v in variables().items() if n != "age"}
    there["region"] = dataclasses.replace(there["region"], categories=("Birmingham",))
    told = without_columns(every, there)
    assert set(told.values()) == {"no column age", "region has no category Somerset"}


def test_printed_numbers_are_as_wide_as_their_last_digit() -> None:
    values = {name: np.arange(101.0) for name in ("in50", "half", "in95", "out", "none")}
    values["none"] = np.full(101, np.nan)
    made = [("in50", 50.0, 0), ("half", 75.4, 0), ("in95", 75.6, 0), ("out", 98.2, 1), ("none", 1.0, 0)]
    frame = compared([Fact(n, "s", v, "mean:age", n == "out", d) for n, v, d in made], values)
    assert frame["inside50"].to_list() == [True, True, False, False, None]
    assert frame["inside95"].to_list() == [True, True, True, False, None]
    assert frame["lower95"][0] == 2.5
    told = {(r["section"], r["calibrated"]): r for r in summary(frame).iter_rows(named=True)}
    assert told["s", False]["facts"] == 4
    assert told["all", False]["inside50"] == pytest.approx(200 / 3)
    assert told["all", True]["inside95"] == 0


def test_trials_are_those_of_a_run_and_blocks_are_joined() -> None:
    found, cells = load("partners", ["run.block=5"])
    chosen = [f for f in facts() if f.id in ("t1_age_all_mean", "t2_mansa_primary_mitt_effect_partial_estimate")]
    values = simulated(chosen, cells[0], 8)
    assert found.run.block == 5
    assert [len(v) for v in values.values()] == [8, 8]
    from simtrial.run.block import block_rows

    rows = block_rows(cells[0], 1)
    expected = rows.filter(rows["method"] == "primary, partial")["estimate"].to_numpy()[:3]
    np.testing.assert_array_equal(values["t2_mansa_primary_mitt_effect_partial_estimate"][5:], expected)


def test_every_published_count_occurs_in_trials() -> None:
    """No fact is 0 or blank in all of 50 trials unless published as 0: its column or its people would be lost."""
    cell = load("partners", ["run.block=50"])[1][0]
    chosen = [f for f in facts() if f.described and f.value != 0]
    values = simulated(chosen, cell, 50)
    assert not {f.id: f.value for f in chosen if not np.nan_to_num(values[f.id]).any()}


def test_people_without_a_score_are_those_with_a_blank() -> None:
    batch = simulate(load("partners")[1][0].scenario.mechanism, 40, 1, "", 0).observed()
    seen = batch.at("followed_up") == 1
    baseline, followup = (np.isnan(batch.at(f"mansa_{wave}")) for wave in ("baseline", "followup"))
    described = Described(batch)
    np.testing.assert_array_equal(described.members("incomplete"), seen & (baseline | followup))
    np.testing.assert_array_equal(described.members("incomplete_followup"), seen & followup)
    np.testing.assert_array_equal(described.members("analysed"), ~(baseline | followup))


def test_the_command() -> None:
    few = ("--replicates", 20, "--set", "run.block=20")
    table = simtrial("fidelity", *few)
    assert table.code == 0
    assert "Facts outside the central 95%" in table.out
    assert "outside" not in table.out.split("Facts outside the central 95%")[1]
    everything = simtrial("fidelity", "partners", *few, "--all")
    assert "t1_age_all_mean" in everything.out
    assert "outside" in everything.out.split("Every fact")[1]
    lines = simtrial("fidelity", *few, "--format", "csv").out.splitlines()
    assert lines[0] == "section,id,published,mean,lower50,upper50,lower95,upper95,inside50,inside95,calibrated"
    told = json.loads(simtrial("fidelity", *few, "--format", "json", "--seed", 3).out)["rows"]
    assert len(told) == len(lines) - 1
    assert {r["calibrated"] for r in told} == {True, False}
    assert "facts skipped" in table.err or not without_columns(facts(), load("partners")[0].variables)
