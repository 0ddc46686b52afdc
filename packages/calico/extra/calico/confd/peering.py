"""Who this node's BIRD speaks to: the mesh, and what BGPPeers give it, from either end.

A BGPPeer has two sides. Its local side is the nodes that `node` or `nodeSelector` name, or every node (then it is
*global*); its remote side is `peerIP`, or the nodes that `peerSelector` matches. Every local node peers with every
remote one, and, where the remote one is a node too, the other way round: peerings are symmetric without a second
BGPPeer.

Two sessions with one neighbour hinder each other in BIRD, so each address gets one, in this order: a global BGPPeer's,
a node's own, the reverse of one, the mesh's. Within one step the resource that comes first by name wins.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from calico.confd.cluster import Cluster, Node
from calico.model import formats
from calico.model.bgppeer import BGPPeerSpec
from calico.model.problems import Problem
from calico.model.resource import resource_id
from calico.selector.parser import Selector, parse

KINDS = {"Global": "global", "Node": "node specific", "Mesh": "node-to-node mesh"}
"""The beginnings of session names, and what calicoctl calls each."""


class Peer(NamedTuple):
    """One neighbour. `origin` is the BGPPeer that gives it, empty for the mesh; `cluster_id` is the neighbour's."""

    kind: str
    address: str
    as_number: int
    cluster_id: str = ""
    password_file: str = ""
    origin: str = ""

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.address else 4


class Peerings(NamedTuple):
    """The neighbours of a node in the order of their addresses, and what is wrong with those left out."""

    peers: tuple[Peer, ...]
    problems: tuple[Problem, ...]


def peerings(cluster: Cluster, own: Node) -> Peerings:
    """Every neighbour of `own`."""
    choice = _Choice(cluster, own)
    specs = sorted(cluster.peers.items())
    for name, spec in specs:
        if _is_global(spec):
            choice.offer(_remote_side(cluster, choice, name, spec, "Global"))
    for name, spec in specs:
        if not _is_global(spec) and _is_local(own, spec):
            choice.offer(_remote_side(cluster, choice, name, spec, "Node"))
    for name, spec in specs:
        choice.offer(_reverse(cluster, own, name, spec))
    if cluster.has_mesh:
        choice.offer_mesh(_mesh(cluster, choice.owners, own))
    return choice.result()


class _Choice:
    """The peers chosen so far, and what was wrong with others."""

    def __init__(self, cluster: Cluster, own: Node) -> None:
        self.own = own
        self.owners: dict[str, Node] = {}
        self._cluster = cluster
        self._chosen: dict[str, Peer] = {}
        self._problems: list[Problem] = []
        for _, node in sorted(cluster.nodes.items()):
            for address in (node.ipv4, node.ipv6):
                if address and self.owners.setdefault(address, node) is not node:
                    self._report_shared(address, node)

    def report(self, peer: str, member: str, message: str, hint: str) -> None:
        """Something is wrong with a BGPPeer."""
        self._problems.append(Problem(resource_id("BGPPeer", "", peer), ("spec", member), message, hint))

    def offer(self, peers: Iterable[Peer]) -> None:
        """Peers of one BGPPeer; those of neighbours that have one already are left out."""
        for peer in peers:
            if peer.address in (self.own.ipv4, self.own.ipv6):
                continue
            present = self._chosen.get(peer.address)
            if present is None:
                self._chosen[peer.address] = peer
                self._check_as(peer)
            elif (present.as_number, present.password_file) != (peer.as_number, peer.password_file):
                self._report_duplicate(peer, present)

    def offer_mesh(self, peers: Iterable[Peer]) -> None:
        """The mesh's peers: they give way to explicit ones, unless those cannot work."""
        for peer in peers:
            present = self._chosen.get(peer.address)
            if present is None or present.as_number != peer.as_number:
                self._chosen[peer.address] = peer

    def _report_shared(self, address: str, node: Node) -> None:
        message = f"{address} is the address of node {self.owners[address].name} too, which keeps it"
        hint = f"calicoctl delete node {node.name}, if it is gone; else give it an address of its own"
        where = resource_id("Node", "", node.name)
        self._problems.append(Problem(where, ("spec", "bgp"), message, hint))

    def _check_as(self, peer: Peer) -> None:
        node = self.owners.get(peer.address)
        as_number = self._cluster.as_of(node) if node else peer.as_number
        if node and as_number != peer.as_number:
            message = f"{peer.as_number} is not the AS of {peer.address}, which is node {node.name} in AS {as_number}"
            self.report(peer.origin, "asNumber", message, f"give {as_number}, or leave peerIP out for a peerSelector")

    def _report_duplicate(self, peer: Peer, present: Peer) -> None:
        if peer.origin == present.origin:
            return
        member = "asNumber" if peer.as_number != present.as_number else "passwordFile"
        message = f"neighbour {peer.address} has another {member} than in BGPPeer({present.origin}), which is used"
        self.report(peer.origin, member, message, "delete one of the two, or make them agree")

    def result(self) -> Peerings:
        """All that was chosen."""
        peers = sorted(self._chosen.values(), key=lambda peer: (peer.version, peer.address))
        return Peerings(tuple(peers), tuple(dict.fromkeys(self._problems)))


