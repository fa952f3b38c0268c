"""What the sources of the kernels must not do, and no compiler says."""

import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

SOURCES = sorted(Path(__file__).parents[2].glob("simtrial/core/*.[ch]"))
FUNCTION = re.compile(
    r"^(?P<before>(?!INLINE)[A-Za-z_][\w ]*?[ *]+)(?P<name>\w+)\((?P<given>[^;{}]*?)\)\s*\{", re.MULTILINE
)
VECTORS = {"lanes", "choice", "four"}
"""Types that a function built for two kinds of processor passes in two ways."""


def passed_by_value(source: str) -> list[str]:
    """Functions, not INLINE, that take or return vectors themselves and not where they are."""
    found = []
    for match in FUNCTION.finditer(source):
        returned = match["before"].split()
        given = [part.replace("const ", "").strip() for part in match["given"].split(",")]
        taken = [part for part in given if part.split(" ")[0] in VECTORS and "*" not in part and "[" not in part]
        if taken or (returned and returned[-1] in VECTORS):
            found.append(match["name"])
    return found


def test_only_functions_that_are_inline_pass_vectors_by_value() -> None:
    """Built with wider vectors they stand in registers, else in memory: a caller of the other build passes rubbish."""
    assert len(SOURCES) > 20
    assert {file.name: names for file in SOURCES if (names := passed_by_value(file.read_text()))} == {}


def test_the_check_sees_them() -> None:
    bad = "VECTORISED\nstatic void keep(double *to, lanes value) {\n}\nlanes sum(const lanes *all) {\n}\n"
    good = "INLINE lanes one(lanes value) {\n}\nvoid other(const lanes *value, choice (*all)[2]) {\n}\n"
    assert passed_by_value(bad) == ["keep", "sum"]
    assert passed_by_value(good) == []


def test_the_sources_are_right_with_every_access_checked() -> None:
    """`make sanitize` builds them so; a name that its macros have already ends that build and no other."""
    compiler, headers = shutil.which("gcc"), sysconfig.get_path("include")
    if compiler is None or not Path(headers, "Python.h").is_file():
        pytest.skip("gcc or Python's headers are not here")
    flags = [
        "-fsyntax-only",
        "-std=c99",
        "-DCHECKED",
        "-DPLAIN_BUILD",
        "-DPy_LIMITED_API=0x030B0000",
        "-Wall",
        "-Wextra",
    ]
    files = [str(file) for file in SOURCES if file.suffix == ".c"]
    done = subprocess.run([compiler, *flags, "-Wno-psabi", "-I", headers, *files], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_comments_name_the_file_of_the_kernel() -> None:
    """Where a function of numpy hands on its work, it says to which file; that is where the kernel called next is."""
    package = SOURCES[0].parents[1]
    calls = re.compile(r"simtrial/core/(\w+\.c) takes over.*?\bcore\.(\w+)\(", re.DOTALL)
    found = [pair for file in package.rglob("*.py") for pair in calls.findall(file.read_text("utf-8"))]
    assert len(found) > 20
    sources = {file.name: file.read_text("utf-8") for file in SOURCES}
    assert [(file, name) for file, name in found if f"PyObject *core_{name}(" not in sources.get(file, "")] == []
