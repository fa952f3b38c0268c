"""What of a summary is wanted: cells, methods and measures by name, and a factor across columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simtrial.errors import SimtrialError, unknown

if TYPE_CHECKING:
    import polars as pl

    from simtrial.report.performance import Shown


@dataclass(frozen=True)
class Selection:
    """Names of cells, methods and measures (empty: all), a factor whose levels stand side by side (empty: none).

    ``reference`` as the command line names it; ``caption`` of the tables of measures.
    """

    cells: Sequence[str] = ()
    methods: Sequence[str] = ()
    measures: Sequence[str] = ()
    across: str = ""
    reference: str | None = None
    caption: str = ""

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.cells or self.methods or self.measures)

    def check(self, form: str) -> None:
        """Refuse names of measures that are none, and a layout that the form has not."""
        from simtrial.flags import CAUSES
        from simtrial.kernels.interval_sets import KINDS
        from simtrial.performance import MEASURES, PAIRED
        from simtrial.performance.spoken import unknown_measure

        seen = ["failures", "own_true_value", *(f"flag:{n}" for n in CAUSES), *(f"ci_type:{k}" for k in KINDS[1:])]
        for name in self.measures:
            if name not in (*MEASURES, *PAIRED, *seen):
                message = unknown_measure(name, [*MEASURES, *PAIRED, "failures"])
                raise SimtrialError(f"--measure: {message}")
        if self.caption and form in ("csv", "json"):
            raise SimtrialError(f"--caption: {form} has no title; it is for tables")
        if self.across and form in ("csv", "json"):
            raise SimtrialError(f"--across {self.across}: {form} has a column for every factor; it is for tables")

    def measures_or(self, stated: Sequence[str], reference: str | None) -> list[str]:
        """Measures to compute: those wanted, or else those stated."""
        from simtrial.performance import PAIRED

        paired = [name for name in self.measures if name in PAIRED]
        if paired and reference is None:
            raise SimtrialError(f"--measure {paired[0]}: compares with a reference method; name it with --reference")
        return [*self.measures] or [*stated]

    def cells_of(self, cells: pl.DataFrame) -> set[str]:
        """Ids of the cells that are wanted, all where none is named."""
        from simtrial.commands.named import named_cells

        return set(named_cells(cells, self.cells) if self.cells else cells["cell"])

    def of(self, frame: pl.DataFrame, form: str) -> pl.DataFrame:
        """Lines of a performance that are wanted; tables keep what they print beside the measures."""
        import polars as pl

        from simtrial.performance import PAIRED

        there = frame["method"].unique(maintain_order=True).to_list()
        for name in self.methods:
            if name not in there:
                raise SimtrialError(f"--method: {unknown('method', name, there)}")
        if self.methods:
            frame = frame.filter(pl.col("method").is_in(list(self.methods)))
        if not self.measures:
            return frame
        asked = list(self.measures)
        if self.reference is not None and not any(name in PAIRED for name in asked):
            asked += PAIRED
        asked += [] if form in ("csv", "json") else ["own_true_value"]
        counted = pl.col("measure") == "failures"
        counted |= pl.col("measure").str.starts_with("flag:") | pl.col("measure").str.starts_with("ci_type:")
        wanted = pl.col("measure").is_in(asked)
        return frame.filter(wanted if form in ("csv", "json") else wanted | counted)

    def shown(self, common: bool) -> Shown:
        """What the tables print; ``common``: of the replicates in which every method has an estimate."""
        from simtrial.report.performance import Shown

        return Shown(self.measures, self.across, self.caption, common)
