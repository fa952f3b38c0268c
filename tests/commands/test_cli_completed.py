"""Completed data sets in files: those that the rows rest on, as R and Stata read them."""

import json
import shutil
import subprocess

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from tomls import written

from simtrial.files.read_trials import read_frame

METHODS = """\
[[methods]]
name = "people, imputed"
kind = "mi"
adjust = ["mansa_baseline"]
m = 5
analysis = { kind = "ols", se = "classical", df = "residual" }

[[methods]]
name = "by arm"
kind = "mi"
adjust = []
outcome = "change"
by_arm = true
m = 3
analysis = { kind = "cluster-means" }

[[methods]]
name = "complete cases"
kind = "ols"
adjust = ["mansa_baseline"]
"""


def data(seed=1):
    rng = np.random.default_rng(seed)
    practice = np.repeat(np.arange(16), 6)
    baseline = rng.normal(4, 1, 96)
    outcome = 1 + 0.7 * baseline + 0.5 * (practice % 2) + rng.normal(0, 0.8, 96)
    return pl.DataFrame({
        "practice": [f"P{p:02d}" for p in practice], "arm": practice % 2,
        "mansa_baseline": np.where(rng.random(96) < 0.05, np.nan, baseline),
        "mansa_followup": np.where(rng.random(96) < 0.25, np.nan, outcome),
    }, nan_to_null=True)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two trials analysed, and the folder of their completed data."""
    folder = tmp_path_factory.mktemp("completed")
    trials = [folder / f"trial{at}.csv" for at in (1, 2)]
    for at, file in enumerate(trials, start=1):
        data(at).write_csv(file)
    methods, out = written(folder, METHODS, "m.toml"), folder / "out"
    found = simtrial("analyse", *trials, "--methods", methods, "--completed", out, "--format", "json")
    assert found.code == 0, found.err
    return out, json.loads(found.out)["rows"]


def test_every_method_that_imputes_has_a_file_for_r_and_one_for_stata(files):
    folder, _ = files
    assert sorted(file.name for file in folder.iterdir()) == [
        "by-arm.csv", "by-arm.dta", "people-imputed.csv", "people-imputed.dta",
    ]  # fmt: skip
    frame = pl.read_csv(folder / "people-imputed.csv")
    assert frame.columns[:4] == [".imp", ".id", "trial_id", "practice"]
    assert frame[".imp"].unique().sort().to_list() == list(range(6))
    everyone = frame.filter(pl.col(".imp") == 0)
    assert everyone[".id"].to_list() == list(range(1, 193))
    assert 0.15 < everyone["mansa_followup"].null_count() / 192 < 0.35
    for at in range(1, 6):
        one = frame.filter(pl.col(".imp") == at)
        assert one[".id"].to_list() == everyone[".id"].to_list()
        assert one["mansa_followup"].null_count() == one["mansa_baseline"].null_count() == 0
        seen = everyone["mansa_followup"].is_not_null()
        assert one["mansa_followup"].filter(seen).to_list() == everyone["mansa_followup"].filter(seen).to_list()


def test_they_are_the_data_that_the_rows_rest_on(files):
    folder, rows = files
    frame = pl.read_csv(folder / "people-imputed.csv")
    for row in (row for row in rows if row["method"] == "people, imputed"):
        estimates, variances = [], []
        for at in range(1, 6):
            one = frame.filter((pl.col(".imp") == at) & (pl.col("trial_id") == row["trial_id"])).drop_nulls()
            x = np.column_stack([np.ones(one.height), one["mansa_baseline"], one["arm"]])
            inverse, y = np.linalg.inv(x.T @ x), one["mansa_followup"].to_numpy()
            beta = inverse @ x.T @ y
            estimates.append(beta[2])
            variances.append(np.sum((y - x @ beta) ** 2) / (len(y) - 3) * inverse[2, 2])
        assert row["estimate"] == pytest.approx(np.mean(estimates), rel=1e-10)
        total = np.mean(variances) + 1.2 * np.var(estimates, ddof=1)
        assert row["std_error"] == pytest.approx(np.sqrt(total), rel=1e-10)


def test_where_the_baseline_is_part_of_the_outcome_it_is_completed_too(files):
    folder, _ = files
    frame = pl.read_csv(folder / "by-arm.csv")
    assert frame.filter(pl.col(".imp") == 0)["mansa_baseline"].null_count() > 0
    assert frame.filter(pl.col(".imp") > 0)["mansa_baseline"].null_count() == 0
    assert frame.filter(pl.col(".imp") > 0)["mansa_followup"].null_count() == 0


def test_the_stata_file_has_the_same_numbers_and_names_that_stata_takes(files):
    folder, _ = files
    ours, theirs = pl.read_csv(folder / "people-imputed.csv"), read_frame(folder / "people-imputed.dta")[0]
    assert theirs.columns == [name.removeprefix(".") for name in ours.columns]
    assert all(name.isidentifier() for name in theirs.columns)
    for name in ("mansa_baseline", "mansa_followup"):
        values = theirs[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        assert values == pytest.approx(ours[name].fill_null(float("nan")).to_numpy(), rel=1e-15, nan_ok=True)
    assert theirs["imp"].cast(pl.Float64).cast(pl.Int64).to_list() == ours[".imp"].to_list()
    assert theirs.select("imp", "id").is_unique().all()  # mi import flong, m(imp) id(id)


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not on the path")
def test_mitml_and_mice_read_them_and_find_our_numbers(files, tmp_path):
    folder, rows = files
    script = tmp_path / "read.R"
    script.write_text("""
