"""What must not matter to an estimator, and what must scale with the data: one suite over every registered method."""

import copy

import numpy as np
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.estimators import kinds
from simtrial.run.analyse import analyse

ADJUST = {"adjust": ["mansa_baseline", "age", "size", "list_size"]}
LMM = {"kind": "lmm", "df": "kenward-roger"}
METHODS = {
    "lmm": ("lmm", ADJUST),
    "lmm satterthwaite": ("lmm", {**ADJUST, "df": "satterthwaite-observed"}),
    "lmm kenward-roger": ("lmm", {**ADJUST, "df": "kenward-roger"}),
    "lmm ml": ("lmm", {**ADJUST, "df": "normal", "estimation": "ml"}),
    **{f"ols {se}": ("ols", {**ADJUST, "se": se}) for se in ("CR2", "CR0", "CR1", "CR1S", "CR3", "HC1", "classical")},
    "ols inverse-size": ("ols", {**ADJUST, "weights": "inverse-size"}),
    "cluster-means": ("cluster-means", ADJUST),
    "cluster-means welch": ("cluster-means", {**ADJUST, "variance": "welch"}),
    "cluster-means ancova": ("cluster-means", {**ADJUST, "adjustment": "ancova", "weights": "inverse-variance"}),
    **{f"gee {se}": ("gee", {**ADJUST, "se": se}) for se in ("kauermann-carroll", "robust", "mancl-derouen")},
    "gee fay-graubard": ("gee", {**ADJUST, "se": "fay-graubard"}),
    "gee independence": ("gee", {**ADJUST, "working": "independence", "moments": "n"}),
    "iv": ("iv", {**ADJUST, "received": "received == 1"}),
    "iv of means": ("iv", {**ADJUST, "received": "received == 1", "level_of_analysis": "cluster"}),
    "iv anderson-rubin": ("iv", {**ADJUST, "received": "received == 1", "ci": "anderson-rubin"}),
    **{f"iv {ci}": ("iv", {**ADJUST, "received": "received == 1", "ci": ci}) for ci in ("fieller", "tf")},
    "iv randomisation": (
        "iv",
        {
            **ADJUST,
            "received": "received == 1",
            "ci": "randomisation",
            "draws": 99,
            "allocation": {"method": "complete"},
        },
    ),
    "iv wild-bootstrap": ("iv", {**ADJUST, "received": "received == 1", "ci": "wild-bootstrap", "draws": 99}),
    "iv of lmm": ("iv", {**ADJUST, "received": "received == 1", "ratio": "lmm"}),
    "cace-mixture": ("cace-mixture", {**ADJUST, "received": "received == 1"}),
    "principal-score": (
        "principal-score",
        {**ADJUST, "received": "received == 1", "predictors": ["mansa_baseline", "age"]},
    ),
    "per-protocol": ("per-protocol", {"keep": "age >= 30", "analysis": {**LMM, **ADJUST}}),
    "ipw-per-protocol": ("ipw-per-protocol", {"adjust": ["size", "list_size"], "keep": "age >= 35"}),
    **{
        f"as-treated {kind}": ("as-treated", {**ADJUST, "received": "received == 1", "analysis": {"kind": kind}})
        for kind in ("lmm", "ols", "gee")
    },
    "clda": ("clda", ADJUST),
    "clda ml": ("clda", {**ADJUST, "estimation": "ml", "df": "normal"}),
    "g-computation": ("g-computation", ADJUST),
    "g-computation lmm": ("g-computation", {**ADJUST, "model": "lmm"}),
    "g-computation cluster by arm": ("g-computation", {**ADJUST, "average": "cluster", "by_arm": True}),
    "aipw": ("aipw", ADJUST),
    "aipw efficient": ("aipw", {"adjust": ["mansa_baseline", "age"], "form": "efficient"}),
    "aipw cluster by arm": ("aipw", {"adjust": ["mansa_baseline", "age"], "by_arm": True, "average": "cluster"}),
    "ipw": ("ipw", ADJUST),
    "ipw exchangeable": ("ipw", {"adjust": ["mansa_baseline", "age"], "working": "exchangeable"}),
    "ipw by arm": ("ipw", {"adjust": ["mansa_baseline", "age"], "by_arm": True, "se": "mancl-derouen"}),
    "lmm unconstrained": ("lmm", {**ADJUST, "df": "satterthwaite", "tau2": "unconstrained"}),
    **{
        f"lmm by arm {by} {e}": ("lmm", {**ADJUST, "df": "satterthwaite", "heteroscedastic": by, "estimation": e})
        for by in ("residual", "cluster", "both")
        for e in ("reml", "ml")
    },
    "mi": ("mi", {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3}),
    "mi two-stage": (
        "mi",
        {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3, "m_rule": "two-stage", "se_cv": 0.1, "m_max": 12},
    ),
    "mi single-level": ("mi", {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3, "imputation": "single-level"}),
    "mi half-cauchy": ("mi", {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3, "prior": "half-cauchy"}),
    "mi uniform tau": ("mi", {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3, "prior": "uniform-tau"}),
    "mi reml": ("mi", {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3, "prior": "reml"}),
    "mi fcs": ("mi", {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3, "imputation": "fcs"}),
    "mi joint": ("mi", {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3, "imputation": "joint", "burn_in": 30}),
    "mi pmm": ("mi", {**ADJUST, "analysis": {"kind": "lmm"}, "m": 3, "imputation": "pmm"}),
    "mi by arm": ("mi", {"adjust": ["mansa_baseline"], "analysis": {"kind": "lmm"}, "m": 3, "by_arm": True}),
    "mi effects": (
        "mi",
        {
            **ADJUST,
            "m": 3,
            "pooled": "effects",
            "analysis": {"kind": "iv", "received": "received == 1", "ci": "fieller"},
        },
    ),
    "randomisation-test": (
        "randomisation-test",
        {**ADJUST, "draws": 99, "allocation": {"method": "minimisation", "factors": ["size"]}},
    ),
    "randomisation-test score": (
        "randomisation-test",
        {**ADJUST, "draws": 99, "allocation": {"method": "complete"}, "statistic": "score"},
    ),
    "wild-bootstrap": ("wild-bootstrap", {**ADJUST, "draws": 99}),
    "wild-bootstrap webb": ("wild-bootstrap", {**ADJUST, "draws": 99, "distribution": "webb", "p": "equal-tailed"}),
}
NO_EFFECT = {"correlation", "event-rate", "icc"}
"""Kinds whose estimate is no effect on the outcome these trials have; their own tests look at them."""
OF_RECEIPT = ("iv", "as-treated")
ONE_SIDED = ("cace-mixture", "principal-score")  # receipt in the intervention arm alone: the arms cannot be swapped
ORIGIN = ("gee fay-graubard",)  # whose standard error depends on the origin of the covariates and of arm
EXACT = [
    name for name, (kind, options) in METHODS.items() if not method(kind, **options).is_random()
]  # the same draws meet other people otherwise
SEEDS = (11, 12, 13)
# Sums of some fifty rows in another order or scale, then a Newton step from elsewhere; the worst seen is 2e-13.
ROUNDING = 1e-11
NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


