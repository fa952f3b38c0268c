"""The compiled kernels beside those of numpy: the same status and flags, and estimates that differ by rounding alone.

Two ways of adding up the same numbers differ by some eps times the condition of the columns. A column that others
nearly determine ("near copy") keeps at least 1e-10 of its squares (`simtrial.kernels.small_matrices.ALIASED`), which
gives its coefficient a relative error of up to 2e-6; without such columns 1e-12 of a standard error is thousands of
eps. Degrees of freedom are ratios of differences of such numbers, and what is looked up with them (half-widths,
p-values) inherits their error: they are given a thousand times as much, and near copies ten times.

Where one practice nearly determines a coefficient alone, its I - H has an eigenvalue e near 0, which is a difference of
numbers near 1 and so known to some eps (each of its few products rounds): CR2 and CR3 divide by it, and their df are
ratios of differences that leave a share e of what they are taken from. So eps / e and eps / e^2 are allowed there.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from cores import needs_compiled
from reference import method
from twins.designs import draw
from twins.product import analysed, made, observed

from simtrial import core
from simtrial.estimators import Estimates
from simtrial.kernels import random_intercept_fit
from simtrial.kernels.random_intercept_criterion import evaluate
from simtrial.kernels.sandwich import SINGULAR, hats, leverage
from simtrial.kernels.small_matrices import ALIASED
from simtrial.moments.build import moments
from simtrial.run.block import block_rows
from simtrial.scenario import load

pytestmark = needs_compiled
ORACLE = sorted((Path(__file__).parents[1] / "oracle" / "data").glob("D*.csv"))
METHODS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lmm", {"df": "kenward-roger"}),
    ("lmm", {"df": "satterthwaite-observed", "estimation": "ml"}),
    ("ols", {"se": "CR2"}),
    ("ols", {"se": "CR3"}),
    ("ols", {"se": "CR0"}),
    ("iv", {"received": "sessions >= 6"}),
)
BY_ARM: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lmm", {"heteroscedastic": "both"}),
    ("lmm", {"heteroscedastic": "residual"}),
    ("lmm", {"heteroscedastic": "cluster", "estimation": "ml"}),
)
TWO_VISITS: tuple[tuple[str, dict[str, Any]], ...] = (("clda", {}), ("clda", {"estimation": "ml"}))
UNCONSTRAINED = ("lmm", {"df": "satterthwaite", "tau2": "unconstrained"})  # as singular as you like in odd designs
EPS, PRODUCTS = np.finfo(np.float64).eps, 20
"""Rounding of one product, and how many an entry of H is made of, with those that its factors are made of."""
CLOSE = np.array([1e-12, 1e-9])
"""For estimates and standard errors, in standard errors; for df, half-widths and p-values, relative to these."""
NEAR_COPIES = 2.0 * EPS / ALIASED * np.array([1.0, 10.0])
"""The same beside a column of which others leave a share s: coefficients are known to eps / s (`small_matrices`), which
is at most eps / ALIASED where it is kept, and each core has that error."""


def both(batch: Any, chosen: Any) -> tuple[Estimates, Estimates]:
    """Estimates by either core."""
    found = []
    for name in core.CORES:
        with core.using(name):
            found.append(analysed(batch, chosen))
    return found[0], found[1]


def differences(one: Estimates, other: Estimates) -> np.ndarray:
    """Largest differences of each trial of the two sorts that `CLOSE` is for (trials, 2)."""
    np.testing.assert_array_equal(one.failed, other.failed)
    np.testing.assert_array_equal(one.flags, other.flags)
    unit = one.std_error + 1e-13 * np.abs(one.estimate)
    first = _apart(one.estimate, other.estimate, unit), _apart(one.std_error, other.std_error, unit)
    halves = [found.ci_upper - found.ci_lower for found in (one, other)]
    pairs = ((one.df, other.df), (one.p_value, other.p_value), halves)
    second = [_apart(x, y, np.abs(x) + 1e-300) for x, y in pairs]
    return np.stack([np.max(first, axis=0), np.max(second, axis=0)], axis=-1)


def smallest_left(batch: Any, chosen: Any) -> np.ndarray:
    """Smallest eigenvalue of I - H of any practice that is not 0 (trials,)."""
    found = moments(batch, chosen.spec())
    _, rest = hats(found.basis, found.least_squares.inverse)
    left = np.linalg.eigvalsh(np.moveaxis(rest, (0, 1), (-2, -1))).reshape(found.trials, -1)
    return np.where(left > SINGULAR, left, 1.0).min(axis=1)


def _apart(x: np.ndarray, y: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Largest difference of each trial over terms; both must lack the same."""
    np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
    with np.errstate(all="ignore"):
        return np.nan_to_num(np.where(x == y, 0.0, np.abs(x - y) / unit)).max(axis=0)


@pytest.mark.parametrize("number", range(30))
def test_odd_designs(number: int) -> None:
    agree_on_odd_designs(number, METHODS)


@pytest.mark.parametrize("number", range(8))
def test_odd_designs_with_variances_by_arm(number: int) -> None:
    agree_on_odd_designs(number, BY_ARM)


@pytest.mark.verify
@pytest.mark.slow(minutes=1)  # numpy takes long where residuals vanish
@pytest.mark.parametrize("number", range(30))
def test_odd_designs_of_several_variances(number: int) -> None:
    agree_on_odd_designs(number, (*BY_ARM, *TWO_VISITS))


