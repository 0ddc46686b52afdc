# ruff: noqa: E501
"""The policy trace: rules against packets one condition at a time, lists, and whole ways through a cluster."""

from collections.abc import Sequence
from typing import Any

import pytest

from calico.datastore.syncer import Update
from calico.felix.calc.graph import Graph
from calico.felix.calc.inputs import Workload, decode
from calico.felix.config.settings import Settings
from calico.felix.desired import Icmp, IpSet, PortRange, Rule, Side, WorkloadId
from calico.felix.state import State
from calico.felix.trace.matching import Packet, mismatch
from calico.felix.trace.path import View
from calico.felix.trace.route import Place, Trace, trace
from tests.unit.felix.documents import (
    Item,
    block,
    host_endpoint,
    node,
    policy,
    pool,
    profile,
    rule,
    stored,
    workload,
)

_SETS = {
    "s:one": IpSet("net", frozenset(["10.0.0.1", "10.2.0.0/16", "fd00::/64"])),
    "n:http": IpSet("port", frozenset(["10.0.0.2,tcp:80", "10.0.0.1,udp:53"])),
}
_TCP = Packet("10.0.0.1", "10.0.0.2", 6, 40000, 80)
_UDP6 = Packet("fd00::1", "fd01::2", 17, 40000, 53)
_PING = Packet("10.0.0.1", "10.0.0.2", 1, icmp=Icmp(8, 0))
_HTTP = (PortRange(80, 88),)

MATCHES = [
    (Rule("allow"), _TCP, ""),
    (Rule("allow", 4), _TCP, ""),
    (Rule("allow", 6), _TCP, "not for IPv4"),
    (Rule("allow", 4), _UDP6, "not for IPv6"),
    (Rule("allow", protocol=6), _TCP, ""),
    (Rule("allow", protocol=6), _UDP6, "the protocol is not tcp"),
    (Rule("allow", not_protocol=17), _TCP, ""),
    (Rule("allow", not_protocol=17), _UDP6, "excludes protocol udp"),
    (Rule("allow", source=Side(nets=("10.0.0.0/24",))), _TCP, ""),
    (Rule("allow", source=Side(nets=("10.9.0.0/24", "10.0.0.1/32"))), _TCP, ""),
    (Rule("allow", source=Side(nets=("10.9.0.0/24",))), _TCP, "source 10.0.0.1 is not in 10.9.0.0/24"),
    (Rule("allow", source=Side(nets=("fd00::/64",))), _TCP, "not for IPv4"),
    (Rule("allow", source=Side(not_nets=("fd00::/64",))), _TCP, "not for IPv4"),
    (Rule("allow", destination=Side(not_nets=("10.9.0.0/24",))), _TCP, ""),
    (Rule("allow", destination=Side(not_nets=("10.0.0.0/24",))), _TCP, "in the excluded 10.0.0.0/24"),
    (Rule("allow", source=Side(sets=("s:one",))), _TCP, ""),
    (Rule("allow", source=Side(sets=("s:one",))), _UDP6, ""),
    (Rule("allow", source=Side(sets=("s:one",))), _TCP._replace(source="10.2.3.4"), ""),
    (Rule("allow", destination=Side(sets=("s:one",))), _TCP, "destination 10.0.0.2 is not selected by <s:one>"),
    (Rule("allow", destination=Side(not_sets=("s:one",))), _TCP, ""),
    (Rule("allow", source=Side(not_sets=("s:one",))), _TCP, "selected by the excluded <s:one>"),
    (Rule("allow", protocol=6, destination=Side(ports=_HTTP)), _TCP, ""),
    (Rule("allow", protocol=6, destination=Side(ports=_HTTP)), _TCP._replace(destination_port=89), "not 80:88"),
    (Rule("allow", destination=Side(ports=_HTTP)), _PING, "the protocol has no ports"),
    (Rule("allow", source=Side(ports=(PortRange(22, 22),))), _TCP, "source port 40000 is not 22"),
    (Rule("allow", protocol=6, destination=Side(not_ports=_HTTP)), _TCP, "among the excluded 80:88"),
    (Rule("allow", protocol=6, destination=Side(not_ports=_HTTP)), _TCP._replace(destination_port=22), ""),
    (Rule("allow", protocol=6, destination=Side(port_sets=("n:http",))), _TCP, ""),
    (Rule("allow", protocol=6, destination=Side(port_sets=("n:http",))), _TCP._replace(destination_port=81), "<n:http>"),
    (Rule("allow", protocol=6, destination=Side(ports=(PortRange(1, 1),), port_sets=("n:http",))), _TCP, ""),
    (Rule("allow", protocol=6, destination=Side(not_port_sets=("n:http",))), _TCP, "among the excluded <n:http>"),
    (Rule("allow", protocol=6, destination=Side(not_port_sets=("n:http",))), _TCP._replace(destination_port=81), ""),
    (Rule("allow", protocol=1, icmp=Icmp(8)), _PING, ""),
    (Rule("allow", protocol=1, icmp=Icmp(8, 0)), _PING, ""),
    (Rule("allow", protocol=1, icmp=Icmp(8, 1)), _PING, "not ICMP type 8 code 1"),
    (Rule("allow", protocol=1, icmp=Icmp(0)), _PING, "not ICMP type 0"),
    (Rule("allow", protocol=1, not_icmp=Icmp(8)), _PING, "excludes ICMP type 8"),
    (Rule("allow", protocol=1, not_icmp=Icmp(8, 1)), _PING, ""),
    (Rule("allow", protocol=1, not_icmp=Icmp(0, 0)), _PING, ""),
    (Rule("allow", not_icmp=Icmp(0)), _TCP, "the protocol is not icmp"),
]  # fmt: skip


