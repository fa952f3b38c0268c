"""A claim counts as long as its process runs, and no longer."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simtrial.files.whole import alive, beginning, host, sweep, write_bytes
from simtrial.store.claims import STALE, claimed, is_claimed, sweep_claims

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")


def other() -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_a_chunk_is_claimed_once_and_given_back(tmp_path: Path) -> None:
    file = tmp_path / "claims" / "base-000000-000000"
    with claimed(file) as free:
        assert free
        assert file.read_text().split()[:2] == [host(), str(os.getpid())]
    assert not file.exists()


def test_a_claim_of_a_process_that_runs_is_respected(tmp_path: Path) -> None:
    file, process = tmp_path / "claim", other()
    file.write_text(f"{host()} {process.pid} {beginning(process.pid)}\n")
    with claimed(file) as free:
        assert not free
    process.communicate(b"\n")
    with claimed(file) as free:
        assert free


@linux
def test_a_process_that_ended_and_was_not_waited_for_has_no_claim(tmp_path: Path) -> None:
    """A zombie answers to its number for as long as its parent does not look."""
    file, process = tmp_path / "claim", other()
    file.write_text(f"{host()} {process.pid} {beginning(process.pid)}\n")
    process.kill()
    end = time.monotonic() + 10
    while is_claimed(file) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_claimed(file)
    os.kill(process.pid, 0)  # it is still there
    assert not alive(process.pid)
    process.communicate()


@linux
def test_another_process_of_the_same_number_has_no_claim(tmp_path: Path) -> None:
    file, process = tmp_path / "claim", other()
    file.write_text(f"{host()} {process.pid} 1\n")
    assert not is_claimed(file)
    file.write_text(f"{host()} {process.pid} {beginning(process.pid)}\n")
    assert is_claimed(file)
    process.communicate(b"\n")


def test_a_claim_of_another_machine_counts_for_a_while(tmp_path: Path) -> None:
    file = tmp_path / "claim"
    for content in ("elsewhere 1 1\n", "", "nonsense\n"):
        file.write_text(content)
        os.utime(file)
        assert is_claimed(file)
        os.utime(file, (0, time.time() - STALE - 1))
        assert not is_claimed(file)


@linux
def test_half_written_files_of_zombies_are_swept(tmp_path: Path) -> None:
    process = other()
    left, kept = tmp_path / f".a.json.{host()}-{process.pid}.part", tmp_path / f".b.json.{host()}-{os.getpid()}.part"
    left.write_text("half")
    kept.write_text("half")
    sweep(tmp_path)
    assert left.exists()
    process.kill()
    end = time.monotonic() + 10
    while alive(process.pid) and time.monotonic() < end:
        time.sleep(0.01)
    sweep(tmp_path)
    assert (left.exists(), kept.exists()) == (False, True)
    process.communicate()
    write_bytes(tmp_path / "c.json", b"whole")
    assert (tmp_path / "c.json").read_bytes() == b"whole"


def test_claims_that_outlived_their_process_are_swept(tmp_path: Path) -> None:
    """One killed between the record of its chunk and the end of its claim."""
    folder, process = tmp_path / "claims", other()
    folder.mkdir()
    (folder / "dead").write_text(f"{host()} {process.pid} 1\n")
    (folder / "mine").write_text(f"{host()} {os.getpid()} {beginning(os.getpid())}\n")
    (folder / "theirs").write_text(f"{host()} {process.pid} {beginning(process.pid)}\n")
    (folder / "elsewhere").write_text("another-machine 17 4711\n")
    sweep_claims(tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == ["elsewhere", "mine", "theirs"]
    process.communicate(b"\n")
