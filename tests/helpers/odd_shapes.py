"""Trials of shapes that leave a model little to go by, and what a method owes them: a status with its cause."""

import numpy as np
import pytest
from reference import method
from trials import batch, fit

from simtrial.flags import text

SHAPES = ("one practice an arm", "one person a practice", "nobody", "collinear")


def oddly_shaped(data, adjust, shape):
    """A trial in one of these shapes, and its covariates."""
    if shape == "one practice an arm":
        data = {name: values[data["practice"] < 2] for name, values in data.items()}
        return {**data, "arm": data["practice"] % 2.0}, adjust
    if shape == "one person a practice":
        first = np.unique(data["practice"], return_index=True)[1]
        return {name: values[first] for name, values in data.items()}, adjust
    if shape == "nobody":
        return {**data, "mansa_followup": np.full(len(data["arm"]), np.nan)}, adjust
    assert shape == "collinear"
    return {**data, "other": 1 - data["arm"]}, [*adjust, "other"]


def assert_a_status_spoils_no_other(kind, good, odd, flag, **options):
    """A trial that cannot be analysed says why, and another one beside it has the numbers that it has alone."""
    together = {name: np.concatenate([good[name], odd[name]]) for name in good}
    together["trial"] = np.repeat([0, 1], [len(good["arm"]), len(odd["arm"])])
    found, alone = fit(batch(together), method(kind, **options)), fit(batch(good), method(kind, **options))
    assert found.failed.tolist() == [False, True]
    assert flag in text(int(found.flags[1])).split(";")
    assert np.isnan(found.estimate[:, 1]).all()
    assert found.estimate[0, 0] == pytest.approx(alone.estimate[0, 0], rel=1e-12)
    assert found.std_error[0, 0] == pytest.approx(alone.std_error[0, 0], rel=1e-12)
