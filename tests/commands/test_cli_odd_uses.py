"""Files that are folders, folders that are files or locked, plug-ins that fail, Ctrl-C: a message, and no traceback."""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import PROGRAM, simtrial
from runs import quick
from tomls import SMALL, written

__all__ = ["quick"]
pytestmark = pytest.mark.usefixtures("quick")
DATA = "practice,arm,y_followup\n1,0,1\n2,1,2\n3,0,2\n4,1,4\n"
METHODS = '[[methods]]\nname = "a"\nkind = "ols"\nadjust = []\n'
PLUGINS = {
    "raises": "raise RuntimeError('boom \\x1b[31m')", "exits": "import sys; sys.exit(3)", "syntax": "def (",
    "missing": "import nosuchthing", "bytes": "\u00ff", "stops": "raise BaseException('stop')",
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file, a folder, data, methods, a binary file, a run and plug-ins that fail."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "d.csv").write_text(DATA)
    (tmp_path / "m.toml").write_text(METHODS)
    (tmp_path / "binary.toml").write_bytes(bytes(range(256)))
    (tmp_path / "folder.py").mkdir()
    for name, text in PLUGINS.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="latin-1")
    written(tmp_path, SMALL)
    return tmp_path


@pytest.mark.parametrize(("line", "told"), [
    ("status file", "file: not a run directory"), ("audit file", "file: not a run directory"),
    ("summarise file", "file: not a run directory"), ("replay file --replicate 1", "file: not valid TOML"),
    ("check file", "file:"), ("run trial.toml -o file", "file: a file, not a folder"),
    ("generate trial.toml -o file", "file: a file, not a folder; choose another with -o"),
    ("status folder", "folder: not a run directory"), ("check folder", "folder: not a run directory"),
    ("show folder", "folder: a folder; a scenario or methods file ends in .toml"),
    ("run folder -o out", "folder: a folder"), ("show ./folder/", "./folder/: a folder"),
    ("generate folder -o out", "folder: a folder"), ("fidelity folder", "folder: a folder"),
    ("analyse d.csv --methods folder", "folder: a folder"), ("analyse folder --methods m.toml", "folder: is a folder"),
    ("show binary.toml", "binary.toml: not UTF-8 text"), ("analyse d.csv --methods binary.toml", "not UTF-8 text"),
    ("analyse d.csv --methods d.csv", "not valid TOML"), ("analyse nowhere.csv --methods m.toml", "no such file"),
    ("analyse d.csv --methods m.toml --missing=", "--missing takes a code"),
    ("show trial.toml --plugin raises.py", "--plugin raises.py: import failed: RuntimeError: boom \\x1b[31m"),
    ("show trial.toml --plugin exits.py", "--plugin exits.py: import failed: SystemExit: 3"),
    ("show trial.toml --plugin stops.py", "--plugin stops.py: import failed: BaseException: stop"),
    ("show trial.toml --plugin syntax.py", "import failed: SyntaxError"),
    ("show trial.toml --plugin missing.py", "missing.py: it imports what is not there: no module 'nosuchthing'"),
    ("show trial.toml --plugin bytes.py", "import failed: SyntaxError"),
    ("show trial.toml --plugin folder.py", "--plugin folder.py: is a folder"),
    ("show trial.toml --plugin nowhere.py", "no such file"),
    ("show trial.toml --plugin no.where", "no module 'no'; give package.module"),
    ("show trial.toml --plugin=", "give package.module on the path, or a .py file"),
    ("show trial.toml --plugin ..", "give package.module on the path, or a .py file"),
    ("generate trial.toml -o out -n 2 --replicate 5", "--replicate is one replicate and -n the first ones"),
    ("generate trial.toml -o out -n 99999999999", "-n"), ("generate trial.toml -o out --cell=", "unknown cell ''"),
    ("replay folder --replicate 99999999999999999999", "--replicate"),
    ("summarise folder --true 0.5", "folder: --true is for a FILE of results"),
    ("summarise folder --map estimate=b --by x", "folder: --by is for a FILE of results"),
])  # fmt: skip
def test_an_odd_use_is_one_message(line: str, told: str, here: Path) -> None:
    found = simtrial(*line.split())
    assert found.code == 2, found.err
    assert told in found.err
    assert found.out == ""
    assert "Traceback" not in found.err
    assert "fault of simtrial" not in found.err
    assert not (here / "out").exists()


@pytest.fixture
def locked(here: Path) -> Iterator[Path]:
    """A folder that nobody but its owner may look into, seen by somebody else."""
    assert simtrial("run", "trial.toml", "-o", "locked/run", "--replicates", 20, "--engine", "serial").code == 0
    assert simtrial("replay", "locked/run", "--replicate", 3).code == 0
    (here / "locked" / "d.csv").write_text(DATA)
    assert simtrial("analyse", "locked/d.csv", "--methods", "m.toml").code == 0
    other = os.geteuid() == 0
    for folder in (here, *here.parents):
        if other and folder != Path("/") and folder.stat().st_uid == 0 and "pytest" in str(folder):
            folder.chmod(0o755)
    (here / "locked").chmod(0o700 if other else 0)
    if other:
        os.seteuid(65534)
    yield here / "locked"
    if other:
        os.seteuid(0)
    (here / "locked").chmod(0o700)


@pytest.mark.parametrize(
    "line",
    ["status locked/run", "audit locked/run", "summarise locked/run", "replay locked/run --replicate 1",
     "check locked/run", "run trial.toml -o locked/run", "run trial.toml -o locked/new", "show locked/x.toml",
     "generate trial.toml -o locked/x", "analyse locked/d.csv --methods m.toml",
     "analyse d.csv --methods locked/m.toml", "show trial.toml --plugin locked/x.py"],
)  # fmt: skip
def test_a_locked_folder_is_one_message(line: str, locked: Path) -> None:
    found = simtrial(*line.split())
    assert found.code in (2, 5), found.err
    assert found.err.count("\n") == 1
    assert "Permission denied" in found.err
    assert "locked" in found.err
    assert "fault of simtrial" not in found.err


@pytest.mark.parametrize("module", ["click", "simtrial.errors", "numpy", "pydantic", "simtrial.scenario"])
def test_an_interruption_while_something_is_imported(module: str) -> None:
    """As Ctrl-C raises it wherever the program is."""
    script = (
        "import sys, importlib.abc\n"
        "class Interrupted(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}: raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "sys.argv = ['simtrial', 'show', 'partners']\n"
        f"import runpy; runpy.run_path({str(PROGRAM)!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted"


@pytest.mark.verify
@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="child processes are counted in /proc")
@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.2, 0.5, 1.0])
def test_ctrl_c_of_a_terminal_while_workers_start(seconds: float, tmp_path: Path) -> None:
    """It goes to every process of the group, some time after the first of them was started."""
    file = written(tmp_path, SMALL)
    command = [sys.executable, str(PROGRAM), "run", file, "-o", str(tmp_path / "run"), "--workers", "2"]
    process = subprocess.Popen(
        [*command, "--engine", "processes", "--replicates", "20000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not children.read_text():
        time.sleep(0.01)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "interrupted: finished chunks are kept" in told


def test_stdout_that_was_closed(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} {shlex.quote(str(PROGRAM))} list >&-"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
