"""Data sets written: any replicate alone, equal to what a run analyses, in every format."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from commands import simtrial
from polars.testing import assert_frame_equal
from tomls import SMALL, written

from simtrial.files.write_trials import stata_names
from simtrial.run.block import block_rows
from simtrial.scenario import load


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trials of partners, as CSV."""
    folder = tmp_path_factory.mktemp("trials")
    found = simtrial("generate", "partners", "-n", 3, "-o", folder)
    assert (found.code, found.out) == (0, "")
    assert "3 data sets and codebook.csv" in found.err
    return folder


def test_one_file_each_and_a_codebook(trials: Path) -> None:
    names = sorted(f.name for f in trials.iterdir())
    assert names == ["codebook.csv", *(f"partners-{k:06d}.csv" for k in (1, 2, 3))]


@pytest.mark.parametrize("k", [1, 3])
def test_a_replicate_alone_is_the_same_file(k: int, trials: Path, tmp_path: Path) -> None:
    assert simtrial("generate", "partners", "--replicate", k, "-o", tmp_path).code == 0
    name = f"partners-{k:06d}.csv"
    assert (tmp_path / name).read_bytes() == (trials / name).read_bytes()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["codebook.csv", name]


@pytest.mark.parametrize("k", [20, 21, 45])
def test_a_replicate_of_any_block(k: int, tmp_path: Path) -> None:
    """Twenty to a block: the last of the first, the first of the second, the fifth of the third."""
    file = written(tmp_path, SMALL)
    simtrial("generate", file, "-n", 45, "-o", tmp_path / "many")
    simtrial("generate", file, "--replicate", k, "-o", tmp_path / "one")
    name = f"small-{k:06d}.csv"
    assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_generated_data_analysed_give_the_rows_of_a_run(trials: Path, tmp_path: Path) -> None:
    """CSV holds 17 digits, so only the order of additions can differ; methods that draw have other streams."""
    _, (cell,) = load("partners")
    methods = [m for m in cell.scenario.methods if not m.draws]
    assert len(methods) == 10
    expected = block_rows(replace(cell, scenario=replace(cell.scenario, methods=methods)), 0)
    files = [trials / f"partners-{k:06d}.csv" for k in (1, 2, 3)]
    found = simtrial("analyse", *files, "--methods", "partners", "--format", "csv")
    assert found.code == 0
    table = pl.read_csv(found.out.encode())
    compared = 0
    for row in expected.filter(pl.col("replicate") <= 3).iter_rows(named=True):
        (mine,) = table.filter(
            (pl.col("trial_id") == f"partners-{row['replicate']:06d}") & (pl.col("method") == row["method"])
        ).iter_rows(named=True)
        for name in ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value", "n_used", "clusters_used"):
            assert mine[name] == pytest.approx(row[name], rel=1e-9, abs=1e-12), (row["method"], name)
        assert mine["status"] == row["status"]
        compared += 1
    assert compared == 3 * (10 + 4)  # four per-protocol analyses are judged against two estimands


def test_another_seed_is_another_trial(trials: Path, tmp_path: Path) -> None:
    simtrial("generate", "partners", "-o", tmp_path, "--seed", 1)
    name = "partners-000001.csv"
    assert (tmp_path / name).read_bytes() != (trials / name).read_bytes()


def test_parquet_and_stata_hold_the_same_trial(trials: Path, tmp_path: Path) -> None:
    import pandas as pd

    for form in ("parquet", "dta"):
        assert simtrial("generate", "partners", "-o", tmp_path / form, "--format", form).code == 0
    parquet = pl.read_parquet(tmp_path / "parquet" / "partners-000001.parquet")
    csv = pl.read_csv(trials / "partners-000001.csv", schema_overrides=dict(parquet.schema))  # a column may be blank
    assert_frame_equal(parquet, csv, check_dtypes=False, check_exact=True)
    stata = pd.read_stata(tmp_path / "dta" / "partners-000001.dta")
    short = stata_names(csv.columns)
    assert list(stata.columns) == list(short.values())
    assert max(map(len, short.values())) <= 32
    for name in csv.columns:
        mine, theirs = stata[short[name]].tolist(), csv[name].to_list()
        same = [a == b or (b is None and (a != a or a in ("", None))) for a, b in zip(mine, theirs, strict=True)]
        assert all(same), name


def test_names_too_long_for_stata_stay_distinct() -> None:
    names = ["a" * 40, "a" * 41, "a" * 32, "b"]
    short = stata_names(names)
    assert short == {"a" * 40: "a" * 30 + "_2", "a" * 41: "a" * 30 + "_3", "a" * 32: "a" * 32, "b": "b"}


