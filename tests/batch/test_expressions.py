"""The comparison language of ``received``, ``keep`` and ``subset``: what it means, and what its errors say."""

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trials import batch

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.errors import SimtrialError
from simtrial.expressions import Comparison, ExpressionError, Join, Not, check, columns, evaluate, parse, truth

DATA = {
    "practice": ["a", "a", "a", "b", "b"],
    "arm": [1, 1, 1, 0, 0],
    "sessions": [0.0, 6.0, np.nan, 0.0, 7.5],
    "region": ["north", "south", "south", "north", "west"],
}
TRIAL = batch(DATA)


def holds(text, observed=TRIAL):
    return evaluate(text, observed).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sessions < 6", [True, False, False, True, False]),
        ("sessions <= 6", [True, True, False, True, False]),
        ("sessions > 6", [False, False, False, False, True]),
        ("sessions >= 6", [False, True, False, False, True]),
        ("sessions == 6", [False, True, False, False, False]),
        ("sessions != 6", [True, False, False, True, True]),
        ("region == 'south'", [False, True, True, False, False]),
        ('region != "south"', [True, False, False, True, True]),
        ("arm == 1", [True, True, True, False, False]),  # a practice-level column, spread over its people
    ],
)
def test_a_comparison_holds_for_each_person(text, expected):
    assert holds(text) == expected


def kleene(text, observed=TRIAL):
    """1 where an expression holds, 0 where it fails, 1/2 where it is unknown."""
    found = truth(text, observed)
    assert not (found.holds & found.fails).any()
    assert (found.unknown == ~(found.holds | found.fails)).all()
    assert (evaluate(text, observed) == found.holds).all()
    return np.where(found.unknown, 0.5, found.holds * 1.0).tolist()


def test_a_missing_value_makes_every_comparison_and_its_negation_unknown():
    for op in ("<", "<=", ">", ">=", "==", "!="):
        for text in (f"sessions {op} 6", f"not sessions {op} 6", f"not not sessions {op} 6"):
            assert kleene(text)[2] == 0.5


@pytest.mark.parametrize(
    ("text", "third"),  # of the third person, whose sessions are missing, arm is 1 and region south
    [
        ("sessions >= 6 or not (sessions >= 6)", 0.5),  # not even this is known of a single value
        ("sessions >= 6 and arm == 0", 0.0),
        ("arm == 0 and sessions >= 6", 0.0),
        ("sessions >= 6 and arm == 1", 0.5),
        ("sessions >= 6 or arm == 1", 1.0),
        ("sessions >= 6 or arm == 0", 0.5),
        ("not (sessions >= 6 and arm == 0)", 1.0),
        ("not (sessions >= 6 or region == 'south')", 0.0),
    ],
)
def test_what_decides_without_the_missing_value_is_known(text, third):
    assert kleene(text)[2] == third


def test_a_missing_category_is_unknown():
    index = Index(1, np.zeros(1, dtype=np.intp), np.zeros(3, dtype=np.intp))
    observed = ObservedBatch(index, {"provider": Column(np.array([0, -1, 1]), "participant", ("primary", "secondary"))})
    assert kleene("provider == 'primary'", observed) == [1, 0.5, 0]
    assert kleene("provider != 'primary'", observed) == [0, 0.5, 1]
    assert kleene("not provider != 'primary'", observed) == [1, 0.5, 0]


def test_a_column_without_any_value_is_unknown_whatever_it_is_compared_with():
    """Of an empty column it cannot be told whether it would hold numbers or words."""
    index = Index(1, np.zeros(2, dtype=np.intp), np.array([0, 0, 1]))
    for level, size in (("practice", 2), ("participant", 3)):
        for empty in (Column(np.full(size, np.nan), level), Column(np.full(size, -1), level, ("yes", "no"))):
            for text in ("taken == 'yes'", "taken != 'no'", "not taken >= 6"):
                assert kleene(text, ObservedBatch(index, {"taken": empty})) == [0.5] * 3


@pytest.mark.parametrize("number", ["-1", "0.5", ".5", "-.5", "5.", "1e2", "1.5E-3", "-2e+1"])
def test_numbers_are_read_as_python_reads_them(number):
    assert parse(f"sessions >= {number}") == Comparison("sessions", ">=", float(number))


def test_not_binds_tighter_than_and_and_and_tighter_than_or():
    a, b, c = (Comparison(name, "==", 1.0) for name in "abc")
    assert parse("a == 1 or b == 1 and c == 1") == Join("or", a, Join("and", b, c))
    assert parse("not a == 1 and b == 1") == Join("and", Not(a), b)
    assert parse("(a == 1 or b == 1) and c == 1") == Join("and", Join("or", a, b), c)
    assert parse("not (a == 1 or b == 1)") == Not(Join("or", a, b))


def test_spaces_are_free():
    assert parse("arm==1or(sessions>=6and not region!='west')") == parse(
        "  arm == 1   or ( sessions >= 6 and not region != 'west' )  "
    )


def test_the_columns_read_are_named():
    assert columns(parse("arm == 1 and not (sessions > 2 or arm == 0)")) == {"arm", "sessions"}


# --- the same boolean structure, evaluated by Python ---

