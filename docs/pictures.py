"""Pictures of docs/figures.md: run docs/figures/study.toml and draw one small figure of every kind.

``make docs-numbers`` runs it; the same scenario and version give the same bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent / "figures"
CELL = ("--cell", "number=8, icc=0.1, rate=0.3")
PICTURES: dict[str, tuple[str, ...]] = {
    "flow": ("--column", "single", *CELL),
    "trials": (*CELL, "--measure", "people per practice", "--measure", "ICC of mansa at baseline",
               "--measure", "lost, intervention"),
    "swarm": (*CELL, "--method", "2SLS", "--column", "single"),
    "se-estimate": (*CELL, "--method", "OLS, CR2", "--column", "single"),
    "paired": (*CELL, "--method", "mixed model", "--method", "cluster means", "--column", "single"),
    "zip": (*CELL, "--method", "mixed model, normal", "--column", "single"),
    "heatmap": ("--method", "mixed model", "--method", "mixed model, normal", "--method", "OLS, CR2", "--cell",
                "number=8, icc=0.0, rate=0.3", *CELL, "--cell", "number=8, icc=0.3, rate=0.3"),
    "lollipop": (*CELL, "--measure", "bias", "--measure", "coverage", "--column", "single"),
    "nested-loop": ("--measure", "coverage", "--method", "mixed model", "--method", "mixed model, normal", "--method",
                    "OLS, CR2"),
    "power": ("--factor", "number", "--cell", "number=8, icc=0.1, rate=0.3", "--cell", "number=12, icc=0.1, rate=0.3",
              "--cell", "number=24, icc=0.1, rate=0.3", "--method", "mixed model", "--method", "mixed model, normal",
              "--method", "cluster means", "--column", "single"),
    "cost": ("--column", "single",),
}  # fmt: skip
"""Figures, and what of the study each shows. Times of `cost` are never the same twice: only a missing one is drawn."""


def main() -> None:
    """Run the study and draw what is asked for by name, or everything."""
    wanted = sys.argv[1:] or list(PICTURES)
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "study")
        _simtrial("run", str(FOLDER / "study.toml"), "-o", run)
        for name in wanted:
            file = FOLDER / f"{name}.svg"
            if name == "cost" and file.exists() and len(sys.argv) == 1:
                continue
            _simtrial("plot", run, name, "-o", str(file), *PICTURES[name])


def _simtrial(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "simtrial", *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
