"""Real etcd clusters for the datastore's tests, and clients of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calico.datastore.etcd import Etcd, EtcdSettings
from tests.servers.etcd import USER, Cluster, local_cluster


def settings_for(cluster: Cluster, timeout: float = 10.0) -> EtcdSettings:
    """How a client reaches `cluster`."""
    if not cluster.secure:
        return EtcdSettings(tuple(cluster.urls), timeout=timeout)
    pki = cluster.directory / "pki"
    return EtcdSettings(
        tuple(cluster.urls),
        ca_file=str(pki / "ca.crt"),
        cert_file=str(pki / "client.crt"),
        key_file=str(pki / "client.key"),
        username=USER,
        password_file=str(cluster.directory / "password"),
        timeout=timeout,
    )


@pytest.fixture(scope="session")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One member, plain HTTP, kept for the session."""
    cluster = local_cluster(tmp_path_factory.mktemp("one"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members with TLS and users, kept for the session and healthy between tests."""
    cluster = local_cluster(tmp_path_factory.mktemp("three"), 3, secure=True)
    yield cluster
    cluster.stop()


@pytest.fixture
def clients() -> Iterator[Callable[..., Etcd]]:
    """Makes clients of a cluster, closed at the end."""
    made: list[Etcd] = []

    def make(cluster: Cluster, timeout: float = 10.0, **changes: object) -> Etcd:
        made.append(Etcd(settings_for(cluster, timeout)._replace(**changes)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters of a test's own."""
    made: list[Cluster] = []

    def start(size: int = 1, **options: object) -> Cluster:
        made.append(local_cluster(tmp_path, size, **options))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for cluster in made:
        cluster.stop()
