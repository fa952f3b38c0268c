"""Sets by inversion of resampling tests, verified: p-values of dense refits on a grid and beside the ends.

Draws are the same in every trial, by the place of a practice, so that product and twin meet the same ones.
"""

from contextlib import contextmanager
from unittest.mock import patch

import numpy as np

from twins.frame import Frame, Said
from twins.instrument import residual_means

DRAWS, PLACES = 39, 512
TIE, SURE = 1e-11, 1e-7  # differences that are ties, and that cannot be
SIGNS = np.random.default_rng(91).choice([-1.0, 1.0], (DRAWS, PLACES))
ARMS = np.random.default_rng(92).integers(0, 2, (DRAWS, PLACES)) == 1


def _multipliers(rng, shape, distribution):
    return np.broadcast_to(SIGNS[: shape[0], None, : shape[2]], shape)


def _reallocated(options, draws, columns, practice_trial, able, practice, rng):
    yield ARMS[:draws, practice - np.searchsorted(practice_trial, practice_trial[practice])]


@contextmanager
def fixed_draws():
    """Let the product resample by these signs and arms."""
    with (
        patch("simtrial.estimators.compliers.iv_resampled.multipliers", _multipliers),
        patch("simtrial.estimators.randomisation_test._reallocated", _reallocated),
    ):
        yield


def verified(made: Frame, data, out: Said, ci: str, found, trial: int) -> Said:
    """Two-stage least squares ``out`` with the product's set, where it is the set; else with none."""
    if out.refusal or out.grey or found.failed[trial] or not np.isfinite(out.std_error):
        return out
    out.extras.pop("ci_type", None)
    p = (_by_reallocation if ci == "randomisation" else _by_signs)(made, data)
    at_zero = p(0.0)
    if at_zero is None:
        out.grey = "a draw is as extreme as the trial, or nearly"
        return out
    out.p_value = at_zero
    lower, upper = float(found.ci_lower[0, trial]), float(found.ci_upper[0, trial])
    kind, pieces = str(found.notes["ci_type"][trial]), found.extras["pieces"][trial]
    whole = pieces == (2 if kind == "two-rays" else 1)
    ends = [e for e in (lower, upper) if np.isfinite(e)]
    grid = list(out.estimate + out.std_error * np.sinh(np.linspace(-6, 6, 25)))
    grid += [e + side * 1e-4 * max(out.std_error, abs(e - out.estimate)) for e in ends for side in (-1, 1)]
    out.ends = lower, upper
    for theta in grid:
        inside = theta <= lower or theta >= upper if kind == "two-rays" else lower <= theta <= upper
        own = p(theta)
        if own is not None and (own > 0.05) != inside and (whole or not inside):
            out.ends = np.nan, np.nan
    return out


def _labels(made, data):
    """Practices in the order of the product: as they come in the trial, and those analysed."""
    every = list(dict.fromkeys(data["practice"].tolist()))
    own = [data["practice"][made.rows[g[0]]] for g in made.groups]
    return every, own


def _p_value(larger, difference, scale):
    """Share of draws that are as extreme; None where one is neither clearly so nor a tie."""
    apart = np.abs(difference) / np.maximum(scale, 1e-300)
    if ((apart > TIE) & (apart < SURE)).any():
        return None
    return (1 + (larger | (apart <= TIE)).sum()) / (1 + len(difference))


def _by_reallocation(made, data):
    every, own = _labels(made, data)
    y, d = (residual_means(made, r) for r in (made.outcome, made.receipt))
    schemes = ARMS[:, [every.index(label) for label in own]]
    schemes = schemes[schemes.any(axis=1) & ~schemes.all(axis=1)]
    arm = made.arm_of_practice == 1

    def p(theta):
        rest = y - theta * d
        mine = abs(rest[arm].mean() - rest[~arm].mean())
        drawn = np.array([abs(rest[s].mean() - rest[~s].mean()) for s in schemes])
        if not len(drawn):
            return 1.0
        return _p_value(drawn > mine, drawn - mine, max(drawn.max(), mine))

    return p


def _by_signs(made, data):
    every, own = _labels(made, data)
    order = sorted(range(len(own)), key=lambda k: every.index(own[k]))
    sign = np.empty((DRAWS, made.people))
    for place, k in enumerate(order):
        sign[:, made.groups[k]] = SIGNS[:, [place]]
    q = made.q.astype(float)
    contrast = (made.contrasts["arm"] / np.sqrt((made.contrasts["arm"] ** 2).sum())).astype(float)
    rest = made.q[:, :-1]

    def parts(y):
        """Coefficient of arm and sum of squared scores of practices (samples,)."""
        fitted = y @ q
        left = (y - fitted @ q.T) * (q @ contrast)
        return fitted @ contrast, sum(left[:, g].sum(axis=1) ** 2 for g in made.groups)

    def p(theta):
        y = made.outcome - theta * made.receipt
        null = (y - rest @ (rest.T @ y)).astype(float)
        (own,), (spread,) = parts(null[None])
        drawn, spreads = parts(sign * null)
        none = 1e-11 * np.abs(null * (q @ contrast)).sum()  # samples of which nothing is left: 0/0 counts as extreme
        drawn, spreads = np.where(np.abs(drawn) <= none, 0.0, drawn), np.where(spreads <= none**2, 0.0, spreads)
        theirs, mine = drawn**2 * spread, own**2 * spreads
        return _p_value(theirs > mine, theirs - mine, np.maximum(theirs, mine))

    return p
