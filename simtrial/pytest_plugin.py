"""Tests that fail when an estimator changes: a marker and a fixture for pytest.

Nothing heavy is imported until a test uses the fixture.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from simtrial.commands.request import Request
    from simtrial.verdict import Judged

VARIABLE = "SIMTRIAL_UPDATE_BASELINE"
OPTIONS = ("replicates", "plugin", "baseline", "seed", "strict", "identical", "settings")
"""Keywords of the marker."""

_CALLED = pytest.StashKey[bool]()
"""Whether a test has compared anything."""

_MADE = pytest.StashKey[dict[tuple[Any, ...], "Judged | None"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes baselines."""
    parser.getgroup("simtrial").addoption(
        "--simtrial-update-baseline", metavar="REASON", default=None,
        help=f"write the baselines of simtrial tests instead of comparing; the reason is kept (or set {VARIABLE})",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        f"simtrial(scenario, *, {', '.join(OPTIONS)}): simulated trials on which the fixture assert_no_regression runs "
        "estimators",
    )
    config.stash[_MADE] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a marked test that passes without having compared anything."""
    result = yield
    if item.get_closest_marker("simtrial") is not None and not item.stash.get(_CALLED, False):
        pytest.fail(
            "simtrial: the test is marked and compares nothing: take the fixture assert_no_regression and call it",
            pytrace=False,
        )
    return result


@pytest.fixture
def assert_no_regression(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """Return a function that fails the test when a method is no longer the one of the baseline.

    The test bears a marker: ``@pytest.mark.simtrial("scenario.toml", replicates=500, plugin="package.estimators")``.
    The first call of a session simulates the trials and runs every method of the scenario; other tests with the same
    marker use the same results. ``baseline`` is the file ``baselines/NAME.parquet`` beside the test unless stated.
    """
    marker = request.node.get_closest_marker("simtrial")
    if marker is None or len(marker.args) != 1:
        pytest.fail("simtrial: assert_no_regression needs the marker @pytest.mark.simtrial(SCENARIO)", pytrace=False)
    for keyword in marker.kwargs:
        if keyword not in OPTIONS:
            pytest.fail(f"simtrial: {_unknown('keyword of the marker', keyword, OPTIONS)}", pytrace=False)
    reason = request.config.getoption("--simtrial-update-baseline") or os.environ.get(VARIABLE) or ""
    folder, root = Path(request.path).parent, Path(str(request.config.rootpath))
    asked = _request(str(marker.args[0]), marker.kwargs, folder, root, reason)
    made = request.config.stash[_MADE]

    def assert_(method: str | None = None) -> None:
        """Fail the test where this method, or any, is no longer that of the baseline."""
        request.node.stash[_CALLED] = True
        key = (asked, *(repr(marker.kwargs.get(name)) for name in OPTIONS))
        if key not in made:
            made[key] = _run(asked, marker.kwargs, tmp_path)
        found = made[key]
        if found is not None:
            _assert(found, asked, method)

    return assert_


def _request(scenario: str, options: dict[str, Any], folder: Path, root: Path, reason: str) -> Request:
    """What is asked of `simtrial check`: files are sought beside the test, then below the root of the tests."""
    from simtrial.commands.request import Request, recipe

    file = next((place / scenario for place in (folder, root) if (place / scenario).is_file()), None)
    shown = scenario if file is None else os.path.relpath(file)
    stated = options.get("baseline")
    name = Path(scenario).name.removesuffix(".toml")
    baseline = folder / (stated or f"baselines/{name}.parquet")
    shown_baseline = Path(os.path.relpath(baseline))
    return Request(
        what=shown, form="text", baseline=shown_baseline, update=bool(reason), reason=reason,
        replay=recipe(shown, _plugins(options), options.get("seed"), _settings(options), shown_baseline),
        strict=bool(options.get("strict")), identical=bool(options.get("identical")),
    )  # fmt: skip


def _plugins(options: dict[str, Any]) -> tuple[str, ...]:
    """Modules that are loaded: one or several."""
    stated = options.get("plugin") or ()
    return (stated,) if isinstance(stated, str) else tuple(stated)


def _settings(options: dict[str, Any]) -> tuple[str, ...]:
    """Changes of the scenario's keys, as --set takes them."""
    return tuple(f"{key}={_toml(value)}" for key, value in (options.get("settings") or {}).items())


def _run(asked: Request, options: dict[str, Any], folder: Path) -> Judged | None:
    """Run the scenario and hold it against the baseline, or write that; what cannot be done fails the test in words."""
    from simtrial.commands import judging
    from simtrial.commands.options import load_cells, records_of
    from simtrial.errors import SimtrialError
    from simtrial.run.loop import run

    assert asked.baseline is not None
    refused = ""
    try:
        plugins = records_of(_plugins(options))
        scenario, cells = load_cells(asked.what, _settings(options), options.get("replicates"), options.get("seed"))
        if not asked.update and not asked.baseline.is_file():
            raise SimtrialError(f"there is no baseline {asked.baseline} yet; {remedy(asked)}")
        judging.refuse_early(scenario, cells, asked)
        outcome = run(scenario, cells, folder / "simtrial-run", plugins=plugins, command="pytest")
        if outcome.failed:
            raise SimtrialError(f"{asked.what} could not be run: {outcome.failed[0][1]}")
        return judging.assess(folder / "simtrial-run", asked)
    except SimtrialError as error:
        refused = str(error)
    pytest.fail(f"simtrial: {_as_in_pytest(refused)}", pytrace=False)  # here, so that the message is not printed twice


def _as_in_pytest(text: str) -> str:
    """A message of the command line with pytest's own option, and keywords of the marker, in place of its options."""
    from simtrial.check.baseline import WRITE

    text = text.replace(WRITE, "--simtrial-update-baseline 'REASON'")
    for option, keyword in (("--plugin ", "plugin "), ("--set ", "settings "), ("--seed", "seed")):
        text = text.replace(option, keyword)
    return text


def _unknown(what: str, name: str, allowed: Sequence[str]) -> str:
    """Message for an unknown name, with the nearest one."""
    from simtrial.errors import unknown

    return unknown(what, name, allowed)


def _toml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _assert(found: Judged, asked: Request, method: str | None) -> None:
    """Fail the test where a method is different, or too many of its fits fail."""
    from simtrial.report.regression import explained

    names = {f.method for f in found.findings}
    if method is not None and method not in names:
        pytest.fail(f"simtrial: {_unknown('method', method, sorted(names))} in {asked.what}", pytrace=False)
    judged = [f for f in found.findings if f.source != "expectation" and method in (None, f.method)]
    if found.gate is not None and method is not None and not any(f.source == "baseline" for f in judged):
        pytest.fail(f"simtrial: '{method}' is new, {asked.baseline} does not have it; {remedy(asked)}", pytrace=False)
    failing = [f for f in judged if f.fails]
    if failing:
        texts = [
            explained([f for f in failing if f.method == name], asked.what, str(asked.baseline))
            for name in dict.fromkeys(f.method for f in failing)
        ]
        pytest.fail("simtrial: " + "\n".join([*texts, f"If this is meant: {remedy(asked)}"]), pytrace=False)


def remedy(asked: Request) -> str:
    """How to write a baseline."""
    return (
        f"run the tests with --simtrial-update-baseline 'REASON' to write {asked.baseline}, and commit it with the "
        "text file beside it"
    )
