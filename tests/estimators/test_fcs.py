"""Chained equations: what is filled, from what, against one-pass imputation and numerical integration."""

import numpy as np
import pytest
from odd_shapes import SHAPES, oddly_shaped
from reference import method
from scipy.special import ndtr
from trials import batch, fit, ragged

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.estimators.imputation import chain
from simtrial.estimators.imputation.conditionals import Conditional
from simtrial.flags import text
from simtrial.kernels.split_rhat import split_rhat
from simtrial.kernels.truncated_normal import one_sided
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec

Z = 4.0  # two-sided standard errors: a false alarm in 16,000 comparisons
EVERYTHING = ["mansa_baseline", "age", "sex", "ethnicity", "list_size", "size"]


def lacking(seed=8, practices=20, covariates=True):
    """A trial that lacks something of everything."""
    data, rng = ragged(seed, practices=practices), np.random.default_rng(seed)
    people = len(data["arm"])
    data["mansa_followup"] = np.where(rng.random(people) < 0.2, np.nan, data["mansa_followup"])
    if not covariates:
        return batch(data)
    for name in ("mansa_baseline", "age"):
        data[name] = np.where(rng.random(people) < 0.1, np.nan, data[name])
    made = batch(data)
    sex, ethnicity = (np.where(rng.random(people) < 0.15, -1, rng.integers(0, k, people)) for k in (2, 3))
    size, code = made.column("list_size").values.copy(), made.column("size").values.copy()
    size[[3, 7]], code[[5, 9]] = np.nan, -1
    return made.with_columns({
        "sex": Column(sex, "participant", ("f", "m")), "ethnicity": Column(ethnicity, "participant", ("a", "b", "c")),
        "list_size": Column(size, "practice"), "size": Column(code, "practice", made.column("size").categories),
    })  # fmt: skip


def imputer(observed, **options):
    mi = method("mi", analysis={"kind": "lmm"}, **options)
    return mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec())))


def test_everything_is_filled_and_nothing_else_is_touched():
    observed = lacking()
    filled = imputer(observed, imputation="fcs", adjust=EVERYTHING).complete(np.random.default_rng(1))
    for name in (*EVERYTHING, "mansa_followup"):
        before, after = observed.column(name), filled.column(name)
        gone = before.values < 0 if before.categories else np.isnan(before.values)
        assert gone.any()
        assert after.level == before.level
        assert np.array_equal(before.values[~gone], after.values[~gone])
        assert set(after.values[gone]) <= set(range(len(before.categories))) if before.categories else True
        assert np.isfinite(after.values).all()


def test_nobody_is_left_out_who_lacks_a_covariate():
    observed = lacking()
    chained, once = (fit(observed, method("mi", analysis={"kind": "lmm"}, imputation=name, adjust=EVERYTHING, m=5))
                     for name in ("fcs", "random-intercept"))  # fmt: skip
    assert chained.n_used[0] == observed.index.participants
    assert once.n_used[0] < 0.6 * chained.n_used[0]
    assert not chained.failed[0]
    assert np.isfinite(chained.extras["rhat"][0])


def test_with_one_incomplete_column_it_is_the_random_intercept_engine():
    observed = lacking(covariates=False)
    options = {"adjust": ["mansa_baseline", "age"]}
    chained = imputer(observed, imputation="fcs", burn_in=0, thin=1, practice_means=False, **options)
    rng, other = np.random.default_rng(4), np.random.default_rng(4)
    other.random(np.isnan(observed.at("mansa_followup")).sum())  # the first values of the chain
    once = imputer(observed, imputation="random-intercept", **options)
    for _ in range(3):
        ours, theirs = chained.complete(rng).at("mansa_followup"), once.complete(other).at("mansa_followup")
        assert np.array_equal(ours, theirs)


def test_trials_of_a_batch_do_not_touch_each_other():
    """A trial whose model fails beside one whose does not: the other has numbers, and its own reason is told."""
    data = {name: np.concatenate([values, values]) for name, values in ragged(5).items()}
    half = len(data["arm"]) // 2
    data["trial"] = np.repeat([0, 1], half)
    rng = np.random.default_rng(1)
    gone = rng.random(2 * half) < 0.2
    data["mansa_followup"] = np.where(gone, np.nan, data["mansa_followup"])
    data["age"] = np.where(gone[::-1], np.nan, data["age"])
    data["age"][half:] = np.where(np.isnan(data["age"][half:]), np.nan, 40.0)
    found = fit(batch(data), method("mi", analysis={"kind": "lmm"}, imputation="fcs", adjust=["age"], m=4))
    assert found.failed.tolist() == [False, True]
    assert "the imputation model of 'age' cannot be fitted" in str(found.notes["message"][1])
    assert "imputation_failed" in text(int(found.flags[1]))


