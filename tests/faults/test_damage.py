"""Damage to a run directory is named, or changes nothing that a user sees; a repair and the same command restore it."""

import itertools
import json
import os
import random
import shutil
from pathlib import Path

import pytest
from commands import simtrial
from damage import NAMED, copied, files_of, flips, summary, truncations, verdict
from runs import go, quick, record
from tomls import SMALL

from simtrial.errors import SimtrialError
from simtrial.store.audit import audit
from simtrial.store.sealed import write_sealed

__all__ = ["quick"]
FEWER = (
    SMALL.replace('[[methods]]\nname = "imputed"', '[[gone]]\nname = "imputed"').partition("[[gone]]")[0]
    + SMALL[SMALL.index("[run]") :]
    + '\n[vary.cross]\n"mechanism.practices.number" = [12]\n'
)
"""The sweep without its last method and with one level."""

SWEEP = SMALL + '\n[vary.cross]\n"mechanism.practices.number" = [3, 12]\n'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two cells of three chunks, with failures, and its summary."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simtrial.estimands.values.PRACTICES", 2000)
        folder = tmp_path_factory.mktemp("damage") / "run"
        go(folder, 60, text=SWEEP)
    found = summary(folder)
    assert found.code == 0, found.err
    assert any(f.suffix == ".jsonl" for f in files_of(folder))
    return folder, summary(folder).out


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that gained replicates, a cell, a method and an estimand, and ended by precision, and its summary."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simtrial.estimands.values.PRACTICES", 2000)
        patch.setattr("simtrial.run.precision.FIRST", 40)
        folder = tmp_path_factory.mktemp("damage") / "grown"
        go(folder, 40, text=FEWER)
        go(folder, 60, text=SWEEP, until={"bias": 0.06})
    assert {file.parent.name for file in files_of(folder)} >= {"truths", "stops"}
    return folder, summary(folder).out


@pytest.mark.parametrize("changes", [flips, truncations])
def test_damage_of_a_run_that_grew_is_never_silent(changes, grown: tuple[Path, str]) -> None:
    seen = tried(*grown, changes(grown[0], 150, seed=2))
    assert seen[NAMED] > 50


@pytest.mark.usefixtures("quick")
def test_a_run_that_grew_is_repaired(grown: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simtrial.run.precision.FIRST", 40)
    there, rng = copied(grown[0], tmp_path / "run"), random.Random(4)
    for attempt in range(8):
        for file in rng.sample(files_of(there), 5):
            content = bytearray(file.read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            file.write_bytes(content)
        assert simtrial("audit", there, "--repair").code == 0
        go(there, 60, text=SWEEP, until={"bias": 0.06})
        assert audit(there) == [], attempt
        assert summary(there).out == grown[1]


def tried(folder: Path, expected: str, changes) -> dict[str, int]:
    """Verdicts on changed files, each file mended afterwards."""
    seen: dict[str, int] = {}
    for name, file, content in changes:
        before = file.read_bytes()
        file.write_bytes(content)
        found = verdict(folder, expected)
        file.write_bytes(before)
        assert not found.startswith("silent"), f"{name}: {found}"
        seen[found] = seen.get(found, 0) + 1
    return seen


MANY = [pytest.mark.verify, pytest.mark.slow]


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        (flips, 250),
        (truncations, 50),
        pytest.param(flips, 5000, marks=MANY),
        pytest.param(truncations, 300, marks=MANY),
    ],
    ids=["some bits", "some ends", "many bits", "many ends"],
)
def test_flipped_bits_and_missing_ends_are_never_silent(changes, count: int, run: tuple[Path, str]) -> None:
    seen = tried(*run, changes(run[0], count, seed=1))
    print(f"{count} {changes.__name__}: {seen}")
    assert seen[NAMED] > 0.4 * count


def test_files_that_changed_places_are_named(run: tuple[Path, str]) -> None:
    """Any two files of one kind: contents swapped."""
    folder, expected = run
    for kind in ("blocks/**/*.parquet", "records/**/*.json"):
        files = sorted(folder.glob(kind))
        for one, other in itertools.pairwise(files):
            a, b = one.read_bytes(), other.read_bytes()
            one.write_bytes(b)
            other.write_bytes(a)
            found = verdict(folder, expected)
            one.write_bytes(a)
            other.write_bytes(b)
            assert found == NAMED, (one, other, found)


def test_a_pair_that_was_renamed_or_copied_is_named(run: tuple[Path, str], tmp_path: Path) -> None:
    """Chunk and record together, under the name of other blocks, in the cell or in the other one."""
    folder, expected = run
    for number, (cell, name, keep) in enumerate(
        (cell, name, keep) for cell in (0, 1) for name in ("000003-000003", "000001-000001") for keep in (True, False)
    ):
        there = copied(folder, tmp_path / str(number))
        source = sorted(there.glob("blocks/*/000000-000000.parquet"))[0]
        target = sorted((there / "blocks").iterdir())[cell] / f"{name}.parquet"
        for a, b in ((source, target), (record(source), record(target))):
            shutil.copy(a, b) if keep else shutil.move(a, b)
        assert verdict(there, expected) == NAMED, (cell, name, keep)
        assert audit(there)


