"""Delimited text as people export it: read like the plain file, or refused in one message that says where and why."""

from pathlib import Path

import numpy as np
import own_data
import polars as pl
import pytest
from own_data import CASES, analysed, refused, rows, text

from simtrial.files.formats import open_file, text_file

PLAIN = 0.1938381673515744  # arm of lmm on y_baseline
CELLS = rows()
COMMAS = [[cell.replace(".", ",") for cell in row] for row in CELLS]


def changed(at: int, column: str, cell: str) -> list[list[str]]:
    """The trial with one cell replaced; rows count from 1 after the header."""
    cells = [list(row) for row in CELLS]
    cells[at][CELLS[0].index(column)] = cell
    return cells


READ = {
    "as it is": text().encode(),
    "blank last lines": (text() + "\n \n\t\n").encode(),
    "blank lines first and within": ("\n\n" + text().replace("\n1,1,4.03", "\n\n,,,,,\n1,1,4.03")).encode(),
    "no line end at the end": text().rstrip("\n").encode(),
    "line ends of Windows": text(line="\r\n").encode(),
    "line ends of an old Mac": text(line="\r").encode(),
    "trailing empty columns": text(cells=[[*row, "", "", ""] for row in CELLS]).encode(),
    "trailing separators of the rows alone": text(cells=[CELLS[0], *([*row, "", " "] for row in CELLS[1:])]).encode(),
    "trailing separators of the header alone": text(cells=[[*CELLS[0], "", ""], *CELLS[1:]]).encode(),
    "tabs": text("\t").encode(),
    "bars": text("|").encode(),
    "semicolons and points": text(";").encode(),
    "semicolons and decimal commas": text(";", cells=COMMAS).encode(),
    "tabs and decimal commas": text("\t", cells=COMMAS).encode(),
    "sep= and semicolons": ("sep=;\r\n" + text(";", "\r\n", COMMAS)).encode(),
    "sep= and tabs": ("sep=\t\r\n" + text("\t", "\r\n")).encode(),
    "quoted sep=": ('"sep=,"\n' + text()).encode(),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + text().encode(),
    "UTF-8 with a mark and sep=": b"\xef\xbb\xbfsep=;\r\n" + text(";").encode(),
    "UTF-16, low byte first": b"\xff\xfe" + text("\t").encode("utf-16-le"),
    "UTF-16, high byte first": b"\xfe\xff" + text("\t").encode("utf-16-be"),
    "UTF-16 without a mark": text().encode("utf-16-le"),
    "UTF-32": text().encode("utf-32"),
    "spaces around names": text(cells=[[f" {name} " for name in CELLS[0]], *CELLS[1:]]).encode(),
    "spaces around cells": text(cells=[CELLS[0], *([f" {cell}\u00a0" for cell in row] for row in CELLS[1:])]).encode(),
    "everything in quotes": text(cells=[[f'"{cell}"' for cell in row] for row in CELLS]).encode(),
    "quotes and decimal commas": text(";", cells=[[f'"{cell}"' for cell in row] for row in COMMAS]).encode(),
    "row names of R": text(cells=[['""', *CELLS[0]], *([f'"{n}"', *row] for n, row in enumerate(CELLS[1:]))]).encode(),
    "row names of R's write.table, without a heading": text(
        cells=[[f'"{cell}"' for cell in CELLS[0]], *([f'"{n}"', *row] for n, row in enumerate(CELLS[1:]))]
    ).encode(),
    "the same without quotes": text(cells=[CELLS[0], *([str(n), *row] for n, row in enumerate(CELLS[1:]))]).encode(),
    "the same with tabs": text("\t", cells=[CELLS[0], *([f"p{n}", *row] for n, row in enumerate(CELLS[1:]))]).encode(),
    "a separator at the end of every row": text(cells=[CELLS[0], *([*row, ""] for row in CELLS[1:])]).encode(),
    "a comment with the separator, and lines within": text(
        cells=[[*CELLS[0], "note"], *([*row, '"a, b\nand ""c"""'] for row in CELLS[1:])]
    ).encode(),
    "Windows-1252 in another column": text(cells=[[*CELLS[0], "ort"], *([*r, "Köln"] for r in CELLS[1:])]).encode(
        "cp1252"
    ),
    "a name twice of other columns": text(cells=[[*CELLS[0], "x", "x"], *([*r, "1", "2"] for r in CELLS[1:])]).encode(),
    "arm as TRUE and FALSE": text(
        cells=[CELLS[0], *([r[0], {"1": "TRUE", "0": "FALSE"}[r[1]], *r[2:]] for r in CELLS[1:])]
    ).encode(),
    "practices as 7.0": text(cells=[CELLS[0], *([f"{row[0]}.0", *row[1:]] for row in CELLS[1:])]).encode(),
    "practices as 7 and 7.0": text(
        cells=[CELLS[0], *([row[0] + ".0" * (n % 2), *row[1:]] for n, row in enumerate(CELLS[1:]))]
    ).encode(),
    "practices as 7 and 7,0 with decimal commas": text(
        ";", cells=[COMMAS[0], *([row[0] + ",0" * (n % 2), *row[1:]] for n, row in enumerate(COMMAS[1:]))]
    ).encode(),
    "numbers with a plus and a power": text(
        cells=[CELLS[0], *([*row[:2], f"+{row[2]}", f"{row[3]}E+00", *row[4:]] for row in CELLS[1:])]
    ).encode(),
    "a control character at the end": text().encode() + b"\x1a",
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    file = tmp_path_factory.mktemp("plain") / "plain.csv"
    file.write_text(text())
    return analysed(file)


@pytest.mark.parametrize("case", READ)
def test_text_as_it_is_exported_is_read_like_the_plain_file(tmp_path: Path, plain, case: str) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(READ[case])
    assert analysed(file) == plain


def test_the_plain_file_is_the_trial(plain) -> None:
    """Generalised least squares on the full matrices, read by another reader, with the variances reported."""
    columns = (["arm", "y_baseline"], ["y_followup"], ["practice"])
    x, y, practice = (own_data.frame().select(names).to_numpy().astype(float) for names in columns)
    x = np.column_stack([np.ones(len(x)), x])
    extra = plain[0]["extra"]
    inverse = np.linalg.inv(extra["sigma2"] * np.eye(len(y)) + extra["tau2"] * (practice == practice.T))
    estimate = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)[1, 0]
    assert plain[0]["estimate"] == pytest.approx(estimate, rel=1e-10)
    assert plain[0]["estimate"] == pytest.approx(PLAIN, rel=1e-9)
    assert (plain[0]["n_used"], plain[0]["clusters_used"]) == (96, 12)


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("fault", ["first cells alike", "one row without"])
def test_cells_too_many_that_are_no_row_names_are_refused_with_the_way_out(
    tmp_path: Path, fault: str, quote: str
) -> None:
    rows = [[str(n), *row] for n, row in enumerate(CELLS[1:])]
    rows[7] = ["6", *rows[7][1:]] if fault == "first cells alike" else rows[7][1:]
    file = tmp_path / "data.csv"
    file.write_text(text(cells=[[f"{quote}{cell}{quote}" for cell in row] for row in [CELLS[0], *rows]]))
    assert "write the file with row.names=FALSE" in refused(file)


