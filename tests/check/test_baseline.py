"""Baselines: the file, its seal, and runs that cannot be compared with it."""

import json
import random
import re
from pathlib import Path

import polars as pl
import pytest
from commands import simtrial
from runs import go, quick
from tomls import SMALL

from simtrial.check.baseline import BaselineError, read_baseline
from simtrial.errors import StoreError

__all__ = ["quick"]
PLAIN = (
    SMALL[: SMALL.index("[[methods]]")]
    + """
[[methods]]
name = "mixed model"
kind = "lmm"
estimand = "itt"
adjust = ["mansa_baseline"]

[[methods]]
name = "least squares"
kind = "ols"
estimand = "itt"
adjust = ["mansa_baseline"]

[run]
replicates = 40
block = 20
"""
)


@pytest.fixture
def made(tmp_path, quick):
    """A run of 40 replicates, and its baseline."""
    go(tmp_path / "run", text=PLAIN)
    file = tmp_path / "base.parquet"
    done = check(tmp_path / "run", file, "--update-baseline", "--reason", "first | `of` <all>")
    assert done.code == 0, done.err
    return file


def other(tmp_path, name="other", text=PLAIN, **how):
    go(tmp_path / name, text=text, **how)
    return tmp_path / name


def check(folder, file, *more):
    return simtrial("check", folder, "--baseline", file, *more)


def test_a_run_is_identical_to_its_own_baseline(tmp_path, made):
    done = check(tmp_path / "run", made)
    assert done.code == 0
    assert "2 identical" in done.out
    assert "first | `of` <all>" in done.out
    again = check(other(tmp_path, chunk_replicates=40), made)
    assert again.out == done.out.replace("/run", "/other")


def test_the_file_is_small_and_the_same_again(tmp_path, made):
    content, text = made.read_bytes(), Path(f"{made}.md").read_text()
    file = tmp_path / "again.parquet"
    folder = other(tmp_path)
    assert check(folder, file, "--update-baseline", "--reason", "first | `of` <all>").code == 0
    assert file.read_bytes() == content
    assert Path(f"{file}.md").read_text() == text
    assert r"1. first \| \`of\` &lt;all&gt; (simtrial" in text
    assert len(re.findall(r"^\| base \| (mixed model|least squares) \| itt \|", text, flags=re.M)) == 2


def test_a_row_takes_fifty_bytes(tmp_path, quick):
    """Five numbers of eight bytes; df and words are repeated. Metadata is the rest."""
    go(tmp_path / "run", 1000, text=PLAIN.replace("block = 20", "block = 250"), chunk_replicates=1000)
    file = tmp_path / "b.parquet"
    assert check(tmp_path / "run", file, "--update-baseline", "--reason", "size").code == 0
    assert 40 < file.stat().st_size / 2000 < 50


def test_reasons_are_kept_and_the_same_rows_are_left_alone(tmp_path, made):
    before = made.read_bytes()
    done = check(tmp_path / "run", made, "--update-baseline", "--reason", "nothing new")
    assert "left as it is" in done.out
    assert made.read_bytes() == before
    go(tmp_path / "run", 60, text=PLAIN)
    assert check(tmp_path / "run", made, "--update-baseline", "--reason", "more replicates").code == 0
    history = read_baseline(made).about["history"]
    assert [entry["reason"] for entry in history] == ["first | `of` <all>", "more replicates"]
    assert [entry["replicates"] for entry in history] == [40, 60]


@pytest.mark.parametrize("options", [
    ["--update-baseline", "--reason", "x"], ["--baseline", "b", "--update-baseline"],
    ["--baseline", "b", "--update-baseline", "--reason", " "], ["--baseline", "b", "--reason", "x"],
])  # fmt: skip
def test_half_requests_are_refused(tmp_path, options):
    done = simtrial("check", "partners", *options)
    assert done.code == 2
    assert "reason" in done.err or "--baseline FILE" in done.err


