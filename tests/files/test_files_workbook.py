"""Sheets of workbooks: the same numbers as from CSV, the sheet by name, and what is refused."""

import sys
from pathlib import Path

import pytest
from commands import simtrial
from own_data import analysed, frame, refused
from workbooks import write_workbook

pytest.importorskip("python_calamine")


def rows() -> list[list[object]]:
    return [frame().columns, *(list(row) for row in frame().iter_rows())]


def test_a_sheet_gives_the_numbers_of_the_csv(tmp_path: Path) -> None:
    book, plain = tmp_path / "trial.xlsx", tmp_path / "plain.csv"
    write_workbook(book, {"data": rows(), "Sheet2": []})
    frame().write_csv(plain)
    assert analysed(book) == analysed(plain)
    assert analysed(Path(f"{book}#data")) == analysed(plain)


def test_of_several_sheets_one_is_named(tmp_path: Path) -> None:
    book = tmp_path / "trial.xlsx"
    write_workbook(book, {"read me": [["Codes"], ["-99: missing"]], "data": rows()})
    assert "2 sheets hold something (read me, data); name one, e.g. 'trial.xlsx#read me'" in refused(book)
    assert analysed(Path(f"{book}#data"))
    assert "unknown sheet 'dta'; did you mean 'data'?" in refused(Path(f"{book}#dta"))


def test_a_row_is_named_as_the_spreadsheet_numbers_it(tmp_path: Path) -> None:
    book = tmp_path / "trial.xlsx"
    cells = rows()
    cells[4][cells[0].index("arm")] = 2.0
    write_workbook(book, {"data": [[], ["a title that is no header"][:0], *cells]})
    assert f"{book}: row 7: arm must be 0 (control) or 1 (intervention); '2' given" in refused(book)


def test_blanks_truth_values_and_words(tmp_path: Path) -> None:
    book, plain = tmp_path / "trial.xlsx", tmp_path / "plain.csv"
    cells = rows()
    at = cells[0].index("arm")
    for row in cells[1:]:
        row[at] = bool(row[at])
    cells.append([None] * len(cells[0]))
    write_workbook(book, {"data": cells})
    frame().write_csv(plain)
    assert analysed(book) == analysed(plain)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"not a workbook", "cannot be read as a workbook"), (b"", "cannot be read as a workbook")],
)
def test_what_is_no_workbook_is_one_message(tmp_path: Path, content: bytes, message: str) -> None:
    book = tmp_path / "trial.xlsx"
    book.write_bytes(content)
    assert message in refused(book)


def test_an_empty_workbook(tmp_path: Path) -> None:
    write_workbook(tmp_path / "trial.xlsx", {"Sheet1": []})
    assert "the sheet is empty" in refused(tmp_path / "trial.xlsx")


def test_a_missing_file_is_named_without_its_sheet(tmp_path: Path) -> None:
    assert f"{tmp_path / 'trial.xlsx'}: no such file" in refused(tmp_path / "trial.xlsx#data")


def test_results_are_summarised_from_a_sheet(tmp_path: Path) -> None:
    cells = [["rep", "method", "estimate", "se"], *([k, "a", 0.5 + (k % 3) / 10, 0.2] for k in range(1, 31))]
    write_workbook(tmp_path / "r.xlsx", {"x": cells, "notes": [["n"]]})
    found = simtrial("summarise", f"{tmp_path / 'r.xlsx'}#x", "--true", "0.5", "--format", "csv", "--measure", "bias")
    assert found.code == 0, found.err
    assert found.out.splitlines()[1].split(",")[4].startswith("0.0999999")


def test_without_the_package_the_way_to_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_workbook(tmp_path / "r.xlsx", {"x": [["a"], [1.0]]})
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    found = simtrial("summarise", tmp_path / "r.xlsx")
    assert found.code == 5
    assert "pip install '.[excel]' where the source of simtrial is, or save the sheet as CSV" in found.err
