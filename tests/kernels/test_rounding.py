"""Zero is judged on the scale of a column: whatever is constant somewhere changes no number through its rounding."""

from itertools import permutations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.estimators import kinds
from simtrial.flags import text
from simtrial.kernels.cluster_basis import directions
from simtrial.kernels.sandwich import matrix_power

CASES = Path(__file__).parents[1] / "cases"
ROBUST = {"se": "robust", "moments": "n", "df": "normal"}
IV = {"received": "took == 1 and arm == 1"}
CONSTANT = [  # made in R 4.2 with clubSandwich, lme4, AER, geepack, and lm for the two-stage test
    ("ols", {}, 0.3364366788, 0.2425959509, 1e-9),
    ("lmm", {}, 0.1767171229, 0.3386843398, 2e-8),  # lme4 stops its search at about 1e-8 of an SE
    ("iv", IV, 0.6647546838, 0.4226959601, 1e-9),
    ("gee", ROBUST, 0.1975688706, 0.2501348095, 1e-9),
    ("cluster-means", {}, 0.2290633615, 0.3117329290, 1e-9),
]
BLANK = [
    ("ols", {}, 0.7215340200, 0.2818381663, 1e-9),
    ("lmm", {"df": "kenward-roger"}, 0.6917254498, 0.2816576401, 1e-8),
    ("gee", ROBUST, 0.7025819430, 0.2534450789, 1e-9),
    ("cluster-means", {}, 0.4470071576, 0.2775294382, 1e-9),
]


def case(name, kind, adjust, options):
    """Estimate and standard error of the arm in a stored data set."""
    written = {k: np.array(v) for k, v in pl.read_csv(CASES / f"{name}.csv").to_dict(as_series=False).items()}
    numbers = {k: v if k == "practice" else v.astype(float) for k, v in written.items()}
    found = fit(batch(numbers), method(kind, response="y", adjust=adjust, **options))
    return found.estimate[0, 0], found.std_error[0, 0]


@pytest.mark.parametrize("adjust", [["female", "age"], ["age", "female"]])
@pytest.mark.parametrize(("kind", "options", "estimate", "std_error", "within"), CONSTANT)
def test_a_covariate_constant_in_some_practices(kind, options, estimate, std_error, within, adjust):
    found = case("constant_in_practice", kind, adjust, options)
    assert found == pytest.approx((estimate, std_error), rel=0, abs=within * std_error + 1e-10)


@pytest.mark.parametrize("adjust", [["deprivation", "y_baseline"], ["y_baseline", "deprivation"]])
@pytest.mark.parametrize(("kind", "options", "estimate", "std_error", "within"), BLANK)
def test_a_practice_level_covariate_with_a_blank_outside_the_analysis(
    kind, options, estimate, std_error, within, adjust
):
    found = case("practice_covariate_one_blank", kind, adjust, options)
    assert found == pytest.approx((estimate, std_error), rel=0, abs=within * std_error + 1e-10)


def dense(data, adjust):
    """Least squares with CR2 by full matrices: coefficient of arm and its standard error."""
    x = np.column_stack([np.ones(len(data["arm"])), *(data[name] - data[name].mean() for name in adjust), data["arm"]])
    y = data["mansa_followup"] - data["mansa_followup"].mean()
    q, r = np.linalg.qr(x)
    beta, inverse = np.linalg.solve(r, q.T @ y), np.linalg.inv(r)
    rest, scores = y - x @ beta, []
    for practice in np.unique(data["practice"]):
        rows = data["practice"] == practice
        values, vectors = np.linalg.eigh(np.eye(rows.sum()) - q[rows] @ q[rows].T)
        power = np.where(values > 1e-9, np.where(values > 1e-9, values, 1.0) ** -0.5, 0.0)
        scores.append((inverse @ q[rows].T @ (vectors * power) @ vectors.T @ rest[rows])[-1])
    return beta[-1], np.sqrt(np.sum(np.square(scores)))


