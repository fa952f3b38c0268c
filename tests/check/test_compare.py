"""Comparisons with a baseline: verdicts on planted changes, and on everything that is out of the ordinary."""

import numpy as np
import polars as pl
import pytest
from gates import compared, line, rows, trials
from scipy import stats

from simtrial.check.compare import compare, pairs_of
from simtrial.performance import Options, performance
from simtrial.scenario.tables import Margins


def verdicts(found):
    return {x.measure: x.verdict for x in found.lines}


def test_the_same_rows_are_identical():
    found = compared(rows(trials()), rows(trials()))
    assert found.verdict == "identical"
    assert not found.rounded
    assert set(verdicts(found).values()) == {"identical"}
    assert set(verdicts(found)) == set(Margins().model_dump())


def test_rounding_is_identical_and_told():
    a = trials()
    noise = np.random.default_rng(2).uniform(-1e-10, 1e-10, size=1000)
    found = compared(rows(a), rows({**a, "estimate": a["estimate"] * (1 + noise)}))
    assert found.verdict == "identical"
    assert found.rounded


def test_an_estimate_near_zero_is_rounded_on_the_scale_of_its_error():
    a = trials()
    a["estimate"][:10] = 1e-14
    moved = a["estimate"].copy()
    moved[:10] = -3e-14
    assert compared(rows(a), rows({**a, "estimate": moved})).verdict == "identical"


def test_noise_above_rounding_is_equivalent():
    a = trials()
    noise = np.random.default_rng(2).normal(0, 1e-6, size=1000)
    assert compared(rows(a), rows({**a, "estimate": a["estimate"] + noise})).verdict == "equivalent"


@pytest.mark.parametrize("effect", [0.0, 2.0])
def test_a_bias_is_different_beyond_the_margin_and_equivalent_within(effect):
    a = trials(effect=effect)
    s = a["estimate"].std(ddof=1)
    small = compared(rows(a), rows({**a, "estimate": a["estimate"] + 0.02 * s}), truth=effect)
    assert small.verdict == "equivalent"  # though the power moves by 0.8 points, of which 1,000 trials decide nothing
    assert line(small, "bias").shift == pytest.approx(0.02)
    large = compared(rows(a), rows({**a, "estimate": a["estimate"] + 0.1 * s}), truth=effect)
    assert large.verdict == "different"
    assert line(large, "bias").verdict == "different"
    assert line(large, "bias").shift == pytest.approx(0.1)
    assert line(large, "empirical_se").verdict == "equivalent"
    assert (line(large, "bias").replicate, line(large, "bias").value_before) == (1, a["estimate"][0])


def test_another_divisor_is_caught_by_standard_errors_and_not_by_coverage():
    a = trials(df=22.0)
    found = compared(rows(a), rows({**a, "std_error": a["std_error"] * np.sqrt(22 / 24)}))
    assert found.verdict == "different"
    for measure in ("std_error", "model_se", "half_width"):
        assert line(found, measure).verdict == "different"
        assert line(found, measure).shift == pytest.approx(np.sqrt(22 / 24) - 1)
    assert line(found, "df").verdict == line(found, "bias").verdict == "identical"
    assert line(found, "coverage").verdict == "undecided"


def test_normal_quantiles_for_t_are_caught_though_df_are_infinite():
    a = trials()
    found = compared(rows(a), rows({**a, "df": np.full(1000, np.inf)}))
    assert verdicts(found)["half_width"] == verdicts(found)["df"] == "different"
    assert line(found, "df").shift == pytest.approx(stats.norm.ppf(0.975) / stats.t.ppf(0.975, 22) - 1)
    assert verdicts(found)["std_error"] == "identical"


