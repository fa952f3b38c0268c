"""What rsimsum, Stata's simsum and simhelpers print, met to the digit through `simtrial summarise FILE`."""

import csv
import io
import os
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from packages import RSIMSUM, SIMHELPERS

from simtrial.cli import cli

ORACLE = Path(__file__).parents[1] / "oracle"
ELSEWHERE = Path(os.environ.get("SIMTRIAL_ORACLE", Path(__file__).parents[3] / "shared" / "oracle"))
DIGITS = 1e-9  # both sides add some hundred doubles in their own order


def summarise(*arguments: object) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Long-form output of the command: (cell, method, measure) -> (value, mcse)."""
    done = CliRunner().invoke(cli, ["summarise", *map(str, arguments), "--format", "csv"], catch_exceptions=False)
    assert done.exit_code == 0
    rows = csv.DictReader(io.StringIO(done.stdout))
    return {
        (r["cell"], r["method"], r["measure"]): (float(r["value"] or "nan"), float(r["mcse"] or "nan")) for r in rows
    }


def printed(file: Path, **wanted: str) -> list[dict[str, str]]:
    """Rows of a reference file with a number, by table, options and so on."""
    with open(file, newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if all(r[k] == v for k, v in wanted.items())]
    assert rows
    return [r for r in rows if r["est"] not in ("", "NA", "NaN", "Inf")]


def elsewhere(name: str) -> Path:
    file = ELSEWHERE / name
    if not file.is_file():
        pytest.skip(f"{name} is not there: set SIMTRIAL_ORACLE to the folder that holds it")
    return file


def compare(found, rows, cell: str, reference: str, without: tuple[str, ...] = ()) -> int:
    """Compare values and errors of every row; return how many there were."""
    compared = 0
    for row in rows:
        if row["stat"] not in RSIMSUM or row["stat"] in without:
            continue
        if row["stat"] == "relprec" and row["method"] == reference:
            continue  # the reference against itself
        measure, scale = RSIMSUM[row["stat"]]
        value, mcse = found[cell, row["method"], measure]
        assert value == pytest.approx(float(row["est"]) * scale, rel=DIGITS, abs=DIGITS), row
        if row["mcse"] not in ("", "NA") and row["stat"] != "nsim":
            assert mcse == pytest.approx(float(row["mcse"]) * scale, rel=DIGITS, abs=DIGITS), row
        compared += 1
    return compared


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table with estimate and SE both blank where one is missing: rsimsum leaves such replicates out."""
    whole = pl.read_csv(ORACLE / "perf_results_table.csv")
    both = pl.col("est").is_not_null() & pl.col("se").is_not_null()
    file = tmp_path_factory.mktemp("results") / "pairs.csv"
    whole.with_columns(pl.when(both).then(pl.col(c)).alias(c) for c in ("est", "se")).write_csv(file)
    return file


@pytest.mark.parametrize("dgm", ["A", "B"])
@pytest.mark.parametrize(
    ("options", "arguments", "without"),
    [
        # rsimsum takes the SDs in its gain in precision over different replicates; we use those both methods have
        ("normal,na.rm", ("--df", "inf"), ("relprec",)),
        ("normal,na.rm,level=0.9", ("--df", "inf", "--level", "0.9"), ("relprec",)),
        ("t(df column),na.rm", (), ("relprec", "power")),  # and keeps normal power whatever its df
        ("normal,reps complete for every method", ("--df", "inf", "--common"), ()),
    ],
    ids=["normal", "90%", "t", "common"],
)
def test_rsimsum_table(dgm: str, options: str, arguments: tuple, without: tuple, pairs: Path) -> None:
    found = summarise(pairs, "--by", "dgm", "--reference", "lmm", "--mcse", "normal", *arguments)
    rows = printed(ORACLE / "perf_rsimsum.csv", table_id=f"perf_results_table:{dgm}", options=options)
    compared = compare(found, rows, f"dgm={dgm}", "lmm", without)
    wanted = (
        3 * 13 - 3 * len(without) - ("relprec" not in without) - 3 * (dgm == "B")
    )  # no relative bias where theta = 0
    assert compared == wanted


@pytest.mark.parametrize("dgm", ["A", "B"])
def test_rsimsum_single_method(dgm: str, pairs: Path, tmp_path: Path) -> None:
    chosen = (pl.col("method") == "lmm") & (pl.col("dgm") == dgm)
    pl.read_csv(pairs).filter(chosen).drop("method", "dgm").write_csv(tmp_path / "one.csv")
    found = summarise(tmp_path / "one.csv", "--mcse", "normal", "--df", "inf")
    rows = printed(ORACLE / "perf_rsimsum.csv", table_id=f"perf_results_table:{dgm}:only_lmm")
    rows = [{**r, "method": "method"} for r in rows]
    assert compare(found, rows, "base", "method") == 12 - (dgm == "B")


