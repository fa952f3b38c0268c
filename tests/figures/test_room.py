"""No text of a figure stands in another or leaves the canvas, whatever methods and factors are called."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from studies import SWEEP, study

from simtrial.figures import kind_named, kind_names
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.compose import figure, fitting
from simtrial.figures.parts.look import Look, settings
from simtrial.figures.parts.material import Material, of_run
from simtrial.figures.parts.room import folded_to, shortened_to

LONG = {
    "mixed model": "linear mixed model with Kenward-Roger degrees of freedom, adjusted for baseline",
    "two-stage least squares": "two-stage least squares of the practices that delivered the intervention in full",
    "small sample": "ordinary_least_squares_with_a_name_that_has_no_blank_to_break_at",
    "imputed": "multiple imputation, 5 completed data sets",
}


def long_named() -> str:
    """The sweep with long names of methods, and a factor whose levels are words and tables."""
    text = SWEEP
    for name, longer in LONG.items():
        text = text.replace(f'"{name}"', f'"{longer}"')
    return text.replace("[8, 12]", "[8, 9, 10, 11, 12]").replace("[0.0, 0.2]", "[0.0, 0.123456789]")


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return of_run(study(tmp_path_factory.mktemp("long") / "run", 20, long_named()))


def texts(made: Figure) -> list[Text]:
    """Texts that are drawn, in the order in which they are drawn."""
    found: list[Text] = []
    draw: Callable[..., None] = Text.draw

    def noted(self: Text, renderer: RendererAgg) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append(self)
        draw(self, renderer)

    with pytest.MonkeyPatch.context() as patch, settings():
        patch.setattr(Text, "draw", noted)
        FigureCanvasAgg(made).draw()
    return found


def ink(text: Text, made: Figure) -> np.ndarray:
    """Pixels of a text."""
    width, height = (int(n) for n in made.bbox.size)
    renderer = RendererAgg(width, height, made.dpi)
    Text.draw(text, renderer)
    return np.asarray(renderer.buffer_rgba())[:, :, 3] > 64


def faults(made: Figure) -> list[str]:
    """Texts that leave the canvas, and pairs that overlap."""
    found = list[str]()
    drawn = texts(made)
    boxes = [text.get_window_extent() for text in drawn]
    for text, box in zip(drawn, boxes, strict=True):
        if box.x0 < -0.5 or box.y0 < -0.5 or box.x1 > made.bbox.width + 0.5 or box.y1 > made.bbox.height + 0.5:
            found.append(f"{text.get_text()!r} leaves the canvas: {box.extents.round(1)}")
    for (one, a), (other, b) in combinations(zip(drawn, boxes, strict=True), 2):
        if min(a.x1, b.x1) - max(a.x0, b.x0) <= 0.5 or min(a.y1, b.y1) - max(a.y0, b.y0) <= 0.5:
            continue
        if (ink(one, made) & ink(other, made)).any() or one.get_rotation() % 90 == other.get_rotation() % 90 == 0:
            found.append(f"{one.get_text()!r} stands in {other.get_text()!r}")
    return found


def made_of(name: str, material: Material, column: str, most: int) -> Figure:
    kind = kind_named(name)
    frame, _ = fitting(kind, kind.prepare(material, Choice()), most)
    return figure(kind, frame, Look(material.methods, material.labels), column)


@pytest.mark.parametrize("column", ["single", "double"])
@pytest.mark.parametrize("names", ["long", pytest.param("material", marks=pytest.mark.verify)])
@pytest.mark.parametrize("name", kind_names())
def test_no_text_stands_in_another(name: str, names: str, column: str, request: pytest.FixtureRequest) -> None:
    found = request.getfixturevalue(names)
    assert faults(made_of(name, found, column, 6 if names == "long" else 12)) == []


def test_the_search_finds_what_overlaps_and_what_leaves() -> None:
    made = Figure(figsize=(2, 1))
    made.text(0.1, 0.5, "one")
    made.text(0.12, 0.5, "two")
    made.text(0.9, 0.1, "beyond the edge")
    assert [fault.split()[0] for fault in faults(made)] == ["'beyond", "'one'"]


def test_lines_are_as_wide_as_the_room_at_most() -> None:
    def letters(line: str) -> float:
        return float(len(line))

    assert folded_to("Bias · mixed model · effect=0", 30, letters) == "Bias · mixed model · effect=0"
    assert folded_to("Bias · mixed model · effect=0", 20, letters) == "Bias · mixed model\neffect=0"
    assert folded_to("Error of the model SE, % · gee", 12, letters) == "Error of the\nmodel SE, %\ngee"
    assert folded_to("abcdefgh", 3, letters) == "abc\ndef\ngh"
    assert shortened_to("abcdefghij", 5, letters) == "ab…ij"