def test_every_flipped_bit_and_every_cut_is_damage(tmp_path, made):
    content = made.read_bytes()
    rng = random.Random(1)
    for _ in range(300):
        at, bit = rng.randrange(len(content)), 1 << rng.randrange(8)
        made.write_bytes(content[:at] + bytes([content[at] ^ bit]) + content[at + 1 :])
        with pytest.raises(StoreError, match="damaged"):
            read_baseline(made)
    for length in [0, 1, 3, *(rng.randrange(4, len(content)) for _ in range(50))]:
        made.write_bytes(content[:length])
        with pytest.raises((StoreError, BaselineError)):
            read_baseline(made)
    made.write_bytes(content[: len(content) // 2])
    done = check(tmp_path / "run", made)
    assert done.code == 4
    assert "version control" in done.err
    assert check(tmp_path / "run", made, "--update-baseline", "--reason", "x").code == 4  # its history would be lost


def test_what_is_no_baseline(tmp_path, made):
    for content, words in ((b"hello", "not a baseline"), (b"version https://git-lfs.x/spec/v1\n", "git lfs pull")):
        (tmp_path / "x.parquet").write_bytes(content)
        done = check(tmp_path / "run", tmp_path / "x.parquet")
        assert done.code == 2
        assert words in done.err
    chunk = next((tmp_path / "run" / "blocks").rglob("*.parquet"))
    assert check(tmp_path / "run", chunk).code == 2
    missing = check(tmp_path / "run", tmp_path / "none.parquet")
    assert missing.code == 2
    assert "--update-baseline" in missing.err


@pytest.mark.parametrize(("before", "after", "words"), [
    ("replicates = 40", "replicates = 40\nseed = 2", "run.seed is 1 in the baseline and 2 here"),
    ("block = 20", "block = 10", "run.block is 20 in the baseline and 10 here"),
    ("rate = 0.15", "rate = 0.2", "mechanism.dropout.rate is 0.15 in the baseline and 0.2 here"),
    ('name = "small"', 'name = "large"', "name is 'small' in the baseline and 'large' here"),
    ('kind = "ols"', 'kind = "ols"\nse = "CR1"', "method 'least squares': se is not stated in the baseline and 'CR1'"),
    ('name = "least squares"', 'name = "lsq"', "method 'least squares' of the baseline is not in this run"),
    ('kind = "itt"', 'kind = "itt"\nunit = "cluster"', "estimand 'itt': unit is not stated in the baseline"),
])  # fmt: skip
def test_another_request_is_named_and_is_no_regression(tmp_path, made, before, after, words):
    assert before in PLAIN
    folder = other(tmp_path, text=PLAIN.replace(before, after, 1))
    done = check(folder, made)
    assert done.code == 2
    assert words in done.err
    assert "different" not in done.out


def test_a_scenario_is_refused_before_it_is_run(tmp_path, made):
    file = tmp_path / "s.toml"
    file.write_text(PLAIN.replace("replicates = 40", "replicates = 100000\nseed = 7"))
    done = simtrial("check", file, "--baseline", made, "-o", tmp_path / "long")
    assert done.code == 2
    assert "run.seed" in done.err
    assert not (tmp_path / "long").exists()


def test_more_methods_and_cells_are_new(tmp_path, made):
    more = '\n[[methods]]\nname = "means"\nkind = "cluster-means"\nestimand = "itt"\nadjust = []\n'
    more += '\n[vary.cross]\n"mechanism.dropout.rate" = [0.15, 0.3]\n'
    folder = other(tmp_path, text=PLAIN + more)
    done = check(folder, made)
    assert done.code == 0
    assert "new, not compared: method 'means', cell 'rate=0.3'" in done.out
    back = tmp_path / "more.parquet"
    assert check(folder, back, "--update-baseline", "--reason", "x").code == 0
    gone = check(tmp_path / "run", back)
    assert gone.code == 2
    assert "'means'" in gone.err


def test_replicates_in_common_are_compared(tmp_path, made):
    done = check(other(tmp_path, replicates=30), made)
    assert done.code == 0
    assert "compared on the 30 replicates that both have (10 more in the baseline)" in done.out
    assert check(other(tmp_path, "more", replicates=70), made).code == 0


def test_an_empty_run_is_refused(tmp_path, made):
    for file in [*(tmp_path / "run" / "records" / "base").iterdir()]:
        file.unlink()
    done = check(tmp_path / "run", made)
    assert done.code == 2
    assert "empty run" in done.err


def changed(file, change, tmp_path):
    """A baseline whose description was changed before it was sealed."""
    from simtrial.check.baseline import Baseline, write_baseline

    held = read_baseline(file)
    about = json.loads(json.dumps(held.about))
    rows = change(about, held.rows)
    new = tmp_path / "changed.parquet"
    write_baseline(new, Baseline(held.rows if rows is None else rows, about))
    return new


def test_a_changed_generator_is_told_from_a_changed_estimator(tmp_path, made):
    def generator(about, rows):
        _, *sums = about["data"]["base"]["1"]["mansa_followup"].split()
        sums[0] = str(float(sums[0]) * 1.001)
        about["data"]["base"]["1"]["mansa_followup"] = " ".join(["0" * 16, *sums])
        return rows.with_columns(pl.col("estimate") + 5.0)

    done = check(tmp_path / "run", changed(made, generator, tmp_path))
    assert done.code == 2
    assert "the data generator changed: mansa_followup of block 1" in done.err
    assert "none can be blamed" in done.err
    assert done.out == ""


def test_data_that_differ_by_rounding_are_a_note(tmp_path, made):
    def rounded(about, rows):
        _, *sums = about["data"]["base"]["0"]["mansa_baseline"].split()
        sums[0] = str(float(sums[0]) * (1 + 1e-12))
        about["data"]["base"]["0"]["mansa_baseline"] = " ".join(["0" * 16, *sums])
        about["versions"]["numpy"] = "2.0.0"

    done = check(tmp_path / "run", changed(made, rounded, tmp_path))
    assert done.code == 0
    assert "by rounding only: mansa_baseline" in done.out
    assert "numpy 2.0.0 in the baseline" in done.out


def test_changed_true_values(tmp_path, made):
    def truth(about, rows):
        about["cells"]["base"]["true_values"]["itt"]["true_value"] += 1e-6

    done = check(tmp_path / "run", changed(made, truth, tmp_path))
    assert done.code == 2
    assert "the true values changed: 'itt' in cell 'base' was" in done.err


def test_a_run_without_checks_of_its_data_is_refused(tmp_path, made, monkeypatch):
    from simtrial.run import block

    monkeypatch.setattr(block, "checks_of", lambda observed: {})
    done = check(other(tmp_path), made)
    assert done.code == 2
    assert "kept no checks of its data" in done.err


def test_an_alarm_names_the_first_replicate_and_its_replay(tmp_path, made):
    def later(about, rows):
        from_7 = (pl.col("method") == "mixed model") & (pl.col("replicate") >= 7)
        return rows.with_columns(std_error=pl.when(from_7).then(pl.col("std_error") * 2).otherwise("std_error"))

    file = changed(made, later, tmp_path)
    done = check(tmp_path / "run", file)
    assert done.code == 1
    assert "first replicate that differs: 7 (std_error" in done.out
    command = next(line.strip() for line in done.out.splitlines() if line.strip().startswith("simtrial replay"))
    assert command == f"simtrial replay {tmp_path / 'run'} --replicate 7 --baseline {file}"
    shown = simtrial(*command.split()[1:])
    assert shown.code == 1
    assert f"compared with the rows stored in {tmp_path / 'run'}: identical\n" in shown.err
    assert f"compared with the baseline {file}: 1 of 2 rows are the same, different:\n  mixed model against itt: " in (
        shown.err
    )
    assert re.search(r"mixed model against itt: std_error \S+ in the baseline, \S+ now\n$", shown.err)
    same = simtrial("replay", tmp_path / "run", "--replicate", 6, "--baseline", file)
    assert (same.code, "2 of 2 rows are the same\n" in same.err) == (0, True)
    beyond = simtrial("replay", tmp_path / "run", "--replicate", 41, "--baseline", file)
    assert beyond.code == 2
    assert "the baseline does not have replicate 41 of cell 'base'" in beyond.err


def test_replay_of_a_scenario_needs_no_run(tmp_path, made):
    """And of a run takes no options of a scenario."""
    (tmp_path / "plain.toml").write_text(PLAIN)
    found = simtrial("replay", tmp_path / "plain.toml", "--replicate", 3)
    assert (found.code, "compared with nothing: give a run directory" in found.err) == (0, True)
    assert simtrial("replay", tmp_path / "run", "--replicate", 3).out == found.out
    compared = simtrial("replay", tmp_path / "plain.toml", "--replicate", 3, "--baseline", made)
    assert (compared.code, "2 of 2 rows are the same\n" in compared.err) == (0, True)
    other = simtrial("replay", tmp_path / "plain.toml", "--replicate", 3, "--baseline", made, "--seed", 5)
    assert (other.code, "run.seed is " in other.err, other.out) == (2, True, "")
    for options in (["--seed", 5], ["--set", "run.seed=5"]):
        for command in (
            ("replay", tmp_path / "run", "--replicate", 3),
            ("check", tmp_path / "run", "--baseline", made),
        ):
            refused = simtrial(*command, *options)
            assert (refused.code, f"{options[0]} goes with a scenario" in refused.err) == (2, True)
