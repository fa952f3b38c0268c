"""True values: what each estimand is the effect of, and how far its Monte Carlo value can be trusted."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated import CONTINUOUS, Z, partners, published

from simtrial.batch import Column, Index, TrialBatch
from simtrial.estimands import Estimand, TrueValue, contributions, ratio, true_values, values
from simtrial.generate import Mechanism, practices_per_trial, simulate
from simtrial.generate.missing.dropout_model import _population
from simtrial.generate.practices.practices import Practices

ITT = Estimand(name="itt", response="mansa", kind="itt")
CLUSTER = Estimand(name="cluster", response="mansa", kind="itt", unit="cluster")
CACE = Estimand(name="cace", response="mansa", kind="cace", received="sessions >= 6")


def exact(**options: Any) -> Mechanism:
    """Partners with outcomes neither rounded nor clipped."""
    return partners({"outcomes.mansa": {**CONTINUOUS, **options}})


def at_least(sessions: int) -> float:
    """P(S >= sessions) among people offered, by scipy."""
    options = published()["delivery"]
    mu, k = options["sessions_mu"], options["sessions_shape"]
    whole = stats.nbinom(k, k / (k + mu))
    return float((1 - options["no_contact"]) * whole.sf(sessions - 1) / whole.sf(0))


def by_hand() -> TrialBatch:
    """Three practices of 1, 2 and 3 people: unit effects 2 | 1, 3 | 0, 0, 6 and sessions offered 2 | 1, 5 | 0, 1, 2."""
    index = Index(1, np.zeros(3, dtype=np.intp), np.array([0, 1, 1, 2, 2, 2]))
    control = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    effect = np.array([2.0, 1.0, 3.0, 0.0, 0.0, 6.0])
    sessions = np.array([2.0, 1.0, 5.0, 0.0, 1.0, 2.0])
    return TrialBatch(index).add({
        "arm": Column(np.array([1, 0, 0]), "practice"),
        "mansa_if_control": Column(control, "participant", latent=True),
        "mansa_if_intervention": Column(control + effect, "participant", latent=True),
        "sessions_offered": Column(sessions, "participant", latent=True),
        "sessions": Column(sessions * np.array([1, 0, 0, 0, 0, 0]), "participant"),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "unit", "value"),
    [
        ("itt", "participant", 12 / 6),  # all six effects
        ("itt", "cluster", (2 + 2 + 2) / 3),  # means of the practices
        ("cace", "participant", (2 + 3 + 6) / 3),  # the three with two sessions or more
        ("cace", "cluster", (2 + 3 + 6) / 3),
    ],
)
def test_estimands_of_a_trial_worked_out_by_hand(kind: Any, unit: Any, value: float) -> None:
    received = "sessions >= 2" if kind == "cace" else None
    estimand = Estimand(name="e", response="mansa", kind=kind, unit=unit, received=received)
    assert ratio(*contributions(estimand, by_hand()))[0] == pytest.approx(value)


def test_practices_without_anyone_concerned_do_not_count_in_a_cluster_average() -> None:
    estimand = Estimand(name="e", response="mansa", kind="cace", unit="cluster", received="sessions >= 5")
    numerator, denominator = contributions(estimand, by_hand())
    assert numerator.tolist() == [0, 3, 0]
    assert denominator.tolist() == [0, 1, 0]
    assert ratio(numerator, denominator)[0] == 3


def test_nobody_concerned_leaves_the_estimand_undefined() -> None:
    estimand = Estimand(name="e", response="mansa", kind="cace", received="sessions >= 100")
    assert all(np.isnan(ratio(*contributions(estimand, by_hand()))))


def test_delta_method_error_by_hand() -> None:
    """Numerators 2, 4, 6 over 1, 2, 3 leave no residual; over 1, 1, 1 residuals -2, 0, 2 and error sqrt(8)/3."""
    up = np.array([2.0, 4.0, 6.0])
    assert ratio(up, np.array([1.0, 2.0, 3.0])) == (2.0, 0.0)
    assert ratio(up, np.ones(3)) == pytest.approx((4.0, np.sqrt(8) / 3))


def test_participant_and_cluster_average_differ_by_the_covariance_of_size_and_effect() -> None:
    """The exact identity D_I - D_C = cov(n, mean effect) / E n, where effects grow with cluster size."""
    rng = np.random.default_rng(8)
    sizes = rng.integers(1, 12, 200)
    index = Index(1, np.zeros(200, dtype=np.intp), np.repeat(np.arange(200), sizes))
    control = rng.standard_normal(index.participants)
    effect = 0.1 * sizes[index.participant_practice] + rng.standard_normal(index.participants)
    batch = TrialBatch(index).add({
        "mansa_if_control": Column(control, "participant", latent=True),
        "mansa_if_intervention": Column(control + effect, "participant", latent=True),
    })  # fmt: skip
    participant, cluster = (ratio(*contributions(e, batch))[0] for e in (ITT, CLUSTER))
    means = np.bincount(index.participant_practice, weights=effect) / sizes
    covariance = np.mean(sizes * means) - sizes.mean() * means.mean()
    assert participant - cluster == pytest.approx(covariance / sizes.mean(), abs=1e-12)
    assert abs(participant - cluster) > 0.1


def test_a_constant_effect_is_the_true_value_without_error() -> None:
    for found in true_values([ITT, CLUSTER, CACE], exact(effect=0.45, effect_among=""), 1, ""):
        assert found.value == pytest.approx(0.45, abs=1e-12)
        assert found.mcse < 1e-12
        assert found.practices >= values.PRACTICES


def test_no_effect_is_exactly_zero_even_when_recorded() -> None:
    assert [t.value for t in true_values([ITT, CACE], partners({"outcomes.mansa": {"effect": 0.0}}), 1, "")] == [0, 0]


def test_an_effect_among_some_is_diluted_by_their_share() -> None:
    """ITT: effect x P(S >= 6). CACE by four sessions: effect x P(S >= 6) / P(S >= 4). By six: the effect itself."""
    wider = Estimand(name="wider", response="mansa", kind="cace", received="sessions >= 4")
    clusters = Estimand(name="clusters", response="mansa", kind="itt", unit="cluster")
    mechanism = exact(effect=0.45, effect_among="sessions >= 6")
    itt, cace, four, cluster = true_values([ITT, CACE, wider, clusters], mechanism, 1, "")
    for found, share in ((itt, at_least(6)), (four, at_least(6) / at_least(4)), (cluster, at_least(6))):
        assert abs(found.value - 0.45 * share) < Z * found.mcse
        assert 0 < found.mcse < 0.002
    assert cace.value == pytest.approx(0.45, abs=1e-12)
    assert cace.mcse < 1e-12


def test_the_error_of_a_true_value_is_its_spread_over_repeated_efforts(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 efforts of 1,000 practices: an SD known to 1/sqrt(800), 3.5%; the mean error it is compared with to far less.

    That of the wider CACE, a ratio of two random quantities, is the test of the delta method.
    """
    monkeypatch.setattr(values, "PRACTICES", 1000)
    mechanism = exact(effect=0.45, effect_among="sessions >= 6")
    wider = Estimand(name="wider", response="mansa", kind="cace", received="sessions >= 1")
    wanted = [ITT, wider, CLUSTER]
    found = [true_values(wanted, mechanism, seed, "") for seed in range(400)]
    for place, estimand in enumerate(wanted):
        drawn = np.array([f[place].value for f in found])
        errors = np.array([f[place].mcse for f in found])
        assert drawn.std(ddof=1) == pytest.approx(np.sqrt((errors**2).mean()), rel=Z / np.sqrt(800)), estimand.name


