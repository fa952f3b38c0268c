"""Times of two runs are compared in those of a reference kernel, on made-up results of pytest-benchmark."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "bench" / "compare.py"
BEFORE = {"test_reference": 0.010, "test_simulate": 0.100, "test_method[ols]": 0.005, "test_method[lmm]": 0.020}


def result(file: Path, shortest: dict[str, float], noise: float = 0.1) -> Path:
    """A result whose quartile and median are above the shortest time by a share and twice that."""
    kernels = [
        {"name": name, "fullname": f"bench/bench_block.py::{name}", "extra_info": {},
         "stats": {"min": t, "q1": t * (1 + noise), "median": t * (1 + 2 * noise), "max": 9 * t, "rounds": 20}}
        for name, t in shortest.items()
    ]  # fmt: skip
    file.write_text(json.dumps({"machine_info": {}, "benchmarks": kernels, "version": "5.1.0"}))
    return file


def compared(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(PROGRAM), *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return result(tmp_path / "old.json", BEFORE)


@pytest.mark.parametrize("speed", [0.2, 1.0, 5.0])
def test_a_slower_or_busier_machine_is_no_alarm(tmp_path, old, speed):
    new = result(tmp_path / "new.json", {name: t * speed for name, t in BEFORE.items()}, noise=0.3)
    done = compared(old, new)
    assert (done.returncode, "0 of 3 slower" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize(("slower", "code"), [(1.2, 0), (1.5, 1)])
def test_a_slower_kernel_is_one_whatever_the_machine(tmp_path, old, slower, code):
    times = {name: 3 * t * (slower if name == "test_method[lmm]" else 1) for name, t in BEFORE.items()}
    done = compared(old, result(tmp_path / "new.json", times))
    assert done.returncode == code
    first = done.stdout.splitlines()[0]
    assert f"{slower:.2f} ({slower:.2f} to {slower:.2f})" in first
    assert ("SLOWER" in first) == bool(code)


def test_the_factor_is_stated(tmp_path, old):
    new = result(tmp_path / "new.json", {**BEFORE, "test_simulate": 0.115})
    assert compared(old, new, "--factor", "1.1").returncode == 1
    assert compared(old, new, "--factor", "1.2").returncode == 0


def test_noise_in_some_rounds_only_is_shown_and_is_no_alarm(tmp_path, old):
    new = json.loads(result(tmp_path / "new.json", BEFORE).read_text())
    new["benchmarks"][3]["stats"]["median"] *= 2
    (tmp_path / "new.json").write_text(json.dumps(new))
    done = compared(old, tmp_path / "new.json")
    assert (done.returncode, "1.00 (1.00 to 2.00)  test_method[lmm]" in done.stdout) == (0, True)


def test_a_faster_reference_kernel_alone_is_seen_as_everything_slower(tmp_path, old):
    """The price of ratios: the reference must stay as it is."""
    done = compared(old, result(tmp_path / "new.json", {**BEFORE, "test_reference": 0.005}))
    assert (done.returncode, "3 of 3 slower" in done.stdout) == (1, True)


def test_kernels_that_one_lacks_are_named(tmp_path, old):
    new = {"test_new": 1.0, **{n: t for n, t in BEFORE.items() if n != "test_simulate"}}
    done = compared(old, result(tmp_path / "new.json", new))
    assert done.returncode == 0
    for name in ("test_new", "test_simulate"):
        assert f"{name}: in one of the two only" in done.stdout


@pytest.mark.parametrize(("text", "message"), [
    ("{}", "no result of pytest-benchmark"), ("[1]", "no result"), ("not json", "no result"),
    ('{"benchmarks": []}', "no reference kernel 'test_reference' (there are: none)"),
])  # fmt: skip
def test_a_file_that_cannot_be_compared_is_refused(tmp_path, old, text, message):
    (tmp_path / "new.json").write_text(text)
    done = compared(old, tmp_path / "new.json")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert compared(old, tmp_path / "none.json").returncode == 2


def test_results_without_a_common_kernel_are_refused(tmp_path, old):
    new = result(tmp_path / "new.json", {"test_reference": 1.0, "test_other": 1.0})
    assert (done := compared(old, new)).returncode == 2
    assert "no kernel in common" in done.stderr
