"""The estimators on data frames of one's own."""

import io
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from commands import simtrial

import simtrial as st
from simtrial.errors import DataError, ScenarioError, SimtrialError

METHODS = [
    {"name": "mixed model", "kind": "lmm", "adjust": ["mansa_baseline", "region"]},
    {"name": "imputed", "kind": "mi", "adjust": ["mansa_baseline"], "m": 2, "analysis": {"kind": "ols"}},
]
TOML = """
[[methods]]
name = "mixed model"
kind = "lmm"
adjust = ["mansa_baseline", "region"]
[[methods]]
name = "imputed"
kind = "mi"
adjust = ["mansa_baseline"]
m = 2
analysis = { kind = "ols" }
"""


@pytest.fixture(scope="module")
def trial() -> pl.DataFrame:
    frame = st.load("partners").trial(3)
    return frame.select("practice", "arm", "region", "mansa_baseline", "mansa_followup")


def test_frames_are_analysed_as_files_are(trial: pl.DataFrame, tmp_path: Path) -> None:
    trial.write_csv(tmp_path / "frame.csv")
    (tmp_path / "methods.toml").write_text(TOML)
    out = simtrial("analyse", tmp_path / "frame.csv", "--methods", tmp_path / "methods.toml", "--format", "csv").out
    printed = pl.read_csv(io.StringIO(out))
    for frame in (trial, trial.lazy(), pd.DataFrame(trial.to_dict(as_series=False))):
        for methods in (METHODS, tmp_path / "methods.toml", str(tmp_path / "methods.toml")):
            found = st.fit(frame, methods)
            assert pl.read_csv(io.StringIO(found.write_csv())).equals(printed)


def test_several_trials(trial: pl.DataFrame) -> None:
    other = st.load("partners").trial(4).select(trial.columns)
    apart = st.fit([trial, other], METHODS[:1])
    assert apart["trial_id"].to_list() == ["frame 1", "frame 2"]
    assert apart["estimate"].n_unique() == 2
    one = pl.concat([trial.with_columns(trial_id=pl.lit("a")), other.with_columns(trial_id=pl.lit("b"))])
    together = st.fit(one, METHODS[:1])
    assert together["trial_id"].to_list() == ["a", "b"]
    assert together["estimate"].to_list() == apart["estimate"].to_list()


def test_names_codes_and_categories_of_ones_own(trial: pl.DataFrame) -> None:
    plain = st.fit(trial, METHODS[:1])["estimate"][0]
    coded = trial.rename({"practice": "gp"}).with_columns(pl.col("mansa_followup").fill_null(-99.0))
    assert st.fit(coded, METHODS[:1], columns={"practice": "gp"}, missing=-99)["estimate"][0] == plain
    numbered = trial.with_columns(pl.col("region").cast(pl.Categorical).to_physical().cast(pl.Int64))
    factored = st.fit(numbered, METHODS[:1], factors="region")["estimate"][0]
    assert factored == pytest.approx(plain, rel=1e-9)
    assert st.fit(numbered, METHODS[:1])["estimate"][0] != pytest.approx(plain, rel=1e-9)
    data = pd.DataFrame(trial.to_dict(as_series=False)).assign(region=lambda d: d["region"].astype("category"))
    assert st.fit(data, METHODS[:1])["estimate"][0] == pytest.approx(plain, rel=1e-9)
    terms = st.fit(trial, METHODS[:1], all_terms=True)["term"].to_list()
    assert terms[0] == "arm"
    assert len(terms) > 3


def test_what_cannot_be_analysed_is_one_message(trial: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="frame: no column 'arm'; available columns"):
        st.fit(trial.drop("arm"), METHODS)
    with pytest.raises(DataError, match="polars or pandas is needed; dict given"):
        st.fit({"arm": [0, 1]}, METHODS)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="arm must be 0"):
        st.fit(trial.with_columns(arm=pl.lit(2)), METHODS)
    with pytest.raises(DataError, match="mixes numbers and words"):
        st.fit(pd.DataFrame({"practice": [1, "two"], "arm": [0, 1], "mansa_followup": [1.0, 2.0]}), METHODS[:1])
    with pytest.raises(DataError, match="no data frame"):
        st.fit([], METHODS)
    with pytest.raises(ScenarioError, match=r"methods\[1\].*unknown kind of method 'lm'; did you mean 'lmm'"):
        st.fit(trial, [{"name": "a", "kind": "lm"}])
    with pytest.raises(SimtrialError, match="no method is given"):
        st.fit(trial, [])
