"""Cells of a sweep: which there are, what identifies them, and which sweeps are refused."""

from pathlib import Path

import pytest
from tomls import SMALL, complaint, written

from simtrial.scenario import Cell, load
from simtrial.scenario.schema import build

ICC, RATE, NUMBER = "mechanism.outcomes.mansa.icc", "mechanism.dropout.rate", "mechanism.practices.number"


def cells(folder: Path, sweep: str) -> list[Cell]:
    return load(written(folder, SMALL + sweep))[1]


def cross(**levels: list[object]) -> str:
    names = {"icc": ICC, "rate": RATE, "number": NUMBER}
    return "\n[vary.cross]\n" + "".join(f'"{names[n]}" = {v}\n' for n, v in levels.items())


def by_factors(found: list[Cell]) -> dict[tuple[tuple[str, object], ...], tuple[str, str]]:
    return {tuple(sorted(c.factors.items())): (c.id, c.key) for c in found}


def test_a_full_factorial(tmp_path: Path) -> None:
    found = cells(tmp_path, cross(icc=[0.0, 0.1, 0.2], number=[12, 20]))
    assert [(c.factors[ICC], c.factors[NUMBER]) for c in found] == [
        (0.0, 12), (0.0, 20), (0.1, 12), (0.1, 20), (0.2, 12), (0.2, 20),
    ]  # fmt: skip
    assert len({c.id for c in found}) == len({c.key for c in found}) == 6
    for cell in found:
        assert cell.scenario.mechanism["outcomes.mansa"].icc == cell.factors[ICC]  # type: ignore[attr-defined]
        assert cell.scenario.mechanism["practices"].number == cell.factors[NUMBER]  # type: ignore[attr-defined]


def test_factors_moved_together(tmp_path: Path) -> None:
    found = cells(tmp_path, f'\n[vary.zip]\n"{ICC}" = [0.0, 0.2]\n"{RATE}" = [0.1, 0.3]\n')
    assert [(c.factors[ICC], c.factors[RATE]) for c in found] == [(0.0, 0.1), (0.2, 0.3)]


def test_zip_and_cross_multiply(tmp_path: Path) -> None:
    zipped = f'\n[vary.zip]\n"{ICC}" = [0.0, 0.2]\n"{RATE}" = [0.1, 0.3]\n'
    assert len(cells(tmp_path, zipped + cross(number=[12, 20, 40]))) == 6


def test_combinations_can_be_left_out(tmp_path: Path) -> None:
    sweep = cross(icc=[0.0, 0.1], number=[12, 20]) + f'\n[[vary.exclude]]\n"{ICC}" = 0.0\n"{NUMBER}" = 20\n'
    assert [(c.factors[ICC], c.factors[NUMBER]) for c in cells(tmp_path, sweep)] == [(0.0, 12), (0.1, 12), (0.1, 20)]


def test_without_a_sweep_there_is_one_cell(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, "")
    assert (cell.id, cell.key, dict(cell.factors)) == ("base", "", {})


def test_the_scenarios_own_values_are_the_base_cell(tmp_path: Path) -> None:
    found = cells(tmp_path, cross(icc=[0.0, 0.1]))
    assert [(c.id, c.key) for c in found if c.factors[ICC] == 0.1] == [("base", "")]


def test_reordering_levels_keeps_identities(tmp_path: Path) -> None:
    a = by_factors(cells(tmp_path, cross(icc=[0.0, 0.1, 0.2], number=[12, 20])))
    b = by_factors(cells(tmp_path, cross(number=[20, 12], icc=[0.2, 0.0, 0.1])))
    assert a == b


def test_adding_a_level_keeps_identities(tmp_path: Path) -> None:
    a = by_factors(cells(tmp_path, cross(icc=[0.0, 0.1])))
    b = by_factors(cells(tmp_path, cross(icc=[0.0, 0.05, 0.1])))
    assert set(a.items()) <= set(b.items())


def test_adding_a_factor_that_holds_the_present_value_keeps_identities(tmp_path: Path) -> None:
    a = {c.factors[ICC]: (c.id, c.key) for c in cells(tmp_path, cross(icc=[0.0, 0.1]))}
    wider = cells(tmp_path, cross(icc=[0.0, 0.1], number=[12, 20]))
    assert a == {c.factors[ICC]: (c.id, c.key) for c in wider if c.factors[NUMBER] == 12}


def test_whole_numbers_and_fractions_of_one_value_are_one_cell(tmp_path: Path) -> None:
    a, b = cells(tmp_path, cross(icc=[0])), cells(tmp_path, cross(icc=[0.0]))
    assert a[0].scenario.mechanism == b[0].scenario.mechanism
    assert (a[0].id, a[0].key) == (b[0].id, b[0].key)


def test_common_streams_address_every_cell_alike(tmp_path: Path) -> None:
    sweep = cross(icc=[0.0, 0.1])
    text = SMALL.replace("block = 20", 'block = 20\nstreams = "common"') + sweep
    found = load(written(tmp_path, text))[1]
    assert [c.key for c in found] == ["", ""]
    assert len({c.id for c in found}) == 2


