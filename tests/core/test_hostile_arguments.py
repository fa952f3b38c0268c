"""Whatever the compiled kernels are given ends in an error or in numbers, never in memory that is not theirs.

Each kernel is called with the arguments of a real fit, one of them made wrong. `make sanitize` runs these tests
with every access checked.
"""

import contextlib
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cores import needs_compiled
from reference import method

from simtrial import core
from simtrial.generate import simulate
from simtrial.moments.build import moments
from simtrial.scenario import load
from simtrial.store.data_checks import checks_of

pytestmark = needs_compiled
REFUSED = (TypeError, ValueError, IndexError, BufferError, MemoryError)
KERNELS = [name for name in dir(core._extension) if not name.startswith("_") and not name.isupper()]
NO_PLACES = {("minimise", 2), ("minimise", 7), ("difference", 3), ("difference", 9), ("in_random_order", 0),
             ("in_random_order", 2), ("practice_of_people", 1), ("sessions_at", 7), ("sessions_at", 8),
             ("standard_normals", 0), ("uniforms", 0), ("spared", 0), ("stays", 0),
             ("check", 0), ("check", 2), ("check", 5),
             *(("who_stands_where", at) for at in (3, 4, 5, 6, 10))}  # fmt: skip
"""Whole numbers that are no places in an array: which trial follows which, marks, codes, words, and what is filled."""
ALLOCATION = {"method": "minimisation", "factors": ["region"]}
FITS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("lmm", {"df": "kenward-roger"}),
    ("lmm", {"df": "kenward-roger", "interaction": "region"}),
    ("lmm", {"heteroscedastic": "both"}),
    ("clda", {}),
    ("ols", {}),
    ("gee", {}),
    ("lmm", {"tau2": "unconstrained"}),
    ("mi", {"m": 3, "analysis": {"kind": "lmm"}, "adjust": ["region"]}),
    ("mi", {"m": 2, "analysis": {"kind": "ols"}, "imputation": "joint", "burn_in": 1, "thin": 1, "adjust": ["age"]}),
    ("g-computation", {"model": "lmm"}),
    ("cace-mixture", {"received": "sessions >= 6"}),
    ("wild-bootstrap", {"draws": 19}),
    ("randomisation-test", {"draws": 19, "allocation": ALLOCATION}),
)
"""Methods that call every kernel between them."""
ODD = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e308, 5e-324)


@cache
def calls() -> dict[str, tuple[Any, ...]]:
    """Arguments of one call of every kernel, in a fit of 11 trials; where there is one, a call without empty arrays."""
    found: dict[str, tuple[Any, ...]] = {}

    real = core._extension
    watched = SimpleNamespace(LANES=core._extension.LANES, **{name: _through(real, name, found) for name in KERNELS})
    with core.using("compiled"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "_extension", watched)
        scenario = load("partners")[1][0].scenario
        simulate(scenario.needed, 11, 1, "", 0)
        batch = simulate(scenario.mechanism, 11, 1, "", 0).observed()
        checks_of(batch)
        for kind, options in FITS:
            chosen = method(kind, **{"adjust": ["mansa_baseline", "region"], **options})
            chosen.fit(batch, moments(batch, chosen.spec()), np.random.default_rng(1), False)
    return found


def _through(real: Any, name: str, found: dict[str, tuple[Any, ...]]) -> Any:
    def call(*given: Any) -> Any:
        if name not in found or any(isinstance(g, np.ndarray) and not g.size for g in found[name]):
            found[name] = tuple(np.array(g) if isinstance(g, np.ndarray) else g for g in given)
        return getattr(real, name)(*given)

    return call


def fresh(name: str) -> list[Any]:
    """Arguments of a kernel, copied."""
    return [np.array(g) if isinstance(g, np.ndarray) else g for g in calls()[name]]


def kernel(name: str) -> Any:
    """The kernel itself."""
    return getattr(core._extension, name)