def test_measures_are_those_of_performance():
    """Shifts of ratios and shares equal differences of the measures that the tables print."""
    a, b = trials(), trials()
    rng = np.random.default_rng(5)
    b["estimate"] = b["estimate"] * 1.1 + rng.normal(0, 0.2, size=1000)
    b["std_error"] = b["std_error"] * rng.uniform(0.8, 1.0, size=1000)
    found = compared(rows(a), rows(b))
    truths = pl.DataFrame({"cell": ["base"], "estimand": ["itt"], "true_value": [0.0], "true_value_mcse": [0.0]})
    one, other = (
        {m: v for m, v in performance(rows(x).with_columns(flags=pl.lit("")), truths)["measure", "value"].rows()}
        for x in (a, b)
    )
    assert line(found, "bias").shift == pytest.approx((other["bias"] - one["bias"]) / one["empirical_se"])
    assert line(found, "bias").now == pytest.approx(other["bias"])
    for measure in ("empirical_se", "model_se"):
        assert line(found, measure).shift == pytest.approx(other[measure] / one[measure] - 1)
        assert line(found, measure).now == pytest.approx(other[measure])
    for measure in ("coverage", "rejection_rate"):
        assert line(found, measure).shift == pytest.approx(other[measure] - one[measure])
        assert line(found, measure).before == pytest.approx(one[measure])


def test_the_error_of_a_ratio_of_empirical_ses_is_that_over_repeated_studies():
    rng = np.random.default_rng(6)
    sizes, errors = [], []
    for _ in range(300):
        e = rng.normal(size=300)
        other = e + rng.normal(0, 0.3, size=300)
        found = line(compared(rows({**trials(300), "estimate": e}), rows({**trials(300), "estimate": other})),
                     "empirical_se")  # fmt: skip
        sizes.append(np.log1p(found.shift))
        errors.append((np.log1p(found.upper) - np.log1p(found.lower)) / 2 / stats.t.ppf(0.95, 299))
    assert np.mean(errors) == pytest.approx(np.std(sizes, ddof=1), rel=4 / np.sqrt(2 * 300))  # 4 errors of an SD


def test_few_replicates_decide_nothing_and_say_how_many_would():
    a = trials(5)
    found = compared(rows(a), rows({**a, "estimate": a["estimate"] + 1.0}))
    assert found.verdict == "undecided"
    needed = line(found, "bias").enough
    assert 5 < needed < 30
    many = trials(int(needed))
    assert compared(rows(many), rows({**many, "estimate": many["estimate"] + 1.0})).verdict == "different"
    one = compared(rows(trials(1)), rows({**trials(1), "estimate": trials(1)["estimate"] + 1.0}))
    assert one.verdict == "undecided"
    assert any("one replicate" in note for note in one.notes)
    assert compared(rows(trials(1)), rows(trials(1))).verdict == "identical"


def with_failures(a, where):
    return {**a, "estimate": np.where(where, np.nan, a["estimate"])}


def test_failures():
    a, none, every = trials(), np.zeros(1000, bool), np.ones(1000, bool)
    third = np.arange(1000) % 3 == 0
    other = np.arange(1000) % 3 == 1
    found = compared(rows(a), rows(with_failures(a, third)))
    assert found.verdict == verdicts(found)["failures"] == "different"
    assert (found.failed_before, found.failed) == (0, 334)
    assert verdicts(found)["bias"] != "different"  # judged on the trials that both have
    balanced = compared(rows(with_failures(a, third)), rows(with_failures(a, other)))
    assert any("other replicates: 333 only now, 334 only in the baseline" in note for note in balanced.notes)
    gone = compared(rows(a), rows(with_failures(a, every)))
    assert gone.verdict == "different"
    both = compared(rows(with_failures(a, every)), rows(with_failures(a, every)))
    assert both.verdict == "identical"
    assert any("every fit failed" in note for note in both.notes)
    assert compared(rows(with_failures(a, none)), rows(a)).verdict == "identical"


def test_values_that_one_side_lacks():
    a = trials()
    frame = rows(a)
    lost = frame.with_columns(p_value=pl.lit(None, dtype=pl.Float64))
    found = compared(frame, lost)
    assert found.verdict == "different"
    assert line(found, "p_value missing").verdict == "different"
    assert line(found, "rejection_rate").verdict == "undecided" or line(found, "rejection_rate").shift == 0
    bare = frame.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in ("ci_lower", "ci_upper"))
    assert line(compared(frame, bare), "interval missing").verdict == "different"


def test_unbounded_intervals():
    a = trials()
    frame = rows(a, ci_type=["interval"] * 1000)
    first = pl.col("replicate") <= 100
    rays = frame.with_columns(ci_upper=pl.when(first).then(float("inf")).otherwise("ci_upper"),
                              ci_type=pl.when(first).then(pl.lit("ray")).otherwise("ci_type"))  # fmt: skip
    found = compared(frame, rays)
    assert line(found, "unbounded intervals").shift == pytest.approx(0.1)
    assert found.verdict == "different"
    assert compared(rays, rays).verdict == "identical"
    apart = rays.with_columns(ci_type=pl.when(pl.col("replicate") <= 200).then(pl.lit("two-rays")).otherwise("ci_type"))
    turned = compared(rays, apart)  # same ends, other sets
    assert turned.verdict == "different"


