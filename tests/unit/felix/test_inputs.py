"""Reading the datastore's values: what is not valid, the names that count, and the short way for endpoints."""

import copy
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico.felix.calc import inputs
from calico.felix.calc.inputs import DECODERS, checked_workload, decode
from calico.felix.calc.plain import plain_workload
from calico.felix.desired import Nat, Pool
from calico.ipam.block import take
from calico.model.ipam import AllocationAttribute
from calico.model.keys import BlockKey, ResourceKey
from tests.unit.felix.documents import (
    Document,
    Item,
    block,
    host_endpoint,
    network_set,
    node,
    policy,
    pool,
    profile,
    resource,
    rule,
    stored,
    workload,
)


def _read(item: Item) -> Any:
    return decode(item[0], stored(item[1]))


def _without(item: Item, *path: str) -> Item:
    """The item without one of its members."""
    document = copy.deepcopy(item[1])
    inner = document
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return item[0], document


_WEP = workload("a", "w1", "10.0.0.1")
_BLOCK = block("10.0.1.0/29", "b", {0: "b"})
NOT_VALID = [
    (_without(_WEP, "spec", "interfaceName"), "interfaceName"),
    (workload("a", "w1", "10.0.0.1/24"), "ipNetworks"),
    (workload("a", "w1", "10.0.0.300"), "ipNetworks"),
    (workload("a", "w1", "10.0.0.1", labels={"bad key!": "x"}), "labels"),
    (workload("a", "w1", "10.0.0.1", ports=[("http", "ICMP", 1)]), "ICMP has no ports"),
    (workload("a", "w1", "10.0.0.1", mac="xx"), "mac"),
    (
        workload("a", "w1", "10.0.0.1", workload="other", orchestrator="mesos"),
        "does not match the endpoint's own members",
    ),
    ((ResourceKey("WorkloadEndpoint", "other", "default").path, _WEP[1]), "calls itself"),
    ((ResourceKey("WorkloadEndpoint", _WEP[1]["metadata"]["name"], "red").path, _WEP[1]), "calls itself"),
    ((_WEP[0], policy("p")[1]), "does not belong under this key"),
    (policy("p", "a = 'b'"), "selector"),
    (policy("p", ingress=[rule("Perhaps")]), "action"),
    (policy("p", ingress=[rule(destination={"ports": [80]})]), "must set protocol to TCP, UDP or SCTP"),
    (policy("p", ingress=[rule(icmp={"type": 8})]), "must set protocol to ICMP"),
    (policy("p", ingress=[rule(source={"nets": ["10.0.0.0/8", "fd00::/8"]})]), "both IPv4 and IPv6"),
    (policy("p", ipVersion=5, ingress=[rule(ipVersion=5)]), "must be 4 or 6"),
    (policy("p", types=["Sideways"]), "types"),
    (policy("p", preDNAT=True, doNotTrack=True, applyOnForward=True), "cannot both be true"),
    (profile("p", [rule(protocol="IGMP")]), "protocol"),
    (network_set("n", "10.0.0.0/33"), "nets"),
    (host_endpoint("a", "h"), "no interface or expected IPs"),
    (host_endpoint("a", "h", "", "10.0.0.0/8"), "expectedIPs"),
    (node("a", "10.0.0"), "ipv4Address"),
    (pool("p", "10.0.0.1/16"), "not strictly masked"),
    (pool("p", "10.0.0.0/16", vxlan="Always", ipip="Always"), "cannot both be enabled"),
    ((_BLOCK[0], {**_BLOCK[1], "allocations": [None]}), "1 places for 8 addresses"),
    ((_BLOCK[0], {**_BLOCK[1], "allocations": [7] + [None] * 7}), "points to no attribute"),
    ((BlockKey("10.0.2.0/29").path, _BLOCK[1]), "its value speaks of 10.0.1.0/29"),
]


@pytest.mark.parametrize(("item", "message"), NOT_VALID)
def test_what_is_not_valid_says_why(item: Item, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as told:
        _read(item)
    assert message in str(told.value)


@pytest.mark.parametrize("prefix", sorted(DECODERS))
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"3", b"null", b"\xff"])
def test_what_is_no_json_object(prefix: str, raw: bytes) -> None:
    key = BlockKey("10.0.0.0/29").path if "/ipam/" in prefix else f"{prefix}default/x"
    with pytest.raises(ValueError, match=r"."):
        DECODERS[prefix](key, raw, 1)


