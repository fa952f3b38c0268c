"""Files of results that were misread once: tests/data/cases/summarise, after public reports about similar programs.

Right values are exact arithmetic on the files; each kind has further files of its own.
"""

import csv
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial

CASES = Path(__file__).parents[1] / "data" / "cases" / "summarise"
NAN = float("nan")


def scored(file, *arguments):
    """Long form of the command: (cell, method, measure) -> (value, mcse, n); and the line about the columns."""
    done = simtrial("summarise", file, *arguments, "--format", "csv")
    assert done.code == 0, done.err
    rows = csv.DictReader(io.StringIO(done.out))
    found = {(r["cell"], r["method"], r["measure"]): (float(r["value"] or "nan"), float(r["mcse"] or "nan"),
                                                      int(r["n"])) for r in rows}  # fmt: skip
    return found, done.err


def refused(file, *arguments):
    """One line that says why."""
    done = simtrial("summarise", file, *arguments)
    assert done.code == 2, done.out
    assert done.err.count("\n") == 1
    assert "fault of simtrial" not in done.err
    return done.err


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="r.csv"):
        file = tmp_path / name
        file.write_text(text.replace(" ", "\n"))
        return file

    return to_file


def table(header, n=30, **columns):
    """CSV of random results; columns are functions of the replicate number or constants."""
    rng = np.random.default_rng(5)
    lines = [header]
    for i in range(1, n + 1):
        row = []
        for name in header.split(","):
            value = columns.get(name, rng.normal(0.5, 0.1) if name not in ("rep",) else i)
            row.append(str(value(i) if callable(value) else value))
        lines.append(",".join(row))
    return "\n".join(lines) + "\n"


# --- the true value ---


@pytest.mark.parametrize("arguments", [("--true", "theta"), ("--true", "0.5"), ()])
def test_a_column_theta_beside_an_estimate_is_the_true_value(arguments):
    """truth-named-theta.csv: bias 0.1830 (0.0099), coverage 0.54."""
    found, err = scored(CASES / "truth-named-theta.csv", *arguments)
    bias, mcse, _ = found["base", "method", "bias"]
    assert (round(bias, 4), round(mcse, 4)) == (0.1830, 0.0099)
    assert found["base", "method", "coverage"][0] == 0.54
    assert "theta_hat → estimate" in err


def test_a_lone_theta_is_the_estimate(write):
    """As in rsimsum's relhaz: dataset, n, baseline, theta, se, model."""
    found, err = scored(write("dataset,theta,se,model 1,0.5,0.1,Cox 2,0.7,0.1,Cox"))
    assert found["base", "Cox", "mean_estimate"][0] == pytest.approx(0.6)
    assert "theta → estimate" in err


@pytest.mark.parametrize(("text", "arguments"), [
    ("rep,est,se,estimand 1,0.6,0.1,0.5 2,0.8,0.1,0.5", ()),  # as DeclareDesign names the true value
    ("rep,est,se,target 1,0.6,0.1,0.5 2,0.8,0.1,0.5", ()),
    ("sim_ID,estimate,std.error,estimand,inquiry 1,0.6,0.1,0.5,ATE 2,0.8,0.1,0.5,ATE", ()),
    ("rep,b,se,truth 1,0.6,0.1,0.5 2,0.8,0.1,0.5", ()),
    ("rep,b,se,true 1,0.6,0.1,0.5 2,0.8,0.1,0.5", ()),
    ("rep,b,se,true 1,0.6,0.1,0.1 2,0.8,0.1,0.2", ("--true", "0.5")),
    ("rep,est,beta,se 1,0.6,0.5,0.1 2,0.8,0.5,0.1", ("--true", "beta")),
    ("rep,estimate,est,se 1,0.5,0.6,0.1 2,0.5,0.8,0.1", ("--true", "estimate")),
    ("rep,p,est,se 1,0.5,0.6,0.1 2,0.5,0.8,0.1", ("--true", "p")),
    ("rep,theta,b_1,se_b_1,b_2,se_b_2 1,0.5,0.6,0.1,0.6,0.1 2,0.5,0.8,0.1,0.8,0.1", ()),
    ("rep,theta,b,se_b 1,0.5,0.6,0.1 2,0.5,0.8,0.1", ()),
])  # fmt: skip
def test_true_values_under_any_name(write, text, arguments):
    found, _ = scored(write(text), *arguments)
    values = {round(v[0], 9) for (_, _, measure), v in found.items() if measure == "bias"}
    assert values == {0.2}


