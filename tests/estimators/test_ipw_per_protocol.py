"""Weighting for adherence: a stacked M-estimation, the method it is a case of, and when it is biased."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import method
from test_ipw import POWER, Stacked, expit
from trials import batch, fit, ragged

from simtrial.flags import text

KEEP = {"keep": "arm == 0 or kept == 1"}
ADJUST, AUXILIARY = ["mansa_baseline", "size"], ["age", "list_size"]


def adhering(seed, practices=20, both_arms=False):
    """A trial in which older people with a good baseline adhere; in control everybody does unless ``both_arms``."""
    data = ragged(seed, practices, 9)
    score = 0.7 * (data["mansa_baseline"] - 4.5) + 0.03 * (data["age"] - 40) + 0.8
    kept = np.random.default_rng(seed + 500).random(len(score)) < expit(score)
    return {**data, "kept": np.where(both_arms | (data["arm"] == 1), kept, 1.0) * 1.0}


class OneArm(Stacked):
    """The stacked equations where only the intervention arm has a model: controls count once."""

    def __init__(self, data, adjust, auxiliary, smallest):
        super().__init__(data, adjust, auxiliary, True, smallest)
        self.control = self.x[:, -1] == 0
        self.z = self.z[:, self.z.shape[1] // 2 :]

    def scores(self, theta):
        beta, gamma = theta[: self.p], theta[self.p :]
        probability = np.where(self.control, 1.0, expit(self.z @ gamma))
        weight = np.where(self.seen, 1 / np.maximum(probability, self.smallest), 0.0)
        residual = np.where(self.seen, np.nan_to_num(self.y) - self.x @ beta, 0.0)
        rows = np.hstack([self.x * (weight * residual)[:, None], self.z * (self.seen - probability)[:, None]])
        return np.stack([rows[self.labels == k].sum(axis=0) for k in range(self.labels.max() + 1)])

    def solve(self):
        gamma, own = np.zeros(self.z.shape[1]), ~self.control
        for _ in range(40):
            p, z = expit(self.z[own] @ gamma), self.z[own]
            gamma = gamma + np.linalg.solve((z.T * (p * (1 - p))) @ z, z.T @ (self.seen[own] - p))
        p = np.where(self.control, 1.0, expit(self.z @ gamma))
        w = np.where(self.seen, 1 / np.maximum(p, self.smallest), 0.0)
        self.weight = w
        beta = np.linalg.solve((self.x.T * w) @ self.x, self.x.T @ (w * np.nan_to_num(self.y)))
        return np.concatenate([beta, gamma])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("se", POWER)
def test_the_sandwich_is_that_of_stacked_estimating_equations(se, seed):
    """Scores of the outcome and of adherence practice by practice, derivatives by central differences (about 1e-9)."""
    data = adhering(seed)
    chosen = method("ipw-per-protocol", adjust=ADJUST, auxiliary=AUXILIARY, se=se, **KEEP)
    found = fit(batch(data), chosen)
    lost = {**data, "mansa_followup": np.where(data["kept"] == 1, data["mansa_followup"], np.nan)}
    twin = OneArm(lost, ADJUST, AUXILIARY, 0.05)
    theta = twin.solve()
    assert text(int(found.flags[0])) in ("", "extreme_weights")
    assert found.estimate[0, 0] == pytest.approx(theta[twin.p - 1], rel=1e-9)
    assert found.std_error[0, 0] == pytest.approx(np.sqrt(twin.variance(theta, POWER[se])), rel=1e-7)


@pytest.mark.parametrize("working", ["independence", "exchangeable"])
@pytest.mark.parametrize("both_arms", [False, True])
def test_it_is_ipw_by_arm_of_the_outcomes_of_those_who_adhered(both_arms, working):
    for seed in range(4):
        data = adhering(seed, both_arms=both_arms)
        lost = {**data, "mansa_followup": np.where(data["kept"] == 1, data["mansa_followup"], np.nan)}
        options = {"adjust": ["mansa_baseline"], "auxiliary": ["age"], "working": working}
        one = fit(batch(data), method("ipw-per-protocol", keep="kept == 1", **options), every_term=True)
        other = fit(batch(lost), method("ipw", by_arm=True, **options), every_term=True)
        for number in ("estimate", "std_error", "df", "p_value", "flags", "n_used"):
            assert getattr(one, number) == pytest.approx(getattr(other, number), rel=1e-12)
        assert one.extras["effective_n"] == pytest.approx(other.extras["effective_n"], rel=1e-12)


def test_people_without_an_outcome_are_in_neither_model():
    data = adhering(3)
    gone = np.random.default_rng(3).random(len(data["arm"])) < 0.2
    lost = {**data, "mansa_followup": np.where(gone, np.nan, data["mansa_followup"])}
    there = {name: values[~gone] for name, values in data.items()}
    chosen = method("ipw-per-protocol", adjust=ADJUST, **KEEP)
    one, other = (fit(batch(each), chosen) for each in (lost, there))
    assert one.estimate == pytest.approx(other.estimate, rel=1e-12)
    assert one.std_error == pytest.approx(other.std_error, rel=1e-12)


def test_where_everybody_adheres_it_is_the_analysis_of_all():
    data = {**adhering(4), "kept": 1.0}
    data["kept"] = np.ones(len(data["arm"]))
    one = fit(batch(data), method("ipw-per-protocol", adjust=ADJUST, **KEEP))
    other = fit(batch(data), method("gee", adjust=ADJUST, working="independence"))
    assert one.estimate == pytest.approx(other.estimate, rel=1e-10)
    assert one.std_error == pytest.approx(other.std_error, rel=1e-10)


@pytest.mark.verify
def test_unbiased_where_adherence_depends_on_what_is_measured_and_biased_where_not():
    """Y = x + u + practice + noise + 1 if offered; a person offered adheres with chance .8 or .4 by x or by u.

    x and u are fair coins, so of those who adhere 2/3 have the 1 of what drives it, and the unweighted difference is
    off by 2/3 - 1/2. Weights by x put it right where x drives adherence, and change nothing where u does. 3,000 trials
    of 24 practices of 6; 4.5 Monte Carlo errors: a false alarm in 150,000 each.
    """
    rng, trials, practices, size = np.random.default_rng(17), 3000, 24, 6
    of = np.repeat(np.arange(trials * practices), size)
    arm = (np.argsort(rng.random((trials, practices)), axis=1).argsort(axis=1).ravel() % 2)[of]
    x, u = rng.integers(0, 2, (2, len(of)))
    for driver, biases in ((x, (1 / 6, 0.0)), (u, (1 / 6, 1 / 6))):
        kept = (arm == 0) | (rng.random(len(of)) < np.where(driver == 1, 0.8, 0.4))
        noise = rng.normal(0, 0.3, trials * practices)[of] + rng.normal(0, 0.5, len(of))
        data = {"trial": of // practices, "practice": of % practices, "arm": arm, "age": x.astype(float)}
        data |= {"mansa_followup": x + u + noise + arm, "kept": kept * 1.0}
        plain = method("per-protocol", adjust=[], analysis={"kind": "ols"}, **KEEP)
        weighted = method("ipw-per-protocol", adjust=[], auxiliary=["age"], **KEEP)
        for chosen, bias in zip((plain, weighted), biases, strict=True):
            found = fit(batch(data), chosen).estimate[0]
            assert not np.isnan(found).any()
            assert found.mean() - 1 == pytest.approx(bias, abs=4.5 * found.std() / np.sqrt(trials))
        errors = fit(batch(data), weighted)
        covered = (errors.ci_lower[0] <= 1 + biases[1]) & (1 + biases[1] <= errors.ci_upper[0])
        assert covered.mean() == pytest.approx(0.95, abs=4.5 * np.sqrt(0.95 * 0.05 / trials) + 0.005)


def test_separated_adherence_has_a_flag_and_a_result():
    """Everybody above 40 who is offered adheres, some below: those above are certain, and count once."""
    data = adhering(5)
    data["kept"] = np.where((data["arm"] == 1) & (data["age"] < 40), np.arange(len(data["arm"])) % 2, 1.0)
    found = fit(batch(data), method("ipw-per-protocol", adjust=[], auxiliary=["age"], **KEEP))
    clear = {**data, "kept": np.where(data["arm"] == 1, data["age"] >= 40, True) * 1.0}
    whole = fit(batch(clear), method("ipw-per-protocol", adjust=[], auxiliary=["age"], **KEEP))
    plain = fit(batch(clear), method("per-protocol", adjust=[], analysis={"kind": "ols"}, **KEEP))
    assert not found.failed[0]
    assert "separation" in text(int(whole.flags[0]))
    assert whole.estimate == pytest.approx(plain.estimate, rel=1e-8)  # weights of 1: nobody stands for anybody


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"kept": 0.0}, "one_arm"),
        ({"kept": np.nan}, "one_arm"),
        ({"arm": 1.0}, "one_arm"),
        ({"mansa_followup": np.nan}, "no_data"),
        ({"mansa_followup": 4.0}, "constant_outcome"),
    ],
    ids=str,
)
def test_degenerate_files_fail_with_their_cause(changed, cause):
    data = adhering(2)
    data |= {name: np.full(len(data["arm"]), value) for name, value in changed.items()}
    found = fit(batch(data), method("ipw-per-protocol", adjust=["mansa_baseline"], **KEEP))
    assert found.failed[0]
    assert cause in text(int(found.flags[0])).split(";")


def test_unknown_adherence_is_left_out_and_counted():
    data = adhering(6)
    blank = np.flatnonzero(data["arm"] == 1)[:3]
    data["kept"][blank] = np.nan
    found = fit(batch(data), method("ipw-per-protocol", adjust=[], auxiliary=["age"], **KEEP))
    there = {name: np.delete(values, blank) for name, values in data.items()}
    other = fit(batch(there), method("ipw-per-protocol", adjust=[], auxiliary=["age"], **KEEP))
    assert found.estimate == pytest.approx(other.estimate, rel=1e-12)
    assert found.extras["n_unknown"][0] == 3
    assert "blank_receipt" in text(int(found.flags[0]))


def test_odd_shapes_end_in_numbers_or_a_status():
    rng = np.random.default_rng(4)
    for practice in (np.arange(12) // 6, np.arange(14)):
        n = len(practice)
        arm = np.where(n == 12, practice == 1, practice % 2 == 1) * 1.0
        data = {
            "practice": practice,
            "arm": arm,
            "mansa_followup": rng.normal(size=n),
            "mansa_baseline": rng.normal(size=n),
        }
        data |= {"age": 2 * data["mansa_baseline"], "kept": np.where(arm == 1, rng.random(n) < 0.7, True) * 1.0}
        for adjust in ([], ["mansa_baseline", "age"]):
            found = fit(batch(data), method("ipw-per-protocol", adjust=adjust, **KEEP))
            assert found.failed[0] or np.isfinite(found.std_error[0, 0])
            assert not found.failed[0] or text(int(found.flags[0])) not in ("", "invalid_result")


def test_keep_is_needed():
    with pytest.raises(ValidationError, match="keep"):
        method("ipw-per-protocol", adjust=[])
