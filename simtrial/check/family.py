"""What a check allows each expectation, so that false alarms over all of them together stay rare."""

from __future__ import annotations

from collections.abc import Sequence

RATE = 0.001
"""Probability, at most, that a check of a correct program fails because of chance: one check in a thousand."""


def alarm_rates(stated: Sequence[float | None], degrees: Sequence[float], rate: float = RATE) -> list[float]:
    """Probability of a false alarm of each expectation, those beyond on either side counted.

    Where ``z`` is stated it decides; the others share ``rate`` in equal parts (Bonferroni), so that all of them
    together alarm falsely with at most this probability, whatever their dependence.

    Parameters
    ----------
    stated
        Standard errors allowed; None: not stated.
    degrees
        Degrees of freedom of the standard errors; infinite for shares, whose errors are known under the expectation.
    """
    sharing = sum(z is None for z in stated)
    return [rate / sharing if z is None else 2 * _tail(z, df) for z, df in zip(stated, degrees, strict=True)]


def allowed(z: float | None, rate: float, df: float) -> float:
    """Standard errors allowed: as stated, or the quantile of t exceeded on either side with this probability."""
    from scipy.special import stdtrit

    return z if z is not None else -float(stdtrit(df, rate / 2))


def _tail(z: float, df: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(df, -z))
