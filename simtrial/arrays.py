"""Types of arrays, once for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Real numbers."""

Bools = NDArray[np.bool_]
"""Masks."""

Ints = NDArray[np.intp]
"""Places and counts."""
