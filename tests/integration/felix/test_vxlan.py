"""Three hosts of two subnets over VXLAN: always, between subnets only, borrowed addresses, no address."""

from collections.abc import Iterator

import pytest

from tests.integration.felix.cluster import FelixCluster, dumps
from tests.integration.felix.prober import Probe, check
from tests.integration.felix.spaces import sweep


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FelixCluster]:
    sweep()
    with FelixCluster(tmp_path_factory.mktemp("felix")) as made:
        made.ready(routeRefreshInterval="2s", iptablesRefreshInterval="2s")
        made.vxlan()
        for host in made.hosts.values():
            host.start()
        for host in made.hosts.values():
            made.workload(f"{host.name}a", host.name, f"10.65.{host.number}.1", f"fd65:{host.number}::1")
            made.workload(f"{host.name}b", host.name, f"10.65.{host.number}.2")
        made.settle()
        yield made


def everyone(cluster: FelixCluster) -> list[tuple[Probe, bool]]:
    """Every workload to every other, by every protocol."""
    names = [f"{host}{letter}" for host in cluster.hosts for letter in "ab"]
    return [
        (Probe(one, other, protocol), True)
        for one in names
        for other in names
        if one != other
        for protocol in ("tcp", "udp", "icmp", "sctp")
    ]


def route(cluster: FelixCluster, host: str, network: str) -> str:
    return " ".join(cluster.hosts[host].space.ip("route", "show", network).split())


def test_always(cluster: FelixCluster) -> None:
    assert route(cluster, "h1", "10.65.2.0/26") == "10.65.2.0/26 via 10.65.2.63 dev vxlan.calico proto 80 onlink"
    assert check(cluster.prober, everyone(cluster)) == []


def test_between_subnets_only(cluster: FelixCluster) -> None:
    cluster.pool("vxlan", "10.65.0.0/16", vxlan="CrossSubnet")
    cluster.settle()
    assert route(cluster, "h1", "10.65.2.0/26") == "10.65.2.0/26 via 10.99.0.2 dev eth0 proto 80 onlink"
    assert route(cluster, "h1", "10.65.3.0/26") == "10.65.3.0/26 via 10.65.3.63 dev vxlan.calico proto 80 onlink"
    assert check(cluster.prober, everyone(cluster)) == []
    cluster.pool("vxlan", "10.65.0.0/16", vxlan="Always")
    cluster.settle()
    assert "vxlan.calico" in route(cluster, "h1", "10.65.2.0/26")


def test_hosts_and_workloads_of_others(cluster: FelixCluster) -> None:
    cells = [
        (Probe(host, f"{other}a", protocol), True)
        for host in ("h1", "h3")
        for other in ("h1", "h2", "h3")
        for protocol in ("tcp", "udp", "icmp")
    ]
    assert check(cluster.prober, cells) == []


def test_ipv6_between_workloads_of_a_host(cluster: FelixCluster) -> None:
    cluster.workload("h1c", "h1", "10.65.1.3", "fd65:1::3")
    cluster.settle()
    cells = [(Probe("h1a", "h1c", protocol, version=6), True) for protocol in ("tcp", "udp", "icmp", "sctp")]
    assert check(cluster.prober, cells) == []
    cluster.remove_workload("h1c")
    cluster.settle()


def test_a_borrowed_address(cluster: FelixCluster) -> None:
    cluster.block("10.65.1.0/26", "h1", {10: "h2"})
    cluster.workload("borrower", "h2", "10.65.1.10")
    cluster.settle()
    assert "via 10.65.2.63 dev vxlan.calico" in route(cluster, "h3", "10.65.1.10")
    assert "via 10.65.2.63 dev vxlan.calico" in route(cluster, "h1", "10.65.1.10")
    assert "dev caliborrower scope link" in route(cluster, "h2", "10.65.1.10")
    cells = [(Probe(one, "borrower"), True) for one in ("h1a", "h2a", "h3a")]
    cells += [(Probe("borrower", other), True) for other in ("h1a", "h2a", "h3a")]
    assert check(cluster.prober, cells) == []
    cluster.remove_workload("borrower")
    cluster.block("10.65.1.0/26", "h1")
    cluster.settle()
    assert route(cluster, "h3", "10.65.1.10") == ""