if (!requireNamespace("mitml", quietly = TRUE) || !requireNamespace("mice", quietly = TRUE)) quit(status = 77)
long <- read.csv("people-imputed.csv", check.names = FALSE)
for (trial in unique(long$trial_id)) {
  one <- long[long$trial_id == trial, ]
  sets <- mitml::long2mitml.list(one, split = ".imp", exclude = 0)
  fits <- with(sets, lm(mansa_followup ~ mansa_baseline + arm))
  pooled <- mitml::testEstimates(fits, df.com = fits[[1]]$df.residual)$estimates
  byhand <- summary(mice::pool(with(mice::as.mids(one), lm(mansa_followup ~ mansa_baseline + arm))))
  cat(sprintf("%s %.12g %.12g %.12g %.12g %.12g\\n", trial, pooled["arm", "Estimate"], pooled["arm", "Std.Error"],
              pooled["arm", "df"], byhand$estimate[3], byhand$std.error[3]))
}
""")
    done = subprocess.run(
        ["Rscript", str(script)], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode == 77:
        pytest.skip("R's packages mitml and mice are not installed")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: [float(x) for x in line.split()[1:]] for line in done.stdout.splitlines()}
    mine = [row for row in rows if row["method"] == "people, imputed"]
    assert len(mine) == len(lines) == 2
    for row in mine:
        estimate, std_error, df, by_mice, error_by_mice = lines[row["trial_id"]]
        assert row["estimate"] == pytest.approx(estimate, rel=1e-9) == pytest.approx(by_mice, rel=1e-9)
        assert row["std_error"] == pytest.approx(std_error, rel=1e-9) == pytest.approx(error_by_mice, rel=1e-9)
        assert row["df"] == pytest.approx(df, rel=1e-6)


def test_without_imputation_there_is_nothing_to_write(tmp_path):
    data().write_csv(tmp_path / "trial.csv")
    plain = written(tmp_path, '[[methods]]\nname = "a"\nkind = "ols"\nadjust = []\n', "m.toml")
    found = simtrial("analyse", tmp_path / "trial.csv", "--methods", plain, "--completed", tmp_path / "out")
    assert found.code == 2
    assert "no method of kind 'mi'" in found.err
    assert not (tmp_path / "out").exists()


def test_a_trial_that_cannot_be_imputed_is_named_and_left_out(tmp_path):
    blank = data().with_columns(pl.lit(None, dtype=pl.Float64).alias("mansa_followup"))
    blank.write_csv(tmp_path / "blank.csv")
    data().write_csv(tmp_path / "trial.csv")
    found = simtrial("analyse", tmp_path / "blank.csv", tmp_path / "trial.csv", "--methods",
                     written(tmp_path, METHODS, "m.toml"), "--completed", tmp_path / "out")  # fmt: skip
    assert found.code == 0
    assert "'people, imputed' could not impute blank" in found.err
    frame = pl.read_csv(tmp_path / "out" / "people-imputed.csv")
    assert frame["trial_id"].unique().to_list() == ["trial"]


def test_other_data_in_the_folder_stay(tmp_path):
    data().write_csv(tmp_path / "trial.csv")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.csv").write_text("x\n1\n")
    found = simtrial("analyse", tmp_path / "trial.csv", "--methods", written(tmp_path, METHODS, "m.toml"),
                     "--completed", tmp_path / "out")  # fmt: skip
    assert found.code == 2
    assert "mine.csv" in found.err
