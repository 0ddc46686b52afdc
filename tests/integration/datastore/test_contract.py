"""The client of real clusters keeps the contract of a `Store`."""

from collections.abc import Callable

import pytest

from calico.datastore.etcd import Etcd
from tests.servers.etcd import Cluster
from tests.unit.datastore.contract import StoreContract


class TestOneMember(StoreContract):
    """One member, plain HTTP."""

    @pytest.fixture
    def cluster(self, one: Cluster) -> Cluster:
        return one

    @pytest.fixture
    def store(self, cluster: Cluster, clients: Callable[..., Etcd]) -> Etcd:
        return clients(cluster)

    @pytest.fixture
    def compact(self, cluster: Cluster) -> Callable[[int], None]:
        return lambda revision: print(cluster.root("compact", str(revision)))


class TestThreeMembers(TestOneMember):
    """Three members, TLS with client certificates, a user limited to /calico/."""

    @pytest.fixture
    def cluster(self, three: Cluster) -> Cluster:
        return three
