"""Links, addresses, routes and neighbours, made by our requests and judged by iproute2."""

import errno
import os
from ipaddress import ip_address, ip_network

import pytest

from calico.netlink import route
from calico.netlink.message import NetlinkError
from calico.netlink.namespaces import run_in, same_namespace
from calico.netlink.route import Forwarding, InterfaceAddress, Link, Neighbour, Route, Vxlan
from calico.netlink.socket import Netlink
from tests.integration.netlink.conftest import Space

Spaces = tuple[Space, Space]


def _veth(spaces: Spaces) -> tuple[Link, Link]:
    here, there = spaces
    route.apply(here.netlink, route.veth_request("cali1", "eth0", 1400, there.descriptor, mac="ee:ee:ee:ee:ee:ee"))
    near, far = route.find_link(here.netlink, "cali1"), route.find_link(there.netlink, "eth0")
    assert near is not None
    assert far is not None
    route.apply(here.netlink, route.set_link_request(near.ifindex, up=True))
    route.apply(there.netlink, route.set_link_request(far.ifindex, up=True))
    return near, far


def test_a_pair_across_namespaces(spaces: Spaces) -> None:
    near, far = _veth(spaces)
    assert (near.kind, near.mtu, near.mac, near.parent) == ("veth", 1400, "ee:ee:ee:ee:ee:ee", far.ifindex)
    assert not near.is_up
    shown = spaces[1].ip("link", "show", "eth0")
    assert "mtu 1400" in shown
    assert "LOWER_UP" in shown
    assert {link.name for link in route.list_links(spaces[1].netlink)} == {"lo", "eth0"}


def test_a_name_that_is_taken(spaces: Spaces) -> None:
    _veth(spaces)
    with pytest.raises(NetlinkError, match="cali1") as caught:
        route.apply(spaces[0].netlink, route.veth_request("cali1", "other", 1500), "cali1")
    assert caught.value.errno == errno.EEXIST


def test_a_link_that_is_not_there(spaces: Spaces) -> None:
    assert route.find_link(spaces[0].netlink, "cali9") is None
    assert not route.remove(spaces[0].netlink, route.delete_link_by_name_request("cali9"))
    _veth(spaces)
    assert route.remove(spaces[0].netlink, route.delete_link_by_name_request("cali1"))
    assert route.find_link(spaces[1].netlink, "eth0") is None


@pytest.mark.parametrize(("address", "prefix"), [("10.1.1.1", 32), ("fd00::1", 128)])
def test_addresses(spaces: Spaces, address: str, prefix: int) -> None:
    _, far = _veth(spaces)
    wanted = InterfaceAddress(far.ifindex, ip_address(address), prefix)
    for _ in range(2):
        route.apply(spaces[1].netlink, route.address_request(wanted))
    assert wanted in route.list_addresses(spaces[1].netlink)
    assert f"{address}/{prefix}" in spaces[1].ip("addr", "show", "eth0")
    assert route.remove(spaces[1].netlink, route.delete_address_request(wanted))
    assert not route.remove(spaces[1].netlink, route.delete_address_request(wanted))


def test_routes_are_read_as_they_were_made(spaces: Spaces) -> None:
    near, _ = _veth(spaces)
    wanted = [
        Route(ip_network("10.1.1.1/32"), near.ifindex, scope=route.SCOPE_LINK),
        Route(ip_network("10.2.0.0/26"), kind=route.RTN_BLACKHOLE, protocol=route.RTPROT_FELIX),
        Route(ip_network("10.3.0.0/26"), near.ifindex, ip_address("10.9.9.9"), route.RTPROT_FELIX, onlink=True),
    ]
    for one in wanted:
        route.apply(spaces[0].netlink, route.route_request(one))
    assert set(wanted) <= set(route.list_routes(spaces[0].netlink))
    shown = spaces[0].ip("route")
    assert "blackhole 10.2.0.0/26 proto 80" in shown
    assert "10.3.0.0/26 via 10.9.9.9 dev cali1 proto 80 onlink" in shown
    for one in wanted:
        assert route.remove(spaces[0].netlink, route.delete_route_request(one))
        assert not route.remove(spaces[0].netlink, route.delete_route_request(one))


def test_the_kernel_explains_a_refusal(spaces: Spaces) -> None:
    near, _ = _veth(spaces)
    with pytest.raises(NetlinkError, match=r"10\.3\.0\.0/26: .*Nexthop has invalid gateway"):
        bad = Route(ip_network("10.3.0.0/26"), near.ifindex, ip_address("99.0.0.1"))
        route.apply(spaces[0].netlink, route.route_request(bad), "10.3.0.0/26")


def test_a_batch_names_what_was_refused(spaces: Spaces) -> None:
    near, _ = _veth(spaces)
    wanted = [Route(ip_network((0x0B000000 + at, 32)), near.ifindex, scope=route.SCOPE_LINK) for at in range(3000)]
    wanted[777] = Route(ip_network("10.3.0.0/26"), near.ifindex, ip_address("99.0.0.1"))
    errors = spaces[0].netlink.batch([route.route_request(one) for one in wanted])
    assert [error.sequence for error in errors] == [777]
    assert len(route.list_routes(spaces[0].netlink)) == 2999


def test_a_vxlan_device_and_what_leads_through_it(spaces: Spaces) -> None:
    near, _ = _veth(spaces)
    netlink = spaces[0].netlink
    vxlan = Vxlan(4096, 64000, ip_address("10.9.0.1"), near.ifindex)
    route.apply(netlink, route.vxlan_request("vxlan.calico", vxlan, 1350, "66:48:f6:56:dc:f1"))
    link = route.find_link(netlink, "vxlan.calico")
    assert link is not None
    assert (link.mtu, link.mac, route.read_vxlan(link)) == (1350, "66:48:f6:56:dc:f1", vxlan)
    assert "nolearning" in spaces[0].ip("-d", "link", "show", "vxlan.calico")
    route.apply(netlink, route.set_link_request(link.ifindex, up=True))
    neighbour = Neighbour(link.ifindex, ip_address("10.3.0.0"), "66:00:00:00:00:01")
    entry = Forwarding(link.ifindex, "66:00:00:00:00:01", ip_address("10.9.0.2"))
    moved = entry._replace(destination=ip_address("10.9.0.3"))
    for request in (route.neighbour_request(neighbour), route.forwarding_request(entry)):
        route.apply(netlink, request)
    assert route.list_forwarding(netlink, link.ifindex) == [entry]
    route.apply(netlink, route.forwarding_request(moved))
    assert route.list_forwarding(netlink, link.ifindex) == [moved]
    assert route.list_neighbours(netlink, link.ifindex) == [neighbour]
    assert route.remove(netlink, route.delete_forwarding_request(moved))
    assert route.remove(netlink, route.delete_neighbour_request(neighbour))


def test_notifications(spaces: Spaces) -> None:
    watcher = run_in(spaces[0].descriptor, Netlink)
    with watcher:
        watcher.subscribe(route.RTNLGRP_LINK)
        _veth(spaces)
        seen = [route.read_link(message).name for message in watcher.receive(timeout=5)]
        assert "cali1" in seen


def test_work_in_a_namespace_leaves_the_process_where_it_is(spaces: Spaces) -> None:
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        inside = run_in(spaces[0].descriptor, lambda: os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        assert same_namespace(inside, spaces[0].descriptor)
        assert not same_namespace(own, spaces[0].descriptor)
        os.close(inside)
        with pytest.raises(OSError, match="cannot enter"):
            run_in(os.open("/dev/null", os.O_RDONLY), lambda: None)
    finally:
        os.close(own)