def test_estimates_that_do_not_vary_are_measured_in_standard_errors():
    a = {**trials(), "estimate": np.full(1000, 0.3)}
    found = compared(rows(a), rows({**a, "estimate": np.full(1000, 0.4)}))
    assert line(found, "bias").verdict == "different"
    assert line(found, "bias").shift == pytest.approx(0.1 / a["std_error"].mean())


def test_huge_and_tiny_numbers():
    for size in (1e200, 1e-200):
        a = {k: v * (1 if k == "df" else size) for k, v in trials().items()}
        moved = {**a, "estimate": a["estimate"] + 0.1 * size}
        found = compared(rows(a), rows(moved))
        assert line(found, "bias").shift == pytest.approx(0.1 / trials()["estimate"].std(ddof=1))
        assert found.verdict == "different"


def test_standard_errors_of_nought():
    a = {**trials(), "std_error": np.zeros(1000)}
    frame = rows(trials())
    assert compared(rows(a, "m"), rows(a, "m")).verdict == "identical"
    found = compared(frame, frame.with_columns(std_error=pl.lit(0.0)))
    assert line(found, "std_error of 0").verdict == "different"


def test_an_interval_off_its_estimate():
    frame = rows(trials())
    moved = frame.with_columns(pl.col("ci_lower") + 0.2, pl.col("ci_upper") + 0.2)
    found = compared(frame, moved)
    assert line(found, "interval centre").verdict == "different"
    assert line(found, "half_width").verdict == "equivalent"


def test_common_replicates_are_compared():
    more, fewer = rows(trials(1000)), rows(trials(1000)).head(600)
    assert compared(fewer, more).n == compared(more, fewer).n == 600
    assert any("600 replicates that both have (400 more in the run)" in n for n in compared(fewer, more).notes)
    shuffled = more.sample(fraction=1, shuffle=True, seed=1)
    assert compared(more, shuffled).verdict == "identical"


def test_margins_are_the_user_s():
    a = trials()
    moved = rows({**a, "estimate": a["estimate"] + 0.1})
    assert compared(rows(a), moved, margins={"bias": 0.2, "p_value": 1.0}).verdict == "equivalent"
    exact = rows({**a, "estimate": a["estimate"] + 1e-5})
    assert compared(rows(a), exact, margins={"bias": 0.0}).verdict == "different"


def test_the_family_is_everything_compared():
    """One method that changes a little among 60 that do not: p-values are adjusted for all of them."""
    rng = np.random.default_rng(9)
    a = trials()
    frames = [rows(a, f"m{i}") for i in range(60)]
    noisy = rows({**a, "estimate": a["estimate"] + rng.normal(0.12, 1.2, size=1000)}, "m0")
    pairs = pairs_of(pl.concat(frames), pl.concat([noisy, *frames[1:]]), {}, Options())
    found, level = compare(pairs, Margins().model_dump())
    assert level == pytest.approx(0.001 / sum(len(f.lines) for f in found))
    assert found[0].method == "m0"  # worst first
    shift = line(found[0], "bias")
    assert 1e-6 < shift.p < 0.001 < shift.adjusted_p
    alone = compared(frames[0], noisy)
    assert line(alone, "bias").adjusted_p < shift.adjusted_p


def test_unchanged_estimators_with_other_draws_raise_no_alarm():
    """As 20 imputations with other random numbers: at 14% missing they are 0.7% of the variance, an SD of 0.08."""
    rng = np.random.default_rng(10)
    for seed in range(100):
        a = trials(seed=seed, df=30.0)
        one, other = (
            {**a, "estimate": a["estimate"] + rng.normal(0, 0.08, size=1000),
             "std_error": a["std_error"] * np.exp(rng.normal(0, 0.03, size=1000)),
             "df": a["df"] * np.exp(rng.normal(0, 0.1, size=1000))} for _ in range(2)
        )  # fmt: skip
        assert compared(rows(one), rows(other)).verdict == "equivalent"
