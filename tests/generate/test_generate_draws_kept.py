"""With default options allocation and delivery draw, bit for bit, what their first formulas drew."""

import numpy as np
import pytest
from scipy.special import ndtr
from simulated import draw, drawn_by, mechanism, partners, published

from simtrial.generate.distributions.tables import beta_quantiles, invert, truncated_negative_binomial


@pytest.mark.parametrize("number", [12, 39])
def test_coins_are_one_per_practice_in_order_of_recruitment(number: int) -> None:
    batch = draw({"practices": {"number": number}}, trials=50)
    found = {}
    for method in ("simple", "complete", "minimisation"):
        step = mechanism({"allocation": {**published()["allocation"], "method": method}})["allocation"]
        found[method] = drawn_by(step, batch, seed=4)["arm"].reshape(50, number)
    rng = np.random.default_rng(4)
    coins, last = rng.random((50, number)), rng.random(50)
    assert np.array_equal(found["simple"], coins < 0.5)
    rank = np.argsort(np.argsort(coins, axis=1), axis=1)
    assert np.array_equal(found["complete"], rank < (number // 2 + (number % 2) * (last < 0.5))[:, None])
    levels = [batch.at(f, "practice").reshape(50, number) for f in ("region", "practice_size")]
    assert np.array_equal(found["minimisation"], minimised(levels, coins, 0.8))


def minimised(levels: list[np.ndarray], coins: np.ndarray, best: float) -> np.ndarray:
    """Range imbalance added over factors, one coin each, trials of equal size."""
    excess, arm, rows = np.zeros((len(levels), len(coins), 4), dtype=int), np.zeros(coins.shape, dtype=int), range(50)
    for k in range(coins.shape[1]):
        score = sum(np.abs(excess[f, rows, x[:, k]] + 1) - np.abs(excess[f, rows, x[:, k]] - 1)
                    for f, x in enumerate(levels))  # fmt: skip
        arm[:, k] = coins[:, k] < np.where(score < 0, best, np.where(score > 0, 1.0 - best, 0.5))
        for f, x in enumerate(levels):
            excess[f, rows, x[:, k]] += 2 * arm[:, k] - 1
    return arm


def test_availability_engagement_sessions_and_goals_come_first() -> None:
    batch, step, rng = draw(trials=50), partners()["delivery"], np.random.default_rng(4)
    found = drawn_by(step, batch, seed=4)
    options, practice = published()["delivery"], batch.index.participant_practice
    z, engagement = rng.standard_normal(batch.index.practices), rng.standard_normal(batch.index.participants)
    uniform = ndtr(0.3 * z[practice] + np.sqrt(1.0 - 0.3 * 0.3) * engagement)
    table = truncated_negative_binomial(options["sessions_mu"], options["sessions_shape"])
    attended = np.clip((uniform - 0.09) / (1.0 - 0.09), 0.0, 1.0)
    sessions = np.where(uniform < 0.09, 0.0, invert(table, attended))
    goals = rng.binomial(sessions.astype(np.int64), options["goal_share"])
    assert np.array_equal(found["availability_offered"], np.interp(z, *beta_quantiles(5.0, 1.3)))
    assert np.array_equal(found["engagement"], engagement)
    assert np.array_equal(found["sessions_offered"], sessions)
    assert np.array_equal(found["goal_sessions_offered"], goals)
    assert np.array_equal(found["sessions"], sessions * batch.at("arm"))
