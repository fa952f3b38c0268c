"""A covariate's mean by practice: the contextual covariate of Klar and Darlington (2004, Statistics in Medicine 23)."""

import numpy as np
import pytest
import statsmodels.api as sm
from commands import simtrial
from trials import batch, fit

from simtrial.errors import ScenarioError, SimtrialError
from simtrial.estimators import method_class
from simtrial.scenario import load


def method(kind, **options):
    return method_class(kind).model_validate({"name": "x", "response": "mansa", **options})


def trial(sizes, seed=4):
    rng = np.random.default_rng(seed)
    practice = np.repeat(np.arange(len(sizes)), sizes)
    x = rng.normal(4, 1, len(practice)) + rng.normal(0, 0.5, len(sizes))[practice]
    y = 0.5 * x + rng.normal(0, 0.4, len(sizes))[practice] + rng.normal(0, 1, len(practice))
    return {"practice": practice, "arm": practice % 2, "mansa_baseline": x, "mansa_followup": y}


def test_it_is_the_mean_of_everyone_with_a_value():
    data = trial([3, 2, 4])
    data["mansa_baseline"][[0, 3, 4]] = np.nan
    found = batch(data).column("mean(mansa_baseline)")
    assert found.level == "practice"
    first, last = data["mansa_baseline"][1:3].mean(), data["mansa_baseline"][5:].mean()
    assert found.values == pytest.approx([first, np.nan, last], nan_ok=True)


@pytest.mark.parametrize("kind", ["lmm", "ols"])
def test_with_equal_sizes_the_effect_is_that_of_a_regression_of_practice_means(kind):
    """Given the mean, the rest of a covariate is orthogonal to everything that is constant in practices."""
    data = trial([5] * 12)
    adjusted = method(kind, adjust=["mansa_baseline", "mean(mansa_baseline)"])
    found = fit(batch(data), adjusted, every_term=True)
    means = {name: data[name].reshape(12, 5).mean(axis=1) for name in ("arm", "mansa_baseline", "mansa_followup")}
    x = np.column_stack([np.ones(12), means["mansa_baseline"], means["arm"]])
    expected = sm.OLS(means["mansa_followup"], x).fit()
    assert found.estimate[0, 0] == pytest.approx(expected.params[2], rel=1e-10)
    assert found.terms == ("arm", "intercept", "mansa_baseline", "mean(mansa_baseline)")


def test_its_variable_must_be_a_number_of_people():
    data = batch(trial([3, 3, 3, 3]))
    with pytest.raises(SimtrialError, match="needs a number that people of one practice differ in"):
        data.column("mean(arm)")
    with pytest.raises(SimtrialError, match=r"unknown column 'mansa_basline'; did you mean 'mansa_baseline'"):
        data.column("mean(mansa_basline)")


@pytest.mark.parametrize(
    ("name", "said"), [("mean(region)", "needs a number"), ("mean(mansa_basline)", "mansa_baseline")]
)
def test_a_scenario_that_asks_for_another_is_refused_when_read(tmp_path, name, said):
    file = tmp_path / "wrong.toml"
    file.write_text(
        'schema = 1\nname = "wrong"\ntitle = "x"\nextends = "partners"\n'
        f'[[methods]]\nname = "x"\nkind = "lmm"\nadjust = ["mansa_baseline", "{name}"]\n'
    )
    with pytest.raises(ScenarioError, match=said):
        load(str(file))


def test_missing_baselines_are_imputed_with_their_mean(tmp_path):
    """A contextual covariate inside multiple imputation: both are filled in, nothing fails."""
    file = tmp_path / "scenario.toml"
    file.write_text(
        'schema = 1\nname = "contextual"\ntitle = "x"\nextends = "partners"\n'
        '[[methods]]\nname = "x"\nkind = "mi"\nm = 2\nadjust = ["mansa_baseline", "mean(mansa_baseline)"]\n'
        'analysis = { kind = "lmm" }\n[run]\nreplicates = 20\nblock = 20\n'
    )
    done = simtrial("run", str(file), "-o", str(tmp_path / "run"))
    assert done.code == 0, done.err