@pytest.mark.parametrize(("found", "packet", "why"), MATCHES)
def test_a_rule_and_a_packet(found: Rule, packet: Packet, why: str) -> None:
    told = mismatch(found, packet, _SETS, lambda uid: f"<{uid}>")
    assert why in told
    assert bool(why) == bool(told)


_ALLOW_ALL = profile("all", [rule()], [rule()])
_W1 = workload("a", "w1", "10.0.0.1", "fd00::1", labels={"app": "web"}, profiles=["all"])
_W2 = workload("a", "w2", "10.0.0.2", labels={"app": "db"}, profiles=["all"])
_R1 = workload("b", "r1", "10.0.1.1", labels={"app": "db"}, profiles=["all"])
_CLUSTER = (
    pool("p", "10.0.0.0/16", vxlan="Always", nat=True),
    node("a", "192.168.0.1/24", "10.0.0.0"),
    node("b", "192.168.0.2/24", "10.0.1.0"),
    block("10.0.0.0/29", "a"),
    block("10.0.1.0/29", "b"),
    _ALLOW_ALL,
    _W1,
    _W2,
    _R1,
)


def _id(name: str) -> WorkloadId:
    return WorkloadId("libnetwork", "default/libnetwork", name)


_PLACES = {
    "w1": (Place("a", _id("w1")), "10.0.0.1"),
    "w1v6": (Place("a", _id("w1")), "fd00::1"),
    "w2": (Place("a", _id("w2")), "10.0.0.2"),
    "r1": (Place("b", _id("r1")), "10.0.1.1"),
    "a": (Place("a"), "192.168.0.1"),
    "b": (Place("b"), "192.168.0.2"),
    "out": (Place(), "198.51.100.1"),
}


def _views(items: Sequence[Item], settings: Settings) -> dict[str, View]:
    views = {}
    for name in ("a", "b"):
        graph, state = Graph(name), State()
        graph.update([Update(key, decode(key, stored(document)), 1) for key, document in items])
        state.apply(graph.flush())
        addresses = {"eth0": frozenset([f"192.168.0.{'ab'.index(name) + 1}"])}
        views[name] = View(name, state, settings, addresses, graph.describe)
    return views


def _trace(words: str, items: Sequence[Item], settings: Settings | None = None, **packet: Any) -> Trace:
    """`w1 -> r1 tcp 80`, in the cluster with some more items."""
    source, _, destination, protocol, port = words.split()
    (here, from_address), (there, to_address) = _PLACES[source], _PLACES[destination]
    number = {"tcp": 6, "udp": 17, "icmp": 1, "ipip": 4, "icmpv6": 58}[protocol]
    found = Packet(from_address, to_address, number, 40000, int(port), **packet)
    return trace(found, here, there, _views((*_CLUSTER, *items), settings or Settings()), {"a": "eth0", "b": "eth0"})


