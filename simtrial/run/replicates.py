"""Replicates that Monte Carlo standard errors ask for, from nominal rates, [design], or a few trials of each cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite, sqrt
from typing import Any

import polars as pl

from simtrial.estimands import true_values
from simtrial.generate import practices_per_trial
from simtrial.performance import SHARES, Options, performance
from simtrial.performance.summary import options_of
from simtrial.run.block import block_rows
from simtrial.run.probe import Progress
from simtrial.run.sizes import with_block
from simtrial.sample_size import power
from simtrial.scenario import Cell, Scenario
from simtrial.scenario.schema import targets

PROBED = 200
"""Trials of each cell that standard deviations are taken from: they are known to about 5%, replicates to 10%."""

NOMINAL = ("coverage", "bias_eliminated_coverage", "worst_case_coverage")
"""Shares that are taken to be as large as the level of the method."""


@dataclass(frozen=True)
class Wanted:
    """Replicates that a method of a cell needs for one measure, and what that rests on; infinite: none suffice."""

    measure: str
    mcse: float
    method: str
    cell: str
    basis: str
    replicates: float


def wanted(
    scenario: Scenario, cells: Sequence[Cell], errors: Mapping[str, float], progress: Progress
) -> list[Wanted]:  # fmt: skip
    """Replicates for the wanted error of every measure: for each method the cell that needs most.

    Shares: n = p (1 - p)/MCSE^2. Other measures: n = (S/MCSE)^2 with S the Monte Carlo error of one replicate, found in
    `PROBED` trials; S of the bias is the empirical SE, and the error of the true value, which no replicate removes, is
    taken off first. Trials in which a method failed are made up for.
    """
    probed = [name for name in errors if name not in SHARES]
    found: dict[tuple[str, str], Wanted] = {}
    for done, cell in enumerate(cells, 1):
        lines = [*_shares(cell, errors)]
        lines += _probed(scenario, cell, {name: errors[name] for name in probed}) if probed else []
        for line in lines:
            key = (line.measure, line.method)
            if key not in found or line.replicates > found[key].replicates:
                found[key] = line
        progress(done, len(cells), 0.0)
    return sorted(found.values(), key=lambda line: [*errors].index(line.measure))


def most(lines: Sequence[Wanted]) -> float:
    """Replicates that meet every wanted error."""
    return max((line.replicates for line in lines), default=0.0)


def _shares(cell: Cell, errors: Mapping[str, float]) -> Iterator[Wanted]:
    for measure, mcse in errors.items():
        if measure in SHARES:
            for method in cell.scenario.methods:
                share, basis = _share(measure, cell, method.name)
                n = ceil(share * (1 - share) / mcse**2 * (1 - 1e-12))  # 0.0475/0.005^2 is 1900 in decimals
                place = cell.label if basis.startswith("[design]") else "every cell"
                yield Wanted(
                    measure=measure, mcse=mcse, method=method.name, cell=place, basis=basis, replicates=max(n, 1)
                )


def _share(measure: str, cell: Cell, name: str) -> tuple[float, str]:
    """The size that a share is expected to have: nominal, by the formula of [design], or the one that needs most."""
    method = next(m for m in cell.scenario.methods if m.name == name)
    if measure in NOMINAL:
        return method.level, f"nominal {method.level:g}"
    if measure in ("lower_miss", "upper_miss"):
        return (1 - method.level) / 2, f"nominal {(1 - method.level) / 2:g}"
    design = cell.scenario.design
    kinds = {e.name: e.kind for e in cell.scenario.estimands}
    itt = "itt" in {kinds.get(target) for target in targets(method, cell.scenario)}
    if measure == "rejection_rate" and design is not None and itt:
        share = power(design, practices_per_trial(cell.scenario.mechanism), t=True)
        if isfinite(share):
            return share, f"[design]: power {share:.3f}"
    return 0.5, "worst case, 0.5"


def _probed(scenario: Scenario, cell: Cell, errors: Mapping[str, float]) -> Iterator[Wanted]:
    """Replicates by the Monte Carlo error in a few trials of a cell."""
    rows = block_rows(with_block(cell, PROBED), 0)
    own = cell.scenario
    truths = true_values(own.estimands, own.mechanism, own.run.seed, cell.key)
    known = pl.DataFrame(
        {"cell": cell.id, "estimand": [t.estimand for t in truths], "true_value": [t.value for t in truths],
         "true_value_mcse": [0.0 for _ in truths]},
        schema_overrides={"cell": pl.String, "true_value": pl.Float64},
    )  # fmt: skip
    stated = options_of({"scenario": scenario.raw})
    frame = performance(rows, known, Options([*errors], stated.form, None, stated.alphas))
    of_truth = {t.estimand: t.mcse for t in truths}
    for row in frame.filter(pl.col("measure").is_in(list(errors))).iter_rows(named=True):
        measure, mcse = row["measure"], errors[row["measure"]]
        about: dict[str, Any] = {"measure": measure, "mcse": mcse, "method": row["method"], "cell": cell.label}
        if row["mcse"] is None or not row["n"]:
            basis = f"no such error in {PROBED} trials"
            yield Wanted(**about, basis=basis, replicates=inf)
            continue
        left = mcse**2 - (of_truth[row["estimand"]] ** 2 if measure == "bias" else 0.0)
        one = row["mcse"] * sqrt(row["n"])
        n = inf if left <= 0 else ceil(one**2 / left * PROBED / row["n"])
        what = "empirical SE" if measure in ("bias", "mean_estimate") else "error of one replicate"
        basis = "the true value is less precise" if left <= 0 else f"{what} {one:.4g} in {row['n']} trials"
        yield Wanted(**about, basis=basis, replicates=n)
