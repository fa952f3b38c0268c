"""Imputation around analyses of receipt: against the same analyses of the complete data of the same trials.

Differences are taken within trials, so their Monte Carlo errors are small. Thresholds are 4 standard errors of a mean
of 1,000 independent differences: a false alarm in 16,000 (one-sided: 32,000) each; six are made, with fixed seeds.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from reference import method

from simtrial.generate import simulate
from simtrial.moments.build import moments
from simtrial.scenario import load

pytestmark = pytest.mark.verify
Z, BLOCKS, BLOCK = 4.0, 4, 250
IV = {"kind": "iv", "received": "sessions >= 6"}
PER_PROTOCOL = {"kind": "per-protocol", "keep": "arm == 0 or sessions >= 6", "analysis": {"kind": "lmm"}}
# an effect of one point among those with six sessions, and 30% without an outcome
COMMON = ("outcomes.mansa.effect=1.0", "dropout.rate=0.3", "dropout.engagement_correlation=0.0")
LEAVE = "dropout.sessions_slope=-1.5"  # those with fewer sessions, or more, leave
ENGAGED = "outcomes.mansa.engagement_correlation=0.5"  # and those who come have better outcomes anyway


@cache
def trials(*settings):
    """Blocks of trials, as observed and with every outcome."""
    scenario, _ = load("partners", [f"mechanism.{text}" for text in (*COMMON, *settings)])
    found = []
    for block in range(BLOCKS):
        drawn = simulate(scenario.mechanism, BLOCK, 7, "", block)
        shown = {name: replace(column, hides=()) for name, column in drawn.columns.items()}
        found.append((drawn.observed(), replace(drawn, columns=shown).observed()))
    return found


def estimates(options, settings, complete=False):
    """Estimates, one per trial, every trial fitted."""
    made, out = method(adjust=["mansa_baseline"], **options), []
    for block, pair in enumerate(trials(*settings)):
        observed = pair[complete]
        rng = np.random.default_rng(block) if made.draws else None
        found = made.fit(observed, moments(observed, made.spec()), rng)
        assert not found.failed.any()
        out.append(found.estimate[0])
    return np.concatenate(out)


def imputed(analysis, **options):
    return {"kind": "mi", "analysis": analysis, **options}


def apart(values):
    """Mean of differences and its standard error."""
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def test_imputation_removes_what_dropout_by_sessions_does_to_iv():
    settings = (LEAVE, ENGAGED)
    complete = estimates(IV, settings, complete=True)
    observed = estimates(IV, settings) - complete
    assert apart(observed)[0] > 0.1  # there is something to remove
    for options, share in (({}, 0.6), ({"auxiliary": ["sessions"]}, 0.3)):
        left = estimates(imputed(IV, **options), settings) - complete
        # the bias left is below that share of the bias without imputation, by Z standard errors of both
        assert abs(left.mean()) + Z * apart(left - share * observed)[1] < share * observed.mean()


def test_imputation_adds_no_bias_where_receipt_explains_everything():
    complete = estimates(IV, (LEAVE,), complete=True)
    for analysis in (IV, {**IV, "level_of_analysis": "cluster"}):
        whole = complete if analysis is IV else estimates(analysis, (LEAVE,), complete=True)
        mean, error = apart(estimates(imputed(analysis), (LEAVE,)) - whole)
        assert abs(mean) < Z * error


@pytest.mark.parametrize("options", [{}, {"auxiliary": ["sessions"]}], ids=str)
def test_per_protocol_has_its_own_limit_when_outcomes_are_missing_at_random(options):
    complete = estimates(PER_PROTOCOL, (), complete=True)
    mean, error = apart(estimates(imputed(PER_PROTOCOL, **options), ()) - complete)
    assert abs(mean) < Z * error
    assert error < 0.005
