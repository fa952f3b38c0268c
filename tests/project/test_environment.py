"""What `make` does on a machine it has not seen: an environment is made, used again, or replaced with a reason."""

import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "environment"

PYTHON = """#!/bin/sh
# An interpreter that makes environments and installs nothing: it notes what it is called with.
case "$1 $2" in
--version*) echo "Python {version}.4" ;;
"-m venv") rm -rf "$4"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
"-m pip") echo "$*" >>"{log}" ;;
esac
"""


@dataclass(frozen=True)
class Checkout:
    """A checkout with stand-ins for interpreters."""

    folder: Path
    tools: Path

    def python(self, version: str) -> Path:
        """Make an interpreter of a version."""
        file = self.tools / f"python{version}"
        file.write_text(PYTHON.format(version=version, log=self.tools / "pip.log"))
        file.chmod(0o755)
        return file

    def setup(self, python: object, chosen: str = "no", venv: str = ".venv") -> tuple[int, str]:
        """Call the script as the Makefile does: exit code, and what it writes."""
        command = ["sh", str(self.folder / ".ci" / "environment"), venv, str(python), chosen]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        return done.returncode, done.stderr

    def installs(self) -> int:
        """How often the pinned dependencies were installed."""
        log = self.tools / "pip.log"
        return log.read_text().count("--require-hashes") if log.exists() else 0


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    if sys.platform == "win32":
        pytest.skip("make and sh")
    folder, tools = tmp_path / "a path with 'spaces'", tmp_path / "tools too"
    (folder / ".ci").mkdir(parents=True)
    tools.mkdir()
    shutil.copy(SCRIPT, folder / ".ci")
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return Checkout(folder, tools)


def only_line(text: str, *parts: str) -> None:
    """Fail unless the reason stands in one line (a second tells that it is done)."""
    first, *rest = text.splitlines()
    for part in parts:
        assert part in first
    assert all(line.startswith("setup: done in") for line in rest)


def append(file: Path) -> None:
    """Change a file by a comment."""
    file.write_text(file.read_text(encoding="utf-8") + "# newer\n", encoding="utf-8")


def test_an_environment_is_made_once(checkout: Checkout) -> None:
    python = checkout.python("3.12")
    code, text = checkout.setup(python)
    assert code == 0
    only_line(text, "making .venv with Python 3.12 (there is none yet)")
    assert checkout.setup(python) == (0, "")
    assert checkout.installs() == 1


def test_its_own_folder_may_be_named_and_have_spaces(checkout: Checkout) -> None:
    python = checkout.python("3.12")
    assert checkout.setup(python, venv="an environment")[0] == 0
    assert checkout.setup(python, venv="an environment") == (0, "")
    assert (checkout.folder / "an environment" / "bin" / "python").exists()


@pytest.mark.parametrize("move", [Path.rename, shutil.copytree])
def test_a_checkout_that_was_moved_or_copied_has_its_environment_made_anew(checkout: Checkout, move) -> None:
    python = checkout.python("3.12")
    checkout.setup(python)
    elsewhere = Checkout(checkout.folder.with_name("elsewhere"), checkout.tools)
    move(checkout.folder, elsewhere.folder)
    code, text = elsewhere.setup(python)
    assert code == 0
    only_line(text, f"was made in {checkout.folder.resolve()} and has its paths")
    assert elsewhere.setup(python) == (0, "")
    assert checkout.installs() == 2


@pytest.mark.parametrize("version", ["3.10", "3.12", None])
def test_an_environment_from_elsewhere_is_replaced(checkout: Checkout, version: str | None) -> None:
    """Made by hand or by another tool, with whatever Python; or one whose making was interrupted."""
    (checkout.folder / ".venv" / "bin").mkdir(parents=True)
    if version:
        shutil.copy(checkout.python(version), checkout.folder / ".venv" / "bin" / "python")
    code, text = checkout.setup(checkout.python("3.11"))
    assert code == 0
    only_line(text, f"of Python {version or 'unknown'}, has no record of being finished", "with Python 3.11")


