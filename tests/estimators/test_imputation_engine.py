"""An imputation engine of one's own: one class, which `mi` then uses by the name that ``imputation`` takes."""

import numpy as np
import pytest
from commands import simtrial as run
from pydantic import Field, ValidationError, model_validator
from reference import method
from tomls import SMALL, changed
from trials import batch, fit, ragged

from simtrial.errors import SimtrialError
from simtrial.estimators import kinds
from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES, ImputationEngine, register_imputation
from simtrial.flags import BIT
from simtrial.moments.build import moments
from simtrial.scenario import load
from simtrial.testing import check_method

OPTIONS = {"imputation": "noisy", "analysis": {"kind": "lmm"}, "m": 3, "adjust": ["mansa_baseline"]}


class Filled:
    """The mean of a trial's outcomes plus noise; trials without any have failed."""

    def __init__(self, incomplete, spread):
        self.incomplete, self.spread = incomplete, spread
        index, self.outcome = incomplete.batch.index, incomplete.spec.outcome
        self.rows = np.flatnonzero(incomplete.lacks(self.outcome))
        values = incomplete.batch.at(self.outcome)
        seen = ~np.isnan(values)
        count = np.bincount(index.participant_trial[seen], minlength=index.trials)
        self.mean = np.bincount(index.participant_trial[seen], values[seen], index.trials) / np.maximum(count, 1)
        self.failed = count == 0
        self.flags = np.where(count == 1, BIT["tau2_not_identified"], 0)

    def reason(self, trial):
        return "nobody has an outcome"

    def complete(self, rng):
        batch = self.incomplete.batch
        values = batch.at(self.outcome).copy()
        mean = self.mean[batch.index.participant_trial[self.rows]]
        values[self.rows] = mean + self.spread * rng.standard_normal(len(self.rows))
        return self.incomplete.filled(batch, self.outcome, values)


@pytest.fixture
def mean():
    """The engine `noisy`, forgotten afterwards."""

    @register_imputation("noisy")
    class Mean(ImputationEngine):
        """The mean of the outcomes observed, plus normal noise."""

        spread: float = Field(1.0, gt=0, description="SD of the noise")
        lowest: float = Field(0.0, description="lowest value")
        highest: float = Field(10.0, description="highest value")

        @model_validator(mode="after")
        def _in_order(self):
            if self.lowest > self.highest:
                raise ValueError("lowest is above highest")
            return self

        def fit(self, incomplete):
            return Filled(incomplete, self.spread)

    yield Mean
    del IMPUTATION_ENGINES.found["noisy"]


def lacking(seed=8):
    data = ragged(seed, practices=20)
    gone = np.random.default_rng(seed).random(len(data["arm"])) < 0.25
    return {**data, "mansa_followup": np.where(gone, np.nan, data["mansa_followup"])}, gone


def test_mi_draws_from_the_engine_that_is_named(mean):
    data, gone = lacking()
    observed, mi = batch(data), method("mi", spread=1e-6, **OPTIONS)
    assert isinstance(mi.engine(), mean)
    filled = mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec()))).complete(np.random.default_rng(1))
    values = filled.at("mansa_followup")
    expected = np.nanmean(data["mansa_followup"])
    assert np.abs(values[gone] - expected).max() < 1e-5
    assert np.array_equal(values[~gone], data["mansa_followup"][~gone])
    found, complete = fit(observed, mi), fit(filled, mi.analysis)
    assert found.estimate[0] == pytest.approx(complete.estimate[0], abs=1e-5)
    assert found.n_used[0] == len(gone)
    other = fit(observed, method("mi", **{**OPTIONS, "imputation": "random-intercept"}))
    assert abs(found.estimate[0, 0] - other.estimate[0, 0]) > 1e-3


def test_the_spread_between_imputations_is_that_of_its_draws(mean):
    observed = batch(lacking()[0])
    narrow, wide = (fit(observed, method("mi", spread=s, **OPTIONS)).extras["riv"][0] for s in (1e-6, 3.0))
    assert 0 < narrow < 1e-9  # in proportion to the square of the spread
    assert wide > 0.05


