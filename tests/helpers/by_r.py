"""Data sets given to a script of R, and what it makes of them; oracle trials as columns."""

import csv
import shutil
import subprocess

import numpy as np
import pytest
from reference import ORACLE
from trials import batch

from simtrial.batch import Column, Index, ObservedBatch


def rscript_with(*packages):
    """Rscript, where R and these packages are installed; else the test is skipped."""
    found = shutil.which("Rscript")
    if found is None:
        pytest.skip(f"R is not installed: the comparison with {', '.join(packages)} is made where it is")
    if subprocess.run([found, "-e", "; ".join(f"library({p})" for p in packages)], capture_output=True).returncode:
        pytest.skip(f"R lacks {' or '.join(packages)}: the comparison is made where it has them")
    return found


def oracle_trial(name):
    """Columns of an oracle trial as numbers, blanks NaN, and its practices from 0."""
    with open(ORACLE / "data" / f"{name}.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    numbers = {c: np.array([float(r[c]) if r[c] else np.nan for r in rows]) for c in NUMBERS}
    return {**numbers, "practice": np.unique([row["practice"] for row in rows], return_inverse=True)[1]}


NUMBERS = ("arm", "mansa_baseline", "mansa_followup")


def made_by(rscript, script, data, folder, *options):
    """Columns that a script writes about a data set."""
    given, made = folder / "given.csv", folder / "made.csv"
    with open(given, "w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(list(data))
        for row in zip(*data.values(), strict=True):
            writer.writerow(["" if np.isnan(value) else value for value in row])
    subprocess.run([rscript, script, given, made, *map(str, options)], check=True, capture_output=True)
    with open(made, newline="") as handle:
        rows = list(csv.DictReader(handle))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def repeated(data, times):
    """A trial, and as many copies of it as trials of one batch."""
    names = {"baseline": "mansa_baseline", "followup": "mansa_followup"}
    one = batch({names.get(name, name): values for name, values in data.items()})
    practices, each = one.index.practices, np.arange(times)
    belongs = (one.index.participant_practice + practices * each[:, None]).ravel()
    index = Index(times, np.repeat(each, practices), belongs)
    columns = {n: Column(np.tile(c.values, times), c.level, c.categories) for n, c in one.columns.items()}
    return one, ObservedBatch(index, columns)


def agree_in_mean_and_spread(theirs, ours, batches, allowed):
    """Samples of numbers by name: R's come from a chain, whose error is that of so many batches.

    Means are ``allowed`` errors apart.

    The SD of n normal values has a relative standard error of 1/sqrt(2n); a mean of values is nearly normal, and states
    of a chain nearly independent: 1.3 for what they are not.
    """
    assert set(theirs) == set(ours)
    for name, sample in ours.items():
        other, here = theirs[name], len(sample)
        means = other.reshape(batches, -1).mean(axis=1)
        error = np.hypot(sample.std() / np.sqrt(here), means.std(ddof=1) / np.sqrt(batches))
        assert abs(sample.mean() - other.mean()) < allowed * error, name
        assert abs(np.log(sample.std() / other.std())) < 1.3 * 4 * np.sqrt(0.5 / here + 0.5 / len(other)), name
