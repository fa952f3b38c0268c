"""Everything that is wrong is told at once, expressions and names beside the mechanism, and nothing else is."""

from pathlib import Path

import pytest
from test_scenario_errors import TEXT, WRONG
from tomls import SMALL, changed, complaint, line_of

SUBGROUP = changed(
    '\n[[methods]]\nname = "mixed model"',
    '\n[[estimands]]\nname = "sub"\nkind = "subgroup"\namong = "regoin == \'North\'"\n'
    '\n[[methods]]\nname = "mixed model"',
)  # fmt: skip
PROTOCOL = SUBGROUP.replace(
    '\n[run]',
    '\n[[methods]]\nname = "kept"\nkind = "per-protocol"\nkeep = "arm == 0 or availabilty >= 0.7"\n'
    'estimand = "itt"\nanalysis = { kind = "lmm", subset = "sessions >" }\n\n[run]',
)  # fmt: skip
EXPRESSIONS = changed(
    'kind = "lmm"\n', 'kind = "lmm"\nsubset = "sesions >= 3"\n', changed(
        'received = "sessions >= 6"\nadjust', 'received = "region == \'Nord\'"\nadjust', PROTOCOL,
    ),
)  # fmt: skip
TOLD = {
    "among": ("regoin", "did you mean 'region'"),
    "subset": ("sesions >= 3", "method 'mixed model': unknown column 'sesions'"),
    "received": ("Nord", "did you mean 'North'"),
    "analysis.subset": ('"sessions >"', "expected a number or a quoted word"),
}
"""Option: a piece of its line, and what is said of it. The method whose analysis does not parse is not read further."""


@pytest.mark.parametrize(
    ("old", "new", "piece"),
    [
        ("", "", None),
        ("icc = 0.1\n", "icc = 1.2\n", "icc = 1.2"),
        ("rate = 0.15", "raet = 0.15", "raet"),
        ("cluster_size_cv = 0.62", "cluster_size_cv = 0.2", "cluster_size_cv"),
        ("[mechanism.delivery]\n", "[mechanism.delivery]\nno_contact = -1\n", "no_contact"),
        ("replicates = 100", "replicates = 0", "replicates = 0"),
        ('estimand = "cace"', 'estimand = "cases"', "cases"),
        ('kind = "ols" }', 'kind = "olz" }', "olz"),
    ],
    ids=["alone", "a bound", "a key", "a CV out of reach", "delivery", "run", "an estimand", "a kind"],
)
def test_expressions_are_told_with_whatever_else_is_wrong(
    old: str, new: str, piece: str | None, tmp_path: Path
) -> None:
    text = changed(old, new, EXPRESSIONS) if old else EXPRESSIONS
    lines = complaint(tmp_path, text).splitlines()
    categories = "cluster_size_cv" not in old  # of a stage that is wrong itself they are not known
    wanted = {k: v for k, v in TOLD.items() if categories or k != "received"}
    for option, (where, said) in wanted.items():
        (line,) = [x for x in lines if said in x]
        assert line.startswith(f"trial.toml:{line_of(text, where)}: "), option
        assert f".{option}: " in line
    if piece is not None:
        assert any(x.startswith(f"trial.toml:{line_of(text, piece)}: ") for x in lines)
    assert len(lines) == len(wanted) + (piece is not None)


ECHOES = {
    "stage that reads one left out": 5,  # every place that reads a column of it
}


@pytest.mark.parametrize("mistake", WRONG)
def test_one_mistake_is_not_told_again_where_it_has_consequences(mistake: str, tmp_path: Path) -> None:
    old, new, _ = WRONG[mistake]
    assert len(complaint(tmp_path, changed(old, new, TEXT)).splitlines()) == ECHOES.get(mistake, 1)


def test_columns_of_a_stage_that_cannot_be_read_are_not_called_unknown(tmp_path: Path) -> None:
    """The instruments of a wrong list would have masks of their own; the other mistakes are told all the same."""
    text = changed("followup = 0.02", "followup = 0.02\ninstruments = { qpr15 = [0.1, 7] }")
    text = changed('kind = "lmm"\n', 'kind = "lmm"\nsubset = "qpr15_followup_complete == 1"\n', text)
    text = changed('received = "sessions >= 6"\n\n', "received = \"region == 'Nord'\"\n\n", text)
    lines = complaint(tmp_path, text).splitlines()
    assert len(lines) == 2
    assert "mechanism.missingness.instruments" in lines[0]
    assert "did you mean 'North'" in lines[1]


def test_names_are_those_of_the_file_even_where_a_method_is_wrong(tmp_path: Path) -> None:
    """What refers to a method with a mistake is not wrong itself; a name that nobody has is told beside it."""
    text = changed('kind = "lmm"\n', 'kind = "lmn"\n', SMALL)
    text += (
        '\n[performance]\nreference = "mixed model"\n\n[[expect]]\nmeasure = "bias"\nmethod = "mixd model"\nvalue = 0\n'
    )
    lines = complaint(tmp_path, text).splitlines()
    assert len(lines) == 2
    assert "did you mean 'lmm'" in lines[0]
    assert "expect[1].method: unknown method 'mixd model'; did you mean 'mixed model'" in lines[1]
