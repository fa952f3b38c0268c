"""A run directory grows: replicates, methods, estimands and levels are added, and only what is new is computed."""

import json
import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from commands import program, simtrial
from polars.testing import assert_frame_equal
from runs import chunks, go, quick, record, rows
from tomls import SMALL, changed, written

from simtrial.errors import IncompleteRunError, RunError
from simtrial.estimands import true_values
from simtrial.run import tasks
from simtrial.scenario import load, rebuild
from simtrial.store import cells
from simtrial.store.audit import audit
from simtrial.store.directory import provenance, read_run
from simtrial.store.identity import from_json
from simtrial.store.truths import read_truths, truth_files

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]

METHOD = '[[methods]]\nname = "least squares"\nkind = "ols"\nestimand = "itt"\n\n[run]'
MORE_METHODS = changed("[run]", METHOD)
ESTIMAND = '[[estimands]]\nname = "by practice"\nkind = "itt"\nunit = "cluster"\n\n[[estimands]]\nname = "cace"'
BOTH = changed('estimand = "itt"', 'estimand = ["itt", "by practice"]')
MORE_ESTIMANDS = changed('[[estimands]]\nname = "cace"', ESTIMAND, BOTH)
FINITE = changed('kind = "itt"\nunit = "cluster"', 'kind = "itt"\nunit = "cluster"\nfinite = true', MORE_ESTIMANDS)


def varied(text: str, *levels: float) -> str:
    """The scenario with the effect varied."""
    return f'{text}\n[vary.cross]\n"mechanism.outcomes.mansa.effect" = {list(levels)}\n'


EVERYTHING = varied(changed("[run]", METHOD, MORE_ESTIMANDS), 0.3, 0.0)

GROWTH = {
    "a method": (SMALL, MORE_METHODS),
    "a method before the others": (SMALL, changed("[[methods]]", METHOD.removesuffix("[run]") + "[[methods]]")),
    "an estimand": (SMALL, MORE_ESTIMANDS),
    "an estimand of each trial's own": (SMALL, FINITE),
    "a level": (varied(SMALL, 0.3), varied(SMALL, 0.3, 0.0)),
    "a factor that holds the present value": (SMALL, varied(SMALL, 0.0, 0.3)),
    "all of these": (SMALL, EVERYTHING),
}


@pytest.mark.parametrize(("before", "after"), GROWTH.values(), ids=GROWTH)
def test_what_is_added_is_computed_and_nothing_else(before: str, after: str, tmp_path: Path) -> None:
    """Rows and table are those of a run that was asked for everything at once; what was there is left alone."""
    go(tmp_path / "grown", 40, text=before)
    files = {f: f.stat().st_mtime_ns for f in chunks(tmp_path / "grown")}
    go(tmp_path / "grown", 40, text=after)
    assert {f: f.stat().st_mtime_ns for f in files} == files
    go(tmp_path / "whole", 40, text=after)
    assert_frame_equal(rows(tmp_path / "grown"), rows(tmp_path / "whole"), check_exact=True, check_column_order=False)
    tables = [simtrial("summarise", tmp_path / name, "--format", "csv") for name in ("grown", "whole")]
    assert tables[0].out == tables[1].out
    held = [part for file in chunks(tmp_path / "grown") for part in parts_of(file)]
    assert len(held) == len(set(held)), "a part of a block was computed twice"
    assert audit(tmp_path / "grown") == []
    assert go(tmp_path / "grown", 40, text=after).chunks == 0


def parts_of(chunk: Path) -> list[tuple[str, int, str, str]]:
    """Cell, block, method and estimand of everything in a chunk of one block."""
    found = json.loads(record(chunk).read_text())
    return [(found["cell"], found["first"], method, estimand) for method, estimand, _ in found["parts"]]


def test_a_method_is_added_on_the_way(tmp_path: Path) -> None:
    """More replicates, a missing block and a method at once."""
    go(tmp_path / "grown", 40)
    lost = chunks(tmp_path / "grown")[0]
    lost.unlink()
    record(lost).unlink()
    go(tmp_path / "grown", 80, text=MORE_METHODS)
    go(tmp_path / "whole", 80, text=MORE_METHODS)
    assert_frame_equal(rows(tmp_path / "grown"), rows(tmp_path / "whole"), check_exact=True)


