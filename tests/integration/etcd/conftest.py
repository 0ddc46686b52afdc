"""The etcd package, built from this tree, on masters that are namespaces."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gen import pki
from pkgpanda.build.tree import build_tree
from tests.integration.etcd.masters import Site
from tests.servers.network import Network
from tests.servers.zookeeper import ZooKeeper

ROOT = Path(__file__).resolve().parents[3]
HOSTS = ("m1", "m2", "m3", "m4")


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The etcd package's directory, beside its Python's."""
    store = tmp_path_factory.mktemp("etcd") / "packages"
    tree = build_tree(ROOT / "packages", ROOT / "buildinfo.json", ROOT / "build", report=lambda line: None)
    found = {}
    for built in tree.packages:
        if built.id.name in {"etcd", "python"}:
            found[built.id.name] = store / str(built.id)
            found[built.id.name].mkdir(parents=True)
            subprocess.run(["tar", "-xJf", str(built.archive), "-C", str(found[built.id.name])], check=True)
    return found["etcd"]


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """A namespace for each host."""
    network = Network(HOSTS, "etcd")
    try:
        yield network.create()
    finally:
        network.remove()


@pytest.fixture
def site(tmp_path: Path, package: Path, network: Network) -> Iterator[Site]:
    """Nothing running yet; what runs at the end is ended."""
    authority = tmp_path / "authority"
    pki.apply(authority, pki.plan_init(authority, [network.address(host) for host in HOSTS], ()))
    site = Site(tmp_path, package, network, authority)
    try:
        yield site
    finally:
        site.close()


@pytest.fixture
def zookeeper(network: Network, tmp_path: Path) -> Iterator[ZooKeeper]:
    """A server on the fourth host, started."""
    server = ZooKeeper(tmp_path / "zookeeper", network.address("m4"), network.prefix("m4")).start().wait()
    yield server
    server.kill()
