"""Resources as etcd holds them, in a line each: what the tests of felix build their datastores of."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from calico.model.keys import BlockKey, ResourceKey
from calico.model.kinds import KINDS, PREFIXED
from calico.model.workloadendpoint import Identity

Document = dict[str, Any]
Item = tuple[str, Document]
"""A key of etcd and the value under it."""


def resource(kind: str, name: str, spec: Document, namespace: str = "", labels: Mapping[str, str] = {}) -> Item:
    """Any resource, by the name a user knows."""
    key = ResourceKey(kind, name, namespace).path
    stored = key.rpartition("/")[2] if kind in PREFIXED else name
    metadata: Document = {"name": stored, "creationTimestamp": None}
    if namespace:
        metadata["namespace"] = namespace
    if labels:
        metadata["labels"] = dict(labels)
    assert KINDS[kind].namespaced == bool(namespace)
    return key, {"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": metadata, "spec": spec}


def workload(
    node: str,
    name: str,
    *addresses: str,
    labels: Mapping[str, str] = {},
    profiles: Sequence[str] = (),
    ports: Sequence[tuple[str, str, int]] = (),
    namespace: str = "default",
    **more: Any,
) -> Item:
    """A workload endpoint of orchestrator `libnetwork`, on interface `cali<name>`."""
    spec: Document = {
        "orchestrator": "libnetwork",
        "workload": "libnetwork",
        "node": node,
        "endpoint": name,
        "interfaceName": f"cali{name}",
        "ipNetworks": [f"{one}/{128 if ':' in one else 32}" for one in addresses],
        **more,
    }
    if profiles:
        spec["profiles"] = list(profiles)
    if ports:
        spec["ports"] = [{"name": port, "protocol": protocol, "port": number} for port, protocol, number in ports]
    full = Identity(node, "libnetwork", "libnetwork", name).name()
    carried = {
        **labels,
        "projectcalico.org/namespace": namespace,
        "projectcalico.org/orchestrator": "libnetwork",
    }
    return resource("WorkloadEndpoint", full, spec, namespace, carried)


def host_endpoint(
    node: str,
    name: str,
    interface: str = "",
    *addresses: str,
    labels: Mapping[str, str] = {},
    profiles: Sequence[str] = (),
    ports: Sequence[tuple[str, str, int]] = (),
) -> Item:
    """A host endpoint."""
    spec: Document = {"node": node}
    if interface:
        spec["interfaceName"] = interface
    if addresses:
        spec["expectedIPs"] = list(addresses)
    if profiles:
        spec["profiles"] = list(profiles)
    if ports:
        spec["ports"] = [{"name": port, "protocol": protocol, "port": number} for port, protocol, number in ports]
    return resource("HostEndpoint", name, spec, labels=labels)


def rule(action: str = "Allow", **members: Any) -> Document:
    """A rule; `source` and `destination` are there in any case."""
    return {"action": action, "source": {}, "destination": {}, **members}


def policy(name: str, selector: str = "", namespace: str = "", **spec: Any) -> Item:
    """A network policy: of a namespace where one is given, else global."""
    kind = "NetworkPolicy" if namespace else "GlobalNetworkPolicy"
    body = {"selector": selector, **spec} if selector else dict(spec)
    return resource(kind, name, body, namespace)


def profile(
    name: str,
    ingress: Sequence[Document] = (),
    egress: Sequence[Document] = (),
    labels: Mapping[str, str] = {},
) -> Item:
    """A profile."""
    spec = {"ingress": list(ingress), "egress": list(egress), "labelsToApply": dict(labels)}
    return resource("Profile", name, {name: value for name, value in spec.items() if value})


def network_set(name: str, *nets: str, labels: Mapping[str, str] = {}, namespace: str = "") -> Item:
    """A network set: of a namespace where one is given, else global."""
    kind = "NetworkSet" if namespace else "GlobalNetworkSet"
    return resource(kind, name, {"nets": list(nets)}, namespace, labels)


def node(name: str, address: str = "", tunnel: str = "", mac: str = "", ipip: str = "", address6: str = "") -> Item:
    """A node; `tunnel` is its VXLAN address."""
    bgp = {"ipv4Address": address, "ipv6Address": address6, "ipv4IPIPTunnelAddr": ipip}
    spec: Document = {"ipv4VXLANTunnelAddr": tunnel, "vxlanTunnelMACAddr": mac}
    spec = {member: value for member, value in spec.items() if value}
    if any(bgp.values()):
        spec["bgp"] = {member: value for member, value in bgp.items() if value}
    return resource("Node", name, spec)


def pool(name: str, cidr: str, vxlan: str = "Never", ipip: str = "Never", nat: bool = False, **more: Any) -> Item:
    """An IP pool."""
    return resource("IPPool", name, {"cidr": cidr, "vxlanMode": vxlan, "ipipMode": ipip, "natOutgoing": nat, **more})


def block(cidr: str, owner: str = "", held: Mapping[int, str | None] = {}) -> Item:
    """An allocation block; `held` has, by ordinal, the node in an allocation's notes (None: it has no notes)."""
    size = 1 << (32 - int(cidr.partition("/")[2]))
    attributes: list[Document] = []
    allocations: list[int | None] = [None] * size
    for ordinal, holder in held.items():
        allocations[ordinal] = len(attributes)
        attributes.append({"handle_id": None, "secondary": None if holder is None else {"node": holder}})
    free = [ordinal for ordinal in range(size) if ordinal not in held]
    affinity = f"host:{owner}" if owner else None
    value = {"cidr": cidr, "affinity": affinity, "strictAffinity": False, "deleted": False}
    return BlockKey(cidr).path, {**value, "allocations": allocations, "unallocated": free, "attributes": attributes}


def stored(document: Document) -> bytes:
    """The bytes etcd holds."""
    return json.dumps(document).encode()
