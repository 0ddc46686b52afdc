"""The warning before a node is cut from etcd: when it comes, and when it must not."""

from collections.abc import Callable

import pytest

from .conftest import Calicoctl

Write = Callable[..., str]
_NONE = ("failsafeInboundHostPorts: []", "failsafeOutboundHostPorts: []")
_ETCD = "10.0.0.1"


@pytest.fixture
def node(calicoctl: Calicoctl, resource: Write) -> Calicoctl:
    """A node with a host endpoint that allows everything, and no failsafe ports."""
    calicoctl.environment = {"ETCD_ENDPOINTS": f"http://{_ETCD}:2379"}
    calicoctl.apply(
        resource(
            "HostEndpoint", "n-eth0", "node: n", "interfaceName: eth0", "profiles: [projectcalico-default-allow]"
        ).replace("  name: n-eth0\n", "  name: n-eth0\n  labels: {role: agent}\n")
        + resource("FelixConfiguration", "default", *_NONE)
    )
    return calicoctl


def _policy(resource: Write, *spec: str, name: str = "p") -> str:
    return resource("GlobalNetworkPolicy", name, *spec)


_ALLOW = "egress: [{action: Allow, protocol: TCP, destination: {ports: [2379]}}]"


@pytest.mark.parametrize(
    "spec",
    [
        ("types: [Egress]",),
        ("types: [Egress]", "selector: role == 'agent'"),
        ("egress: [{action: Deny}]",),
        ("egress: [{action: Deny, destination: {selector: has(x)}}, {action: Allow}]",),
        ("egress: [{action: Allow, protocol: UDP}]",),
        ("egress: [{action: Allow, protocol: TCP, destination: {ports: [2380]}}]",),
        ("egress: [{action: Allow, protocol: TCP, destination: {ports: ['etcd']}}]",),
        ("egress: [{action: Allow, destination: {selector: has(etcd)}}]",),
        ("egress: [{action: Allow, destination: {nets: [10.1.0.0/16]}}]",),
        ("egress: [{action: Allow, destination: {notNets: [10.0.0.0/16]}}]",),
        ("egress: [{action: Allow, ipVersion: 6}]",),
        (
            "egress: [{action: Deny, protocol: TCP, destination: {ports: ['1:4000']}}]",
            "doNotTrack: true",
            "applyOnForward: true",
        ),
    ],
)
def test_a_policy_that_may_close_the_way_warns_and_is_applied(
    node: Calicoctl, resource: Write, spec: tuple[str, ...]
) -> None:
    result = node("apply", "-f", node.file(_policy(resource, *spec)))
    assert result.code == 0, result
    assert "f.yaml:1: GlobalNetworkPolicy(p) would cut node n from etcd: egress of TCP port 2379" in result.err
    assert result.err.count("\n") == 1
    assert node.client.get("GlobalNetworkPolicy", "p")


@pytest.mark.parametrize(
    "spec",
    [
        (_ALLOW,),
        ("egress: [{action: Allow}]",),
        ("egress: [{action: Log}, {action: Allow, protocol: 6, destination: {nets: [10.0.0.0/24]}}]",),
        ("egress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}, {action: Pass}]",),
        ("egress: [{action: Deny, destination: {nets: [192.168.0.0/16]}}, {action: Allow, notProtocol: UDP}]",),
        ("types: [Egress]", "selector: role == 'other'"),
        ("types: [Egress]", "namespaceSelector: all()"),
        ("types: [Ingress]",),  # the node holds none of etcd's addresses
        ("egress: [{action: Deny, protocol: UDP}]", "doNotTrack: true", "applyOnForward: true"),
    ],
)
def test_a_policy_that_leaves_the_way_open_is_silent(node: Calicoctl, resource: Write, spec: tuple[str, ...]) -> None:
    result = node("apply", "-f", "-", stdin=_policy(resource, *spec))
    assert (result.code, result.err) == (0, "")


def test_failsafe_ports_keep_the_way_open(node: Calicoctl, resource: Write) -> None:
    node("delete", "felixconfig", "default")
    assert node("apply", "-f", "-", stdin=_policy(resource, "types: [Egress]")).err == ""
    result = node("apply", "-f", "-", stdin=resource("FelixConfiguration", "node.n", *_NONE))
    assert "FelixConfiguration(node.n) would cut node n from etcd" in result.err


def test_an_earlier_policy_that_allows_is_enough_until_it_is_deleted(node: Calicoctl, resource: Write) -> None:
    node.apply(_policy(resource, "order: 1", _ALLOW, name="etcd"))
    assert node("apply", "-f", "-", stdin=_policy(resource, "order: 2", "egress: [{action: Deny}]")).err == ""
    assert "deleting GlobalNetworkPolicy(etcd) would cut node n" in node("delete", "gnp", "etcd").err


def test_a_master_needs_etcds_ports_inwards_too(node: Calicoctl, resource: Write) -> None:
    node.apply(resource("Node", "n", f"bgp: {{ipv4Address: {_ETCD}/24}}"))
    result = node("apply", "-f", "-", stdin=_policy(resource, "types: [Ingress]"))
    assert "ingress of TCP port 2379" in result.err
    assert "ingress of TCP port 2380" in result.err
    assert "failsafeInboundHostPorts" in result.err


def test_a_new_host_endpoint_without_rules_is_closed(node: Calicoctl, resource: Write) -> None:
    result = node("apply", "-f", "-", stdin=resource("HostEndpoint", "m-eth0", "node: m", "interfaceName: eth0"))
    assert "HostEndpoint(m-eth0) would cut node m from etcd" in result.err


def test_labels_and_patches_can_cut_as_well(node: Calicoctl, resource: Write) -> None:
    node.apply(_policy(resource, "selector: has(locked)", "types: [Egress]"))
    assert "would cut node n" in node("label", "hep", "n-eth0", "locked=yes").err
    assert node("label", "hep", "n-eth0", "locked", "--remove").err == ""
    assert "would cut node n" in node("patch", "gnp", "p", "-p", '{"spec": {"selector": "all()"}}').err


def test_what_is_cut_already_is_not_told_again(node: Calicoctl, resource: Write) -> None:
    assert "would cut" in node("apply", "-f", "-", stdin=_policy(resource, "types: [Egress]")).err
    assert node("apply", "-f", "-", stdin=_policy(resource, "types: [Egress]", name="q")).err == ""


def test_without_host_endpoints_there_is_nothing_to_cut(calicoctl: Calicoctl, resource: Write) -> None:
    calicoctl.apply(resource("FelixConfiguration", "default", *_NONE))
    assert calicoctl("apply", "-f", "-", stdin=_policy(resource, "types: [Egress]")).err == ""