def wrong(array: np.ndarray) -> Iterator[Any]:
    """The same array with another shape, type or order, and things that are no arrays."""
    for axis in range(array.ndim):
        yield np.concatenate([array, array.take([0], axis=axis)], axis=axis)
        if array.shape[axis] > 1:
            yield np.ascontiguousarray(array.take(range(array.shape[axis] - 1), axis=axis))
    yield array[None]
    yield array.ravel() if array.ndim > 1 else array.reshape(-1, 1)
    yield np.zeros_like(array, dtype=np.float16)
    yield array.astype(np.complex128)
    yield array.astype(object)
    yield array.astype(array.dtype.newbyteorder())
    if array.ndim > 1:
        yield np.asfortranarray(array)
    yield np.repeat(array, 2, axis=-1)[..., ::2]
    yield array[..., ::-1]
    yield from (None, 1.0, "text", b"bytes", [1.0, 2.0], memoryview(b"12345678"))


def test_every_kernel_was_called() -> None:
    assert set(calls()) == set(KERNELS)


@pytest.mark.parametrize("name", KERNELS)
def test_the_call_itself_is_right(name: str) -> None:
    assert kernel(name)(*fresh(name)) is None


@pytest.mark.parametrize("name", KERNELS)
def test_another_number_of_arguments_is_refused(name: str) -> None:
    given = fresh(name)
    for several in ([], given[:-1], [*given, given[-1]]):
        with pytest.raises(TypeError):
            kernel(name)(*several)


@pytest.mark.parametrize("name", KERNELS)
def test_arrays_of_another_kind_are_refused(name: str) -> None:
    """Unless they fit as well, as one slot less of a sum does not: then it returns."""
    for at, argument in enumerate(calls()[name]):
        if not isinstance(argument, np.ndarray):
            continue
        refused = 0
        for other in wrong(argument):
            given = fresh(name)
            given[at] = other
            try:
                kernel(name)(*given)
            except REFUSED:
                refused += 1
        assert refused >= 10, (at, refused)


@pytest.mark.parametrize("name", KERNELS)
def test_results_are_not_written_to_what_may_not_be_written(name: str) -> None:
    refused = 0
    for at, argument in enumerate(calls()[name]):
        if not isinstance(argument, np.ndarray):
            continue
        given = fresh(name)
        given[at].flags.writeable = False
        try:
            kernel(name)(*given)
        except REFUSED:
            refused += 1
    assert refused >= 1


@pytest.mark.parametrize("name", KERNELS)
def test_numbers_that_are_none_end_in_numbers(name: str) -> None:
    for at, argument in enumerate(calls()[name]):
        if not (isinstance(argument, np.ndarray) and argument.dtype == np.float64):
            continue
        for value in ODD:
            for place in (0, argument.size // 2, slice(None)):
                given = fresh(name)
                given[at].reshape(-1)[place] = value
                kernel(name)(*given)


@pytest.mark.parametrize("name", KERNELS)
def test_places_outside_an_array_are_refused(name: str) -> None:
    for at, argument in enumerate(calls()[name]):
        if not (isinstance(argument, np.ndarray) and argument.dtype == np.int64):
            continue
        for value in (-2, 10**7, np.iinfo(np.int64).max, np.iinfo(np.int64).min):
            given = fresh(name)
            given[at][-1] = value
            if (name, at) in NO_PLACES:
                with contextlib.suppress(*REFUSED):
                    kernel(name)(*given)
            else:
                with pytest.raises((IndexError, ValueError)):
                    kernel(name)(*given)


@pytest.mark.parametrize("name", KERNELS)
def test_plain_numbers_of_another_kind_are_refused_or_taken(name: str) -> None:
    for at, argument in enumerate(calls()[name]):
        if isinstance(argument, np.ndarray):
            continue
        for value in (None, "text", np.nan, np.inf, -1e300, -1, 10**30, 3.5, object()):
            given = fresh(name)
            given[at] = value
            try:
                kernel(name)(*given)
            except (*REFUSED, OverflowError):
                pass
