"""Practices of thousands among practices of dozens: the criterion has minima close to 0, and more than one."""

import pytest

from twins import mixed
from twins.designs import very_unequal
from twins.frame import frame
from twins.product import analysed, made, observed

TRIALS = 60
HIGHER = 1e-8


def above(seeds, estimation, tau2):
    """Trials whose criterion at the product's variances lies above the twin's lowest, and by how much."""
    trials = [very_unequal(seed) for seed in seeds]
    found = analysed(observed(trials), made("lmm", ["x1"], None, {"estimation": estimation, "tau2": tau2}))
    out = {}
    for t, data in enumerate(trials):
        said = mixed.lmm(frame(data, "mansa_followup", ["x1"]), estimation, tau2=tau2)
        if said.spectrum is None:  # two minima as deep as each other, or lowest at the bound of compound symmetry
            assert said.grey
            continue
        own = said.spectrum.value(found.extras["tau2"][t] / found.extras["sigma2"][t])
        if own > said.spectrum.value(said.extras["tau2"] / said.extras["sigma2"]) + HIGHER:
            out[seeds[t]] = float(own - said.spectrum.value(said.extras["tau2"] / said.extras["sigma2"]))
    return out


@pytest.mark.parametrize("tau2", ["nonnegative", "unconstrained"])
@pytest.mark.parametrize("estimation", ["reml", "ml"])
def test_no_fit_lies_above_a_fine_search(estimation, tau2):
    assert above(range(TRIALS), estimation, tau2) == {}


@pytest.mark.verify
@pytest.mark.parametrize(
    ("first", "count"),
    [
        pytest.param(1000, 300, marks=pytest.mark.slow(minutes=3)),
        pytest.param(1300, 2000, marks=[pytest.mark.fuzz, pytest.mark.slow(minutes=15)]),
    ],
)
@pytest.mark.parametrize("estimation", ["reml", "ml"])
def test_no_fit_of_many_lies_above_a_fine_search(estimation, first, count):
    """Half a second each: matrices of the order of the largest practices."""
    higher = {}
    for at in range(first, first + count, 50):
        higher |= above(range(at, at + 50), estimation, "nonnegative")
    assert higher == {}
