"""What methods want of the columns of a data set: numbers or categories, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from simtrial.batch import averaged
from simtrial.errors import DataError, unknown
from simtrial.estimators import Method
from simtrial.expressions import Comparison, Node, Not, parse

IDS = frozenset({"arm", "practice", "trial_id"})


@dataclass(frozen=True)
class Use:
    """Columns to read as numbers or categories, where the data alone do not decide.

    Attributes
    ----------
    factors, numbers
        Columns that the user wants as categories, and as numbers.
    compared_with_number, compared_with_text, averaged
        Columns of expressions, and those whose mean by practice is a covariate.
    orders
        Categories in the order wanted, the reference first.
    closed
        Columns of which no other category than those may occur.
    missing
        Codes that stand for a missing value in every column but those of arms, practices and trials.
    """

    factors: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    compared_with_number: frozenset[str] = frozenset()
    compared_with_text: frozenset[str] = frozenset()
    averaged: frozenset[str] = frozenset()
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)
    closed: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()

    def category(self, name: str) -> bool:
        """Whether a column is categorical by request, whatever its cells."""
        return name != "arm" and (name in self.factors or name in self.closed)

    def number(self, name: str) -> bool:
        """Whether a column must be numeric: arms, outcomes, and columns named by the user."""
        return not self.category(name) and (
            name == "arm" or name.endswith(("_baseline", "_followup")) or name in self.numbers
        )


def use_of(
    methods: Sequence[Method],
    factors: Iterable[str] = (),
    numbers: Iterable[str] = (),
    declared: Mapping[str, Sequence[str]] | None = None,
    known: Mapping[str, Sequence[str]] | None = None,
    missing: Iterable[str] = (),
) -> Use:
    """Derive from the methods how to read each column.

    Parameters
    ----------
    methods
        The methods of a file.
    factors, numbers
        Columns named by --factor and --number.
    declared
        Categories by column as [categories] of a methods file lists them: no other may occur.
    known
        Categories by column of a scenario: their order is taken, others may occur.
    missing
        Codes of missing values, named by --missing.
    """
    declared, known = declared or {}, known or {}
    needed = frozenset[str]({"arm", "practice"}).union(*(m.reads() for m in methods))
    stated = [("--factor", factors), ("--number", numbers), ("[categories]", declared)]
    wrong = [
        f"{where}: {unknown('column', name, needed - IDS)}"
        for where, names in stated
        for name in names
        if name not in needed - IDS
    ]
    if wrong:
        raise DataError(f"{'; '.join(wrong)}; methods read no other")
    both = sorted(set(numbers) & {*factors, *declared})
    if both:
        raise DataError(f"--number {both[0]}: the column is also requested as categories (--factor or [categories])")
    compared = [c for m in methods for text in m.expressions() for c in comparisons(parse(text))]
    return Use(
        factors=frozenset(factors),
        numbers=frozenset(numbers),
        compared_with_number=frozenset(c.column for c in compared if not isinstance(c.value, str)),
        compared_with_text=frozenset(c.column for c in compared if isinstance(c.value, str)),
        averaged=frozenset(inner for m in methods for name in m.spec().adjust if (inner := averaged(name)) is not None),
        orders={**{name: tuple(labels) for name, labels in known.items() if labels}, **declared},
        closed=frozenset(declared),
        missing=frozenset(missing),
    )


def comparisons(node: Node) -> list[Comparison]:
    """Every comparison of an expression."""
    if isinstance(node, Comparison):
        return [node]
    if isinstance(node, Not):
        return comparisons(node.part)
    return comparisons(node.left) + comparisons(node.right)
