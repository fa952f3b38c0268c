"""status, audit, replay, --shard and --max-time as a user meets them."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

import click
import polars as pl
import pytest
from commands import PROGRAM, program, simtrial
from runs import chunks, drop, quick
from tomls import SMALL, written

from simtrial.commands.since_start import begun
from simtrial.commands.status import chunk_in

__all__ = ["quick"]
pytestmark = pytest.mark.usefixtures("quick")
SWEEP = SMALL + '\n[vary.cross]\n"mechanism.practices.number" = [3, 12]\n'


def run(folder: Path, *more: object, text: str = SWEEP, replicates: int = 80):
    file = written(folder.parent, text, f"{folder.name}.toml")
    base = [
        "run",
        file,
        "-o",
        folder,
        "--replicates",
        replicates,
        "--chunk",
        20,
        "--engine",
        "serial",
        "--format",
        "csv",
    ]
    return simtrial(*base, *more)


def test_shards_in_any_order_make_one_run(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    for shards in (1, 3, 7):
        folder = tmp_path / f"run{shards}"
        parts = [run(folder, "--shard", f"{shard}/{shards}") for shard in range(shards, 0, -1)]
        assert [part.code for part in parts] == [0] * shards
        assert all(part.out == "" for part in parts[:-1])
        assert parts[-1].out == whole.out, "the shard that completes the run prints its table"
        for file in chunks(tmp_path / "whole"):
            assert (folder / file.relative_to(tmp_path / "whole")).read_bytes() == file.read_bytes()


def test_shards_share_no_chunk(tmp_path: Path) -> None:
    made = []
    for shard in range(1, 4):
        run(tmp_path / f"run{shard}", "--shard", f"{shard}/3")
        made.append({str(f.relative_to(tmp_path / f"run{shard}")) for f in chunks(tmp_path / f"run{shard}")})
    assert [len(part) for part in made] == [3, 3, 2]
    assert len(set.union(*made)) == 8


def test_status_says_what_is_missing_and_which_shards_to_submit_again(tmp_path: Path) -> None:
    for shard in (1, 3):
        told = run(tmp_path / "run", "--shard", f"{shard}/4")
        assert f"shard {shard}/4 is complete" in told.err
    found = simtrial("status", tmp_path / "run", "--shards", 4, "--chunk", 20)
    assert found.code == 3
    assert "4 of 8 blocks of 20 replicates are stored (80 replicates in 2 cells); true values are stored." in found.out
    assert "--array=2,4" in found.out
    same = simtrial("status", tmp_path / "run", "--shards", 4)
    assert same.out == found.out, "the size of chunks is that of the command"
    assert "for chunks of 20 replicates, as in the command that began the run" in same.err
    rows = json.loads(simtrial("status", tmp_path / "run", "--format", "json").out)["rows"]
    assert [(row["cell"], row["missing"]) for row in rows] == [("number=3", 2), ("number=12", 2)]
    run(tmp_path / "run")
    assert simtrial("status", tmp_path / "run", "--shards", 4, "--chunk", 20).code == 0


@pytest.mark.parametrize(
    ("command", "size"),
    [("simtrial run partners -o a", 1000), ("simtrial run partners --chunk=500 -o a", 500), ("", 1000),
     ("cli.py run a --chunk 20 --shard 1/2", 20), ("simtrial run x--chunk 3 -o a --chunk 40", 40)],
)  # fmt: skip
def test_the_size_of_chunks_is_read_from_the_command(command: str, size: int) -> None:
    assert chunk_in(command) == size


@pytest.mark.parametrize("wrong", ["0/3", "4/3", "3", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none(wrong: str, tmp_path: Path) -> None:
    found = run(tmp_path / "run", f"--shard={wrong}")
    assert found.code == 2
    assert "is not a part I/N with I from 1 to N" in found.err
    assert not (tmp_path / "run").exists()


def test_when_the_time_is_up_it_says_what_is_left(tmp_path: Path) -> None:
    found = run(tmp_path / "run", "--max-time", "0s")
    assert (found.code, found.out) == (0, "")
    assert "time is up: 8 of 8 chunks are left" in found.err
    assert run(tmp_path / "run", "--max-time", "1h").out == run(tmp_path / "whole").out
    for wrong in ("soon", "-3s", "1d"):
        assert run(tmp_path / "run", f"--max-time={wrong}").code == 2


def test_the_time_limit_counts_from_the_start_of_the_program(tmp_path: Path) -> None:
    """A process that needs 3 s to import a plug-in has nothing left of 2 s; one called from Python begins there."""
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(2.5)\n")
    file = written(tmp_path, SMALL)
    command = [sys.executable, str(PROGRAM), "run", file, "-o", str(tmp_path / "run"), "--replicates", "20"]
    command += ["--plugin", str(tmp_path / "slow.py"), "--max-time", "2s", "--engine", "serial"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "time is up: 1 of 1 chunks are left" in done.stderr
    script = "import time; time.sleep(1); from simtrial.commands import since_start as s; "
    script += "print(time.monotonic() - s.process_began())"
    age = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROGRAM.parent)
    assert 1 < float(age.stdout) < 60
    with click.Context(click.Command("run")):
        assert time.monotonic() - begun() < 1


def test_a_smaller_number_prints_the_first_so_many(tmp_path: Path) -> None:
    run(tmp_path / "run", replicates=80)
    assert run(tmp_path / "run", replicates=30).out == run(tmp_path / "short", replicates=30).out
    drop(chunks(tmp_path / "run")[-1])
    found = run(tmp_path / "run", replicates=30)
    assert found.code == 0, "what was never finished does not matter to what is asked now"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["replicates"] == 80


def test_replay_makes_a_replicate_again(tmp_path: Path) -> None:
    run(tmp_path / "run")
    found = simtrial("replay", tmp_path / "run", "--cell", "number=3", "--replicate", 33, "-o", tmp_path / "trial")
    assert found.code == 0, found.err
    assert ": identical" in found.err
    assert "Replicate 33 of cell 'number=3'" in found.out
    (file,) = (tmp_path / "trial").iterdir()
    simtrial("generate", tmp_path / "run.toml", "--cell", "number=3", "--replicate", 33, "-o", tmp_path / "again")
    ours = pl.read_csv(file).drop("trial_id")
    assert ours.equals(pl.read_csv(next((tmp_path / "again").glob("*33.csv"))).drop("trial_id"))


def test_a_summary_ends_with_the_commands_that_show_failed_fits(tmp_path: Path) -> None:
    run(tmp_path / "run")
    shown = simtrial("summarise", tmp_path / "run").out
    line = next(line for line in shown.splitlines() if "simtrial replay" in line and "mixed model" in line)
    words = shlex.split(line.split(": simtrial ")[1])
    assert words[0] == "replay"
    found = simtrial(*words, "--format", "csv")
    assert found.code == 0
    assert "failed" in found.out


def test_replay_of_what_is_not_there(tmp_path: Path) -> None:
    run(tmp_path / "run", replicates=20)
    found = simtrial("replay", tmp_path / "run", "--replicate", 61)
    assert (found.code, "not stored" in found.err) == (0, True)
    assert simtrial("replay", tmp_path / "run", "--replicate", 1, "--cell", "number=5").code == 2
    assert simtrial("replay", tmp_path / "nowhere", "--replicate", 1).code == 2
    assert simtrial("audit", tmp_path / "nowhere").code == 2
    assert simtrial("status", tmp_path / "nowhere").code == 2


def test_status_of_a_run_with_a_plugin(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from simtrial import plain_method\n\n@plain_method('status-mine')\ndef mine(frame):\n"
        "    return {'estimate': 0.0, 'std_error': 1.0}\n"
    )
    text = SMALL.replace("[run]\n", '[[methods]]\nname = "mine"\nkind = "status-mine"\n\n[run]\n')
    file = written(tmp_path, text)
    how = ("-o", tmp_path / "run", "--replicates", 20, "--engine", "serial", "--plugin", tmp_path / "mine.py")
    assert program("run", file, *how).code == 0
    for command in (("status",), ("audit",), ("replay", "--replicate", 3), ("summarise",)):
        found = program(command[0], tmp_path / "run", *command[1:])
        assert found.code == 0, found.err


def test_data_sets_of_replays_in_two_cells_have_two_names(tmp_path: Path) -> None:
    run(tmp_path / "run", replicates=20)
    for cell in ("number=3", "number=12"):
        simtrial("replay", tmp_path / "run", "--cell", cell, "--replicate", 7, "-o", tmp_path / "trials")
    assert len(list((tmp_path / "trials").iterdir())) == 2
