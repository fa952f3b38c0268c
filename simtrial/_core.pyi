"""The compiled kernels: arguments as of their twins in `simtrial.kernels`, then the arrays that they fill."""

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints

VERSION: int

def evaluate(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, gamma: Floats, nu: Floats, reml: bool,
    inverse: Floats, first: Floats, coefficients: Floats, value: Floats, slope: Floats, curvature: Floats, rss: Floats,
    rss1: Floats, rss2: Floats, log_determinant: Floats, trace1: Floats, trace2: Floats, squares: Floats, /,
) -> None: ...  # fmt: skip
def lowest(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, nu: Floats, reml: bool, grid: Floats, nodes: Floats,
    shift: float, gamma: Floats, sure: Bools, /,
) -> None: ...  # fmt: skip
def grid_parts(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, grid: Floats, rss: Floats, logs: Floats,
    log_determinant: Floats, /,
) -> None: ...  # fmt: skip
def conditional(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, gamma: Floats, root: Floats, coefficients: Floats,
    rss: Floats, /,
) -> None: ...  # fmt: skip
def one_sweep(
    inverse: Floats, root: Floats, kept: Floats, x_means: Floats, sizes: Floats, place: Ints, trial: Ints,
    missing: Bools, varying: Ints, inner: Floats, seen_inside: Floats, seen_sums: Floats, seen_squares: Floats,
    for_beta: Floats, for_residual: Floats, for_between: Floats, for_effects: Floats, for_first: Floats,
    for_second: Floats, effects: Floats, residual: Floats, between: Floats, cells: Floats, residual_scale: float,
    between_scale: float, /,
) -> None: ...  # fmt: skip
def difference(
    arm: Bools, y: Floats, a: Floats, marks: Ints, starts: Ints, summed: bool, y_drawn: Floats, a_drawn: Floats,
    there: Bools, scheme: Ints, /,
) -> None: ...  # fmt: skip
def refit(
    drawn: NDArray[np.float32], scores: Floats, side: Floats, y: Floats, a: Floats, yy: Floats, ya: Floats,
    aa: Floats, /,
) -> None: ...  # fmt: skip
def interval(
    y: Floats, a: Floats, yy: Floats, ya: Floats, aa: Floats, estimate: Floats, variance: Floats, ends: Floats,
    alpha: float, equal_tailed: bool, /,
) -> None: ...  # fmt: skip
def slot_products(
    means: Floats, within: Floats, place: Ints, slot: Ints, trial: Ints, first: int, between: Floats, pooled: Floats, /
) -> None: ...
def leverage(
    rows: Floats, inverse: Floats, contrast: Floats, power: float, weights: Floats, df: Floats, singular: Bools, /
) -> None: ...
def by_cluster(
    values: Floats, members: Ints, trial: Ints, nothing: Floats, anchor: Floats, shift: Floats, deviation: Floats, /
) -> None: ...
def products_by(one: Floats, other: Floats, members: Ints, sums: Floats, /) -> None: ...
def minimise(
    levels: Ints, coins: Floats, practice_trial: Ints, arrived: Ints, weights: Floats, ratio: Ints, chances: Floats,
    arm: Ints, most: int, imbalance: int, /,
) -> None: ...  # fmt: skip
def invert(cumulative: Floats, uniform: Floats, values: Floats, /) -> None: ...
def expected_information(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, dropped: Floats, gamma: Floats, inner: Floats,
    reml: bool, p_tau: Floats, p_sigma: Floats, q_tt: Floats, q_ts: Floats, q_ss: Floats, information: Floats, /,
) -> None: ...  # fmt: skip
def evaluate_visits(
    counts: Floats, sums: Floats, products: Floats, dropped: Floats, e: Floats, root: Floats, reml: bool,
    value: Floats, slopes: Floats, inverse: Floats, coefficients: Floats, log_determinant: Floats, rest: Floats,
    s: Floats, k: Floats, /,
) -> None: ...  # fmt: skip
def curvature_of_visits(
    counts: Floats, sums: Floats, products: Floats, dropped: Floats, e: Floats, s: Floats, k: Floats,
    curvature: Floats, /,
) -> None: ...  # fmt: skip
def values_of_visits(
    counts: Floats, sums: Floats, products: Floats, dropped: Floats, x: Floats, reml: bool, values: Floats, /
) -> None: ...
def minimise_visits(
    counts: Floats, sums: Floats, products: Floats, dropped: Floats, trial: Ints, free: Bools, reml: bool,
    start: Floats, found: Floats, ended: Floats, sure: Bools, /,
) -> None: ...  # fmt: skip
def values_of_arms(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, dropped: Floats, theta: Floats, reml: bool,
    values: Floats, /,
) -> None: ...  # fmt: skip
def minimise_arms(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, dropped: Floats, tied: Floats, count: int,
    reml: bool, trial: Ints, start: Floats, scale: Floats, held: Bools, found: Floats, ended: Floats, sure: Bools, /,
) -> None: ...  # fmt: skip
