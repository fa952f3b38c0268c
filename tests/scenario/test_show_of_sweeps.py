"""What `show` simulates of a large sweep, and what cells have in common, drawn once for all of them."""

import json
from collections import Counter
from pathlib import Path

import pytest
from commands import simtrial
from runs import quick
from tomls import SMALL, written

from simtrial.generate import drawn_for
from simtrial.run import implied_cuts, sampled_cells, shared_people
from simtrial.run.implied_cuts import cuts, warnings
from simtrial.run.implied_people import drawn_people, trials_of
from simtrial.run.sampled_cells import all_or_sampled, sampled
from simtrial.scenario import load

__all__ = ["quick"]

SWEEP = (
    SMALL
    + """
[vary.cross]
"mechanism.practices.number" = [6, 12]
"mechanism.baseline.mean" = [4.0, 6.2]
"mechanism.outcomes.mansa.effect" = [0.0, 0.3, 2.0]
"mechanism.dropout.rate" = [0.1, 0.2]
"""
)


@pytest.mark.parametrize(
    "sets",
    [
        [],
        ["mechanism.outcomes.mansa.size_outcome=0.5"],  # settled by practices
        ["mechanism.dropout.drawn_first=true", "mechanism.dropout.slopes={ mansa_baseline = 0.3 }"],
    ],
)
def test_shares_cut_are_those_of_every_cell_by_itself(tmp_path: Path, sets: list[str]) -> None:
    try:
        cells = load(written(tmp_path, SWEEP), sets)[1]
    except Exception as error:  # an option of another name would test nothing
        pytest.fail(str(error))
    assert len(cells) == 24
    for cell, (recorded, shares) in zip(cells, implied_cuts._shares(cells), strict=True):
        whole = drawn_for(cell.scenario.needed, frozenset(recorded) | {"arm"}, masks=False)
        alone = cuts(whole, drawn_people(whole))
        assert shares == {name: float(cut.mean()) for name, cut in alone.items()}
        assert {"mansa_baseline", "mansa_if_control"} <= set(shares)


def test_a_cell_is_warned_of_whichever_its_place(tmp_path: Path) -> None:
    cells = load(written(tmp_path, SWEEP))[1]
    assert warnings(cells[:1]) == []
    found = {line.split("]")[0]: line for line in warnings(cells)}
    assert set(found) == {"[mechanism.baseline", "[mechanism.outcomes.mansa"}
    assert "in 12 of 24 cells" in found["[mechanism.baseline"]  # those with the higher mean
    again = {line.split("]")[0]: line for line in warnings(cells[::-1])}
    assert again["[mechanism.baseline"].split(", most")[0] == found["[mechanism.baseline"].split(", most")[0]


def test_cells_alike_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Practices twice, baseline four times: effects and dropout change nothing before the last stage."""
    drawn = Counter[str]()
    real = shared_people.after

    def counted(batch, stage, step, rng):
        drawn[stage] += 1
        return real(batch, stage, step, rng)

    monkeypatch.setattr(shared_people, "after", counted)
    warnings(load(written(tmp_path, SWEEP))[1])
    assert (drawn["practices"], drawn["baseline"]) == (2, 4)
    assert drawn["dropout"] == drawn["outcomes.mansa"] == 0


def test_a_pilot_of_what_enrols_counts_as_the_whole_trial(tmp_path: Path) -> None:
    from simtrial.generate import simulate

    for cell in load("partners-full")[1], load(written(tmp_path, SWEEP))[1]:
        mechanism = cell[0].scenario.mechanism
        pilot = simulate(mechanism, 1, 0, "", 0, purpose="implied: size: ").index.participants
        assert trials_of(mechanism) == max(1, -(-20_000 // pilot))


def test_a_sample_has_every_level(tmp_path: Path) -> None:
    cells = load(written(tmp_path, SWEEP))[1]
    some = sampled(cells, 6)
    assert len({cell.id for cell in some}) == 6
    for factor, times in (("mechanism.outcomes.mansa.effect", 2), ("mechanism.practices.number", 3)):
        assert set(Counter(cell.factors[factor] for cell in some).values()) == {times}
    assert [cell.id for cell in some] == [cell.id for cell in cells if cell in some]
    assert all_or_sampled(cells) == cells


@pytest.mark.usefixtures("quick")
def test_show_of_a_large_sweep_says_what_it_simulates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path, SWEEP)
    few = simtrial("show", file)
    assert "simulated" not in few.err
    assert "Implied by each cell" in few.out
    assert "24 cells: about" in few.out
    monkeypatch.setattr(sampled_cells, "MANY", 10)
    many = simtrial("show", file)
    assert "5 of 24 cells are simulated; --all-cells takes every one" in many.err
    assert "Implied by 5 of 24 cells" in many.out
    assert "5 of 24 cells; --format json lists all" in many.out
    found = json.loads(simtrial("show", file, "--format", "json").out)
    assert len(found["cells"]) == 24
    assert len({row["cell"] for row in found["implied"]} - {"base"}) == 5
    every = simtrial("show", file, "--all-cells", "--format", "csv")
    assert "are simulated" not in every.err
    assert {row.split(",")[0] for row in every.out.splitlines()[1:]} >= {cell["cell"] for cell in found["cells"]}
