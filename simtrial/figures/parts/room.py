"""Words of a figure in the room they have: measured, folded and thinned, for names may be of any length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, MaxNLocator

from simtrial.figures.parts.look import legible

Measure = Callable[[str], float]
"""Width of a line of text in pixels."""

APART = " · "
"""What stands between the parts of a title."""


def folded_to(text: str, room: float, measure: Measure) -> str:
    """Text on as many lines as it needs to be no wider than that: parts of a title first, blanks, then letters."""
    return "\n".join(line for part in _lines(text, APART, room, measure) for line in _lines(part, " ", room, measure))


def _lines(text: str, apart: str, room: float, measure: Measure) -> list[str]:
    """Parts of a text on as few lines as hold them; a part that is too wide stands alone, a word is broken."""
    lines, line = list[str](), ""
    for word in text.split(apart):
        longer = f"{line}{apart}{word}" if line else word
        if measure(longer) <= room:
            line = longer
            continue
        lines += [line] if line else []
        line = word
        while apart == " " and len(line) > 1 and measure(line) > room:
            most = max((n for n in range(1, len(line)) if measure(line[:n]) <= room), default=1)
            lines.append(line[:most])
            line = line[most:]
    return [*lines, line] if line else lines


def shortened_to(text: str, room: float, measure: Measure) -> str:
    """Text on one line no wider than that, letters left out in its middle."""
    most = len(text)
    while measure(text) > room and most > 4:
        most -= 1
        text = legible(text, most)
    return text


def measuring(made: Figure, like: Text) -> Measure:
    """How wide a line is in the font of a text."""
    canvas: Any = FigureCanvasAgg(made)
    renderer = canvas.get_renderer()
    font = like.get_fontproperties()
    return lambda line: renderer.get_text_width_height_descent(line, font, ismath=False)[0] if line else 0.0


def fit(made: Figure, titles: Sequence[str] = ()) -> list[int]:
    """Give the words of a figure that is laid out the room they have; return how many lines each panel has gained.

    ``titles`` are the titles of the panels, in their order.
    """
    gained = []
    for at, axes in enumerate(made.axes):
        box = axes.get_window_extent()
        lines = _fold(made, axes.xaxis.label, box.width)
        _fold(made, axes.yaxis.label, box.height)
        if titles and titles[at]:
            axes.set_title(folded_to(titles[at], 0.94 * box.width, measuring(made, axes.title)))
            lines += axes.get_title().count("\n")
        _within(made, axes)
        lines += _ticks(made, axes)
        gained.append(lines)
    return gained


def _fold(made: Figure, text: Text, room: float) -> int:
    text.set_text(folded_to(text.get_text().replace("\n", " "), room, measuring(made, text)))
    return text.get_text().count("\n")


def _within(made: Figure, axes: Axes) -> None:
    """Shorten the words inside a panel that begin at its left and leave it at the right."""
    right = axes.get_window_extent().x1
    for text in axes.texts:
        if text.get_horizontalalignment() == "left" and text.get_rotation() == 0 and "\n" not in text.get_text():
            room = right - text.get_window_extent().x0
            text.set_text(shortened_to(text.get_text(), room, measuring(made, text)))


def _ticks(made: Figure, axes: Axes) -> int:
    """Make the labels of both axes of a panel fit; return the lines by which it has to grow."""
    width = float(made.bbox.width)
    names = [label for label in axes.get_yticklabels() if label.get_text()]
    if names and isinstance(axes.yaxis.get_major_locator(), FixedLocator):
        _narrow(made, axes, 0.38 * width)
    labels = _drawn(axes)
    if labels and labels[0].get_rotation() == 90 and axes.xaxis.get_ticks_position() == "bottom":
        return _lines_of(labels)
    if not labels or labels[0].get_rotation() != 0 or not _crowded(labels):
        return 0
    locator: Any = axes.xaxis.get_major_locator()
    if isinstance(locator, MaxNLocator):
        for most in range(4, 0, -1):
            axes.locator_params(axis="x", nbins=most)
            if not _crowded(_drawn(axes)):
                break
        return 0
    words = [label.get_text() for label in labels]
    axes.tick_params(axis="x", labelrotation=90)
    axes.set_xticks(axes.get_xticks(), _thinned(axes, words, labels[0]))
    return _lines_of(labels)


def _lines_of(labels: Sequence[Text]) -> int:
    """Lines of a title as high as the longest upright label."""
    return round(max(len(label.get_text()) for label in labels) / 2.5)


def _narrow(made: Figure, axes: Axes, room: float) -> None:
    """Shorten names beside an axis, line by line."""
    labels = axes.get_yticklabels()
    measure = measuring(made, labels[0])
    found = ["\n".join(shortened_to(line, room, measure) for line in label.get_text().split("\n")) for label in labels]
    if found != [label.get_text() for label in labels]:
        axes.set_yticks(axes.get_yticks(), found, linespacing=0.95)


def _drawn(axes: Axes) -> list[Text]:
    """Labels of the horizontal axis inside its ends."""
    low, high = sorted(axes.get_xlim())
    slack = (high - low) * 1e-9
    return [
        label
        for at, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
        if low - slack <= at <= high + slack and label.get_text()
    ]


def _crowded(labels: Sequence[Text]) -> bool:
    """Whether labels touch, with a letter's room between them."""
    boxes = sorted((label.get_window_extent() for label in labels), key=lambda box: box.x0)
    return any(a.x1 + 0.5 * a.height > b.x0 for a, b in pairwise(boxes))


def _thinned(axes: Axes, words: Sequence[str], like: Text) -> list[str]:
    """Words of upright labels; those that would stand in the one before are left out."""
    high = like.get_window_extent().height
    places = [axes.transData.transform((at, 0.0))[0] for at in axes.get_xticks()]
    found, last = list[str](), float("-inf")
    for place, word in zip(places, words, strict=True):
        found.append(word if place - last > 1.15 * high else "")
        last = place if found[-1] else last
    return found


def fit_legend(made: Figure, handles: Sequence[Any], most: int) -> Legend:
    """A legend above the panels in as many columns as fit, and its words folded where one is too wide."""
    room = float(made.bbox.width) * 0.98
    for columns in range(min(most, len(handles)), 0, -1):
        legend = made.legend(handles=handles, loc="outside upper left", ncols=columns, borderpad=0.2)
        if columns == 1 or legend.get_window_extent().width <= room:
            break
        legend.remove()
    marks = legend.get_window_extent().width - max(t.get_window_extent().width for t in legend.get_texts())
    for text in legend.get_texts():
        if columns == 1:
            text.set_text(folded_to(text.get_text(), room - marks, measuring(made, text)))
    return legend
