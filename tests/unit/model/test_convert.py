"""The deprecated v1 API: what each kind becomes, and what is refused."""

from typing import Any

import pytest

from calico.model import convert
from calico.model.problems import ModelError
from calico.model.resource import encode, validate

SMALLEST: dict[str, dict[str, Any]] = {
    "ipPool": {"metadata": {"cidr": "10.1.0.0/16"}},
    "bgpPeer": {"metadata": {"scope": "global", "peerIP": "192.0.2.9"}, "spec": {"asNumber": 64513}},
    "node": {"metadata": {"name": "n1"}, "spec": {"bgp": {"ipv4Address": "10.0.0.5/24"}}},
    "hostEndpoint": {"metadata": {"name": "eth0", "node": "n1"}, "spec": {"interfaceName": "eth0"}},
    "profile": {"metadata": {"name": "web"}},
    "policy": {"metadata": {"name": "p"}},
    "workloadEndpoint": {
        "metadata": {"name": "eth0", "node": "n1", "orchestrator": "cni", "workload": "c1"},
        "spec": {"interfaceName": "cali1", "ipNetworks": ["10.0.0.1"]},
    },
}


def document(kind: str, metadata: dict[str, Any] | None = None, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    base = SMALLEST[kind]
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {**base["metadata"], **(metadata or {})},
        "spec": {**base.get("spec", {}), **(spec or {})},
    }


def converted(kind: str, metadata: dict[str, Any] | None = None, spec: dict[str, Any] | None = None) -> dict[str, Any]:
    resource = convert.convert(document(kind, metadata, spec))
    assert validate(resource) == []
    return encode(resource)


_RULE = {"action": "Allow", "source": {}, "destination": {}}


