"""The values of an effect that an Anderson-Rubin test does not reject: where a quadratic is not positive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.kernels.interval_sets import EMPTY, INTERVAL, RAY, TWO_RAYS, WHOLE_LINE


@dataclass(frozen=True)
class Set:
    """Ends and kind of the set of every trial (trials,); see `simtrial.kernels.interval_sets`."""

    lower: Floats
    upper: Floats
    kind: NDArray[np.str_]


def not_rejected(outcome: Floats, receipt: Floats, joint: Floats, critical: Floats) -> Set:
    """Set {theta : (rho - theta pi)^2 <= t^2 V(theta)}, V(theta) = V_yy - 2 theta V_yd + theta^2 V_dd.

    With a = pi^2 - t^2 V_dd, b = pi rho - t^2 V_yd, c = rho^2 - t^2 V_yy it is where a theta^2 - 2 b theta + c <= 0.
    b^2 - a c = t^2 {pi^2 V_yy - 2 pi rho V_yd + rho^2 V_dd - t^2 (V_dd V_yy - V_yd^2)} is taken from its right-hand
    side, which does not cancel where pi and rho are well determined. Roots are q/a and c/q, q = b + sign(b)
    sqrt(b^2 - a c), so that neither cancels and one goes to infinity as a goes to 0.

    Parameters
    ----------
    outcome, receipt
        Reduced forms rho and pi (trials,).
    joint
        Their covariance V (2, 2, trials).
    critical
        Critical value t of the test (trials,).
    """
    yy, yd, dd = joint[0, 0], joint[0, 1], joint[1, 1]
    square = critical**2
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        a, b, c = receipt**2 - square * dd, receipt * outcome - square * yd, outcome**2 - square * yy
        rest = receipt**2 * yy - 2.0 * receipt * outcome * yd + outcome**2 * dd
        inside = square * (rest - square * np.maximum(dd * yy - yd**2, 0.0))
        q = b + np.where(b < 0.0, -1.0, 1.0) * np.sqrt(np.maximum(inside, 0.0))
        one, other = np.where(a == 0.0, np.where(b > 0, np.inf, -np.inf), q / a), np.where(q == 0.0, 0.0, c / q)
    low, high = np.minimum(one, other), np.maximum(one, other)
    line = ((a < 0.0) & (inside <= 0.0)) | ((a == 0.0) & (b == 0.0) & (c <= 0.0))
    none = (a == 0.0) & (b == 0.0) & (c > 0.0)
    apart = (a < 0.0) & ~line
    return _sorted(low, high, apart, line, none)


def _sorted(
    low: Floats, high: Floats, apart: NDArray[np.bool_], line: NDArray[np.bool_], none: NDArray[np.bool_]
) -> Set:
    """Name the sets; two rays of which one begins beyond all numbers are one ray."""
    up, down = apart & np.isneginf(low), apart & np.isposinf(high)
    lower = np.where(line | down, -np.inf, np.where(up, high, low))
    upper = np.where(line | up, np.inf, np.where(down, low, high))
    lower, upper = (np.where(none, np.nan, x) for x in (lower, upper))
    kind = np.where(np.isinf(lower) | np.isinf(upper), RAY, np.where(apart, TWO_RAYS, INTERVAL))
    whole = np.isneginf(lower) & np.isposinf(upper)
    return Set(lower, upper, np.where(none, EMPTY, np.where(whole, WHOLE_LINE, kind)))
