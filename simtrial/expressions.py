"""The small comparison language of ``received``, ``keep`` and ``subset``: parsed, never evaluated as code.

Comparisons of an observed column with a number or a quoted string, joined by ``and``, ``or``, ``not`` and parentheses.
A comparison with a missing value is neither true nor false but unknown, and Kleene's strong logic carries it on
(Kleene 1952, Introduction to Metamathematics, section 64): ``not`` leaves it unknown, ``and`` is false if either part
is false, ``or`` is true if either part is true, whatever the other would be.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import Column, ObservedBatch
from simtrial.errors import SimtrialError, unknown

Mask = NDArray[np.bool_]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|-?\.\d+(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|"
    r"(?P<string>'[^']*'|\"[^\"]*\")|(?P<op><=|>=|==|!=|<|>|\(|\)))"
)
_COMPARE: dict[str, Callable[..., Mask]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


class ExpressionError(SimtrialError):
    """An expression that does not parse, or compares incompatible values."""


@dataclass(frozen=True)
class Comparison:
    """``column op value``."""

    column: str
    op: str
    value: float | str


@dataclass(frozen=True)
class Not:
    """The negation of a part."""

    part: Node


@dataclass(frozen=True)
class Join:
    """Two parts joined by ``and`` or ``or``."""

    op: str
    left: Node
    right: Node


Node = Comparison | Not | Join


@dataclass(frozen=True)
class Truth:
    """Participants for whom an expression holds, and for whom it fails; unknown for all others."""

    holds: Mask
    fails: Mask

    @property
    def unknown(self) -> Mask:
        """Participants for whom it is unknown because of a missing value (participants,)."""
        return ~(self.holds | self.fails)

    def __invert__(self) -> Truth:
        return Truth(self.fails, self.holds)

    def __and__(self, other: Truth) -> Truth:
        return Truth(self.holds & other.holds, self.fails | other.fails)

    def __or__(self, other: Truth) -> Truth:
        return Truth(self.holds | other.holds, self.fails & other.fails)


@lru_cache(maxsize=512)
def parse(text: str) -> Node:
    """Parse an expression such as ``arm == 0 or availability >= 0.7``.

    Raises
    ------
    ExpressionError
        With the place where reading stopped and what could stand there.
    """
    tokens = _tokens(text)
    if len(tokens) > 500:
        raise ExpressionError(f"'{text[:40]}...': an expression of {len(tokens)} words is too long (at most 500)")
    node, rest = _parse_or(tokens, 0, text)
    if rest < len(tokens):
        raise _error(text, tokens[rest][2], "expected 'and', 'or' or the end")
    return node


def columns(node: Node) -> frozenset[str]:
    """Names of the columns an expression reads."""
    if isinstance(node, Comparison):
        return frozenset({node.column})
    if isinstance(node, Not):
        return columns(node.part)
    return columns(node.left) | columns(node.right)


def evaluate(text: str, batch: ObservedBatch) -> Mask:
    """Return for each participant whether the expression is known to hold (participants,).

    The complement is not "it does not hold": where a value is missing it is unknown; see `truth`.
    """
    return truth(text, batch).holds


def truth(text: str, batch: ObservedBatch) -> Truth:
    """Return for whom the expression holds and for whom it fails; unknown if a missing value decides."""
    return _truth(parse(text), batch)


def check(text: str, available: dict[str, tuple[str, ...]]) -> None:
    """Check an expression against the columns there will be and the categories of the factors among them.

    Raises
    ------
    ExpressionError
        For an unknown column, an unknown category, or a factor compared with a number.
    """
    stack = [parse(text)]
    while stack:
        node = stack.pop()
        if isinstance(node, Comparison):
            if node.column not in available:
                raise ExpressionError(f"'{text}': {unknown('column', node.column, available)}")
            _checked_value(node, available[node.column])
        else:
            stack += [node.part] if isinstance(node, Not) else [node.left, node.right]


def _tokens(text: str) -> list[tuple[str, str, int]]:
    found, place = [], 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if not match:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            raise _error(text, start, "expected a column, a comparison, a number or a quoted word")
        kind = str(match.lastgroup)
        found.append((kind, match.group(kind), match.start(kind)))
        place = match.end()
    return found


def _error(text: str, place: int, expected: str) -> ExpressionError:
    example = "write for example: arm == 0 or availability >= 0.7"
    return ExpressionError(f"'{text}': {expected} at character {place + 1}; {example}")


def _word(tokens: list[tuple[str, str, int]], at: int, *words: str) -> bool:
    return at < len(tokens) and tokens[at][1] in words and tokens[at][0] in ("name", "op")


def _parse_or(tokens: list[tuple[str, str, int]], at: int, text: str) -> tuple[Node, int]:
    node, at = _parse_and(tokens, at, text)
    while _word(tokens, at, "or"):
        right, at = _parse_and(tokens, at + 1, text)
        node = Join("or", node, right)
    return node, at


def _parse_and(tokens: list[tuple[str, str, int]], at: int, text: str) -> tuple[Node, int]:
    node, at = _parse_not(tokens, at, text)
    while _word(tokens, at, "and"):
        right, at = _parse_not(tokens, at + 1, text)
        node = Join("and", node, right)
    return node, at


def _parse_not(tokens: list[tuple[str, str, int]], at: int, text: str) -> tuple[Node, int]:
    if _word(tokens, at, "not"):
        part, at = _parse_not(tokens, at + 1, text)
        return Not(part), at
    if _word(tokens, at, "("):
        node, at = _parse_or(tokens, at + 1, text)
        if not _word(tokens, at, ")"):
            raise _error(text, tokens[at][2] if at < len(tokens) else len(text), "expected ')'")
        return node, at + 1
    return _parse_comparison(tokens, at, text)


def _parse_comparison(tokens: list[tuple[str, str, int]], at: int, text: str) -> tuple[Node, int]:
    expected = (("a column", ("name",)), ("one of < <= > >= == !=", ("op",)), ("a number or a quoted word", ()))
    for step, (what, kinds) in enumerate(expected):
        if at + step >= len(tokens):
            raise _error(text, len(text), f"expected {what}")
        kind, word, place = tokens[at + step]
        fits = kind in (kinds or ("number", "string")) and (step != 1 or word in _COMPARE)
        if not fits or word in ("and", "or", "not"):
            raise _error(text, place, f"expected {what}")
    kind, word, _ = tokens[at + 2]
    value = float(word) if kind == "number" else word[1:-1]
    return Comparison(tokens[at][1], tokens[at + 1][1], value), at + 3


def _checked_value(node: Comparison, categories: tuple[str, ...]) -> float | int:
    """Return the number, or the code of the category, that a column is compared with."""
    if not categories:
        if isinstance(node.value, str):
            raise ExpressionError(f"'{node.column}' is a number and cannot be compared with '{node.value}'")
        return node.value
    if not isinstance(node.value, str) or node.op not in ("==", "!="):
        raise ExpressionError(f"'{node.column}' takes {', '.join(categories)}: compare it by == or != with one of them")
    if node.value not in categories:
        raise ExpressionError(unknown(f"category of {node.column}", node.value, categories))
    return categories.index(node.value)


def _compare(node: Comparison, column: Column) -> Truth:
    """Compare a column, at its own level; a column without any value is unknown throughout, whatever it would hold."""
    present = column.values >= 0 if column.categories else ~np.isnan(column.values)
    number = np.count_nonzero(present)
    if not number:
        return Truth(present, present)
    result = _COMPARE[node.op](column.values, _checked_value(node, column.categories))
    if number == len(present):
        return Truth(result, ~result)
    return Truth(result & present, ~result & present)


def _truth(node: Node, batch: ObservedBatch) -> Truth:
    if isinstance(node, Comparison):
        column = batch.column(node.column)
        rows = batch.index.rows(column.level, "participant")
        found = _compare(node, column)
        return found if rows is None else Truth(found.holds[rows], found.fails[rows])
    if isinstance(node, Not):
        return ~_truth(node.part, batch)
    left, right = _truth(node.left, batch), _truth(node.right, batch)
    return left & right if node.op == "and" else left | right