def test_why_the_engine_failed_is_in_the_message(mean):
    data, _ = lacking()
    found = fit(batch({**data, "mansa_followup": np.full(len(data["arm"]), np.nan)}), method("mi", **OPTIONS))
    assert found.failed[0]
    assert str(found.notes["message"][0]) == "outcome 'mansa_followup' is blank throughout both arms"


def test_the_contract_of_methods_holds_with_it(mean):
    check_method({"kind": "mi", "imputation": "noisy", "m": 3, "analysis": {"kind": "lmm"}})


def written(tmp_path, options):
    file = tmp_path / "small.toml"
    row = f'[[methods]]\nname = "filled"\nkind = "mi"\nadjust = []\nanalysis = {{ kind = "ols" }}\n{options}\n\n[run]\n'
    file.write_text(changed("[run]\n", row, SMALL))
    return file


def test_a_scenario_names_it_and_its_options_beside_those_of_mi(mean, tmp_path):
    scenario, _ = load(written(tmp_path, 'imputation = "noisy"\nspread = 0.5\nm = 4'))
    made = scenario.methods[-1]
    assert (made.imputation, made.m, made.engine().spread) == ("noisy", 4, 0.5)
    dumped = made.model_dump()
    assert dumped["spread"] == 0.5
    assert "prior" not in dumped


@pytest.mark.parametrize(("options", "told"), [
    ('imputation = "noisi"', ["methods[4].imputation", "unknown imputation engine 'noisi'", "did you mean 'noisy'?"]),
    ('imputation = "noisy"\nspred = 2.0', ["methods[4].spred", "did you mean 'spread'?"]),
    ('imputation = "noisy"\nprior = "uniform-icc"', ["methods[4].prior", "unknown key 'prior'"]),
    ('priors = "uniform-icc"', ["methods[4].priors", "did you mean 'prior'?"]),
    ('imputation = "noisy"\nspread = -1.0\nm = 0', ["spread must be > 0", "(SD of the noise)", "m must be >= 1"]),
    ('imputation = "noisy"\nlowest = 20.0', ["methods[4]", "lowest is above highest"]),
    ("imputation = 3", ["imputation must be text in quotes; 3 given"]),
])  # fmt: skip
def test_what_an_engine_does_not_take_is_refused_in_place(mean, tmp_path, options, told):
    with pytest.raises(SimtrialError) as raised:
        load(written(tmp_path, options))
    for words in told:
        assert words in str(raised.value)


def test_python_refuses_it_too(mean):
    for options, words in (({"spred": 2.0}, "spred"), ({"lowest": 20.0}, "lowest is above highest")):
        with pytest.raises(ValidationError, match=words):
            kinds()["mi"].model_validate({"name": "x", **OPTIONS, **options})


def test_an_option_cannot_have_the_name_of_one_of_mi(mean):
    @register_imputation("own")
    class Own(ImputationEngine):
        """An engine with a number of imputations of its own."""

        m: int = 3

    try:
        with pytest.raises(ValidationError, match="imputation engine 'own': 'm' is an option of mi"):
            method("mi", **{**OPTIONS, "imputation": "own"})
    finally:
        del IMPUTATION_ENGINES.found["own"]


PLUGIN = '''
from simtrial import ImputationEngine, register_imputation


class Unchanged:
    def __init__(self, incomplete):
        self.incomplete = incomplete
        self.failed = incomplete.moments.failed
        self.flags = incomplete.flags

    def reason(self, trial):
        return "its moments cannot be made"

    def complete(self, rng):
        return self.incomplete.batch


@register_imputation("unchanged")
class Nothing(ImputationEngine):
    """Leave the gaps."""

    def fit(self, incomplete):
        return Unchanged(incomplete)
'''


def test_a_plugin_enters_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leaving.py").write_text(PLUGIN)
    file = written(tmp_path, 'imputation = "unchanged"')
    refused = run("show", str(file))
    assert refused.code == 2
    assert "unknown imputation engine 'unchanged'" in refused.err
    try:
        loaded = run("show", str(file), "--plugin", "leaving.py")
    finally:
        IMPUTATION_ENGINES.found.pop("unchanged", None)
    assert loaded.code == 0, loaded.err