@pytest.mark.parametrize("text", [SMALL, varied(SMALL, 0.0), varied(SMALL, 0.3)])
def test_a_request_for_less_prints_its_own_and_leaves_the_rest(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    go(folder, 40, text=EVERYTHING)
    before = {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    file = written(tmp_path, text)
    less = simtrial("run", file, "-o", folder, "--replicates", 40, "--format", "csv")
    assert less.code == 0, less.err
    alone = simtrial("run", file, "-o", tmp_path / "alone", "--replicates", 40, "--format", "csv")
    assert less.out == alone.out
    assert {f: f.read_bytes() for f in folder.rglob("*") if f.is_file()} == before


def test_a_request_for_less_is_computed_where_it_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    go(folder, 40, text=MORE_METHODS)
    file = written(tmp_path, SMALL)
    less = simtrial("run", file, "-o", folder, "--replicates", 60, "--format", "csv")
    alone = simtrial("run", file, "-o", tmp_path / "alone", "--replicates", 60, "--format", "csv")
    assert (less.code, less.out) == (0, alone.out)
    go(folder, 60, text=MORE_METHODS)
    go(tmp_path / "whole", 60, text=MORE_METHODS)
    assert_frame_equal(rows(folder), rows(tmp_path / "whole"), check_exact=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            changed('kind = "lmm"', 'kind = "lmm"\ndf = "normal"', MORE_METHODS),
            "method 'mixed model': df is not stated there",
        ),
        (
            changed('name = "mixed model"', 'name = "other"'),
            "method 'mixed model' there alone; method 'other' here alone",
        ),
        (varied(SMALL, 0.1), "effect 0.1 here alone"),
        (changed("icc = 0.1", "icc = 0.2", MORE_METHODS), "mechanism.outcomes.mansa.icc is 0.1 there and 0.2 here"),
    ],
)
def test_what_is_neither_more_nor_less_is_refused(text: str, words: str, tmp_path: Path) -> None:
    go(tmp_path / "run", 20)
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(RunError, match=re.escape(words)):
        go(tmp_path / "run", 20, text=text)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_default_estimand_that_changes_with_the_new_ones(tmp_path: Path) -> None:
    """Without any, methods are compared with none; then all with the one there is."""
    none = re.sub(r'estimand = "\w+"\n', "", SMALL)
    none = re.sub(r"\[\[estimands\]\].*?(?=\[\[methods\]\])", "", none, flags=re.DOTALL)
    some = none.replace("[[methods]]", '[[estimands]]\nname = "itt"\nkind = "itt"\n\n[[methods]]', 1)
    go(tmp_path / "grown", 20, text=none)
    go(tmp_path / "grown", 20, text=some)
    go(tmp_path / "whole", 20, text=some)
    assert_frame_equal(rows(tmp_path / "grown"), rows(tmp_path / "whole"), check_exact=True)


def test_true_values_do_not_depend_on_those_found_beside_them(tmp_path: Path) -> None:
    scenario, (cell,) = load(written(tmp_path, FINITE))
    together = true_values(scenario.estimands, cell.scenario.mechanism, 5, cell.key)
    alone = [true_values([e], cell.scenario.mechanism, 5, cell.key)[0] for e in scenario.estimands]
    assert together == alone


def test_true_values_are_found_once_by_shards_that_share_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    whole = tasks.true_values
    monkeypatch.setattr(tasks, "true_values", lambda e, m, s, cell: found.append(cell) or whole(e, m, s, cell))
    for shard in ((1, 3), (2, 3), (3, 3)):
        go(tmp_path / "run", 40, text=varied(SMALL, 0.3, 0.0), shard=shard)
    assert len(found) == len(set(found)) == 2
    assert rows(tmp_path / "run").height == 240