def test_the_methods_do_not_enter_the_identity(tmp_path: Path) -> None:
    sweep = cross(icc=[0.0])
    other = (SMALL + sweep).replace('kind = "lmm"', 'kind = "ols"')
    assert cells(tmp_path, sweep)[0].key == load(written(tmp_path, other))[1][0].key


@pytest.mark.parametrize(
    ("sweep", "told"),
    [
        ('[vary.cross]\n"mechanism.outcomes.mansa.iccc" = [0.1]\n', ["vary.cross", "iccc", "did you mean 'icc'"]),
        ('[vary.cross]\n"mechanism.practises.number" = [20]\n', ["vary.cross", "did you mean 'mechanism.practices'"]),
        ('[vary.cross]\n"mechanism.practices.number.x" = [20]\n', ["vary.cross", "not a table"]),
        ('[vary.cross]\n"run.seed" = [1, 2]\n', ["vary.cross", "cannot be varied"]),
        ('[vary.cross]\n"number" = [1, 2]\n', ["vary.cross", "cannot be varied"]),
        (f'[vary.cross]\n"{ICC}" = [0.1, 1.2]\n', ["vary.cross", "must be < 1", "1.2"]),
        (f'[vary.cross]\n"{ICC}" = ["high"]\n', ["vary.cross", "a number", "'high'"]),
        (f'[vary.cross]\n"{ICC}" = []\n', ["vary.cross"]),
        (f'[vary.cross]\n"{ICC}" = 0.1\n', ["vary.cross", "a list"]),
        (f'[vary.zip]\n"{ICC}" = [0.1, 0.2]\n"{RATE}" = [0.1]\n', ["vary.zip", "has 2", "has 1"]),
        (f'[vary.zip]\n"{ICC}" = [0.1]\n[vary.cross]\n"{ICC}" = [0.2]\n', ["vary.zip", "[vary.cross] as well"]),
        (f'[vary.cross]\n"{ICC}" = [0.1]\n[[vary.exclude]]\n"{RATE}" = 0.1\n', ["vary.exclude", "is not varied"]),
        (f'[vary.cross]\n"{ICC}" = [0.1]\n[[vary.exclude]]\n"{ICC}" = 0.1\n', ["vary.exclude", "every combination"]),
        (f'[vary.cross]\n"{ICC}" = [0.1, 0.2, 0.10]\n', ["vary.cross", "levels 1 and 3 are both 0.1"]),
        (f'[vary.cross]\n"{ICC}" = [0, 0.0]\n', ["vary.cross", "levels 1 and 2 are both 0.0"]),
        (f'[vary.zip]\n"{ICC}" = [0.1, 0.2, 0.1]\n"{RATE}" = [0.1, 0.2, 0.1]\n', ["vary.zip", "rows 1 and 3"]),
        (f'[vary.zip]\n"{ICC}" = [0.1, 1.5]\n"{RATE}" = [0.1, 0.2]\n', [f"vary.zip.{ICC}[2]", "must be < 1"]),
        (
            '[vary.cross]\n"mechanism.missingness" = [{ followup = 0.02 }, { followup = 0.02, baseline = 0.0 }]\n',
            ["vary", "are the same; leave one out"],
        ),
        (f'[vary.crosss]\n"{ICC}" = [0.1]\n', ["vary.crosss", "did you mean 'cross'"]),
    ],
)
def test_a_sweep_that_cannot_be_is_told(sweep: str, told: list[str], tmp_path: Path) -> None:
    message = complaint(tmp_path, f"{SMALL}\n{sweep}")
    assert message.startswith("trial.toml:")
    for piece in told:
        assert piece in message


def test_every_cell_is_checked_not_just_the_first(tmp_path: Path) -> None:
    """Five people on average, and a CV of 0.3 that sizes of this family cannot have."""
    message = complaint(tmp_path, SMALL + '\n[vary.cross]\n"mechanism.practices.cluster_size_cv" = [0.62, 0.9, 0.3]\n')
    assert "0.3 given" in message


def test_cells_that_share_parts_are_those_built_alone(tmp_path: Path) -> None:
    """Parts are built once and shared; a cell whose columns, factors or categories differ has methods of its own."""
    text = (
        SMALL.replace('adjust = ["mansa_baseline"]\n', "")
        + """
[vary.cross]
"mechanism.practices.regions" = [{ North = 2, South = 1 }, { East = 1, West = 1, Middle = 3 }]
"mechanism.allocation.factors" = [["region", "practice_size"], ["region"]]
"mechanism.outcomes.mansa.icc" = [0.05, 0.1]
"""
    )
    scenario, cells = load(written(tmp_path, text))
    assert len(cells) == 8
    for cell in cells:
        alone = build(cell.scenario.raw)[0]
        assert alone == cell.scenario
        assert alone.methods == cell.scenario.methods
    assert {tuple(cell.scenario.methods[1].adjust) for cell in cells} == {
        ("mansa_baseline", "region", "practice_size"), ("mansa_baseline", "region"),
    }  # fmt: skip
    assert scenario.raw["mechanism"]["practices"]["regions"] == {"North": 2, "South": 1}, (
        "the file itself is not changed"
    )
