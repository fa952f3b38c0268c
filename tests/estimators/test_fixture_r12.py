"""A trial of 14 practices without random numbers, whose results in R are known to ten digits.

R 4.2.2 with lme4 1.1.31, lmerTest 3.1.3, pbkrtest 0.5.2, clubSandwich 0.5.8 and AER 1.2.10; y ~ arm + reg + x.
"""

import numpy as np
import pytest
from reference import method
from trials import batch, fit, published_fixture

from simtrial.estimators.ols import covariance
from simtrial.moments.build import moments

# lme4 stops at theta within some 1e-8 of the optimum, which moves its numbers by up to 5e-8 of a standard error, or of
# themselves (test_slow_twin finds our optimum on these data); closed forms agree to the digits printed.
OPTIMISER = 1e-7


def printed(text):
    """Return a number that matches to the digits printed."""
    return pytest.approx(float(text), rel=0, abs=0.51 * 10.0 ** -len(text.partition(".")[2]))


@pytest.fixture(scope="module")
def observed():
    return batch(published_fixture())


def estimates(observed, kind, term, **options):
    found = fit(observed, method(kind, adjust=["reg", "x"], **options), every_term=True)
    assert not found.failed.any()
    at = found.terms.index(term)
    return found, found.estimate[at, 0], found.std_error[at, 0], found.df[at, 0]


def test_the_data_are_the_published_ones():
    data = published_fixture()
    y = data["mansa_followup"]
    # sums of 60 terms near 4 and 19, each within an ulp or two of the platform's sine
    assert [y.sum(), (y**2).sum()] == pytest.approx([257.1218644842809, 1137.3967419215717], rel=1e-14)
    assert data["d"].sum() == 21


@pytest.mark.parametrize(
    ("estimation", "criterion", "sigma2", "tau2"),
    [("reml", 124.8799124, 0.3753532872, 0.1155543688), ("ml", 118.0177737, 0.37206122, 0.06095800)],
)
def test_variances_and_criterion(observed, estimation, criterion, sigma2, tau2):
    extras = estimates(observed, "lmm", "arm", estimation=estimation)[0].extras
    assert -2 * extras["loglik"][0] == pytest.approx(criterion, rel=0, abs=0.51e-7)
    assert extras["sigma2"][0] == pytest.approx(sigma2, rel=OPTIMISER)
    assert extras["tau2"][0] == pytest.approx(tau2, rel=OPTIMISER)


@pytest.mark.parametrize(
    ("term", "df", "estimate", "std_error", "degrees"),
    [
        ("arm", "satterthwaite-observed", 0.0866444050, 0.2596271485, 9.163276724),
        ("arm", "kenward-roger", 0.0866444050, 0.2629717961, 10.49770389),
        ("intercept", "normal", 1.62434497579, 0.6090430149, np.inf),
        ("reg", "satterthwaite-observed", 0.16562624425, 0.2590479221, 9.0211424),
        ("reg", "kenward-roger", 0.16562624425, 0.2624703699, 10.3394402),
        ("x", "satterthwaite-observed", 0.58841066169, 0.1278379149, 46.3458398),
        ("x", "kenward-roger", 0.58841066169, 0.1282787466, 47.5928509),
    ],
)
def test_reml_coefficients(observed, term, df, estimate, std_error, degrees):
    _, *mine = estimates(observed, "lmm", term, df=df)
    assert mine[0] == pytest.approx(estimate, rel=0, abs=OPTIMISER * std_error)
    assert mine[1:] == pytest.approx([std_error, degrees], rel=OPTIMISER)


def test_kenward_roger_standard_error_of_the_intercept(observed):
    assert estimates(observed, "lmm", "intercept", df="kenward-roger")[2] == pytest.approx(0.6142064488, rel=OPTIMISER)


def test_ml_coefficient(observed):
    _, estimate, std_error, _ = estimates(observed, "lmm", "arm", estimation="ml", df="normal")
    assert estimate == pytest.approx(0.1487352778, rel=0, abs=OPTIMISER * std_error)
    assert std_error == pytest.approx(0.2226560786, rel=OPTIMISER)


def test_between_within_df_counts_practices_less_practice_level_coefficients(observed):
    assert estimates(observed, "lmm", "arm", df="between-within")[3] == 14 - 3
    assert estimates(observed, "lmm", "x", df="between-within")[3] == (60 - 4) - (14 - 3)


