"""Interactions of arm with a covariate against lmerTest, pbkrtest and clubSandwich."""

import csv
import json
import math
from pathlib import Path

from interactions import LMM
from reference import FILES, ORACLE, PARTNERS, method

from simtrial.files.read_trials import read_trials
from simtrial.run.analyse import analyse

FACTORS = ("region", "practice_size", "mansa_baseline", "provider", "diagnosis")
OLS = {
    **{f"ols.{se}.HTZ": {"se": se, "df": "satterthwaite"} for se in ("CR1", "CR2", "CR3")},
    **{f"ols.{se}.Naive-F": {"se": se, "df": "clusters-1"} for se in ("CR1", "CR2", "CR3")},
    "ols.classical": {"se": "classical", "df": "residual"},
}


def compared():
    """Rows of R beside ours: key, what we say, what R says."""
    options = {f"lmm.{df}": ("lmm", {"df": df}) for df in LMM} | {name: ("ols", said) for name, said in OLS.items()}
    adjust = ["mansa_baseline", "region", "practice_size"]
    methods = [
        method(kind, name=f"{factor}/{name}", adjust=adjust, interaction=factor, **said)
        for factor in FACTORS
        for name, (kind, said) in options.items()
    ]
    ids, observed = read_trials(FILES, set().union(*(m.reads() for m in methods)), {}, use=PARTNERS)
    rows = analyse(ids, observed, methods).iter_rows(named=True)
    ours = {(row["trial_id"].split("_")[0], *row["method"].split("/")): row for row in rows}
    with (ORACLE / "interaction.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            key = (row.pop("trial_id"), row.pop("factor"), row.pop("method"))
            yield key, ours[key], {name: float(value) for name, value in row.items() if value}


def test_joint_tests_are_those_of_lmertest_pbkrtest_and_clubsandwich():
    # lmerTest differentiates numerically (its df 1e-8 here), CR2 takes matrix roots of practices of leverage near one.
    count, off = 0, []
    for key, mine, theirs in compared():
        if "CR3" in key[2] and "leverage_one" in mine["flags"]:
            continue  # undefined: clubSandwich inverts a singular matrix, we take the pseudo-inverse and say so
        extra = json.loads(mine["extra"])
        square = mine["statistic"] if mine["estimate"] is None else mine["statistic"] ** 2
        found = {**mine, "statistic": square, "df_num": extra["df_num"], "df_den": extra["df_den"]}
        for name, expected in theirs.items():
            if found[name] is None and name in ("estimate", "std_error"):
                continue  # a trial with two of the four regions: one coefficient there, a joint test here
            count += 1
            if not math.isclose(found[name], expected, rel_tol=1e-7, abs_tol=1e-10):
                off.append((key, name, found[name], expected))
    assert count > 5000
    assert off == []


def test_the_oracle_file_says_what_it_was_made_with():
    assert "interaction.csv" in (Path(ORACLE) / "README.md").read_text()