def _is_global(spec: BGPPeerSpec) -> bool:
    return not spec.node and not spec.node_selector


@lru_cache(1024)
def _selector(text: str) -> Selector:
    return parse(text)


def _matching(cluster: Cluster, text: str) -> list[str]:
    """The names of the nodes a selector matches; none for a selector that cannot be read."""
    if formats.selector(text):
        return []
    matches = _selector(text).matches
    return sorted(name for name, node in cluster.nodes.items() if matches(node.labels))


def _is_local(own: Node, spec: BGPPeerSpec) -> bool:
    return _selects(spec.node_selector, own) if spec.node_selector else spec.node == own.name


def _local_side(cluster: Cluster, spec: BGPPeerSpec) -> list[str]:
    if spec.node_selector:
        return _matching(cluster, spec.node_selector)
    if spec.node:
        return [spec.node]
    return sorted(cluster.nodes)


def _remote_side(cluster: Cluster, choice: _Choice, name: str, spec: BGPPeerSpec, kind: str) -> Iterator[Peer]:
    """The neighbours a BGPPeer gives to a node of its local side."""
    for member, text in (("nodeSelector", spec.node_selector), ("peerSelector", spec.peer_selector)):
        if text and (message := formats.selector(text)):
            choice.report(name, member, f"{text!r}: {message}", "no node matches it until it is mended")
    if spec.peer_selector:
        for node in map(cluster.nodes.__getitem__, _matching(cluster, spec.peer_selector)):
            if not node.ipv4 and not node.ipv6 and node.name != choice.own.name:
                hint = f"start dcos-calico-node on {node.name}, or take it out of the selector"
                choice.report(name, "peerSelector", f"node {node.name} has no address to peer with", hint)
            yield from _addresses(cluster, node, kind, name, spec)
        return
    address = formats.parse_ip(spec.peer_ip)
    if address is None:
        message = f"{spec.peer_ip!r} is no address" if spec.peer_ip else "a peer needs peerIP or peerSelector"
        choice.report(name, "peerIP", message, "no session is made for it")
    elif not choice.own.address(address.version):
        message = f"{address}: node {choice.own.name} has no IPv{address.version} address to speak from"
        choice.report(name, "peerIP", message, f"set spec.bgp.ipv{address.version}Address of the node")
    else:
        yield Peer(kind, str(address), spec.as_number or cluster.as_number, "", spec.password_file, name)


def _addresses(
    cluster: Cluster, node: Node, kind: str, origin: str, spec: BGPPeerSpec, versions: tuple[int, ...] = (4, 6)
) -> Iterator[Peer]:
    for version in versions:
        if address := node.address(version):
            yield Peer(kind, address, cluster.as_of(node), node.cluster_id, spec.password_file, origin)


def _reverse(cluster: Cluster, own: Node, name: str, spec: BGPPeerSpec) -> Iterator[Peer]:
    """The neighbours a BGPPeer gives to `own` as a node of its remote side."""
    versions: tuple[int, ...] = (4, 6)
    if spec.peer_selector:
        if not _selects(spec.peer_selector, own):
            return
    else:
        address = str(formats.parse_ip(spec.peer_ip) or "")
        if address not in (own.ipv4, own.ipv6) or not address:
            return
        if (spec.as_number or cluster.as_number) != cluster.as_of(own):
            return
        versions = (6,) if ":" in address else (4,)
    for other in _local_side(cluster, spec):
        if (node := cluster.nodes.get(other)) is not None:
            yield from _addresses(cluster, node, "Node", name, spec, versions)


def _selects(text: str, node: Node) -> bool:
    return not formats.selector(text) and _selector(text).matches(node.labels)


def _mesh(cluster: Cluster, owners: Mapping[str, Node], own: Node) -> Iterator[Peer]:
    """Every other node. In IPv6 the mesh leaves out route reflectors, which peer by BGPPeers alone."""
    for address, node in owners.items():
        reflects = node.cluster_id or own.cluster_id
        if node.name != own.name and own.address(6 if ":" in address else 4) and not (":" in address and reflects):
            yield Peer("Mesh", address, cluster.as_of(node), node.cluster_id)
