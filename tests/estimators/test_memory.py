"""Memory of every kind of method for one block: what is allocated at the peak, as numpy reports it."""

import tracemalloc

import pytest

from simtrial.estimators import kinds
from simtrial.generate import simulate
from simtrial.moments.build import moments
from simtrial.scenario import load
from simtrial.seeding import stream

TRIALS, LIMIT = 250, 500e6
OPTIONS = {
    "as-treated": {"received": "sessions >= 6", "analysis": {"kind": "lmm"}},
    "principal-score": {"received": "sessions >= 6"},
    "cace-mixture": {"received": "sessions >= 6"},
    "ipw-per-protocol": {"keep": "arm == 0 or sessions >= 6"},
    "iv": {"received": "sessions >= 6"},
    "mi": {"analysis": {"kind": "lmm"}, "auxiliary": ["sessions"], "m": 3},
    "per-protocol": {"keep": "in_window == 1", "analysis": {"kind": "lmm"}},
    "g-computation": {"model": "lmm"},
}


@pytest.fixture(scope="module")
def partners():
    return load("partners")[0]


@pytest.fixture(scope="module")
def observed(partners):
    return simulate(partners.mechanism, TRIALS, 1, "", 0).observed()


@pytest.mark.parametrize("kind", sorted(k for k, m in kinds().items() if m.__module__.startswith("simtrial.")))
def test_a_block_of_250_trials_stays_below_500_megabytes(partners, observed, kind):
    own = {"allocation": partners.raw["mechanism"]["allocation"]} if kind == "randomisation-test" else {}
    options = {
        "name": kind,
        "response": "mansa",
        **own,
        "adjust": ["mansa_baseline", "region", "practice_size"],
        **OPTIONS.get(kind, {}),
    }
    method = kinds()[kind].model_validate(options)
    tracemalloc.start()
    try:
        found = method.fit(observed, moments(observed, method.spec()), stream(1, "", 0, kind))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not found.failed.all()
    assert peak < LIMIT
