"""MANSA at baseline by plain loops, person by person, from the same draws."""

import math

import numpy as np
import pytest
from plain_loops import before, compare, location, recorded, rows, shaped, spread_of_ratings
from simulated import drawn_by


def scores_of(o, batch, rng):
    """Practice effects in SDs, and everybody's score before it is recorded: mean + b_j + e_ij."""
    z_practice, z_person = rng.standard_normal(batch.index.practices), rng.standard_normal(batch.index.participants)
    noise = o.item_deviation_sd**2 / o.items if o.form == "items" else 0.0  # what ratings add within practices
    between, within = math.sqrt(o.icc) * o.sd, math.sqrt((1 - o.icc) * o.sd**2 - noise)
    standard = [shaped(z, o.practice_effects, o.practice_df, o.practice_skewness) for z in z_practice]
    scores = []
    for i, p in enumerate(rows(batch)):
        e = shaped(z_person[i], o.residuals, o.residual_df, o.residual_skewness)
        scores.append(o.mean + between * standard[p["j"]] + within * e)
    latent = {"baseline_practice_effect": [between * b for b in standard]}
    return scores, latent | ({"baseline_practice_score": standard} if o.icc else {})


def baseline(o, batch, rng):
    scores, latent = scores_of(o, batch, rng)
    return {**latent, "mansa_baseline": [recorded(x, o.items, o.lowest, o.highest) for x in scores]}


OPTIONS = {
    "published": {},
    "continuous": {"items": 0, "icc": 0.3},
    "no practice effects": {"icc": 0.0, "mean": 2.0, "sd": 1.5},
    "t": {"residuals": "t", "residual_df": 2.5, "practice_effects": "skewed", "practice_skewness": 1.5, "items": 0},
    "skewed": {"residuals": "skewed", "residual_skewness": -0.8, "practice_effects": "t", "items": 0},
    "other scale": {"items": 3, "lowest": 0.0, "highest": 10.0, "mean": 6.0, "sd": 2.5},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_person_after_the_other(options) -> None:
    compare(baseline, "baseline", {"baseline": options})


CLOSE = 2e-3
"""As in the twin of MANSA at follow-up: nearer than this to a half a rating may round to either side."""


@pytest.mark.parametrize(("missing", "needed"), [(0.0, 1), (0.15, 9)])
def test_ratings_item_by_item(missing, needed) -> None:
    """People are left out who have a rating within CLOSE of a half: 11 ratings, 2 CLOSE wide: about 1 in 25."""
    options = {"form": "items", "item_missing": missing, "items_needed": needed, "residuals": "t"}
    mechanism, batch = before("baseline", {"baseline": options})
    o = mechanism["baseline"]
    ours = drawn_by(o, batch, seed=8)
    rng = np.random.default_rng(8)
    scores, _ = scores_of(o, batch, rng)
    z = rng.standard_normal((len(scores), 11))
    answered = rng.random(z.shape) >= missing if missing else np.ones(z.shape, dtype=bool)
    spread = spread_of_ratings(1.34, 1.0, 7.0, o.mean, math.sqrt(o.sd**2 - 1.34**2 / 11))
    compared = 0
    for i, score in enumerate(scores):
        at = [location(score, spread, 1.0, 7.0) + spread * each for each in z[i]]
        if any(abs(abs(x - math.floor(x)) - 0.5) < CLOSE for x in at):
            continue
        compared += 1
        ratings = [min(max(round(x), 1), 7) for x in at]
        told = [r for r, there in zip(ratings, answered[i], strict=True) if there]
        enough = len(told) >= needed
        expected = sum(told) / len(told) if enough else sum(ratings) / 11
        assert math.isclose(ours["mansa_baseline"][i], expected, abs_tol=1e-12)
        if missing:
            assert (ours["mansa_items_baseline"][i], ours["mansa_scored_baseline"][i]) == (len(told), enough)
    assert compared > 0.9 * len(scores)
    assert set(ours) - {"mansa_items_baseline", "mansa_scored_baseline"} == {
        "mansa_baseline", "baseline_practice_effect", "baseline_practice_score",
    }  # fmt: skip