def test_stray_files_change_nothing_and_an_audit_names_them(run: tuple[Path, str], tmp_path: Path) -> None:
    folder, expected = run
    there = copied(folder, tmp_path / "run")
    chunk = sorted(there.glob("blocks/*/*.parquet"))[0]
    strays = [
        chunk.with_name("000000-000000 (1).parquet"), record(chunk).with_name("000000-000000 (1).json"),
        chunk.with_name("0-5.parquet"), there / "blocks" / "notes.txt", chunk.with_name("000005-000004.parquet"),
    ]  # fmt: skip
    for stray in strays:
        shutil.copy(chunk, stray)
    shutil.copytree(chunk.parent, there / "blocks" / "elsewhere")
    assert verdict(there, expected) == "harmless"
    told = simtrial("audit", there)
    assert told.code == 4
    for stray in strays:
        assert stray.name in told.out
    assert "elsewhere: no cell of this run" in told.out
    assert simtrial("audit", there, "--repair").code == 0
    assert simtrial("audit", there).code == 0
    assert files_of(there) == [there / f.relative_to(folder) for f in files_of(folder)]


@pytest.mark.parametrize(
    "change", [{"rows": 59}, {"first": 1}, {"cell": "base"}, {"scenario": "0" * 64}, {"sha256": "0" * 64}]
)
def test_a_record_that_was_edited_and_sealed_again_is_named(
    change: dict, run: tuple[Path, str], tmp_path: Path
) -> None:
    there = copied(run[0], tmp_path / "run")
    file = record(sorted(there.glob("blocks/*/*.parquet"))[0])
    content = {k: v for k, v in json.loads(file.read_text()).items() if k != "seal"}
    write_sealed(file, content | change)
    assert verdict(there, run[1]) == NAMED


def test_a_chunk_of_another_run_is_named(run: tuple[Path, str], tmp_path: Path) -> None:
    there, other = copied(run[0], tmp_path / "run"), tmp_path / "other"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simtrial.estimands.values.PRACTICES", 2000)
        go(other, 60, text=SWEEP.replace("effect = 0.3", "effect = 0.4"))
    for name in ("run.json", "cells.parquet", "records/cells.json", "blocks", "records"):
        mixed = copied(there, tmp_path / f"mixed {name.replace('/', ' ')}")
        if (other / name).is_dir():
            shutil.rmtree(mixed / name)
            shutil.copytree(other / name, mixed / name)
        else:
            shutil.copy(other / name, mixed / name)
        assert verdict(mixed, run[1]) == NAMED, name


def test_a_recorded_file_that_is_gone_is_named(run: tuple[Path, str], tmp_path: Path) -> None:
    """Every file but the products of a run and those that nothing records: rows, failures, cells and their records."""
    folder, _ = run
    for number, file in enumerate(f for f in files_of(folder) if f.parent.name not in ("truths", "claims")):
        if file.name in ("run.json", "performance.parquet"):
            continue
        there = copied(folder, tmp_path / str(number))
        (there / file.relative_to(folder)).unlink()
        assert audit(there), file


@pytest.mark.usefixtures("quick")
def test_a_repair_and_the_same_command_restore_everything(run: tuple[Path, str], tmp_path: Path) -> None:
    folder, expected = run
    there = copied(folder, tmp_path / "run")
    rng = random.Random(3)
    for attempt in range(25):
        for file in rng.sample(files_of(there), 3):
            content = bytearray(file.read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            file.write_bytes(content)
        assert simtrial("audit", there, "--repair").code == 0
        go(there, 60, text=SWEEP)
        assert audit(there) == [], attempt
        assert summary(there).out == expected
        for file in files_of(folder):
            if file.suffix == ".parquet" and file.parent.name != there.name:
                assert (there / file.relative_to(folder)).read_bytes() == file.read_bytes()


def test_an_error_of_reading_is_no_damage(run: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = run
    real = Path.read_bytes
    for ending in ("run.json", "cells.json", "cells.parquet", "000001-000001.json", "000001-000001.parquet"):

        def failing(file: Path, ending: str = ending) -> bytes:
            if str(file).endswith(ending):
                raise OSError(5, os.strerror(5))
            return real(file)

        monkeypatch.setattr(Path, "read_bytes", failing)
        found = summary(folder)
        assert found.code == 5, (ending, found)
        assert "cannot be read (Input/output error)" in found.err
        assert "damaged" not in found.err


def test_audit_of_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(SimtrialError, match="not a run directory"):
        audit(tmp_path)


@pytest.mark.usefixtures("quick")
def test_without_its_description_a_directory_takes_its_own_request_only(run: tuple[Path, str], tmp_path: Path) -> None:
    there = copied(run[0], tmp_path / "run")
    (there / "run.json").unlink()
    told = simtrial("audit", there)
    assert told.code == 4
    assert "the same run command writes it again" in told.out
    with pytest.raises(SimtrialError, match=r"run\.json is missing, and the results there are of another request"):
        go(there, 60, text=SWEEP.replace("seed = 5", "seed = 6"))
    assert not (there / "run.json").exists()
    go(there, 60, text=SWEEP)
    assert audit(there) == []
    assert summary(there).out == run[1]


@pytest.mark.usefixtures("quick")
def test_a_chunk_without_its_record_is_named_and_made_again(run: tuple[Path, str], tmp_path: Path) -> None:
    there = copied(run[0], tmp_path / "run")
    record(sorted(there.glob("blocks/*/*.parquet"))[0]).unlink()
    assert "its record is missing" in simtrial("audit", there).out
    assert summary(there).code == 3
    go(there, 60, text=SWEEP)
    assert audit(there) == []
    assert summary(there).out == run[1]