def test_every_format_is_analysed_alike(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    found = []
    for form in ("csv", "parquet", "dta"):
        simtrial("generate", file, "-o", tmp_path / form, "--format", form)
        result = simtrial("analyse", tmp_path / form / f"small-000001.{form}", "--methods", file, "--format", "json")
        found.append(json.loads(result.out)["rows"])
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3


def test_the_codebook_explains_every_column(trials: Path) -> None:
    book, data = pl.read_csv(trials / "codebook.csv"), pl.read_csv(trials / "partners-000001.csv")
    assert set(book["name"]) == set(data.columns)
    assert book.columns == ["name", "level", "label", "unit", "values", "source", "latent"]
    assert not book["label"].is_null().any()
    assert book.filter(name="wemwbs_followup")["source"].to_list() == ["mechanism.outcomes.wemwbs"]
    said = dict(book.select("name", "values").iter_rows())
    for name in ("region", "practice_size", "sex", "diagnosis", "provider"):
        assert set(data[name].drop_nulls().unique()) <= set(said[name].split(", "))


def test_latent_columns_only_when_asked_for(trials: Path, tmp_path: Path) -> None:
    latent = {"mansa_if_control", "mansa_if_intervention", "practice_effect", "engagement", "sessions_offered"}
    assert not latent & set(pl.read_csv(trials / "partners-000001.csv").columns)
    simtrial("generate", "partners", "-o", tmp_path, "--with-latent")
    whole = pl.read_csv(tmp_path / "partners-000001.csv")
    assert latent <= set(whole.columns)
    assert latent <= set(pl.read_csv(tmp_path / "codebook.csv")["name"])
    seen = whole.filter(pl.col("mansa_followup").is_not_null())
    treated = pl.when(pl.col("arm") == 1).then("mansa_if_intervention").otherwise("mansa_if_control")
    assert seen.select((pl.col("mansa_followup") - treated).abs().max()).item() < 1e-12


def test_data_are_as_an_analyst_expects_them(trials: Path) -> None:
    data = pl.read_csv(trials / "partners-000001.csv")
    assert data.columns[:4] == ["trial_id", "practice", "arm", "participant"]
    assert data["participant"].n_unique() == data.height
    assert data["practice"].n_unique() == 39
    assert data.group_by("practice").agg(pl.col("arm").n_unique())["arm"].max() == 1
    assert set(data["arm"]) == {0, 1}
    assert data["mansa_followup"].null_count() > 0
    assert data.filter(arm=0)["availability"].null_count() == data.filter(arm=0).height


def test_a_cell_of_a_sweep(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL + '\n[vary.cross]\n"mechanism.practices.number" = [12, 30]\n')
    cells = json.loads(simtrial("show", file, "--format", "json").out)["cells"]
    for cell in cells:
        simtrial("generate", file, "-o", tmp_path / cell["cell"], "--cell", cell["cell"])
        data = pl.read_csv(tmp_path / cell["cell"] / f"small-{cell['label']}-000001.csv")
        assert data["practice"].n_unique() == cell["factors"]["mechanism.practices.number"]


def test_older_data_sets_are_not_left_among_new_ones(tmp_path: Path) -> None:
    """The same command writes the same files again; what it would not replace is refused before anything is written."""
    file, folder = written(tmp_path, SMALL), tmp_path / "trials"
    assert simtrial("generate", file, "-n", 3, "-o", folder).code == 0
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    assert simtrial("generate", file, "-n", 3, "-o", folder).code == 0
    requests = (["-n", 2], ["--replicate", 5], ["--format", "parquet"], ["-n", 2, "--seed", 9])
    for request, many in zip(requests, ("another", "3 other", "3 other", "another"), strict=True):
        found = simtrial("generate", file, "-o", folder, *request)
        assert found.code == 2, request
        assert many in found.err
        assert "small-00000" in found.err
        assert "choose another folder with -o" in found.err
        assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
    assert simtrial("generate", file, "-n", 4, "-o", folder).code == 0
    assert sorted(f.name for f in folder.glob("small-*")) == [f"small-{k:06d}.csv" for k in (1, 2, 3, 4)]
    (folder / "notes.txt").write_text("not data")
    assert simtrial("generate", file, "-n", 4, "-o", folder).code == 0


def test_a_folder_that_cannot_be_written_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = simtrial("generate", "partners", "-o", tmp_path / "file" / "inside")
    assert found.code == 5
    assert found.err.startswith("error: ")
    assert "cannot be written" in found.err