def test_addresses_of_our_blocks_that_nobody_has_go_nowhere(cluster: FelixCluster) -> None:
    assert route(cluster, "h1", "10.65.1.0/26") == "blackhole 10.65.1.0/26 proto 80"
    said = cluster.hosts["h1"].space.ip("route", "get", "10.65.1.50", check=False)
    assert "via" not in said


def test_a_host_without_an_address_harms_nobody_and_is_told_of_it(cluster: FelixCluster) -> None:
    cluster.node("ghost", "10.65.77.63", address="")
    cluster.block("10.65.77.0/26", "ghost")
    cluster.node("h3", "10.65.3.63", address="")
    cluster.settle("h1", "h2")
    assert route(cluster, "h1", "10.65.77.0/26") == ""
    assert route(cluster, "h1", "10.65.3.0/26") == ""
    cells = [(Probe("h1a", "h2a"), True), (Probe("h3a", "h3b"), True)]
    assert check(cluster.prober, cells) == []
    cluster.settle("h3")
    assert any("no spec.bgp.ipv4Address" in line for line in cluster.hosts["h3"].ask(ask="state")["problems"])
    cluster.node("h3", "10.65.3.63")
    cluster.settle()
    assert check(cluster.prober, [(Probe("h1a", "h3a"), True), (Probe("h3a", "h2a"), True)]) == []


def test_a_node_that_moves(cluster: FelixCluster) -> None:
    """Another tunnel address, and another MAC address: no restart, and no packet astray afterwards."""
    before = cluster.hosts["h2"].process
    cluster.node("h2", "10.65.2.62", vxlanTunnelMACAddr="66:aa:00:00:00:02")
    cluster.settle()
    assert "via 10.65.2.62" in route(cluster, "h1", "10.65.2.0/26")
    assert "66:aa:00:00:00:02" in cluster.hosts["h2"].space.ip("link", "show", "vxlan.calico")
    assert check(cluster.prober, everyone(cluster)) == []
    cluster.node("h2", "10.65.2.63")
    cluster.settle()
    assert check(cluster.prober, [(Probe("h1a", "h2a"), True)]) == []
    assert cluster.hosts["h2"].process is before


def test_the_overlay_s_packets_on_the_same_port_pass(cluster: FelixCluster) -> None:
    """VNI 1024 on port 64000, from a host that is no Calico node, before, while and after felix starts."""
    host, outside = cluster.hosts["h1"], cluster.outside
    for one, other, number in ((host, outside, 1), (outside, host, 2)):
        ends = f"local {one.address} remote {other.address}"
        one.space.batch(
            [
                f"link add overlay type vxlan id 1024 dstport 64000 {ends} dev eth0",
                f"addr add 10.44.0.{number}/24 dev overlay",
                "link set overlay up",
            ]
        )
    cells = [(Probe("outside", "h1", protocol, address="10.44.0.1"), True) for protocol in ("tcp", "udp", "icmp")] + [
        (Probe("h1", "outside", protocol, address="10.44.0.2"), True) for protocol in ("tcp", "udp", "icmp")
    ]
    try:
        assert check(cluster.prober, cells) == []
        host.kill()
        assert check(cluster.prober, cells) == []
        host.start()
        assert check(cluster.prober, cells) == []
        cluster.settle()
        assert check(cluster.prober, [*cells, (Probe("h1a", "h2a"), True)]) == []
    finally:
        host.space.ip("link", "del", "overlay")
        outside.space.ip("link", "del", "overlay")


def test_a_restart_with_the_same_state_writes_nothing(cluster: FelixCluster) -> None:
    host = cluster.hosts["h1"]
    before = dumps(host)
    host.kill()
    host.environment = {"FELIX_PROMETHEUSMETRICSENABLED": "true"}
    host.start()
    cluster.settle()
    assert host.metrics()["felix_dataplane_writes"] == 0
    assert dumps(host) == before
    done = host.run("--check")
    assert (done.returncode, done.stdout) == (0, "the kernel is what the datastore wants\n"), done.stderr
