"""Which routes there should be, by the slow function and by the fast book, and what is asked of the kernel."""

import os
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico.felix.dataplane.routes import (
    Inputs,
    RouteBook,
    RouteSettings,
    is_ours,
    plan_routes,
    wanted_routes,
)
from calico.felix.desired import Changes, Host, Nat, Vtep, Workload, WorkloadId
from calico.felix.desired import Route as Destination
from calico.netlink.route import RTN_BLACKHOLE, SCOPE_LINK, Network, Route
from tests.unit.felix.dataplane.inputs import inputs, interface, workload

ONE, TWO = WorkloadId("cni", "a", "eth0"), WorkloadId("cni", "b", "eth0")
CALI1 = {"cali1": interface(11, "cali1")}


def shown(given_: Inputs) -> dict[str, Route]:
    return {str(network): one for network, one in wanted_routes(given_).items()}


def with_interfaces(given_: Inputs, **more: Any) -> Inputs:
    return given_._replace(interfaces={**given_.interfaces, **{one.name: one for one in more.values()}})


def remote(**changes: Any) -> Destination:
    return Destination("remote-workload", "there", "10.9.0.2", "vxlan")._replace(**changes)


VTEPS = {"there": Vtep("10.8.0.2", "66:00:00:00:00:02", "10.9.0.2")}


def test_a_workload_has_a_route_to_each_address() -> None:
    found = shown(
        with_interfaces(inputs(workloads={ONE: workload("cali1", "10.0.0.1", "10.0.0.2", "fd00::1")}), **CALI1)
    )
    assert found["10.0.0.1/32"] == Route(ip_network("10.0.0.1/32"), 11, scope=SCOPE_LINK, protocol=3)
    assert set(found) == {"10.0.0.1/32", "10.0.0.2/32", "fd00::1/128"}
    assert found["fd00::1/128"].metric == 1024


def test_a_floating_address_leads_to_its_workload() -> None:
    floating = workload("cali1", "10.0.0.1")._replace(nat=(Nat("172.16.0.9", "10.0.0.1"),))
    assert "172.16.0.9/32" in shown(with_interfaces(inputs(workloads={ONE: floating}), **CALI1))


def test_protocol_and_source_are_configured() -> None:
    settings = RouteSettings("here", protocol=50, source=ip_address("10.9.0.1"))  # type: ignore[arg-type]
    found = shown(with_interfaces(inputs(settings=settings, workloads={ONE: workload("cali1", "10.0.0.1")}), **CALI1))
    assert (found["10.0.0.1/32"].protocol, str(found["10.0.0.1/32"].source)) == (50, "10.9.0.1")


@pytest.mark.parametrize("state", ["down", "missing", "inactive", "no ipv6"])
def test_no_route_to_a_workload(state: str) -> None:
    given_ = inputs(workloads={ONE: workload("cali1", "fd00::1", active=state != "inactive")})
    if state != "missing":
        given_ = with_interfaces(given_, cali1=interface(11, "cali1", up=state != "down"))
    if state == "no ipv6":
        given_ = given_._replace(settings=given_.settings._replace(ipv6=False))
    assert shown(given_) == {}


def test_the_lowest_of_two_workloads_on_an_interface_has_it() -> None:
    both = {TWO: workload("cali1", "10.0.0.2"), ONE: workload("cali1", "10.0.0.1")}
    assert set(shown(with_interfaces(inputs(workloads=both), **CALI1))) == {"10.0.0.1/32"}


def test_the_lowest_of_two_workloads_with_an_address_has_it() -> None:
    both = {TWO: workload("cali2", "10.0.0.1"), ONE: workload("cali1", "10.0.0.1")}
    found = with_interfaces(inputs(workloads=both), cali1=interface(11, "cali1"), cali2=interface(12, "cali2"))
    assert shown(found)["10.0.0.1/32"].ifindex == 11
    del found.interfaces["cali1"]  # type: ignore[attr-defined]
    assert shown(found)["10.0.0.1/32"].ifindex == 12


