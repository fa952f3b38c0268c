"""Types of arrays, once for all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Real numbers."""

Bools = NDArray[np.bool_]
"""Masks."""

Ints = NDArray[np.intp]
"""Places and counts."""


def in_order(*arrays: NDArray[np.generic]) -> Iterator[Floats]:
    """Arrays as real numbers in the order of C, as the compiled kernels take them; most are so, and not copied."""
    return (np.ascontiguousarray(values, np.float64) for values in arrays)