def _told(found: Trace) -> list[str]:
    return [f"{stage.node} {stage.kind} {stage.direction} {stage.verdict}" for stage in found.stages]


_DENY = [rule("Deny")]
_IN: dict[str, Any] = {"types": ["Ingress"]}
_OUT: dict[str, Any] = {"types": ["Egress"]}
_HTTP_ONLY = [rule(protocol="TCP", destination={"ports": [80]})]
_HEP_A = host_endpoint("a", "eth0-a", "eth0", labels={"role": "host"})
_HEP_STAR = host_endpoint("a", "all-a", "*", labels={"role": "host"})
_HEP_B = host_endpoint("b", "eth0-b", "", "192.168.0.2", labels={"role": "host"})
_HEP_TUNNEL = host_endpoint("b", "tunnel-b", "vxlan.calico", labels={"role": "host"})
_FORWARD: dict[str, Any] = {"applyOnForward": True}

WAYS = [
    ("w1 -> w2 tcp 80", (), ["a normal egress allow", "a normal ingress allow"], "rule 1 of profile all"),
    ("w1 -> r1 tcp 80", (), ["a normal egress allow", "b normal ingress allow"], "rule 1 of profile all"),
    ("w1 -> out tcp 80", (), ["a normal egress allow"], "egress of default/a-libnetwork-libnetwork-w1"),
    ("out -> w1 tcp 80", (), ["a normal ingress allow"], "ingress of"),
    ("w1 -> w2 tcp 80", (policy("p", "app == 'db'", **_IN),), ["a normal egress allow", "a normal ingress deny"], "no rule of theirs matches"),
    ("w1 -> w2 tcp 80", (policy("p", "app == 'web'", **_OUT),), ["a normal egress deny"], "egress of"),
    ("w1 -> r1 tcp 80", (policy("p", "app == 'db'", ingress=_HTTP_ONLY, **_IN),), ["a normal egress allow", "b normal ingress allow"], "rule 1 of policy default.p allows"),
    ("w1 -> r1 tcp 81", (policy("p", "app == 'db'", ingress=_HTTP_ONLY, **_IN),), ["a normal egress allow", "b normal ingress deny"], "no rule"),
    ("w1 -> w2 tcp 80", (policy("p", order=1, ingress=_DENY, **_IN), policy("q", order=2, ingress=_HTTP_ONLY, **_IN)), ["a normal egress allow", "a normal ingress deny"], "rule 1 of policy default.p denies"),
    ("w1 -> w2 tcp 80", (policy("p", order=3, ingress=_DENY, **_IN), policy("q", order=2, ingress=_HTTP_ONLY, **_IN)), ["a normal egress allow", "a normal ingress allow"], "rule 1 of policy default.q allows"),
    ("w1 -> w2 tcp 80", (policy("p", order=1, ingress=[rule("Pass")], **_IN), policy("q", order=2, ingress=_DENY, **_IN)), ["a normal egress allow", "a normal ingress allow"], "rule 1 of profile all"),
    ("w1 -> w2 tcp 80", (policy("p", order=1, ingress=[rule("Log")], **_IN), policy("q", order=2, ingress=_DENY, **_IN)), ["a normal egress allow", "a normal ingress deny"], "policy default.q denies"),
    ("w1 -> w2 tcp 80", (workload("a", "w2", "10.0.0.2", profiles=["gone", "all"]),), ["a normal egress allow", "a normal ingress deny"], "does not exist or is not valid"),
    ("w1 -> w2 tcp 80", (workload("a", "w2", "10.0.0.2", profiles=["none", "all"]), profile("none")), ["a normal egress allow", "a normal ingress allow"], "rule 1 of profile all"),
    ("w1 -> w2 tcp 80", (workload("a", "w2", "10.0.0.2"),), ["a normal egress allow", "a normal ingress deny"], "no profile allows its ingress"),
    ("w1 -> w2 tcp 80", (workload("a", "w1", "10.0.0.9", profiles=["all"]),), ["a normal egress deny"], "not the workload's own"),
    ("w1 -> a tcp 80", (), ["a normal egress allow", "a normal egress deny"], "DefaultEndpointToHostAction is DROP"),
    ("w1 -> a tcp 80", (_HEP_A,), ["a normal egress allow", "a normal egress deny"], "DROP"),
    ("w1 -> b tcp 80", (), ["a normal egress allow", "b normal ingress allow"], "no host endpoint is there"),
    ("w1 -> b tcp 80", (_HEP_B,), ["a normal egress allow", "b normal ingress deny"], "no profile allows"),
    ("w1 -> b tcp 22", (_HEP_B,), ["a normal egress allow", "b normal ingress allow"], "22 is a failsafe port"),
    ("a -> w1 tcp 80", (policy("p", ingress=_DENY, **_IN), _HEP_STAR), ["a normal ingress allow"], "never policed"),
    ("a -> r1 tcp 80", (_HEP_A,), ["a normal egress allow", "b normal ingress allow"], "no host endpoint"),
    ("a -> b tcp 80", (_HEP_A,), ["a normal egress deny"], "no profile allows its egress"),
    ("a -> b tcp 2379", (_HEP_A, _HEP_B), ["a normal egress allow", "b normal ingress allow"], "failsafe"),
    ("a -> b tcp 80", (_HEP_A, policy("p", "role == 'host'", egress=[rule()], **_OUT)), ["a normal egress allow", "b normal ingress allow"], "policy default.p"),
    ("w1 -> w2 ipip 0", (), ["a normal egress deny"], "may not send IP in IP"),
    ("out -> w1 tcp 80", (_HEP_A, policy("f", "role == 'host'", ingress=_DENY, **_IN, **_FORWARD)), ["a forward ingress deny"], "policy default.f denies"),
    ("out -> w1 tcp 80", (_HEP_A, policy("n", "role == 'host'", ingress=_DENY, **_IN)), ["a normal ingress allow"], "profile all"),
    ("w1 -> out tcp 80", (_HEP_A, policy("f", "role == 'host'", egress=_DENY, **_OUT, **_FORWARD)), ["a normal egress allow", "a forward egress deny"], "policy default.f"),
    ("w1 -> out tcp 80", (_HEP_STAR, policy("f", "role == 'host'", ingress=_DENY, **_IN, **_FORWARD)), ["a forward ingress deny"], "policy default.f"),
    ("w1 -> w2 tcp 80", (_HEP_STAR, policy("f", "role == 'host'", egress=_DENY, **_OUT, **_FORWARD)), ["a normal egress allow", "a normal ingress allow", "a forward egress deny"], "policy default.f"),
    ("w1 -> r1 tcp 80", (_HEP_B, policy("f", "role == 'host'", ingress=_DENY, **_IN, **_FORWARD)), ["a normal egress allow", "b normal ingress allow"], "profile all"),
    ("w1 -> r1 tcp 80", (_HEP_TUNNEL, policy("f", "role == 'host'", ingress=_DENY, **_IN, **_FORWARD)), ["a normal egress allow", "b forward ingress deny"], "policy default.f"),
    ("out -> w1 tcp 80", (_HEP_A, policy("f", "role == 'host'", ingress=[rule("Pass")], **_IN, **_FORWARD)), ["a forward ingress continue", "a normal ingress allow"], "profile all"),
    ("out -> b tcp 80", (_HEP_B, policy("u", "role == 'host'", ingress=[rule()], doNotTrack=True, **_IN, **_FORWARD)), ["b untracked ingress allow"], "policy default.u allows"),
    ("out -> b tcp 80", (_HEP_B, policy("u", "role == 'host'", ingress=_DENY, doNotTrack=True, **_IN, **_FORWARD)), ["b untracked ingress deny"], "policy default.u denies"),
    ("out -> b tcp 80", (_HEP_B, policy("u", "role == 'host'", doNotTrack=True, **_IN, **_FORWARD)), ["b untracked ingress continue", "b normal ingress deny"], "no profile"),
    ("out -> a tcp 80", (_HEP_STAR, policy("u", "role == 'host'", ingress=_DENY, doNotTrack=True, **_IN, **_FORWARD)), ["a normal ingress deny"], "no profile"),
    ("out -> b tcp 22", (_HEP_B, policy("u", "role == 'host'", ingress=_DENY, doNotTrack=True, **_IN, **_FORWARD)), ["b untracked ingress allow", "b normal ingress allow"], "failsafe"),
    ("out -> b tcp 80", (_HEP_B, policy("d", "role == 'host'", ingress=_DENY, preDNAT=True, **_IN, **_FORWARD)), ["b pre-DNAT ingress deny"], "policy default.d"),
    ("out -> b tcp 80", (_HEP_B, policy("d", "role == 'host'", ingress=[rule()], preDNAT=True, **_IN, **_FORWARD)), ["b pre-DNAT ingress allow"], "policy default.d"),
    ("out -> b tcp 80", (_HEP_B, policy("u", "role == 'host'", ingress=[rule()], doNotTrack=True, **_IN, **_FORWARD), policy("d", "role == 'host'", ingress=_DENY, preDNAT=True, **_IN, **_FORWARD)), ["b untracked ingress allow"], "policy default.u allows"),
    ("out -> w1 tcp 80", (_HEP_A, policy("u", "role == 'host'", ingress=[rule()], doNotTrack=True, **_IN, **_FORWARD), policy("f", "role == 'host'", ingress=_DENY, **_IN, **_FORWARD)), ["a untracked ingress allow", "a normal ingress allow"], "policy default.u allows"),
    ("out -> w1 tcp 80", (_HEP_A, policy("d", "role == 'host'", ingress=[rule()], preDNAT=True, **_IN, **_FORWARD), policy("f", "role == 'host'", ingress=_DENY, **_IN, **_FORWARD)), ["a pre-DNAT ingress allow", "a normal ingress allow"], "policy default.d allows"),
    ("w1 -> r1 tcp 80", (_HEP_TUNNEL, pool("p", "10.0.0.0/16", vxlan="CrossSubnet"), policy("f", "role == 'host'", ingress=_DENY, **_IN, **_FORWARD)), ["a normal egress allow", "b normal ingress allow"], "profile all"),
    ("w1 -> out tcp 80", (_HEP_STAR, policy("d", "role == 'host'", ingress=_DENY, preDNAT=True, **_IN, **_FORWARD)), ["a pre-DNAT ingress deny"], "policy default.d"),
    ("w1 -> out tcp 80", (_HEP_A, policy("d", "role == 'host'", ingress=_DENY, preDNAT=True, **_IN, **_FORWARD)), ["a normal egress allow"], "profile all"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "items", "stages", "why"), WAYS)
