"""What confd knows of the cluster: the stream of the datastore, gathered into one value.

Nodes are read once, when they arrive, into what peering asks of them: a change of one node among a thousand must not
parse a thousand addresses again.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from calico.client.values import decode_resource
from calico.datastore.syncer import Decoder, Update
from calico.model import formats
from calico.model.bgpconfiguration import BGPConfigurationSpec
from calico.model.bgppeer import BGPPeerSpec
from calico.model.ipam import Affinity
from calico.model.ippool import IPPoolSpec
from calico.model.keys import HOSTS, AffinityKey, ResourceKey, list_prefix, parse_key
from calico.model.node import NodeSpec
from calico.model.problems import ModelError, Problem
from calico.model.resource import Resource, resource_id
from calico.model.values import decode_value

KINDS = ("Node", "BGPPeer", "BGPConfiguration", "IPPool")
DEFAULT_AS = 64512


class Node(NamedTuple):
    """A node as BGP sees it. Addresses are canonical text without a length, empty where there is none; `as_number` 0
    stands for the cluster's; `problems` are of the node's own values, which count as absent."""

    name: str
    labels: Mapping[str, str] = {}
    as_number: int = 0
    ipv4: str = ""
    ipv6: str = ""
    cluster_id: str = ""
    problems: tuple[Problem, ...] = ()

    def address(self, version: int) -> str:
        """Its address in one family."""
        return self.ipv4 if version == 4 else self.ipv6


class Cluster(NamedTuple):
    """Everything a configuration follows from, at one moment. `affinities` are this node's blocks by CIDR; `unreadable`
    are keys of the datastore whose values could not be read, with the reason."""

    nodes: Mapping[str, Node] = {}
    peers: Mapping[str, BGPPeerSpec] = {}
    configurations: Mapping[str, BGPConfigurationSpec] = {}
    pools: Mapping[str, IPPoolSpec] = {}
    affinities: Mapping[str, Affinity] = {}
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def as_number(self) -> int:
        """The AS of nodes that name none."""
        found = self.configurations.get("default")
        return (found.as_number if found else None) or DEFAULT_AS

    @property
    def has_mesh(self) -> bool:
        """Whether every node peers with every other."""
        found = self.configurations.get("default")
        return found is None or found.node_to_node_mesh_enabled is not False

    def log_level(self, node: str) -> str:
        """BIRD's verbosity on `node`: `debug`, `info` or `none`."""
        for name in (f"node.{node}", "default"):
            found = self.configurations.get(name)
            if found is not None and found.log_severity_screen:
                level = found.log_severity_screen.lower()
                return level if level in ("debug", "info") else "none"
        return "info"

    def as_of(self, node: Node) -> int:
        """The AS of `node`."""
        return node.as_number or self.as_number


def node_of(resource: Resource[NodeSpec]) -> Node:
    """What a Node resource says about BGP."""
    name, bgp = resource.metadata.name, resource.spec.bgp
    if bgp is None:
        return Node(name, resource.metadata.labels)
    problems: list[Problem] = []
    where = resource_id("Node", "", name)

    def address(member: str, text: str, version: int) -> str:
        found = formats.parse_cidr_or_ip(text) if text else None
        if text and (found is None or found[0].version != version):
            hint = f"set it with: calicoctl patch node {name}"
            problems.append(Problem(where, ("spec", "bgp", member), f"{text!r} is no IPv{version} address", hint))
            return ""
        return str(found[0]) if found else ""

    return Node(
        name,
        resource.metadata.labels,
        bgp.as_number or 0,
        address("ipv4Address", bgp.ipv4_address, 4),
        address("ipv6Address", bgp.ipv6_address, 6),
        address("routeReflectorClusterID", bgp.route_reflector_cluster_id, 4),
        tuple(problems),
    )


class Gathering:
    """Applies updates of the stream; `cluster` gives what they add up to. Not for several threads at once."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, Any]] = {kind: {} for kind in (*KINDS, "Affinity")}

    def on_update(self, update: Update) -> bool:
        """Take one update in; whether it changes anything."""
        match parse_key(update.key):
            case ResourceKey(kind, name):
                value = update.value
                if value is not None:
                    value = node_of(value) if kind == "Node" else value.spec
                return self._put(self._members[kind], name, value)
            case AffinityKey(_, cidr):
                return self._put(self._members["Affinity"], cidr, update.value)
        return False

    def _put(self, members: dict[str, Any], name: str, value: Any) -> bool:
        if members.get(name) == value:
            return False
        if value is None:
            del members[name]
        else:
            members[name] = value
        return True

    def cluster(self, unreadable: tuple[tuple[str, str], ...] = ()) -> Cluster:
        """Everything so far."""
        members = self._members
        return Cluster(
            dict(members["Node"]),
            dict(members["BGPPeer"]),
            dict(members["BGPConfiguration"]),
            dict(members["IPPool"]),
            dict(members["Affinity"]),
            unreadable,
        )


def decoders(node: str) -> dict[str, Decoder]:
    """What a syncer reads for the confd of `node`."""
    found: dict[str, Decoder] = {list_prefix(kind): decode_resource for kind in KINDS}
    found[f"{HOSTS}{node}/"] = _decode_affinity
    return found


def _decode_affinity(key: str, value: bytes, _revision: int) -> Affinity | None:
    parsed = parse_key(key)
    if not isinstance(parsed, AffinityKey):
        return None
    try:
        document = json.loads(value or b"{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ValueError("the stored value is not a JSON object")
    try:
        found: Affinity = decode_value(parsed, document)
    except ModelError as error:
        raise ValueError("; ".join(map(str, error.problems))) from None
    return None if found.deleted else found