@pytest.mark.parametrize(("text", "arguments", "message"), [
    ("rep,est,se,estimand 1,0.6,0.1,1 2,0.8,0.1,1", (), "true values (--true estimand) or labels"),
    ("rep,est,se,truth 1,0.6,0.1,a 2,0.8,0.1,b", (), "'true_value' must hold numbers; 'a' given"),
    ("rep,est,se,arm 1,0.6,0.1,a 2,0.8,0.1,b", ("--true", "arm"), "must hold numbers; 'a' given"),
    ("rep,est,se 1,0.6,0.1 2,0.8,0.1", ("--true", "nan"), "must be a finite number"),
    ("rep,est,se,truth 1,0.6,0.1,Inf 2,0.8,0.1,Inf", (), "a true value is not finite"),
    ("rep,est,se,x 1,0.6,0.1,1 2,0.8,0.1,1", ("--true", "x", "--by", "x"), "remove it from --by"),
    ("rep,est,se,x 1,0.6,0.1,1 2,0.8,0.1,1", ("--true", "0", "--map", "true_value=x"), "give one"),
    ("rep,est,se,true,truth 1,0.6,0.1,1,2 2,0.8,0.1,1,2", (), "could each be the true_value"),
])  # fmt: skip
def test_true_values_that_are_none_are_refused(write, text, arguments, message):
    assert message in refused(write(text), *arguments)


# --- one wild value ---


def test_standard_errors_of_nought_cost_one_dash():
    """zero-se-one-method.csv."""
    done = simtrial("summarise", CASES / "zero-se-one-method.csv", "--true", ".5")
    assert done.code == 0
    found, _ = scored(CASES / "zero-se-one-method.csv", "--true", ".5")
    assert found["base", "2.5", "relative_error_model_se"] == pytest.approx((NAN, NAN, 20), nan_ok=True)
    assert found["base", "2.5", "model_se"][0] == 0.0
    whole = pl.read_csv(CASES / "zero-se-one-method.csv")
    s, e = (whole.filter(method=1.0)[c].to_numpy() for c in ("se", "est"))
    expected = 100 * (np.sqrt(np.mean(s**2)) / np.std(e, ddof=1) - 1)
    assert found["base", "1.0", "relative_error_model_se"][0] == pytest.approx(expected)


@pytest.mark.parametrize("wild", ["1e200", "-1e200", "1e-170", "1.7e308"])
@pytest.mark.parametrize("form", ["robust", "jackknife", "normal"])
def test_one_wild_estimate_leaves_the_other_method_s_numbers_alone(write, wild, form):
    lines = [f"{i},{m},{0.1 * (i % 7)},0.2" for i in range(1, 21) for m in "AB"]
    lines[10] = f"6,A,{wild},0.2"
    file = write("rep,method,est,se " + " ".join(lines))
    found, _ = scored(file, "--true", "0.3", "--reference", "A", "--mcse", form)
    e = np.array([0.1 * (i % 7) for i in range(1, 21)])
    assert found["base", "B", "empirical_se"][0] == pytest.approx(e.std(ddof=1))
    assert simtrial("summarise", file).code == 0


def test_a_wild_value_does_not_widen_the_table(write):
    done = simtrial("summarise", write("rep,est,se 1,1e200,1e200 2,0.3,0.1 3,0.2,0.1 4,0.5,0.2"), "--true", "0")
    assert "2.500e+199" in done.out
    assert max(map(len, done.out.splitlines())) <= 120


