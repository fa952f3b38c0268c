"""False alarms and power of the gate: nine planted changes of estimators, on 1,000 paired replicates each time.

All variants of a repetition analyse the same trials, those of `partners`. A variant is compared with the method that it
was made from, at the level that it would have in a run of eight methods. About 3 seconds a repetition.
"""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl
import pytest
from scipy import stats
from tomls import written

from simtrial.check.compare import ALPHA, Comparison, compare, pairs_of
from simtrial.estimands import true_values
from simtrial.performance import Options
from simtrial.run.block import block_rows
from simtrial.scenario import Cell, load
from simtrial.scenario.tables import Margins

REPETITIONS, REPLICATES, METHODS = 200, 1000, 8
LEAST = 199
"""Of 200 repetitions a planted change must be caught in, and an unchanged method be left alone in all."""

FULL = 'adjust = ["mansa_baseline", "region", "practice_size"]'
MI = ("m = 10", 'analysis = { kind = "lmm" }')
FITTED = {
    "mixed": ('kind = "lmm"', FULL),
    "mixed, ML": ('kind = "lmm"', FULL, 'estimation = "ml"'),
    "mixed, no baseline": ('kind = "lmm"', 'adjust = ["region", "practice_size"]'),
    "least squares": ('kind = "ols"', FULL),
    "least squares, CR1": ('kind = "ols"', FULL, 'se = "CR1"'),
    "means": ('kind = "cluster-means"', 'adjust = ["mansa_baseline"]'),
    "imputed": ('kind = "mi"', FULL, *MI),
    # a prior that leaves nothing between practices
    "imputed, no practice effect": (
        'kind = "mi"',
        FULL,
        *MI,
        'prior = "inverse-gamma"',
        "tau2_shape = 50.0",
        "tau2_scale = 1e-6",
        "sigma2_shape = 0.5",
        "sigma2_scale = 0.0",
    ),
    "complier": ('kind = "iv"', FULL, 'received = "sessions >= 6"', 'estimand = "cace i"'),
    "complier, mis-coded": ('kind = "iv"', FULL, 'received = "arm == 1 and sessions < 6"', 'estimand = "cace i"'),
}


