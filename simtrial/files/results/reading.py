"""The user's options for reading a file of results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from simtrial.errors import DataError


@dataclass(frozen=True)
class Reading:
    """How a file is to be read: names of columns, factors, a true value for all, df and level of intervals."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    by: Sequence[str] = ()
    true: str | None = None
    df: float | None = None
    level: float = 0.95

    def check(self) -> None:
        """Refuse numbers that are none."""
        if self.df is not None and not self.df > 0:
            raise DataError(f"--df {self.df:g}: degrees of freedom must be above 0 (inf: the normal distribution)")
        if self.true_number is not None and not math.isfinite(self.true_number):
            raise DataError(f"--true {self.true}: a true value must be a finite number")

    @property
    def true_number(self) -> float | None:
        """The true value of all rows, None where ``true`` names a column."""
        try:
            return None if self.true is None else float(self.true)
        except ValueError:
            return None

    @property
    def true_column(self) -> str | None:
        """The column that ``true`` names."""
        return self.true if self.true_number is None else None
