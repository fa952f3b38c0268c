"""What analyses tend to: every practice analysed in both arms at once gives their estimands to the last digit."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from reference import method
from simulated import CONTINUOUS, Z, partners
from test_estimands import by_hand, exact
from tomls import SMALL, written
from trials import batch, fit

from simtrial.batch import TrialBatch
from simtrial.estimands import Estimand, contributions, ratio, true_values
from simtrial.estimands.limits import coefficient
from simtrial.generate import simulate
from simtrial.generate.worlds import if_control, if_offered
from simtrial.scenario import load
from simtrial.scenario.schema import targets

RECEIVED = "sessions >= 2"
LEVEL = {"received": "received == 1", "level_of_analysis": "cluster"}


def estimand(**options: Any) -> Estimand:
    return Estimand(name=str(options), **{"response": "mansa"} | options)


def value(wanted: Estimand, trials: TrialBatch) -> float:
    parts = contributions(wanted, trials)
    return (coefficient(parts) if wanted.adjust else ratio(*parts))[0]


def both_arms(trials: TrialBatch, received: str = RECEIVED) -> dict[str, NDArray[Any]]:
    """Lay out everybody twice, as if in control and as if offered, the copies of a practice being practices apart."""
    index = trials.index
    found: dict[str, list[NDArray[Any]]] = {}
    for arm, world in enumerate((if_control(trials), if_offered(trials))):
        outcome = trials.at(f"mansa_if_{('control', 'intervention')[arm]}")
        columns = {
            "practice": index.participant_practice + arm * index.practices,
            "arm": np.full(index.participants, float(arm)),
            "mansa_followup": outcome,
            "sessions": world.at("sessions").astype(float),
        }
        if "mansa_baseline" in trials.columns:
            columns["mansa_baseline"] = trials.at("mansa_baseline")
            columns["size"] = np.array(["large", "small"])[trials.at("practice_size")]
        for name, values in columns.items():
            found.setdefault(name, []).append(np.asarray(values))
    laid = {name: np.concatenate(parts) for name, parts in found.items()}
    return {**laid, "received": (laid["sessions"] >= float(received.split()[-1])).astype(float)}


def informative(trials: int = 8) -> TrialBatch:
    """Trials in which effects, sizes and receipt go together, so that no two averages are the same."""
    return simulate(partners({
        "delivery": {"engagement_baseline": 0.5, "availability_correlation": 0.8},
        "outcomes.mansa": {**CONTINUOUS, "effect": 0.5, "effect_among": "sessions >= 6", "effect_sd": 0.5,
                           "size_effect": 0.3, "engagement_correlation": 0.4},
    }), trials, 3, "", 0)  # fmt: skip


def test_the_complier_effect_by_complier_share_worked_out_by_hand() -> None:
    """Compliers 1 of 1, 1 of 2, 1 of 3 with effects 2, 3, 6: (1*2 + 3/2 + 6/3) / (1 + 1/2 + 1/3) = 5.5 / (11/6) = 3."""
    wanted = estimand(kind="cace", received=RECEIVED, unit="cluster", weights="complier-share")
    assert value(wanted, by_hand()) == pytest.approx(3.0, rel=1e-12)
    others = [
        value(estimand(kind="cace", received=RECEIVED, **o), by_hand()) for o in ({}, {"unit": "cluster"})
    ]  # fmt: skip
    assert others == pytest.approx([11 / 3, 11 / 3])


AVERAGES = {
    "equal": {"unit": "cluster", "weights": "complier-share"},
    "size": {"unit": "participant"},
}


@pytest.mark.parametrize("weights", ["equal", "size"])
def test_cluster_level_iv_tends_to_the_complier_effect_of_its_weights(weights: str) -> None:
    trials = informative()
    received = "sessions >= 6"
    data = both_arms(trials, received)
    mine = fit(batch(data), method("iv", adjust=[], weights=weights, **LEVEL)).estimate[0, 0]
    values = {w: value(estimand(kind="cace", received=received, **o), trials) for w, o in AVERAGES.items()}
    assert mine == pytest.approx(values[weights], rel=1e-10)
    plain = value(estimand(kind="cace", received=received, unit="cluster"), trials)
    distinct = [*values.values(), plain]
    assert min(abs(a - b) for i, a in enumerate(distinct) for b in distinct[:i]) > 1e-3  # and none of the others


def test_participant_level_iv_tends_to_the_average_over_people() -> None:
    trials = informative()
    mine = fit(batch(both_arms(trials, "sessions >= 6")), method("iv", adjust=[], received="received == 1"))
    expected = value(estimand(kind="cace", received="sessions >= 6"), trials)
    assert mine.estimate[0, 0] == pytest.approx(expected, rel=1e-10)


ADJUST = ([], ["mansa_baseline"], ["mansa_baseline", "size"])


@pytest.mark.parametrize("adjust", ADJUST, ids=str)
@pytest.mark.parametrize(("unit", "weights"), [("participant", "rows"), ("cluster", "inverse-size")])
@pytest.mark.parametrize("keep", ["arm == 0 or sessions >= 6", "not (arm == 1 and sessions < 4)", "sessions < 9"])
def test_per_protocol_least_squares_tends_to_its_limit(adjust: list[str], unit: Any, weights: str, keep: str) -> None:
    trials = informative()
    names = ["practice_size" if name == "size" else name for name in adjust]
    limit = value(estimand(kind="per-protocol", keep=keep, unit=unit, adjust=names or None), trials)
    analysis = {"kind": "ols", "weights": weights}
    mine = fit(batch(both_arms(trials)), method("per-protocol", adjust=adjust, keep=keep, analysis=analysis))
    assert mine.estimate[0, 0] == pytest.approx(limit, rel=1e-9)


@pytest.mark.parametrize("adjust", ADJUST, ids=str)
def test_as_treated_least_squares_tends_to_its_limit(adjust: list[str]) -> None:
    """Least squares of outcome on receipt, whoever was allocated to what."""
    trials = informative()
    names = ["practice_size" if name == "size" else name for name in adjust]
    limit = value(estimand(kind="as-treated", received="sessions >= 6", adjust=names or None), trials)
    data = both_arms(trials, "sessions >= 6")
    mine = fit(batch(data), method("as-treated", received="received == 1", analysis={"kind": "ols"}, adjust=adjust))
    assert mine.estimate[0, 0] == pytest.approx(limit, rel=1e-9)
    x = [np.ones(len(data["arm"])), data["received"]]
    x += [data["mansa_baseline"]] * ("mansa_baseline" in adjust) + [data.get("size") == "small"] * ("size" in adjust)
    beta = np.linalg.lstsq(np.column_stack(x).astype(float), data["mansa_followup"], rcond=None)[0]
    assert limit == pytest.approx(beta[1], rel=1e-9)


def test_adjusting_moves_the_limit_where_baselines_differ() -> None:
    trials = informative(40)
    keep = "arm == 0 or sessions >= 6"
    plain, adjusted = (
        value(estimand(kind="per-protocol", keep=keep, adjust=a), trials) for a in (None, ["mansa_baseline"])
    )
    assert abs(plain - adjusted) > 0.05


def test_the_error_of_an_adjusted_limit_is_its_spread_over_repeated_efforts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simtrial.estimands.values.PRACTICES", 400)
    wanted = [
        estimand(kind="per-protocol", keep="arm == 0 or availability >= 0.7", adjust=["mansa_baseline"]),
        estimand(kind="cace", received="sessions >= 6", unit="cluster", weights="complier-share"),
    ]
    mechanism = partners({"outcomes.mansa": {"effect_sd": 0.5}})
    found = [true_values(wanted, mechanism, seed, "") for seed in range(200)]
    for place in range(2):
        values, errors = (np.array([getattr(f[place], what) for f in found]) for what in ("value", "mcse"))
        assert values.std(ddof=1) == pytest.approx(np.sqrt((errors**2).mean()), rel=Z / np.sqrt(400))


def test_a_constant_effect_among_compliers_is_every_average_of_it_without_error() -> None:
    mechanism = exact(effect=0.45, effect_among="sessions >= 6")
    wanted = estimand(kind="cace", received="sessions >= 6", unit="cluster", weights="complier-share")
    (found,) = true_values([wanted], mechanism, 1, "")
    assert (found.value, found.mcse) == (0.45, 0.0)


def test_whoever_is_not_known_to_be_kept_is_on_no_side() -> None:
    """Availability is blank in control: an expression that does not say so keeps nobody there."""
    trials = simulate(partners(), 4, 1, "", 0)
    assert np.isnan(value(estimand(kind="per-protocol", keep="availability >= 0.7"), trials))
    assert np.isnan(value(estimand(kind="per-protocol", keep="not availability < 0.7"), trials))
    clear = (value(estimand(kind="per-protocol", keep=k), trials) for k in (
        "arm == 0 or availability >= 0.7", "not (arm == 1 and availability < 0.7)"))  # fmt: skip
    one, other = clear
    assert one == other
    treated = (value(estimand(kind="as-treated", received=k), trials) for k in (
        "arm == 1 and availability >= 0.7", "not (arm == 0 or availability < 0.7)"))  # fmt: skip
    one, other = treated
    assert one == other


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kind": "itt", "unit": "cluster", "weights": "complier-share"}, "has no compliers"),
        ({"kind": "cace", "received": RECEIVED, "weights": "complier-share"}, "need unit = 'cluster'"),
        ({"kind": "itt", "adjust": ["age"]}, "an effect needs no adjustment"),
        ({"kind": "per-protocol", "keep": "arm == 0", "unit": "cluster", "weights": "recruited", "adjust": ["age"]},
         "without weights"),
    ],
    ids=str,
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        estimand(**options)


def test_a_covariate_of_a_limit_is_known_before_allocation(tmp_path: Any) -> None:
    from simtrial.errors import ScenarioError

    for name in ("sessions", "engagement", "nobody"):
        text = (
            '[[estimands]]\nname = "pp"\nkind = "per-protocol"\nkeep = "arm == 0"\n' + f'adjust = ["{name}"]\n\n[run]\n'
        )
        with pytest.raises(ScenarioError, match=f"'{name}'"):
            load(written(tmp_path, SMALL.replace("[run]\n", text)))


# --- what a method that names no estimand is judged against ---

ESTIMANDS = """
[[estimands]]
name = "cace, practices alike"
kind = "cace"
received = "sessions >= 6"
unit = "cluster"

