"""Tunnel devices and their peers: what there should be, and each step that leads there."""

from ipaddress import ip_address
from typing import Any

import pytest

from calico.felix.dataplane import tunnels
from calico.felix.dataplane.interfaces import Interface, Interfaces
from calico.felix.dataplane.offload import needs_software
from calico.felix.dataplane.routes import Inputs
from calico.felix.dataplane.tunnels import (
    TunnelSettings,
    plan_devices,
    plan_peers,
    vtep_mac,
    wanted_devices,
    wanted_peers,
)
from calico.felix.desired import Host, Vtep
from calico.netlink.message import attribute, be16, u8, u32
from calico.netlink.route import IFF_UP, Forwarding, InterfaceAddress, Link, Neighbour
from tests.unit.felix.dataplane.inputs import HERE, inputs, interface

VXLAN = TunnelSettings(vxlan=True, port=64000, vxlan_mtu=1450)
IPIP = TunnelSettings(ipip=True, ipip_mtu=1480)
MAC = vtep_mac("here")


def vxlan_data(vni: int = 4096, port: int = 64000, local: str = HERE, parent: int = 2, learning: int = 0) -> bytes:
    parts = [u32(1, vni), u32(3, parent), attribute(4, ip_address(local).packed), u8(7, learning), be16(15, port)]
    return b"".join(parts)


def device(mtu: int = 1450, mac: str = MAC, flags: int = IFF_UP, data: bytes = b"", *addresses: str) -> Interface:
    link = Link(3, "vxlan.calico", "vxlan", mtu, mac, flags, data=data or vxlan_data())
    return Interface(link, frozenset(InterfaceAddress(3, ip_address(one), 32) for one in addresses or ("10.8.0.1",)))


def here(*extra: Interface, **changes: Any) -> Inputs:
    interfaces = {one.name: one for one in (interface(2, "eth0", f"{HERE}/24"), *extra)}
    return inputs(interfaces=interfaces, **changes)


def steps(settings: TunnelSettings, given: Inputs, interfaces: Interfaces | None = None) -> list[str]:
    plan = plan_devices(settings, wanted_devices(settings, given), interfaces or given.interfaces)
    return [step.what for step in plan]


def test_the_mac_address_of_a_node_is_upstream_s() -> None:
    assert vtep_mac("localhostname") == "66:48:f6:56:dc:f1"
    assert vtep_mac("remotehostname2") == "66:40:18:59:1f:16"


def test_a_missing_device_is_made_and_one_that_is_right_is_left_alone() -> None:
    assert steps(VXLAN, here()) == ["make vxlan.calico"]
    assert steps(VXLAN, here(device())) == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (device(mtu=1400), "set vxlan.calico's MTU to 1450"),
        (device(mac="66:00:00:00:00:01"), f"set vxlan.calico's MAC address to {MAC}"),
        (device(flags=0), "switch vxlan.calico on"),
        (device(data=vxlan_data(vni=1)), "delete vxlan.calico: vni 1 instead of 4096"),
        (device(data=vxlan_data(port=4789)), "delete vxlan.calico: port 4789 instead of 64000"),
        (device(data=vxlan_data(local="10.9.0.9")), f"delete vxlan.calico: local 10.9.0.9 instead of {HERE}"),
        (device(data=vxlan_data(parent=7)), "delete vxlan.calico: parent 7 instead of 2"),
        (device(data=vxlan_data(learning=1)), "delete vxlan.calico: learning True instead of False"),
        (interface(3, "vxlan.calico", kind="bridge"), "delete vxlan.calico: it is a bridge, not vxlan"),
    ],
)
def test_a_device_that_differs(found: Interface, line: str) -> None:
    assert steps(VXLAN, here(found)) == [line]


def test_exactly_one_address() -> None:
    found = device(1450, MAC, IFF_UP, b"", "10.8.0.7", "10.8.0.8")
    assert steps(VXLAN, here(found)) == [
        "give vxlan.calico 10.8.0.1",
        "take 10.8.0.7/32 from vxlan.calico",
        "take 10.8.0.8/32 from vxlan.calico",
    ]


def test_a_mac_address_from_the_datastore() -> None:
    host = Host(HERE, vxlan_address="10.8.0.1", vxlan_mac="66:AA:00:00:00:01")
    assert wanted_devices(VXLAN, here(hosts={"here": host})).devices[0].mac == "66:aa:00:00:00:01"


