"""Confidence sets that are no intervals: membership, width and misses, from rows of runs and of files."""

import json
from dataclasses import replace
from math import inf, nan
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from reference import method
from rows import made, measured, truths
from runs import go, quick, rows
from test_anderson_rubin import odd
from tomls import SMALL
from trials import batch, fit

from simtrial.errors import DataError
from simtrial.files.read_results import Reading, read_results
from simtrial.kernels.interval_sets import KINDS
from simtrial.performance import MEASURES, PAIRED, Options, Sample, performance

__all__ = ["quick"]

# estimate, lower, upper, kind, p: an interval about 2, two rays that hold 2 and two that do not (below and above the
# estimate's ray), a ray, the whole line, an empty set, and a fit that failed
SETS = [
    (2.0, 1.0, 3.0, "interval", 0.01),
    (-1.0, -0.5, 1.5, "two-rays", 0.03),
    (4.0, 0.5, 3.5, "two-rays", 0.02),
    (-3.0, -2.0, 5.0, "two-rays", 0.04),
    (1.0, 0.0, inf, "ray", 0.05),
    (1.5, -inf, inf, "whole-line", 0.5),
    (3.0, nan, nan, "empty", 0.001),
    (nan, nan, nan, "", nan),
]


def sets(p=False):
    e, low, high, kind, p_value = zip(*SETS, strict=True)
    blank = [None if v != v else v for v in p_value] if p else [None] * len(SETS)
    found = made("ar", {
        "estimate": [None if v != v else v for v in e], "std_error": [1.0] * len(SETS), "p_value": blank,
        "ci_lower": [None if v != v else v for v in low], "ci_upper": [None if v != v else v for v in high],
    })  # fmt: skip
    return found.with_columns(pl.Series("ci_type", kind))


def values(frame, truth=2.0):
    found = measured(performance(frame, truths(truth), Options()))
    return {name: value for (_, name), (value, _, _) in found.items()}


@pytest.mark.parametrize("kept", [pl.String, pl.Categorical])  # as frames are made, and as runs are read back
def test_measures_of_every_kind_of_set_by_hand(kept):
    found = values(sets().with_columns(pl.col("ci_type").cast(kept)))
    assert found["coverage"] == pytest.approx(4 / 7)  # 2 lies in [1, 3], from 1.5 on, from 0 on, and on the line
    assert found["worst_case_coverage"] == pytest.approx(4 / 8)
    # the second pair of rays holds 4, the estimate, so misses from above; the third from below; the empty set, whose
    # estimate is 3, from above
    assert (found["lower_miss"], found["upper_miss"]) == pytest.approx((2 / 7, 1 / 7))
    # the mean estimate is 7.5/7 = 1.07
    assert found["bias_eliminated_coverage"] == pytest.approx(3 / 7)
    # 0 is left out by [1, 3], by the gaps (-0.5, 1.5) and (-2, 5), and by the empty set; [0, inf) ends there
    assert found["rejection_rate"] == pytest.approx(4 / 7)
    assert found["mean_width"] == inf
    assert found["median_width"] == inf
    assert {n: v for n, v in found.items() if n.startswith("ci_type:")} == {
        "ci_type:two-rays": 3, "ci_type:ray": 1, "ci_type:whole-line": 1, "ci_type:empty": 1
    }  # fmt: skip


def test_the_median_width_counts_unbounded_sets_as_infinite():
    frame = sets().filter(pl.col("replicate").is_in([1, 2, 7]))  # widths 2, infinite, 0
    assert values(frame)["median_width"] == 2.0


def test_a_p_value_decides_where_there_is_one():
    assert values(sets(p=True))["rejection_rate"] == pytest.approx(5 / 7)


def test_a_row_against_true_values_of_its_own():
    frame = sets().with_columns(pl.Series("own_true_value", [4.0, 0.0, 4.0, -2.0, -1.0, 9.0, 3.0, 1.0]))
    found = {n: v for (_, n), (v, _, _) in
             measured(performance(frame, truths(None).with_columns(own=pl.lit(True)), Options())).items()}  # fmt: skip
    assert found["coverage"] == pytest.approx(3 / 7)  # 4 and -2 are ends or beyond, 9 is on the line
    assert (found["lower_miss"], found["upper_miss"]) == pytest.approx(
        (1 / 7, 2 / 7)
    )  # the empty set, whose estimate is the true value, is on neither side


