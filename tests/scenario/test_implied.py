"""What `show` says a scenario implies: held against closed forms, simulation, and the trials themselves."""

import json
from collections.abc import Mapping
from math import exp, log, pi, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from simulated import Z, partners
from tomls import SMALL, complaint, written

from simtrial.generate import closed_form
from simtrial.generate.closed_form import exact_values as exact_of
from simtrial.report import resolved
from simtrial.run.implied import implied
from simtrial.run.implied_cuts import warnings
from simtrial.run.implied_people import Quantity
from simtrial.scenario import load

UNITS = """\
schema = 1
name = "units"
title = "An outcome in units of its own"
[mechanism.practices]
number = 20
cluster_size_mean = 10.0
cluster_size_cv = 0.5
[mechanism.baseline]
mean = 0.0
sd = 1.0
icc = 0.1
items = 0
[mechanism.allocation]
method = "complete"
[mechanism.delivery]
[mechanism.outcomes.mansa]
mean = 0.0
at_baseline = 0.0
baseline_slope = 0.5
residual_sd = 0.8
icc = 0.05
effect = 0.3
items = 0
[mechanism.dropout]
rate = 0.1
rate_intervention = 0.2
[[estimands]]
name = "itt"
kind = "itt"
[[methods]]
name = "model"
kind = "lmm"
[[methods]]
name = "unadjusted"
kind = "ols"
adjust = []
[run]
replicates = 20
block = 20
"""
MANSA = "mechanism.outcomes.mansa"

Found = Mapping[tuple[str, str, str], Quantity]


def found(folder: Path, *sets: str, text: str = UNITS) -> Found:
    cell = load(written(folder, text), sets)[1][0]
    return {(q.name, q.of, q.arm): q for q in implied(cell)}


def test_a_continuous_outcome_without_stated_ends_has_none(tmp_path: Path) -> None:
    """The case reported: mean 0, SD 1, items 0 was cut at 1 and 7, and the effect of 0.30 was 0.135."""
    q = found(tmp_path)
    assert (q["true_value", "itt", ""].value, q["true_value", "itt", ""].mcse) == (0.3, 0.0)
    assert warnings(load(written(tmp_path, UNITS))[1]) == []
    step = load(written(tmp_path, UNITS))[0].mechanism["outcomes.mansa"]
    assert (step.lowest, step.highest) == (None, None)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({}, (1.0, 7.0)),
        ({"items": 5}, (1.0, 7.0)),
        ({"items": 5, "lowest": 0.0}, (0.0, 7.0)),
        ({"items": 0}, (-np.inf, np.inf)),
        ({"items": 0, "lowest": 0.0}, (0.0, np.inf)),
        ({"items": 0, "highest": 9.0}, (-np.inf, 9.0)),
    ],
)
@pytest.mark.parametrize("stage", ["baseline", "outcomes.mansa"])
def test_ends_are_those_stated_or_of_the_ratings(
    options: dict[str, Any], ends: tuple[float, float], stage: str
) -> None:
    step = known_step(stage, options)
    assert step.ratings.ends == ends
    assert known_step(stage, step.model_dump()).ratings.ends == ends  # as a run directory or a cache reads it back


def known_step(stage: str, options: dict[str, Any]) -> Any:
    from simtrial.generate import steps

    return steps()[stage].model_validate(options)


def test_ends_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    assert "must exceed lowest" in complaint(tmp_path, UNITS, f"{MANSA}.lowest=2", f"{MANSA}.highest=2")
    assert "highest = 7 must exceed lowest = 10" in complaint(tmp_path, UNITS, f"{MANSA}.items=4", f"{MANSA}.lowest=10")


