"""Running and summarising from the command line: what goes to stdout, exit codes, and formats that parse."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from commands import PROGRAM, program, simtrial
from runs import chunks, quick
from tomls import SMALL, changed, written

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]
LONG = ["cell", "method", "estimand", "measure", "value", "mcse", "n"]


@pytest.fixture
def file(tmp_path: Path) -> str:
    return written(tmp_path, SMALL)


def test_a_run_prints_failures_first_and_then_performance(file: str, tmp_path: Path) -> None:
    found = simtrial("run", file, "-o", tmp_path / "run", "--engine", "serial")
    assert found.code == 0
    assert found.out.index("Failures and flags") < found.out.index("Performance (Monte Carlo standard error)")
    for name in ("mixed model", "two-stage least squares", "imputed"):
        assert name in found.out
    assert "chunks" in found.err
    assert "chunks" not in found.out


def test_the_same_command_again_and_summarise_print_the_same(file: str, tmp_path: Path) -> None:
    command = ("run", file, "-o", tmp_path / "run", "--engine", "serial")
    first, second = simtrial(*command), simtrial(*command)
    assert first.out == second.out == simtrial("summarise", tmp_path / "run").out


def test_csv_and_json_parse_and_agree(file: str, tmp_path: Path) -> None:
    csv = simtrial("run", file, "-o", tmp_path / "run", "--engine", "serial", "--format", "csv")
    table = pl.read_csv(csv.out.encode())
    assert table.columns[: len(LONG)] == LONG
    found = json.loads(simtrial("summarise", tmp_path / "run", "--format", "json").out)
    assert len(found["rows"]) == table.height
    for ours, row in zip(found["rows"], table.iter_rows(named=True), strict=True):
        assert ours["measure"] == row["measure"]
        assert ours["value"] == pytest.approx(row["value"], rel=1e-12) if row["value"] is not None else True
    stored = pl.read_parquet(tmp_path / "run" / "performance.parquet")
    assert stored["value"].to_list() == [r["value"] for r in found["rows"]]


def test_json_is_strict_even_where_a_measure_is_infinite(file: str, tmp_path: Path) -> None:
    """NaN and Infinity are not JSON: other readers refuse them."""
    text = changed('received = "sessions >= 6"\nadjust', 'received = "sessions >= 6"\nci = "anderson-rubin"\nadjust')
    text = changed("number = 12", "number = 4", text)
    name = written(tmp_path, text, "weak.toml")
    found = simtrial("run", name, "-o", tmp_path / "run", "--engine", "serial", "--format", "json")
    assert found.code == 0, found.err

    def strict(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads(found.out, parse_constant=strict)


def test_factors_of_a_sweep_are_columns(tmp_path: Path) -> None:
    name = written(tmp_path, SMALL + '\n[vary.cross]\n"mechanism.outcomes.mansa.icc" = [0.0, 0.1]\n')
    found = simtrial("run", name, "-o", tmp_path / "run", "--engine", "serial", "--replicates", 20, "--format", "csv")
    table = pl.read_csv(found.out.encode())
    assert table.columns[:3] == ["cell", "mechanism.outcomes.mansa.icc", "method"]
    assert set(table["mechanism.outcomes.mansa.icc"]) == {0.0, 0.1}


@pytest.mark.parametrize(
    "levels",
    [
        '"mechanism.allocation.factors" = [["region"], ["region", "practice_size"]]',
        '"mechanism.practices.regions" = [{ A = 1 }, { A = 1, B = 2 }]',
        '"mechanism.dropout" = [{ rate = 0.1 }, { rate = 0.3 }]',
    ],
)
def test_factors_that_are_lists_or_tables_can_be_written(levels: str, tmp_path: Path) -> None:
    name = written(tmp_path, f"{SMALL}\n[vary.cross]\n{levels}\n")
    found = simtrial("run", name, "-o", tmp_path / "run", "--engine", "serial", "--replicates", 20, "--format", "csv")
    assert found.code == 0, found.err
    assert pl.read_csv(found.out.encode())["cell"].n_unique() == 2


def test_an_incomplete_run_is_refused_unless_part_is_asked_for(file: str, tmp_path: Path) -> None:
    simtrial("run", file, "-o", tmp_path / "run", "--engine", "serial", "--chunk", 20)
    chunks(tmp_path / "run")[1].unlink()
    found = simtrial("summarise", tmp_path / "run")
    assert (found.code, found.out) == (3, "")
    assert "1 of 5 blocks are missing" in found.err
    assert "--partial" in found.err
    part = simtrial("summarise", tmp_path / "run", "--partial", "--format", "csv")
    assert part.code == 0
    assert pl.read_csv(part.out.encode()).filter(measure="convergence_rate")["n"].to_list() == [80, 80, 80]


def test_a_damaged_chunk_is_exit_4(file: str, tmp_path: Path) -> None:
    simtrial("run", file, "-o", tmp_path / "run", "--engine", "serial")
    chunks(tmp_path / "run")[0].write_bytes(b"PAR1 nothing PAR1")
    found = simtrial("summarise", tmp_path / "run")
    assert (found.code, found.out) == (4, "")
    assert "damaged" in found.err


def test_another_scenario_is_refused(file: str, tmp_path: Path) -> None:
    simtrial("run", file, "-o", tmp_path / "run", "--engine", "serial", "--replicates", 20)
    found = simtrial("run", file, "-o", tmp_path / "run", "--seed", 6)
    assert (found.code, found.out) == (2, "")
    assert "run.seed is 5 there and 6 here" in found.err


def test_failed_fits_are_results(tmp_path: Path) -> None:
    """Two practices: the mixed model cannot tell what varies between them."""
    text = changed("number = 12", "number = 2")
    text = text[: text.index('[[methods]]\nname = "two')] + text[text.index("[run]") :]
    found = simtrial("run", written(tmp_path, text), "-o", tmp_path / "run", "--engine", "serial", "--format", "csv")
    assert found.code == 0
    assert pl.read_csv(found.out.encode()).filter(measure="failures")["value"].sum() > 0


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_list(form: str) -> None:
    found = simtrial("list", "--format", form)
    assert (found.code, found.err) == (0, "")
    for name in ("partners", "verify/null-39", "lmm", "cace", "coverage", "boundary"):
        assert name in found.out
    if form == "csv":
        assert pl.read_csv(found.out.encode()).columns == ["what", "name", "meaning"]
    if form == "json":
        assert json.loads(found.out)["rows"][0]["what"] == "scenario"


def test_show(file: str) -> None:
    found = simtrial("show", file, "--set", "mechanism.practices.number=14")
    assert (found.code, found.err) == (0, "")
    assert re.search(r"mechanism\.practices\.number\s+14\s+practices randomised", found.out)
    assert "Monte Carlo error of a coverage of 95%: 2.18 points" in found.out  # sqrt(.0475 / 100)
    resolved = json.loads(simtrial("show", file, "--format", "json").out)
    assert resolved["mechanism"]["practices"]["number"] == 12
    assert [m["name"] for m in resolved["methods"]] == ["mixed model", "two-stage least squares", "imputed"]


def test_the_expected_time_is_that_of_the_scenario(file: str) -> None:
    text = simtrial("show", file, "--set", "run.replicates=40000").out
    assert "40,000 replicates in 1 cell" in text
    assert "coverage of 95%: 0.11 points" in text


def test_progress_and_results_keep_to_their_streams(file: str, tmp_path: Path) -> None:
    found = program("run", file, "-o", tmp_path / "run", "--workers", 2, "--format", "csv")
    assert found.code == 0
    assert pl.read_csv(found.out.encode()).columns[: len(LONG)] == LONG
    assert re.search(r"\d+/\d+ chunks", found.err)
    assert "\x1b" not in found.out + found.err


def test_a_reader_that_goes_away_is_no_error() -> None:
    """As in simtrial list | head: the pipe is closed before anything is written to it."""
    command = [sys.executable, str(PROGRAM), "list", "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) in (0, 1, 141)  # not 5, which would blame the machine
    assert told == ""


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> str:
    """What a command writes when stdout and stderr are a terminal."""
    leader, follower = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    command = [sys.executable, str(PROGRAM), *arguments]
    with subprocess.Popen(command, stdout=follower, stderr=follower, env={**clean, **environment}) as process:
        os.close(follower)
        text = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # how a terminal says that its other side is closed
                break
            if not piece:
                break
            text += piece
    os.close(leader)
    assert process.returncode == 0
    return text.decode()


def test_no_color_is_obeyed(file: str, tmp_path: Path) -> None:
    colour = re.compile(r"\x1b\[[0-9;]*\b(3[0-7]|38|9[0-7])\b[0-9;]*m")
    options = ["--engine", "serial", "--chunk", "20"]
    terminal = {"TERM": "xterm-256color"}
    plain = on_a_terminal(["run", file, "-o", str(tmp_path / "a"), *options], {**terminal, "NO_COLOR": "1"})
    vivid = on_a_terminal(["run", file, "-o", str(tmp_path / "b"), *options], terminal)
    assert not colour.search(plain)
    assert colour.search(vivid)
    assert "Performance" in plain


def test_a_request_for_fewer_replicates_says_that_more_are_there(file: str, tmp_path: Path) -> None:
    options = ["-o", tmp_path / "run", "--engine", "serial"]
    assert "holds" not in simtrial("run", file, *options, "--replicates", 40).err
    found = simtrial("run", file, *options, "--replicates", 20)
    assert f"{tmp_path / 'run'} holds 40 replicates per cell: the table is of the first 20" in found.err
    recorded = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["command"]
    assert recorded.startswith("simtrial ")
