"""Performance of 3 methods x 2 mechanisms x 500 replicates, some missing, as rsimsum and simhelpers report it."""

import csv
from collections.abc import Iterator
from functools import cache
from math import sqrt
from pathlib import Path

import polars as pl
import pytest
from packages import RSIMSUM, SIMHELPERS
from rows import made, measured, truths
from scipy import stats

from simtrial.performance import Form, Options, performance

ORACLE = Path(__file__).parents[1] / "oracle"
DIGITS = 1e-10
"""Both sides add 500 doubles in their own order."""


@cache
def results(dgm: str, t_intervals: bool, level: float) -> pl.DataFrame:
    """Rows of every method; like rsimsum, a replicate without both estimate and SE is missing for its method."""
    whole = pl.read_csv(ORACLE / "perf_results_table.csv").filter(pl.col("dgm") == dgm)
    parts = []
    for (method,), group in whole.group_by("method", maintain_order=True):
        both = pl.col("est").is_not_null() & pl.col("se").is_not_null()
        group = group.select(pl.when(both).then(pl.col(c)).otherwise(None).alias(c) for c in ("est", "se", "df"))
        e, s, df = (group[c].fill_null(float("nan")).to_numpy() for c in ("est", "se", "df"))
        half = s * (stats.t.ppf(0.5 + level / 2, df) if t_intervals else stats.norm.ppf(0.5 + level / 2))
        numbers = {"estimate": e, "std_error": s, "ci_lower": e - half, "ci_upper": e + half,
                   "p_value": 2 * stats.norm.sf(abs(e / s))}  # fmt: skip
        frame = pl.DataFrame({n: pl.Series(v).fill_nan(None) for n, v in numbers.items()})
        parts.append(made(str(method), frame.to_dict(as_series=False)))
    return pl.concat(parts)


def expected(file: str, options: str, names: dict[str, tuple[str, float]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a reference file that hold a measure defined as ours, with their mechanism."""
    with open(ORACLE / file, newline="") as handle:
        for row in csv.DictReader(handle):
            table, _, rest = row["table_id"].partition(":")
            if table == "perf_results_table" and row["options"] == options and row["stat"] in names:
                yield rest[0], row


def compare(
    file: str, options: str, names: dict[str, tuple[str, float]], chosen: Options, *, t: bool = False,
    level: float = 0.95, without: tuple[str, ...] = (), error_digits: float = DIGITS,
) -> int:  # fmt: skip
    """Compare every row, values and errors; return how many there were."""
    found = {}
    for dgm, truth in (("A", 0.2), ("B", 0.0)):
        found[dgm] = measured(performance(results(dgm, t, level), truths(truth), chosen))
    count = 0
    for dgm, row in expected(file, options, names):
        name, scale = names[row["stat"]]
        paired_with_itself = name == "relative_precision" and row["method"] == chosen.reference
        if row["stat"] in without or paired_with_itself or row["est"] in ("", "NA", "NaN", "Inf"):
            continue
        value, mcse, _ = found[dgm][row["method"], name]
        theirs = (float(row["est"]) - (row["stat"] == "rel_bias_var")) * scale
        assert value == pytest.approx(theirs, rel=DIGITS, abs=1e-12), (dgm, row)
        if row["mcse"] not in ("", "NA"):
            assert mcse == pytest.approx(float(row["mcse"]) * scale, rel=error_digits, abs=1e-12), (dgm, row)
        count += 1
    return count


NORMAL = Options(form="normal", reference="lmm")
TEN = Options(form="normal", reference="lmm", alphas=dict.fromkeys(("lmm", "ols_cr2", "tstat"), 0.1))
COMMON = Options(form="normal", reference="lmm", common=True)


@pytest.mark.parametrize(
    ("options", "chosen", "t", "level", "without"),
    [
        # rsimsum takes the SDs in its gain in precision over different replicates; we use those both methods have
        ("normal,na.rm", NORMAL, False, 0.95, ("relprec",)),
        ("t(df column),na.rm", NORMAL, True, 0.95, ("relprec", "power")),  # and keeps normal power whatever its df
        ("normal,na.rm,level=0.9", TEN, False, 0.9, ("relprec",)),
        ("normal,reps complete for every method", COMMON, False, 0.95, ()),
    ],
    ids=["normal", "t", "90%", "common"],
)
def test_rsimsum(options: str, chosen: Options, t: bool, level: float, without: tuple[str, ...]) -> None:
    rows = compare("perf_rsimsum.csv", options, RSIMSUM, chosen, t=t, level=level, without=without)
    # 13 measures x 3 methods x 2 mechanisms; no relative bias where the true value is 0, no gain over the reference
    assert rows == 13 * 6 - 3 - (6 if "relprec" in without else 2) - (6 if "power" in without else 0)


@pytest.mark.parametrize(
    ("form", "names", "rows"),
    [("robust", ["bias", "var", "coverage", "width", "rej_rate"], 30),
     ("jackknife", ["stddev", "rel_bias_var", "rel_mse_var"], 18)],
)  # fmt: skip
def test_simhelpers(form: Form, names: list[str], rows: int) -> None:
    """simhelpers has the variance's error from the kurtosis, as our robust form, and that of the SD from the jackknife.

    Its jackknife squares distances from the whole sample's value, ours from the mean of the values left out: this makes
    its errors larger by O(1/n), here up to 4e-4 of them.
    """
    wanted = {n: SIMHELPERS[n] for n in names}
    options, chosen = "normal,reps complete for every method", Options(form=form, common=True)
    digits = 1 / 448 if form == "jackknife" else DIGITS
    assert compare("perf_simhelpers.csv", options, wanted, chosen, error_digits=digits) == rows


def test_a_reference_changed_in_the_fourth_digit_would_be_seen() -> None:
    """The comparison above has teeth."""
    row = next(r for _, r in expected("perf_rsimsum.csv", "normal,na.rm", {"empse": ("empirical_se", 1.0)}))
    assert float(row["est"]) * 1.0001 != pytest.approx(float(row["est"]), rel=DIGITS)
    assert sqrt(DIGITS) < 1e-4
