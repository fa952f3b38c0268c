"""[vary] table: the rows of a CSV file are the cells of a sweep."""

from pathlib import Path

import pytest
from commands import simtrial
from tomls import SMALL, complaint, written

from simtrial.scenario import load

NUMBER, ICC, RATE = "mechanism.practices.number", "mechanism.outcomes.mansa.icc", "mechanism.dropout.rate"
VARY = '\n[vary]\ntable = "grid.csv"\n'


def cells(folder: Path, grid: str, more: str = "") -> list[dict]:
    (folder / "grid.csv").write_text(grid)
    return [dict(cell.factors) for cell in load(written(folder, SMALL + VARY + more))[1]]


def test_every_row_is_a_cell(tmp_path: Path) -> None:
    found = cells(tmp_path, f"{NUMBER},{ICC}\n12,0.05\n20,0.05\n20,0.2\n")
    assert found == [{NUMBER: 12, ICC: 0.05}, {NUMBER: 20, ICC: 0.05}, {NUMBER: 20, ICC: 0.2}]


def test_cells_are_those_of_factors_moved_together(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(f"{NUMBER},{ICC}\n12,0.05\n20,0.2\n")
    by_table = load(written(tmp_path, SMALL + VARY))
    text = f'{SMALL}\n[vary.zip]\n"{NUMBER}" = [12, 20]\n"{ICC}" = [0.05, 0.2]\n'
    by_hand = load(written(tmp_path, text, "hand.toml"))
    assert by_table[1] == by_hand[1]
    assert by_table[0].raw == by_hand[0].raw, "what is stored needs no other file"


def test_a_grid_is_crossed_with_other_factors(tmp_path: Path) -> None:
    found = cells(tmp_path, f"{NUMBER};{ICC}\n12;0.05\n20;0.2\n\n;\n", f'[vary.cross]\n"{RATE}" = [0.1, 0.2]\n')
    assert len(found) == 4


def test_as_excel_writes_it_and_with_text_and_lists(tmp_path: Path) -> None:
    factors = "mechanism.allocation.factors"
    grid = f'\ufeffmechanism.allocation.method,{factors}\r\nsimple,[]\r\nminimisation,"[""region""]"\r\n'
    found = cells(tmp_path, grid)
    assert found == [
        {"mechanism.allocation.method": "simple", factors: []},
        {"mechanism.allocation.method": "minimisation", factors: ["region"]},
    ]


@pytest.mark.parametrize(("grid", "told"), [
    ("", "a grid has a header of varied keys and a row for each cell"),
    (f"{NUMBER}\n", "a grid has a header"),
    (f"{NUMBER},{NUMBER}\n1,2\n", "grid.csv:1: two columns are called"),
    (f"{NUMBER},\n12,2\n", "grid.csv:1: a column has no name"),
    (f"{NUMBER},{ICC}\n12\n", "grid.csv:2: 1 cells, and 2 names in the header"),
    (f"{NUMBER},{ICC}\n12,0.1\n,0.1\n", "grid.csv:3: a blank cell"),
    ("mechanism.practices.numbr\n12\n", "unknown key 'numbr'; did you mean 'number'?"),
    (f"{NUMBER},{ICC}\n12,0.1\n\n12,1.5\n", f"grid.csv:4: {ICC}: icc must be < 1; 1.5 given"),
    (f"{NUMBER},run.seed\n12,1\n", "grid.csv:1: run.seed: 'run.seed' cannot be varied"),
    (f"{NUMBER},{ICC}\n12,0.1\n20,0.1\n12.0,0.10\n", "grid.csv:4: the same values as in line 2; leave one out"),
])  # fmt: skip
def test_a_wrong_grid_is_refused_with_its_line(grid: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(grid)
    assert told in complaint(tmp_path, SMALL + VARY)


def test_every_wrong_value_of_a_grid_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(f"{NUMBER},{ICC}\n12,1.5\n0,0.1\n20,high\n30,1.5\n")
    message = complaint(tmp_path, SMALL + VARY)
    assert [line.partition(" must")[0] for line in message.splitlines()] == [
        f"grid.csv:2: {ICC}: icc", f"grid.csv:3: {NUMBER}: number", f"grid.csv:4: {ICC}: icc",
    ]  # fmt: skip


def test_a_grid_of_the_file_that_is_extended_and_a_setting(tmp_path: Path) -> None:
    """Lines are those of the grid wherever it is named; what a setting causes is told of the setting."""
    (tmp_path / "grid.csv").write_text(f"{NUMBER},{ICC}\n12,0.1\n20,1.5\n")
    written(tmp_path, SMALL + VARY, "parent.toml")
    child = 'schema = 1\nname = "child"\nextends = "parent.toml"\n'
    assert f"grid.csv:3: {ICC}: icc must be < 1" in complaint(tmp_path, child)
    held = complaint(tmp_path, child, f"{NUMBER}=0", f"{ICC}=0.1")
    assert f"--set {NUMBER}=0" in held
    assert "grid.csv" not in held


def test_rows_that_become_alike_by_a_setting_are_one_cell(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(f"{NUMBER},{ICC}\n12,0.05\n20,0.05\n20,0.2\n")
    found = load(written(tmp_path, SMALL + VARY), [f"{NUMBER}=12"])[1]
    assert [cell.factors[ICC] for cell in found] == [0.05, 0.2]


def test_a_grid_that_is_not_there_or_beside_zip(tmp_path: Path) -> None:
    assert "grid.csv: cannot be read (No such file or directory)" in complaint(tmp_path, SMALL + VARY)
    (tmp_path / "grid.csv").write_text(f"{NUMBER}\n12\n")
    assert "write one of them" in complaint(tmp_path, f'{SMALL}{VARY}\n[vary.zip]\n"{ICC}" = [0.1]\n')
    assert "must be the name of a CSV file" in complaint(tmp_path, f"{SMALL}\n[vary]\ntable = 3\n")


def test_a_run_by_a_grid(tmp_path: Path) -> None:
    (tmp_path / "grid.csv").write_text(f"{NUMBER}\n6\n12\n")
    file = written(tmp_path, SMALL + VARY)
    found = simtrial("run", file, "-o", tmp_path / "run", "--replicates", 20, "--engine", "serial", "--format", "csv")
    assert found.code == 0, found.err
    (tmp_path / "grid.csv").unlink()
    assert simtrial("summarise", tmp_path / "run", "--format", "csv").out == found.out
