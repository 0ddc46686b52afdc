"""A Docker Engine beside felix: it drops what is forwarded, at its start and at each restart, and workloads go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.felix.cluster import FelixCluster
from tests.integration.felix.prober import Probe, check
from tests.integration.felix.spaces import sweep
from tests.servers import docker
from tests.servers.docker import Engine
from tests.servers.docker import Host as DockerHost

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

CELLS = [
    (Probe("one", "two"), True),
    (Probe("two", "one"), True),
    (Probe("one", "near", "udp"), True),
    (Probe("stranger", "near"), False),
    (Probe("two", "stranger"), False),
]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FelixCluster]:
    sweep()
    docker.sweep()
    with FelixCluster(tmp_path, ("h1", "h2")) as made:
        made.ready(iptablesRefreshInterval="90s", ipsetsRefreshInterval="90s")
        made.vxlan()
        for name, at, address in (
            ("one", "h1", "10.65.1.1"),
            ("near", "h1", "10.65.1.2"),
            ("two", "h2", "10.65.2.1"),
        ):
            made.workload(name, at, address)
        made.workload("stranger", "h1", "10.65.1.3", stored=False)
        for host in made.hosts.values():
            host.start()
        made.settle()
        yield made


def test_dockerd_starts_and_restarts(cluster: FelixCluster) -> None:
    assert check(cluster.prober, CELLS) == []
    machine = DockerHost("felix", cluster.hosts["h1"].space.name)
    engine = Engine(machine)
    try:
        for _ in range(2):
            engine.start()
            assert "-P FORWARD DROP" in machine.run("iptables", "-S", "FORWARD").stdout
            assert check(cluster.prober, CELLS, 15.0) == []
            engine.stop()
        # Somebody tidies up, and takes our accepts with it.
        machine.run("iptables", "-F", "DOCKER-USER")
        assert check(cluster.prober, CELLS, 15.0) == []
        engine.start()
        assert check(cluster.prober, CELLS, 15.0) == []
        assert cluster.hosts["h1"].ask(ask="state")["problems"] == []
        assert "DOCKER-USER" in cluster.hosts["h1"].run("--cleanup", "--dry-run").stdout
        cluster.hosts["h1"].stop()
        cluster.hosts["h1"].run("--cleanup")
        assert "cali" not in machine.run("iptables", "-S").stdout
    finally:
        engine.remove()
        machine.remove()