def test_keys_of_nobody() -> None:
    assert decode("/calico/other", b"{}") is None
    assert _read(block("10.0.1.0/29")).claims == ()
    six = BlockKey("fd00::/122").path
    assert decode(six, b"{}") is None, "IPv6 has no routes here"


def test_a_workload_endpoint() -> None:
    nat = [{"internalIP": "10.0.0.1", "externalIP": "198.51.100.1"}]
    found = _read(workload("a", "w1", "10.0.0.1", "FD00::0:1", mac="EE-EE-EE-EE-EE-01", ipNATs=nat))
    assert (found.nets, found.mac) == (("10.0.0.1", "fd00::1"), "ee:ee:ee:ee:ee:01")
    assert found.nat == (Nat("198.51.100.1", "10.0.0.1"),)
    assert _read(workload("a", "w1")) is None, "without an address it is none yet"


@pytest.mark.parametrize(
    ("types", "ingress", "egress"),
    [([], True, True), (["Ingress"], True, False), (["Egress"], False, True), (["Ingress", "Egress"], True, True)],
)
def test_the_directions_a_policy_governs(types: list[str], ingress: bool, egress: bool) -> None:
    found = _read(policy("p", types=types, ingress=[rule()], egress=[rule()]))
    assert (found.governs_ingress, found.governs_egress) == (ingress, egress)
    assert (bool(found.inbound), bool(found.outbound)) == (ingress, egress)


def test_names_that_others_gave_have_no_prefix() -> None:
    assert _read(policy("a", "", "ns")).id.name == "ns/default.a"
    assert _read(policy("knp.default.a", "", "ns")).id.name == "ns/knp.default.a"
    assert _read(policy("a")).id.name == "default.a"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("66-00-00-00-00-0A", "66:00:00:00:00:0a"),
        ("6600.0000.000a", "66:00:00:00:00:0a"),
        ("00:00:5e:00:53:01:00:01", ""),
        (":".join(["00"] * 20), ""),
        ("01:00:5e:00:00:01", ""),
        ("ff:ff:ff:ff:ff:ff", ""),
        ("00:00:00:00:00:00", ""),
    ],
)
def test_a_mac_address_that_no_device_can_have_counts_as_not_given(given: str, kept: str) -> None:
    assert _read(node("a", "10.9.0.1", "10.0.0.1", given)).vxlan_mac == kept


def test_a_node_with_an_empty_bgp_is_a_node() -> None:
    key, document = node("a", tunnel="10.0.0.1")
    document["spec"]["bgp"] = {}
    assert _read((key, document)).vxlan_address == "10.0.0.1"


@pytest.mark.parametrize(
    ("vxlan", "ipip", "expected"),
    [
        ("Never", "Never", Pool("none", False, True)),
        ("Always", "Never", Pool("vxlan", False, True)),
        ("CrossSubnet", "Never", Pool("vxlan", True, True)),
        ("Never", "Always", Pool("ipip", False, True)),
        ("Never", "CrossSubnet", Pool("ipip", True, True)),
    ],
)
def test_the_encapsulation_of_a_pool(vxlan: str, ipip: str, expected: Pool) -> None:
    assert _read(pool("p", "10.0.0.0/16", vxlan, ipip, nat=True)).pool == expected


def test_a_block_that_ipam_wrote() -> None:
    from calico.ipam.block import fresh
    from calico.model.values import encode_value

    written = take(fresh("10.0.1.0/29", "b"), [0, 3], AllocationAttribute("h", {"node": "c"}))
    key = BlockKey("10.0.1.0/29")
    found = decode(key.path, json.dumps(encode_value(key, written)).encode())
    assert isinstance(found, inputs.Block)
    assert [claim[:2] for claim in found.claims] == [("10.0.1.0/29", "b"), ("10.0.1.0/32", "c"), ("10.0.1.3/32", "c")]


# -- the short way -----------------------------------------------------------------------------------------------------