def test_a_large_effort_lies_where_its_error_says() -> None:
    mechanism = exact(effect=0.45, effect_among="sessions >= 6")
    first, second = (true_values([ITT], mechanism, seed, "")[0] for seed in (1, 2))
    assert first.value != second.value
    assert abs(first.value - second.value) < Z * np.hypot(first.mcse, second.mcse)


@pytest.mark.parametrize(
    "changes",
    [
        {"allocation": {"method": "simple", "best_arm_probability": 1.0}},
        {"dropout": {"rate": 0.6, "practice_rate": 0.3, "engagement_correlation": 0.5}},
        {"missingness": {"baseline": 0.5, "followup": 0.5}},
    ],
    ids=["allocation", "dropout", "missingness"],
)
def test_what_happens_after_the_potential_outcomes_does_not_matter(changes: dict[str, Any]) -> None:
    wanted = [ITT, CLUSTER, CACE]
    assert true_values(wanted, partners(), 5, "") == true_values(wanted, partners(changes), 5, "")


def test_replicates_and_other_estimands_do_not_matter() -> None:
    alone = true_values([CACE], partners(), 5, "")
    assert true_values([ITT, CLUSTER, CACE], partners(), 5, "")[-1:] == alone


def test_true_values_do_not_share_draws_with_the_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many practices as ten replicates have: their own mean effect is another number."""
    monkeypatch.setattr(values, "PRACTICES", 390)
    (found,) = true_values([ITT], partners(), 1, "")
    assert found.practices == 390
    ten = simulate(partners(), 10, 1, "", 0)
    assert found.value != ratio(*contributions(ITT, ten))[0]
    apart = simulate(partners(), 10, 1, "", 0, purpose="true values: ")
    assert found.value == ratio(*contributions(ITT, apart))[0]


def test_no_estimands_cost_nothing() -> None:
    found: list[TrueValue] = true_values([], partners(), 1, "")
    assert found == []


def test_the_partners_scenario_has_the_printed_effect() -> None:
    """ITT 0.03, to its rounding; complier effects above it."""
    itt, cace = true_values([ITT, CACE], partners(), 20230628, "")
    assert itt.value == pytest.approx(0.03, abs=0.005)
    assert cace.value == pytest.approx(0.045, abs=0.001)


@pytest.mark.parametrize("until", [60, 150, 399])
def test_the_effort_of_true_values_is_practices_that_opened(until: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least so many, and at most one block of 250 trials more; the mean by Wald: E people = 5.08 E opened."""
    monkeypatch.setattr(values, "PRACTICES", 20_000)
    whole = partners({"practices": {"number": 80, "until_participants": until}})
    (found,) = true_values([ITT], whole, 1, "")
    each = practices_per_trial(whole)
    assert 20_000 <= found.practices < 20_000 + 250 * (each + 2)
    batch = simulate({"practices": whole["practices"]}, 2000, 1, "", 0)
    opened, people = (np.bincount(trial, minlength=2000) for trial in (
        batch.index.practice_trial, batch.index.participant_trial))  # fmt: skip
    if until < 300:  # all 80 were enough in every trial
        assert abs((people - 5.08 * opened).mean()) < Z * (people - 5.08 * opened).std() / np.sqrt(2000)
    error = opened.std() * np.sqrt(1 / 2000 + 1 / 250)  # that of either mean; 20,000/80 = 250 trials in the other
    assert abs(each - opened.mean()) < Z * error + 0.5


@pytest.mark.parametrize("number", [2, 12, 39, 120, 999])
def test_where_all_practices_open_the_effort_is_what_it_was(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "PRACTICES", 2000)
    whole = partners({"practices": {"number": number}})
    assert practices_per_trial(whole) == number
    blocks = -(-2000 // (number * 250))
    assert true_values([ITT], whole, 1, "")[0].practices == number * blocks * -(-2000 // (number * blocks))


def test_dropout_is_calibrated_on_practices_that_opened() -> None:
    """20,000 practices; the 21 per trial are rounded (0.5) and a mean of 250 trials (SD 3: Z times 0.2), in all 7%."""
    whole = partners({"practices": {"number": 80, "until_participants": 100}})
    assert isinstance(whole["practices"], Practices)
    batch = _population((("practices", whole["practices"].model_dump_json()),))
    assert 0.93 * 20_000 < batch.index.practices < 1.07 * 20_000