# --- pairing ---


@pytest.mark.parametrize("option", [("--reference", "A"), ("--common",)])
def test_unequal_counts_without_replicates_are_not_paired(option):
    """unequal-without-replicate.csv."""
    err = refused(CASES / "unequal-without-replicate.csv", "--by", "fv_dist", "--true", "-0.5", *option)
    assert "no column of replicates, and unequal counts" in err
    assert "--map replicate=" in err


def test_without_a_comparison_unequal_counts_are_no_trouble():
    found, err = scored(CASES / "unequal-without-replicate.csv", "--by", "fv_dist", "--true", "-0.5")
    assert found["fv_dist=Gamma", "A", "bias"][2] == 60
    assert found["fv_dist=Gamma", "B", "bias"][2] == 55
    assert "no column of replicates" in err


@pytest.mark.parametrize(("text", "arguments", "message"), [
    ("id,method,est,se 1,A,1,1 2,A,2,1 3,B,1,1 4,B,2,1", ("--reference", "A"), "shares no replicate"),
    ("rep,method,est,se 1,A,1,1 ,A,2,1", (), "replicate is blank"),
    ("rep,method,est,se 1,A,1,1 1,,2,1", (), "method is blank"),
    ("rep,method,est,se 1,A,1,1 1.0,A,2,1 2,A,1,1", (), "replicate 1 has more than one row"),
    ("rep,method,dgm,est,se 1,A,x,1,1 1,A,x,2,1", (), "cell 'dgm=x', method 'A', replicate 1 has more than one row"),
    ("method,est,se A,1,1 A,2,1 B,1,1", ("--reference", "B"), "unequal counts"),
])  # fmt: skip
def test_rows_that_do_not_pair_are_refused(write, text, arguments, message):
    assert message in refused(write(text), *arguments)


def test_replicates_spelt_in_two_ways_pair(write):
    found, _ = scored(write("rep,method,est,se 1,A,1,1 2,A,2,1 3,A,4,1 1.0,B,2,1 2.0,B,3,1 3.0,B,5,1"),
                      "--reference", "A")  # fmt: skip
    assert found["base", "B", "bias_difference"] == (1.0, 0.0, 3)


# --- one test per row ---


def complement(found, cell="base", method="method"):
    return found[cell, method, "coverage"][0] + found[cell, method, "rejection_rate"][0]


def test_an_interval_that_is_given_is_the_test_as_well():
    """t-ci.csv: intervals by t with 3 df, judged before by p from z."""
    found, _ = scored(CASES / "t-ci.csv", "--true", "0")
    assert found["base", "method", "coverage"][0] == 0.9275
    assert complement(found) == 1.0


@pytest.mark.parametrize("given", ["interval", "df", "df and interval", "p", "se", "--df"])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_coverage_of_nought_and_rejection_add_to_one_whatever_is_given(tmp_path, given, level):
    """A t test with 4 df, true value 0, written out in part."""
    from scipy.stats import t

    rng = np.random.default_rng(3)
    e, s = rng.normal(0, 1, 400), np.sqrt(rng.chisquare(4, 400) / 4)
    half = t.isf((1 - level) / 2, 4) * s
    frame = pl.DataFrame({"rep": np.arange(400), "est": e, "se": s})
    if "interval" in given:
        frame = frame.with_columns(lci=pl.Series(e - half), uci=pl.Series(e + half))
    if "df" in given and given != "--df":
        frame = frame.with_columns(df=pl.lit(4.0))
    if given == "p":
        frame = frame.with_columns(p=pl.Series(2 * t.sf(np.abs(e / s), 4)))
    frame.write_csv(tmp_path / "r.csv")
    options = ("--df", "4") if given == "--df" else ()
    found, err = scored(tmp_path / "r.csv", "--true", "0", "--level", level, *options)
    reject = float((np.abs(e / s) > (t.isf((1 - level) / 2, 4) if given != "se" else 1)).mean())
    if given == "p":  # an interval by z would be another test's: none is made
        assert np.isnan(found["base", "method", "coverage"][0])
        assert found["base", "method", "rejection_rate"][0] == reject
        assert "no intervals computed" in err
    else:
        assert complement(found) == 1.0
        assert given == "se" or found["base", "method", "rejection_rate"][0] == reject


