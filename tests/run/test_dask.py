"""A cluster of dask: who may work on it, what its failure looks like, and that it listens to this machine only."""

import asyncio
import gc
import itertools
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from commands import PROGRAM, simtrial
from dask_cluster import MISSING, Cluster, cluster
from tomls import SMALL, written

from simtrial.errors import EnvironmentFailure
from simtrial.run import dask_worker
from simtrial.run.dask_cluster import CONTACT, _root
from simtrial.run.engines.dask import Joined
from simtrial.store import directory

pytestmark = [pytest.mark.verify, pytest.mark.slow]  # clusters take seconds to start, and two cores are few
PLAIN = """
import os
from simtrial import plain_method

@plain_method("plain")
def plain(frame):
    '''The number of threads, and of people.'''
    return {"estimate": float(os.environ["OPENBLAS_NUM_THREADS"]), "std_error": 1.0}
"""


def identity(number: int) -> int:
    return number


def dies_with_its_dask_worker(number: int) -> int:
    """2 kills the worker of dask that has it, not only its own process."""
    if number == 2:
        os.kill(os.getppid(), 9)
        time.sleep(60)
    return number


def test_without_dask_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    for options in (["--engine", "dask"], ["--scheduler", "tcp://127.0.0.1:1"]):
        found = simtrial("run", "partners", "-o", tmp_path / "run", *options)
        assert found.code == 2
        advice = "pip install '.[dask]' where the source of simtrial is"
        assert found.err == f"error: --engine dask needs module 'distributed': {advice}\n"
    assert not (tmp_path / "run").exists()


def test_it_is_imported_only_when_it_is_used(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom simtrial.run.engines import ENGINES\nassert 'dask' in ENGINES.all()\n"
        "assert not {'distributed', 'dask', 'tornado'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=PROGRAM.parent)


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason=MISSING)
    file = tmp_path / "scheduler.json"
    file.write_text("{}")
    odd, words = tmp_path / "odd.json", tmp_path / "words.json"
    odd.write_text('{"address": "a b"}')
    words.write_text("not JSON")
    for options, message in (
        (["--scheduler", "tcp://a:1", "--engine", "serial"], "--scheduler goes with --engine dask, not serial"),
        (["--scheduler", "tcp://a:1", "--scheduler-file", file], "name one scheduler each; give one of them"),
        (["--scheduler-file", file], "not the file of a dask scheduler (no address in it)"),
        (["--scheduler-file", tmp_path / "none"], "does not exist"),
        (["--scheduler", "a:b:c", "--replicates", "20"], "no address of a scheduler such as tcp://host:8786"),
        (["--scheduler", "nonsense"], "--scheduler nonsense: no address of a scheduler such as tcp://host:8786"),
        (["--scheduler", ""], "--scheduler : no address of a scheduler"),
        (["--scheduler", "foo://a:1"], "('foo' is not among "),
        (["--scheduler", "inproc://a:1"], "('inproc' is not among "),
        (["--scheduler", "tcp://a:99999"], "(a host and a port from 1 to 65535 are wanted)"),
        (["--scheduler", "tcp://:8786"], "(a host and a port from 1 to 65535 are wanted)"),
        (["--scheduler-file", odd], f"{odd}: a b: no address of a scheduler such as"),
        (["--scheduler-file", words], f"{words}: not the file of a dask scheduler"),
    ):
        found = simtrial("run", written(tmp_path, SMALL), "-o", tmp_path / "run", *options)
        assert found.code == 2, found.err
        assert message in found.err
        assert not (tmp_path / "run").exists()


