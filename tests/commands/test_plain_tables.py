"""Tables in a pipe are laid out without rich, and are its tables to the last character."""

import io
import random
from collections.abc import Sequence

import pytest

from simtrial.report import text

CELLS = ["", "a", "12.5 (0.3)", "-", "longer words, with commas", "μ = 0.5", "治疗", "é", "[bold]x[/bold]", ":smile:"]


def by_rich(headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int, width: int) -> str:
    from rich.console import Console

    file = io.StringIO()
    Console(width=width, highlight=False, file=file).print(text._table(headings, rows, text_columns, whole=False))
    return file.getvalue()


@pytest.mark.parametrize("seed", range(60))
def test_a_plain_table_is_that_of_the_library(seed: int) -> None:
    rng = random.Random(seed)
    columns = rng.randint(1, 6)
    headings = [rng.choice(["method", "bias", "true value", "n", "治疗"]) for _ in range(columns)]
    rows = [[rng.choice(CELLS) for _ in range(columns)] for _ in range(rng.randint(0, 8))]
    labels = rng.randint(0, columns)
    plain = text._plain(headings, rows, labels, 160)
    assert plain is not None
    assert plain + "\n" == by_rich(headings, rows, labels, 160)


def test_a_table_that_does_not_fit_is_left_to_the_library() -> None:
    rows = [["x" * 30, "1"]]
    assert text._plain(["method", "n"], rows, 1, 36) is not None
    assert text._plain(["method", "n"], rows, 1, 35) is None