@pytest.mark.parametrize(
    ("kind", "metadata", "spec", "becomes", "name", "expected"),
    [
        (
            "ipPool",
            {},
            {},
            "IPPool",
            "10-1-0-0-16",
            {
                "cidr": "10.1.0.0/16",
                "ipipMode": "Never",
                "vxlanMode": "Never",
                "blockSize": 26,
                "nodeSelector": "all()",
            },
        ),
        (
            "ipPool",
            {"name": "mine"},
            {"nat-outgoing": True, "disabled": False},
            "IPPool",
            "mine",
            {"natOutgoing": True},
        ),
        ("ipPool", {"cidr": "fd00:7::/120"}, {}, "IPPool", "fd00-7---120", {"blockSize": 122}),
        ("ipPool", {}, {"ipip": {"enabled": True}}, "IPPool", "10-1-0-0-16", {"ipipMode": "Always"}),
        (
            "ipPool",
            {},
            {"ipip": {"enabled": True, "mode": "cross-subnet"}},
            "IPPool",
            "10-1-0-0-16",
            {"ipipMode": "CrossSubnet"},
        ),
        ("ipPool", {}, {"ipip": {"enabled": False, "mode": "always"}}, "IPPool", "10-1-0-0-16", {"ipipMode": "Never"}),
        ("ipPool", {"cidr": "10.1.0.0/28"}, {"disabled": True}, "IPPool", "10-1-0-0-28", {"disabled": True}),
        ("bgpPeer", {}, {}, "BGPPeer", "192-0-2-9", {"peerIP": "192.0.2.9", "asNumber": 64513}),
        (
            "bgpPeer",
            {"scope": "node", "node": "n1", "peerIP": "fd00::9"},
            {},
            "BGPPeer",
            "n1.fd00-0000-0000-0000-0000-0000-0000-0009",
            {"node": "n1", "peerIP": "fd00::9"},
        ),
        ("node", {"name": "N_1"}, {}, "Node", "n-1", {"bgp": {"ipv4Address": "10.0.0.5/24"}}),
        (
            "hostEndpoint",
            {"labels": {"a": "b"}},
            {},
            "HostEndpoint",
            "n1.eth0",
            {"node": "n1", "interfaceName": "eth0"},
        ),
        (
            "profile",
            {"tags": ["t"], "labels": {"a": "b"}},
            {"ingress": [{}]},
            "Profile",
            "web",
            {"labelsToApply": {"a": "b", "t": ""}, "ingress": [_RULE]},
        ),
        ("profile", {"name": "k8s_ns.web"}, {}, "Profile", "kns.web", {}),
        (
            "policy",
            {"name": "A.b", "annotations": {"x": "y"}},
            {"doNotTrack": True},
            "GlobalNetworkPolicy",
            "a-b-5741d09a",
            {"types": ["Ingress"], "doNotTrack": True, "applyOnForward": True},
        ),
        (
            "policy",
            {},
            {"types": ["egress"], "selector": "calico/k8s_ns == 'a'"},
            "GlobalNetworkPolicy",
            "p",
            {"types": ["Egress"], "selector": "projectcalico.org/namespace == 'a'"},
        ),
        ("workloadEndpoint", {}, {}, "WorkloadEndpoint", "n1-cni-c1-eth0", {"containerID": "c1", "node": "n1"}),
        (
            "workloadEndpoint",
            {"orchestrator": "k8s", "workload": "ns.pod-a", "labels": {"calico/k8s_ns": "ns"}},
            {},
            "WorkloadEndpoint",
            "n1-k8s-pod--a-eth0",
            {"pod": "pod-a"},
        ),
        (
            "workloadEndpoint",
            {"orchestrator": "libnetwork", "workload": "libnetwork"},
            {},
            "WorkloadEndpoint",
            "n1-libnetwork-libnetwork-eth0",
            {"workload": "libnetwork"},
        ),
    ],
)
def test_a_v1_document_becomes_its_v3_resource(
    kind: str, metadata: dict[str, Any], spec: dict[str, Any], becomes: str, name: str, expected: dict[str, Any]
) -> None:
    result = converted(kind, metadata, spec)
    assert (result["kind"], result["metadata"]["name"]) == (becomes, name)
    assert {member: result["spec"].get(member) for member in expected} == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"action": "deny"}, {"action": "Deny"}),
        ({"action": "pass"}, {"action": "Pass"}),
        ({"action": "next-tier"}, {"action": "Pass"}),
        (
            {"protocol": "tcp", "destination": {"ports": [80, "1:2"]}},
            {"protocol": "TCP", "destination": {"ports": [80, "1:2"]}},
        ),
        ({"protocol": "udplite"}, {"protocol": "UDPLite"}),
        ({"notProtocol": "icmpv6"}, {"notProtocol": "ICMPv6"}),
        ({"protocol": 17}, {"protocol": 17}),
        ({"source": {"net": "10.1.2.3/8"}}, {"source": {"nets": ["10.0.0.0/8"]}}),
        (
            {"source": {"nets": ["10.1.2.3"], "notNet": "192.0.2.0/24"}},
            {"source": {"nets": ["10.1.2.3/32"], "notNets": ["192.0.2.0/24"]}},
        ),
        ({"source": {"tag": "t"}}, {"source": {"selector": "t == ''"}}),
        ({"source": {"tag": "t", "selector": "a == 'b'"}}, {"source": {"selector": "(a == 'b') && t == ''"}}),
        (
            {"destination": {"notTag": "t", "notSelector": "has(a)"}},
            {"destination": {"notSelector": "(has(a)) && t == ''"}},
        ),
    ],
)
def test_a_v1_rule_becomes_its_v3_rule(rule: dict[str, Any], expected: dict[str, Any]) -> None:
    for kind in ("policy", "profile"):
        assert converted(kind, spec={"egress": [rule]})["spec"]["egress"] == [{**_RULE, **expected}]