def biased(share: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Shift estimates by a share of the empirical SE, intervals and p-values with them."""

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        shift = share * float(rows["estimate"].std())
        return again(rows.with_columns(pl.col("estimate") + shift))

    return change


def again(rows: pl.DataFrame) -> pl.DataFrame:
    """Make intervals and p-values anew from estimates, standard errors and df."""
    e, s, df = (rows[name].to_numpy() for name in ("estimate", "std_error", "df"))
    half = np.where(np.isinf(df), stats.norm.ppf(0.975), stats.t.ppf(0.975, np.where(np.isinf(df), 1, df))) * s
    tail = np.where(np.isinf(df), stats.norm.sf(abs(e / s)), stats.t.sf(abs(e / s), np.where(np.isinf(df), 1, df)))
    return rows.with_columns(ci_lower=pl.Series(e - half), ci_upper=pl.Series(e + half), p_value=pl.Series(2 * tail))


def normal(rows: pl.DataFrame) -> pl.DataFrame:
    """The normal quantile for that of t."""
    return again(rows.with_columns(df=pl.lit(float("inf"))))


def population_variance(rows: pl.DataFrame) -> pl.DataFrame:
    """The divisor J for J - p in the variance of cluster means: ddof = 0."""
    shrunk = pl.col("std_error") * (pl.col("df") / pl.col("clusters_used")).sqrt()
    return again(rows.with_columns(std_error=shrunk))


def infinite_complete_df(rows: pl.DataFrame) -> pl.DataFrame:
    """Rubin's df of 1987, which take the complete data's for infinite."""
    return again(rows.with_columns(df=9 * (1 + 1 / pl.col("riv")) ** 2))


def perturbed(rows: pl.DataFrame) -> pl.DataFrame:
    """Relative noise of 1e-9 in estimates and standard errors."""
    rng = np.random.default_rng(rows["replicate"][0])
    noise = [pl.Series(1 + 1e-9 * rng.standard_normal(rows.height)) for _ in range(2)]
    return again(rows.with_columns(pl.col("estimate") * noise[0], pl.col("std_error") * noise[1]))


def unchanged(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows."""
    return rows


MADE = {
    "bias of 0.10 empirical SE": ("mixed", biased(0.10)),
    "normal quantile for t": ("means", normal),
    "ddof = 0": ("means", population_variance),
    "infinite complete-data df": ("imputed", infinite_complete_df),
}
"""Changes made in the rows: of which method, and how."""

HARMLESS = {
    "unchanged": ("mixed", unchanged),
    "noise of 1e-9": ("mixed", perturbed),
    "imputed, noise of 1e-9": ("imputed", perturbed),
    "bias of 0.02 empirical SE": ("mixed", biased(0.02)),
}

PLANTED = (*(name for name in FITTED if ", " in name), *MADE)


def scenario(folder) -> Cell:
    """Trials like PARTNERS2, and all variants of the methods."""
    text = 'schema = 1\nname = "power"\nextends = "partners"\n'
    for name, options in FITTED.items():
        stated = "" if any("estimand" in option for option in options) else 'estimand = "itt"'
        text += "\n".join(["[[methods]]", f'name = "{name}"', *options, stated, ""])
    return load(written(folder, text, "power.toml"))[1][0]


def repetitions(cell: Cell, count: int) -> Iterator[dict[str, pl.DataFrame]]:
    """Rows of 1,000 replicates by method, each time of other trials."""
    blocks = REPLICATES // cell.scenario.run.block
    for at in range(count):
        rows = pl.concat([block_rows(cell, block) for block in range(at * blocks, (at + 1) * blocks)], how="diagonal")
        yield {str(name): part for (name,), part in rows.partition_by("method", as_dict=True).items()}


Truths = dict[tuple[str, str], dict[str, float]]


def truths(cell: Cell) -> Truths:
    """True values by cell and estimand."""
    found = true_values(cell.scenario.estimands, cell.scenario.mechanism, cell.scenario.run.seed, cell.key)
    return {(cell.id, t.estimand): {"true_value": t.value, "true_value_mcse": t.mcse} for t in found}


def judged(before: pl.DataFrame, now: pl.DataFrame, known: Truths) -> Comparison:
    """Verdict on a method whose rows are now others."""
    now = now.with_columns(method=pl.lit(before["method"][0]))
    return compare(pairs_of(before, now, known, Options()), Margins().model_dump(), ALPHA / METHODS)[0][0]


def verdicts(cell: Cell, count: int) -> dict[str, Counter[str]]:
    """How often each change has each verdict."""
    found: dict[str, Counter[str]] = {name: Counter() for name in (*PLANTED, *HARMLESS)}
    known = truths(cell)
    for rows in repetitions(cell, count):
        for name in FITTED:
            if ", " in name:
                found[name][judged(rows[name.partition(", ")[0]], rows[name], known).verdict] += 1
        for name, (method, change) in {**MADE, **HARMLESS}.items():
            found[name][judged(rows[method], change(rows[method]), known).verdict] += 1
    for name, counts in found.items():
        print(f"{name}: {dict(counts)}")
    return found


def check(found: dict[str, Counter[str]], count: int, least: int) -> None:
    """Every planted change is caught, and no other raises an alarm."""
    assert {name: found[name]["different"] for name in PLANTED if found[name]["different"] < least} == {}
    assert {name: found[name]["different"] for name in HARMLESS if found[name]["different"]} == {}
    assert found["unchanged"]["identical"] == count
    assert found["bias of 0.02 empirical SE"]["equivalent"] == count
    assert len(PLANTED) == 9


@pytest.mark.verify
def test_planted_changes_are_caught_once(tmp_path):
    check(verdicts(scenario(tmp_path), 1), 1, 1)


@pytest.mark.verify
@pytest.mark.slow(minutes=10)
def test_planted_changes_are_caught_in_199_of_200(tmp_path):
    check(verdicts(scenario(tmp_path), REPETITIONS), REPETITIONS, LEAST)
