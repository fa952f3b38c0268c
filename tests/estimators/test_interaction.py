"""Interactions of arm with a covariate: own arithmetic, what must not matter, and trials that cannot tell."""

import numpy as np
import pytest
from interactions import ADJUST, EVERY, coded, examined
from reference import method
from scipy.stats import chi2
from scipy.stats import f as f_distribution
from slow_twin import least_squares, optimum, same_practice
from trials import batch, fit

from simtrial.batch import Column
from simtrial.estimators import FATAL
from simtrial.flags import text


def dense(data, columns, tests):
    """REML fit by whole matrices: coefficients, covariance, its two derivatives, inverse information; tested ones."""
    y, n, p = data["mansa_followup"], len(data["arm"]), columns.shape[1]
    shared = same_practice(data["practice"])
    gamma = optimum(y, columns, shared)
    h = np.linalg.inv(np.eye(n) + gamma * shared)
    beta = np.linalg.solve(columns.T @ h @ columns, columns.T @ h @ y)
    sigma2 = (y - columns @ beta) @ h @ (y - columns @ beta) / (n - p)
    v = h / sigma2
    phi = np.linalg.inv(columns.T @ v @ columns)
    projection = v - v @ columns @ phi @ columns.T @ v
    parts = (shared, np.eye(n))
    information = [[np.trace(projection @ a @ projection @ b) / 2 for b in parts] for a in parts]
    derivatives = [(phi @ columns.T @ v @ part @ v @ columns @ phi)[np.ix_(tests, tests)] for part in parts]
    return beta[tests], phi[np.ix_(tests, tests)], derivatives, np.linalg.inv(information)


@pytest.mark.parametrize("seed", range(5))
def test_satterthwaite_by_expected_information_against_whole_matrices(seed):
    data = coded(seed)
    groups = [(data["group"] == g).astype(float) for g in "bc"]
    x = np.column_stack(
        [np.ones(len(data["arm"])), data["mansa_baseline"], data["size"] == "small", *groups, data["arm"]]
        + [g * data["arm"] for g in groups]
    ).astype(float)
    b, covariance, derivatives, w = dense(data, x, [6, 7])
    values, vectors = np.linalg.eigh(covariance)
    gradients = [[u @ d @ u for d in derivatives] for u in vectors.T]
    each = [2 * value**2 / (np.array(g) @ w @ g) for value, g in zip(values, gradients, strict=True)]
    expected = sum(nu / (nu - 2) for nu in each)
    df = 2 * expected / (expected - 2) if min(each) > 2 else 2.0
    found = examined(data, "lmm satterthwaite", "group")
    square = b @ np.linalg.solve(covariance, b) / 2
    assert found.extras["statistic"][0] == pytest.approx(square, rel=1e-8)
    assert found.df[0, 0] == found.extras["df_den"][0] == pytest.approx(df, rel=1e-7)
    assert found.p_value[0, 0] == pytest.approx(f_distribution.sf(square, 2, df), rel=1e-7)
    normal = examined(data, "lmm normal", "group")
    assert normal.p_value[0, 0] == pytest.approx(chi2.sf(2 * square, 2), rel=1e-8)


def with_a_category_nobody_has(data, factor):
    """Return the batch with one more category of a factor, so that its test is a joint one."""
    observed = batch(data)
    column = observed.columns[factor]
    return observed.with_columns({factor: Column(column.values, column.level, (*column.categories, "nobody"))})


@pytest.mark.parametrize("name", EVERY)
def test_a_joint_test_of_one_coefficient_is_its_t_test(name):
    data = coded(4)
    kind, options = EVERY[name]
    chosen = method(kind, adjust=ADJUST, interaction="size", **options)
    one, joint = fit(batch(data), chosen), fit(with_a_category_nobody_has(data, "size"), chosen)
    assert one.terms == ("arm:size=small",)
    assert joint.terms == ("arm:size",)
    assert not joint.failed[0]
    assert np.isnan([joint.estimate, joint.std_error, joint.ci_lower, joint.ci_upper]).all()
    assert joint.p_value == pytest.approx(one.p_value, rel=1e-9)
    assert joint.df == pytest.approx(one.df, rel=1e-9)
    assert joint.extras["statistic"] == pytest.approx(one.extras["statistic"] ** 2, rel=1e-9)
    assert [joint.extras["df_num"][0], one.extras["df_num"][0]] == [1.0, 1.0]