def blocky(seed, spoilt):
    """Return a trial with ``x`` constant in the practices ``spoilt``, and two covariates that vary everywhere."""
    data, rng = ragged(seed, 14, 8), np.random.default_rng(seed)
    n, inside = len(data["arm"]), np.isin(data["practice"], spoilt)
    x = rng.normal(size=14)[data["practice"]] + np.where(inside, 0.0, rng.normal(size=n))
    return {**data, "x": x, "z": rng.normal(size=n)}


SHAPES = {
    "constant in one practice": lambda d, s: d,
    "constant in all but one": lambda d, s: {**d, "x": blocky(s, np.arange(1, 14))["x"]},
    "in thousandths about a million": lambda d, s: {**d, "x": 1e6 + 1e-3 * d["x"]},
    "inexact tenths": lambda d, s: {**d, "x": np.round(d["x"]) * 0.1 + 0.7},
    "tiny": lambda d, s: {**d, "x": 1e-12 * d["x"]},
    "the same as another in half of the practices": lambda d, s: {
        **d, "x": np.where(d["practice"] % 2 == 0, d["mansa_baseline"], d["x"])
    },
    "within 1e-7 of another inside practices": lambda d, s: {
        **d, "x": d["mansa_baseline"] + 1e-7 * d["x"] + np.random.default_rng(s).normal(size=14)[d["practice"]]
    },
}  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", SHAPES)
def test_least_squares_by_full_matrices_in_any_order_of_the_covariates(shape, seed):
    """The condition of these designs is below 1e5 once columns have unit length, so 1e-9 is 1e4 roundings."""
    data = SHAPES[shape](blocky(seed, [3, 5]), seed)
    for adjust in permutations(["x", "mansa_baseline", "z"]):
        found = fit(batch(data), method("ols", adjust=list(adjust)))
        estimate, std_error = dense(data, sorted(adjust))
        assert found.estimate[0, 0] == pytest.approx(estimate, abs=1e-9 * std_error)
        assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-9)


@pytest.mark.parametrize("value", [0.1, 1e6 / 3, 1e-7, -40.3])
def test_a_constant_has_no_variation_whatever_its_rounding(value):
    """The sum of n equal values over n is not that value: its square used to be taken for variation."""
    data = ragged(4, 20)
    plain = fit(batch(data), method("ols", adjust=["age"]))
    found = fit(batch({**data, "fixed": np.full(len(data["arm"]), value)}), method("ols", adjust=["fixed", "age"]))
    assert text(int(found.flags[0])) == "aliased"
    assert found.estimate[0, 0] == pytest.approx(plain.estimate[0, 0], rel=1e-12)
    flat = fit(batch({**data, "mansa_followup": np.full(len(data["arm"]), value)}), method("lmm", adjust=["age"]))
    assert text(int(flat.flags[0])) == "constant_outcome"


def test_rounding_in_a_practice_level_covariate_does_not_make_it_one_of_people():
    """Means that people's rows computed in another order differ in their last digit."""
    data = ragged(6, 16)
    noise = 1.0 + 2e-16 * np.random.default_rng(1).integers(-2, 3, len(data["arm"]))
    exact = fit(batch(data), method("lmm", adjust=["list_size"]))
    found = fit(batch({**data, "list_size": data["list_size"] * noise}), method("lmm", adjust=["list_size"]))
    assert found.df[0, 0] == exact.df[0, 0] == 13
    assert found.estimate[0, 0] == pytest.approx(exact.estimate[0, 0], rel=1e-12)


@pytest.mark.parametrize("apart", [0.0, 1e-9, 1e-5])
def test_directions_are_orthonormal_and_hold_every_column(apart):
    rng = np.random.default_rng(2)
    cluster = np.repeat(np.arange(60), rng.integers(1, 9, 60))
    first, second = rng.normal(size=(2, len(cluster)))
    columns = (first, first + apart * second, second, np.where(cluster % 2, first, 3.0), 1e8 + 1e-3 * first)
    less_mean = [v - (np.bincount(cluster, v) / np.bincount(cluster))[cluster] for v in columns]
    squares = [np.bincount(cluster, v**2) for v in less_mean]
    rows = SimpleNamespace(cluster_of_row=cluster, sizes=np.ones(60))
    found = np.stack([d.rows * d.scale[cluster] for d in directions(less_mean, squares, rows)])
    for k in range(60):
        along, inside = found[:, cluster == k], np.stack(less_mean)[:, cluster == k]
        products = along @ along.T
        assert np.allclose(products, np.diag(np.round(np.diag(products))), atol=1e-13)
        assert np.trace(products) <= along.shape[1] + 1e-9
        left = inside - inside @ along.T @ along
        assert (np.abs(left).max(axis=1) <= 1e-11 * np.linalg.norm(np.stack(less_mean), axis=1)).all()


