"""A run belongs to the source of its plug-in: the whole package, or the file and what it imports from beside it."""

from pathlib import Path

import pytest
from commands import program
from tomls import SMALL, written

from simtrial.plugins.source import digest_of_source

RUN = """
from simtrial import plain_method
from shift import SHIFT

@plain_method("shifted")
def shifted(frame):
    return {"estimate": SHIFT, "std_error": 1.0}
"""


def tree(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


FILES = {
    "plugin.py": "import numpy\nfrom tools import mean\nimport deep.er\n",
    "tools.py": "def mean(x):\n    import constants\n    return constants.ONE\n",
    "constants.py": "ONE = 1\n",
    "deep/__init__.py": "",
    "deep/er.py": "TWO = 2\n",
    "unrelated.py": "THREE = 3\n",
}
PACKAGE = {
    "mine/__init__.py": "", "mine/methods.py": "from mine.core import t\n", "mine/core/__init__.py": "t = 1\n",
    "beside/x.py": "",
}  # fmt: skip


def test_of_a_file_what_it_imports_from_beside_it_counts(tmp_path: Path) -> None:
    folder = tree(tmp_path, FILES)
    before = digest_of_source(folder / "plugin.py", "")
    for name in FILES:
        (folder / name).write_text(FILES[name] + "# changed\n")
        assert (digest_of_source(folder / "plugin.py", "") != before) == (name != "unrelated.py"), name
        (folder / name).write_text(FILES[name])
    assert digest_of_source(folder / "plugin.py", "") == before


@pytest.mark.parametrize(("module", "file"), [("mine.methods", "mine/methods.py"), ("mine", "mine/__init__.py")])
def test_of_a_module_its_whole_package_counts(module: str, file: str, tmp_path: Path) -> None:
    folder = tree(tmp_path, PACKAGE)
    before = digest_of_source(folder / file, module)
    for name in PACKAGE:
        (folder / name).write_text(PACKAGE[name] + "# changed\n")
        assert (digest_of_source(folder / file, module) != before) == name.startswith("mine"), name
        (folder / name).write_text(PACKAGE[name])


def test_the_place_of_a_folder_does_not_count(tmp_path: Path) -> None:
    a, b = tree(tmp_path / "a", FILES), tree(tmp_path / "b", FILES)
    assert digest_of_source(a / "plugin.py", "") == digest_of_source(b / "plugin.py", "")


def test_two_files_that_import_each_other(tmp_path: Path) -> None:
    folder = tree(tmp_path, {"a.py": "import b\n", "b.py": "import a\n"})
    assert len(digest_of_source(folder / "a.py", "")) == 64


def test_a_run_whose_plugin_has_changed_beside_it_is_refused(tmp_path: Path) -> None:
    """Also by `check`, which would judge rows of the old one."""
    beside = "import sys\nsys.path.insert(0, __file__.rpartition('/')[0])\n"
    tree(tmp_path, {"plugin.py": beside + RUN, "shift.py": "SHIFT = 0.0\n"})
    expect = '[[expect]]\nmeasure = "bias"\nmethod = "shifted"\nestimand = "itt"\nlower = -9.0\n\n'
    text = SMALL.replace("[run]\n", f'{expect}[[methods]]\nname = "shifted"\nkind = "shifted"\n\n[run]\n')
    command = ["run", written(tmp_path, text), "-o", tmp_path / "run", "--plugin", tmp_path / "plugin.py"]
    command += ["--replicates", 20, "--engine", "serial"]
    assert program(*command).code == 0
    assert program(*command).code == 0
    (tmp_path / "shift.py").write_text("SHIFT = 0.5\n")
    found = program(*command)
    assert found.code == 2
    assert "made with other plugins or versions of them" in found.err
    judged = program("check", tmp_path / "run")
    assert judged.code == 2
    assert "plugin.py: its source has changed since the run was begun" in judged.err