@pytest.mark.parametrize("interaction", ["group", "age", "district", "size", "list_size"])
def test_every_term_in_the_units_of_the_data(interaction):
    """Coefficients of the written-out regression; arm's is the effect in the first category or at the mean."""
    data = coded(6)
    found = examined(data, "ols classical", interaction, every_term=True, adjust=["mansa_baseline"])
    values, columns = data[interaction], {"intercept": np.ones_like(data["arm"])}
    columns["mansa_baseline"] = data["mansa_baseline"]
    if values.dtype.kind == "U":
        labels = np.unique(values)[1:]
        main = {f"{interaction}={label}": (values == label).astype(float) for label in labels}
        columns |= main | {"arm": data["arm"]} | {f"arm:{name}": data["arm"] * one for name, one in main.items()}
    else:
        columns |= {interaction: values, "arm": data["arm"]}
        columns[f"arm:{interaction}"] = data["arm"] * (values - values.mean())
    beta, _ = least_squares(data["mansa_followup"], np.column_stack(list(columns.values())))
    ours = dict(zip(found.terms, found.estimate[:, 0], strict=True))
    several = len([name for name in columns if name.startswith("arm:")]) > 1
    assert found.terms[0] == (f"arm:{interaction}" if several else [*columns][-1])
    assert set(ours) == {found.terms[0], *columns}
    for name, expected in zip(columns, beta, strict=True):
        assert ours[name] == pytest.approx(expected, rel=1e-9, abs=1e-11), name


# --- what must not matter ---------------------------------------------------------------------------------------------


def same(one, other, sign=1.0, scale=1.0):
    assert not one.failed.any()
    close = {"rel": 1e-9, "abs": 1e-11, "nan_ok": True}
    assert one.estimate / scale == pytest.approx(sign * other.estimate, **close)
    assert one.std_error / scale == pytest.approx(other.std_error, **close)
    for number in ("df", "p_value", "n_used", "failed", "flags"):
        assert getattr(one, number) == pytest.approx(getattr(other, number), **close), number
    sign = sign if np.isfinite(one.estimate[0]).all() else 1.0  # an F has no sign
    assert one.extras["statistic"] == pytest.approx(sign * other.extras["statistic"], **close)


@pytest.mark.parametrize("interaction", ["group", "district", "age"])
@pytest.mark.parametrize("name", EVERY)
def test_shift_scale_arms_and_order_do_not_matter(name, interaction):
    data = coded(7)
    base = examined(data, name, interaction)
    moved = {**data, "mansa_followup": 250 * data["mansa_followup"] - 37}
    same(examined(moved, name, interaction), base, scale=250.0)
    same(examined({**data, "arm": 1 - data["arm"]}, name, interaction), base, sign=-1.0)
    shuffled = np.random.default_rng(1).permutation(len(data["arm"]))
    same(examined({k: v[shuffled] for k, v in data.items()}, name, interaction), base)
    if interaction == "age":
        same(examined({**data, "age": data["age"] + 1e4}, name, interaction), base)
    else:
        other = np.where(data[interaction] == "c", "A", data[interaction])  # another reference category
        if "satterthwaite" in EVERY[name][1].get("df", ""):  # Fai and Cornelius turn the coefficients as they are coded
            return
        same(examined({**data, interaction: other}, name, interaction), base)


