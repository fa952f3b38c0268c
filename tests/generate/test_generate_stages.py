"""Which class draws which stage: each class names one of STAGES, and no two claim one."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

import simtrial.generate
from simtrial.errors import SimtrialError
from simtrial.generate import STAGES, Step, steps
from simtrial.generate.outcomes.instrument import Instrument
from simtrial.generate.outcomes.sum_of_items import SumOfItems
from simtrial.generate.stages import by_stage, classes_in


class Safety(Step):
    """A stage of this module."""

    stage: ClassVar[str] = "safety"


def test_every_stage_has_a_class_in_the_file_of_its_table() -> None:
    assert list(steps()) == [stage for stage in STAGES if stage != "generator"]
    for stage, step in steps().items():
        assert step.__module__.split(".")[-1] == stage.split(".")[-1], stage


def test_what_is_never_drawn_claims_no_stage() -> None:
    for kind in (Instrument, SumOfItems):
        assert not hasattr(kind, "stage")
        assert kind not in steps().values()


def test_a_stage_that_is_not_in_the_order_of_a_trial_is_refused() -> None:
    class Saftey(Step):
        stage: ClassVar[str] = "saftey"

    with pytest.raises(SimtrialError, match=r"Saftey: unknown stage 'saftey'; did you mean 'safety'\?.*STAGES"):
        by_stage([Safety, Saftey])


def test_two_classes_of_one_stage_are_refused() -> None:
    class Harms(Step):
        stage: ClassVar[str] = "safety"

    with pytest.raises(SimtrialError, match=r"Harms: stage 'safety' is that of .*test_generate_stages\.Safety"):
        by_stage([Safety, Harms])


def test_a_class_that_inherits_its_stage_claims_it_too() -> None:
    class Harms(Safety):
        pass

    with pytest.raises(SimtrialError, match="stage 'safety' is that of"):
        by_stage([Safety, Harms])


def test_two_classes_of_one_name_are_refused() -> None:
    def another() -> type[Step]:
        class Safety(Step):
            stage: ClassVar[str] = "dropout"

        return Safety

    with pytest.raises(SimtrialError, match=r"another.*Safety: class name 'Safety' is that of .*Safety"):
        by_stage([Safety, another()])


def test_one_class_found_twice_is_one() -> None:
    assert by_stage([Safety, Safety]) == {"safety": Safety}


STAGE = """from typing import ClassVar
from simtrial.generate import Step
class Mine(Step):
    stage: ClassVar[str] = "dropout"
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package with a stage in a folder, and a module that only imports it."""
    (tmp_path / "ownstages" / "deep").mkdir(parents=True)
    user = "from ownstages.deep.mine import Mine"
    for name, text in {"__init__.py": "", "deep/__init__.py": "", "deep/mine.py": STAGE, "user.py": user}.items():
        (tmp_path / "ownstages" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    package = __import__("ownstages")
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "ownstages"]:
        del sys.modules[name]


def test_a_class_counts_where_it_is_defined(package: ModuleType) -> None:
    (found,) = classes_in(package)
    assert (found.__name__, found.__module__) == ("Mine", "ownstages.deep.mine")


def test_the_stages_of_the_program_are_found_again() -> None:
    assert by_stage(classes_in(simtrial.generate)) == steps()