def test_killed_while_the_table_of_cells_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record is there before it and knows the table before: the old request is read, the new one is not there."""
    folder = tmp_path / "run"
    go(folder, 20)
    before = rows(folder)
    whole = cells.write_bytes
    monkeypatch.setattr(cells, "write_bytes", lambda file, content: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        go(folder, 20, text=MORE_ESTIMANDS)
    with pytest.raises(IncompleteRunError, match="some true values are not there yet"):
        rows(folder)
    assert simtrial("run", written(tmp_path, SMALL), "-o", folder, "--replicates", 20).code == 0
    monkeypatch.setattr(cells, "write_bytes", whole)
    go(folder, 20, text=MORE_ESTIMANDS)
    assert rows(folder).height == 80
    assert rows(folder).filter(estimand="cace").equals(before.filter(estimand="cace"))


def test_a_table_of_cells_that_another_process_has_written_is_left_alone(tmp_path: Path) -> None:
    """Both find that there is none and write it: the second changes no file, so that nobody reads in between."""
    folder = tmp_path / "run"
    go(folder, 20)
    files = [folder / "cells.parquet", folder / "records" / "cells.json"]
    held = {f: f.stat().st_mtime_ns for f in files}
    run = read_run(folder)
    scenario, every = rebuild(run["scenario"])
    identity = from_json(run)
    known = read_truths(folder, identity, truth_files(folder)[every[0].id], every[0].id)
    truths = {every[0].id: [known[e.name] for e in scenario.estimands]}
    unanalysed = {name: table for name, table in scenario.raw.items() if name != "methods"}
    origin = provenance(replace(scenario, raw=unanalysed), identity.trials)
    cells.write_cells(folder, truths, [], identity=identity, provenance=origin)
    assert {f: f.stat().st_mtime_ns for f in files} == held


def test_a_method_of_a_plugin_is_added(tmp_path: Path) -> None:
    plugin = tmp_path / "means.py"
    plugin.write_text(
        "import polars as pl\nimport simtrial\n\n\n@simtrial.plain_method('mine')\ndef mine(trial):\n"
        "    by_arm = trial.drop_nulls('mansa_followup').group_by('arm').agg(m=pl.col('mansa_followup').mean())\n"
        "    control, other = by_arm.sort('arm')['m']\n"
        "    return {'estimate': other - control, 'std_error': 0.2, 'df': 10.0}\n"
    )
    own = changed("[run]", '[[methods]]\nname = "mine"\nkind = "mine"\nestimand = "itt"\n\n[run]')
    first = program("run", written(tmp_path, SMALL), "-o", tmp_path / "run", "--replicates", 20)
    assert first.code == 0, first.err
    grown = program("run", written(tmp_path, own), "-o", tmp_path / "run", "--replicates", 20, "--plugin", plugin)
    assert grown.code == 0, grown.err
    assert rows(tmp_path / "run")["method"].unique(maintain_order=True).to_list()[-1] == "mine"
    assert len(chunks(tmp_path / "run")) == 2
    without = program("run", written(tmp_path, SMALL), "-o", tmp_path / "run", "--replicates", 20)
    assert without.code == 2
    assert "made with other plugins" in without.err


def test_directories_of_the_same_trials_are_summarised_as_one(tmp_path: Path) -> None:
    """Shards without a common disk, methods apart, cells apart, and replicates twice."""
    whole = varied(MORE_METHODS, 0.3, 0.0)
    go(tmp_path / "whole", 60, text=whole)
    expected = simtrial("summarise", tmp_path / "whole", "--format", "csv").out
    for number in (1, 2):
        go(tmp_path / f"shard{number}", 60, text=whole, shard=(number, 2))
    go(tmp_path / "fewer", 60, text=varied(SMALL, 0.3, 0.0))
    alone = re.sub(r"\[\[methods\]\].*?(?=\[\[methods\]\]\nname = \"least)", "", whole, flags=re.DOTALL)
    go(tmp_path / "added", 60, text=alone)
    for level in (0.3, 0.0):
        go(tmp_path / f"level {level}", 60, text=varied(MORE_METHODS, level))
    for names in (("shard1", "shard2"), ("fewer", "added"), ("level 0.3", "level 0.0"), ("whole", "shard1", "fewer")):
        found = simtrial("summarise", *(tmp_path / name for name in names), "--format", "csv")
        assert (found.code, found.out) == (0, expected), (names, found.err)
    lacking = simtrial("summarise", tmp_path / "shard1", tmp_path / "fewer")
    assert lacking.code == 3
    assert "blocks are missing" in lacking.err


def test_directories_of_other_trials_stand_side_by_side(tmp_path: Path) -> None:
    go(tmp_path / "one", 20)
    go(tmp_path / "two", 20, text=changed("seed = 5", "seed = 6"))
    found = simtrial("summarise", tmp_path / "one", tmp_path / "two", "--format", "json")
    assert found.code == 0, found.err
    frame = pl.DataFrame(json.loads(found.out)["rows"])
    assert frame["run"].unique(maintain_order=True).to_list() == ["one", "two"]
    for name in ("one", "two"):
        own = pl.DataFrame(json.loads(simtrial("summarise", tmp_path / name, "--format", "json").out)["rows"])
        there = frame.filter(run=name).drop("run", "cell")
        assert_frame_equal(there, own.drop("cell"), check_exact=True)


def test_directories_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    go(tmp_path / "one", 20)
    go(tmp_path / "two", 20, text=changed('kind = "lmm"', 'kind = "lmm"\ndf = "normal"'))
    found = simtrial("summarise", tmp_path / "one", tmp_path / "two")
    assert found.code == 2
    assert "method 'mixed model': df is not stated there and 'normal' here" in found.err
