"""Power by formula in a sweep follows the cell; `show` says that it simulates; a reference shows paired differences."""

from pathlib import Path
from typing import Any

import pytest
from commands import simtrial
from scipy import stats
from test_implied import MANSA, UNITS
from tomls import written

from simtrial.report.designs import design_of, following
from simtrial.run.implied import implied
from simtrial.sample_size import Design, power
from simtrial.scenario import load

DESIGN = """
[design]
difference = 0.4
sd = 1.1
cluster_size_mean = 8.0
icc = 0.1
baseline_correlation = 0.6
"""


def designs(folder: Path, vary: str, *sets: str) -> list[tuple[dict[str, Any], dict[str, Design]]]:
    """Factors of every cell, and the design it implies by method."""
    cells = load(written(folder, UNITS + DESIGN + f"\n[vary.cross]\n{vary}\n"), sets)[1]
    rows = []
    for cell in cells:
        assert cell.scenario.design is not None
        quantities = implied(cell)
        found = {m.name: design_of(cell.scenario.design, cell, m, quantities) for m in cell.scenario.methods}
        rows.append((dict(cell.factors), {name: d for name, d in found.items() if d is not None}))
    return rows


@pytest.mark.parametrize(
    ("key", "levels", "option", "right"),
    [
        (f"{MANSA}.icc", [0.01, 0.05, 0.3], "icc", lambda v: (0.025 + 0.64 * v) / 0.89),
        (f"{MANSA}.effect", [0.1, 0.2, -0.5], "difference", abs),
        (f"{MANSA}.residual_sd", [0.5, 0.8, 2.0], "sd", lambda v: (0.25 + v * v) ** 0.5),
        (f"{MANSA}.baseline_slope", [0.0, 0.5], "baseline_correlation", lambda v: v / (v * v + 0.64) ** 0.5),
        ("mechanism.practices.cluster_size_mean", [5.0, 20.0], "cluster_size_mean", float),
        ("mechanism.practices.cluster_size_cv", [0.5, 0.9], "cluster_size_cv", float),
    ],
)
def test_the_formula_follows_what_is_varied(
    key: str, levels: list[float], option: str, right: Any, tmp_path: Path
) -> None:
    """Each with the numbers of the cell, in closed form; alpha is that of [design]."""
    for factors, found in designs(tmp_path, f'"{key}" = {levels}'):
        assert getattr(found["model"], option) == pytest.approx(right(factors[key]), rel=1e-12)
        assert found["unadjusted"].baseline_correlation == 0.0
        assert found["model"].alpha == 0.05


def test_losses_follow_dropout_of_people_and_practices(tmp_path: Path) -> None:
    """Share with an outcome: mean of 0.9 and 0.8, times the share of practices that stay (simulated, 0.02 wide)."""
    vary = '"mechanism.dropout.practice_rate" = [0.0, 0.3]'
    for factors, found in designs(tmp_path, vary):
        stays = 1 - factors["mechanism.dropout.practice_rate"]
        assert found["model"].practice_loss == pytest.approx(1 - stays)
        assert found["model"].kept == pytest.approx(0.85 * stays, abs=0.04)


def test_power_of_a_cell_by_hand(tmp_path: Path) -> None:
    """Normal: Phi(d/SE - 1.96) with SE^2 = 4 (1 + ((CV^2 + 1) m - 1) ICC) sd^2/N, everybody seen, not adjusted."""
    sets = ["mechanism.dropout.rate=0", "mechanism.dropout.rate_intervention=0"]
    cell = load(written(tmp_path, UNITS + DESIGN), sets)[1][0]
    assert cell.scenario.design is not None
    method = next(m for m in cell.scenario.methods if m.name == "unadjusted")
    normal, t = following(cell.scenario.design, cell, method, implied(cell), 20)
    icc = 0.057 / 0.89
    error = (4 * (1 + (1.25 * 10 - 1) * icc) * 0.89 / 200) ** 0.5
    assert normal == f"{stats.norm.sf(1.959963984540054 - 0.3 / error):.3f}"
    assert t == f"{stats.nct.sf(stats.t.ppf(0.975, 18), 18, 0.3 / error):.3f}"


def test_a_cell_without_an_effect_or_with_nobody_seen_has_no_nonsense(tmp_path: Path) -> None:
    cell = load(written(tmp_path, UNITS + DESIGN), [f"{MANSA}.effect=0"])[1][0]
    assert cell.scenario.design is not None
    found = following(cell.scenario.design, cell, cell.scenario.methods[0], implied(cell), 20)
    assert found == ("0.050", "0.050")  # the level, both tails
    assert following(cell.scenario.design, cell, cell.scenario.methods[0], implied(cell), 2)[1] == "-"


def test_power_counts_rejection_on_either_side() -> None:
    """At no difference the level; elsewhere the other tail hardly counts (Phi(-1.96 - 3) = 4e-7)."""
    design = Design(difference=1e-9, sd=1.0, cluster_size_mean=10.0, icc=0.1)
    assert power(design, 20, t=False) == pytest.approx(0.05, abs=1e-8)
    assert power(design, 20) == pytest.approx(0.05, abs=1e-8)


def test_show_says_that_it_simulates_and_prints_a_power_for_every_icc(tmp_path: Path) -> None:
    text = UNITS + DESIGN + f'\n[vary.cross]\n"{MANSA}.icc" = [0.01, 0.1, 0.4]\n'
    done = simtrial("show", written(tmp_path, text))
    assert done.code == 0, done.err
    assert "[design]: 1,000 trials per cell are simulated and analysed" in done.err
    assert "3/3 cells" in done.err
    power_table = done.out[done.out.index("Power by the formulas") :]
    lines = [line for line in power_table.splitlines() if line.strip().startswith("icc=") and "unadjusted" in line]
    by_t = [line.split()[6] for line in lines]
    assert len(set(by_t)) == 3
    assert len({line.split()[4] for line in lines}) == 1  # the plan as written
    assert "plan: the formula with [design] as written" in done.out


MEASURED = '\n[performance]\nmeasures = ["bias", "coverage"]\n'


@pytest.mark.parametrize("where", ["scenario", "option"])
def test_a_reference_shows_the_differences_whatever_the_measures(where: str, tmp_path: Path) -> None:
    reference = 'reference = "model"\n' if where == "scenario" else ""
    file = written(tmp_path, UNITS + MEASURED + reference)
    folder = tmp_path / "run"
    ran = simtrial("run", file, "-o", folder)
    option = ["--reference", "unadjusted"] if where == "option" else []
    shown = simtrial("summarise", folder, *option)
    assert "Difference from the reference method" in shown.out
    assert ("Difference from the reference method" in ran.out) == (where == "scenario")
    long = simtrial("summarise", folder, *option, "--format", "csv").out
    for measure in ("bias_difference", "relative_precision", "coverage_difference", "width_difference"):
        assert measure in long
    assert "median_bias" not in long


def test_differences_that_are_named_are_those_shown(tmp_path: Path) -> None:
    named = MEASURED.replace('"coverage"', '"bias_difference"') + 'reference = "model"\n'
    folder = tmp_path / "run"
    simtrial("run", written(tmp_path, UNITS + named), "-o", folder)
    long = simtrial("summarise", folder, "--format", "csv").out
    assert "bias_difference" in long
    assert "relative_precision" not in long


def test_without_a_reference_there_are_no_differences(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    simtrial("run", written(tmp_path, UNITS + MEASURED), "-o", folder)
    assert "difference" not in simtrial("summarise", folder, "--format", "csv").out