def test_a_way_through_the_cluster(words: str, items: Sequence[Item], stages: list[str], why: str) -> None:
    found = _trace(words, items)
    assert _told(found) == stages
    assert found.verdict == ("deny" if stages[-1].endswith("deny") else "allow")
    assert why in found.why


@pytest.mark.parametrize(("action", "verdict"), [("RETURN", "allow"), ("ACCEPT", "allow"), ("DROP", "deny")])
def test_what_happens_to_workloads_that_talk_to_their_host(action: Any, verdict: str) -> None:
    settings = Settings(default_endpoint_to_host_action=action)
    assert _trace("w1 -> a tcp 80", (), settings).verdict == verdict


def test_finding_neighbours_is_always_allowed() -> None:
    places = {**_PLACES, "a": (Place("a"), "fe80::1")}
    source, address = places["w1v6"]
    packet = Packet("fe80::5", "fe80::1", 58, icmp=Icmp(135, 0))
    assert address == "fd00::1"
    found = trace(packet, source, places["a"][0], _views(_CLUSTER, Settings()), {"a": "eth0", "b": "eth0"})
    assert found.verdict == "allow"
    assert found.stages[-1].steps[0].name == "neighbours"


def test_every_step_says_why_in_order() -> None:
    first = policy("p", "app == 'db'", order=1, ingress=[rule(source={"selector": "app == 'x'"}), *_HTTP_ONLY], **_IN)
    found = _trace("w1 -> w2 tcp 80", (first,)).stages[-1]
    assert [(step.what, step.name, step.rule, step.result) for step in found.steps] == [
        ("policy", "default.p", 1, "no match"),
        ("policy", "default.p", 2, "allow"),
    ]
    assert found.steps[0].why == 'source 10.0.0.1 is not selected by app == "x"'


