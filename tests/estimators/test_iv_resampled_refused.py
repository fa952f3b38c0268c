"""Sets of the complier effect by resampling where they cannot be, and where the data do not allow them."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import method
from test_iv_resampled import IV, RESAMPLED, inverted, weak
from trials import batch, fit, ragged

from simtrial.flags import BIT, text
from simtrial.scenario import load_methods


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ci": "wild-bootstrap", "level_of_analysis": "cluster"}, "is of people"),
        ({"ci": "randomisation", "level_of_analysis": "cluster", "weights": "size"}, "all alike"),
        ({"ci": "randomisation", "ratio": "lmm"}, "does not go with ratio 'lmm'"),
        ({"ci": "wald", "draws": 99}, "draws is an option of ci"),
        ({"ci": "randomisation", "distribution": "webb"}, "distribution is an option of ci"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(ValidationError, match=message):
        method("iv", adjust=[], **IV, **options)


@pytest.mark.parametrize("ci", RESAMPLED)
@pytest.mark.parametrize("pooled", ["estimate", "effects"])
def test_neither_goes_into_mi(ci, pooled):
    with pytest.raises(ValidationError, match=f"ci = '{ci}'"):
        method("mi", adjust=[], pooled=pooled, analysis={"kind": "iv", "ci": ci, **IV})


@pytest.mark.parametrize("ci", RESAMPLED)
@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"received": 0.0}, "no_first_stage"),
        ({"received": 1.0}, "no_first_stage"),
        ({"arm": 1.0}, "one_arm"),
        ({"received": np.nan}, "no_data"),
        ({"mansa_followup": np.nan}, "no_data"),
        ({"mansa_followup": 4.0}, "constant_outcome"),
    ],
    ids=str,
)
def test_degenerate_files_fail_with_their_cause(ci, changed, cause):
    data = ragged(2)
    data |= {name: np.full(len(data["arm"]), value) for name, value in changed.items()}
    found = inverted(ci, data)
    assert found.failed[0]
    assert cause in text(int(found.flags[0])).split(";")
    assert found.notes["ci_type"][0] == ""
    assert np.isnan([found.ci_lower[0, 0], found.ci_upper[0, 0], found.p_value[0, 0]]).all()


@pytest.mark.parametrize("ci", RESAMPLED)
def test_odd_shapes_have_a_set_or_a_cause(ci):
    one_an_arm = {"practice": np.arange(12) // 6, "arm": (np.arange(12) >= 6) * 1.0}
    rng = np.random.default_rng(4)
    one_each = {"practice": np.arange(14), "arm": (np.arange(14) % 2) * 1.0}
    for shape in (one_an_arm, one_each):
        n = len(shape["arm"])
        data = {**shape, "mansa_followup": rng.normal(size=n), "mansa_baseline": rng.normal(size=n)}
        data["received"] = shape["arm"] * (rng.random(n) < 0.7)
        data["age"] = 2 * data["mansa_baseline"]
        for covariates in ((), ("mansa_baseline", "age")):
            found = inverted(ci, data, covariates)
            assert found.failed[0] == (found.notes["ci_type"][0] == "")
            assert not found.failed[0] or text(int(found.flags[0]))
            assert "invalid_result" not in text(int(found.flags[0]))


def test_without_an_allocation_there_is_no_re_allocation():
    found = fit(batch(ragged(3)), method("iv", adjust=[], ci="randomisation", **IV))
    assert found.failed[0]
    assert found.flags[0] & BIT["no_allocation"]
    assert found.notes["reason"][0] == "no allocation is stated"


def test_the_allocation_of_the_file_is_replayed(tmp_path):
    table = (
        '[[methods]]\nname = "{0}"\nkind = "iv"\nadjust = []\nreceived = "received == 1"\n'
        'response = "mansa"\nci = "{0}"\n'
    )
    file = tmp_path / "methods.toml"
    file.write_text(table.format("randomisation") + table.format("wald") + '[allocation]\nmethod = "complete"\n')
    one, other = load_methods(file)
    assert (one.allocation.method, other.allocation) == ("complete", None)
    assert [m.is_random() for m in (one, other)] == [True, False]


def test_more_draws_than_one_pass_holds_are_the_same_sets(monkeypatch):
    from simtrial.estimators.compliers import iv_resampled

    data = [weak(seed) for seed in range(5)]
    stacked = {column: np.concatenate([one[column] for one in data]) for column in data[0]}
    stacked["trial"] = np.repeat(np.arange(len(data)), [len(one["arm"]) for one in data])
    whole = inverted("wild-bootstrap", stacked)
    monkeypatch.setattr(iv_resampled, "TOGETHER", 99)
    parts = inverted("wild-bootstrap", stacked)
    for number in ("ci_lower", "ci_upper", "p_value"):
        np.testing.assert_array_equal(getattr(whole, number), getattr(parts, number))
