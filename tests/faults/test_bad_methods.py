"""Methods that misbehave cost their own rows and nothing else, whatever the engine."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import bad_methods
import polars as pl
import pytest
from dask_cluster import MISSING
from polars.testing import assert_frame_equal
from runs import go, quick, rows
from tomls import SMALL, written

from simtrial.store.reading import read_rows

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]
PROGRAM = Path(__file__).parents[2] / "cli.py"
DASK = pytest.param("dask", marks=[
    pytest.mark.skipif(not find_spec("distributed"), reason=MISSING), pytest.mark.verify, pytest.mark.slow
])  # fmt: skip
PLUGIN = Path(__file__).parents[1] / "helpers" / "plugin_of_bad_methods.py"


def with_methods(names: list[str], seconds: float | None = None) -> str:
    """The small scenario with misbehaving methods before, between and after its own."""
    tables = [f'[[methods]]\nname = "{name}"\nkind = "{name}"\nadjust = []\nestimand = "itt"\n\n' for name in names]
    half = len(tables) // 2
    text = SMALL.replace("[[methods]]", "".join(tables[:half]) + "[[methods]]", 1)
    limit = "" if seconds is None else f"method_seconds = {seconds}\n"
    return text.replace("[run]\n", f"{''.join(tables[half:])}[run]\n{limit}")


def stored(folder: Path) -> pl.DataFrame:
    return read_rows(folder)[0]


def others(folder: Path) -> pl.DataFrame:
    return stored(folder).filter(~pl.col("method").str.starts_with("bad-"))


def run(folder: Path, text: str, engine: str) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        str(PROGRAM),
        "run",
        written(folder.parent, text, f"{folder.name}.toml"),
        "-o",
        str(folder),
    ]
    command += ["--plugin", str(PLUGIN), "--replicates", "40", "--chunk", "20", "--workers", "2", "--engine", engine]
    return subprocess.run([*command, "--format", "csv"], capture_output=True, text=True, check=False, cwd=folder.parent)


@pytest.mark.parametrize("engine", ["serial", "processes", DASK])
def test_forty_bad_methods(engine: str, tmp_path: Path) -> None:
    done = run(tmp_path / "run", with_methods(bad_methods.EVERY), engine)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "noise" not in done.stdout
    assert "Traceback" not in done.stderr
    go(tmp_path / "plain", 40)
    expected = rows(tmp_path / "plain")
    assert_frame_equal(others(tmp_path / "run").select(expected.columns), expected, check_exact=True)
    found = stored(tmp_path / "run").filter(pl.col("method").str.starts_with("bad-"))
    assert found.height == 40 * len(bad_methods.EVERY)
    for (method,), own in found.group_by("method"):
        harmless = str(method).removeprefix("bad-") in bad_methods.HARMLESS
        expected_status = {"ok"} if harmless else {"failed"}
        if method in ("bad-batched-writes-into-moments", "bad-batched-replaces-columns"):
            expected_status = {"ok"}  # they hurt data that nobody else has
        assert set(own["status"]) == expected_status, method
        flagged = own["flags"].str.contains("global_random")
        assert flagged.all() if method == "bad-global-random" else True
        assert own["estimate"].is_null().all() == (expected_status == {"failed"}), method


def test_what_is_drawn_from_the_global_generators_is_the_same_however_the_work_is_spread(tmp_path: Path) -> None:
    text = with_methods(["bad-global-random"])
    frames = []
    for engine in ("serial", "processes"):
        assert run(tmp_path / engine, text, engine).returncode == 0
        frames.append(stored(tmp_path / engine).filter(method="bad-global-random"))
    assert_frame_equal(*frames, check_exact=True)
    assert frames[0]["estimate"].n_unique() == 40


@pytest.mark.parametrize("engine", ["processes", DASK])
@pytest.mark.parametrize("name", sorted(bad_methods.DEADLY))
def test_a_method_that_ends_its_process(name: str, engine: str, tmp_path: Path) -> None:
    done = run(tmp_path / "run", with_methods([f"bad-{name}", "bad-none"]), engine)
    assert done.returncode == 0, done.stderr[-3000:]
    go(tmp_path / "plain", 40)
    expected = rows(tmp_path / "plain")
    assert_frame_equal(others(tmp_path / "run").select(expected.columns), expected, check_exact=True)
    own = stored(tmp_path / "run").filter(method=f"bad-{name}")
    assert set(own["status"]) == {"failed"}
    assert set(own["flags"]) == {"error"}


@pytest.mark.parametrize("engine", ["processes", DASK])
def test_a_method_that_takes_too_long(engine: str, tmp_path: Path) -> None:
    done = run(tmp_path / "run", with_methods(["bad-never-ends", "bad-sleeps"], seconds=0.2), engine)
    assert done.returncode == 0, done.stderr[-3000:]
    go(tmp_path / "plain", 40)
    expected = rows(tmp_path / "plain")
    assert_frame_equal(others(tmp_path / "run").select(expected.columns), expected, check_exact=True)
    found = stored(tmp_path / "run")
    assert set(found.filter(method="bad-never-ends")["flags"]) == {"timeout"}
    assert set(found.filter(method="bad-sleeps")["status"]) == {"ok"}


def test_a_lack_of_memory_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(
        "from simtrial import plain_method\n\n@plain_method('greedy')\ndef greedy(frame):\n"
        "    raise MemoryError('all gone')\n"
    )
    text = with_methods([]).replace("[run]\n", '[[methods]]\nname = "greedy"\nkind = "greedy"\n\n[run]\n')
    command = [sys.executable, str(PROGRAM), "run", written(tmp_path, text), "-o", str(tmp_path / "run")]
    command += ["--plugin", str(tmp_path / "greedy.py"), "--replicates", "20", "--engine", "serial"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "failed: MemoryError: all gone" in done.stderr
    assert not list((tmp_path / "run").glob("records/base/*.json"))