def test_practice_means_enter_the_models():
    plain, means = (imputer(lacking(), imputation="fcs", adjust=EVERYTHING, practice_means=on) for on in (False, True))
    assert "mean(age)" not in plain.conditionals["mansa_followup"].spec.adjust
    assert {"mean(age)", "mean(mansa_baseline)", "share:sex=m", "share:ethnicity=c"} <= set(
        means.conditionals["mansa_followup"].spec.adjust
    )
    assert "mean(mansa_followup)" in means.conditionals["age"].spec.adjust
    for each in (plain, means):  # practices have no values of people but their means
        own = each.conditionals["list_size"].spec.adjust
        assert {"size", "mean(mansa_followup)", "share:sex=m"} <= set(own)
        assert not {"age", "mansa_followup", "sex"} & set(own)


def test_a_number_of_practices_is_the_same_for_all_of_its_people():
    filled = imputer(lacking(), imputation="fcs", adjust=EVERYTHING).complete(np.random.default_rng(1))
    assert filled.column("list_size").level == "practice"
    assert np.isfinite(filled.column("list_size").values).all()


@pytest.mark.verify
def test_values_of_a_binary_column_are_those_of_numerical_integration():
    """Random-intercept probit with the ICC uniform: share of each missing value, a chain beside a grid."""
    practice, per, rng = np.repeat(np.arange(6), 6), 6, np.random.default_rng(3)
    arm = (practice % 2).astype(float)
    sex = (rng.normal(size=36) + 0.6 * arm + np.repeat(rng.normal(0, 0.7, 6), per) > 0).astype(int)
    gone = np.zeros(36, dtype=bool)
    gone[[0, 7, 13, 14, 20, 26, 33]] = True
    times, sweeps = 400, 160
    index = Index(times, np.repeat(np.arange(times), 6), (practice + 6 * np.arange(times)[:, None]).ravel())
    codes = np.tile(np.where(gone, -1, sex), times)
    copies = ObservedBatch(index, {
        "arm": Column(np.tile(np.arange(6) % 2.0, times), "practice"),
        "sex": Column(codes, "participant", ("f", "m")),
    })  # fmt: skip
    own = Conditional(
        spec=Spec("sex"), observed=copies.column("sex"), gaps=np.flatnonzero(codes < 0),
        people=np.arange(len(codes)), tabulate=None, failed=np.zeros(times, dtype=bool),
        flags=np.zeros(times, dtype=np.int64),
    )  # fmt: skip
    generator, seen = np.random.default_rng(9), []
    for sweep in range(sweeps):
        values = own.drawn(copies, generator).values[codes < 0].reshape(times, -1)
        if sweep >= 40:
            seen.append(values)
    share = np.mean(seen, axis=0)  # of every chain, which are independent
    expected = predicted(sex, practice, arm, gone)
    error = share.std(axis=0, ddof=1) / np.sqrt(times)
    assert (np.abs(share.mean(axis=0) - expected) < Z * error + 2e-3).all()  # the grid is good to 1e-3
    assert np.abs(expected - 0.5).max() > 0.1


def test_unordered_categories_have_the_shares_they_were_lost_with():
    """Who is lost depends on a covariate that decides the category: observed shares are wrong, imputed ones are not."""
    rng = np.random.default_rng(5)
    practice = np.repeat(np.arange(60), 25)
    people = len(practice)
    x = rng.normal(size=people) + rng.normal(0, 0.4, 60)[practice]
    utilities = np.stack([0.0 * x, 0.9 * x, -0.6 * x + 0.3]) + rng.normal(size=(3, people))
    code = utilities.argmax(axis=0)
    gone = rng.random(people) < np.where(x > 0.3, 0.6, 0.1)
    made = batch({"practice": practice, "arm": practice % 2.0, "age": x, "mansa_followup": x + rng.normal(size=people)})
    made = made.with_columns({"place": Column(np.where(gone, -1, code), "participant", ("a", "b", "c"))})
    engine = imputer(made, imputation="fcs", adjust=["age", "place"])
    generator = np.random.default_rng(6)
    drawn = np.stack([engine.complete(generator).at("place")[gone] for _ in range(30)])
    for k in range(3):
        truth, observed = (code[gone] == k).mean(), (code[~gone] == k).mean()
        share = (drawn == k).mean(axis=1)  # with the error of the truth, and that of its posterior mean
        error = np.sqrt(truth * (1 - truth) / gone.sum() + share.var())
        assert abs(share.mean() - truth) < Z * error
        assert k != 1 or abs(observed - truth) > Z * error  # most of those lost are of the second


