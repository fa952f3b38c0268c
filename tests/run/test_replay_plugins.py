"""Plug-ins of a stored run: loaded from wherever a command stands, refused when changed, called where wanted alone."""

import json
import shutil
from pathlib import Path

import pytest
from commands import program
from tomls import SMALL, written

PLUGIN = """
import numpy as np
import simtrial

@simtrial.plain_method("noted")
def noted(trial, adjust=()):
    print("a trial of", trial.height)
    return {"estimate": float(trial["mansa_followup"].mean()), "std_error": 1.0}

@simtrial.plain_method("drawing")
def drawing(trial, rng=None):
    print("a draw")
    return {"estimate": rng.normal(), "std_error": 1.0}

@simtrial.plain_method("global")
def drawing_globally(trial):
    print("global")
    return {"estimate": np.random.normal(), "std_error": 1.0}
"""
NAMES = ("noted", "drawing", "global")


def scenario(folder: Path) -> str:
    tables = "".join(f'[[methods]]\nname = "{n}"\nkind = "{n}"\nestimand = "itt"\n\n' for n in NAMES)
    around = '[[methods]]\nname = "around"\nkind = "mi"\nestimand = "itt"\nm = 2\nanalysis = { kind = "noted" }\n\n'
    return written(folder, SMALL.replace("[run]\n", f"{tables}{around}[run]\n"))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plug-in, and a run that was made in it with the plug-in's relative path."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "mine.py").write_text(PLUGIN)
    scenario(folder)
    command = ("run", "trial.toml", "-o", "out", "--plugin", "mine.py", "--replicates", 20, "--engine", "serial")
    assert program(*command, cwd=folder).code == 0
    return folder


@pytest.fixture
def moved(project: Path, tmp_path: Path) -> Path:
    """A copy, whose run knows the plug-in at its old place only."""
    return Path(shutil.copytree(project, tmp_path / "moved"))


def test_functions_are_called_for_the_replicate_alone(project: Path) -> None:
    """Printed once (three times: `mi` analyses it twice), with the numbers of the run, drawing or not."""
    found = program("replay", "out", "--replicate", 17, cwd=project)
    assert (found.code, ": identical" in found.err) == (0, True)
    printed = found.err.splitlines()
    assert sum(line.startswith("a trial of") for line in printed) == 3
    assert printed.count("a draw") == 1
    assert printed.count("global") == 1


def test_a_relative_plugin_is_found_from_another_folder(project: Path, tmp_path: Path) -> None:
    out = project / "out"
    assert program("replay", out, "--replicate", 3, cwd=tmp_path).code == 0
    assert program("status", out, cwd=tmp_path).code == 0
    command = ("run", project / "trial.toml", "-o", out, "--plugin", project / "mine.py", "--replicates", 40)
    assert program(*command, "--workers", 2, "--engine", "processes", cwd=tmp_path).code == 0


def test_a_project_that_was_moved_or_copied(project: Path, moved: Path) -> None:
    """The same source below the working directory counts, whether or not the old one is still there."""
    command = ("run", "trial.toml", "-o", "out", "--plugin", "mine.py", "--replicates", 60)
    assert program(*command, "--engine", "serial", cwd=moved).code == 0
    held = (project / "mine.py").read_text()
    (project / "mine.py").unlink()
    try:
        assert program("replay", "out", "--replicate", 3, cwd=moved).code == 0
        assert program("replay", moved / "out", "--replicate", 3, cwd=moved.parent).code == 0  # where the run had it
        gone = program("replay", project / "out", "--replicate", 3, cwd=moved.parent)
        assert gone.code == 2
        assert f"mine.py: no file {project / 'mine.py'} any more" in gone.err
    finally:
        (project / "mine.py").write_text(held)


def test_changed_source_is_refused_in_the_same_words_everywhere(project: Path, moved: Path) -> None:
    held = (project / "mine.py").read_text()
    words = "mine.py: its source has changed since the run was begun"
    try:
        for folder in (project, moved):
            (folder / "mine.py").write_text(PLUGIN + "# changed\n")
        found = program("replay", "out", "--replicate", 3, cwd=moved)
        assert (found.code, words in found.err) == (2, True)
        assert found.out == ""
        counted = program("status", "out", cwd=moved)
        assert words in counted.err
        assert "warning: " in counted.err
        assert "Traceback" not in counted.err
    finally:
        (project / "mine.py").write_text(held)


def test_a_module_is_found_from_another_folder(tmp_path: Path) -> None:
    (tmp_path / "here" / "package").mkdir(parents=True)
    (tmp_path / "here" / "package" / "__init__.py").write_text("")
    (tmp_path / "here" / "package" / "mine.py").write_text(PLUGIN)
    scenario(tmp_path / "here")
    command = ("run", "trial.toml", "-o", "out", "--plugin", "package.mine", "--replicates", 20, "--engine", "serial")
    assert program(*command, cwd=tmp_path / "here").code == 0
    found = program("replay", tmp_path / "here" / "out", "--replicate", 3, cwd=tmp_path)
    assert found.code == 0, found.err


def test_a_package_that_moved_is_taken_where_it_is_now(tmp_path: Path) -> None:
    """By --plugin, under another name or as a file, or found by the end of its path; where its source is the same."""
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "package").mkdir(parents=True)
    (old / "package" / "__init__.py").write_text("")
    (old / "package" / "mine.py").write_text(PLUGIN)
    scenario(old)
    command = ("run", "trial.toml", "-o", "out", "--replicates", 20, "--engine", "serial", "--plugin")
    assert program(*command, "package.mine", cwd=old).code == 0
    shutil.copytree(old / "package", new / "lib" / "package")
    shutil.copytree(old / "out", new / "out")
    shutil.copy(old / "trial.toml", new)
    shutil.rmtree(old)
    gone = program("replay", "out", "--replicate", 3, cwd=new)
    assert (gone.code, "--plugin package.mine: no module 'package'" in gone.err) == (2, True)
    for name in ("lib.package.mine", "lib/package/mine.py"):
        found = program("replay", "out", "--replicate", 3, "--plugin", name, cwd=new)
        assert (found.code, ": identical" in found.err) == (0, True), found.err
        assert program(*command, name, cwd=new).code == 0
        again = program("replay", "new/out", "--replicate", 3, cwd=tmp_path)  # run has written down where it is
        assert (again.code, ": identical" in again.err) == (0, True), again.err
    (record,) = json.loads((new / "out" / "run.json").read_text())["plugins"]
    assert (record["name"], record["file"]) == ("package.mine", str(new / "lib" / "package" / "mine.py"))
    (tmp_path / "new").rename(tmp_path / "newest")
    found = program("replay", "newest/out", "--replicate", 3, cwd=tmp_path)
    assert found.code == 2
    assert program("replay", "out", "--replicate", 3, cwd=tmp_path / "newest").code == 0
    (tmp_path / "newest" / "lib" / "package" / "mine.py").write_text(PLUGIN + "# changed\n")
    for changed in (
        ("replay", "out", "--replicate", 3, "--plugin", "lib.package.mine"),
        (*command, "lib.package.mine"),
    ):
        assert program(*changed, cwd=tmp_path / "newest").code == 2