OPERATORS = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
VALUES = st.one_of(st.none(), st.integers(-3, 3).map(float), st.floats(-5, 5, allow_nan=False))
COMPARISONS = st.one_of(
    st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(list(OPERATORS)), VALUES.filter(lambda v: v is not None)),
    st.tuples(st.just("kind"), st.sampled_from(["==", "!="]), st.sampled_from(["p", "q"])),
)


def words(inner):
    """Add an operator, or parentheses that may change the meaning or be superfluous."""
    return st.one_of(
        inner.map(lambda part: ["not", *part]),
        inner.map(lambda part: ["(", *part, ")"]),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: [*t[0], t[1], *t[2]]),
    )


STRUCTURES = st.recursive(COMPARISONS.map(lambda c: [c]), words, max_leaves=8)
ROWS = st.lists(st.tuples(VALUES, VALUES, st.sampled_from(["p", "q", None])), min_size=1, max_size=6)


class Known:
    """A truth value of Kleene's strong logic: 1, 0 or 1/2; and is the least, or the greatest."""

    def __init__(self, value):
        self.value = value

    def __and__(self, other):
        return Known(min(self.value, other.value))

    def __or__(self, other):
        return Known(max(self.value, other.value))

    def __invert__(self):
        return Known(1 - self.value)


WORDS = {"and": "&", "or": "|", "not": "~"}  # which bind in the same order in Python


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STRUCTURES, ROWS)
def test_any_structure_means_what_it_means_in_three_valued_logic(structure, rows):
    text = " ".join(part if isinstance(part, str) else f"{part[0]} {part[1]} {part[2]!r}" for part in structure)
    index = Index(1, np.zeros(1, dtype=np.intp), np.zeros(len(rows), dtype=np.intp))
    numbers = {
        name: Column(np.array([np.nan if r[at] is None else r[at] for r in rows]), "participant")
        for at, name in enumerate(("x", "y"))
    }
    codes = np.array([-1 if r[2] is None else "pq".index(r[2]) for r in rows])
    observed = ObservedBatch(index, {**numbers, "kind": Column(codes, "participant", ("p", "q"))})
    for row, mine in zip(rows, kleene(text, observed), strict=True):
        values = dict(zip(("x", "y", "kind"), row, strict=True))
        literal = " ".join(
            WORDS.get(part, part) if isinstance(part, str) else f"Known({_true(part, values)})" for part in structure
        )
        assert mine == eval(literal).value  # noqa: S307 - numbers, operators and parentheses only


def _true(comparison, values):
    name, op, value = comparison
    return 0.5 if values[name] is None else int(OPERATORS[op](values[name], value))


# --- what does not parse ---


@pytest.mark.parametrize(
    ("text", "expected", "character"),
    [
        ("", "expected a column", 1),
        ("arm = 1", "expected a column, a comparison, a number or a quoted word", 5),
        ("arm 1", "expected one of < <= > >= == !=", 5),
        ("1 < arm", "expected a column", 1),
        ("arm ==", "expected a number or a quoted word", 7),
        ("arm == region", "expected a number or a quoted word", 8),
        ("arm == and", "expected a number or a quoted word", 8),
        ("arm == 1 or", "expected a column", 12),
        ("arm == 1 and or arm == 0", "expected a column", 14),
        ("arm == 1 region == 'x'", "expected 'and', 'or' or the end", 10),
        ("0 < arm < 2", "expected a column", 1),
        ("arm < 1 < 2", "expected 'and', 'or' or the end", 9),
        ("(arm == 1", "expected ')'", 10),
        ("arm == 1)", "expected 'and', 'or' or the end", 9),
        ("region == 'south", "expected a column, a comparison, a number or a quoted word", 11),
        ("arm == 1 & sessions > 2", "expected a column, a comparison, a number or a quoted word", 10),
        ("not", "expected a column", 4),
        ("__import__('os')", "expected one of < <= > >= == !=", 11),
    ],
)
def test_what_does_not_parse_says_where_and_what_could_stand_there(text, expected, character):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    told = str(caught.value)
    assert f"'{text}': {expected} at character {character};" in told
    assert "write for example: arm == 0 or availability >= 0.7" in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sesions >= 6", "unknown column 'sesions'; did you mean 'sessions'? (allowed: arm, region, sessions)"),
        ("arm == 'one'", "'arm' is a number and cannot be compared with 'one'"),
        ("region == 1", "'region' takes north, south, west: compare it by == or != with one of them"),
        ("region < 'south'", "'region' takes north, south, west: compare it by == or != with one of them"),
        ("region == 'sout'", "unknown category of region 'sout'; did you mean 'south'? (allowed: north, south, west)"),
    ],
)
def test_a_comparison_that_cannot_hold_is_an_error_before_and_on_evaluation(text, told):
    available = {"arm": (), "sessions": (), "region": ("north", "south", "west")}
    for attempt in (lambda: check(f"arm == 1 and not {text}", available), lambda: evaluate(text, TRIAL)):
        with pytest.raises(SimtrialError) as caught:
            attempt()
        assert told in str(caught.value)
        assert caught.value.exit_code == 2


def test_what_can_be_evaluated_passes_the_check():
    check("arm == 1 and (sessions >= 6 or not region == 'west')", {"arm": (), "sessions": (), "region": ("west",)})