def test_p_values_of_the_normal_test_go_with_intervals_that_are_made(tmp_path):
    from scipy.stats import norm

    z = np.linspace(-3, 3, 101)
    pl.DataFrame({"rep": np.arange(101), "est": z, "se": 1.0, "p": np.round(2 * norm.sf(np.abs(z)), 4)}).write_csv(
        tmp_path / "r.csv"
    )
    found, err = scored(tmp_path / "r.csv", "--true", "0")
    assert complement(found) == 1.0
    assert err.count("\n") == 1


@pytest.mark.parametrize(("text", "arguments", "note"), [
    ("rep,est,se,lci,uci,p 1,1,0.5,-0.1,2.1,0.04 2,1,0.5,-0.1,2.1,0.06", (), "disagree about 0 in 1 of 2 rows"),
    ("rep,est,se,lci,uci 1,1,1,-0.645,2.645 2,2,1,0.355,3.645", (), "too little for 95%"),
    ("rep,est,se,lci,uci 1,1,1,-1,3 2,2,1,0,", (), "1 rows have one limit"),
    ("rep,est,se,lci,uci 1,1,1,-1,3 2,2,1,0,4 3,5,1,0,4", (), "1 of 3 intervals do not contain their own estimate"),
])  # fmt: skip
def test_what_does_not_go_together_is_noted(write, text, arguments, note):
    _, err = scored(write(text), *arguments)
    assert note in err


def test_intervals_on_another_scale_are_refused(write):
    """Odds ratios beside log odds."""
    assert "same scale" in refused(write("rep,est,se,lci,uci 1,0.1,1,0.2,5 2,-0.2,1,0.1,4 3,1.5,1,0.6,9"))


# --- columns ---


@pytest.mark.parametrize(("name", "bias"), [("long-b-se.csv", NAN), ("status-blank.csv", NAN), ("no-se.csv", NAN)])
def test_files_that_were_faults_are_read(name, bias):
    """long-b-se.csv, status-blank.csv, no-se.csv: means of the estimates by hand."""
    frame = pl.read_csv(CASES / name)
    estimate = "b" if "b" in frame.columns else "est"
    found, err = scored(CASES / name, "--true", "0.4")
    assert err.startswith(f"{name}: ")
    assert err.count("\n") == 1
    keys = ["dgm", "method"] if "dgm" in frame.columns else ["method"]
    for key, group in frame.group_by(keys):
        cell = f"dgm={key[0]}" if len(key) == 2 else "base"
        assert found[cell, key[-1], "mean_estimate"][0] == pytest.approx(group[estimate].mean())
        assert found[cell, key[-1], "failures"][0] == 0
    if name == "no-se.csv":
        assert np.isnan(found["base", "A", "coverage"][0])
    for option in (("--common",), ("--reference", frame["method"][0]), ("--mcse", "normal"), ("--format", "json")):
        assert simtrial("summarise", CASES / name, *option).code == 0


def test_every_factor_has_its_levels():
    """cell-dgm.csv: factors cell and dgm; dgm was blank."""
    done = simtrial("summarise", CASES / "cell-dgm.csv", "--true", ".5", "--format", "csv")
    found = pl.read_csv(io.StringIO(done.out))
    assert found.select("cell", "by:cell", "dgm").unique().sort("cell").rows() == [
        ("cell=1, dgm=x", 1, "x"), ("cell=2, dgm=y", 2, "y"),
    ]  # fmt: skip


OURS = ("df", "p", "status", "estimate", "method", "cell", "n", "se", "lower", "true", "estimand", "replicate", "flags",
        "value", "measure", "mc_lower", "i", "factors", "line", "mcse", "own_true_value", "ci_type")  # fmt: skip
