"""Three hosts of two subnets over IPIP: always, between subnets only, policy, a host without tunnel address, strangers.

Runs where the kernel has IPIP. Where it has not, tests/integration/test_ipip_guest.py runs it on a machine of its own.
"""

import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.integration.felix.cluster import FelixCluster
from tests.integration.felix.prober import Probe, check
from tests.integration.felix.spaces import sweep
from tests.servers.qemu import lacks_ipip

pytestmark = [pytest.mark.root, pytest.mark.timeout(600)]

_ETH_P_ALL, _ETH_P_IP, _IPIP = 3, 0x0800, 4


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FelixCluster]:
    if lacks_ipip():
        pytest.skip("this kernel has no ipip")
    sweep()
    with FelixCluster(tmp_path_factory.mktemp("felix")) as made:
        made.ready(routeRefreshInterval="2s", iptablesRefreshInterval="10s")
        made.pool("ipip", "10.65.0.0/16", ipip="Always")
        for host in made.hosts.values():
            node(made, host.name, f"10.65.{host.number}.63" if host.name != "h3" else "")
            made.block(f"10.65.{host.number}.0/26", host.name)
            host.start()
            made.workload(f"{host.name}a", host.name, f"10.65.{host.number}.1", labels={"app": f"{host.name}a"})
        made.settle()
        yield made


def node(cluster: FelixCluster, name: str, tunnel: str) -> None:
    bgp: dict[str, Any] = {"ipv4Address": f"{cluster.hosts[name].address}/24"}
    bgp |= {"ipv4IPIPTunnelAddr": tunnel} if tunnel else {}
    cluster.apply({"kind": "Node", "metadata": {"name": name}, "spec": {"bgp": bgp}})


def everyone(cluster: FelixCluster) -> list[tuple[Probe, bool]]:
    names = [f"{host}a" for host in cluster.hosts]
    protocols: tuple[Any, ...] = ("tcp", "udp", "icmp")
    return [(Probe(a, b, protocol), True) for a in names for b in names if a != b for protocol in protocols]


def route(cluster: FelixCluster, host: str, network: str) -> str:
    return " ".join(cluster.hosts[host].space.ip("route", "show", network).split())


class Packet(NamedTuple):
    """What a wire carried: the outer packet's ends and protocol, and the inner one's ends where it holds one."""

    source: str
    destination: str
    protocol: int
    inner: tuple[str, str] | None


def captured(cluster: FelixCluster, host: str, work: Callable[[], object]) -> list[Packet]:
    """The IPv4 packets that pass a host's eth0 while `work` runs."""

    def open_() -> socket.socket:
        handle = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        handle.bind(("eth0", 0))
        handle.setblocking(False)
        return handle

    with cluster.hosts[host].space.call(open_) as handle:
        work()
        found: list[Packet] = []
        while True:
            try:
                frame = handle.recv(65536)
            except BlockingIOError:
                return found
            if int.from_bytes(frame[12:14]) == _ETH_P_IP:
                found.append(_packet(frame[14:]))


def _packet(content: bytes) -> Packet:
    ends = socket.inet_ntoa(content[12:16]), socket.inet_ntoa(content[16:20])
    body = content[(content[0] & 15) * 4 :]
    inner = (socket.inet_ntoa(body[12:16]), socket.inet_ntoa(body[16:20])) if content[9] == _IPIP else None
    return Packet(*ends, content[9], inner)


def test_a_host_without_tunnel_address_harms_nobody(cluster: FelixCluster) -> None:
    """h3 has none yet, as before its first start-up: containers talk all the same, and an address is taken in place."""
    assert "inet " not in cluster.hosts["h3"].space.ip("-4", "addr", "show", "tunl0")
    cells = [(Probe("h1a", "h3a"), True), (Probe("h3a", "h2a"), True), (Probe("h1a", "h2a"), True)]
    assert check(cluster.prober, cells) == []
    before = cluster.hosts["h3"].process
    node(cluster, "h3", "10.65.3.63")
    cluster.settle()
    assert "inet 10.65.3.63/32" in cluster.hosts["h3"].space.ip("-4", "addr", "show", "tunl0")
    assert cluster.hosts["h3"].process is before