@pytest.mark.parametrize("interaction", ["group", "district", "list_size"])
@pytest.mark.parametrize("name", EVERY)
def test_a_batch_is_the_loop_over_its_trials(name, interaction):
    data = [coded(seed) for seed in range(20, 26)]
    data[2]["mansa_followup"] = np.where(data[2]["arm"] * (data[2]["district"] == "b"), np.nan, 1.0 + data[2]["age"])
    stacked = {column: np.concatenate([one[column] for one in data]) for column in data[0]}
    stacked["trial"] = np.repeat(np.arange(len(data)), [len(one["arm"]) for one in data])
    together, alone = (
        examined(stacked, name, interaction, True),
        [examined(one, name, interaction, True) for one in data],
    )
    for number in ("estimate", "std_error", "df", "p_value", "failed", "flags"):
        loop = np.concatenate([getattr(one, number) for one in alone], axis=-1)
        assert getattr(together, number) == pytest.approx(loop, rel=1e-8, abs=1e-11, nan_ok=True), number


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", [0, 1])
@pytest.mark.parametrize("gone", ["a", "b"])  # the first category, and another
@pytest.mark.parametrize("name", EVERY)
def test_a_category_emptied_in_one_arm_costs_one_df_and_is_flagged(name, gone, arm):
    data = coded(8, practices=24)
    lost = (data["group"] == gone) & (data["arm"] == arm)
    found = examined({**data, "mansa_followup": np.where(lost, np.nan, data["mansa_followup"])}, name, "group")
    assert not found.failed[0]
    assert found.extras["df_num"][0] == 1
    assert text(int(found.flags[0])).split(";")[-1] == "aliased"
    assert 0 < found.p_value[0, 0] < 1
    assert np.isnan(found.estimate[0, 0])


@pytest.mark.parametrize("interaction", ["group", "size"])
@pytest.mark.parametrize("name", EVERY)
def test_no_product_left_is_a_failure_with_its_cause(name, interaction):
    data = coded(8, practices=24)
    lost = (data["arm"] == 1) & (data[interaction] != data[interaction][0])
    found = examined(
        {**data, "mansa_followup": np.where(lost, np.nan, data["mansa_followup"])}, name, interaction, True
    )
    assert found.failed[0]
    assert "arm_aliased" in text(int(found.flags[0]))
    assert np.isnan(found.p_value[:, 0]).all()


BASE = coded(3)
OUTCOME, TREATED = BASE["mansa_followup"], np.unique(BASE["practice"][BASE["arm"] == 1])
AWKWARD = {
    "nobody": np.full_like(OUTCOME, np.nan),
    "all equal": np.full_like(OUTCOME, 4.2),
    "explained exactly": 1 + 2 * BASE["mansa_baseline"] + BASE["arm"],
    "one arm empty": np.where(BASE["arm"] == 1, np.nan, OUTCOME),
    "one practice in an arm": np.where(np.isin(BASE["practice"], TREATED[1:]), np.nan, OUTCOME),
    "one practice in all": np.where(BASE["practice"] == TREATED[0], OUTCOME, np.nan),
    "one person per practice": np.where(np.append(1, np.diff(BASE["practice"])) > 0, OUTCOME, np.nan),
    "three people": np.where(np.arange(len(OUTCOME)) % 20 == 0, OUTCOME, np.nan),
    "two practices an arm": np.where(np.isin(BASE["practice"], [*TREATED[2:], *np.arange(4, 14)]), np.nan, OUTCOME),
}


@pytest.mark.parametrize("case", AWKWARD)
@pytest.mark.parametrize("interaction", ["group", "district", "size", "age", "list_size"])
@pytest.mark.parametrize("name", EVERY)
def test_awkward_trials_have_a_status(name, interaction, case):
    found = examined({**BASE, "mansa_followup": AWKWARD[case]}, name, interaction, every_term=True)
    if found.failed[0]:
        assert found.flags[0] & FATAL
        assert np.isnan(found.p_value).all()
    else:
        assert 0 <= found.p_value[0, 0] <= 1
        assert found.df[0, 0] > 0
        assert found.extras["df_num"][0] >= 1
