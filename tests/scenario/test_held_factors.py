"""--set on a key that the file varies, and cells that go by their factors wherever people see them."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from commands import simtrial
from tomls import SMALL, changed, complaint, written

from simtrial.scenario import load
from simtrial.scenario.cells import Cell, file_names, label

ICC, NUMBER = "mechanism.outcomes.mansa.icc", "mechanism.practices.number"
CROSS = f'\n[vary.cross]\n"{ICC}" = [0.01, 0.1, 0.3]\n"{NUMBER}" = [12, 20]\n'
ZIP = f'\n[vary.zip]\n"{ICC}" = [0.01, 0.3]\n"{NUMBER}" = [12, 20]\n'
QUICK = changed('kind = "mi"', 'kind = "ols"', SMALL).replace(
    'm = 2\nadjust = ["mansa_baseline"]\nauxiliary = ["sessions"]\nanalysis = { kind = "ols" }\n', ""
)


def factors(folder: Path, text: str, *sets: str) -> list[dict[str, Any]]:
    return [dict(c.factors) for c in load(written(folder, text), sets)[1]]


@pytest.mark.parametrize("value", [0.2, 0.1, 0])
def test_a_setting_holds_the_factor_in_every_cell(value: float, tmp_path: Path) -> None:
    """A value that is no level, one that is, and one of another type of number."""
    scenario, cells = load(written(tmp_path, SMALL + CROSS), [f"{ICC}={value}"])
    assert [dict(c.factors) for c in cells] == [{ICC: value, NUMBER: n} for n in (12, 20)]
    assert all(c.scenario.mechanism["outcomes.mansa"].icc == value for c in cells)  # type: ignore[attr-defined]
    assert scenario.mechanism["outcomes.mansa"].icc == value  # type: ignore[attr-defined]


def test_it_is_the_scenario_with_the_value_written_in_the_file(tmp_path: Path) -> None:
    """Cells, streams and so data: those of a file that says 0.2 and varies the number alone."""
    held = load(written(tmp_path, SMALL + CROSS), [f"{ICC}=0.2"])[1]
    alone = changed("icc = 0.1", "icc = 0.2") + f'\n[vary.cross]\n"{NUMBER}" = [12, 20]\n'
    plain = load(written(tmp_path, alone, "plain.toml"))[1]
    assert [(c.id, c.key) for c in held] == [(c.id, c.key) for c in plain]


def test_what_moved_with_it_is_varied_as_before(tmp_path: Path) -> None:
    assert factors(tmp_path, SMALL + ZIP, f"{ICC}=0.2") == [{ICC: 0.2, NUMBER: n} for n in (12, 20)]
    assert factors(tmp_path, SMALL + ZIP, f"{ICC}=0.2", f"{NUMBER}=15") == [{ICC: 0.2, NUMBER: 15}]


def test_a_table_set_as_a_whole_holds_what_is_varied_in_it(tmp_path: Path) -> None:
    setting = "mechanism.practices={ number = 16, cluster_size_mean = 4.0, cluster_size_cv = 0.5, regions = { A = 1 } }"
    found = factors(tmp_path, SMALL + CROSS, setting)
    assert found == [{ICC: v, NUMBER: 16} for v in (0.01, 0.1, 0.3)]
    without = setting.replace("number = 16, ", "")
    assert f"leaves out '{NUMBER}'" in complaint(tmp_path, SMALL + CROSS, without)


def test_a_part_of_what_is_varied_as_a_whole_is_refused(tmp_path: Path) -> None:
    text = SMALL + '\n[vary.cross]\n"mechanism.practices.regions" = [{ North = 1 }, { South = 1 }]\n'
    message = complaint(tmp_path, text, "mechanism.practices.regions.North=3")
    assert "--set mechanism.practices.regions.North=3" in message
    assert "as a whole" in message


def test_exclusions_and_expectations_follow(tmp_path: Path) -> None:
    rules = f'\n[[vary.exclude]]\n"{ICC}" = 0.3\n"{NUMBER}" = 12\n'
    one = f'\n[[expect]]\nmeasure = "coverage"\nmethod = "imputed"\nlower = 0.5\ncell = {{ "{ICC}" = LEVEL }}\n'
    expect = one.replace("LEVEL", "0.01") + one.replace("LEVEL", "0.3")
    text = SMALL + CROSS + rules + expect
    assert factors(tmp_path, text, f"{ICC}=0.3") == [{ICC: 0.3, NUMBER: 20}]
    assert [e.cell for e in load(written(tmp_path, text), [f"{ICC}=0.3"])[0].expect] == [{ICC: 0.3}]
    assert load(written(tmp_path, text), [f"{ICC}=0.2"])[0].expect == []
    done = simtrial("check", written(tmp_path, text), "--set", f"{ICC}=0.2", "--replicates", 20)
    assert done.code == 2
    assert "none about a cell that --set leaves" in done.err


def test_a_wrong_value_is_told_of_the_setting(tmp_path: Path) -> None:
    assert f"--set {ICC}=1.2" in complaint(tmp_path, SMALL + CROSS, f"{ICC}=1.2")


def test_every_command_holds_it_alike(tmp_path: Path) -> None:
    """Generate, show, run and check: one cell of ICC 0.2 and 15 practices, named so."""
    sets = ["--set", f"{ICC}=0.2", "--set", f"{NUMBER}=15"]
    expect = '\n[[expect]]\nmeasure = "coverage"\nmethod = "imputed"\nlower = 0.2\n'
    file = written(tmp_path, QUICK + CROSS + expect)
    made = simtrial("generate", file, "-o", tmp_path / "data", *sets, "--with-latent")
    name = "small-icc=0.2_number=15-000001"
    assert made.code == 0
    assert "of cell 'icc=0.2, number=15'" in made.err
    frame = pl.read_csv(tmp_path / "data" / f"{name}.csv")
    assert frame["trial_id"].unique().to_list() == [name]
    assert frame["practice"].n_unique() == 15
    shown = json.loads(simtrial("show", file, *sets, "--format", "json").out)
    assert [c["label"] for c in shown["cells"]] == ["icc=0.2, number=15"]
    ran = simtrial("run", file, "-o", tmp_path / "run", *sets, "--replicates", 20, "--format", "csv")
    assert ran.code == 0
    rows = pl.read_csv(ran.out.encode())
    assert rows[ICC].unique().to_list() == [0.2]
    assert rows[NUMBER].unique().to_list() == [15]
    checked = simtrial("check", file, *sets, "--replicates", 20, "--format", "csv")
    assert checked.code == 0
    assert pl.read_csv(checked.out.encode())[NUMBER].to_list() == [15]


def test_the_spread_of_a_held_icc_is_in_the_data(tmp_path: Path) -> None:
    """ICC 0 written over 0.01, 0.1 and 0.3: no practice effect at all."""
    file = written(tmp_path, QUICK + CROSS)
    simtrial("generate", file, "-o", tmp_path / "data", "--set", f"{ICC}=0", "--with-latent")
    assert (pl.read_csv(tmp_path / "data" / "small-icc=0_number=12-000001.csv")["practice_effect"] == 0).all()


@pytest.mark.parametrize("cell", ["icc=0.3, number=20", "number=20, icc=0.3", "icc=0.3_number=20"])
def test_a_cell_is_chosen_by_its_factors(cell: str, tmp_path: Path) -> None:
    file = written(tmp_path, QUICK + CROSS)
    made = simtrial("generate", file, "-o", tmp_path / "data", "--cell", cell)
    assert made.code == 0, made.err
    assert (tmp_path / "data" / "small-icc=0.3_number=20-000001.csv").exists()
    wrong = simtrial("generate", file, "-o", tmp_path / "other", "--cell", "icc=0.3")
    assert wrong.code == 2
    assert "icc=0.3, number=12" in wrong.err


def test_without_factors_files_keep_their_names(tmp_path: Path) -> None:
    made = simtrial("generate", written(tmp_path, QUICK), "-o", tmp_path / "data")
    assert (tmp_path / "data" / "small-000001.csv").exists()
    assert "cell" not in made.err


def cell(values: dict[str, Any], at: int = 0) -> Cell:
    return Cell(f"{at:012x}", "", values, None)  # type: ignore[arg-type]


def test_keys_of_one_ending_are_told_apart() -> None:
    both = {ICC: 0.2, "mechanism.baseline.icc": 0.1, NUMBER: 3, "dgm": "x"}
    assert label(both) == "mansa.icc=0.2, baseline.icc=0.1, number=3, dgm=x"
    assert label({"a.b": 1, "b": 2}) == "a.b=1, b=2"
    assert label({}) == ""


def test_file_names_are_apart_whatever_the_values() -> None:
    rows = [{"x.order": v} for v in (["a/b"], ["a b"], "A", "a", "", "é", "long " * 60, ["long"] * 60)]
    names = list(file_names([cell(r, at) for at, r in enumerate(rows)]).values())
    assert len({n.lower() for n in names}) == len(rows)
    assert all(n and len(n) <= 100 and not set(n) - set("abcdefghijklmnopqrstuvwxyzA0123456789.=_+-") for n in names)
    assert list(file_names([cell({})]).values()) == [""]