def test_exact_values_by_hand(tmp_path: Path) -> None:
    """Var 0.25 + 0.64; ICC (0.25 0.1 + 0.64 0.05)/0.89; correlation 0.5/sqrt(0.89)."""
    q = found(tmp_path)
    right = {
        ("mean", "mansa", ""): 0.0, ("sd", "mansa", ""): 1.0, ("icc", "mansa", ""): 0.1,
        ("mean", "mansa", "control"): 0.0, ("mean", "mansa", "intervention"): 0.3,
        ("sd", "mansa", "control"): sqrt(0.89), ("icc", "mansa", "intervention"): 0.057 / 0.89,
        ("baseline_correlation", "mansa", "control"): 0.5 / sqrt(0.89), ("cut", "mansa", "control"): 0.0,
        ("dropout", "", "control"): 0.1, ("dropout", "", "intervention"): 0.2,
        ("cluster_size_mean", "", ""): 10.0, ("cluster_size_cv", "", ""): 0.5,
    }  # fmt: skip
    for of, value in right.items():
        assert q[of].value == pytest.approx(value, abs=1e-12), of
        assert (q[of].mcse, q[of].effort) == (0.0, 0), of
    blank = q["no_outcome", "mansa", "intervention"]
    assert abs(blank.value - 0.2) < Z * blank.mcse


ODD: dict[str, list[str]] = {
    "as written": [],
    "arms differ": [f"{MANSA}.residual_sd_intervention=1.5", f"{MANSA}.icc_intervention=0.3"],
    "practices carry over": [f"{MANSA}.cluster_autocorrelation=0.8"],
    "engagement": [f"{MANSA}.engagement_correlation=0.5"],
    "far ends": [f"{MANSA}.lowest=-100", f"{MANSA}.highest=100", "mechanism.baseline.lowest=-100"],
    "no slope": [f"{MANSA}.baseline_slope=0"],
    "effect of some": [f"{MANSA}.effect_among=sessions >= 6"],
    "practices lost": ["mechanism.dropout.practice_rate=0.2"],
}


