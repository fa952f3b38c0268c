"""A key that is unknown where it stands and belongs elsewhere is told so; and what is no table, how one is written."""

from pathlib import Path

import pytest
from commands import simtrial
from tomls import SMALL, changed, complaint, written

HEAD = "it belongs at the top of the file, before the first table"


@pytest.mark.parametrize(("table", "line", "told"), [
    ("[[methods]]", 'primary = "mansa"', f"unknown key 'primary'; {HEAD} (allowed: kind, name"),
    ("[run]", "schema = 1", f"unknown key 'schema'; {HEAD} (allowed: replicates"),
    ("[mechanism.practices]", 'extends = "partners"', f"unknown key 'extends'; {HEAD}"),
    ("[aims]", "seed = 3", "unknown key 'seed'; it belongs in [run] (allowed: question"),
    ("[mechanism.delivery]", "block = 30", "unknown key 'block'; it belongs in [run]"),
    ("[[estimands]]", 'mcse = "normal"', "unknown key 'mcse'; it belongs in [performance], or in [[expect]]"),
    ("[mechanism.baseline]", "effect = 0.3", "unknown key 'effect'; it belongs in [mechanism.outcomes.NAME]"),
    ("[[methods]]", "m = 20", "unknown key 'm'; it is an option of kind 'mi' (allowed: kind"),
    ("[run]", "replicats = 30", "unknown key 'replicats'; did you mean 'replicates'? (allowed"),
    ("[run]", "nonsense = 30", "unknown key 'nonsense' (allowed: replicates"),
])  # fmt: skip
def test_a_key_of_another_table(table: str, line: str, told: str, tmp_path: Path) -> None:
    assert told in complaint(tmp_path, changed(table, f"{table}\n{line}"))


@pytest.mark.parametrize(("header", "told"), [
    ("[practices]", "unknown table 'practices'; it belongs in the mechanism, as [mechanism.practices]"),
    ("[mansa]", "unknown table 'mansa'; it belongs in the mechanism, as [mechanism.outcomes.mansa]"),
    ("[mechanism.mansa]", "'mechanism.mansa'; it belongs in the mechanism, as [mechanism.outcomes.mansa]"),
    ("[mechanism.performance]", "'mechanism.performance'; it belongs at the top level, as [performance]"),
    ("[mechanism.expect]", "'mechanism.expect'; it belongs at the top level, as [[expect]]"),
])  # fmt: skip
def test_a_table_that_belongs_elsewhere(header: str, told: str, tmp_path: Path) -> None:
    assert told in complaint(tmp_path, f"{SMALL}\n{header}\n")


@pytest.mark.parametrize(("text", "told"), [
    ("vary = []", "vary must be tables, written [vary.cross] or [vary.zip], or [vary] with table ="),
    ("vary = 'cross'", "vary must be tables, written [vary.cross]"),
    ("run = 3", "run must be a table, written [run]; 3 given"),
    ("vary.cross = []", "cross must be a table, written [vary.cross]; [] given"),
    ("aims = ['x']", "aims must be a table, written [aims]; ['x'] given"),
    ("expect = 3", "expect must be written as [[expect]], one table each"),
    ("design = 'd'", "design must be a table, written [design]; 'd' given"),
])  # fmt: skip
def test_what_is_no_table(text: str, told: str, tmp_path: Path) -> None:
    tables = SMALL.replace('[aims]\nquestion = "Does it work?"\n', "").partition("[run]\n")
    assert told in complaint(tmp_path, f"{text}\n{tables[0] if text.startswith('run') else ''.join(tables)}")


def test_a_list_of_tables_and_a_stage_that_is_a_number(tmp_path: Path) -> None:
    table = f'{SMALL}\n[[vary]]\ntable = "{"long" * 40}.csv"\n'
    message = complaint(tmp_path, table)
    assert "vary must be tables, written [vary.cross]" in message
    assert len(message) < 250
    assert "delivery must be a table, written [mechanism.delivery]; 3 given" in complaint(
        tmp_path, changed("[mechanism.delivery]", "[mechanism]\ndelivery = 3")
    )
    varied = f"{SMALL}\n[vary]\nmechanism.practices.number = [3, 5]\n"
    assert 'in quotes: "mechanism.practices.number" = [20, 40]' in complaint(tmp_path, varied)


def test_a_methods_file(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("practice,arm,y_followup\n1,0,1\n2,1,2\n3,0,2\n4,1,4\n")
    text = '[[methods]]\nname = "a"\nkind = "ols"\nprimary = "y"\n'
    found = simtrial("analyse", tmp_path / "d.csv", "--methods", written(tmp_path, text, "m.toml"))
    assert (found.code, HEAD in found.err) == (2, True)
    more = written(tmp_path, f"[run]\nseed = 1\n{text}", "m.toml")
    found = simtrial("analyse", tmp_path / "d.csv", "--methods", more)
    assert "unknown table 'run' (allowed" in found.err
