"""The compiled kernels: arguments as of their twins in `simtrial.kernels`, then the arrays that they fill."""

from simtrial.arrays import Bools, Floats, Ints

VERSION: int

def one_sweep(
    inverse: Floats, root: Floats, kept: Floats, x_means: Floats, sizes: Floats, place: Ints, trial: Ints,
    missing: Bools, varying: Ints, inner: Floats, seen_inside: Floats, seen_sums: Floats, seen_squares: Floats,
    for_beta: Floats, for_residual: Floats, for_between: Floats, for_effects: Floats, for_first: Floats,
    for_second: Floats, effects: Floats, residual: Floats, between: Floats, cells: Floats, residual_scale: float,
    between_scale: float, /,
) -> None: ...  # fmt: skip