@pytest.mark.parametrize(
    ("options", "arguments", "reference"),
    [("normal", (), "CC"), ("normal,ref=MI_T", (), "MI_T"), ("normal,level=0.8", ("--level", "0.8"), "CC")],
)
def test_rsimsum_published_example_of_imputation(options: str, arguments: tuple, reference: str) -> None:
    file = elsewhere("perf_MIsim.csv")
    found = summarise(file, "--true", "0.5", "--reference", reference, "--mcse", "normal", *arguments)
    rows = printed(ORACLE / "perf_rsimsum.csv", table_id="perf_MIsim", options=options)
    assert compare(found, rows, "base", reference) == 38


def test_rsimsum_published_example_of_hazards() -> None:
    """Four mechanisms, the method in a column called model; the truth is the same for all."""
    file = elsewhere("perf_relhaz.csv")
    found = summarise(file, "--true", "-0.5", "--by", "n", "--by", "baseline", "--reference", "Cox", "--mcse", "normal")
    compared = 0
    for group in sorted({r["by_group"] for r in printed(ORACLE / "perf_rsimsum.csv", table_id="perf_relhaz")}):
        rows = printed(ORACLE / "perf_rsimsum.csv", table_id="perf_relhaz", by_group=group)
        # theirs divides by the signed true value, ours by its size: a negative bias stays negative
        rows = [{**r, "est": str(-float(r["est"]))} if r["stat"] == "rbias" else r for r in rows]
        compared += compare(found, rows, group.replace(";", ", "), "Cox")
    assert compared == 4 * 38


@pytest.mark.parametrize(
    ("form", "names", "digits"),
    [
        ("robust", ("bias", "var", "rmse", "coverage", "width", "rej_rate"), DIGITS),
        # its jackknife squares distances from the whole sample's value, ours from the mean of those left out: O(1/n)
        ("jackknife", ("stddev", "rel_bias_var", "rel_mse_var"), 1 / 448),
    ],
)
def test_simhelpers(form: str, names: tuple, digits: float) -> None:
    file = ORACLE / "perf_results_table.csv"
    found = summarise(file, "--by", "dgm", "--mcse", form, "--df", "inf", "--common")
    compared = 0
    for row in printed(ORACLE / "perf_simhelpers.csv"):
        if row["stat"] not in names:
            continue
        measure, scale = SIMHELPERS[row["stat"]]
        value, mcse = found[f"dgm={row['table_id'][-1]}", row["method"], measure]
        assert value == pytest.approx((float(row["est"]) - (row["stat"] == "rel_bias_var")) * scale, rel=DIGITS), row
        if row["stat"] != "rmse":  # its error mixes divisors n and n - 1 (docs/measures.md)
            assert mcse == pytest.approx(float(row["mcse"]) * scale, rel=digits), row
        compared += 1
    assert compared == 6 * len(names)


def digits_of(text: str) -> float:
    """Half a unit of the last digit printed, and what single precision (6e-8, Stata's floats) makes of a percentage."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2]) + 6e-6


STATA = {
    "Bias in point estimate": ("bias", 1),
    "Empirical standard error": ("empirical_se", 1),
    "Mean squared error": ("mse", 1),
    "Root mean squared error": ("rmse", 1),
    "RMS model-based standard error": ("model_se", 1),
    "Mean conf. interval width": ("mean_width", 1),
    "Relative % error in standard error": ("relative_error_model_se", 1),
    "% coverage of nominal 95% conf. interval": ("coverage", 100),
    "% power of 5% level test": ("rejection_rate", 100),
    "% precision gain relative to method b_1": ("relative_precision", 1),
}


@pytest.mark.parametrize(
    ("options", "arguments"), [("true=0, normal", ()), ("true=0, df=5", ("--df", "5"))], ids=["normal", "t"]
)
def test_stata_wide_file(options: str, arguments: tuple) -> None:
    file = elsewhere("perf_stata_check.csv")
    found = summarise(file, "--true", "0", "--reference", "b_1", "--mcse", "normal", *arguments)
    compared = 0
    for row in printed(ELSEWHERE / "perf_stata_simsum.csv", options=options):
        if row["stata_label"] not in STATA or ("precision" in row["stata_label"] and row["method"] == "b_1"):
            continue
        measure, scale = STATA[row["stata_label"]]
        value, mcse = found["base", row["method"], measure]
        assert value * scale == pytest.approx(float(row["est"]), abs=digits_of(row["est"])), row
        if row["mcse"]:
            assert mcse * scale == pytest.approx(float(row["mcse"]), abs=digits_of(row["mcse"])), row
        compared += 1
    assert compared == 19


def test_a_reference_changed_in_the_fourth_digit_would_be_seen(pairs: Path) -> None:
    """The comparison above has teeth."""
    found = summarise(pairs, "--by", "dgm", "--reference", "lmm", "--mcse", "normal", "--df", "inf")
    rows = printed(ORACLE / "perf_rsimsum.csv", table_id="perf_results_table:A", options="normal,na.rm", stat="empse")
    with pytest.raises(AssertionError):
        compare(found, [{**r, "est": str(float(r["est"]) * 1.0001)} for r in rows], "dgm=A", "lmm")
