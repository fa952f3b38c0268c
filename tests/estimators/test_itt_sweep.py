"""Type I error of the analyses of an effect, by ICC, number of practices and variation of their sizes.

What theory says is tested, pooled over cells; tolerances are Monte Carlo errors, with Z for one false alarm in 1,000
over all checks of this file together.
"""

from math import sqrt

import polars as pl
import pytest

from simtrial.run.block import block_rows
from simtrial.scenario import load

pytestmark = pytest.mark.verify
ICC, NUMBER, CV = (
    "mechanism.outcomes.mansa.icc", "mechanism.practices.number", "mechanism.practices.cluster_size_cv",
)  # fmt: skip
REPLICATES = 1000
Z = 4.0


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Rows of 1,000 trials in every cell, the factors beside them."""
    scenario, cells = load("verify/itt-sweep")
    frames = [
        block_rows(cell, block).with_columns(
            icc=pl.lit(cell.factors[ICC]), practices=pl.lit(cell.factors[NUMBER]), cv=pl.lit(cell.factors[CV])
        )
        for cell in cells
        for block in range(REPLICATES // scenario.run.block)
    ]
    return pl.concat(frames, how="diagonal")


def rejected(rows: pl.DataFrame, method: str, *where: pl.Expr) -> tuple[float, float]:
    """Rejection rate of a method in some cells, and its Monte Carlo error under a rate of 5%."""
    chosen = rows.filter(pl.col("method") == method, *where)
    assert chosen.height >= REPLICATES
    return float((chosen["p_value"] < 0.05).mean()), sqrt(0.05 * 0.95 / chosen.height)


MEANS = "cluster means, equal weights"


def test_the_t_test_of_means_is_exact_with_equal_sizes(rows: pl.DataFrame) -> None:
    rate, error = rejected(rows, MEANS, pl.col("cv") == 0)
    assert abs(rate - 0.05) < Z * error


def test_with_equal_sizes_the_mixed_model_is_the_t_test_of_means(rows: pl.DataFrame) -> None:
    """Wherever the variance between practices is above 0, in estimate, error and df."""
    equal = rows.filter(pl.col("cv") == 0)
    model = equal.filter(method="mixed model, between-within").with_columns(
        inside=~pl.col("flags").str.contains("boundary")
    )
    means = equal.filter(method=MEANS)
    joined = model.join(means, on=["cell", "replicate", "icc", "practices"], suffix="_means").filter("inside")
    assert joined.height > 5 * REPLICATES
    for name in ("estimate", "std_error", "df", "p_value"):
        assert (joined[name] - joined[f"{name}_means"]).abs().max() < 1e-7


def test_a_normal_reference_rejects_too_often_and_less_so_with_more_practices(rows: pl.DataFrame) -> None:
    """The z test of a mean of J values with estimated variance; t on J - 2 df puts 2 P(t > 1.96) outside."""
    rates = []
    for number in (8, 12, 20, 39):
        rate, error = rejected(rows, "mixed model, z", pl.col("icc") >= 0.1, pl.col("practices") == number)
        assert rate > 0.05 + 2.5 * error  # 6.3% expected at 39 practices, 4.6 errors above
        rates.append(rate)
    assert rates == sorted(rates, reverse=True)


def test_ignoring_practices_rejects_more_the_larger_the_icc(rows: pl.DataFrame) -> None:
    rates = [rejected(rows, "least squares, classical", pl.col("icc") == icc)[0] for icc in (0.0, 0.05, 0.1, 0.2)]
    assert rates == sorted(rates)
    rate, error = rejected(rows, "least squares, classical", pl.col("icc") == 0)
    assert abs(rate - 0.05) < Z * error  # independent errors: an exact t test


@pytest.mark.parametrize("method", ["mixed model, between-within", "mixed model, Kenward-Roger", "least squares, CR2",
                                    "cluster means, inverse variance"])  # fmt: skip
def test_small_sample_corrections_hold_the_level_with_39_practices_or_more(rows: pl.DataFrame, method: str) -> None:
    """No more than a point too many; too few are allowed: a variance that cannot be negative is biased upwards."""
    rate, error = rejected(rows, method, pl.col("practices") >= 39, pl.col("icc") >= 0.05)
    assert 0.04 - Z * error < rate < 0.06 + Z * error


def test_fits_on_the_boundary_get_rarer_with_practices_and_icc(rows: pl.DataFrame) -> None:
    model = rows.filter(method="mixed model, between-within")
    share = model.group_by("practices", "icc").agg(pl.col("flags").str.contains("boundary").mean().alias("share"))
    for icc in (0.05, 0.1, 0.2):
        by_number = share.filter(pl.col("icc") == icc).sort("practices")["share"].to_list()
        assert by_number == sorted(by_number, reverse=True)
    half = share.filter(pl.col("icc") == 0.0)["share"].to_list()
    assert all(0.45 < value < 0.75 for value in half)  # about half of all estimates of a zero variance are negative


def test_nothing_fails_but_estimating_equations_whose_correlation_ends_at_its_bound(rows: pl.DataFrame) -> None:
    failed = rows.filter(pl.col("status") == "failed")
    unconstrained = "mixed model, variance may be negative"  # whose likelihood may have no optimum before its bound
    assert {name.split(",")[0] for name in failed["method"].unique() if name != unconstrained} == {"GEE"}
    assert set(failed["flags"]) == {"not_converged"}
    assert 0.04 < (rows.filter(method=unconstrained)["status"] == "failed").mean() < 0.06  # 4.8%
    share = (rows.filter(method="GEE, Fay-Graubard")["status"] == "failed").mean()
    assert 0.04 < share < 0.07  # 5.5% of 300,000 trials


def test_a_variance_that_may_be_negative_takes_away_the_conservatism_with_equal_sizes(rows: pl.DataFrame) -> None:
    """With equal sizes the unconstrained fit is the t test of means, which is exact."""
    name = "mixed model, variance may be negative"
    rate, error = rejected(rows, name, pl.col("cv") == 0)
    assert abs(rate - 0.05) < Z * error
    truncated, _ = rejected(rows, "mixed model, Kenward-Roger", pl.col("cv") == 0)
    assert truncated < rate - Z * error


def test_uncorrected_estimating_equations_reject_too_often_and_corrected_ones_hardly(rows: pl.DataFrame) -> None:
    for number in (8, 12, 20, 39):
        few = pl.col("practices") == number
        rate, error = rejected(rows, "GEE, robust and z", few)
        assert rate > 0.05 + Z * error
        assert rejected(rows, "GEE, Fay-Graubard", few)[0] < rejected(rows, "GEE, Kauermann-Carroll", few)[0] < rate