def test_a_category_of_practices_is_filled_from_others_like_it():
    """Small practices have low scores: a practice with low scores is more often filled as small."""
    rng = np.random.default_rng(7)
    practice = np.repeat(np.arange(120), 6)
    small = rng.random(120) < 0.5
    y = rng.normal(size=len(practice)) - 2.0 * small[practice]
    code = np.where(np.arange(120) < 30, -1, small)
    made = batch({"practice": practice, "arm": practice % 2.0, "mansa_followup": y})
    made = made.with_columns({"size": Column(code.astype(int), "practice", ("large", "small"))})
    engine = imputer(made, imputation="fcs", adjust=["size"])
    generator = np.random.default_rng(8)
    share = np.mean([engine.complete(generator).column("size").values[:30] for _ in range(40)], axis=0)
    assert share[small[:30]].mean() > 0.9
    assert share[~small[:30]].mean() < 0.1


def predicted(sex, practice, arm, gone):
    """P(1) of each missing value: sums over both coefficients, the ICC and, inside, the practice effect."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    rho = (np.arange(40) + 0.5) / 40
    scaled, difference = np.meshgrid(np.linspace(-2.8, 2.8, 57), np.linspace(-4.2, 4.2, 57), indexing="ij")
    total, ones = 0.0, np.zeros(gone.sum())
    for r in rho:
        gamma = r / (1 - r)
        spread = np.sqrt(1 + gamma)  # coefficients in units of the marginal SD: d beta = (1 + gamma) d scaled
        inner, extra = [], np.ones(scaled.shape)
        for j in range(6):
            eta = spread * (scaled + difference * arm[practice == j][0])[..., None] + np.sqrt(gamma) * nodes
            one = ndtr(eta)
            y = sex[(practice == j) & ~gone]
            likelihood = one ** y.sum() * (1 - one) ** (len(y) - y.sum())
            inner.append((likelihood @ weights, (likelihood * one) @ weights))
            extra = extra * inner[j][0]
        extra = extra * (1 + gamma)
        total += extra.sum()
        ones += [(extra * inner[j][1] / inner[j][0]).sum() for j in practice[gone]]
    return ones / total


@pytest.mark.parametrize("mean", [-3.0, -0.5, 0.0, 2.0])
def test_one_sided_draws_have_their_moments(mean):
    rng, size = np.random.default_rng(2), 40_000
    for positive in (True, False):
        own = one_sided(np.full(size, mean), np.full(size, positive), rng)
        sign = 1.0 if positive else -1.0
        ratio = np.exp(-0.5 * mean**2) / np.sqrt(2 * np.pi) / ndtr(sign * mean)
        expected, variance = mean + sign * ratio, 1 - sign * mean * ratio - ratio**2
        assert (sign * own > 0).all()
        assert abs(own.mean() - expected) < Z * np.sqrt(variance / size)


def test_draws_far_out_stay_on_their_side():
    assert one_sided(np.array([-60.0, 60.0]), np.array([True, False]), np.random.default_rng(1)).tolist() == [0.0, 0.0]


def test_rhat_of_two_halves():
    trace = np.array([1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0])  # the middle is left out; variances 1, means 2 and 5
    assert split_rhat(trace[:, None])[0] == pytest.approx(np.sqrt(2 / 3 + 4.5), rel=1e-12)
    assert split_rhat(np.ones((8, 1)))[0] == 1.0
    assert np.isnan(split_rhat(np.arange(3.0)[:, None])[0])


def test_a_chain_that_has_not_settled_is_flagged(monkeypatch):
    options = {"analysis": {"kind": "lmm"}, "imputation": "fcs", "adjust": ["mansa_baseline"], "m": 10}
    found = fit(lacking(), method("mi", **options))
    assert "chain_unsettled" not in text(int(found.flags[0]))
    monkeypatch.setattr(chain, "UNSETTLED", 0.5)
    assert "chain_unsettled" in text(int(fit(lacking(), method("mi", **options)).flags[0]))


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes_end_in_numbers_or_a_status(shape):
    data, rng = ragged(6, practices=14), np.random.default_rng(6)
    data["mansa_followup"] = np.where(rng.random(len(data["arm"])) < 0.3, np.nan, data["mansa_followup"])
    data["age"] = np.where(rng.random(len(data["arm"])) < 0.2, np.nan, data["age"])
    adjust = ["age"]
    data, adjust = oddly_shaped(data, adjust, shape)
    found = fit(batch(data), method("mi", analysis={"kind": "lmm"}, imputation="fcs", adjust=adjust, m=4))
    assert found.flags[0]
    assert found.failed[0] == np.isnan(found.std_error[0, 0])
    assert not found.failed[0] or str(found.notes["message"][0])


def test_it_does_not_impute_one_arm_alone():
    with pytest.raises(Exception, match="'fcs' cannot impute one arm alone"):
        method("mi", analysis={"kind": "lmm"}, imputation="fcs", by_arm=True, adjust=["age"])
