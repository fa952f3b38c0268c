"""Arrays read tile by tile stand for whole ones: every measure of odd samples, and order statistics to the last bit."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from simtrial.performance import MEASURES, PAIRED, Form, Sample
from simtrial.performance import tiled as module
from simtrial.performance.summing import present
from simtrial.performance.tiled import Tiled, ordered, quantiles

FORMS: tuple[Form, ...] = ("robust", "jackknife", "normal")
TOLERANCE = 1e-9
"""Relative to what a measure is a mean of (`size_of`).

Sums of n <= 200 values in another order differ by at most n eps = 4e-14 of their terms' sizes. What a measure makes of
up to three sums, one inside the other, multiplies that by the ratio of those sizes to its own: below 1e4 in these
samples.
"""


@pytest.fixture(autouse=True)
def _small_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bins of order statistics are taken apart to the last digit."""
    monkeypatch.setattr(module, "TILE", 5)


def tiled(values: Any, size: int, replicates: object) -> Any:
    """The same values in tiles."""

    def make(tile: int, known: module.Known) -> Any:
        return values[tile * size : (tile + 1) * size]

    return Tiled(-(-len(values) // size), make, replicates, len(values))


def in_tiles(sample: Sample, size: int, replicates: object) -> Sample:
    """A sample whose arrays are all in tiles."""
    names = [f.name for f in fields(sample)]
    arrays = {name: a for name in names if isinstance(a := getattr(sample, name), np.ndarray)}
    return replace(sample, **{name: tiled(a, size, replicates) for name, a in arrays.items()})


def odd_pair(seed: int) -> tuple[Sample, Sample]:
    """Two methods on the same trials: of any number, with holes, ties, infinite ends, sets that are no intervals."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 2, 3, 4, 5, 17, 60, 200]))
    scale, centre = 10.0 ** rng.integers(-4, 5), rng.choice([0.0, 0.3, -2.0])
    own = rng.normal(1.0, 0.2, n) * scale if rng.random() < 0.3 else None
    return tuple(_odd(rng, n, scale, centre, own) for _ in range(2))  # type: ignore[return-value]


def _odd(rng: np.random.Generator, n: int, scale: float, centre: float, own: Any) -> Sample:
    e = centre + rng.standard_normal(n)
    e = np.round(e, 1) if rng.random() < 0.2 else e
    s = rng.uniform(0.5, 1.5, n)
    low, high, p = e - 1.5 * s, e + 1.5 * s, rng.uniform(0, 0.3, n)
    failed, holes = rng.random(n) < rng.choice([0, 0.1, 1.0], p=[0.5, 0.45, 0.05]), rng.random()
    for values in (e, s, low, high, p):
        values[failed | (rng.random(n) < (0.1 if holes < 0.3 else 0.0))] = np.nan
    sets: dict[str, Any] = {}
    if rng.random() < 0.4:
        kind = rng.choice(3, n, p=[0.6, 0.2, 0.2])
        low[rng.random(n) < 0.1], high[rng.random(n) < 0.1] = -np.inf, np.inf
        sets = {"apart": kind == 1, "empty": (kind == 2) & ~failed}
        low[kind == 2], high[kind == 2] = np.nan, np.nan
    return Sample(
        e * scale, s * scale, low * scale, high * scale, p, failed, np.nan if own is not None else 0.3 * scale,
        truth_mcse=float(rng.choice([0.0, 0.01])) * scale if own is None else 0.0, own=own, **sets,
    )  # fmt: skip


def alike(one: float, other: float, size: float) -> bool:
    return one == other or one == pytest.approx(other, rel=TOLERANCE, abs=TOLERANCE * size, nan_ok=True)


def size_of(found: Any) -> float:
    """Size of what a measure is a mean of: its value, and the spread of which its error speaks."""
    spread = found.mcse * np.sqrt(max(found.n, 1))
    return float(np.nansum([abs(found.value) if np.isfinite(found.value) else 0.0, spread]))


@pytest.mark.parametrize("seed", range(150))
def test_every_measure_is_the_same_tile_by_tile(seed: int) -> None:
    one, other = odd_pair(seed)
    size, replicates = int(np.random.default_rng(seed).choice([1, 2, 7, 64, 500])), object()
    first, second = in_tiles(one, size, replicates), in_tiles(other, size, replicates)
    for form in FORMS:
        pairs = {name: (m(one, form), m(first, form)) for name, m in MEASURES.items()}
        pairs |= {name: (m(one, other, form), m(first, second, form)) for name, m in PAIRED.items()}
        for name, (expected, found) in pairs.items():
            assert found.n == expected.n, name
            assert alike(found.value, expected.value, size_of(expected)), (name, form)
            assert alike(found.mcse, expected.mcse, size_of(expected)), (name, form)


VALUES = {
    "normal": lambda rng: rng.standard_normal(300),
    "ties": lambda rng: np.round(rng.standard_normal(300), 1),
    "all alike": lambda rng: np.full(40, -2.5),
    "both zeros": lambda rng: rng.choice([0.0, -0.0, 1.0, -1.0], 60),
    "infinite": lambda rng: rng.choice([np.inf, -np.inf, 1.0, 2.0], 60),
    "tiny and huge": lambda rng: rng.choice([-1, 1], 200) * 10.0 ** rng.uniform(-320, 308, 200),
    "neighbours": lambda rng: 1.0 + rng.integers(0, 9, 100) * np.finfo(float).eps,
    "not all are numbers": lambda rng: rng.choice([np.nan, -np.nan, np.inf, -np.inf, 1.0], 60),
    "one": lambda rng: np.array([3.0]),
}


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("size", [1, 16, 1000])
def test_order_statistics_and_quantiles_are_those_of_numpy(kind: str, size: int) -> None:
    rng = np.random.default_rng(size)
    values = VALUES[kind](rng)
    places = sorted({0, len(values) - 1, *rng.integers(0, len(values), 12).tolist()})
    held = tiled(values, size, object())
    assert np.array_equal(ordered(held, places), np.sort(values)[places], equal_nan=True)
    assert np.array_equal(ordered(values, places), np.sort(values)[places], equal_nan=True)
    shares = [0.0, 0.025, 0.25, 1 / 3, 0.5, 0.75, 0.975, 1.0]
    assert np.array_equal(quantiles(held, shares), quantiles(values, shares), equal_nan=True)
    if np.isfinite(values).all():
        assert np.array_equal(quantiles(values, shares), np.quantile(values, shares))


def test_an_infinite_order_statistic_beside_a_finite_one_is_met_only_where_the_quantile_is_on_it() -> None:
    assert quantiles(np.array([1.0, 2.0, np.inf]), [0.0, 0.5, 0.75, 1.0]).tolist() == [1.0, 2.0, np.inf, np.inf]
    assert quantiles(np.array([-np.inf, -np.inf, 3.0]), [0.2, 1.0]).tolist() == [-np.inf, 3.0]


def operations(x: Any, y: Any) -> Sequence[Any]:
    """Numbers of arrays, by all that a `Tiled` has."""
    both = (x + 2 * y - x / 3)[x > y]
    return [
        both.sum(), both.mean(), both.var(ddof=1), both.std(), both.max(), both.min(), len(both), float(both[0]),
        (x > 9).any(), (x > -9).all(), (~(x > y)).sum(), x.clip(-1.0, 0.5).sum(), (x > 0).astype(np.float64).mean(),
        np.hypot(x, y).sum(), (1.0 / x).max(), np.float64(2.0) ** y.max(),
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 50, 64])
def test_what_is_done_to_arrays_is_done_to_tiles(size: int) -> None:
    rng, replicates = np.random.default_rng(2), object()
    x, y = rng.standard_normal((2, 50))
    found = operations(tiled(x, size, replicates), tiled(y, size, replicates))
    assert np.allclose(np.array(found, dtype=float), np.array(operations(x, y), dtype=float), rtol=1e-13, atol=0)


def test_a_step_that_two_need_is_computed_once_for_a_tile() -> None:
    calls = []

    def counted(values: Any) -> Any:
        calls.append(len(values))
        return values

    x = module.by_tile(counted)(tiled(np.arange(20.0), 10, object()))
    assert (x + x * x).sum() == np.sum(np.arange(20.0) + np.arange(20.0) ** 2)
    assert calls == [10, 10]


def test_replicates_that_differ_are_never_combined() -> None:
    x, y = (tiled(np.arange(20.0), 5, object()) for _ in range(2))
    holed = tiled(np.where(np.arange(20.0) % 3, np.arange(20.0), np.nan), 5, x.replicates)
    for combine in (lambda: x + y, lambda: x[y > 2], lambda: present(holed)[0] + x, lambda: x + np.arange(20.0)):
        with pytest.raises(ValueError, match="different replicates"):
            combine()


def test_tiles_are_never_made_one_array_unseen() -> None:
    x = tiled(np.arange(20.0), 5, object())
    with pytest.raises(TypeError, match="never held whole"):
        np.asarray(x)
    with pytest.raises(TypeError):
        np.sort(x)
    with pytest.raises(TypeError):
        list(x)
    with pytest.raises(TypeError):
        np.add.reduce(x)
    with pytest.raises(IndexError, match="first value"):
        x[3]