def trial(seed, practices=14, most=7):
    """Return a trial in which some outcomes are missing."""
    data = ragged(seed, practices, most)
    gone = np.random.default_rng(seed).random(len(data["arm"])) < 0.15
    return {**data, "mansa_followup": np.where(gone, np.nan, data["mansa_followup"])}


def analysed(data, name, every_term=False):
    kind, options = METHODS[name]
    return fit(batch(data), method(kind, **options), every_term)


def same(left, right, sign=1.0, scale=1.0):
    """Assert that all numbers agree, those of the left in units of ``scale`` and mirrored where ``sign`` is -1."""
    assert not left.failed.any()
    close = {"rel": ROUNDING, "abs": ROUNDING}
    assert left.estimate / scale == pytest.approx(sign * right.estimate, **close)
    assert left.std_error / scale == pytest.approx(right.std_error, **close)
    assert left.df == pytest.approx(right.df, **close)
    assert left.p_value == pytest.approx(right.p_value, **close)
    ends = np.sort(sign * np.stack([right.ci_lower, right.ci_upper]), axis=0)
    assert np.stack([left.ci_lower, left.ci_upper]) / scale == pytest.approx(ends, **close)
    assert left.flags.tolist() == right.flags.tolist()


def test_every_registered_method_takes_this_suite():
    built_in = {kind for kind, made in kinds().items() if made.__module__.startswith("simtrial.estimators.")}
    assert {kind for kind, _ in METHODS.values()} == built_in - NO_EFFECT


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", METHODS)
def test_shifting_the_outcome_changes_nothing(name, seed):
    data = trial(seed)
    same(analysed({**data, "mansa_followup": data["mansa_followup"] - 37.0}, name), analysed(data, name))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", METHODS)
def test_the_estimate_is_in_units_of_the_outcome(name, seed):
    data = trial(seed)
    same(analysed({**data, "mansa_followup": 250.0 * data["mansa_followup"]}, name), analysed(data, name), scale=250.0)


@pytest.mark.parametrize(
    "name", [name for name in EXACT if not name.startswith((*OF_RECEIPT, *ONE_SIDED)) and name not in ORIGIN]
)
def test_swapping_the_arms_flips_the_sign(name):
    data = trial(SEEDS[0])
    same(analysed({**data, "arm": 1 - data["arm"]}, name), analysed(data, name), sign=-1.0)