LEVELS = (("3", "5"), ("low", "high"), ("0.1", "0.9"), ("-1", ""))


@pytest.mark.parametrize(
    ("name", "levels"),
    [*((name, LEVELS[at % 4]) for at, name in enumerate(OURS)), *((n, x) for n in ("df", "p") for x in LEVELS[2:])],
)
def test_a_factor_may_bear_any_name_of_ours(tmp_path, name, levels):
    """df.csv and others: what --by names is a factor and nothing else."""
    lines = [f"{level},{i},{m},{0.5 + 0.05 * (i % 5)},0.1" for level in levels for i in range(1, 9) for m in "AB"]
    file = tmp_path / "r.csv"
    file.write_text("\n".join([f"{name},repno,model,b,std.error", *lines]) + "\n")
    found, err = scored(file, "--by", name, "--true", "0.5")
    assert f"{name} → factor" in err
    for level in levels:
        value, _, n = found[f"{name}={level}", "A", "bias"]
        assert (round(value, 12), n) == (round(0.05 * sum(i % 5 for i in range(1, 9)) / 8, 12), 8)
        assert found[f"{name}={level}", "A", "coverage"][:2] == (found[f"{name}={level}", "B", "coverage"][:2])
    rows = json.loads(simtrial("summarise", file, "--by", name, "--format", "json").out)["rows"]
    taken = name in ("cell", "method", "estimand", "measure", "value", "mcse", "n", "mc_lower")
    assert {str(r[f"by:{name}" if taken else name] or "") for r in rows} == set(levels)


def test_a_factor_df_is_no_degrees_of_freedom():
    """df.csv: coverage .95, rejection 1.00 by the normal distribution."""
    found, _ = scored(CASES / "df.csv", "--by", "df", "--true", "0.5")
    frame = pl.read_csv(CASES / "df.csv")
    for (level, method), group in frame.group_by("df", "method"):
        e = group["est"].to_numpy()
        half = 1.959963984540054 * group["se"].to_numpy()
        covered = float(((e - half <= 0.5) & (0.5 <= e + half)).mean())
        assert found[f"df={level:g}", method, "coverage"][0] == covered
    values = [v[0] for (_, _, m), v in found.items() if m == "rejection_rate"]
    assert values == [1.0] * 4
    assert found["df=3", "A", "coverage"][0] == 0.95


def test_a_factor_p_is_no_p_value():
    """p-no-id.csv: 5 or 20 predictors."""
    assert "a p-value lies between 0 and 1" in refused(CASES / "p-no-id.csv")
    found, _ = scored(CASES / "p-no-id.csv", "--by", "p")
    assert found["p=5", "method", "rejection_rate"][0] == 1.0


def test_a_factor_p_between_nought_and_one_is_asked_about(write):
    text = table("p,rep,est,se", n=40, p=lambda i: 0.1 if i % 2 else 0.5, se=0.1)
    assert "a factor (--by p), or p-values (--map p_value=p)?" in refused(write(text))
    assert scored(write(text), "--by", "p")[0]["p=0.1", "method", "bias"][2] == 20
    assert scored(write(text), "--map", "p_value=p")[0]["base", "method", "rejection_rate"][0] == 0.0


@pytest.mark.parametrize(("header", "understood"), [
    ("Replicate,Method,Estimate,Std. Error", "Std. Error → std_error"),
    ("sim_ID,estimator,estimate,std.error", "sim_ID → replicate"),
    ("rep,model,theta.hat,SE", "theta.hat → estimate"),
    ("i,meth,coef,stderr", "coef → estimate"),
    ("rep,method,b,se_b", "se_b → std_error"),
    ("rep,method,est_1,se_1", "est_1 → estimate"),
])  # fmt: skip
def test_names_of_other_programs_are_known(write, header, understood):
    rows = [f"{i},{m},{0.1 * i},0.2" for i in range(1, 6) for m in "AB"]
    file = write("x")
    file.write_text("\n".join([header, *rows]) + "\n")
    found, err = scored(file, "--true", "0.1")
    assert understood in err
    assert found["base", "A", "bias"][0] == pytest.approx(0.2)


