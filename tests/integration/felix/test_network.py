"""Routes, tunnels, peers and settings in a namespace: made, left alone when right, repaired, taken back."""

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from calico.felix.dataplane.conntrack import Conntrack
from calico.felix.dataplane.network import GRACE, Network, Report, Settings
from calico.felix.dataplane.routes import RouteSettings
from calico.felix.dataplane.tunnels import TunnelSettings
from calico.felix.desired import Changes, Host, PolicyList, Route, Vtep, Workload, WorkloadId
from tests.integration.felix.spaces import Space, run, sweep

ONE, TWO = WorkloadId("cni", "one", "eth0"), WorkloadId("cni", "two", "eth0")


def workload(interface: str, *addresses: str, active: bool = True) -> Workload:
    four = tuple(one for one in addresses if ":" not in one)
    six = tuple(one for one in addresses if ":" in one)
    return Workload(interface, "", four, six, (), active, (), PolicyList())


STATE = Changes(
    workloads={ONE: workload("cali1", "10.0.0.1", "fd00::1")},
    hosts={"here": Host("10.9.0.1", vxlan_address="10.0.0.63"), "there": Host("10.9.0.2")},
    vteps={"there": Vtep("10.0.1.1", "66:00:00:00:00:02", "10.9.0.2")},
    routes={
        "10.0.0.0/26": Route("local-workload", "here", "10.9.0.1", "vxlan"),
        "10.0.1.0/26": Route("remote-workload", "there", "10.9.0.2", "vxlan"),
        "10.2.0.0/26": Route("remote-workload", "there", "10.9.0.2", "vxlan", same_subnet=True),
    },
)


class Node:
    """A namespace with a node's interfaces, and a `Network` in it whose clock the test moves."""

    def __init__(self, directory: Path) -> None:
        self.space = Space("net")
        self.directory, self.now = directory, 1000.0
        self.space.batch(
            [
                "link add eth0 type veth peer name far",
                "addr add 10.9.0.1/24 dev eth0",
                "link set eth0 up",
                "link set far up",
                "link add cali1 type veth peer name c1",
                "link set c1 up",
                "link set cali1 up",
                "link add cali2 type veth peer name c2",
                "link set c2 up",
                "link set cali2 up",
            ]
        )
        self.network = self.start()

    def start(self, **changes: Any) -> Network:
        settings = Settings(
            RouteSettings("here", vxlan=True),
            TunnelSettings(vxlan=True, port=64000, vxlan_mtu=1450),
            self.directory / "sysctls",
        )
        self.network = self.space.call(lambda: Network(settings._replace(**changes), lambda: self.now))
        return self.network

    def apply(self, changes: Changes | None = None, resync: bool = False) -> Report:
        """What a daemon does in one round."""

        def work() -> Report:
            if changes is not None:
                self.network.on_changes(changes)
            if resync:
                self.network.resync()
            self.network.refresh_interfaces()
            return self.network.apply()

        report = self.space.call(work)
        assert report.retry == ()
        return report

    def routes(self) -> list[str]:
        return sorted(" ".join(line.split()) for line in self.space.ip("route").splitlines())

    def sysctl(self, path: str) -> str:
        return self.space.call(lambda: Path(f"/proc/sys/net/{path}").read_text().strip())


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Node]:
    sweep()
    made = Node(tmp_path)
    yield made
    made.network.close()
    made.space.remove()


RIGHT = [
    "10.0.0.1 dev cali1 scope link",
    "10.0.1.0/26 via 10.0.1.1 dev vxlan.calico proto 80 onlink",
    "10.2.0.0/26 via 10.9.0.2 dev eth0 proto 80 onlink",
    "10.9.0.0/24 dev eth0 proto kernel scope link src 10.9.0.1",
    "blackhole 10.0.0.0/26 proto 80",
]


def test_everything_is_made_and_a_restart_writes_nothing(host: Node) -> None:
    host.apply(STATE)
    assert host.routes() == RIGHT
    assert "fd00::1 dev cali1" in host.space.ip("-6", "route")
    link = host.space.ip("-d", "link", "show", "vxlan.calico")
    for part in ("mtu 1450", "vxlan id 4096 local 10.9.0.1 dev eth0", "dstport 64000", "nolearning", "UP"):
        assert part in link
    assert "10.0.0.63/32" in host.space.ip("addr", "show", "vxlan.calico")
    assert "10.0.1.1 lladdr 66:00:00:00:00:02 PERMANENT" in host.space.ip("neigh", "show", "dev", "vxlan.calico")
    fdb = run("bridge", "-n", host.space.name, "fdb", "show", "dev", "vxlan.calico")
    assert "66:00:00:00:00:02 dst 10.9.0.2 self permanent" in fdb
    assert host.sysctl("ipv4/conf/cali1/proxy_arp") == "1"
    assert host.sysctl("ipv6/conf/cali1/proxy_ndp") == "1"
    assert host.sysctl("ipv4/conf/eth0/forwarding") == "1"
    assert host.sysctl("ipv4/conf/cali2/proxy_arp") == "0"
    record = (host.directory / "sysctls").read_text()

    host.network.close()
    host.start()
    assert host.apply(STATE) == Report()
    assert host.apply(resync=True) == Report()
    assert (host.directory / "sysctls").read_text() == record