@pytest.mark.parametrize(
    ("destination", "line"),
    [
        (remote(), "via 10.8.0.2 dev 3"),
        (remote(same_subnet=True), "via 10.9.0.2 dev 2"),
        (remote(encapsulation="ipip"), "via 10.9.0.2 dev 4"),
        (remote(encapsulation="ipip", same_subnet=True), "via 10.9.0.2 dev 2"),
        (remote(encapsulation="none"), ""),
        (remote(node="elsewhere"), ""),
        (remote(node_address="", encapsulation="ipip"), ""),
        (remote(kind="remote-host"), ""),
        (remote(kind="pool"), ""),
        (Destination("local-workload", "here", "10.9.0.1", "vxlan"), "blackhole"),
        (Destination("local-workload", "here", "10.9.0.1", "ipip"), "blackhole"),
        (Destination("local-workload", "here", "10.9.0.1", "none"), ""),
    ],
)
def test_the_route_to_a_block(destination: Destination, line: str) -> None:
    found = shown(inputs(destinations={"10.0.1.0/26": destination}, vteps=VTEPS)).get("10.0.1.0/26")
    if found is None:
        assert line == ""
    elif found.kind == RTN_BLACKHOLE:
        assert line == "blackhole"
    else:
        assert f"via {found.gateway} dev {found.ifindex}" == line
        assert found.onlink
    assert found is None or found.protocol == 80


def test_a_single_address_gets_no_blackhole() -> None:
    assert shown(inputs(destinations={"10.0.1.1/32": Destination("local-workload", "here", "", "vxlan")})) == {}


def test_a_tunnel_that_is_off_carries_nothing() -> None:
    given_ = inputs(destinations={"10.0.1.0/26": remote()}, vteps=VTEPS)
    assert shown(given_._replace(settings=given_.settings._replace(vxlan=False))) == {}
    assert shown(with_interfaces(given_, vxlan=interface(3, "vxlan.calico", up=False))) == {}


def test_a_host_without_an_address_has_no_neighbours_in_its_subnet() -> None:
    given_ = inputs(destinations={"10.0.1.0/26": remote(same_subnet=True)}, vteps=VTEPS, hosts={"here": Host()})
    assert shown(given_) == {}


# -- the book says the same ----------------------------------------------------------------------------------------

_ADDRESSES = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.1.1", "fd00::1"])
_WORKLOADS = st.one_of(
    st.none(),
    st.builds(
        lambda name, addresses, active: workload(name, *addresses, active=active),
        st.sampled_from(["cali1", "cali2", "cali3", ""]),
        st.lists(_ADDRESSES, max_size=3),
        st.booleans(),
    ),
)
_IDENTITIES = st.sampled_from([WorkloadId("cni", name, "eth0") for name in "abcd"])
_DESTINATIONS = st.one_of(
    st.none(),
    st.builds(
        Destination,
        st.sampled_from(["remote-workload", "local-workload", "remote-host", "pool"]),
        st.sampled_from(["here", "there", "elsewhere", ""]),
        st.sampled_from(["10.9.0.2", "10.9.0.3", ""]),
        st.sampled_from(["none", "vxlan", "ipip"]),
        st.just(False),
        st.booleans(),
    ),
)
_NETWORKS = st.sampled_from(["10.0.0.1/32", "10.0.0.0/26", "10.0.1.0/26", "10.0.1.1/32"])
_VTEPS = st.one_of(st.none(), st.builds(Vtep, st.sampled_from(["10.8.0.2", "10.8.0.3"]), st.just(""), st.just("")))
_HOSTS = st.one_of(st.none(), st.builds(Host, st.sampled_from(["", "10.9.0.1", "10.9.9.9"])))
_CHANGES = st.builds(
    Changes,
    workloads=st.dictionaries(_IDENTITIES, _WORKLOADS, max_size=2),
    routes=st.dictionaries(_NETWORKS, _DESTINATIONS, max_size=2),
    vteps=st.dictionaries(st.sampled_from(["there", "elsewhere"]), _VTEPS, max_size=2),
    hosts=st.dictionaries(st.sampled_from(["here", "there"]), _HOSTS, max_size=1),
)
_LINKS = st.builds(
    lambda name, index, up, address: (name, interface(index, name, *address, up=up)),
    st.sampled_from(["cali1", "cali2", "eth0", "eth1", "vxlan.calico", "tunl0"]),
    st.integers(2, 9),
    st.booleans(),
    st.lists(st.sampled_from(["10.9.0.1/24", "10.9.9.9/24"]), max_size=1),
)
_GONE = st.builds(lambda name: (name, None), st.sampled_from(["cali1", "eth0", "vxlan.calico"]))


def merge(kept: Any, differing: Any) -> None:
    for key, value in differing.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value


@settings(deadline=None, max_examples=2000 if os.environ.get("DCOS_CALICO_SOAK") else 60)
@given(st.lists(st.one_of(_CHANGES, _LINKS, _GONE), max_size=12))
def test_the_book_says_what_the_function_says(events: list[Any]) -> None:
    held: Inputs = inputs(hosts={}, interfaces={})
    book = RouteBook(held)
    view: dict[Network, Route] = {}
    for event in events:
        if isinstance(event, Changes):
            for kept, differing in zip(
                held[2:], (event.workloads, event.routes, event.vteps, event.hosts), strict=True
            ):
                merge(kept, differing)
            book.on_changes(event)
        else:
            merge(held.interfaces, dict([event]))
            book.on_interfaces({event[0]})
        merge(view, {network: book.wanted(network) for network in book.take_dirty().networks})
        assert view == wanted_routes(held)