@pytest.mark.parametrize(("text", "message"), [
    ("rep,est,b,se 1,1,2,1", "columns 'est' and 'b' could each be the estimate"),
    ("rep,est,se,stderr 1,1,2,1", "columns 'se' and 'stderr' could each be the std_error"),
    ("rep,method,b_1,se_b_1,b_2,se_b_2 1,x,1,1,2,1", "a column 'method': if it is a factor, --by method"),
    ("rep,b_1,se_b_1,b_2,se_b_2,p 1,1,1,2,1,0.5", "one column 'p' (p_value) for all"),
    ("rep,b_1,se_b_1,b_2,se_b_2,est 1,1,1,2,1,0.5", "one column 'est' (estimate) for all"),
    ("rep,value 1,1", "no column of estimates"),
    ("stat,est,mcse,method nsim,9,,A bias,1,1,A cover,1,1,A", "'stat' names measures (nsim, bias, cover"),
    ("method,measure,value a,bias,1 a,coverage,1 a,empirical_se,1", "'measure' names measures (bias, coverage, "),
])  # fmt: skip
def test_columns_that_could_mean_two_things_are_refused(write, text, message):
    assert message in refused(write(text))


def test_a_column_of_words_of_which_two_are_measures_is_left_alone(write):
    found, _ = scored(write("rep,est,se,note 1,1,1,bias 2,1,1,mse 3,2,1,other 4,3,1,bias"))
    assert [value for (_, _, measure), (value, _, _) in found.items() if measure == "mean_estimate"] == [1.75]


def test_a_file_without_true_values_is_told_how_to_give_them(write):
    file = write("rep,est,se 1,1,1 2,2,1 3,2,1")
    assert "no true value is known; --true VALUE or --true COLUMN gives bias" in simtrial("summarise", file).err
    assert "no true value" not in simtrial("summarise", file, "--true", "0").err
    assert "; write decimals with a point" in refused(file, "--true", "0,5")


@pytest.mark.parametrize(("arguments", "message"), [
    (("--map", "estimate=est", "--map", "estimate=se"), "given twice"),
    (("--map", "estimate=est", "--map", "std_error=est"), "given two meanings"),
    (("--map", "estimate=est", "--by", "est"), "gives the column 'est' another meaning"),
    (("--df", "0"), "must be above 0"),
    (("--df", "nan"), "must be above 0"),
])  # fmt: skip
def test_options_that_contradict_are_refused(write, arguments, message):
    assert message in refused(write("rep,est,se 1,1,1 2,2,1"), *arguments)


def test_methods_side_by_side_may_have_inference_of_their_own(write):
    text = "rep,est_a,se_a,df_a,p_a,est_b,se_b,lci_b,uci_b 1,1,1,3,0.391,2,1,-1,5 2,2,1,3,0.139,3,1,-1,7"
    found, err = scored(write(text), "--true", "0", "--reference", "a")
    assert "df_a → df of a" in err
    assert complement(found, method="a") == 1.0
    assert found["base", "b", "mean_width"][0] == 7.0
    assert found["base", "b", "bias_difference"][0] == 1.0


# --- values that cannot be ---


def test_crossed_limits_are_refused():
    """swapped-ci.csv."""
    err = refused(CASES / "swapped-ci.csv")
    assert "swapped-ci.csv:2: the lower limit is above the upper; 0.820207 and 0.420207 given" in err


