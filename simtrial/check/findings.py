"""What a check has to say, line by line, whatever it was checked against: the common form of all outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Finding:
    """One thing that was checked of a method in a cell.

    ``source`` is expectation, failed fits or baseline; ``verdict`` its word; ``fails`` whether it fails the check, and
    ``doubtful`` whether a reader should look at it all the same. ``n`` replicates, ``failed`` of them without a result.
    ``command`` shows the first replicate concerned. ``about`` is what was checked: the same whatever comes of it.
    """

    source: str
    cell: str
    method: str
    measure: str
    verdict: str
    fails: bool
    doubtful: bool
    n: int
    failed: int
    sentence: str
    command: str = ""
    about: str = ""


def of_expectations(
    frame: pl.DataFrame, labels: Mapping[str, str], source: str, first: Mapping[tuple[str, str], tuple[int, str]],
    command: Callable[[str, int], str],
) -> list[Finding]:  # fmt: skip
    """Findings of a table of expectations with their fits (`simtrial.check.failed_fits.with_fits`).

    ``first`` are the first failed replicate and its cause by cell and method; ``command`` shows a replicate of a cell.
    """
    found = []
    for row in frame.iter_rows(named=True):
        n, failed = (row["n"], 0) if row["replicates"] is None else (row["replicates"], row["failed"])
        value = "none" if row["value"] is None else f"{row['value']:.4g}"
        mcse = "" if row["mcse"] is None else f" (MCSE {row['mcse']:.2g})"
        expected = row["expected"]
        fails = row["verdict"] == "FAIL"
        about = first.get((row["cell"], row["method"])) if fails and row["measure"] == "failures" else None
        against = f" against {row['estimand']}" if row["estimand"] else ""
        why = "" if about is None else f"; the first that failed, replicate {about[0]}: {about[1]}"
        found.append(
            Finding(
                source=source,
                cell=labels.get(row["cell"], row["cell"]),
                method=row["method"],
                measure=row["measure"],
                verdict=row["verdict"],
                fails=fails,
                doubtful=False,
                n=n,
                failed=failed,
                sentence=f"{row['measure']} {value}{mcse}, expected {expected}{why}",
                about=f"{source}: {row['measure']}{against}, {expected}",
                command="" if about is None else command(row["cell"], about[0]),
            )
        )
    return found


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Findings that fail first, then doubtful ones; otherwise as they came."""
    return sorted(findings, key=lambda f: (not f.fails, not f.doubtful))
