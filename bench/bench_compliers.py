"""What complier effects cost, by turns in one run: two-stage least squares beside least squares, and the mixture.

Each turn times a block of 250 PARTNERS-like trials by least squares with CR2 and its df, then by that and two-stage
least squares with the same, then the second alone; the lower quartile over turns of the difference is what 2SLS adds.
CPU time of one thread. Targets are printed beside the figures, not asserted: machines differ.
"""

import statistics
from time import process_time

import pytest

from simtrial.estimators import kinds
from simtrial.generate import simulate
from simtrial.moments.shared import SharedMoments
from simtrial.run.kept_memory import keep_freed_memory
from simtrial.scenario import load

FULL = ["mansa_baseline", "region", "practice_size"]
BLOCK, TURNS, ROUNDS = 250, 15, 6
RECEIVED = {"received": "sessions >= 6"}


def method(kind, **options):
    return kinds()[kind].model_validate({"name": kind, "response": "mansa", "adjust": FULL, **options})


@pytest.fixture(scope="module")
def observed():
    keep_freed_memory()  # as in a run
    return simulate(load("partners")[0].mechanism, BLOCK, 1, "", 0).observed()


def microseconds(observed, chosen, rounds=ROUNDS):
    """CPU time per trial of some methods on shared moments."""
    begun = process_time()
    for _ in range(rounds):
        shared = SharedMoments(observed)
        for one in chosen:
            one.fit(observed, shared.moments(one.spec()), None)
    return (process_time() - begun) / (rounds * BLOCK) * 1e6


def test_what_2sls_adds_to_least_squares(observed):
    ols, iv = method("ols"), method("iv", **RECEIVED)
    microseconds(observed, [ols, iv])
    turns = [[microseconds(observed, chosen) for chosen in ([ols], [ols, iv], [iv])] for _ in range(TURNS)]
    alone, both, only = (statistics.quantiles(times)[0] for times in zip(*turns, strict=True))
    added = sorted(b - a for a, b, _ in turns)
    print(
        f"\nOLS CR2 {alone:.1f} us, with 2SLS {both:.1f}, 2SLS alone {only:.1f}; 2SLS adds "
        f"{statistics.median(added):.1f} ({added[0]:.1f} to {added[-1]:.1f}) us per trial; wanted: 15 at most"
    )


@pytest.mark.parametrize(
    ("kind", "options", "wanted"),
    [
        ("cace-mixture", {"adjust": ["mansa_baseline"]}, 20),
        ("cace-mixture", {}, 20),
        ("principal-score", {}, None),
        ("ipw-per-protocol", {"keep": "arm == 0 or sessions >= 6"}, None),
        ("iv", {"ci": "wild-bootstrap"}, None),
        ("iv", {"ci": "randomisation", "allocation": {"method": "minimisation", "factors": FULL[1:]}}, None),
    ],
    ids=str,
)
def test_others(observed, kind, options, wanted):
    chosen = method(kind, **({} if "keep" in options else RECEIVED), **options)
    times = sorted(microseconds(observed, [chosen], rounds=1) / 1000 for _ in range(3))
    target = f"; wanted: {wanted} at most" if wanted else ""
    print(f"\n{kind} {options}: {times[1]:.2f} ({times[0]:.2f} to {times[2]:.2f}) ms per trial{target}")
