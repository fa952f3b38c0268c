"""Trials in which missing outcomes leave nothing to go by: every method for them ends in a status, not in a number."""

import numpy as np
import pytest
from reference import method
from test_ipw import lossy
from trials import batch, fit

from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES
from simtrial.flags import text

OUTCOME = "mansa_followup"
OLS = {"kind": "ols"}
MI = {"m": 3, "analysis": OLS}
METHODS = {
    "ipw": ("ipw", {"auxiliary": ["age"]}),
    "ipw by arm": ("ipw", {"by_arm": True}),
    "aipw": ("aipw", {"auxiliary": ["age"]}),
    "aipw by arm": ("aipw", {"by_arm": True, "average": "cluster"}),
    **{f"mi {name}": ("mi", {**MI, "imputation": name}) for name in sorted(IMPUTATION_ENGINES.all())},
    "mi by arm": ("mi", {**MI, "by_arm": True}),
    "mi as if in control": ("mi", {**MI, "reference": "control"}),
    "mi as if in control, alone": ("mi", {**MI, "reference": "control", "by_arm": True}),
    "mi tipping": ("mi", {**MI, "tipping": "intervention"}),
    "mi joint": ("mi", {**MI, "interaction": "place"}),
    "mi of means": ("mi", {**MI, "analysis": {"kind": "cluster-means"}}),
}
EMPTY = {
    "nobody observed": lambda d: np.full(len(d["arm"]), np.nan),
    "nobody observed in control": lambda d: np.where(d["arm"] == 0, np.nan, d[OUTCOME]),
    "nobody observed in intervention": lambda d: np.where(d["arm"] == 1, np.nan, d[OUTCOME]),
    "the same outcome for everyone observed": lambda d: np.where(np.isnan(d[OUTCOME]), np.nan, 4.2),
    "one person observed": lambda d: np.where(np.arange(len(d["arm"])) == 5, 4.2, np.nan),
}


def trial(seed):
    data = lossy(seed, practices=18)
    return {**data, "place": np.array(["East", "North", "South"])[(data["practice"] // 2) % 3]}


def sound(seed):
    """Return a trial with somebody observed in every practice."""
    data = trial(seed)
    first = np.concatenate([[True], np.diff(data["practice"]) != 0])
    return {**data, OUTCOME: np.where(first & np.isnan(data[OUTCOME]), 4.0, data[OUTCOME])}


def analysed(name, *trials):
    kind, options = METHODS[name]
    together = {key: np.concatenate([one[key] for one in trials]) for key in trials[0]}
    together["trial"] = np.repeat(np.arange(len(trials)), [len(one["arm"]) for one in trials])
    return fit(batch(together), method(kind, **{"adjust": ["mansa_baseline"], **options}))


@pytest.mark.parametrize("case", EMPTY)
@pytest.mark.parametrize("name", METHODS)
def test_nothing_to_go_by_is_a_status_and_never_a_number(name, case):
    odd = trial(2)
    found = analysed(name, sound(1), {**odd, OUTCOME: EMPTY[case](odd)})
    assert not found.failed[0], text(int(found.flags[0]))
    if (name, case) == ("mi baseline", "the same outcome for everyone observed"):
        assert found.std_error[0, 1] > 0  # baselines carried forward vary: a known mistake, and not degenerate
        return
    assert found.failed[1]
    assert text(int(found.flags[1]))
    for number in ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value"):
        assert np.isnan(getattr(found, number)[:, 1]).all(), number
    for extra, values in found.extras.items():
        assert np.isnan(values[1]) or extra == "n_unknown", extra
    if name.startswith("mi"):
        assert str(found.notes["message"][1])


@pytest.mark.parametrize("name", METHODS)
def test_one_observed_person_in_every_practice_is_a_valid_fit_or_said(name):
    odd = trial(2)
    first = np.concatenate([[True], np.diff(odd["practice"]) != 0])
    found = analysed(name, sound(1), {**odd, OUTCOME: np.where(first, odd[OUTCOME], np.nan)})
    assert not found.failed[0]
    if found.failed[1]:
        assert text(int(found.flags[1]))
    elif name.startswith("mi") and name not in ("mi single-level", "mi mean", "mi baseline"):
        assert "tau2_not_identified" in text(int(found.flags[1]))  # only the prior tells the two variances apart
    else:
        assert found.std_error[0, 1] > 0