@pytest.mark.parametrize("factor", [1e160, 1e-160, 1e-300, np.inf])
@pytest.mark.parametrize("name", ["mansa_followup", "mansa_baseline", "list_size"])
@pytest.mark.parametrize("kind", sorted(set(kinds()) - {"event-rate", "icc", "correlation"}))
def test_values_that_cannot_be_computed_with_cost_their_own_trial(kind, name, factor):
    odd, plain = ragged(7), ragged(8)
    odd[name] = odd[name] * factor
    both = {key: np.concatenate([odd[key], plain[key]]) for key in odd}
    both["trial"] = np.repeat([0, 1], [len(odd["arm"]), len(plain["arm"])])
    options = {
        "iv": {"received": "received == 1"},
        "per-protocol": {"keep": "age >= 20", "analysis": {"kind": "lmm"}},
        "mi": {"analysis": {"kind": "lmm"}, "m": 3},
        "randomisation-test": {"draws": 99, "allocation": {"method": "complete"}},
        "wild-bootstrap": {"draws": 99},
        "principal-score": {"received": "received == 1"},
        "cace-mixture": {"received": "received == 1"},
        "as-treated": {"received": "received == 1", "analysis": {"kind": "lmm"}},
        "ipw-per-protocol": {"keep": "age >= 20"},
    }.get(kind, {})
    found = fit(batch(both), method(kind, adjust=["mansa_baseline", "list_size"], **options))
    assert found.failed.tolist() == [True, False]
    assert "out_of_range" in text(int(found.flags[0]))
    assert np.isfinite(found.std_error[0, 1])


def test_the_largest_values_that_are_computed_with_scale_the_estimate():
    data = ragged(9)
    one = fit(batch(data), method("lmm", adjust=["age"], df="satterthwaite-observed"))
    for factor in (1e40, 1e-40):
        found = fit(
            batch({**data, "mansa_followup": factor * data["mansa_followup"]}),
            method("lmm", adjust=["age"], df="satterthwaite-observed"),
        )
        assert found.estimate[0, 0] / factor == pytest.approx(one.estimate[0, 0], rel=1e-10)
        assert found.df[0, 0] == pytest.approx(one.df[0, 0], rel=1e-9)


def test_one_matrix_that_is_not_finite_costs_no_other():
    matrix = np.tile(2.0 * np.eye(3)[:, :, None], (1, 1, 4))
    matrix[0, 1, 2] = np.nan
    root, singular = matrix_power(matrix, -0.5)
    assert np.isnan(root[..., 2]).any()
    assert np.allclose(root[..., [0, 1, 3]], np.eye(3)[:, :, None] / np.sqrt(2.0), atol=1e-15)
    assert not singular[[0, 1, 3]].any()


@pytest.mark.parametrize("options", [{}, {"model": "lmm"}, {"average": "cluster", "by_arm": True}])
def test_an_origin_far_from_0_leaves_g_computation_its_digits(options):
    data = ragged(10)
    one, moved = (
        fit(batch({**data, "mansa_followup": np.round(data["mansa_followup"], 3) + origin}),
            method("g-computation", adjust=["age"], **options))
        for origin in (0.0, 2.0**20)
    )  # fmt: skip
    assert moved.estimate[0, 0] == pytest.approx(one.estimate[0, 0], abs=1e-8 * one.std_error[0, 0])