@pytest.mark.parametrize(
    ("df", "std_error", "degrees"),
    [("satterthwaite-observed", ".155278407", "56"), ("kenward-roger", ".160561163", "9.634891336")],
)
def test_on_the_boundary_the_fit_is_least_squares(df, std_error, degrees):
    data = published_fixture()
    found, *mine = estimates(batch({**data, "mansa_followup": data["mansa_followup"] - data["u"]}), "lmm", "arm", df=df)
    assert found.extras["tau2"][0] == 0.0
    assert mine == [printed(".076572542"), printed(std_error), printed(degrees)]


@pytest.mark.parametrize(
    ("se", "std_error", "degrees"),
    [
        ("CR0", ".2238669792", "7.552815773"),
        ("CR1", ".2323177435", "7.552815773"),
        ("CR1S", ".2384593595", "7.552815773"),
        ("CR2", ".2661172223", "6.871810065"),
        ("CR3", ".3195469190", "6.186261221"),
    ],
)
def test_least_squares(observed, se, std_error, degrees):
    _, *mine = estimates(observed, "ols", "arm", se=se)
    assert mine == [printed(".2897573409"), printed(std_error), printed(degrees)]


@pytest.mark.parametrize(
    ("divisors", "estimate", "alpha", "phi", "errors"),
    [
        ("n-p", ".1520232", ".1364215712", ".4635230632", (".2387029", ".2774617", ".3244308", ".2780878")),
        ("n", ".1455837", ".1450041614", ".4330675191", (".2393433", ".2779485", ".3246452", ".2786533")),
    ],
)
def test_estimating_equations(observed, divisors, estimate, alpha, phi, errors):
    for se, std_error in zip(("robust", "kauermann-carroll", "mancl-derouen", "fay-graubard"), errors, strict=True):
        found, *mine = estimates(observed, "gee", "arm", se=se, moments=divisors)
        assert mine == [printed(estimate), printed(std_error), 14 - 3]
        # one unit of the last digit: the second phi was cut, not rounded (.43306751916 from whole matrices too)
        mine = [found.extras["alpha"][0], found.extras["phi"][0]]
        assert mine == pytest.approx([float(alpha), float(phi)], rel=0, abs=1e-10)


@pytest.mark.parametrize(
    ("se", "std_error", "degrees"),
    [("CR0", ".3736007729", "7.5528"), ("CR1", ".3877038447", "7.5528"), ("CR2", ".4418080764", "6.8718")],
)
def test_two_stage_least_squares(observed, se, std_error, degrees):
    _, *mine = estimates(observed, "iv", "received", received="d == 1", se=se)
    assert mine == [printed(".4571726319"), printed(std_error), printed(degrees)]


@pytest.mark.parametrize(
    ("ci", "lower", "upper"),
    [("wald", "-.5915011", "1.5058464"), ("anderson-rubin", "-.4995468", "1.7071580")],
)
def test_complier_intervals_with_the_cr2_covariance_and_its_df(observed, ci, lower, upper):
    found, *_ = estimates(observed, "iv", "received", received="d == 1", se="CR2", ci=ci)
    assert [found.ci_lower[0, 0], found.ci_upper[0, 0]] == [printed(lower), printed(upper)]


def test_joint_covariance_of_the_reduced_forms(observed):
    spec = method("iv", adjust=["reg", "x"], received="d == 1").spec()
    made = moments(observed, spec)
    joint, df, _ = covariance(made, made.contrast("arm"), "CR2", "satterthwaite")
    receipt = made.least_squares.coefficients[-1, 1, 0]
    assert receipt == printed(".6338029020")
    assert np.sqrt(joint[1, 1, 0]) == printed(".0757215258")
    assert joint[0, 1, 0] == printed("-.006992989234")
    assert receipt**2 / joint[1, 1, 0] == printed("70.06")
    assert df[0] == printed("6.871810065")


@pytest.mark.parametrize(("se", "std_error"), [("classical", "0.4452134001"), ("CR0", "0.4121875145")])
def test_two_stage_least_squares_of_practice_means(observed, se, std_error):
    """Every practice a row of its own: CR0 is HC0."""
    options = {"received": "d == 1", "level_of_analysis": "cluster", "se": se, "df": "clusters-2"}
    found = fit(observed, method("iv", adjust=[], **options))
    assert found.estimate[0, 0] == printed("-0.1992378841")
    assert found.std_error[0, 0] == printed(std_error)
    assert found.df[0, 0] == 12
