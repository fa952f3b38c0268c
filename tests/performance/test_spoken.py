"""Measures by the headings of our tables and by usual words: the message names the measure that is meant."""

import pytest

from simtrial.performance import MEASURES, PAIRED
from simtrial.performance.spoken import SPOKEN, meant, unknown_measure
from simtrial.report.performance import COLUMNS

KNOWN = [*MEASURES, *PAIRED, "failures"]


def test_every_word_leads_to_a_measure_and_to_one_alone() -> None:
    words = [word for several in SPOKEN.values() for word in several]
    assert set(SPOKEN) <= set(KNOWN)
    assert len(words) == len(set(words))
    assert not {word.replace(" ", "_") for word in words} & set(KNOWN)


@pytest.mark.parametrize(("name", "heading", "_"), COLUMNS)
def test_headings_of_the_table_are_understood(name: str, heading: str, _: int) -> None:
    assert meant(heading, KNOWN) == name


def test_the_message_names_what_is_meant() -> None:
    assert unknown_measure("Type I error", KNOWN).startswith(
        "unknown measure 'Type I error'; did you mean 'rejection_rate'? (allowed: "
    )
    assert "did you mean 'coverage'?" in unknown_measure("covrage", KNOWN)
    assert "did you mean" not in unknown_measure("power", ["bias"])