def test_switched_off_means_deleted_and_only_what_is_ours() -> None:
    off = TunnelSettings()
    assert steps(off, here(device())) == ["delete vxlan.calico: VXLAN is switched off"]
    assert steps(off, here(interface(3, "vxlan.calico", kind="bridge"))) == []
    assert steps(off, here(interface(4, "tunl0", kind="ipip"))) == []


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ({}, "no spec.bgp.ipv4Address"),
        ({"here": Host(vxlan_address="10.8.0.1")}, "no spec.bgp.ipv4Address"),
        ({"here": Host(HERE)}, "no spec.ipv4VXLANTunnelAddr yet"),
        ({"here": Host("10.9.0.77", vxlan_address="10.8.0.1")}, "no interface carries 10.9.0.77"),
    ],
)
def test_what_is_not_known_leaves_a_device_as_it_is(hosts: dict[str, Host], said: str) -> None:
    given = here(device(mtu=1200), hosts=hosts)
    assert steps(VXLAN, given) == []
    (problem,) = wanted_devices(VXLAN, given).problems
    assert said in problem


def test_a_device_fits_what_it_stands_on() -> None:
    small = inputs(interfaces={"eth0": interface(2, "eth0", f"{HERE}/24", mtu=1400)})
    wish = wanted_devices(VXLAN, small)
    assert wish.devices[0].mtu == 1350
    assert "do not fit eth0's 1400" in wish.problems[0]
    assert wanted_devices(VXLAN, here()).problems == ()


def test_ipip() -> None:
    given = here(hosts={"here": Host(HERE, ipip_address="10.8.0.9")})
    assert steps(IPIP, given) == ["make tunl0"]
    found = here(interface(4, "tunl0", kind="ipip", up=False, mtu=0), hosts=given.hosts)
    assert steps(IPIP, found) == ["set tunl0's MTU to 1480", "switch tunl0 on", "give tunl0 10.8.0.9"]


ONE, TWO = ip_address("10.8.0.2"), ip_address("10.8.0.3")
VTEPS = {"there": Vtep(str(ONE), "66:00:00:00:00:02", "10.9.0.2")}
RIGHT = Neighbour(3, ONE, "66:00:00:00:00:02")
LEADS = Forwarding(3, RIGHT.mac, ip_address("10.9.0.2"))


@pytest.mark.parametrize(
    ("neighbours", "forwarding", "put", "delete"),
    [
        ([RIGHT], [LEADS], [], []),
        ([], [LEADS], ["neighbour 10.8.0.2 is 66:00:00:00:00:02"], []),
        ([RIGHT._replace(mac="66:00:00:00:00:99")], [LEADS], ["neighbour 10.8.0.2 is 66:00:00:00:00:02"], []),
        ([RIGHT._replace(permanent=False)], [LEADS], ["neighbour 10.8.0.2 is 66:00:00:00:00:02"], []),
        ([RIGHT], [], ["frames to 66:00:00:00:00:02 go to 10.9.0.2"], []),
        ([RIGHT], [LEADS._replace(destination=TWO)], ["frames to 66:00:00:00:00:02 go to 10.9.0.2"], []),
        ([RIGHT, Neighbour(3, TWO, "66:00:00:00:00:03")], [LEADS], [], ["no neighbour 10.8.0.3"]),
        ([RIGHT], [LEADS, Forwarding(3, "66:00:00:00:00:03", TWO)], [], ["no frames to 66:00:00:00:00:03"]),
    ],
)
def test_peers(neighbours: list[Neighbour], forwarding: list[Forwarding], put: list[str], delete: list[str]) -> None:
    plan = plan_peers(wanted_peers(3, VTEPS), neighbours, forwarding)
    assert ([step.what for step in plan.put], [step.what for step in plan.delete]) == (put, delete)


def test_of_two_nodes_with_one_address_the_lowest_name_s_holds() -> None:
    twice = {"b": Vtep(str(ONE), "66:00:00:00:00:0b", "10.9.0.3"), "a": Vtep(str(ONE), "66:00:00:00:00:0a", "10.9.0.2")}
    assert wanted_peers(3, twice).neighbours[ONE].mac == "66:00:00:00:00:0a"


def test_a_peer_without_an_address_is_none() -> None:
    assert wanted_peers(3, {"there": Vtep("10.8.0.2", MAC, "")}) == tunnels.Peers({}, {})


@pytest.mark.parametrize(
    ("release", "driver", "needed"),
    [
        ("4.18.0-553.el8", "ixgbe", True),
        ("5.6.19", "veth", True),
        ("5.7.0", "veth", False),
        ("6.1.0-18-amd64", "virtio_net", False),
        ("6.1.0-18-amd64", "vmxnet3", True),
    ],
)
def test_where_the_processor_makes_checksums(release: str, driver: str, needed: bool) -> None:
    assert bool(needs_software(release, driver)) == needed
