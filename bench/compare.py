"""Two results of pytest-benchmark, kernel by kernel: ``python bench/compare.py OLD.json NEW.json [--factor 1.3]``.

Times of two runs are never compared: a machine may be slower, or busy, in one of them. Each kernel's time is divided by
that of a reference kernel of plain numpy in the same run, and the two quotients are compared. Their ratio is formed
from the shortest times, the lower quartiles and the medians of the rounds; the three show how much noise matters.
Exit 1 if for one kernel all three are above ``--factor``, exit 2 if the files cannot be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

REFERENCE = "test_reference"
STATISTICS = ("min", "q1", "median")

Times = dict[str, dict[str, float]]


class NotComparable(Exception):
    """Files that say nothing about each other."""


def times(file: Path) -> Times:
    """Shortest time, lower quartile and median of every kernel of a result."""
    try:
        kernels: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
        return {k["name"]: {name: float(k["stats"][name]) for name in STATISTICS} for k in kernels}
    except OSError as error:
        raise NotComparable(f"{file}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise NotComparable(f"{file}: no result of pytest-benchmark (--benchmark-json writes one)") from None


def quotients(found: Times, reference: str, file: Path) -> Times:
    """Times of the kernels in those of the reference kernel."""
    if reference not in found or not all(found[reference].values()):
        there = ", ".join(sorted(found)) or "none"
        raise NotComparable(f"{file}: no reference kernel '{reference}' (there are: {there})")
    per = found[reference]
    return {name: {s: t[s] / per[s] for s in STATISTICS} for name, t in found.items() if name != reference}


def ratios(old: Times, new: Times) -> dict[str, tuple[float, ...]]:
    """New over old by kernel, smallest first; kernels that one of them lacks are left out."""
    return {name: tuple(sorted(new[name][s] / old[name][s] for s in STATISTICS)) for name in old if name in new}


def main(arguments: list[str] | None = None) -> int:
    """Print the ratios, the worst first."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--factor", type=float, default=1.3, help="slower than this fails (default 1.3)")
    parser.add_argument("--reference", default=REFERENCE, help=f"name of the reference kernel (default {REFERENCE})")
    chosen = parser.parse_args(arguments)
    try:
        old, new = (quotients(times(file), chosen.reference, file) for file in (chosen.old, chosen.new))
        found = ratios(old, new)
        if not found:
            raise NotComparable(f"{chosen.old} and {chosen.new} have no kernel in common but the reference")
    except NotComparable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    slower = [name for name, (low, _, _) in found.items() if low > chosen.factor]
    for name, (low, middle, high) in sorted(found.items(), key=lambda item: -item[1][1]):
        print(f"{middle:6.2f} ({low:.2f} to {high:.2f})  {'SLOWER  ' if name in slower else ''}{name}")
    for name in sorted(set(old) ^ set(new)):
        print(f"     -                 {name}: in one of the two only")
    print(f"{len(slower)} of {len(found)} slower by more than {chosen.factor:g}, in times of {chosen.reference}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