@pytest.mark.parametrize("name", [name for name in EXACT if name.startswith(OF_RECEIPT)])
def test_swapping_receipt_flips_the_sign_and_swapping_the_instrument_does_not(name):
    data = trial(SEEDS[0])
    same(analysed({**data, "received": 1 - data["received"]}, name), analysed(data, name), sign=-1.0)
    same(analysed({**data, "arm": 1 - data["arm"]}, name), analysed(data, name))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", EXACT)
def test_the_order_of_people_and_of_practices_does_not_matter(name, seed):
    data, rng = trial(seed), np.random.default_rng(seed)
    shuffled = rng.permutation(len(data["arm"]))
    renamed = rng.permutation(14)[data["practice"]]
    moved = {column: values[shuffled] for column, values in {**data, "practice": renamed}.items()}
    same(analysed(moved, name), analysed(data, name))


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ORIGIN])
def test_units_and_origin_of_covariates_do_not_matter(name):
    data = trial(SEEDS[1])
    moved = {**data, "mansa_baseline": 3.7 * data["mansa_baseline"] - 100, "list_size": 1e-3 * data["list_size"] + 5}
    if name in ("per-protocol", "ipw-per-protocol"):  # whose ``keep`` is in years
        same(analysed(moved, name), analysed(data, name))
    else:
        same(analysed({**moved, "age": 12 * data["age"]}, name), analysed(data, name))


@pytest.mark.parametrize("name", [name for name in EXACT if name not in ORIGIN])
def test_any_basis_of_the_covariates_gives_the_same_arm_row(name):
    data = trial(SEEDS[1])
    mixed = {
        **data,
        "mansa_baseline": data["mansa_baseline"] + 0.05 * data["age"],
        "list_size": data["list_size"] - 2 * (data["size"] == "large"),
        "size": np.where(data["size"] == "large", "a larger one", "small"),  # the reference category changes
    }
    same(analysed(mixed, name), analysed(data, name))


@pytest.mark.parametrize(("practices", "most"), [(14, 7), (10, 60)])  # sums by size of practice, or by practice
@pytest.mark.parametrize("name", EXACT)
def test_a_batch_is_the_loop_over_its_trials(name, practices, most):
    data = [trial(seed, practices, most) for seed in range(20, 28)]
    stacked = {column: np.concatenate([one[column] for one in data]) for column in data[0]}
    stacked["trial"] = np.repeat(np.arange(len(data)), [len(one["arm"]) for one in data])
    together = analysed(stacked, name, every_term=True)
    alone = [analysed(one, name, every_term=True) for one in data]
    for number in (*NUMBERS, "failed", "flags", "n_used", "clusters_used"):
        loop = np.concatenate([getattr(one, number) for one in alone], axis=-1)
        assert getattr(together, number) == pytest.approx(loop, rel=1e-12, abs=1e-12), number
    for extra, values in together.extras.items():
        loop = np.concatenate([one.extras[extra] for one in alone])
        assert values == pytest.approx(loop, rel=1e-12, abs=1e-12), extra


@pytest.mark.parametrize("name", METHODS)
def test_a_trial_has_the_same_rows_whatever_is_analysed_beside_it(name):
    data = [trial(seed) for seed in range(30, 34)]
    stacked = {column: np.concatenate([one[column] for one in data]) for column in data[0]}
    stacked["trial"] = np.repeat(np.arange(len(data)), [len(one["arm"]) for one in data])
    kind, options = METHODS[name]
    chosen = [method(kind, **options), method("ols", name="another")]
    ids = [f"trial {at}" for at in range(len(data))]
    together = analyse(ids, batch(stacked), chosen)
    for at, one in enumerate(data):
        alone = analyse([ids[at]], batch(one), chosen[:1])
        rows = together.filter((together["trial_id"] == ids[at]) & (together["method"] == "method"))
        for number in NUMBERS:
            assert rows[number][0] == pytest.approx(alone[number][0], rel=1e-12), number


@pytest.mark.parametrize("name", METHODS)
def test_the_data_are_left_as_they_were(name):
    observed = batch(trial(SEEDS[2]))
    assert not any(column.values.flags.writeable for column in observed.columns.values())
    before = copy.deepcopy(observed)
    kind, options = METHODS[name]
    fit(observed, method(kind, **options), every_term=True)  # writing to an array would raise
    assert observed.columns.keys() == before.columns.keys()
    for column, kept in before.columns.items():
        assert observed.columns[column].values.tobytes() == kept.values.tobytes()
    for rows in ("practice_trial", "participant_practice"):
        assert np.array_equal(getattr(observed.index, rows), getattr(before.index, rows))