def agree_on_odd_designs(number: int, methods: tuple[tuple[str, dict[str, Any]], ...]) -> None:
    """Six trials of a batch of odd designs, by each of the methods."""
    drawn = draw(11, number, 6)
    batch = observed(drawn.trials)
    copies = np.array([any("near copy" in word for word in odd) for odd in drawn.odd])
    for kind, options in methods:
        chosen = made(kind, drawn.adjust, drawn.subset, options)
        worst = differences(*both(batch, chosen))
        allowed = np.where(copies[:, None], NEAR_COPIES, CLOSE)
        if kind in ("ols", "iv"):
            left = smallest_left(batch, chosen)[:, None]
            allowed = np.maximum(allowed, PRODUCTS * EPS / left ** [1, 2])
        assert (worst <= allowed).all(), (kind, options, worst, drawn.odd)


@pytest.mark.parametrize("file", ORACLE, ids=lambda file: file.stem)
def test_oracle_files(file: Path) -> None:
    frame = pl.read_csv(file)
    batch = observed([{name: _plain(frame[name]) for name in frame.columns if name != "trial_id"}])
    for kind, options in (*METHODS, *BY_ARM, *TWO_VISITS, UNCONSTRAINED):
        if kind == "iv" and "sessions" not in frame.columns:
            continue
        chosen = method(kind, **options)
        assert (differences(*both(batch, chosen)) <= CLOSE).all(), (kind, options)


def _plain(column: pl.Series) -> np.ndarray:
    if column.dtype == pl.String:
        return np.array([value or "" for value in column.to_list()])
    values = column.cast(pl.Float64).to_numpy()
    return values.astype(int) if column.name in ("arm", "practice") else values


@pytest.mark.parametrize("name", ["partners", "verify/estimators"])
def test_rows_of_a_block(name: str) -> None:
    cell = load(name)[1][0]
    found = []
    for one in core.CORES:
        with core.using(one):
            found.append(block_rows(cell, 0))
    for column in found[0].columns:
        first, second = (frame[column] for frame in found)
        if not first.dtype.is_float():
            assert first.equals(second), column
            continue
        x, y = first.to_numpy(), second.to_numpy()
        np.testing.assert_array_equal(np.isnan(x), np.isnan(y))
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9, err_msg=column)


MANY = """\
schema = 1
name = "many"
extends = "partners"
[[methods]]
name = "satterthwaite"
kind = "lmm"
[[methods]]
name = "kenward-roger"
kind = "lmm"
df = "kenward-roger"
[[methods]]
name = "least squares"
kind = "ols"
[[methods]]
name = "two-stage"
kind = "iv"
received = "sessions >= 6"
[run]
block = 1000
"""


@pytest.mark.verify
def test_twenty_thousand_trials(tmp_path: Path) -> None:
    """Rare trials as well: whole rows are equal, and estimates and df as close as in `test_oracle_files`."""
    (tmp_path / "many.toml").write_text(MANY, "utf-8")
    cell = load(str(tmp_path / "many.toml"))[1][0]
    for block in range(20):
        found = []
        for one in core.CORES:
            with core.using(one):
                found.append(block_rows(cell, block))
        first, second = found
        for name in (n for n in first.columns if not first[n].dtype.is_float()):
            assert first[name].equals(second[name]), name
        error = first["std_error"].to_numpy()
        for name in ("estimate", "std_error", "ci_lower", "ci_upper", "df", "p_value"):
            x, y = first[name].to_numpy(), second[name].to_numpy()
            allowed = CLOSE[0] if name in ("estimate", "std_error") else CLOSE[1]
            scale = np.abs(x) if name in ("df", "p_value") else error
            np.testing.assert_array_equal(np.isnan(x), np.isnan(y), err_msg=name)
            assert not np.any(np.abs(x - y) > allowed * scale), name


def trials() -> Any:
    """Moments of 21 trials, two tiles and a part of one."""
    drawn = load("partners")[1][0].scenario
    from simtrial.generate import simulate

    chosen = method("lmm", adjust=["mansa_baseline", "region"])
    return moments(simulate(drawn.mechanism, 21, 1, "", 0).observed(), chosen.spec())


def orders() -> Iterator[np.ndarray]:
    """Some of the trials, in other places: alone, backwards, with others beside them."""
    yield np.arange(20, -1, -1)
    yield np.array([13])
    yield np.array([3, 7, 20, 7])


def test_a_trial_has_the_same_numbers_whatever_stands_beside_it() -> None:
    found = trials()
    sums, gamma, nu = found.size_sums(), np.linspace(0.0, 0.4, 21), found.counts - found.rank
    with core.using("compiled"):
        whole = evaluate(sums, gamma, nu, True)
        robust = leverage(found.basis, found.least_squares.inverse, found.contrast("arm"), "CR2")
        for order in orders():
            part = evaluate(sums.take(order), gamma[order], nu[order], True)
            for name in vars(whole):
                np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[..., order], err_msg=name)
            other = leverage(
                found.basis[order], found.least_squares.inverse[..., order], found.contrast("arm")[..., order], "CR2"
            )
            np.testing.assert_array_equal(other.weights, robust.weights[order])
            np.testing.assert_array_equal(other.df, robust.df[order])


def test_without_a_trial_there_is_nothing_to_do() -> None:
    found = trials()
    sums = found.size_sums().take(np.arange(0))
    with core.using("compiled"):
        assert evaluate(sums, np.empty(0), np.empty(0), True).value.shape == (0,)
        assert random_intercept_fit.fit(sums).gamma.shape == (0,)


def test_the_test_would_notice_a_difference() -> None:
    drawn = draw(11, 0, 6)
    one, _ = both(observed(drawn.trials), made("ols", drawn.adjust, drawn.subset, {}))
    other = analysed(observed(drawn.trials), made("ols", drawn.adjust, drawn.subset, {}))
    usable = ~other.failed
    assert usable.any()
    other.estimate[0, usable] += 1e-11 * other.std_error[0, usable]
    assert (differences(one, other)[usable, 0] > CLOSE[0]).all()