def test_what_leaves_a_pool_is_seen_with_the_nodes_address() -> None:
    only_pool = policy("p", "role == 'host'", ingress=[rule(source={"nets": ["10.0.0.0/16"]})], **_IN)
    assert _trace("w1 -> b tcp 80", (_HEP_B, only_pool)).verdict == "deny"
    only_node = policy("p", "role == 'host'", ingress=[rule(source={"nets": ["192.168.0.1/32"]})], **_IN)
    assert _trace("w1 -> b tcp 80", (_HEP_B, only_node)).verdict == "allow"


def test_a_floating_address_leads_to_the_workload() -> None:
    floating = workload(
        "b", "r1", "10.0.1.1", profiles=["all"], ipNATs=[{"internalIP": "10.0.1.1", "externalIP": "198.51.100.9"}]
    )
    only_inner = policy("p", "", ingress=[rule(destination={"nets": ["10.0.1.1/32"]})], **_IN)
    views = _views((*_CLUSTER, floating, only_inner), Settings())
    packet = Packet("192.0.2.1", "198.51.100.9", 6, 1, 80)
    assert trace(packet, Place(), _PLACES["r1"][0], views, {"a": "eth0", "b": "eth0"}).verdict == "allow"


def test_an_endpoint_that_is_down_or_not_there() -> None:
    views = _views(_CLUSTER, Settings())
    workloads = views["a"].state.workloads
    workloads[_id("w2")] = workloads[_id("w2")]._replace(active=False)
    packet = Packet("10.0.0.1", "10.0.0.2", 6, 1, 80)
    uplinks = {"a": "eth0", "b": "eth0"}
    found = trace(packet, _PLACES["w1"][0], _PLACES["w2"][0], views, uplinks)
    assert "administratively down" in found.why
    del workloads[_id("w2")]
    found = trace(packet, _PLACES["w1"][0], _PLACES["w2"][0], views, uplinks)
    assert "no endpoint has this interface" in found.why


