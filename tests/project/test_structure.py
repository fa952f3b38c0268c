"""The shape of the program: imports point one way, and nothing in the repository leads elsewhere."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import simtrial
from simtrial.scenario import builtin_names, load

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "simtrial").rglob("*.py"))
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def mapped() -> list[str]:
    """Paths below simtrial/ in the map of CONTRIBUTING.md, in its order: folders end in /."""
    (text,) = re.findall(r"^```map\n(.*?)^```", CONTRIBUTING, flags=re.M | re.S)
    paths, folder = [], ""
    for line in text.splitlines():
        name = line.split()[0]
        inside = line.startswith(" ")
        folder = folder if inside else name
        paths.append(folder + name if inside else name)
    return paths


ORDER = [path.removesuffix("/").removesuffix(".py") for path in mapped() if "/" not in path[:-1]]
"""Top-level modules and folders in the order of the map: each may import those before it."""


def name_of(file: Path) -> str:
    """Dotted name of a module."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[str]:
    """Dotted names that a module imports from the package, wherever in it."""
    known = {name_of(f) for f in MODULES}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "simtrial":
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from [name for name in inside if name in known] or [str(node.module)]
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "simtrial")


def room(module: str) -> str:
    """Top-level module or package that a module belongs to."""
    return [*module.split("."), ""][1]


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_imports_point_one_way(file: Path) -> None:
    here = room(name_of(file))
    if not here:  # simtrial/__init__.py names what plugins use, and imports it when asked for
        return
    assert here in ORDER, f"the map in CONTRIBUTING.md lacks {here}"
    for module in imports(file):
        there = room(module)
        assert there in ("", here) or ORDER.index(there) < ORDER.index(here), f"{here} imports {module}"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Not even for types; the face of a package, its __init__, only hands names on."""
    faces = {name_of(file) for file in MODULES if file.name == "__init__.py"}
    graph = {name_of(file): set(imports(file)) - faces for file in MODULES if file.name != "__init__.py"}
    TopologicalSorter(graph).prepare()  # raises an error that names the circle


def test_the_map_shows_every_folder_and_every_loose_module() -> None:
    package = ROOT / "simtrial"
    folders = {f"{f.parent.relative_to(package).as_posix()}/" for f in package.rglob("__init__.py")} - {"./"}
    loose = {f.name for f in package.glob("*.py")} - {"__init__.py"}
    assert sorted(mapped()) == sorted(folders | loose)


def test_recipes_name_files_that_exist() -> None:
    paths = re.findall(r"`((?:simtrial|tests|docs|bench|scenarios)/[\w/.-]+)`", CONTRIBUTING)
    assert len(paths) > 40
    real = [path for path in paths if "NAME" not in path]
    assert [path for path in real if not (ROOT / path).exists()] == []


def test_the_check_finds_an_import_that_points_up(tmp_path: Path) -> None:
    file = tmp_path / "seeding.py"
    file.write_text("import simtrial.run.loop\nfrom simtrial import scenario\nfrom simtrial.batch import Index\n")
    assert list(imports(file)) == ["simtrial.run.loop", "simtrial.scenario", "simtrial.batch"]
    assert ORDER.index("run") > ORDER.index("seeding")


def test_relative_imports_are_not_used() -> None:
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), file


def test_no_code_is_read_from_data() -> None:
    """Neither pickles nor text that is run."""
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                assert not names & {"pickle", "shelve", "marshal", "dill", "joblib"}, file
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile"), file


def tracked() -> list[Path]:
    """Files under version control, those about to be included."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("git cannot list the files")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


def test_no_file_names_the_host_of_a_package_registry() -> None:
    """What is installed, and from where, is the user's decision."""
    hosts = [".".join(parts) for parts in (
        ("py" "pi", "org"), ("python" "hosted", "org"), ("npm" "js", "com"), ("npm" "js", "org"), ("crates", "io"),
        ("anaconda", "org"), ("rubygems", "org"), ("proxy", "golang", "org"), ("cran", "r-project", "org"),
    )]  # fmt: skip
    files = tracked()
    assert len(files) > 50
    for file in files:
        text = file.read_bytes().lower()
        for host in hosts:
            assert host.encode() not in text, f"{file.relative_to(ROOT)} names {host}"


def test_no_file_holds_a_path_of_the_machine_it_was_written_on() -> None:
    for file in tracked():
        assert f"{ROOT}/".encode() not in file.read_bytes(), file.relative_to(ROOT)


def test_no_file_holds_both_sides_of_a_merge() -> None:
    marks = tuple(f"\n{mark * 7} ".encode() for mark in "<>|")
    for file in tracked():
        text = b"\n" + file.read_bytes()
        assert not any(mark in text for mark in marks), file.relative_to(ROOT)


def test_every_built_in_scenario_loads() -> None:
    names = builtin_names()
    files = {f.relative_to(ROOT / "scenarios").with_suffix("").as_posix() for f in (ROOT / "scenarios").rglob("*.toml")}
    assert set(names) == files >= {"partners", "verify/null-39"}
    for name in names:
        scenario, cells = load(name)
        assert name.endswith(scenario.name)
        assert scenario.title
        assert scenario.aims.question
        assert len(cells) >= 1


def test_the_version_is_told_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == simtrial.__version__
    assert project["name"] == "simtrial-bench"