_PLAIN = [
    workload("a", "w1", "10.0.0.1", labels={"app": "web"}, profiles=["p", "q", "p"], mac="ee:ee:ee:ee:ee:ee"),
    workload("10.0.0.1", "w-1", "10.0.0.1", "fd00::1", ports=[("http", "TCP", 80), ("dns", "UDP", 53)]),
    workload("a", "w1", "10.0.0.1", labels={"pcns.team": "x"}, namespace="red"),
    resource(
        "WorkloadEndpoint",
        "a-cni-7c1f-eth0",
        {
            "orchestrator": "cni",
            "containerID": "7c1f",
            "node": "a",
            "endpoint": "eth0",
            "interfaceName": "cali1",
            "ipNetworks": ["10.0.0.1/32"],
        },
        "default",
    ),
]


def _agrees(key: str, document: Document) -> bool:
    """Whether the short way took a document; what it makes of it must be what the model makes of it."""
    found = plain_workload(key, document)
    if found is not None:
        assert found == checked_workload(key, stored(document), 1)
    return found is not None


@pytest.mark.parametrize("item", _PLAIN)
def test_a_plain_endpoint_is_read_the_short_way(item: Item) -> None:
    assert _agrees(*item)


def test_a_name_that_is_too_long_in_all_is_not_valid() -> None:
    key, document = workload("a", "w" * 250, "10.0.0.1", interfaceName="cali1")
    assert plain_workload(key, document) is None
    with pytest.raises(ValueError, match="too long"):
        checked_workload(key, stored(document), 1)


_ODD: list[Any] = [
    None, "", "x", "-", "A", "a-", "a b", "*", "x" * 16, "x" * 300, 0, 1, -1, 70000, True, 1.5, [], {}, [None], ["a"],
    "10.0.0.1", "10.0.0.01/32", "10.0.0.1/32", "10.0.0.1/24", "256.0.0.1/32", "10.0.0.1/32\n", "fd00::1/128",
    "FD00::1/128", "fd00:0::1/128", "::ffff:10.0.0.1/128", "fd00::1%eth0/128", "10.0.0.1./32", "ee:ee:ee:ee:ee:ee",
    "EE:EE:EE:EE:EE:EE", "2020-01-01T00:00:00Z", "2020-02-30T00:00:00Z", "2020-01-01", "TCP", "tcp", "SCTP",
    "libnetwork", "k8s", "cni", "default", "projectcalico.org/v3", "Profile", {"a": "b"}, {"a b": "c"},
    {"a": 1}, {"a": None}, [{"name": "http", "protocol": "TCP", "port": 80}],
    [{"name": "http", "protocol": "TCP", "port": True}],
    [{"name": "HTTP", "protocol": "TCP", "port": 80}], [{"name": "http", "protocol": "TCP", "port": 0}],
    [{"name": "http", "protocol": 6, "port": 80}], [{"name": "http", "protocol": "TCP", "port": 80, "more": 1}],
]  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    yield path
    if isinstance(value, dict):
        for name in (*value, "more", "pod", "ipNATs", "annotations", "ipv4Gateway"):
            yield from _places(value.get(name), (*path, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _places(one, (*path, index))


def _changed(item: Item, path: tuple[Any, ...], value: Any) -> Document:
    """The document with one place in it changed; DELETED takes it away."""
    document: Any = copy.deepcopy(item[1])
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    if value is DELETED and isinstance(inner, dict):
        inner.pop(path[-1], None)
    else:
        inner[path[-1]] = value
    return dict(document)


DELETED = object()


def test_the_short_way_agrees_with_the_model_whatever_one_change_does() -> None:
    taken = total = 0
    for item in _PLAIN:
        for path in _places(item[1]):
            for value in (*_ODD, DELETED) if path else ():
                taken += _agrees(
                    item[0], _changed(item, path, value if value is not DELETED or isinstance(path[-1], str) else None)
                )
                total += 1
    assert 50 < taken < total / 2


_CHANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, len(_ODD) - 1)), min_size=2, max_size=4)


@given(st.sampled_from(_PLAIN), _CHANGES)
@settings(max_examples=20000 if os.environ.get("DCOS_CALICO_SOAK") else 200, deadline=None)
def test_the_short_way_agrees_with_the_model_whatever_several_changes_do(
    item: Item, changes: list[tuple[int, int]]
) -> None:
    document = item[1]
    for place, odd in changes:
        places = [path for path in _places(document) if path]
        if places:
            document = _changed((item[0], document), places[place % len(places)], _ODD[odd])
    _agrees(item[0], document)
