"""A cluster as the datastore has it: who is who, and the view of any of its nodes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from calico.datastore.syncer import Update
from calico.felix.calc.cluster import bare
from calico.felix.calc.graph import Graph
from calico.felix.calc.inputs import HostEnd, Node, Workload
from calico.felix.config.sources import Source
from calico.felix.configuration import Configuration
from calico.felix.state import State
from calico.felix.trace.matching import Packet
from calico.felix.trace.path import View
from calico.felix.trace.route import IPIP_DEVICE, VXLAN_DEVICE, Place, Trace, device_to, trace
from calico.model.formats import parse_ip

UPLINK = "(uplink)"
"""Stands for the interface that leads to other nodes, where nobody says what it is called."""


class UnknownEndError(Exception):
    """Nothing in the cluster is called like this, or several things are."""


class End(NamedTuple):
    """An end of a connection as a user named it: where it is, its addresses, and what to call it."""

    place: Place
    addresses: tuple[str, ...]
    name: str


class Cluster:
    """What the datastore holds at one moment.

    `everywhere` are the sources of configuration beside it that all nodes have; `local`, which may be set, are those of
    single nodes.
    """

    def __init__(self, updates: Iterable[Update], everywhere: Sequence[Source] = ()) -> None:
        self._updates, self._everywhere = list(updates), tuple(everywhere)
        self.local: Mapping[str, Sequence[Source]] = {}
        values = [update.value for update in self._updates]
        self._workloads = [one for one in values if isinstance(one, Workload)]
        self._hosts = [one for one in values if isinstance(one, HostEnd)]
        self.nodes: Mapping[str, Node] = {one.name: one for one in values if isinstance(one, Node)}

    def find(self, text: str, namespace: str = "default") -> End:
        """The end that an address, a node's name or a workload endpoint's name means. Raises UnknownEndError.

        A workload endpoint goes by its resource's name, with or without its namespace, by its endpoint or container
        part, or by its interface. An address that nobody in the cluster has is outside of it.
        """
        text = str(parse_ip(text) or text)
        found = [one for one in self._workloads if text in one.nets or text in _names(one, namespace)]
        if len(found) > 1:
            told = ", ".join(sorted(one.name for one in found))
            raise UnknownEndError(f"{text} may be any of {told}: give the whole name")
        if found:
            return End(Place(found[0].node, found[0].id), found[0].nets, found[0].name)
        for node in self.nodes.values():
            if text == node.name or text in _addresses(node):
                return End(Place(node.name), (text,) if text in _addresses(node) else _addresses(node), node.name)
        if is_address(text):
            return End(Place(), (text,), text)
        raise UnknownEndError(
            f"{text} is no address, no node and no workload endpoint (calicoctl get wep -a lists them)"
        )

    def view(self, node: str, uplink: str = UPLINK) -> View:
        """What a node has to enforce."""
        graph, state = Graph(node), State()
        graph.update(self._updates)
        state.apply(graph.flush())
        configuration = Configuration((*self.local.get(node, ()), *self._everywhere), node)
        for update in self._updates:
            configuration.update(update)
        settings = configuration.resolve().settings._replace(hostname=node)
        return View(node, state, settings, self._interfaces(node, uplink), graph.describe)

    def uplink(self, node: str) -> str:
        """The interface that leads to other nodes: the one that host endpoints of the node name, where it is one."""
        named = {one.interface for one in self._hosts if one.node == node} - {"", "*", VXLAN_DEVICE, IPIP_DEVICE}
        return named.pop() if len(named) == 1 else UPLINK

    def trace(self, packet: Packet, source: End, destination: End, uplink: str = "") -> Trace:
        """Follow a packet from one end to the other; `uplink` where the user says what it is called."""
        nodes = sorted({source.place.node, destination.place.node} - {""})
        uplinks = {node: uplink or self.uplink(node) for node in nodes}
        views = {node: self.view(node, uplinks[node]) for node in nodes}
        if not source.place.workload and source.place.node in views:
            packet = packet._replace(source=self._own_source(views[source.place.node], packet))
        return trace(packet, source.place, destination.place, views, uplinks)

    def _own_source(self, view: View, packet: Packet) -> str:
        """The address a node sends from: its tunnel's, where the packet leaves by one."""
        node = self.nodes[view.node]
        by_device = {VXLAN_DEVICE: node.vxlan_address, IPIP_DEVICE: node.ipip_address}
        return by_device.get(device_to(view, packet.destination), "") or packet.source

    def _interfaces(self, name: str, uplink: str) -> dict[str, frozenset[str]]:
        node = self.nodes.get(name)
        if node is None:
            return {}
        own = frozenset(one for one in (bare(node.address4), bare(node.address6)) if one)
        tunnels = {VXLAN_DEVICE: node.vxlan_address, IPIP_DEVICE: node.ipip_address}
        return {uplink: own, **{device: frozenset([address]) for device, address in tunnels.items() if address}}


def pair(source: End, destination: End) -> tuple[str, str]:
    """An address of each end, of one family. Raises UnknownEndError where they have none in common."""
    for here, there in _pairs(source, destination):
        return here, there
    raise UnknownEndError(f"{source.name} and {destination.name} have no addresses of the same family")


def _pairs(source: End, destination: End) -> Iterator[tuple[str, str]]:
    for version in (False, True):
        here = next((one for one in source.addresses if (":" in one) == version), "")
        there = next((one for one in destination.addresses if (":" in one) == version), "")
        if here and there:
            yield here, there


def _names(workload: Workload, namespace: str) -> tuple[str, ...]:
    own, _, name = workload.name.partition("/")
    container = workload.id.workload.removeprefix(f"{own}/")
    return (workload.name, workload.id.endpoint, workload.interface, container, *((name,) if own == namespace else ()))


def _addresses(node: Node) -> tuple[str, ...]:
    found = (bare(node.address4), bare(node.address6), node.vxlan_address, node.ipip_address)
    return tuple(dict.fromkeys(one for one in found if one))


def is_address(text: str) -> bool:
    """Whether a text is a bare IP address."""
    return parse_ip(text) is not None