@pytest.mark.parametrize("ending", [".tsv", ".txt", ".tab", ".CSV"])
def test_endings_of_text(tmp_path: Path, plain, ending: str) -> None:
    file = tmp_path / f"data{ending}"
    file.write_text(text("\t"))
    assert analysed(file) == plain


@pytest.mark.parametrize("name", ["blank_lines", "trailing_empty_columns", "float_ids_mixed"])
def test_cases_of_public_reports(tmp_path: Path, plain, name: str) -> None:
    file = tmp_path / f"{name}.csv"
    file.write_bytes((CASES / f"{name}.csv").read_bytes())
    assert analysed(file) == plain


BLANKS = ["", " ", "NA", "NaN", "nan", ".", ".a", ".z", "NULL", "null", "#N/A", "N/A", '""', '" "', '"NA"']


@pytest.mark.parametrize("blank", BLANKS)
def test_every_writing_of_a_missing_value_is_one(tmp_path: Path, blank: str) -> None:
    file = tmp_path / "data.csv"
    file.write_text(text(cells=changed(2, "y_followup", blank)))
    found = analysed(file)
    file.write_text(text(cells=[row for at, row in enumerate(CELLS) if at != 2]))
    assert found == analysed(file)
    assert found[0]["n_used"] == 95


REFUSED = {
    "a number with a comma": (text(cells=changed(3, "y_baseline", '"4,03"')), "4: column 'y_baseline' must hold"),
    "thousands": (text(cells=changed(3, "y_baseline", '"1,234.5"')), "'1,234.5' given; write decimals with a point"),
    "thousands by a space": (
        text(cells=changed(3, "y_baseline", "1 234")),
        "'1 234' given; write decimals with a point",
    ),
    "thousands by an apostrophe": (text(cells=changed(3, "y_baseline", "1'234")), "'1'234' given; write decimals"),
    "a share": (text(cells=changed(3, "y_baseline", "12%")), "'12%' given; write decimals with a point, and no mark"),
    "a printed minus": (text(cells=changed(3, "y_baseline", "\u22121")), "'\u22121' given; write decimals"),
    "decimal commas and points": (
        text(";", cells=changed(3, "y_baseline", "4,03")),
        "with a comma ('4,03', line 4) and",
    ),
    "thousands with semicolons": (
        text(";", cells=[CELLS[0], *([*r[:2], "1,234", "2,345", *r[4:]] for r in CELLS[1:])]),
        "may be 1.234 or 1234",
    ),
    "thousands by a point with semicolons": (
        text(
            ";",
            cells=[
                CELLS[0],
                *([*row[:2], "1.234" if n % 2 else "950", "2", *row[4:]] for n, row in enumerate(CELLS[1:])),
            ],
        ),
        "may be 1.234 or 1234",
    ),
    "a needed name twice": (
        text(cells=[["practice", "arm", "y_baseline", "y_followup", "arm", "edu"], *CELLS[1:]]),
        "two columns are named 'arm'; rename or delete",
    ),
    "a needed name twice but for spaces": (
        text(cells=[["practice", "arm", "y_baseline", "y_followup", " arm", "edu"], *CELLS[1:]]),
        "two columns are named",
    ),
    "a row too long": (
        text(cells=[*CELLS[:3], [*CELLS[3], "9"]]),
        ":4: cannot be read as CSV: 7 cells, the header has 6",
    ),
    "a row too short": (text(cells=[*CELLS[:3], CELLS[3][:4]]), ":4: cannot be read as CSV: 4 cells, the header has 6"),
    "a row too long among quotes": (
        text(cells=[CELLS[0], ['"1"', *CELLS[1][1:], "9"]]),
        ":2: cannot be read as CSV: 7",
    ),
    "a quote that does not end": (text(cells=changed(3, "edu", '"3')), ":4: cannot be read as CSV: quotes that do not"),
    "names alone": (text(cells=CELLS[:1]), "no rows"),
    "names and blank rows": (text(cells=[CELLS[0], [""] * 6, [""]]), "no rows"),
    "blank lines alone": ("\n \n\n", "the file is empty; expected a header line"),
    "sep= alone": ("sep=;\n", "the file is empty; expected a header line"),
    "nothing": ("", "the file is empty; expected a header line"),
    "the same practice as 7 and 07": (text(cells=changed(1, "practice", "01")), "practice '01' and '1' are one number"),
    "a practice cut by a spreadsheet": (
        text(cells=[CELLS[0], *(["1.23457E+11" if r[0] == "1" else r[0], *r[1:]] for r in CELLS[1:])]),
        "practice '1.23457E+11' shows the first digits of a longer number",
    ),
    "arm with a third word": (text(cells=changed(3, "arm", "TRUE")), ":4: column 'arm' must hold numbers"),
    "binary zeros": (text(cells=changed(3, "edu", "\0")), "not a text file: it contains binary zeros"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_text_with_two_meanings_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    content, said = REFUSED[case]
    file = tmp_path / "data.csv"
    file.write_bytes(content.encode())
    message = refused(file)
    assert message.startswith(f"error: {file}")
    assert said in message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04rest", "is a workbook"),
        (b"\xd0\xcf\x11\xe0rest", "is a workbook"),
        (b"PAR1rest", "Parquet"),
        (b"<stata_dta><header>", "Stata"),
        (b"\x1f\x8brest", "is compressed"),
        (b"a,b\n\x81,1\n", "neither UTF-8 nor Windows-1252 (byte 5)"),
        (b"\xff\xfea\x00,", "marked as UTF-16-LE but is not"),
    ],
)
def test_bytes_that_are_no_csv_are_told_for_what_they_are(tmp_path: Path, data: bytes, said: str) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(data)
    assert said in refused(file)


