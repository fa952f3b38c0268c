"""Critical values of the t ratio that depend on the first-stage F: the tF procedure at the 5% level.

Lee, McCrary, Moreira and Porter (2022, American Economic Review 112, doi:10.1257/aer.20211063), Table 3, give the
critical value c(F) at a hundred points, for linear interpolation: without bound up to F = 1.96^2, 1.96 from 104.67 on.
As c is convex, the line between two points is above it, and the test is never too liberal.
"""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Floats

LEVEL = 0.95
"""The only level of which the table is published here."""

NORMAL = 1.96
"""What the table calls the critical value without adjustment."""

_FIRST_STAGE = """
4.000 4.008 4.015 4.023 4.031 4.040 4.049 4.059 4.068 4.079 4.090 4.101 4.113 4.125 4.138 4.151 4.166 4.180 4.196 4.212
4.229 4.247 4.265 4.285 4.305 4.326 4.349 4.372 4.396 4.422 4.449 4.477 4.507 4.538 4.570 4.604 4.640 4.678 4.717 4.759
4.803 4.849 4.897 4.948 5.002 5.059 5.119 5.182 5.248 5.319 5.393 5.472 5.556 5.644 5.738 5.838 5.944 6.056 6.176 6.304
6.440 6.585 6.741 6.907 7.085 7.276 7.482 7.702 7.940 8.196 8.473 8.773 9.098 9.451 9.835 10.253 10.711 11.214 11.766
12.374 13.048 13.796 14.631 15.566 16.618 17.810 19.167 20.721 22.516 24.605 27.058 29.967 33.457 37.699 42.930 49.495
57.902 68.930 83.823 104.67"""
_CRITICAL = """
18.656 18.236 17.826 17.425 17.033 16.649 16.275 15.909 15.551 15.201 14.859 14.524 14.197 13.878 13.566 13.260 12.962
12.670 12.385 12.107 11.834 11.568 11.308 11.053 10.804 10.561 10.324 10.091 9.864 9.642 9.425 9.213 9.006 8.803 8.605
8.412 8.222 8.037 7.856 7.680 7.507 7.338 7.173 7.011 6.854 6.699 6.549 6.401 6.257 6.117 5.979 5.844 5.713 5.584 5.459
5.336 5.216 5.098 4.984 4.872 4.762 4.655 4.550 4.448 4.348 4.250 4.154 4.061 3.969 3.880 3.793 3.707 3.624 3.542 3.463
3.385 3.309 3.234 3.161 3.090 3.021 2.953 2.886 2.821 2.758 2.696 2.635 2.576 2.518 2.461 2.406 2.352 2.299 2.247 2.197
2.147 2.099 2.052 2.006 1.96"""
FIRST_STAGE, CRITICAL = (np.array([float(x) for x in text.split()]) for text in (_FIRST_STAGE, _CRITICAL))
"""The table: first-stage F and critical value of |t| (100,) each."""


def factor(first_stage_f: Floats) -> Floats:
    """What the standard error is multiplied by, c(F)/1.96 (trials,): infinite where F is below the table, at least 1.

    Between 1.96^2, where c is without bound, and the first point of the table, 4, no value is published: infinite.
    """
    found = np.interp(first_stage_f, FIRST_STAGE, CRITICAL / NORMAL)
    return np.where(np.isnan(first_stage_f), np.nan, np.where(first_stage_f < FIRST_STAGE[0], np.inf, found))
