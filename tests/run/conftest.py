"""A cluster of dask that the tests of this folder share, for one of its own takes a test seconds to start."""

from collections.abc import Callable, Iterator

import pytest
from dask_cluster import MISSING, Cluster, cluster

from simtrial.run.engines import Engine, engine


@pytest.fixture(scope="session")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three workers of dask, one of them without a nanny to start it again."""
    pytest.importorskip("distributed", reason=MISSING)
    with cluster(tmp_path_factory.mktemp("dask"), 2) as found:
        found.start(1, "--no-nanny")
        yield found


@pytest.fixture
def called(request: pytest.FixtureRequest) -> Callable[..., Engine]:
    """Engines by name; dask on the cluster above."""

    def called(name: str, workers: int = 2) -> Engine:
        if name != "dask":
            return engine(name)
        address = request.getfixturevalue("dask").address
        from simtrial.run.engines.dask import Joined

        return Joined(address, most=workers)

    return called