def test_a_category_keeps_its_letters_whatever_the_encoding(tmp_path: Path) -> None:
    named = text(cells=[[*CELLS[0], "region"], *([*row, "Köln" if int(row[0]) % 3 else "Ærø"] for row in CELLS[1:])])
    found = []
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        file = tmp_path / "data.csv"
        file.write_bytes(named.encode(encoding))
        found.append(analysed(file, ("y_baseline", "region")))
    assert found[0][3]["term"] == "region=Ærø"
    assert all(each == found[0] for each in found)


def test_numbers_with_marks_are_no_categories(tmp_path: Path) -> None:
    incomes = [[*CELLS[0], "income"], *([*row, f'"{n % 7 + 1},{n % 9}00"'] for n, row in enumerate(CELLS[1:]))]
    file = tmp_path / "data.csv"
    file.write_text(text(cells=incomes))
    assert "column 'income' must hold numbers" in refused(file, ("y_baseline", "income"))


def test_the_line_of_a_message_counts_lines_within_quotes_and_blank_ones(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text('\npractice,arm,y_baseline,y_followup,note\n1,0,1,2,"two\nlines"\n\n2,1,x,3,\n')
    assert f"{file}:6: column 'y_baseline' must hold numbers" in refused(file)


def test_plain_and_quoted_text_are_taken_apart_alike(tmp_path: Path) -> None:
    written = text(cells=[[*row, "", ""] for row in CELLS])
    lines = text_file.Lines(",", 1, written.rstrip("\n"))
    (header, frame, numbers), quoted = text_file._plain(lines, tmp_path), text_file._quoted(lines, tmp_path)
    assert header == quoted[0]
    assert frame.equals(quoted[1])
    assert numbers.to_list() == quoted[2].to_list() == list(range(2, 98))


def test_long_quoted_files_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "data.csv"
    file.write_text(text(cells=[[f'"{cell}"' for cell in row] for row in CELLS]))
    monkeypatch.setattr(text_file, "AT_ONCE", 7)
    content = open_file(file).read(["practice", "y_followup"])
    assert content.frame["practice"].to_list() == [row[0] for row in CELLS[1:]]
    assert content.places.to_list() == list(range(2, 98))


def test_ids_of_several_files_do_not_meet_but_those_of_trials_do(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv", tmp_path / "b.parquet"
    first.write_text(text(cells=[["trial_id", *CELLS[0]], *(["1", *row] for row in CELLS[1:])]))
    own_data.frame().with_columns(trial_id=pl.lit(1.0)).write_parquet(second)
    assert "trial '1' is in" in refused(first, ("y_baseline",), str(second))
    own_data.frame().with_columns(trial_id=pl.lit("01")).write_parquet(second)
    assert "trial_id '1' and '01' are one number written in two ways" in refused(first, ("y_baseline",), str(second))
    practice = pl.col("practice").cast(pl.Float64)
    own_data.frame().with_columns(practice, trial_id=pl.lit(2)).write_parquet(second)
    found = analysed(first, ("y_baseline",), str(second))
    assert [row["estimate"] for row in found if row["term"] == "arm"] == pytest.approx([PLAIN, PLAIN], rel=1e-12)


@pytest.mark.parametrize("how", ["rows", "columns", "names", "practice order"])
def test_order_and_names_change_nothing(tmp_path: Path, plain, how: str) -> None:
    frame = own_data.frame()
    changed = {
        "rows": frame.sample(fraction=1, shuffle=True, seed=3),
        "columns": frame.select(frame.columns[::-1]),
        "names": frame.with_columns(practice=pl.col("practice").map_elements(lambda k: f"{97 * k % 13}b", pl.String)),
        "practice order": frame.sort("practice", descending=True),
    }[how]
    file = tmp_path / "data.csv"
    changed.write_csv(file)
    for mine, theirs in zip(analysed(file, ("y_baseline", "edu")), _of(tmp_path, frame), strict=True):
        assert mine["term"] == theirs["term"]
        assert abs(mine["estimate"] - theirs["estimate"]) < 1e-10 * theirs["std_error"]
        assert mine["std_error"] == pytest.approx(theirs["std_error"], rel=1e-10)


def _of(folder: Path, frame: pl.DataFrame) -> list[dict[str, object]]:
    file = folder / "plain.csv"
    frame.write_csv(file)
    return analysed(file, ("y_baseline", "edu"))


@pytest.mark.parametrize("ending", [".numbers"])
def test_a_workbook_is_told_to_be_saved_as_csv(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"data{ending}"
    file.write_bytes(b"PK\x03\x04")
    assert "save the sheet of a workbook as CSV" in refused(file)
