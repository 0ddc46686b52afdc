"""A packet's whole way: from the node of its source to that of its destination."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Literal, NamedTuple

from calico.felix.desired import Route, WorkloadId
from calico.felix.trace.matching import Packet
from calico.felix.trace.path import HOST, Stage, Stop, View, follow, follow_tunnel

VXLAN_DEVICE, IPIP_DEVICE = "vxlan.calico", "tunl0"
_IPIP, _UDP = 4, 17
_SOME_PORT = 49152
"""VXLAN's source port is a hash of what it carries."""


class Place(NamedTuple):
    """An end of a connection: a workload, or else the node itself; without a node something outside of the cluster."""

    node: str = ""
    workload: WorkloadId | None = None

    @property
    def stop(self) -> Stop:
        """Where it is on its node."""
        return Stop(workload=self.workload) if self.workload else HOST


class Trace(NamedTuple):
    """What became of a packet: every stage it met, in order, and the sentence that says what decided."""

    packet: Packet
    stages: tuple[Stage, ...]
    verdict: Literal["allow", "deny"]
    why: str


def trace(
    packet: Packet, source: Place, destination: Place, views: Mapping[str, View], uplinks: Mapping[str, str]
) -> Trace:
    """Follow a packet. `views` and `uplinks`, the interface that leads to other nodes, are by node.

    A node without a view is not looked at: the trace is then of the other one alone.
    """
    here, there = source.node, destination.node
    if here and here == there:
        inner = _without_floating(packet, destination, views)
        return _told(packet, follow(views[here], inner, source.stop, destination.stop) if here in views else [])
    stages = []
    device = ""
    if here in views:
        view = views[here]
        device = device_to(view, packet.destination)
        stages = follow(view, packet, source.stop, Stop(interface=device or uplinks[here]))
        packet = _masqueraded(view, packet) if source.workload else packet
    elif there in views:
        device = device_to(views[there], packet.source)
    if device:
        stages = _encapsulated(stages, device, source, destination, views, uplinks)
    if there in views and not _is_denied(stages):
        inner = _without_floating(packet, destination, views)
        stages += follow(views[there], inner, Stop(interface=device or uplinks[there]), destination.stop)
    return _told(packet, stages)


def _encapsulated(
    stages: list[Stage],
    device: str,
    source: Place,
    destination: Place,
    views: Mapping[str, View],
    uplinks: Mapping[str, str],
) -> list[Stage]:
    """What stands in the way of the tunnel's own packet, behind what its content has met so far."""
    for place, arrives in ((source, False), (destination, True)):
        view = views.get(place.node)
        if view is not None and not _is_denied(stages):
            outer = _outer(view, device, source.node, destination.node)
            stages = stages + follow_tunnel(view, outer, uplinks[place.node], arrives)
    return stages


def _outer(view: View, device: str, source: str, destination: str) -> Packet:
    """The packet that a tunnel sends from node to node."""
    hosts = view.state.hosts
    here, there = (hosts[name].address4 if name in hosts else "" for name in (source, destination))
    if device == IPIP_DEVICE:
        return Packet(here, there, _IPIP)
    return Packet(here, there, _UDP, _SOME_PORT, view.settings.vxlan_port)


def _is_denied(stages: list[Stage]) -> bool:
    return bool(stages) and stages[-1].verdict == "deny"


def _told(packet: Packet, stages: list[Stage]) -> Trace:
    if not stages:
        return Trace(packet, (), "allow", "nothing stands in its way")
    last = stages[-1]
    if last.verdict == "deny":
        return Trace(packet, tuple(stages), "deny", f"{last.direction} of {last.endpoint}: {last.why}")
    allowed = [stage for stage in stages if stage.verdict == "allow"]
    why = "; ".join(f"{stage.direction} of {stage.endpoint}: {stage.why}" for stage in allowed)
    return Trace(packet, tuple(stages), "allow", why or "nothing stands in its way")


def device_to(view: View, address: str) -> str:
    """The tunnel that leads from a node to an address; empty where none does."""
    route = _route_to(view, address)
    if route is None or route.kind != "remote-workload" or route.same_subnet:
        return ""
    return {"vxlan": VXLAN_DEVICE, "ipip": IPIP_DEVICE}.get(route.encapsulation, "")


def _route_to(view: View, address: str) -> Route | None:
    """The narrowest network that an address is in."""
    parsed = ip_address(address)
    networks = [ip_network(cidr) for cidr in view.state.routes]
    around = [one for one in networks if one.version == parsed.version and parsed in one]
    return view.state.routes[str(max(around, key=lambda one: one.prefixlen))] if around else None


def _masqueraded(view: View, packet: Packet) -> Packet:
    """What leaves a pool with natOutgoing for something in no pool has the node's address from then on."""
    pools = view.state.pools
    source = [pools[cidr] for cidr in pools if _is_in(packet.source, cidr)]
    host = view.state.hosts.get(view.node)
    own = (host.address6 if packet.version == 6 else host.address4) if host else ""
    if not own or not any(pool.masquerade for pool in source) or any(_is_in(packet.destination, one) for one in pools):
        return packet
    return packet._replace(source=own)


def _is_in(address: str, cidr: str) -> bool:
    parsed, network = ip_address(address), ip_network(cidr)
    return parsed.version == network.version and parsed in network


def _without_floating(packet: Packet, destination: Place, views: Mapping[str, View]) -> Packet:
    """A floating address becomes the workload's own before any policy but pre-DNAT looks at it."""
    view = views.get(destination.node)
    found = view.state.workloads.get(destination.workload) if view and destination.workload else None
    inner = next((nat.internal for nat in found.nat if nat.external == packet.destination), "") if found else ""
    return packet._replace(destination=inner) if inner else packet
