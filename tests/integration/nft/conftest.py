"""The topology that the tests of the packet filter share."""

from collections.abc import Iterator

import pytest

from tests.integration.nft.topology import Topology, topology


@pytest.fixture(scope="session")
def shared() -> Iterator[Topology]:
    with topology() as one:
        yield one


@pytest.fixture
def network(shared: Topology) -> Topology:
    """The topology without any table."""
    shared.nft("flush", "ruleset")
    return shared