@pytest.mark.parametrize(
    ("kind", "metadata", "spec", "member"),
    [
        ("ipPool", {"cidr": "10.1.0.1/16"}, {}, "metadata.cidr"),
        ("ipPool", {"cidr": "10.1.0.0"}, {}, "metadata.cidr"),
        ("ipPool", {"cidr": ""}, {}, "metadata.cidr"),
        ("ipPool", {"cidr": "10.1.0.0/27"}, {}, "metadata.cidr"),
        ("ipPool", {"cidr": "169.254.0.0/16"}, {}, "metadata.cidr"),
        ("ipPool", {"cidr": "fd00::/64"}, {"ipip": {"enabled": True}}, "spec.ipip"),
        ("ipPool", {}, {"natOutgoing": True}, "spec.natOutgoing"),
        ("ipPool", {"label": "x"}, {}, "metadata.label"),
        ("bgpPeer", {"scope": "rack"}, {}, "metadata.scope"),
        ("bgpPeer", {"scope": "node"}, {}, "metadata.node"),
        ("bgpPeer", {"node": "n1"}, {}, "metadata.node"),
        ("bgpPeer", {"peerIP": "x"}, {}, "metadata.peerIP"),
        ("node", {}, {"bgp": {"asNumber": 1, "ipv4Address": ""}}, "spec.bgp"),
        ("node", {"name": "a b"}, {}, "metadata.name"),
        ("hostEndpoint", {"node": ""}, {}, "metadata.node"),
        ("profile", {"labels": {"a": "x" * 64}}, {}, "metadata.labels.a"),
        ("profile", {}, {"ingress": [{"action": "Allow"}]}, "spec.ingress[0].action"),
        ("policy", {}, {"ingress": [{"protocol": "gre"}]}, "spec.ingress[0].protocol"),
        (
            "policy",
            {},
            {"ingress": [{"source": {"net": "10.0.0.0/8", "nets": ["10.0.0.0/8"]}}]},
            "spec.ingress[0].source",
        ),
        (
            "policy",
            {},
            {"ingress": [{"source": {"notNet": "10.0.0.0/8", "notNets": ["10.0.0.0/8"]}}]},
            "spec.ingress[0].source",
        ),
        ("policy", {}, {"preDNAT": True, "doNotTrack": True}, "spec.preDNAT"),
        ("policy", {}, {"preDNAT": True, "egress": [{}]}, "spec.egress"),
        ("policy", {}, {"selector": "a ="}, "spec.selector"),
        ("workloadEndpoint", {"workload": ""}, {}, "metadata.workload"),
    ],
)
def test_a_wrong_v1_document_is_refused_at_its_member(
    kind: str, metadata: dict[str, Any], spec: dict[str, Any], member: str
) -> None:
    with pytest.raises(ModelError) as caught:
        convert.convert(document(kind, metadata, spec), where="old.yaml:1")
    assert any(str(problem).startswith(f"old.yaml:1: {member}: ") for problem in caught.value.problems), caught.value


def test_strict_reads_what_upstream_reads() -> None:
    convert.convert(document("ipPool"), strict=True)
    with pytest.raises(ModelError, match=r"metadata\.name: no such member"):
        convert.convert(document("ipPool", {"name": "mine"}), strict=True)


def test_only_exact_v1_kinds_are_converted() -> None:
    assert convert.is_convertible(document("ipPool"))
    assert not convert.is_convertible({"apiVersion": "v1", "kind": "IPPool"})
    assert not convert.is_convertible({"apiVersion": "projectcalico.org/v3", "kind": "ipPool"})
    with pytest.raises(
        ModelError, match=r"Unknown resource type \(ippool\) and/or version \(v1\) \(did you mean ipPool\?\)"
    ):
        convert.convert({"apiVersion": "v1", "kind": "ippool"})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("web", "web"),
        ("a.b-c", "a.b-c"),
        ("A", "a-6dcd4ce2"),
        ("a/b", "a.b-3ec69c85"),
        ("a_._b", "a.b-"),
        ("_a_", "a-"),
    ],
)
def test_a_name_is_normalised_and_a_changed_one_stays_unique(name: str, expected: str) -> None:
    assert convert.normalise(name).startswith(expected)
    assert (convert.normalise(name) == name) == (expected == name)