def test_the_input_values_are_what_places_are_found_by() -> None:
    assert isinstance(decode(_W1[0], stored(_W1[1])), Workload)


def test_the_tunnels_own_packets_meet_what_stands_before_connection_tracking() -> None:
    no_udp = [rule("Deny", protocol="UDP")]
    raw = policy("u", "role == 'host'", ingress=no_udp, doNotTrack=True, **_IN, **_FORWARD)
    found = _trace("w1 -> r1 tcp 80", (_HEP_B, raw))
    assert _told(found) == ["a normal egress allow", "b untracked ingress deny"]
    late = policy("n", "role == 'host'", ingress=no_udp, **_IN, **_FORWARD)
    assert _trace("w1 -> r1 tcp 80", (_HEP_B, late)).verdict == "allow", "the tunnel's rules come before"
    out = policy("u", "role == 'host'", egress=no_udp, doNotTrack=True, **_OUT, **_FORWARD)
    found = _trace("w1 -> r1 tcp 80", (_HEP_A, out))
    assert _told(found) == ["a normal egress allow", "a untracked egress deny"]


def test_answers_from_failsafe_ports_pass_untracked_policy() -> None:
    raw = policy("u", "role == 'host'", ingress=_DENY, doNotTrack=True, **_IN, **_FORWARD)
    views = _views((*_CLUSTER, _HEP_B, raw), Settings())
    answer = Packet("198.51.100.1", "192.168.0.2", 17, 53, 40000)
    uplinks = {"a": "eth0", "b": "eth0"}
    found = trace(answer, Place(), Place("b"), views, uplinks)
    assert _told(found) == ["b untracked ingress allow", "b normal ingress deny"], (
        "tracking alone knows it for an answer"
    )
    found = trace(answer._replace(source_port=54), Place(), Place("b"), views, uplinks)
    assert _told(found) == ["b untracked ingress deny"]