def test_always(cluster: FelixCluster) -> None:
    """The device, the routes, every protocol, and what the wire carries: protocol 4 and nothing of workloads' bare."""
    assert route(cluster, "h1", "10.65.2.0/26") == "10.65.2.0/26 via 10.99.0.2 dev tunl0 proto 80 onlink"
    assert route(cluster, "h1", "10.65.3.0/26") == "10.65.3.0/26 via 10.99.1.3 dev tunl0 proto 80 onlink"
    assert route(cluster, "h1", "10.65.1.0/26") == "blackhole 10.65.1.0/26 proto 80"
    device = cluster.hosts["h1"].space.ip("addr", "show", "tunl0")
    assert "inet 10.65.1.63/32" in device
    assert "mtu 14" in device
    assert ",UP," in device
    failures: list[object] = []
    packets = captured(cluster, "h2", lambda: failures.extend(check(cluster.prober, everyone(cluster))))
    assert failures == []
    assert Packet("10.99.0.1", "10.99.0.2", _IPIP, ("10.65.1.1", "10.65.2.1")) in packets
    assert Packet("10.99.0.2", "10.99.0.1", _IPIP, ("10.65.2.1", "10.65.1.1")) in packets
    assert [one for one in packets if one.source.startswith("10.65.") or one.destination.startswith("10.65.")] == []


def test_policy_holds_through_the_tunnel(cluster: FelixCluster) -> None:
    spec = {
        "selector": "app == 'h2a'",
        "types": ["Ingress"],
        "ingress": [{"action": "Allow", "protocol": "UDP", "source": {"selector": "app == 'h1a'"}}],
    }
    cluster.apply({"kind": "GlobalNetworkPolicy", "metadata": {"name": "narrow"}, "spec": spec})
    cluster.settle()
    cells = [
        (Probe("h1a", "h2a", "udp"), True),
        (Probe("h1a", "h2a", "tcp"), False),
        (Probe("h3a", "h2a", "udp"), False),
        (Probe("h2a", "h3a", "tcp"), True),
    ]
    assert check(cluster.prober, cells) == []
    cluster.delete("GlobalNetworkPolicy", "narrow")
    cluster.settle()
    assert check(cluster.prober, [(Probe("h3a", "h2a", "tcp"), True)]) == []


def test_between_subnets_only(cluster: FelixCluster) -> None:
    cluster.pool("ipip", "10.65.0.0/16", ipip="CrossSubnet")
    cluster.settle()
    assert route(cluster, "h1", "10.65.2.0/26") == "10.65.2.0/26 via 10.99.0.2 dev eth0 proto 80 onlink"
    assert route(cluster, "h1", "10.65.3.0/26") == "10.65.3.0/26 via 10.99.1.3 dev tunl0 proto 80 onlink"
    failures: list[object] = []
    packets = captured(cluster, "h1", lambda: failures.extend(check(cluster.prober, everyone(cluster))))
    assert failures == []
    assert ("10.65.1.1", "10.65.2.1") in {(one.source, one.destination) for one in packets}
    assert ("10.65.1.1", "10.65.3.1") in {one.inner for one in packets}
    assert ("10.65.1.1", "10.65.2.1") not in {one.inner for one in packets}


def test_a_stranger_s_tunnel_is_not_let_in(cluster: FelixCluster) -> None:
    """A host that is no node wraps a packet as a node would. Named in externalNodesList it may."""
    outside = cluster.outside
    outside.space.batch(
        [
            f"link add strange type ipip local {outside.address} remote {cluster.hosts['h2'].address}",
            "addr add 10.65.9.9/32 dev strange",
            "link set strange up",
            "route add 10.65.2.0/26 dev strange src 10.65.9.9",
        ]
    )
    probe = Probe("outside", "h2a", "udp", source="10.65.9.9")
    try:
        assert [one.arrived for one in cluster.prober.probe([probe])] == [False]
        cluster.ready(
            routeRefreshInterval="2s",
            iptablesRefreshInterval="10s",
            ipipEnabled=True,
            externalNodesList=[outside.address],
        )
        # Such a change ends felix with the status that has its unit start it again.
        for one in cluster.hosts.values():
            assert one.process is not None
            one.process.wait(120)
            one.start()
        cluster.settle(timeout=180)
        assert [one.arrived for one in cluster.prober.probe([probe])] == [True]
    finally:
        outside.space.ip("link", "del", "strange")