@pytest.mark.parametrize(
    "damage",
    [
        ["route del 10.0.0.1 dev cali1"],
        ["route replace 10.0.1.0/26 via 10.9.0.2 dev eth0"],
        ["route del blackhole 10.0.0.0/26"],
        ["route add 10.7.0.0/26 via 10.9.0.2 dev eth0 proto 80"],
        ["route add 10.7.0.0/26 dev vxlan.calico"],
        ["route add 10.0.0.1 dev cali1 metric 7"],
        ["neigh del 10.0.1.1 dev vxlan.calico"],
        ["neigh replace 10.0.1.1 dev vxlan.calico lladdr 66:00:00:00:00:99 nud permanent"],
        ["neigh add 10.0.1.9 dev vxlan.calico lladdr 66:00:00:00:00:99 nud permanent"],
        ["link set vxlan.calico address 66:00:00:00:00:77"],
        ["link set vxlan.calico mtu 1300"],
        ["link set vxlan.calico down"],
        ["link del vxlan.calico"],
        ["addr del 10.0.0.63/32 dev vxlan.calico", "addr add 10.0.0.62/32 dev vxlan.calico"],
        ["link set cali1 down", "link set cali1 up"],
        ["link del vxlan.calico", "link add vxlan.calico type vxlan id 9 dstport 64000 dev eth0"],
    ],
    ids=", ".join,
)
def test_foreign_changes_are_repaired(host: Node, damage: list[str]) -> None:
    def state() -> list[str]:
        link = host.space.ip("-d", "-o", "link", "show", "vxlan.calico", check=False).partition(": ")[2]
        peers = host.space.ip("neigh", "show", "dev", "vxlan.calico", "nud", "permanent", check=False)
        fdb = run("bridge", "-n", host.space.name, "fdb", "show", "dev", "vxlan.calico", check=False)
        return [*host.routes(), link, peers, fdb, host.space.ip("-6", "route", "show", "dev", "cali1", "proto", "boot")]

    host.apply(STATE)
    before = state()
    host.space.batch(damage)
    assert state() != before or "cali1" in damage[0]
    host.apply(resync=True)
    assert state() == before
    assert host.apply(resync=True) == Report()


def test_changes_touch_what_they_are_about(host: Node) -> None:
    host.apply(STATE)
    assert host.apply(Changes(workloads={TWO: workload("cali2", "10.0.0.2")})).writes == 1
    assert "10.0.0.2 dev cali2 scope link" in host.routes()
    assert host.sysctl("ipv4/conf/cali2/proxy_arp") == "1"
    assert host.apply(Changes(workloads={TWO: None})).writes == 1
    moved = {"there": Vtep("10.0.1.2", "66:00:00:00:00:02", "10.9.0.2")}
    assert host.apply(Changes(vteps=moved)).writes == 3
    assert "10.0.1.0/26 via 10.0.1.2 dev vxlan.calico proto 80 onlink" in host.routes()
    host.apply(Changes(vteps={"there": None}, routes={"10.0.1.0/26": None, "10.2.0.0/26": None, "10.0.0.0/26": None}))
    assert host.routes() == [RIGHT[0], RIGHT[3]]
    assert host.space.ip("neigh", "show", "dev", "vxlan.calico", "nud", "permanent") == ""


def test_an_interface_that_comes_later_and_comes_again(host: Node) -> None:
    host.apply(Changes(workloads={ONE: workload("cali3", "10.0.0.3")}))
    assert "10.0.0.3" not in host.space.ip("route")
    for _ in range(2):
        host.space.batch(["link add cali3 type veth peer name c3", "link set cali3 up"])
        host.apply()
        assert "10.0.0.3 dev cali3 scope link" in " ".join(host.routes())
        host.space.ip("link", "del", "cali3")
        host.apply()


def test_an_interface_that_leaves_a_bridge_is_still_there(host: Node) -> None:
    host.space.batch(["link add br0 type bridge", "link set eth0 master br0"])
    host.apply(STATE)
    before = host.network.host_interfaces()["eth0"]
    assert "10.9.0.1" in before
    for line in ("link set eth0 nomaster", "link set eth0 master br0", "link set eth0 nomaster"):
        host.space.ip(*line.split())
        assert host.apply().states == ()
        assert host.network.host_interfaces()["eth0"] == before
        assert host.network.monitor.interfaces["eth0"].link.kind == "veth"
    assert host.routes() == RIGHT


