"""The compiled kernels: arguments as of their twins in `simtrial.kernels`, then the arrays that they fill."""

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
