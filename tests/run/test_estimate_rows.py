"""Rows of many methods as one frame: what polars stacks from their rows one by one."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reference import method
from trials import batch, fit, ragged

from simtrial.store.estimate_rows import Piece, bind, columns_of, table

FULL = Piece(
    2,
    {
        "cell": "base", "method": "a", "replicate": np.array([1, 2]), "estimate": np.array([0.5, np.nan]),
        "flags": ["", "boundary"], "whole": np.array([3, 4], np.int8), "half": np.array([np.nan, 2], np.float32),
        "yes": np.array([True, False]), "words": np.array(["x", "yz"]), "message": pl.Series([None, "why"]),
        "masked": np.ma.masked_array([1.0, 2.0], [True, False]),
    },
)  # fmt: skip
PLAIN = Piece(
    3, {"cell": "base", "method": "b", "estimate": np.arange(3.0), "flags": "", "icc": np.array([np.nan] * 3)}
)
THINGS = np.array([{"any": "thing"}], dtype=object)
ODD = Piece(1, {"method": "c", "cell": "base", "estimate": np.array([-0.0]), "flags": ["odd"], "things": THINGS})


@pytest.mark.parametrize("pieces", [[FULL], [PLAIN, FULL], [FULL, PLAIN, FULL], [PLAIN, PLAIN], [ODD], [ODD, PLAIN]])
def test_one_frame_of_all_pieces_is_what_their_frames_give_on_top_of_each_other(pieces: list[Piece]) -> None:
    found, expected = table(pieces), bind([table([piece]) for piece in pieces])
    assert found.schema == expected.schema
    assert found.columns == expected.columns
    plain = [name for name, kind in found.schema.items() if kind != pl.Object]
    assert_frame_equal(found.select(plain), expected.select(plain), check_exact=True)
    assert found.rows() == expected.rows()
    assert found.n_chunks() == 1


def test_what_is_not_a_number_and_what_a_piece_lacks_is_null() -> None:
    found = table([FULL, PLAIN])
    assert found["estimate"].to_list() == [0.5, None, 0.0, 1.0, 2.0]
    assert found["half"].to_list() == [None, 2.0, None, None, None]
    assert found["icc"].to_list() == [None] * 5
    assert found["masked"].to_list() == [None, 2.0, None, None, None]
    assert found["whole"].to_list() == [3, 4, None, None, None]
    assert found["message"].to_list() == [None, "why", None, None, None]
    assert found["method"].to_list() == ["a"] * 2 + ["b"] * 3
    assert found["flags"].to_list() == ["", "boundary", "", "", ""]


@pytest.mark.parametrize("other", [np.arange(3), np.array(["a", "b", "c"]), np.arange(3, dtype=np.float32)])
def test_columns_of_one_name_and_different_kinds_are_refused(other: object) -> None:
    with pytest.raises(pl.exceptions.SchemaError, match="incompatible with expected type Float64"):
        table([PLAIN, Piece(3, {**PLAIN.columns, "estimate": other})])


def test_what_was_said_stays_when_a_method_fills_its_arrays_anew() -> None:
    """The columns of a block wait for those of the others in its chunk."""
    found = fit(batch(ragged(1)), method("lmm", df="kenward-roger"))
    columns = {**columns_of(found), "own_true_value": np.zeros(1)}
    before = table([Piece(1, columns)])
    for values in (found.estimate, found.std_error, found.df, found.p_value, found.n_used, *found.extras.values()):
        values[...] = -1.0
    found.flags[...], found.failed[...] = 1, True
    after = table([Piece(1, columns)])
    assert before["estimate"].null_count() == before["icc"].null_count() == 0
    assert_frame_equal(after, before, check_exact=True)