@pytest.mark.parametrize("kind", ["ols", "gee", "g-computation", "wild-bootstrap", "iv"])
@pytest.mark.parametrize("origin", [0.0, 1e3 / 3])
def test_an_outcome_with_the_same_mean_in_every_practice_leaves_no_error_to_judge_by(kind, origin):
    """Robust errors are made of the means of practices: here they were rounding, about 1e-17."""
    data = ragged(5, 14, 8)
    y, practice = data["mansa_followup"], data["practice"]
    data["mansa_followup"] = origin + y - (np.bincount(practice, y) / np.bincount(practice))[practice]
    options = {"wild-bootstrap": {"draws": 99}, "iv": {"received": "received == 1"}}.get(kind, {})
    found = fit(batch(data), method(kind, adjust=[], **options))
    assert found.failed[0]
    assert text(int(found.flags[0])) in ("constant_outcome", "not_converged")  # gee: alpha is at its bound


@pytest.mark.parametrize(("apart", "flag"), [(3e-5, ""), (3e-6, "aliased"), (1e-9, "aliased"), (0.0, "aliased")])
@pytest.mark.parametrize("near", [1.0, 1e-2])
def test_a_covariate_of_which_others_leave_less_than_1e_5_is_dropped(near, apart, flag):
    """R's 1e-7 is 1e-14 of the squares: rounding leaves more where those before it are 1e-2 apart."""
    for seed in range(5):
        data, rng = ragged(seed, 20, 20), np.random.default_rng(seed)
        n = len(data["arm"])
        draws = np.linalg.qr(np.column_stack([np.ones(n), data["arm"], rng.normal(size=(n, 3))]))[0]
        first, second, third = draws.T[2:]
        data["x"], data["w"] = first, first + near * second
        data["z"] = first + second + apart * np.sqrt(2.0) * third
        found = fit(batch(data), method("ols", adjust=["x", "w", "z"]))
        assert text(int(found.flags[0])) == flag


def labelled(seed):
    """Return two trials, the first without the first category of its factor."""
    one, other = ragged(seed, 16), ragged(seed + 50, 16)
    rng = np.random.default_rng(seed)
    one["site"] = np.array(["b", "c", "d"])[rng.integers(0, 3, 16)][one["practice"]]
    other["site"] = np.array(["a", "b", "c", "d"])[rng.integers(0, 4, 16)][other["practice"]]
    return one, other


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("kind", "options"), [("ols", {}), ("gee", {"se": "fay-graubard", "df": "clusters-p"})])
def test_the_reference_category_is_the_first_that_the_trial_has(kind, options, seed):
    """Fay and Graubard's variance depends on it, and no trial's rows may depend on what other trials have."""
    one, other = labelled(seed)
    both = {key: np.concatenate([one[key], other[key]]) for key in one}
    both["trial"] = np.repeat([0, 1], [len(one["arm"]), len(other["arm"])])
    chosen = method(kind, adjust=["site", "age"], **options)
    together, alone = fit(batch(both), chosen, every_term=True), fit(batch(one), chosen, every_term=True)
    assert np.isnan(together.estimate[together.terms.index("site=b"), 0])
    for term in ("arm", "site=c", "site=d", "age"):
        assert together.std_error[together.terms.index(term), 0] == pytest.approx(
            alone.std_error[alone.terms.index(term), 0], rel=1e-10
        )


def test_cluster_level_coefficients_are_counted_alike_in_any_order_of_the_covariates():
    """A practice-level covariate that two of people's combine to may be the one that is dropped, or not."""
    data = ragged(6, 16)
    data["other"] = data["age"] + 3.0 * data["list_size"]  # age, other and list_size: one of them is of the others
    found = {
        order: fit(batch(data), method("lmm", adjust=list(order)))
        for order in permutations(["age", "other", "list_size"])
    }
    assert {float(f.df[0, 0]) for f in found.values()} == {13.0}
    assert np.ptp([f.estimate[0, 0] for f in found.values()]) < 1e-9


def test_a_factor_of_people_counts_as_theirs_though_one_of_its_categories_is_of_whole_practices():
    data = ragged(7, 16)
    data["label"] = np.where(data["practice"] == 3, "whole", np.where(data["age"] > 40, "older", "younger"))
    found = fit(batch(data), method("lmm", adjust=["label"]))
    assert found.df[0, 0] == 14
