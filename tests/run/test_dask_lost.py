"""A scheduler that goes while a result is fetched: the run ends with its address, not with the library's words."""

from types import SimpleNamespace
from typing import Any

import pytest

from simtrial.errors import EnvironmentFailure
from simtrial.run.engines.dask import _Crew, _Given


class Broken:
    """A future whose connection breaks."""

    def __init__(self, status: str) -> None:
        self.status = status

    def result(self, timeout: float) -> Any:
        raise ConnectionResetError("reset by peer")

    exception = result


@pytest.mark.parametrize("status", ["finished", "error"])
def test_a_connection_that_breaks_names_the_scheduler(status: str) -> None:
    crew = object.__new__(_Crew)
    crew.client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://127.0.0.1:8786"))
    with pytest.raises(EnvironmentFailure, match=r"scheduler at tcp://127.0.0.1:8786 does not answer \(Connection"):
        crew._result(_Given(None, "a", Broken(status)))
