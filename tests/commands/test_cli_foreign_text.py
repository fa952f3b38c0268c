"""Text from outside: printed without what moves a cursor or turns the direction of writing, and never as a formula."""

import ast
import csv
import io
import shlex
from pathlib import Path

import pytest
from commands import simtrial
from runs import quick
from tomls import SMALL, written

import simtrial as package
from simtrial.run import implied_cuts, tasks

__all__ = ["quick"]
pytestmark = pytest.mark.usefixtures("quick")
EVIL = 'red \x1b[31m bell \x07 right-to-left \u202e override \u2066 <script>alert(1)</script> "quoted"'
FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)"]


def toml(text: str) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" if not c.isalnum() else c for c in text) + '"'


def clean(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_titles_methods_and_names_are_printed_without_control_characters(tmp_path: Path) -> None:
    text = SMALL.replace('title = "Twelve practices, quick to analyse"', f"title = {toml(EVIL)}")
    text = text.replace('name = "mixed model"', f"name = {toml(EVIL)}")
    file = written(tmp_path, text)
    for arguments in (("show", file), ("run", file, "-o", tmp_path / "run", "--replicates", 20, "--engine", "serial"),
                      ("summarise", tmp_path / "run"), ("replay", tmp_path / "run", "--replicate", 1)):  # fmt: skip
        found = simtrial(*arguments)
        assert found.code == 0, found.err
        assert clean(found.out), arguments
        assert clean(found.err.replace("\r", "")), arguments
        assert "\\x1b[31m" in found.out
        assert "<script>alert(1)</script>" in found.out
        if arguments[0] != "show":
            forms = ("csv", "json", *(("markdown", "latex") if arguments[0] == "summarise" else ()))
            for form in forms:
                found = simtrial(*arguments, "--format", form)
                assert (found.code, clean(found.out)) == (0, True), (arguments, form)
                assert "x1b" in found.out or "u001b" in found.out, form
    for form in ("rsimsum", "siman"):
        assert simtrial("export", tmp_path / "run", "--format", form, "-o", tmp_path / form).code == 0
        for name in (tmp_path / form).iterdir():
            assert name.suffix == ".dta" or clean(name.read_text()), name


def test_errors_and_analyses_of_files_are_printed_without_control_characters(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('[[methods]]\nname = "a"\nkind = "ols"\nadjust = []\nresponse = "y"\n')
    rows = "".join(f"{EVIL.replace(chr(34), '')},{p},{p % 2},{p + k}\n" for p in range(1, 7) for k in range(3))
    (tmp_path / "d.csv").write_text(f"trial_id,practice,arm,y_followup\n{rows}")
    found = simtrial("analyse", tmp_path / "d.csv", "--methods", tmp_path / "m.toml")
    assert (found.code, clean(found.out)) == (0, True)
    (tmp_path / "d.csv").write_text(f"trial_id,practice,arm,y_followup\nx,1,0,{EVIL.replace(chr(34), '')}\n")
    found = simtrial("analyse", tmp_path / "d.csv", "--methods", tmp_path / "m.toml")
    assert (found.code, clean(found.err)) == (2, True)
    found = simtrial("show", f"no-{EVIL}")
    assert (found.code, clean(found.err)) == (2, True)


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_is_text_in_a_csv(formula: str, tmp_path: Path) -> None:
    file = written(tmp_path, SMALL.replace('name = "mixed model"', f"name = {toml(formula)}"))
    command = ("run", file, "-o", tmp_path / "run", "--replicates", 20, "--engine", "serial")
    found = simtrial(*command, "--format", "csv")
    methods = {row["method"] for row in csv.DictReader(io.StringIO(found.out))}
    assert "'" + formula in methods
    assert all(not method.startswith(("=", "+", "-", "@")) for method in methods)
    assert formula in simtrial(*command).out
    names = ("value", "mc_lower", "mc_upper")
    numbers = [row[name] for row in csv.DictReader(io.StringIO(found.out)) for name in names]
    assert any(text.startswith("-") for text in numbers), "numbers are left as they are"


def test_commands_for_failed_fits_can_be_copied_whatever_names_hold(tmp_path: Path) -> None:
    """A method with control characters that fails in a folder whose name has a space."""
    text = SMALL.replace("number = 12", "number = 3").replace('name = "mixed model"', f"name = {toml(EVIL)}")
    folder = tmp_path / "a run"
    found = simtrial("run", written(tmp_path, text), "-o", folder, "--replicates", 60, "--engine", "serial")
    assert clean(found.out)
    lines = [line for line in found.out.splitlines() if ": simtrial replay" in line]
    assert any("\\x1b[31m" in line for line in lines)
    words = shlex.split(lines[-1].rpartition(": simtrial ")[2])
    assert simtrial(*words).code == 0


PRINTERS, STREAMS = ("print", "click.echo", "click.secho"), ("stdout.write", "stderr.write")
WRITES = {"commands/notes.py", "report/text.py", "report/progress.py", "cli.py", "group.py"}
"""Files that write on a terminal, all others through them."""


def test_nothing_is_printed_but_through_what_escapes() -> None:
    """No `print`, `click.echo` or write to a standard stream elsewhere."""
    folder = Path(package.__file__).parent
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "click.echo", "click.secho") or called.endswith(
                    ("stdout.write", "stderr.write")
                ):
                    found.add(str(file.relative_to(folder)))
    assert found == WRITES


def test_chunks_that_fail_are_named_without_control_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of an exception, and the label of its cell."""

    def fails(*arguments: object) -> None:
        raise ValueError(EVIL)

    monkeypatch.setattr(tasks, "block_pieces", fails)
    text = SMALL + '\n[vary.cross]\n"mechanism.practices.regions" = [{ North = 2, ' + toml(EVIL) + " = 1 }]\n"
    found = simtrial("run", written(tmp_path, text), "-o", tmp_path / "run", "--engine", "serial")
    assert found.code == 3
    assert "chunk of cell" in found.err
    assert "\\x1b[31m" in found.err
    assert clean(found.err)


def test_warnings_are_printed_without_control_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implied_cuts, "warnings", lambda cells: [EVIL])
    file = written(tmp_path, SMALL)
    for arguments in (("show", file), ("run", file, "-o", tmp_path / "run", "--replicates", 20, "--engine", "serial")):
        found = simtrial(*arguments)
        assert "warning: red \\x1b[31m" in found.err
        assert clean(found.err)


def test_names_of_files_and_methods_on_stderr(tmp_path: Path) -> None:
    """What commands say beside their results: files written, methods that differ, mistaken options."""
    folder = tmp_path / EVIL.replace("/", "")
    file = written(tmp_path, SMALL.replace('name = "mixed model"', f"name = {toml(EVIL)}"))
    command = ("run", file, "-o", folder, "--replicates", 20, "--engine", "serial", "--shard", "1/2")
    for arguments in (command, ("generate", "partners", "-o", folder / "trials"), ("audit", folder),
                      ("replay", folder, "--replicate", 1, "-o", folder / "one"), ("status", folder),
                      ("list", "--format", EVIL), (EVIL,), ("check", folder), ("summarise", folder)):  # fmt: skip
        found = simtrial(*arguments)
        assert found.err or arguments[0] in ("status", "summarise")
        assert clean(found.err), arguments
        assert clean(found.out), arguments
