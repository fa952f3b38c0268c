"""Trials in which receipt says little or nothing: every kind ends in numbers, or in a status with its cause."""

import numpy as np
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.estimators import FATAL
from simtrial.flags import text

RECEIVED = {"received": "received == 1"}
LMM = {"kind": "lmm"}
KINDS = {
    "iv": ("iv", RECEIVED),
    "iv classical": ("iv", {**RECEIVED, "se": "classical"}),
    **{f"iv {ci}": ("iv", {**RECEIVED, "ci": ci}) for ci in ("anderson-rubin", "fieller", "tf")},
    "iv randomisation": (
        "iv",
        {**RECEIVED, "ci": "randomisation", "draws": 99, "allocation": {"method": "complete"}},
    ),
    "iv wild-bootstrap": ("iv", {**RECEIVED, "ci": "wild-bootstrap", "draws": 99, "distribution": "webb"}),
    "iv of means": ("iv", {**RECEIVED, "level_of_analysis": "cluster"}),
    "iv of means, weighted": ("iv", {**RECEIVED, "level_of_analysis": "cluster", "weights": "inverse-variance"}),
    "iv of lmm": ("iv", {**RECEIVED, "ratio": "lmm"}),
    "iv of lmm, fieller": ("iv", {**RECEIVED, "ratio": "lmm", "ci": "fieller"}),
    "mi": ("mi", {"m": 3, "analysis": {"kind": "iv", **RECEIVED}}),
    "mi of effects": ("mi", {"m": 3, "pooled": "effects", "analysis": {"kind": "iv", **RECEIVED, "ci": "fieller"}}),
    "mi of effects, lmm": ("mi", {"m": 3, "pooled": "effects", "analysis": {"kind": "iv", **RECEIVED, "ratio": "lmm"}}),
    "cace-mixture": ("cace-mixture", RECEIVED),
    "cace-mixture without exclusion": ("cace-mixture", {**RECEIVED, "exclusion": False}),
    "principal-score": ("principal-score", RECEIVED),
    "per-protocol": ("per-protocol", {"keep": "arm == 0 or received == 1", "analysis": LMM}),
    "ipw-per-protocol": ("ipw-per-protocol", {"keep": "arm == 0 or received == 1"}),
    "as-treated": ("as-treated", {**RECEIVED, "analysis": LMM}),
}
NO_FIRST_STAGE, ONE, CROSSED = {"no_first_stage"}, {"one_stratum"}, {"receipt_in_control"}
MIXED = {"cace-mixture", "cace-mixture without exclusion", "principal-score"}


def degenerate():
    """Name, receipt in a trial of ragged practices, and the causes that must be named, by kind."""
    data = ragged(3, practices=12)
    arm, n, practice = data["arm"], len(data["arm"]), data["practice"]
    rng = np.random.default_rng(3)
    first = practice == practice[arm == 1][0]
    iv = [name for name in KINDS if name.startswith(("iv", "mi"))]
    yield "nobody", data, np.zeros(n), {
        **dict.fromkeys(iv, NO_FIRST_STAGE), **dict.fromkeys(MIXED, ONE), "per-protocol": {"one_arm"},
        "ipw-per-protocol": {"one_arm"},
        "as-treated": {"same_receipt"},
    }  # fmt: skip
    yield "everybody", data, arm, dict.fromkeys(MIXED, ONE)
    yield "everybody in both arms", data, np.ones(n), {
        **dict.fromkeys(iv, NO_FIRST_STAGE), **dict.fromkeys(MIXED, CROSSED), "as-treated": {"same_receipt"},
    }  # fmt: skip
    yield "one person", data, (np.arange(n) == np.flatnonzero(arm == 1)[0]) * 1.0, {
        "principal-score": {"one_compliant_practice"},
    }  # fmt: skip
    yield "one practice", data, arm * first, {"principal-score": {"one_compliant_practice"}}
    yield "all but one practice", data, arm * ~first, {"principal-score": {"one_compliant_practice"}}
    same = {"practice": np.arange(80) // 4, "arm": (np.arange(80) // 4 % 2).astype(float)}
    same |= {name: rng.normal(size=80) for name in ("mansa_followup", "mansa_baseline", "age")}
    yield "as many in either arm", same, (np.arange(80) % 2).astype(float), {
        **dict.fromkeys(iv, NO_FIRST_STAGE), **dict.fromkeys(MIXED, CROSSED),
    }  # fmt: skip
    yield "unknown throughout", data, np.full(n, np.nan), {name: {"no_data"} for name in KINDS if name.startswith("iv")}


CASES = [
    pytest.param(data, receipt, causes.get(kind, set()), kind, id=f"{name}-{kind}")
    for name, data, receipt, causes in degenerate()
    for kind in KINDS
]


@pytest.mark.parametrize("adjust", [[], ["mansa_baseline"]], ids=str)
@pytest.mark.parametrize(("data", "receipt", "causes", "kind"), CASES)
def test_numbers_or_a_cause(data, receipt, causes, kind, adjust):
    name, options = KINDS[kind]
    if adjust and causes == NO_FIRST_STAGE and np.ptp(receipt[data["arm"] == 0]) > 0:
        pytest.skip("given the baseline the arms differ in receipt")
    found = fit(batch({**data, "received": receipt}), method(name, adjust=adjust, **options))
    said = set(text(int(found.flags[0])).split(";")) - {""}
    if found.failed[0]:
        assert np.isnan(found.estimate).all()
        assert int(found.flags[0]) & FATAL, said
        assert "invalid_result" not in said
        assert "error" not in said
    else:
        assert np.isfinite(found.std_error).all()
        assert np.isfinite(found.estimate).all()
    if causes:
        assert found.failed[0], said
        assert causes & said, said


def test_a_receipt_of_one_practice_is_a_weak_instrument():
    data = ragged(3, practices=12)
    first = data["practice"] == data["practice"][data["arm"] == 1][0]
    found = fit(batch({**data, "received": data["arm"] * first}), method("iv", adjust=[], **RECEIVED))
    assert "weak_instrument" in text(int(found.flags[0]))
    assert found.extras["first_stage_f"][0] < 4
