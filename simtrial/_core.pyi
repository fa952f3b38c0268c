"""The compiled kernels: arguments as of their twins in `simtrial.kernels`, then the arrays that they fill."""

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints

VERSION: int
LANES: int
"""Trials that the kernels work on side by side."""

def evaluate(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, gamma: Floats, nu: Floats, reml: bool,
    inverse: Floats, first: Floats, coefficients: Floats, value: Floats, slope: Floats, curvature: Floats, rss: Floats,
    rss1: Floats, rss2: Floats, log_determinant: Floats, trace1: Floats, trace2: Floats, squares: Floats, /,
) -> None: ...  # fmt: skip
def lowest(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, nu: Floats, reml: bool, grid: Floats, nodes: Floats,
    shift: float, of_x: Floats, is_known: bool, gamma: Floats, sure: Bools, at_zero: Floats, inverse: Floats,
    first: Floats, coefficients: Floats, value: Floats, slope: Floats, curvature: Floats, rss: Floats, rss1: Floats,
    rss2: Floats, log_determinant: Floats, trace1: Floats, trace2: Floats, squares: Floats, /,
) -> None: ...  # fmt: skip
def grid_parts(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, grid: Floats, rss: Floats, logs: Floats,
    log_determinant: Floats, /,
) -> None: ...  # fmt: skip
def conditional(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, gamma: Floats, root: Floats, coefficients: Floats,
    rss: Floats, /,
) -> None: ...  # fmt: skip
def imputed_values(
    gamma: Floats, sigma2: Floats, beta: Floats, practice_trial: Ints, sizes: Floats, means: Floats,
    practice_noise: Floats, trial: Ints, place: Ints, center: Floats, x: Floats, noise: Floats, values: Floats, /,
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
def without_clusters(
    sizes: Floats, counts: Floats, between: Floats, within: Floats, dropped: Floats, rank: Floats, rows: Floats,
    means: Floats, inside: Floats, place: Ints, slot: Ints, numbers: Floats, trial: Ints, chosen: Ints,
    rounding: float, aliased: float, left_counts: Floats, left_between: Floats, left_within: Floats,
    left_dropped: Floats, left_rank: Floats, left_rows: Floats, gone: Bools, /,
) -> None: ...  # fmt: skip
def gram(
    means: Floats, within: Floats, place: Ints, sizes: Floats, trial: Ints, first: int, gram: Floats, /
) -> None: ...
def leverage(
    rows: Floats, inverse: Floats, contrast: Floats, power: float, weights: Floats, df: Floats, singular: Bools, /
) -> None: ...
def variance(weights: Floats, rows: Floats, responses: Floats, coefficients: Floats, variance: Floats, /) -> None: ...
def remaining(gram: Floats, scale: Floats, tolerance: float, left: Floats, /) -> None: ...
def sweep(matrix: Floats, inverse: Floats, coefficients: Floats, rest: Floats, log_determinant: Floats, /) -> None: ...
def bases(
    means: Floats, sizes: Floats, products: Floats, varies: Ints, scales: Floats, place: Ints, laid_out: Floats, /
) -> None: ...
def who_stands_where(
    seen: Bools, practice: Ints, trial: Ints, rows: Ints, cluster: Ints, cluster_trial: Ints, position: Ints,
    sizes: Floats, counts: Floats, clusters: Floats, found: Ints, /,
) -> None: ...  # fmt: skip
def centred(
    values: Floats, at: Ints, members: Ints, trial: Ints, others: Floats, measured: bool, rounding: float,
    smallest: float, largest: float, means: Floats, deviation: Floats, center: Floats, beyond: Bools,
    products: Floats, /,
) -> None: ...  # fmt: skip
def minimise(
    levels: Ints, coins: Floats, practice_trial: Ints, arrived: Ints, weights: Floats, ratio: Ints, chances: Floats,
    arm: Ints, most: int, imbalance: int, /,
) -> None: ...  # fmt: skip
def invert(cumulative: Floats, uniform: Floats, values: Floats, /) -> None: ...
def between_scores(normal: Floats, scores: Floats, quantiles: Floats, found: Floats, /) -> None: ...
def in_random_order(codes: NDArray[np.int64], uniform: Floats, found: NDArray[np.int64], /) -> None: ...
def record(score: Floats, items: float, lowest: float, highest: float, recorded: Floats, /) -> None: ...
def with_practices(
    expected: Floats, of_practices: Floats, practice: Ints, own: Floats, within: float, score: Floats, /
) -> None: ...
def sessions_at(
    of_practices: Floats, practice: Ints, own: Floats, within: float, guide: Floats, per_score: float, found: Floats,
    near: Ints, count: Ints, /,
) -> None: ...  # fmt: skip
def practice_of_people(recruited: Ints, practice: Ints, /) -> None: ...
def record_both(
    control: Floats, intervention: Floats, offered: Bools, practice: Ints, items: float, lowest: float, highest: float,
    found: Floats, /,
) -> None: ...  # fmt: skip
def weighted_sum(first: float, of_first: Floats, second: float, of_second: Floats, found: Floats, /) -> None: ...
def with_effect(score: Floats, effect: Floats, reached: Bools, found: Floats, /) -> None: ...
def stays(latent: Floats, limit: float, uniform: Floats, probability: float, marks: NDArray[np.int64], /) -> None: ...
def from_baseline(
    baseline: Floats, line: Floats, of_practices: Floats, practice: Ints, own: Floats, within: float, score: Floats, /
) -> None: ...
def spared(uniform: Floats, probability: float, marks: NDArray[np.int64], /) -> None: ...
def blanked(values: Floats, absent: Bools, found: Floats, /) -> None: ...
def in_arm(offered: Bools, practice: Ints, control: Floats, intervention: Floats, found: Floats, /) -> None: ...
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
def point_of_classes(
    outcome: Floats, first: Floats, other: Floats, predictors: Floats, in_first: Floats, practice_trial: Ints,
    sizes: Ints, at: Floats, nodes: Floats, log_weights: Floats, derivatives: bool, loglik: Floats, score: Floats,
    complete: Floats, missing: Floats, /,
) -> None: ...  # fmt: skip
