"""What completed sets share, the moments of X and its elimination on the grid of gamma, moves no number."""

from types import SimpleNamespace

import numpy as np
import pytest
from cores import needs_compiled
from reference import method
from trials import batch, fit, ragged

from simtrial import core
from simtrial.estimators.imputation import analyses as product
from simtrial.kernels import ratio_survey
from simtrial.kernels.random_intercept_grid import XGrids, grid_parts
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec
from simtrial.moments.shared import SharedMoments

# Sums of the same products in another order, and an elimination of one column alone.
ROUNDING = 1e-12


def lacking(seed=8, trials=6, baseline=False):
    rng, parts = np.random.default_rng(seed), []
    for at in range(trials):
        data = ragged(seed + at, practices=16)
        people = len(data["arm"])
        for name in ("mansa_followup", *(("mansa_baseline",) if baseline else ())):
            data[name] = np.where(rng.random(people) < 0.2, np.nan, data[name])
        parts.append({"trial": np.full(people, at), **data})
    return batch({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


@pytest.mark.parametrize("baseline", [False, True], ids=["outcomes", "baselines too"])
@pytest.mark.parametrize(
    "analysis", [{"kind": "lmm"}, {"kind": "ols"}, {"kind": "gee"}, {"kind": "lmm", "df": "kenward-roger"}], ids=str
)
def test_no_number_depends_on_what_is_shared(analysis, baseline, monkeypatch):
    observed = lacking(baseline=baseline)
    mi = method("mi", analysis=analysis, adjust=["mansa_baseline", "size", "age"], m=6)
    shared = fit(observed, mi)
    monkeypatch.setattr(product, "SharedMoments", lambda completed, before: SharedMoments(completed))
    alone = fit(observed, mi)
    assert np.array_equal(shared.failed, alone.failed)
    made = ~alone.failed
    assert made.sum() >= 5  # `gee` may have no solution
    apart = np.abs(shared.estimate - alone.estimate)[0, made]
    assert (apart < ROUNDING * alone.std_error[0, made]).all()
    assert shared.std_error[0, made] == pytest.approx(alone.std_error[0, made], rel=ROUNDING)
    assert shared.df[0, made] == pytest.approx(alone.df[0, made], rel=1e-9)


def test_x_is_reduced_once_where_outcomes_alone_differ():
    observed = lacking()
    complete = observed.with_columns({"mansa_followup": observed.column("age")})
    spec = Spec("mansa_followup", adjust=("mansa_baseline", "size"))
    first = moments(complete, spec)
    again = complete.with_columns({"mansa_followup": complete.column("list_size")})
    assert moments(again, spec, first).root is first.root
    moved = complete.with_columns({"mansa_baseline": again.column("age")})
    assert moments(moved, spec, first).root is not first.root
    other = Spec("mansa_followup", adjust=("size", "mansa_baseline"))
    assert moments(complete, other, first).root is not first.root


@pytest.fixture
def by_numpy():
    """Parts of X as numpy keeps them; tests/core/test_columns.py has those of the compiled kernel."""
    with core.using("numpy"):
        yield


@pytest.mark.usefixtures("by_numpy")
def test_parts_on_a_grid_are_the_same_from_what_is_known():
    own = moments(lacking(), Spec("mansa_followup", adjust=("mansa_baseline", "size", "age"))).size_sums()
    grid, known = np.array([0.0, 0.01, 0.3, 4.0, 1e6]), XGrids()
    plain = grid_parts(own, grid)
    for _ in range(2):
        for mine, theirs in zip(grid_parts(own, grid, known), plain, strict=True):
            assert mine == pytest.approx(theirs, rel=ROUNDING)
    assert len(known.grids) == 1


@pytest.mark.usefixtures("by_numpy")
def test_the_known_parts_are_used(monkeypatch):
    """From the third completed set on X is not eliminated again."""
    made = []
    plain = ratio_survey.grid_parts

    def kept(sums, grid, known=None):
        made.append((known is not None, known is not None and grid.tobytes() in known.grids))
        return plain(sums, grid, known)

    monkeypatch.setattr(ratio_survey, "grid_parts", kept)
    fit(lacking(), method("mi", analysis={"kind": "lmm"}, adjust=["mansa_baseline", "size"], m=5))
    sharing = [used for given, used in made if given]
    assert len(sharing) / len(made) == pytest.approx(4 / 5)
    assert np.mean(sharing) == pytest.approx(3 / 4)


@needs_compiled
def test_the_compiled_search_uses_what_it_kept(monkeypatch):
    """From the third completed set on; nothing is kept for the first."""
    made = []
    real = core._extension

    def lowest(*given):
        of_x, is_known = given[9:11]
        made.append((of_x.size > 0, is_known))
        real.lowest(*given)

    watched = SimpleNamespace(**{name: getattr(real, name) for name in dir(real) if not name.startswith("_")})
    watched.lowest = lowest
    monkeypatch.setattr(core, "_extension", watched)
    with core.using("compiled"):
        fit(lacking(), method("mi", analysis={"kind": "lmm"}, adjust=["mansa_baseline", "size"], m=5))
    assert made == [(False, False), (True, False), (True, True), (True, True), (True, True)]
