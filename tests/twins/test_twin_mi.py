"""Multiple imputation beside its twin, given its draws: values, analyses of the completed data, pooling."""

import collections

import numpy as np
import pytest

from simtrial.moments.build import moments
from twins import linear, means, mixed
from twins.designs import NUMBERS, draw
from twins.frame import frame
from twins.imputed import Spy, coefficients_given, completed_values, pooled, watched
from twins.product import made, observed
from twins.verdict import DIFFERENT, EQUAL, judged

M = 3
ANALYSES = {
    "ols": ({"kind": "ols", "se": "CR2"}, lambda f: linear.ols(f)),
    "lmm": ({"kind": "lmm", "df": "satterthwaite"}, lambda f: mixed.lmm(f, df="satterthwaite")),
    "cluster-means": ({"kind": "cluster-means", "df": "clusters-p"}, lambda f: means.cluster_means(f, df="clusters-p")),
}


def trials(seed, batches):
    """Odd trials in which nothing but the outcome is blank."""
    for number in range(batches):
        batch = draw(seed, number)
        adjust = [name for name in batch.adjust if name in NUMBERS]
        for data in batch.trials:
            there = np.ones(len(data["arm"]), dtype=bool)
            for name in adjust:
                there &= ~np.isnan(data[name])
            whole = {name: values[there] for name, values in data.items()}
            if there.sum() > 8 and np.isnan(whole["mansa_followup"]).any():
                yield whole, adjust


def stacked(data, batch):
    """The outcome of a completed batch in the order of the trial's own rows."""
    labels = list(dict.fromkeys(data["practice"].tolist()))
    codes = np.array([labels.index(label) for label in data["practice"].tolist()])
    out = np.empty(len(codes))
    out[np.argsort(codes, kind="stable")] = batch.at("mansa_followup")
    return out


def fitted(data, adjust, kind, rule):
    method = made("mi", adjust, None, {"analysis": ANALYSES[kind][0], "m": M, "df": rule})
    batch, rng = observed([data]), Spy(5)
    with watched() as seen:
        found = method.fit(batch, moments(batch, method.spec()), rng)
    return found, seen, rng.normals


@pytest.mark.parametrize("kind", ANALYSES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_completed_data_are_analysed_and_pooled_as_the_twin_does(kind):
    verdicts = collections.Counter()
    for data, adjust in trials(41, 3):
        found, seen, _ = fitted(data, adjust, kind, "barnard-rubin")
        said = pooled(
            [ANALYSES[kind][1](frame({**data, "mansa_followup": stacked(data, c)}, "mansa_followup", adjust))
             for c in seen.completed]
        )  # fmt: skip
        verdict = judged(found, 0, said)
        verdicts[verdict.verdict] += 1
        model = frame(data, "mansa_followup", adjust)
        assert verdict.verdict != DIFFERENT or model.refusal or model.grey, verdict.why
    assert verdicts[EQUAL] > 6


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_follow_from_the_parameters_drawn():
    compared = 0
    for data, adjust in trials(42, 4):
        model = frame(data, "mansa_followup", adjust)
        if model.refusal or model.grey or len(model.terms) < 2 + len(adjust):
            continue
        found, seen, normals = fitted(data, adjust, "ols", "rubin")
        if not seen.draws:  # the imputation model was refused
            assert found.failed[0]
            continue
        missing, outcome = np.isnan(data["mansa_followup"]), data["mansa_followup"]
        order = [(np.ones(len(outcome)), False), *((data[n], True) for n in adjust), (data["arm"], False)]
        assert len(normals) == 3 * M
        for k, (drawn, completed) in enumerate(zip(seen.draws, seen.completed, strict=True)):
            of_beta, of_practices, of_people = normals[3 * k : 3 * k + 3]
            values = stacked(data, completed)
            places = np.argsort(practice_order(data)[missing], kind="stable")
            noise = np.empty(missing.sum())
            noise[places] = of_people
            expected = completed_values(data, order, outcome, missing, drawn, of_practices, noise)
            unit = np.sqrt(float(drawn.sigma2[0]) * (1 + float(drawn.gamma[0])))
            rounding = 1e-13 * model.condition**2 + 1e-15 * np.nanmax(np.abs(outcome)) / unit
            assert np.array_equal(values[~missing], outcome[~missing])
            assert np.abs(values[missing] - expected).max() <= 100 * rounding * (unit + np.ptp(outcome[~missing]))
            given, drawn_squares = coefficients_given(data, order, outcome, missing, drawn, of_beta)
            assert given == pytest.approx(drawn_squares, rel=1e-7 + 1e-10 * model.condition**2)
            compared += 1
    assert compared >= 15


def practice_order(data):
    labels = list(dict.fromkeys(data["practice"].tolist()))
    return np.array([labels.index(label) for label in data["practice"].tolist()])
