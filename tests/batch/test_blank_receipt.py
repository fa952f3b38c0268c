"""Blanks in receipt, keep and subset are unknown: whoever they concern is left out, counted, and told of."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import simtrial
from reference import method
from trials import batch, fit, ragged

from simtrial.batch import Column
from simtrial.flags import text as flags_of

CASE = Path(__file__).parents[1] / "data" / "cases" / "receipt-blank"
SESSIONS = ("sessions >= 6", "not (sessions < 6)", "not (not sessions >= 6)", "sessions > 5 and not sessions == 5.5")


def data(seed=4, blanks=9):
    """Return a trial with sessions 0 to 10 in the intervention arm, blank for some, and what they took in words."""
    rng = np.random.default_rng([31, seed])
    found = ragged(seed, practices=14)
    sessions = found["arm"] * rng.integers(0, 11, len(found["arm"]))
    blank = rng.permutation(np.flatnonzero(found["arm"] == 1))[:blanks]
    sessions[blank] = np.nan
    return {**found, "sessions": sessions}, np.isin(np.arange(len(sessions)), blank)


def without(columns, blank):
    return {name: values[~blank] for name, values in columns.items()}


def same(mine, theirs, rel=1e-10):
    for name in ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value"):
        assert getattr(mine, name)[0] == pytest.approx(getattr(theirs, name)[0], rel=rel, nan_ok=True), name
    assert mine.n_used.tolist() == theirs.n_used.tolist()


def test_the_published_case_is_that_of_the_rows_without_blanks():
    """R 4.2.2, AER::ivreg and clubSandwich CR2 on the 149 rows with a receipt: see expected.txt beside the data."""
    found = simtrial("analyse", CASE / "data.csv", "--methods", CASE / "methods.toml", "--format", "json")
    assert found.code == 0
    rows = {row["method"]: row for row in json.loads(found.out)["rows"]}
    for name in ("iv", "iv not", "iv subset"):
        row = rows[name]
        assert row["estimate"] == pytest.approx(1.771671512, rel=1e-9)
        assert row["std_error"] == pytest.approx(0.323000717, rel=1e-8)
        assert row["df"] == pytest.approx(17.0295516, rel=1e-8)
        assert (row["ci_lower"], row["ci_upper"]) == pytest.approx((1.09028964, 2.453053384), rel=1e-8)
    for row in rows.values():
        assert row["estimate"] == pytest.approx(1.771671512, rel=1e-9)
        assert row["n_used"] == 149
        assert json.loads(row["extra"])["n_unknown"] == 14
    flags = {name: row["flags"] for name, row in rows.items()}
    assert flags == {"iv": "blank_receipt", "iv not": "blank_receipt", "iv ar": "blank_receipt", "iv subset": ""}


@pytest.mark.parametrize("received", SESSIONS)
@pytest.mark.parametrize("options", [{}, {"ci": "anderson-rubin"}, {"level_of_analysis": "cluster"}], ids=str)
def test_unknown_receipt_is_left_out_counted_and_flagged(received, options):
    columns, blank = data()
    asked = method("iv", adjust=["mansa_baseline"], received=received, **options)
    mine, theirs = fit(batch(columns), asked), fit(batch(without(columns, blank)), asked)
    same(mine, theirs)
    assert mine.extras["n_unknown"].tolist() == [blank.sum()]
    assert theirs.extras["n_unknown"].tolist() == [0]
    assert flags_of(int(mine.flags[0] & ~theirs.flags[0])) == "blank_receipt"


def test_receipt_in_words():
    columns, blank = data()
    words = np.where(
        blank, "", np.where(columns["sessions"] >= 6, "full", np.where(columns["arm"] == 1, "some", "none"))
    )
    labels, codes = np.unique(words, return_inverse=True)  # the blank sorts first, and is code -1
    assert labels[0] == ""
    taken = Column(codes - 1, "participant", tuple(labels[1:].tolist()))
    observed = batch(columns).with_columns({"taken": taken})
    expected = fit(batch(without(columns, blank)), method("iv", adjust=[], received="sessions >= 6"))
    for received in ("taken == 'full'", "not taken != 'full'", "not (taken == 'some' or taken == 'none')",
                     "taken != 'some' and taken != 'none'"):  # fmt: skip
        found = fit(observed, method("iv", adjust=[], received=received))
        same(found, expected)
        assert found.extras["n_unknown"].tolist() == [blank.sum()]


def test_practices_of_which_it_is_unknown():
    """Availability is blank in control by design, which the arm decides, and in two practices that do not say."""
    columns, _ = data(blanks=0)
    practices = np.unique(columns["practice"][columns["arm"] == 1])
    share = np.where(columns["arm"] == 1, 0.4 + 0.05 * columns["practice"], np.nan)
    silent = np.isin(columns["practice"], practices[:2])
    columns["availability"] = np.where(silent, np.nan, share)
    asked = method("iv", adjust=[], received="arm == 1 and availability >= 0.7")
    mine, theirs = fit(batch(columns), asked), fit(batch(without(columns, silent)), asked)
    same(mine, theirs)
    assert mine.extras["n_unknown"].tolist() == [silent.sum()]
    alone = fit(batch(columns), method("iv", adjust=[], received="availability >= 0.7"))
    assert flags_of(int(alone.flags[0])) == "blank_receipt;one_arm"  # of nobody in control is it known
    assert alone.failed[0]
    assert alone.extras["n_unknown"][0] == silent.sum() + (columns["arm"] == 0).sum()


@pytest.mark.parametrize("received", ["sessions >= 6", "not sessions >= 6", "sessions != 0"])
def test_receipt_that_nobody_has_fails_and_says_how_many(received):
    columns, _ = data()
    columns["sessions"] = np.full(len(columns["arm"]), np.nan)
    found = fit(batch(columns), method("iv", adjust=[], received=received))
    assert found.failed[0]
    assert set(flags_of(int(found.flags[0])).split(";")) >= {"no_data", "blank_receipt"}
    assert found.extras["n_unknown"].tolist() == [len(columns["arm"])]


@pytest.mark.parametrize("keep", ["arm == 0 or sessions >= 6", "not (arm == 1 and sessions < 6)"])
@pytest.mark.parametrize("kind", ["lmm", "ols", "gee", "cluster-means", "g-computation", "clda"])
def test_whoever_is_not_known_to_have_kept_to_the_protocol_is_left_out(kind, keep):
    columns, blank = data()
    asked = method("per-protocol", adjust=["mansa_baseline"], keep=keep, analysis={"kind": kind})
    mine, theirs = fit(batch(columns), asked), fit(batch(without(columns, blank)), asked)
    same(mine, theirs, rel=1e-8 if kind == "clda" else 1e-10)  # clda: where its iterations stop
    assert mine.extras["n_unknown"].tolist() == [blank.sum()]
    assert flags_of(int(mine.flags[0] & ~theirs.flags[0])) == "blank_receipt"


@pytest.mark.parametrize("subset", ["arm == 0 or sessions >= 2", "not sessions < 2 or arm == 0"])
@pytest.mark.parametrize("kind", ["lmm", "ols", "icc", "correlation", "wild-bootstrap"])
def test_whoever_is_not_known_to_belong_to_a_subset_is_left_out_and_counted(kind, subset):
    columns, blank = data()
    asked = method(kind, adjust=["mansa_baseline"], subset=subset)
    mine, theirs = fit(batch(columns), asked), fit(batch(without(columns, blank)), asked)
    same(mine, theirs)
    assert mine.extras["n_unknown"].tolist() == [blank.sum()]
    assert mine.flags.tolist() == theirs.flags.tolist()  # a subset is no receipt


def test_only_those_who_would_otherwise_be_analysed_are_counted():
    columns, blank = data()
    columns["mansa_followup"] = np.where(
        np.arange(len(blank)) == np.flatnonzero(blank)[0], np.nan, columns["mansa_followup"]
    )
    middle = np.median(columns["age"])
    old = columns["age"] > middle
    asked = method(
        "per-protocol", adjust=[], keep="arm == 0 or sessions >= 6", subset=f"age > {middle}", analysis={"kind": "ols"}
    )
    found = fit(batch(columns), asked)
    assert found.extras["n_unknown"].tolist() == [(blank & old & ~np.isnan(columns["mansa_followup"])).sum()]


def test_blanks_of_one_trial_are_nothing_to_the_others():
    parts = [data(seed, blanks)[0] for seed, blanks in ((4, 0), (5, 8), (6, 0))]
    together = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    together["trial"] = np.repeat([0, 1, 2], [len(p["arm"]) for p in parts])
    asked = method("iv", adjust=["mansa_baseline"], received="sessions >= 6")
    found = fit(batch(together), asked)
    for at, part in enumerate(parts):
        alone = fit(batch(part), asked)
        assert found.estimate[0, at] == pytest.approx(alone.estimate[0, 0], rel=1e-12)
        assert found.std_error[0, at] == pytest.approx(alone.std_error[0, 0], rel=1e-12)
        assert found.flags[at] == alone.flags[0]
    assert found.extras["n_unknown"].tolist() == [0, 8, 0]


def test_events_of_which_it_is_unknown_whether_they_began_under_treatment():
    """A person with two events and a blank for those under treatment is left out, and not counted as untreated."""
    columns, _ = data(blanks=0)
    rng = np.random.default_rng(7)
    events = rng.poisson(1.0, len(columns["arm"])).astype(float)
    treated = np.minimum(events, columns["arm"] * rng.integers(0, 2, len(events)))
    blank = np.zeros(len(events), dtype=bool)
    blank[np.flatnonzero(events * columns["arm"])[:3]] = True
    whole = {**columns, "acute_episodes": events, "acute_treated": np.where(blank, np.nan, treated),
             "first_contact_months": np.where(columns["arm"] == 1, 1.0, np.nan)}  # fmt: skip
    asked = method("event-rate")
    same(fit(batch(whole), asked), fit(batch(without(whole, blank)), asked))
