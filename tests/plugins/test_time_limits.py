"""Time limits within each other: the one that ends first holds, and an inner one gives an outer one no more time."""

import time

import pytest

from simtrial.estimators.contained import FitTimeoutError, limited


def busy(seconds: float) -> None:
    """Use up time in short steps, so that a signal is handled between them."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)


def fits(together: float, each: float) -> None:
    """Twenty fits of 0.05 s, with a time limit each and one together."""
    with limited(together):
        for _ in range(20):
            with limited(each):
                busy(0.05)


def test_many_inner_limits_do_not_restart_the_outer_one() -> None:
    """Twenty fits of 0.05 s, each within its second, are stopped by the 0.3 s that they have together."""
    begun = time.monotonic()
    with pytest.raises(FitTimeoutError, match=r"longer than 0.3 s"):
        fits(0.3, 1.0)
    assert time.monotonic() - begun < 0.9


def test_the_time_that_inner_fits_took_counts() -> None:
    begun = time.monotonic()
    with pytest.raises(FitTimeoutError, match=r"longer than 0.3 s"):
        fits(0.3, 0.1)
    assert time.monotonic() - begun < 0.9


def test_an_inner_limit_that_ends_first_leaves_the_outer_one_its_time() -> None:
    with limited(5.0) as outer:
        with pytest.raises(FitTimeoutError, match=r"longer than 0.05 s") as caught, limited(0.05) as inner:
            busy(1.0)
        assert caught.value.limit is inner
        assert caught.value.limit is not outer
        busy(0.1)  # nothing interrupts what comes after
    busy(0.1)


def test_an_outer_limit_that_ends_within_an_inner_one_is_the_outer_one_s() -> None:
    with pytest.raises(FitTimeoutError) as caught, limited(0.05) as outer, limited(1.0):
        busy(1.0)
    assert caught.value.limit is outer
