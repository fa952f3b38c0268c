"""Coefficients that no observed outcome tells: by arm the trial fails, in one model for both arms it is flagged."""

import numpy as np
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.flags import text


def lacking(lost):
    """A trial with a covariate that is 1 for few people of the intervention arm, whose outcomes are lost or not."""
    data = ragged(6, practices=16)
    rng = np.random.default_rng(2)
    people = len(data["arm"])
    data["rare"] = np.where(data["arm"] == 1, rng.random(people) < 0.15, rng.random(people) < 0.4).astype(float)
    gone = rng.random(people) < 0.15
    told = (data["arm"] == 1) & (data["rare"] == 1)
    data["mansa_followup"] = np.where(gone & ~told | (told & lost), np.nan, data["mansa_followup"])
    return batch(data)


@pytest.mark.parametrize("imputation", ["random-intercept", "single-level", "pmm"])
def test_a_product_that_no_outcome_tells_is_flagged(imputation):
    given = {"adjust": ["mansa_baseline", "rare"], "m": 3, "imputation": imputation}
    given["analysis"] = {"kind": "g-computation", "by_arm": True}
    told, untold = (fit(lacking(lost), method("mi", **given)) for lost in (False, True))
    assert not told.failed[0]
    assert "aliased" not in text(int(told.flags[0]))
    assert not untold.failed[0]
    assert "aliased" in text(int(untold.flags[0])).split(";")
    by_arm = fit(lacking(True), method("mi", **given, by_arm=True))
    assert by_arm.failed[0]
    assert "do not tell the effect of 'rare'" in by_arm.notes["message"][0]


def test_a_square_that_no_outcome_tells_is_flagged():
    """Observed people have two values of the covariate, those who are lost a third: its square is another line."""
    data = ragged(7, practices=16)
    rng = np.random.default_rng(3)
    data["level"] = rng.integers(0, 3, len(data["arm"])).astype(float)
    data["level_squared"] = data["level"] ** 2
    options = {"adjust": ["mansa_baseline", "level", "level_squared"], "analysis": {"kind": "ols"}, "m": 3}
    for without, flagged in ((data["level"] == 2, True), (rng.random(len(data["arm"])) < 0.3, False)):
        lost = {**data, "mansa_followup": np.where(without, np.nan, data["mansa_followup"])}
        found = fit(batch(lost), method("mi", **options))
        assert ("aliased" in text(int(found.flags[0])).split(";")) == flagged
        assert not found.failed[0]