def test_a_worker_of_another_version_is_named(dask: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    here = directory.versions()
    monkeypatch.setattr(directory, "versions", lambda: here | {"numpy": "1.0", "scipy": "0.1"})
    with pytest.raises(EnvironmentFailure) as caught:
        list(Joined(dask.address, most=1)(identity, range(3), 1))
    told = str(caught.value)
    assert told.startswith("the worker at tcp://127.0.0.1:")
    assert f" has numpy {here['numpy']}, scipy {here['scipy']}, and this process numpy 1.0, scipy 0.1; they mu" in told
    assert "polars" not in told


def test_a_worker_that_does_not_see_the_run_directory(
    dask: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another disk under the same name: what was written here is not there."""
    monkeypatch.setattr("simtrial.files.whole.write_bytes", lambda file, content: None)
    monkeypatch.setattr(dask_worker, "SIGHT", 0.3)
    with pytest.raises(EnvironmentFailure, match=rf"does not see {tmp_path}; a run directory must be on a disk"):
        list(Joined(dask.address, tmp_path, most=1)(identity, range(3), 1))


def test_a_run_on_a_cluster(dask: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths from the working directory, a plug-in, one thread for each worker, nothing on stderr but progress."""
    (tmp_path / "plain.py").write_text(PLAIN)
    text = SMALL.replace("[run]\n", '[[methods]]\nname = "plain"\nkind = "plain"\nadjust = []\n\n[run]\n')
    written(tmp_path, text)
    command = [
        sys.executable,
        str(PROGRAM),
        "run",
        "trial.toml",
        "-o",
        "run",
        "--plugin",
        "plain.py",
        "--format",
        "csv",
    ]
    command += ["--scheduler-file", str(dask.file), "--replicates", "40", "--workers", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if " chunks, " not in line] == []
    (mean,) = [line for line in done.stdout.splitlines() if ",plain," in line and ",mean_estimate," in line][:1] or [""]
    assert ",1.0," in mean, done.stdout
    assert not list((tmp_path / "run").glob(".*"))
    assert dask.processes["scheduler"].poll() is None


def test_a_task_that_kills_workers_of_dask_is_given_up(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason=MISSING)
    with cluster(tmp_path, 3, "--no-nanny") as found:
        done = dict(Joined(found.address)(dies_with_its_dask_worker, range(6), 3))
    assert "the worker process died, 2 times" in str(done.pop(2))
    assert done == {0: 0, 1: 1, 3: 3, 4: 4, 5: 5}


@pytest.mark.parametrize(
    ("address", "cause"),
    [("tcp://127.0.0.1:9", "Connection refused"), ("tcp://nowhere.invalid:8786", "gaierror")],
)
def test_a_scheduler_that_is_not_there(address: str, cause: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason=MISSING)
    monkeypatch.setattr("simtrial.run.dask_cluster.CONTACT", 0.3)
    with pytest.raises(EnvironmentFailure, match=re.escape(f"no scheduler answers at {address} (")) as caught:
        list(Joined(address)(identity, range(3), 1))
    # the last attempt may be under way when the time is over, which is told then
    assert cause in str(caught.value) or f"Timed out trying to connect to {address} after 0.3 s" in str(caught.value)
    assert CONTACT <= 10


def test_the_root_of_an_error_is_its_last_cause_that_has_words() -> None:
    def chain(*errors: BaseException) -> BaseException:
        for error, cause in itertools.pairwise(errors):
            error.__cause__ = cause
        return errors[0]

    timed_out, refused = OSError("Timed out"), ConnectionRefusedError("refused")
    assert _root(chain(timed_out, ValueError("between"), refused)) is refused
    timed_out = OSError("Timed out")
    assert _root(chain(timed_out, TimeoutError(), asyncio.CancelledError())) is timed_out


def test_something_else_than_a_scheduler_answers() -> None:
    """One line whatever it answers, at once, and nothing of dask's afterwards."""
    pytest.importorskip("distributed", reason=MISSING)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as there:
                there.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)

        threading.Thread(target=answer, daemon=True).start()
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        begun = time.monotonic()
        with pytest.raises(EnvironmentFailure, match=f"no scheduler answers at {address} "):
            list(Joined(address)(identity, range(3), 1))
        gc.collect()  # a client that was not closed waits twice as long
    assert time.monotonic() < begun + CONTACT + 2


def test_nobody_comes_to_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason=MISSING)
    monkeypatch.setattr("simtrial.run.engines.dask.PATIENCE", 1.0)
    with cluster(tmp_path, 0) as found:
        found.start(0)
        with pytest.raises(EnvironmentFailure, match="has had no worker for 1 seconds; stored chunks are kept"):
            list(Joined(found.address)(identity, range(3), 1))


def test_a_cluster_of_its_own_listens_on_loopback_only() -> None:
    """Neither the scheduler nor its workers, nor a dashboard, elsewhere; settings are left as they were."""
    pytest.importorskip("distributed", reason=MISSING)
    from simtrial.run.dask_cluster import quiet, started

    before, level = dict(os.environ), logging.getLogger("distributed").level
    with quiet(), started(1) as local:
        addresses = [local.scheduler_address, *local.scheduler_info["workers"]]
        own = {os.getpid(), *(nanny.process.pid for nanny in local.workers.values())}
        heard = listening(own)
    assert len(addresses) == 2
    assert all(address.startswith("tcp://127.0.0.1:") for address in addresses)
    assert len(heard) >= 2
    assert set(heard) == {"0100007F"}
    assert dict(os.environ) == before
    assert logging.getLogger("distributed").level == level


def listening(processes: set[int]) -> list[str]:
    """Local addresses, as the system writes them, on which processes accept connections."""
    sockets = set()
    for process in processes:
        for handle in Path(f"/proc/{process}/fd").iterdir():
            try:
                sockets.add(os.readlink(handle).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        lines = [line.split() for line in Path(table).read_text().splitlines()[1:]] if Path(table).exists() else []
        found += [line[1].split(":")[0] for line in lines if line[3] == "0A" and line[9] in sockets]
    return found