[[estimands]]
name = "cace by share"
kind = "cace"
received = "sessions>=6"
unit = "cluster"
weights = "complier-share"

[[estimands]]
name = "goals"
kind = "cace"
received = "goal_sessions >= 4"

[[estimands]]
name = "kept"
kind = "per-protocol"
keep = "arm == 0 or sessions >= 6"

[[estimands]]
name = "kept, adjusted"
kind = "per-protocol"
keep = "arm == 0 or (sessions >= 6)"
adjust = ["mansa_baseline"]

[[estimands]]
name = "taken"
kind = "as-treated"
received = "sessions>=6"

[[estimands]]
name = "taken, adjusted"
kind = "as-treated"
received = "sessions >= 6"
adjust = ["mansa_baseline"]

[[methods]]
name = "asked"
"""
IV = 'kind = "iv"\nreceived = "sessions >= 6"\n'
KEPT = 'kind = "per-protocol"\nanalysis = { kind = "lmm" }\nkeep = "arm == 0 or sessions >= 6"\n'
TAKEN = 'kind = "as-treated"\nanalysis = { kind = "lmm" }\nreceived = "sessions >= 6"\n'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ('kind = "lmm"\n', "itt"),
        (IV, "cace"),
        (IV + 'level_of_analysis = "cluster"\n', "cace by share"),
        (IV + 'level_of_analysis = "cluster"\nweights = "size"\n', "cace"),
        (IV + 'level_of_analysis = "cluster"\nweights = "inverse-variance"\n', "cace"),  # the first of this receipt
        (IV + 'ratio = "lmm"\n', "cace"),  # the first of this receipt
        ('kind = "iv"\nreceived = "goal_sessions >= 4"\n', "goals"),
        ('kind = "iv"\nreceived = "goal_sessions >= 4"\nlevel_of_analysis = "cluster"\n', "goals"),
        ('kind = "iv"\nreceived = "sessions >= 1"\n', "itt"),  # nothing of the kind: the first
        (f'kind = "mi"\nm = 2\nanalysis = {{ {IV.strip().replace(chr(10), ", ")} }}\n', "cace"),
        (KEPT, "kept"),
        (KEPT + 'adjust = ["mansa_baseline"]\n', "kept, adjusted"),
        (KEPT.replace("6", "7"), "itt"),
        (TAKEN, "taken"),
        (TAKEN + 'adjust = ["mansa_baseline"]\n', "taken, adjusted"),
        (TAKEN.replace("6", "7"), "itt"),
        ('kind = "icc"\n', None),
    ],
)
def test_a_method_is_judged_against_what_it_tends_to(tmp_path: Any, options: str, expected: str | None) -> None:
    adjust = "" if "adjust" in options else "adjust = []\n"
    scenario, _ = load(written(tmp_path, SMALL.replace("[run]\n", f"{ESTIMANDS}{options}{adjust}\n[run]\n")))
    assert targets(scenario.methods[-1], scenario) == ([] if expected is None else [expected])


def test_another_outcome_is_not_judged_against_the_effect_on_this_one(tmp_path: Any) -> None:
    text = SMALL.replace(
        '[[estimands]]\nname = "itt"\nkind = "itt"\n', '[[estimands]]\nname = "itt"\nkind = "itt"\nresponse = "mansa"\n'
    )
    scenario, _ = load(written(tmp_path, text))
    other = scenario.methods[0].model_copy(update={"response": "tus", "estimand": None})
    assert targets(other, scenario) == []
