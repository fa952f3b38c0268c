"""The memory of a block is predicted from a part of it, and a run that would take more than there is never begins."""

from pathlib import Path

import pytest
from commands import simtrial
from runs import quick
from tomls import SMALL, written

from simtrial.errors import SimtrialError
from simtrial.run import available_memory, memory
from simtrial.run.available_memory import available
from simtrial.run.memory import Prediction, largest, predicted, refuse_too_large
from simtrial.run.sizes import Size, sizes, with_block
from simtrial.scenario import Cell, load

__all__ = ["quick"]
SWEEP = SMALL + '\n[vary.cross]\n"mechanism.practices.number" = [3, 60, 12]\n'


def cells(folder: Path, *sets: str, text: str = SMALL) -> list[Cell]:
    return load(written(folder, text), sets)[1]


def test_a_block_is_predicted_from_a_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By 8,000 and 16,000 of 60,000 people: what is allocated at the peak is linear in the trials of a block."""
    (cell,) = cells(tmp_path, "mechanism.practices.number=120", "run.block=100")
    monkeypatch.setattr(memory, "PEOPLE", 8_000)
    found = predicted(cell, sizes([cell])[0])
    whole = memory._of_block(cell, 100)
    assert memory._of_block(cell, 14) < whole / 5  # the part that is tried is small
    assert found.fixed + 100 * found.per_trial == pytest.approx(whole, rel=0.2)


def test_a_block_that_is_small_is_tried_itself(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, "mechanism.practices.number=60", "run.block=100")
    found = predicted(cell, sizes([cell])[0])
    assert found.fixed + 100 * found.per_trial == pytest.approx(memory._of_block(cell, 100), rel=0.1)


def test_the_block_that_fits() -> None:
    """150 MB held, 10 beside 2 for every trial: 1,000 MB leave 420 trials, and 423 of two digits are 420."""
    found = Prediction(150e6, 10e6, 2e6, 0.0)
    assert found.of(100) == 360e6
    assert [found.fitting(mb * 1e6) for mb in (1006, 171, 162, 161)] == [420, 5, 1, 0]
    assert Prediction(150e6, 10e6, 2e6, 900e6).fitting(1006e6) == 0  # true values alone are too large


def test_the_largest_trials_count(tmp_path: Path) -> None:
    every = cells(tmp_path, text=SWEEP)
    found = sizes(every)
    assert [size.practices for size in found] == [3, 60, 12]
    assert largest(every, found)[0].label == "number=60"
    assert largest(every, [Size(5.0, 2.0)] * 3)[0] is every[0]


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """170 MB are there, of which a worker holds 150 in any case."""
    monkeypatch.setattr(memory, "available", lambda: 170_000_000)
    monkeypatch.setattr(memory, "resident", lambda: 0)
    monkeypatch.setattr(memory, "_of_truths", lambda cell, size: 0.0)


@pytest.mark.usefixtures("little")
def test_a_run_that_does_not_fit_is_refused_and_the_block_named_fits(tmp_path: Path) -> None:
    every = cells(tmp_path, "run.block=1000", text=SWEEP)
    with pytest.raises(SimtrialError, match="in cell 'number=60'") as refused:
        refuse_too_large(every, 1)
    block = int(str(refused.value).split("run.block=")[1].split()[0])
    refuse_too_large([with_block(cell, block) for cell in every], 1)
    with pytest.raises(SimtrialError):
        refuse_too_large([with_block(cell, 2 * block) for cell in every], 1)
    with pytest.raises(SimtrialError, match=r"available: --workers 1$"):
        refuse_too_large([with_block(cell, block) for cell in every], 2)


@pytest.mark.usefixtures("little", "quick")
def test_the_command_is_refused_before_it_makes_a_directory(tmp_path: Path) -> None:
    file = written(tmp_path, SWEEP)
    found = simtrial("run", file, "-o", tmp_path / "run", "--engine", "serial", "--set", "run.block=1000")
    assert found.code == 2
    assert "170 MB are available: --set run.block=" in found.err
    assert not (tmp_path / "run").exists()


def system(folder: Path, **files: str) -> None:
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("-", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def test_available_memory_is_the_least_of_all_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available_memory, "FILES", tmp_path)
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    assert available() is None
    system(tmp_path, proc__meminfo="MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert available() == 8000 * 1024
    system(tmp_path, proc__self__cgroup="0::/a/b\n")
    group = tmp_path / "sys/fs/cgroup/a"  # the outer group has the limit
    group.mkdir(parents=True)
    for name, text in (("memory.max", "5000000"), ("memory.current", "2000000"), ("memory.stat", "inactive_file 1000")):
        (group / name).write_text(text)
    assert available() == 3_001_000
    (group / "memory.max").write_text("max\n")
    assert available() == 8000 * 1024
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "2")
    assert available() == 2 * 2**20
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")  # all that the node has
    assert available() == 8000 * 1024


def test_limits_of_the_first_version_of_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available_memory, "FILES", tmp_path)
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    system(tmp_path, proc__self__cgroup="9:cpu:/x\n4:memory:/job\n")
    group = tmp_path / "sys/fs/cgroup/memory/job"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("7000")
    (group / "memory.usage_in_bytes").write_text("4000")
    (group / "memory.stat").write_text("cache 5\ntotal_inactive_file 100\n")
    assert available() == 3100
