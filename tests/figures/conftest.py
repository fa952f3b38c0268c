"""A stored run that the tests of figures read and never change."""

from pathlib import Path

import pytest
from studies import study

from simtrial.figures.parts.material import Material, of_run


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return study(tmp_path_factory.mktemp("figures") / "run")


@pytest.fixture(scope="session")
def material(stored: Path) -> Material:
    return of_run(stored)
