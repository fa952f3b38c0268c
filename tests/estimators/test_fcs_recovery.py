"""Chained equations where a covariate is missing by what is observed: no bias, right coverage, unlike complete cases.

Two-sided 4 Monte Carlo standard errors: a false alarm in 16,000 each; seeds are fixed.
"""

import numpy as np
import pytest
from reference import method

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.moments.build import moments

pytestmark = pytest.mark.verify
TRIALS, PRACTICES, PEOPLE, Z = 600, 40, 10, 4.0
EFFECT = 0.5


def trials(kind):
    """Trials whose covariate is missing more often in people of the intervention arm with high outcomes."""
    rng = np.random.default_rng(11)
    index = Index(TRIALS, np.repeat(np.arange(TRIALS), PRACTICES), np.repeat(np.arange(TRIALS * PRACTICES), PEOPLE))
    arm = np.tile(np.arange(PRACTICES) % 2.0, TRIALS)
    people, practice = index.participants, index.participant_practice
    u, v = (rng.normal(0, sd, index.practices)[practice] for sd in (0.3, 0.3))
    x = v + rng.normal(size=people)
    seen = (x > 0.2).astype(float) if kind == "category" else x
    y = EFFECT * arm[practice] + 0.7 * seen + u + rng.normal(size=people)
    gone = rng.random(people) < np.where((y > 0.6) & (arm[practice] == 1), 0.6, 0.1)
    if kind == "category":
        covariate = Column(np.where(gone, -1, seen.astype(int)), "participant", ("no", "yes"))
    else:
        covariate = Column(np.where(gone, np.nan, x), "participant")
    return ObservedBatch(index, {
        "arm": Column(arm, "practice"), "x": covariate, "mansa_followup": Column(y, "participant")
    })  # fmt: skip


def estimates(observed, **options):
    made = method("mi", analysis={"kind": "lmm"}, adjust=["x"], m=10, **options)
    return made.fit(observed, moments(observed, made.spec()), np.random.default_rng(3))


@pytest.mark.parametrize("kind", ["number", "category"])
def test_a_covariate_that_is_missing_by_the_outcome_biases_complete_cases_and_not_chained_equations(kind):
    observed = trials(kind)
    complete, chained = estimates(observed), estimates(observed, imputation="fcs")
    assert not chained.failed.any()
    bias = {name: found.estimate[0] - EFFECT for name, found in (("complete", complete), ("fcs", chained))}
    error = {name: values.std(ddof=1) / np.sqrt(TRIALS) for name, values in bias.items()}
    assert bias["complete"].mean() < -2 * Z * error["complete"]
    assert abs(bias["fcs"].mean()) < Z * error["fcs"]
    covered = ((chained.ci_lower[0] <= EFFECT) & (chained.ci_upper[0] >= EFFECT)).mean()
    assert covered > 0.95 - Z * np.sqrt(0.95 * 0.05 / TRIALS)
    ratio = np.sqrt((chained.std_error[0] ** 2).mean()) / bias["fcs"].std(ddof=1)
    assert abs(ratio - 1) < Z / np.sqrt(2 * TRIALS) + 0.05  # the prior of the ICC widens a little
