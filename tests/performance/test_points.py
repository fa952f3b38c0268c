"""Points of figures: ranks, thinning, agreement, realised ICC, each against its definition."""

import numpy as np
import polars as pl
import pytest

from simtrial.batch import Index
from simtrial.performance import Options
from simtrial.performance.points import (
    agreement,
    coverage_band,
    evenly,
    furthest,
    points,
    ranked,
    stacked,
    thinned_points,
    thinned_sets,
)
from simtrial.run.realised import anova_icc


def rows(n: int, seed: int = 1, **more: object) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    e, s = rng.normal(0.3, 1, n), rng.uniform(0.5, 1.5, n)
    frame = pl.DataFrame({
        "cell": ["base"] * n, "replicate": np.arange(1, n + 1), "method": ["m"] * n, "estimand": ["itt"] * n,
        "estimate": e, "std_error": s, "ci_lower": e - 2 * s, "ci_upper": e + 2 * s, "p_value": rng.uniform(0, 1, n),
        "status": ["ok"] * n, "flags": [""] * n,
    })  # fmt: skip
    return frame.with_columns(**{k: pl.Series(v) for k, v in more.items()})


TRUTHS = pl.DataFrame({"cell": ["base"], "estimand": ["itt"], "true_value": [0.3], "true_value_mcse": [0.0]})


def test_sets_are_ranked_by_their_distance_in_standard_errors() -> None:
    found = ranked(points(rows(200), TRUTHS, Options()))
    z = ((found["estimate"] - 0.3).abs() / found["std_error"]).to_numpy()
    assert (np.diff(z) >= 0).all()
    np.testing.assert_allclose(found["centile"], 100 * np.arange(1, 201) / 200)
    # by |z| < 2 an interval of 2 standard errors either side covers: misses are the last ones
    covered = found["covered"].to_numpy()
    assert (np.diff(covered.astype(int)) <= 0).all()


def test_own_true_values_are_taken_off() -> None:
    own = np.linspace(-1, 1, 50)
    frame = rows(50, own_true_value=own)
    found = points(frame, TRUTHS.with_columns(own=pl.lit(True)), Options())
    np.testing.assert_allclose(found["estimate"], frame["estimate"].to_numpy() - own)
    assert found["own"].all()
    assert set(found["true_value"]) == {0.0}
    covered = (frame["ci_lower"] <= pl.Series(own)) & (pl.Series(own) <= frame["ci_upper"])
    assert found["covered"].to_list() == covered.to_list()


def test_failed_fits_have_no_point() -> None:
    frame = rows(10).with_columns(status=pl.when(pl.col("replicate") == 4).then(pl.lit("failed")).otherwise("status"))
    found = points(frame, TRUTHS, Options())
    assert found.filter(replicate=4)["estimate"].to_list() == [None]
    assert ranked(found).height == 9


@pytest.mark.parametrize(("n", "covering"), [(50, 400), (5000, 400), (5000, 10)])
def test_thinning_keeps_every_miss(n: int, covering: int) -> None:
    every = ranked(points(rows(n), TRUTHS, Options()))
    kept = thinned_sets(every, covering)
    assert kept.filter(~pl.col("covered")).height == every.filter(~pl.col("covered")).height > 0
    assert kept.filter("covered").height <= covering
    assert kept["centile"].is_sorted()


def test_thinned_points_keep_the_extremes() -> None:
    frame = points(rows(5000), TRUTHS, Options())
    kept = thinned_points(frame, 400, ("estimate",))
    assert kept.height <= 400
    assert {frame["estimate"].min(), frame["estimate"].max()} <= set(kept["estimate"])
    assert frame["replicate"][int(furthest(frame, ("estimate",), 1)[0])] in set(kept["replicate"])


def test_evenly_has_both_ends() -> None:
    assert evenly(3, 10).tolist() == [0, 1, 2]
    found = evenly(1000, 10)
    assert (found[0], found[-1], len(found)) == (0, 999, 10)


def test_band_and_agreement() -> None:
    assert coverage_band(0.95, 1000) == pytest.approx((0.95 - 0.013508, 0.95 + 0.013508), abs=1e-5)
    d = np.array([1.0, 2.0, 3.0])
    assert agreement(d) == pytest.approx((2.0, 2.0 - 1.959964, 2.0 + 1.959964), rel=1e-6)
    assert np.isnan(agreement(d[:1])[1])


def test_stacked_values_do_not_overlap() -> None:
    values = np.repeat([1.0, 2.0, 5.0], [3, 1, 20])
    heights = stacked(values)
    assert len({(v, h) for v, h in zip(values, heights, strict=True)}) == 24
    assert heights.min() == 0.0
    assert heights.max() <= 0.8


def test_icc_of_a_trial_is_that_of_an_analysis_of_variance() -> None:
    """Two practices of 2 and 3 people, by hand: means 1 and 6, grand mean 4."""
    values = np.array([0.0, 2.0, 5.0, 6.0, 7.0])
    index = Index(1, np.zeros(2, dtype=np.intp), np.array([0, 0, 1, 1, 1]))
    between = (2 * (1 - 4) ** 2 + 3 * (6 - 4) ** 2) / 1
    within = (2 + 2) / 3
    size = (5 - 13 / 5) / 1
    expected = (between - within) / (between + (size - 1) * within)
    assert anova_icc(values, np.ones(5, dtype=bool), index)[0] == pytest.approx(expected)
    assert np.isnan(anova_icc(values, np.array([True, False, True, False, False]), index)[0])
