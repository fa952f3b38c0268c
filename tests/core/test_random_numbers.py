"""Uniform and normal numbers of the compiled kernels are those of numpy, and leave the stream where it does."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core, seeding
from simtrial.seeding import FEW, Stream, drawing, stream

pytestmark = needs_compiled
TAIL = 3.6541528853610088
"""Edge of the lowest layer of numpy's ziggurat."""


@pytest.fixture(autouse=True)
def compiled() -> Iterator[None]:
    with core.using("compiled"):
        yield


def pair(seed: int = 1) -> tuple[Stream, np.random.Generator]:
    """A stream, and numpy's generator at the same place."""
    return Stream(np.random.SFC64(seed)), np.random.Generator(np.random.SFC64(seed))


def test_millions_of_normal_numbers_with_edges_and_tails() -> None:
    """Of 4e6 numbers some 28,000 are decided at the edge of a layer and 1,000 lie beyond the lowest."""
    own, numpys = pair()
    found, expected = own.standard_normal(4_000_000), numpys.standard_normal(4_000_000)
    assert found.tobytes() == expected.tobytes()
    assert 800 < (np.abs(found) > TAIL).sum() < 1_300
    assert {(found[np.abs(found) > TAIL] > 0).any(), (found[np.abs(found) > TAIL] < 0).any()} == {True}


DRAWS: tuple[Callable[[np.random.Generator], Any], ...] = (
    lambda rng: rng.standard_normal(FEW + 1),
    lambda rng: rng.random(FEW + 1),
    lambda rng: rng.standard_normal((7, 3, 50)),
    lambda rng: rng.random((4, 100)),
    lambda rng: rng.standard_normal([20, 30]),
    lambda rng: rng.random(np.array([20, 30])),
    lambda rng: rng.random([]),
    lambda rng: rng.standard_normal(size=(400,)),
    lambda rng: rng.random(400, "float64"),
    lambda rng: rng.standard_normal(400, dtype=np.dtype("f8")),
    lambda rng: rng.standard_normal(5),
    lambda rng: rng.random(),
    lambda rng: rng.standard_normal(0),
    lambda rng: rng.random((0, 400)),
    lambda rng: rng.standard_normal(400, dtype=np.float32),
    lambda rng: rng.random(400, dtype=np.float32),
    lambda rng: rng.integers(0, 7, 3, dtype=np.int32),  # leaves half a word behind
    lambda rng: rng.standard_normal(out=np.empty(300)),
    lambda rng: rng.random(300, out=np.empty(300)),
    lambda rng: rng.standard_normal(np.int64(500)),
    lambda rng: rng.binomial(5, 0.3, 400),
    lambda rng: rng.permutation(9),
)


@pytest.mark.parametrize("seed", range(40))
def test_any_order_of_draws_gives_the_numbers_of_numpy(seed: int) -> None:
    order = np.random.default_rng(seed).integers(0, len(DRAWS), 60)
    own, numpys = pair(seed)
    for place in order:
        found, expected = DRAWS[place](own), DRAWS[place](numpys)
        assert (np.shape(found), np.asarray(found).dtype) == (np.shape(expected), np.asarray(expected).dtype)
        assert np.asarray(found).tobytes() == np.asarray(expected).tobytes()
    assert str(own.bit_generator.state) == str(numpys.bit_generator.state)


@pytest.mark.parametrize("size", [-300, (-20, -20), 300.0, "many", (300, None)])
def test_sizes_that_are_none_are_refused_as_numpy_refuses_them(size: Any) -> None:
    own, numpys = pair()
    for name in ("random", "standard_normal"):
        with pytest.raises((TypeError, ValueError)) as expected:
            getattr(numpys, name)(size)
        with pytest.raises(type(expected.value)):
            getattr(own, name)(size)
    assert own.random() == numpys.random()


def test_what_a_stream_spawns_draws_alike() -> None:
    own, numpys = pair()
    for one, other in zip(own.spawn(3), numpys.spawn(3), strict=True):
        assert one.standard_normal(1000).tobytes() == other.standard_normal(1000).tobytes()


def test_another_generator_is_left_to_numpy() -> None:
    own, numpys = Stream(np.random.PCG64(1)), np.random.Generator(np.random.PCG64(1))
    assert drawing(own, 1000) is None
    assert own.standard_normal(1000).tobytes() == numpys.standard_normal(1000).tobytes()


def test_kernels_draw_for_streams_where_they_serve() -> None:
    assert drawing(stream(1, "", 0, "a"), FEW + 1) is core.compiled()
    assert drawing(stream(1, "", 0, "a"), FEW) is None
    with core.using("numpy"):
        assert drawing(stream(1, "", 0, "a"), FEW + 1) is None


@pytest.mark.parametrize("kernel", ["standard_normals", "uniforms"])
def test_a_numpy_that_draws_otherwise_is_left_to_itself(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    """Then both cores still draw the same: what numpy draws."""

    kernels = core._extension

    class Other:
        def __getattr__(self, name: str) -> Any:
            real = getattr(kernels, name)
            return (lambda state, out: (real(state, out), out.__imul__(2.0))) if name == kernel else real

    monkeypatch.setattr(core, "_extension", Other())
    seeding._draws_as_numpy.cache_clear()
    try:
        own, numpys = pair()
        assert drawing(own, 1000) is None
        assert own.standard_normal(1000).tobytes() == numpys.standard_normal(1000).tobytes()
    finally:
        seeding._draws_as_numpy.cache_clear()
