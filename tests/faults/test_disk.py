"""A disk that refuses: exit 5 with one line, nothing lost, and the same command goes on to the same table."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import Result, simtrial
from damage import files_of
from runs import quick
from tomls import SMALL, written

__all__ = ["quick"]
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES)
PROGRAM = Path(__file__).parents[2] / "cli.py"


@contextmanager
def refusing(at: int, error: int) -> Iterator[list[str]]:
    """Let the call number ``at`` among opening for writing, fsync and renaming fail; yield the calls there were."""
    calls: list[str] = []

    def counted(name: str, real: Callable) -> Callable:
        def call(*arguments, **options):
            opens = name == "open" and not (len(arguments) > 1 and "w" in str(arguments[1]))
            if not opens:
                calls.append(name)
                if len(calls) == at:
                    raise OSError(error, os.strerror(error))
            return real(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", counted("fsync", os.fsync))
        patch.setattr(Path, "replace", counted("rename", Path.replace))
        patch.setattr(Path, "open", counted("open", Path.open))
        yield calls


def go(folder: Path) -> Result:
    """Run four chunks of 20 replicates."""
    file = written(folder.parent, SMALL, f"{folder.name}.toml")
    return simtrial(
        "run", file, "-o", folder, "--replicates", 80, "--chunk", 20, "--engine", "serial", "--format", "csv"
    )


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=[pytest.mark.verify, pytest.mark.slow])], ids=["one error", "every error"]
)
def test_the_nth_call_that_a_disk_refuses(every: bool, tmp_path: Path) -> None:
    """Every n there is, with each of three errors, or with one of them in turn."""
    whole = go(tmp_path / "whole")
    assert whole.code == 0, whole.err
    tried, at, reached = 0, 0, True
    while reached:
        at += 1
        for error in ERRORS if every else ERRORS[at % 3 : at % 3 + 1]:
            folder = tmp_path / f"run {at} {error}"
            with refusing(at, error) as calls:
                found = go(folder)
            reached = len(calls) >= at
            told = [line for line in found.err.splitlines() if "chunks," not in line and not line.startswith("warning")]
            if found.code == 0:  # a table of performance, which may be missing, or nothing was refused
                assert found.out == whole.out
            else:
                assert found.code == 5, (at, found)
                assert len(told) == 1, told
                assert os.strerror(error) in told[0]
                assert len(calls) == at, "something was written after the disk had refused"
            again = go(folder)
            assert (again.code, again.out) == (0, whole.out), (at, again.err)
            there = [f.relative_to(folder) for f in files_of(folder)]
            assert there == [f.relative_to(tmp_path / "whole") for f in files_of(tmp_path / "whole")], at
            tried += 1
    print(f"{tried} refused calls")
    assert tried > 25


@pytest.mark.usefixtures("quick")
def test_a_finished_run_on_a_disk_that_takes_nothing_prints_its_table(tmp_path: Path) -> None:
    whole = go(tmp_path / "run")
    for error in (errno.EROFS, errno.ENOSPC):
        with pytest.MonkeyPatch.context() as patch:

            def refuse(*_, error: int = error, **__):
                raise OSError(error, os.strerror(error))

            for holder, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"), (os, "open")):
                patch.setattr(holder, name, refuse)
            found = go(tmp_path / "run")
        assert (found.code, found.out) == (0, whole.out)
        assert "warning" in found.err


@pytest.mark.verify
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A file system of 2 MB, most of it taken."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        (disk / "ballast").write_bytes(b"x" * 1_900_000)
        file = written(tmp_path, SMALL)
        command = [sys.executable, str(PROGRAM), "run", file, "-o", str(disk / "run"), "--replicates", "2000"]
        command += ["--chunk", "100", "--workers", "2", "--format", "csv"]
        full = subprocess.run(command, capture_output=True, text=True, check=False)
        assert full.returncode == 5
        assert len([line for line in full.stderr.splitlines() if line.startswith("error")]) == 1
        assert "No space left on device" in full.stderr
        (disk / "ballast").unlink()
        again = subprocess.run(command, capture_output=True, text=True, check=True)
        command[5] = str(tmp_path / "whole")
        assert again.stdout == subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        subprocess.run(["umount", str(disk)], check=False)
