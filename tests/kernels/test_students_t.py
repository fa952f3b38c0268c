"""Student's t: critical values from printed tables, and interval and p-value of every fit of the reference trials."""

import numpy as np
import pytest
from reference import GROUPS, method, ours
from scipy import stats
from trials import batch, fit, ragged

from simtrial.kernels.students_t import critical, two_sided


@pytest.mark.parametrize(
    ("df", "level", "printed"),
    [
        (1, 0.95, 12.706),
        (2, 0.95, 4.303),
        (10, 0.95, 2.228),
        (30, 0.9, 1.697),
        (120, 0.99, 2.617),
        (np.inf, 0.95, 1.96),
    ],
)
def test_critical_values_are_those_of_the_tables(df, level, printed):
    assert critical(np.array([float(df)]), level)[0] == pytest.approx(printed, rel=0, abs=0.0005)


@pytest.mark.parametrize("df", [0.4, 1.0, 6.87, 38.0, 1e6, np.inf])
def test_the_p_value_of_the_critical_value_is_what_the_level_leaves(df):
    values = critical(np.array([df] * 3), 0.95)
    assert two_sided(values * [1, -1, 1], np.array([df] * 3)) == pytest.approx([0.05] * 3, rel=1e-9)


def test_nothing_is_said_where_the_df_is_missing_and_infinite_statistics_have_p_zero():
    assert np.isnan(critical(np.array([np.nan]), 0.95)[0])
    assert np.isnan(two_sided(np.array([2.0]), np.array([np.nan]))[0])
    assert two_sided(np.array([np.inf, -np.inf]), np.array([5.0, np.inf])).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("df", [np.repeat([4.0, 11.0, np.inf, np.nan, 4.0], 3), np.array([[2.5, 3.0], [3.0, 7.1]])])
def test_critical_values_of_many_are_those_of_each_alone_to_the_last_bit(df):
    alone = np.array([critical(np.array([one]), 0.9)[0] for one in df.ravel()]).reshape(df.shape)
    assert critical(df, 0.9).tobytes() == alone.tobytes()
    assert (critical(df, 0.95) != critical(df, 0.9)).all()


def test_whoever_writes_into_critical_values_leaves_those_of_others_alone():
    df = np.array([3.5, 8.0])
    first = critical(df, 0.95)
    kept = first.copy()
    first[:] = 0.0
    assert critical(df, 0.95).tolist() == kept.tolist()


@pytest.mark.parametrize("group", GROUPS)
def test_every_interval_and_p_value_follow_from_estimate_standard_error_and_df(group):
    rows = [r for k, r in ours(group).items() if "anderson" not in k.method and r["status"] == "ok"]
    rows = [r for r in rows if not np.isnan(r["estimate"])]  # a dropped covariate has none
    estimate, std_error, df, lower, upper, p_value = (
        np.array([r[name] for r in rows]) for name in ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")
    )
    half = stats.t.ppf(0.975, df) * std_error
    assert len(rows) > 2000
    # two routes to the same function of t, each good to about 1e-12; a p-value below 1e-300 is as good as 0
    assert (lower - (estimate - half)) / std_error == pytest.approx(np.zeros(len(rows)), abs=1e-9)
    assert (upper - (estimate + half)) / std_error == pytest.approx(np.zeros(len(rows)), abs=1e-9)
    assert p_value == pytest.approx(2 * stats.t.sf(np.abs(estimate / std_error), df), rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("kind", ["lmm", "ols"])
def test_the_level_widens_the_interval_and_nothing_else(kind):
    observed = batch(ragged(1))
    narrow, wide = (fit(observed, method(kind, level=level)) for level in (0.8, 0.99))
    assert narrow.p_value == wide.p_value
    for found, level in ((narrow, 0.8), (wide, 0.99)):
        half = stats.t.ppf(0.5 + level / 2, found.df) * found.std_error
        assert found.ci_upper - found.ci_lower == pytest.approx(2 * half, rel=1e-12)