def test_an_address_that_a_workload_has_twice_comes_and_goes_once() -> None:
    workloads = {ONE: workload("cali1", "10.0.0.1")._replace(nat=(Nat("10.0.0.1", "10.0.0.1"),) * 2)}
    book = RouteBook(inputs(workloads=workloads))
    for now in ({ONE: workloads[ONE]}, {ONE: None}):
        merge(workloads, now)
        book.on_changes(Changes(workloads=now))
        assert book.take_dirty().networks == {ip_network("10.0.0.1/32")}


def test_an_address_that_changes_hands_is_told_once() -> None:
    workloads: dict[WorkloadId, Workload] = {}
    book = RouteBook(inputs(workloads=workloads))

    def tell(**changes: Any) -> set[str]:
        merge(workloads, changes["workloads"])
        book.on_changes(Changes(**changes))
        return {str(network) for network in book.take_dirty().moved}

    assert tell(workloads={ONE: workload("cali1", "10.0.0.1")}) == set()
    assert tell(workloads={ONE: workload("cali1", "10.0.0.1", "10.0.0.2")}) == set()
    assert tell(workloads={ONE: None, TWO: workload("cali2", "10.0.0.1")}) == {"10.0.0.1/32", "10.0.0.2/32"}
    assert tell(workloads={TWO: workload("cali2", "10.0.0.1", active=False)}) == {"10.0.0.1/32"}
    assert tell(workloads={TWO: None}) == set()


# -- what is asked of the kernel -----------------------------------------------------------------------------------

A, B = ip_network("10.0.0.1/32"), ip_network("10.0.1.0/26")


def test_a_state_that_is_right_asks_for_nothing() -> None:
    wanted = {A: Route(A, 11, scope=SCOPE_LINK), B: Route(B, kind=RTN_BLACKHOLE, protocol=80)}
    assert plan_routes(wanted, wanted.values()).is_empty


def test_a_route_in_another_one_s_place_is_replaced_in_one_step() -> None:
    was, should = Route(B, 2, ip_address("10.9.0.2"), 80), Route(B, 3, ip_address("10.8.0.2"), 80, onlink=True)
    assert plan_routes({B: should}, [was]) == ((), frozenset(), (should,))


def test_what_is_unwanted_goes_and_so_does_a_second_one_with_another_metric() -> None:
    should, other = Route(A, 11, scope=SCOPE_LINK), Route(A, 11, scope=SCOPE_LINK, metric=5)
    unwanted = Route(B, 3, protocol=80)
    assert plan_routes({A: should}, [should, other, unwanted]) == ((other, unwanted), frozenset(), ())


def test_connections_of_the_last_owner_are_forgotten_before_the_next_one_s_route() -> None:
    was, should = Route(A, 11, scope=SCOPE_LINK), Route(A, 12, scope=SCOPE_LINK)
    plan = plan_routes({A: should}, [was], moved={A})
    assert plan == ((was,), frozenset((ip_address("10.0.0.1"),)), (should,))


@pytest.mark.parametrize(
    ("one", "on", "ours"),
    [
        (Route(A, 11), "cali1", True),
        (Route(A, 11, protocol=99), "cali1", True),
        (Route(A, 11, protocol=2), "cali1", False),
        (Route(ip_network("fe80::/64"), 11, metric=256), "cali1", False),
        (Route(ip_network("ff00::/8"), 11), "cali1", False),
        (Route(B, 3), "vxlan.calico", True),
        (Route(B, 4, protocol=12), "tunl0", True),
        (Route(B, kind=RTN_BLACKHOLE, protocol=80), "", True),
        (Route(B, kind=RTN_BLACKHOLE, protocol=12), "", False),
        (Route(B, 2, protocol=80), "eth0", True),
        (Route(B, 2), "eth0", False),
    ],
)
def test_which_routes_are_ours_to_remove(one: Route, on: str, ours: bool) -> None:
    assert is_ours(one, RouteSettings("here"), on) == ours


def test_foreign_routes_on_a_workload_s_interface_may_stay() -> None:
    settings = RouteSettings("here", remove_external=False)
    assert not is_ours(Route(A, 11, protocol=99), settings, "cali1")
    assert is_ours(Route(A, 11), settings, "cali1")
