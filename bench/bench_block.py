"""Cost of a block of 250 PARTNERS-like trials: drawing it, reducing it, and each method on shared moments."""

import numpy as np
import pytest

from simtrial.estimators import kinds
from simtrial.generate import simulate
from simtrial.moments.build import moments
from simtrial.scenario import load
from simtrial.seeding import stream

FULL = ["mansa_baseline", "region", "practice_size"]
METHODS = {
    "lmm, between-within": {"kind": "lmm"},
    "lmm, tau2 unconstrained": {"kind": "lmm", "tau2": "unconstrained"},
    "lmm, variances by arm": {"kind": "lmm", "df": "satterthwaite", "heteroscedastic": "both"},
    "lmm, kenward-roger": {"kind": "lmm", "df": "kenward-roger"},
    "lmm, arm by region": {"kind": "lmm", "interaction": "region"},
    "ols, CR2": {"kind": "ols"},
    "ols, arm by region": {"kind": "ols", "interaction": "region"},
    "cluster means, two-stage": {"kind": "cluster-means"},
    "cluster means, ancova": {"kind": "cluster-means", "adjustment": "ancova", "weights": "inverse-variance"},
    "gee, kauermann-carroll": {"kind": "gee"},
    "icc": {"kind": "icc"},
    "iv, CR2": {"kind": "iv", "received": "sessions >= 6"},
    "iv, wild bootstrap": {"kind": "iv", "received": "sessions >= 6", "ci": "wild-bootstrap"},
    "ipw-per-protocol": {"kind": "ipw-per-protocol", "keep": "arm == 0 or sessions >= 6"},
    "cace-mixture": {"kind": "cace-mixture", "received": "sessions >= 6"},
    "principal-score": {"kind": "principal-score", "received": "sessions >= 6"},
    "clda": {"kind": "clda"},
    "g-computation": {"kind": "g-computation"},
    "g-computation, mixed model": {"kind": "g-computation", "model": "lmm"},
    "mi, 20 mixed models": {"kind": "mi", "analysis": {"kind": "lmm", "response": "mansa"}, "auxiliary": ["sessions"]},
    "randomisation test, 999 re-allocations": {
        "kind": "randomisation-test",
        "allocation": {"method": "minimisation", "factors": ["region", "practice_size"]},
    },
    "wild bootstrap, 999 samples": {"kind": "wild-bootstrap"},
}


@pytest.fixture(scope="module")
def scenario():
    return load("partners")[0]


@pytest.fixture(scope="module")
def observed(scenario):
    return simulate(scenario.mechanism, 250, 1, "", 0).observed()


def test_reference(benchmark):
    """What other times are divided by (compare.py): plain numpy on arrays of this size, no code of this project."""
    rng = np.random.default_rng(1)
    people, practices, columns = 250 * 170, 250 * 39, 8
    rows, where = rng.normal(size=(people, columns)), np.sort(rng.integers(practices, size=people))

    def work():
        starts = np.searchsorted(where, np.arange(practices))
        sums = np.add.reduceat(rows, np.minimum(starts, people - 1), axis=0)
        inner = np.einsum("np,nq->npq", sums, sums).reshape(250, 39, columns, columns).sum(axis=1)
        return np.linalg.solve(inner + np.eye(columns), np.ones((250, columns, 1))).sum() + np.exp(-rows).sum()

    assert np.isfinite(benchmark(work))


def test_simulate(benchmark, scenario):
    benchmark.extra_info["trials"] = 250
    batch = benchmark(simulate, scenario.mechanism, 250, 1, "", 0)
    assert batch.index.trials == 250


@pytest.mark.parametrize("name", METHODS)
def test_method(benchmark, observed, name):
    """A method from observed data: nothing is shared between rounds."""
    options = METHODS[name]
    method = kinds()[options["kind"]].model_validate({"name": name, "response": "mansa", "adjust": FULL, **options})
    benchmark.extra_info["trials"] = 250

    def analyse():
        return method.fit(observed, moments(observed, method.spec()), stream(1, "", 0, name))

    estimates = benchmark(analyse)
    assert not estimates.failed.any()
