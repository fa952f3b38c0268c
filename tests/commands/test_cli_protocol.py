"""The protocol of a study, filled in from its scenario."""

import re
from html.parser import HTMLParser
from math import ceil, sqrt
from pathlib import Path

import pytest
from commands import simtrial
from tomls import SMALL, changed, written

from simtrial.catalogue import builtin_names
from simtrial.estimands import true_values
from simtrial.performance.planned import planned
from simtrial.scenario import load

FIELDS = [
    "Title", "Contributors", "Description", "Prior related simulations", "Aim", "How parameters are specified",
    "Factors and their values", "Conditions", "All settings", "Estimands and their true values", "Methods",
    "Quantities that are extracted", "Measures", "Monte Carlo uncertainty", "Replicates per condition, and why",
    "Missing values and fits that fail", "Interpretation", "Software", "Computational environment",
    "Steps to reproduce", "Anything else",
]  # fmt: skip
HOSTILE = '</td><script>alert(1)</script> | [x](javascript:alert(2)) `a` <img src=x onerror=y> \\u202e "&amp;" # *b*'


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name in ("src", "href") or name.startswith("on") for name, _ in attrs), (tag, attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def headings(markdown: str) -> list[str]:
    return [line.partition(" ")[2].partition(" ")[2] for line in markdown.splitlines() if line.startswith("### ")]


@pytest.mark.parametrize("name", builtin_names())
def test_every_scenario_has_a_protocol(name: str) -> None:
    found = simtrial("protocol", name)
    assert found.code == 0
    assert headings(found.out) == FIELDS
    assert "**TO BE WRITTEN**: names, affiliations and roles" in found.out
    for table in re.findall(r"(?:^\|.*\n)+", found.out, flags=re.M):
        bars = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(bars) == 1, table


def test_what_the_scenario_says_is_there(tmp_path: Path) -> None:
    text = (
        SMALL
        + '\n[vary.cross]\n"mechanism.outcomes.mansa.icc" = [0.1, 0.2]\n[vary.zip]\n"mechanism.dropout.rate" = [0.1]\n'
    )
    text += '\n[[expect]]\nmethod = "imputed"\nmeasure = "coverage"\nlower = 0.93\nsource = "the plan"\n'
    found = simtrial(
        "protocol", written(tmp_path, text), "--replicates", 1900, "--set", "mechanism.practices.number=14"
    ).out
    for piece in (
        "Twelve practices, quick to analyse", "Does it work?", "| mechanism.outcomes.mansa.icc | 0.1, 0.2 | in full |",
        "| mechanism.practices.number | 14 |", "2 in all", "1,900 replicates per condition",
        "| imputed | coverage | at least 0.93 | the plan |",
        "0.50 percentage points", "--set mechanism.practices.number=14", "--replicates 1900 --seed 5",
        "TO BE WRITTEN**: source of the parameters", "sessions \\>= 6",
    ):  # fmt: skip
        assert piece in found, piece


def test_defaults_models_and_true_values_are_there(tmp_path: Path) -> None:
    text = SMALL + '\n[vary.cross]\n"mechanism.outcomes.mansa.effect" = [0.0, 0.3]\n'
    found = simtrial("protocol", written(tmp_path, text)).out
    for piece in (
        "| mixed model | df | between-within (default) |", "| mixed model | estimation | reml (default) |",
        "| mixed model | adjust | \\[mansa\\_baseline\\] |", "| mechanism.outcomes.mansa.effect | varied, see 3.2 |",
        "| mechanism.baseline | MANSA at baseline: mean + b\\_j + e\\_ij", "| effect=0.0 | itt | 0 |",
    ):  # fmt: skip
        assert piece in found, piece
    scenario, cells = load(written(tmp_path, text))
    for cell in cells:
        for truth in true_values(cell.scenario.estimands, cell.scenario.mechanism, scenario.run.seed, cell.key):
            error = f"{truth.mcse:.2g}" if truth.mcse else "exact"
            assert f"| {cell.label} | {truth.estimand} | {truth.value:.5g} | {error} |" in found


def test_without_aims_the_gaps_are_marked(tmp_path: Path) -> None:
    bare = changed(
        '[aims]\nquestion = "Does it work?"\n', "", changed('title = "Twelve practices, quick to analyse"\n', "")
    )
    found = simtrial("protocol", written(tmp_path, bare)).out
    assert "**TO BE WRITTEN**: what the study is to find out" in found
    assert "**TO BE WRITTEN**: title of the study" in found


def test_replicates_are_justified_by_formulas() -> None:
    for n in (100, 1900, 10_000):
        rows = {one.measure: one for one in planned(n)}
        assert rows["coverage, if 95%"].error == f"{100 * sqrt(0.0475 / n):.2f} percentage points"
        assert rows["bias"].error.startswith(f"{1 / sqrt(n):.3f} ")
        assert rows["empirical SE"].error.startswith(f"{100 / sqrt(2 * (n - 1)):.1f}%")
    needed = {one.measure: one.needed for one in planned(1)}
    assert needed["coverage, if 95%"] == 1900
    assert needed["power or type I error, at worst (50%)"] == ceil(0.25 / 0.005**2) == 10_000
    assert next(one for one in planned(500, 0.9)).needed == 3600


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    quoted = HOSTILE.replace("\\u", "\\u").replace('"', '\\"')
    text = changed('title = "Twelve practices, quick to analyse"', f'title = "{quoted}"')
    text = changed('question = "Does it work?"', f'question = "1. {quoted}"', text)
    text = changed('name = "mixed model"', f'name = "{quoted}"', text)
    file = written(tmp_path, text)
    made = simtrial("protocol", file, "-o", tmp_path / "protocol.html")
    assert made.code == 0
    assert "fields to be written by its authors" in made.err
    page = (tmp_path / "protocol.html").read_text(encoding="utf-8")
    found = Page(page)
    assert found.open == []
    assert not {"script", "img", "link", "a", "iframe"} & set(found.tags)
    assert "http" not in re.sub(r"doi:\S+|http-equiv", "", page)
    shown = HOSTILE.replace("\\u202e", "\\u202e")
    assert any(shown in words for words in found.words)
    assert "\u202e" not in page
    markdown = simtrial("protocol", file).out
    assert "\u202e" not in markdown
    assert re.search(r"(?<!\\)<(?:script|img|/td)", markdown) is None
    assert re.search(r"(?<!\\)\]\((?!\\)", markdown) is None
    assert "\n1\\. " in markdown
    assert simtrial("protocol", file, "--format", "html").out == page