def test_routes_that_the_kernel_dropped_with_the_last_address_come_back_at_once(host: Node) -> None:
    host.apply(STATE)
    host.space.batch(["addr del 10.9.0.1/24 dev eth0", "addr add 10.9.0.1/24 dev eth0"])
    assert RIGHT[2] not in host.routes()
    host.apply()
    assert host.routes() == RIGHT


def test_unknown_routes_of_a_fresh_interface_have_ten_seconds(host: Node) -> None:
    host.space.ip("route", "add", "10.0.0.9", "dev", "cali2")
    host.apply(STATE)
    assert host.network.next_due == host.now + GRACE
    assert "10.0.0.9 dev cali2 scope link" in host.routes()
    host.now += GRACE + 1
    host.apply(resync=True)
    assert "10.0.0.9" not in host.space.ip("route")
    assert host.network.next_due == 0


def test_a_full_buffer_of_notifications_leads_to_a_listing(host: Node) -> None:
    host.apply(STATE)
    events = host.network.monitor._events._socket
    events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    lines = [f"link add cali{number} type veth peer name x{number}" for number in range(100, 160)]
    host.space.batch([*lines, *(f"link set cali{number} up" for number in range(100, 160))])
    host.apply(Changes(workloads={TWO: workload("cali159", "10.0.0.9")}))
    assert host.network.monitor.lost > 0
    assert "10.0.0.9 dev cali159" in " ".join(host.routes())


def _connections(space: Space) -> int:
    return space.call(lambda: int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text()))


RULES = "table ip t { chain c { type filter hook output priority 0; ct state new accept; }; }"


def _talk(space: Space, *addresses: str) -> None:
    """A connection from each address, which connection tracking remembers."""
    # It is switched on in a namespace by a rule that asks for it.
    if "table ip t" not in run(*space.command("nft", "list", "tables")):
        run(*space.command("nft", RULES))

    def talk(address: str) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.bind((address, 0))
            one.sendto(b"x", ("127.0.0.1", 9))

    for address in addresses:
        space.ip("addr", "add", address, "dev", "lo", check=False)
        space.call(talk, address)


def test_connections_of_an_address_are_forgotten_and_no_others(host: Node) -> None:
    _talk(host.space, *(f"10.5.0.{index}" for index in range(1, 21)))
    assert _connections(host.space) == 20

    def forget(*addresses: str) -> int:
        conntrack = Conntrack()
        try:
            return conntrack.forget([ip_address(one) for one in addresses])
        finally:
            conntrack.close()

    assert host.space.call(forget, "10.5.0.1", "fd00::1") == 1
    assert _connections(host.space) == 19
    assert host.space.call(forget, *(f"10.5.0.{index}" for index in range(1, 16))) == 14
    assert _connections(host.space) == 5


@pytest.mark.parametrize("way", ["gone", "moved", "interface first", "down"])
def test_connections_of_a_workload_end_with_its_address(host: Node, way: str) -> None:
    host.apply(STATE)
    host.apply(Changes(workloads={TWO: workload("cali2", "10.0.0.2")}))
    _talk(host.space, "10.0.0.1", "10.0.0.2")
    assert _connections(host.space) == 2
    if way == "interface first":
        host.space.ip("link", "del", "cali1")
        host.apply()
        assert _connections(host.space) == 2, "it may come back"
    if way == "moved":
        host.apply(Changes(workloads={ONE: None, TWO: workload("cali2", "10.0.0.2", "10.0.0.1")}))
    elif way == "down":
        host.apply(Changes(workloads={ONE: workload("cali1", "10.0.0.1", active=False)}))
    else:
        host.apply(Changes(workloads={ONE: None}))
    assert _connections(host.space) == 1


def test_a_kernel_without_ipip_is_told_so(host: Node) -> None:
    if host.space.ip(
        "link", "add", "t", "type", "ipip", "remote", "10.9.0.2", check=False
    ) == "" and "t@" in host.space.ip("link"):
        pytest.skip("this kernel has ipip")
    host.network.close()
    host.start(routes=RouteSettings("here", ipip=True), tunnels=TunnelSettings(ipip=True))

    def work() -> Report:
        host.network.on_changes(STATE)
        return host.network.apply()

    report = host.space.call(work)
    assert any("modprobe ipip" in line for line in report.retry)


def test_the_test_leaves_the_machine_alone() -> None:
    assert "vxlan.calico" not in os.listdir("/sys/class/net")