@pytest.mark.parametrize("sets", ODD.values(), ids=ODD)
def test_exact_values_are_those_simulated(sets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every closed form against simulation of the same thing, to 4.5 of its errors (7e-6 each, some 15 a mechanism)."""
    q = found(tmp_path, *sets)
    monkeypatch.setattr("simtrial.run.implied.exact_values", lambda mechanism: {})
    simulated = found(tmp_path, *sets)
    exact = [of for of in q if q[of].effort == 0 and simulated[of].effort]
    assert len(exact) >= 8
    for of in exact:
        there = simulated[of]
        assert abs(q[of].value - there.value) <= Z * there.mcse + 1e-12, (of, q[of].value, there)
        assert there.mcse < 0.05 * max(1.0, q[of].value)


NOT_PLAIN: dict[str, dict[str, Any]] = {
    "rounded": {"items": 11},
    "near ends": {"items": 0, "lowest": -2.0},
    "heavy tails": {"items": 0, "residuals": "t"},
    "regions": {"items": 0, "region_effects": {"Plymouth": 0.5}},
    "sizes": {"items": 0, "size_outcome": 0.2},
    "leavers": {"items": 0, "leavers_shift_control": -1.0},
}


@pytest.mark.parametrize("options", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_no_closed_form_is_given_where_it_does_not_hold(options: dict[str, Any]) -> None:
    mechanism = partners({"outcomes.mansa": {"lowest": None, "highest": None, **options},
                          "baseline": {"items": 0, "lowest": None, "highest": None},
                          "dropout": {"drawn_first": True, "slopes": {}}})  # fmt: skip
    assert ("sd", "mansa", "control") not in exact_of(mechanism)
    plain = partners({"outcomes.mansa": {"items": 0, "lowest": None, "highest": None, "effect_among": ""},
                      "baseline": {"items": 0, "lowest": None, "highest": None}})  # fmt: skip
    assert {("sd", "mansa", "control"), ("mean", "mansa", "intervention")} <= set(exact_of(plain))
    assert closed_form.FAR >= 9


def test_the_share_cut_is_that_of_the_normal_tails(tmp_path: Path) -> None:
    """Y ~ N(0, 0.89) and N(0.3, 0.89) outside -1 to 1; mean and SD of what is recorded by the clipped normal."""
    q = found(tmp_path, f"{MANSA}.lowest=-1", f"{MANSA}.highest=1")
    sd, normal = sqrt(0.89), NormalDist()
    for arm, mean in (("control", 0.0), ("intervention", 0.3)):
        share = normal.cdf((-1 - mean) / sd) + normal.cdf((mean - 1) / sd)
        cut = q["cut", "mansa", arm]
        assert abs(cut.value - share) < Z * cut.mcse < 0.03
        a, b = (-1 - mean) / sd, (1 - mean) / sd
        inside = mean * (normal.cdf(b) - normal.cdf(a)) + sd * (exp(-a * a / 2) - exp(-b * b / 2)) / sqrt(2 * pi)
        right = -normal.cdf(a) + 1 - normal.cdf(b) + inside
        recorded = q["mean", "mansa", arm]
        assert abs(recorded.value - right) < Z * recorded.mcse


def test_the_cut_of_a_rounded_score_is_counted_after_rounding(tmp_path: Path) -> None:
    """Steps of a half: only what rounds to -1.5 or 1.5 and beyond is cut at -1 and 1, P(|Y| > 1.25)."""
    q = found(tmp_path, f"{MANSA}.lowest=-1", f"{MANSA}.highest=1", f"{MANSA}.items=2")["cut", "mansa", "control"]
    assert abs(q.value - 2 * NormalDist(0, sqrt(0.89)).cdf(-1.25)) < Z * q.mcse


PARTS = {
    "mansa, both arms": ("outcomes.mansa", [f"{MANSA}.lowest=-1.5"], "if control"),
    "baseline": ("baseline", ["mechanism.baseline.highest=1.5"], "at baseline"),
    "ratings": ("outcomes.mansa", [f"{MANSA}.items=11"], "if offered"),
}


@pytest.mark.parametrize(("stage", "sets", "words"), PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("command", ["show", "run"])
def test_more_than_a_hundredth_cut_is_a_warning(
    stage: str, sets: list[str], words: str, command: str, tmp_path: Path
) -> None:
    file = written(tmp_path, UNITS)
    extra = ["-o", tmp_path / "run"] if command == "run" else []
    done = simtrial(command, file, *extra, *(a for s in sets for a in ("--set", s)))
    assert done.code == 0
    assert f"warning: [mechanism.{stage}] the ends of the scale cut" in done.err
    assert words in done.err
    assert "warning" not in simtrial(command, file, *(["-o", tmp_path / "other"] if extra else [])).err


def test_a_warning_of_a_sweep_names_the_worst_cell(tmp_path: Path) -> None:
    text = UNITS + f'\n[vary.cross]\n"{MANSA}.highest" = [1.0, 0.5, 50.0]\n'
    sentence = warnings(load(written(tmp_path, text))[1])
    assert len(sentence) == 1
    assert "in 2 of 3 cells, most in 'highest=0.5'" in sentence[0]


TUS = """
[mechanism.outcomes.tus]
baseline_mean = 30.0
baseline_sd = 20.0
change = 0.0
followup_sd = 20.0
rho = 0.5
lowest = 0.0
highest = 60.0
"""
WEMWBS = """
[mechanism.outcomes.wemwbs]
baseline_mean = 60.0
baseline_sd = 9.0
change = 0.0
followup_sd = 9.0
rho = 0.6
lowest = 14.0
highest = 70.0
"""


@pytest.mark.parametrize(("table", "name"), [(TUS, "tus"), (WEMWBS, "wemwbs"), (WEMWBS, "swemwbs")])
def test_instruments_tell_their_cuts_and_warn_where_an_effect_is_lost(table: str, name: str, tmp_path: Path) -> None:
    """The mean and SD recorded are those asked for however much is cut; an effect is not."""
    estimand = f'[[estimands]]\nname = "effect"\nkind = "itt"\nresponse = "{name}"\n[[methods]]'
    text = UNITS.replace("[mechanism.dropout]", table + "[mechanism.dropout]").replace("[[methods]]", estimand, 1)
    text = 'primary = "mansa"\n' + text.replace("adjust = []", f'adjust = []\nresponse = "{name}"\nestimand = "effect"')
    q = found(tmp_path, text=text)
    assert 0.01 < q["cut", name, "control"].value < 0.5
    assert warnings(load(written(tmp_path, text))[1]) == []
    stage = "tus" if name == "tus" else "wemwbs"
    with_effect = [f"mechanism.outcomes.{stage}.effect=8"]
    sentences = warnings(load(written(tmp_path, text), with_effect)[1])
    assert [s.split("]")[0] for s in sentences] == [f"[mechanism.outcomes.{stage}"]
    assert f"{name} if offered" in sentences[0]
    moved = found(tmp_path, *with_effect, text=text)
    assert moved["cut", name, "intervention"].value > moved["cut", name, "control"].value
    if name == "wemwbs":
        assert moved["true_value", "effect", ""].value < 8 - 10 * moved["true_value", "effect", ""].mcse


def test_the_error_is_the_spread_over_repeated_simulations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 repetitions of 2,000 people: their SD is known to 1/sqrt(118), 9%; z 4.5."""
    from simtrial.run import implied as module
    from simtrial.run import implied_cuts, implied_people

    monkeypatch.setattr(implied_people, "PEOPLE", 2000)
    monkeypatch.setattr(module, "exact_values", lambda mechanism: {})
    monkeypatch.setattr(module, "true_values", lambda *a, **k: [])
    rows = []
    for at in range(60):
        for draws in (implied_people, implied_cuts):
            monkeypatch.setattr(draws, "PURPOSE", f"implied {at}: ")
        rows.append(found(tmp_path, f"{MANSA}.highest=1.0"))
    for name in ("mean", "sd", "icc", "baseline_correlation", "cut", "no_outcome"):
        of = (name, "mansa", "control")
        values, errors = (np.array([getattr(r[of], part) for r in rows]) for part in ("value", "mcse"))
        ratio = values.std(ddof=1) / np.sqrt((errors**2).mean())
        assert abs(log(ratio)) < Z / sqrt(118) + 0.05, (name, ratio)


def test_show_of_a_sweep_says_that_the_file_as_written_is_no_cell(tmp_path: Path) -> None:
    swept = written(tmp_path, UNITS + f'\n[vary.cross]\n"{MANSA}.icc" = [0.0, 0.2]\n')
    found = simtrial("show", swept).out
    assert found.count(", of the file as written: no cell that is run") == 3
    alone = simtrial("show", written(tmp_path, UNITS)).out
    assert "Implied true values" in alone
    assert "as written" not in alone


def test_tables_within_tables_show_where_they_end() -> None:
    value = {"plymouth": {"target_reached": 3.0, "no_response": 4.0}, "cornwall": {"no_response": 1.0}, "adjust": []}
    shown = "plymouth = { target_reached = 3.0, no_response = 4.0 }, cornwall = { no_response = 1.0 }, adjust = []"
    assert resolved._text(value) == shown
    assert resolved._text(["a", ["b", "c"]]) == "a, [b, c]"
    assert resolved._text({"North": 2.0, "South": 1.0}) == "North = 2.0, South = 1.0"


def test_show_in_every_form(tmp_path: Path) -> None:
    text = UNITS + f'\n[vary.cross]\n"{MANSA}.icc" = [0.0, 0.05, 0.2]\n'
    file = written(tmp_path, text)
    table = simtrial("show", file)
    assert "Implied scores" in table.out
    assert "Implied by each cell" in table.out
    assert "icc=0.2" in table.out
    frame = pl.read_csv(simtrial("show", file, "--format", "csv").out.encode())
    assert set(frame["factors"]) == {"icc=0.0", "icc=0.05", "icc=0.2"}
    rows = json.loads(simtrial("show", file, "--format", "json").out)["implied"]
    assert len(rows) == frame.height
    sd = frame.filter((pl.col("quantity") == "icc") & (pl.col("arm") == "control"))
    assert sd["value"].to_list() == pytest.approx([0.025 / 0.89, 0.057 / 0.89, 0.153 / 0.89])


def test_true_values_shown_are_those_of_the_run(tmp_path: Path) -> None:
    file = written(tmp_path, UNITS)
    sets = ["--set", f"{MANSA}.lowest=-1"]
    shown = json.loads(simtrial("show", file, *sets, "--format", "json").out)["implied"]
    simtrial("run", file, "-o", tmp_path / "run", *sets)
    stored = pl.read_parquet(tmp_path / "run" / "cells.parquet")
    value = next(r for r in shown if r["quantity"] == "true_value")
    assert (value["value"], value["mcse"]) == (stored["true_value"][0], stored["true_value_mcse"][0])
    assert value["mcse"] > 0


def test_receipt_by_every_definition_in_the_file(tmp_path: Path) -> None:
    q = found(tmp_path, text=SMALL)
    mine = q["receipt", "sessions >= 6", "intervention"]
    assert 0.5 < mine.value < 0.8
    assert q["receipt", "sessions >= 6", "control"].value == 0
    assert q["receipt", "sessions >= 6", "control"].mcse > 0  # none of those seen, not known to be none