def drawn(seed, n=400):
    """Draw sets of every kind, each with its estimate inside where there is an inside."""
    rng = np.random.default_rng([40, seed])
    kind = rng.choice(KINDS, n, p=[0.4, 0.2, 0.2, 0.1, 0.1])
    ends = np.sort(np.round(rng.normal(0, 2, (2, n)), 1), axis=0)
    low = np.where((kind == "ray") & (rng.random(n) < 0.5) | (kind == "whole-line"), -inf, ends[0])
    high = np.where((kind == "ray") & np.isfinite(low) | (kind == "whole-line"), inf, ends[1])
    low, high = (np.where(kind == "empty", nan, v) for v in (low, high))
    inside = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 0.0))
    estimate = np.where(kind == "two-rays", np.where(rng.random(n) < 0.5, low - 0.5, high + 0.5), inside)
    return kind, low, high, estimate


def holds(kind, low, high, value):
    """Say it in plain words, one set at a time."""
    if kind == "empty":
        return False
    if kind == "two-rays":
        return value <= low or value >= high
    return low <= value <= high


def sample(seed):
    kind, low, high, estimate = drawn(seed)
    n = len(kind)
    return kind, Sample(
        estimate=estimate, std_error=np.ones(n), ci_lower=low, ci_upper=high, p_value=np.full(n, nan),
        failed=np.zeros(n, dtype=bool), truth=0.3, apart=kind == "two-rays", empty=kind == "empty",
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_coverage_and_misses_add_to_one_and_are_those_of_a_plain_loop(seed):
    kind, drawn_sample = sample(seed)
    found = {name: MEASURES[name](drawn_sample, "robust").value for name in (
        "coverage", "lower_miss", "upper_miss", "rejection_rate", "bias_eliminated_coverage")}  # fmt: skip
    each = list(zip(kind, drawn_sample.ci_lower, drawn_sample.ci_upper, strict=True))
    assert found["coverage"] == pytest.approx(np.mean([holds(*one, 0.3) for one in each]))
    assert found["coverage"] + found["lower_miss"] + found["upper_miss"] == pytest.approx(1.0)
    assert found["rejection_rate"] == pytest.approx(np.mean([not holds(*one, 0.0) for one in each]))
    middle = drawn_sample.estimate.mean()
    assert found["bias_eliminated_coverage"] == pytest.approx(np.mean([holds(*one, middle) for one in each]))
    # the mirror image of everything swaps the misses
    turned = replace(
        drawn_sample, estimate=-drawn_sample.estimate, ci_lower=-drawn_sample.ci_upper, ci_upper=-drawn_sample.ci_lower,
        truth=-0.3,
    )  # fmt: skip
    swapped = [MEASURES[name](turned, "robust").value for name in ("coverage", "upper_miss", "lower_miss")]
    assert swapped == pytest.approx([found[name] for name in ("coverage", "lower_miss", "upper_miss")])


def test_replicates_keep_their_kind_when_some_are_chosen():
    _, whole = sample(1)
    some = np.array([3, 9, 4, 17])
    assert whole.only(some).covered.tolist() == whole.covered[some].tolist()
    assert whole.only(some).width.tolist() == whole.width[some].tolist()


def test_paired_measures_go_by_membership_and_leave_out_unbounded_widths():
    _, one = sample(2)
    other = replace(one, apart=np.zeros_like(one.apart))
    difference = PAIRED["coverage_difference"](one, other, "robust").value
    assert difference == pytest.approx(np.nanmean(one.covered) - np.nanmean(other.covered))
    assert PAIRED["width_difference"](one, other, "robust").n == np.isfinite(one.width).sum()


def test_without_kinds_every_set_is_the_interval_between_its_ends():
    plain = sets().filter(pl.col("ci_lower").is_not_null()).drop("ci_type")
    found = values(plain)
    between = [low <= 2 <= high for _, low, high, _, _ in SETS if low == low]
    assert found["coverage"] == pytest.approx(np.mean(between))
    assert not any(name.startswith("ci_type:") for name in found)


# --- results made elsewhere ---


def test_a_file_may_say_what_its_sets_are(tmp_path: Path) -> None:
    sets().filter(pl.col("status") == "ok").drop("status", "p_value").write_csv(tmp_path / "sets.csv")
    found = measured(performance(*read_results(tmp_path / "sets.csv", Reading(true="2")), Options()))
    assert found["ar", "coverage"][0] == pytest.approx(4 / 7)
    assert found["ar", "rejection_rate"][0] == pytest.approx(4 / 7)  # no p-value is made beside a set that is given
    sets().filter(pl.col("status") == "ok").drop("status", "ci_type").write_csv(tmp_path / "plain.csv")
    plain, _ = read_results(tmp_path / "plain.csv", Reading(true="2"))
    assert "ci_type" not in plain.columns


def test_a_word_that_names_no_kind_of_set_is_refused(tmp_path: Path) -> None:
    sets().with_columns(ci_type=pl.lit("two rays")).write_csv(tmp_path / "sets.csv")
    with pytest.raises(DataError, match=r"unknown ci_type 'two rays'; did you mean 'two-rays'\?"):
        read_results(tmp_path / "sets.csv", Reading(true="2"))


# --- runs ---

WEAK = SMALL.replace("number = 12", "number = 24").replace(
    "[mechanism.delivery]", "[mechanism.delivery]\ncontrol_access = 0.85"
)
AR = """
[[methods]]
name = "anderson-rubin"
kind = "iv"
estimand = "cace"
received = "sessions >= 6"
adjust = ["mansa_baseline"]
ci = "anderson-rubin"

[run]
"""


@pytest.mark.usefixtures("quick")
def test_a_run_with_a_weak_instrument_is_scored_by_membership(tmp_path: Path) -> None:
    """Scored as whole lines, as they once were, its sets would cover in more trials than hold the truth."""
    folder = tmp_path / "run"
    go(folder, 200, text=WEAK.replace("[run]\n", AR))
    stored = rows(folder).filter((pl.col("method") == "anderson-rubin") & (pl.col("status") == "ok"))
    kinds = stored["ci_type"].to_list()
    assert min(kinds.count(kind) for kind in ("interval", "two-rays", "whole-line")) >= 10
    apart = stored.filter(pl.col("ci_type") == "two-rays")
    assert apart.select(pl.col("ci_lower", "ci_upper").is_finite().all()).row(0) == (True, True)
    ends = list(zip(kinds, stored["ci_lower"], stored["ci_upper"], strict=True))
    zero = [holds(*one, 0.0) for one in ends]
    assert zero == (stored["p_value"] >= 0.05).to_list()
    assert [holds(*one, e) for one, e in zip(ends, stored["estimate"], strict=True)] == [True] * len(ends)
    truth = pl.read_parquet(folder / "cells.parquet").filter(pl.col("estimand") == "cace")["true_value"][0]
    inside = np.mean([holds(*one, truth) for one in ends])
    found = simtrial("summarise", folder, "--format", "csv")
    shown = pl.read_csv(found.out.encode()).filter(pl.col("method") == "anderson-rubin")
    shown = dict(shown.select("measure", "value").iter_rows())
    assert shown["coverage"] == pytest.approx(inside)
    assert inside < np.mean([kind == "two-rays" or holds(kind, low, high, truth) for kind, low, high in ends])
    assert shown["ci_type:two-rays"] == apart.height
    table = simtrial("summarise", folder).out
    assert "two-rays" in table
    assert "Coverage is by membership" in " ".join(table.split())


METHOD = """
[[methods]]
name = "anderson-rubin"
kind = "iv"
received = "received == 1"
response = "mansa"
adjust = []
ci = "anderson-rubin"
"""


def test_the_table_of_analyses_shows_both_rays(tmp_path: Path) -> None:
    asked = method("iv", adjust=[], received="received == 1", ci="anderson-rubin")
    seeds = (s for s in range(200) if fit(batch(odd(s)), asked).notes["ci_type"][0] == "two-rays")
    pl.DataFrame(odd(next(seeds))).write_csv(tmp_path / "trial.csv")
    (tmp_path / "methods.toml").write_text(METHOD)
    command = ("analyse", tmp_path / "trial.csv", "--methods", tmp_path / "methods.toml")
    (row,) = json.loads(simtrial(*command, "--format", "json").out)["rows"]
    assert json.loads(row["extra"])["ci_type"] == "two-rays"
    assert row["ci_lower"] < row["ci_upper"]
    shown = " ".join(simtrial(*command).out.split())
    assert f"-inf to {row['ci_lower']:.3f}, {row['ci_upper']:.3f} to inf" in shown