@pytest.mark.parametrize(("now", "said"), [("3.13", "3.13"), ("3.10", "3.10"), (None, "gone")])
def test_an_environment_whose_python_changed_is_replaced(checkout: Checkout, now: str | None, said: str) -> None:
    python = checkout.python("3.11")
    checkout.setup(python)
    inside = checkout.folder / ".venv" / "bin" / "python"
    inside.unlink()
    if now:
        shutil.copy(checkout.python(now), inside)
    code, text = checkout.setup(python)
    assert code == 0
    only_line(text, "was made with Python 3.11", f"its python is now {said}")


def test_a_python_named_by_the_user_replaces_another_and_one_that_is_only_first_on_the_path_does_not(
    checkout: Checkout,
) -> None:
    checkout.setup(checkout.python("3.13"), chosen="yes")
    assert checkout.setup(checkout.python("3.12")) == (0, "")
    assert checkout.setup(checkout.python("3.10")) == (0, "")
    code, text = checkout.setup(checkout.python("3.12"), chosen="yes")
    assert code == 0
    only_line(text, "the one there is of Python 3.13", "with Python 3.12")


@pytest.mark.parametrize(("version", "said"), [
    ("3.10", "is Python 3.10"), ("3.9", "is Python 3.9"), ("2.7", "is Python 2.7"), (None, "there is no"),
])  # fmt: skip
def test_a_python_too_old_or_missing_is_one_line_that_names_the_version_needed(
    checkout: Checkout, version: str | None, said: str
) -> None:
    python = checkout.python(version) if version else "python3-that-is-nowhere"
    code, text = checkout.setup(python)
    assert code == 2
    assert text.count("\n") == 1
    assert text.startswith("setup: Python 3.11 or later is needed, and ")
    assert said in text
    assert not (checkout.folder / ".venv").exists()


def test_other_dependencies_are_installed_anew_and_another_project_file_only_the_project(checkout: Checkout) -> None:
    python = checkout.python("3.11")
    checkout.setup(python)
    append(checkout.folder / "requirements.txt")
    only_line(checkout.setup(python)[1], "requirements.txt has changed")
    append(checkout.folder / "pyproject.toml")
    only_line(checkout.setup(python)[1], "pyproject.toml has changed")
    assert checkout.setup(python) == (0, "")
    assert checkout.installs() == 2


def test_compiled_kernels_are_built_again_when_their_sources_have_changed_or_they_are_gone(checkout: Checkout) -> None:
    python = checkout.python("3.11")
    assert "without compiled kernels" in checkout.setup(python)[1]  # tried, and not again each time
    assert checkout.setup(python) == (0, "")
    (checkout.folder / "simtrial" / "core").mkdir(parents=True)
    (checkout.folder / "simtrial" / "core" / "one.c").write_text("int one;\n", encoding="utf-8")
    built = checkout.folder / "simtrial" / "_core.abi3.so"
    built.touch()
    code, text = checkout.setup(python)
    only_line(text, "or the kernels in C")
    assert (code, "without" in text) == (0, False)
    assert checkout.setup(python) == (0, "")
    built.unlink()
    assert "or the kernels in C" in checkout.setup(python)[1]
    assert checkout.installs() == 1


def test_the_lowest_python_is_the_one_of_the_project_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"lowest={project['requires-python'].removeprefix('>=3.')} " in SCRIPT.read_text(encoding="utf-8")


def test_folders_of_a_user_do_not_change_how_imports_are_sorted(tmp_path: Path) -> None:
    """`make demo` leaves runs/ beside tests/helpers/runs.py; any other folder may be there as well."""
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("ruff is not installed beside this Python")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("oracle", "data", "__pycache__"))
    for helper in [f.stem for f in (tmp_path / "tests" / "helpers").glob("*.py")] + ["numpy", "polars", "out"]:
        (tmp_path / helper).mkdir()
    command = [str(ruff), "check", "--no-cache", "--select", "I", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