@pytest.mark.parametrize(("text", "message"), [
    ("rep,est,se 1,1,1 2,1,-0.1", "r.csv:3: a standard error is negative; -0.1 given"),
    ("rep,est,se 1,1,Inf", "the std_error is not finite"),
    ("rep,est,se 1,-Inf,1", "the estimate is not finite"),
    ("rep,est,se 1,1e400,1", "the estimate is not finite"),
    ("rep,est,se,df 1,1,1,0", "degrees of freedom (df) must be above 0"),
    ("rep,est,se,df 1,1,1,-3", "degrees of freedom (df) must be above 0"),
    ("rep,est,se,p 1,1,1,1.2", "a p-value lies between 0 and 1"),
    ("rep,est,se,p 1,1,1,-0.2", "a p-value lies between 0 and 1"),
    ("rep,est,lci,uci 1,1,Inf,Inf", "a lower limit cannot be plus infinity"),
    ("rep,est,lci,uci 1,1,-Inf,-Inf", "an upper limit cannot be minus infinity"),
    ("rep,est,lci,uci 1,1,2,0", "the lower limit is above the upper"),
    ("rep,est,se,status 1,1,1,perhaps", "'status' must be ok, failed or blank"),
    ("rep,est,se,status 1,1,1,0", "'status' must be ok, failed or blank"),
    ("rep,est,se 1,one,1", "'estimate' must hold numbers; 'one' given"),
    ("rep,est,se 1,1,0.1.2", "'std_error' must hold numbers; '0.1.2' given"),
])  # fmt: skip
def test_impossible_values_are_refused_with_their_line(write, text, message):
    assert message in refused(write(text))


@pytest.mark.parametrize("word", ["failed", "FAILED", "error", "not converged", "Failure"])
def test_numbers_of_a_failed_fit_are_not_looked_at(write, word):
    file = write("x")
    file.write_text(f"rep,est,se,status\n1,1,1,ok\n2,-99,-99,{word}\n3,2,1,\n4,,,ok\n5,3,1,Converged\n")
    found, _ = scored(file, "--true", "1")
    assert found["base", "method", "failures"][0] == 2  # the failed one, and the one without any number
    assert found["base", "method", "bias"] == (1.0, pytest.approx(1 / np.sqrt(3)), 3)


def test_an_unbounded_interval_is_an_interval(write):
    found, _ = scored(write("rep,est,lci,uci 1,1,-Inf,2 2,2,0.5,Inf 3,1,0.5,2"), "--true", "0")
    assert found["base", "method", "coverage"][0] == pytest.approx(1 / 3)
    assert found["base", "method", "mean_width"][0] == float("inf")
    assert complement(found) == pytest.approx(1.0)


@pytest.mark.parametrize("writer", ["excel", "r", "stata"])
def test_files_as_excel_r_and_stata_write_them(tmp_path, writer):
    e, methods = [0.1, 0.3, None, 0.2], ["A", "B", "A", "B"]
    if writer == "stata":
        import pandas as pd

        file = tmp_path / "r.dta"
        labelled = pd.Categorical(methods, categories=["A", "B"])
        frame = pd.DataFrame({"rep": [1, 1, 2, 2], "method": labelled, "b": e, "se_b": [0.1] * 4})
        frame.to_stata(file, write_index=False)
    else:
        file = tmp_path / "r.csv"
        numbers = ["NA" if v is None else v for v in e]
        rows = [f"{i // 2 + 1},{m},{v},0.1" for i, (m, v) in enumerate(zip(methods, numbers, strict=True))]
        if writer == "r":  # write.csv with row names
            text = '"","rep","method","est","se"\n' + "".join(f'"{i}",{row}\n' for i, row in enumerate(rows, 1))
            file.write_text(text.replace(",A,", ',"A",').replace(",B,", ',"B",'))
        else:
            file.write_bytes("\r\n".join(["\ufeffrep,method,est,se", *[r.replace("NA", "") for r in rows]]).encode())
    found, _ = scored(file, "--true", "0.2", "--reference", "A")
    assert found["base", "B", "bias"][0] == pytest.approx(0.05)
    assert found["base", "A", "n_estimates"][0] == 1
    assert found["base", "B", "bias_difference"][2] == 1
