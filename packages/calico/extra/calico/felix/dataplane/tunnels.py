"""Tunnel devices, and what a VXLAN device knows of its peers: what there should be, and the steps that lead there.

Pure. A step changes what the next plan sees, so the owner plans, carries out, looks again, until a plan is empty.
"""

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address
from typing import NamedTuple

from calico.felix.dataplane.interfaces import Interface, Interfaces
from calico.felix.dataplane.routes import IPIP_DEVICE, VXLAN_DEVICE, Inputs, address_of
from calico.felix.desired import Vtep
from calico.netlink import route
from calico.netlink.route import Address, Forwarding, InterfaceAddress, Neighbour, Vxlan
from calico.netlink.socket import Request

VXLAN_OVERHEAD, IPIP_OVERHEAD = 50, 20
"""Bytes that a tunnel puts around a packet of IPv4."""


class TunnelSettings(NamedTuple):
    """What felix's configuration says of tunnels."""

    vxlan: bool = False
    vni: int = 4096
    port: int = 4789
    vxlan_mtu: int = 1410
    ipip: bool = False
    ipip_mtu: int = 1440


class Device(NamedTuple):
    """A tunnel device as it should be. `vxlan` is None for one that is none. `mtu` fits the parent's."""

    name: str
    kind: str
    mtu: int
    address: Address | None
    mac: str = ""
    vxlan: Vxlan | None = None


class Step(NamedTuple):
    """A request to the kernel, and what it does, for the log."""

    request: Request
    what: str


class TunnelWish(NamedTuple):
    """The devices there should be. One of `unknown` is left as it is; `problems` say why, and what to do."""

    devices: tuple[Device, ...] = ()
    unknown: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()


def vtep_mac(node: str) -> str:
    """The MAC address of a node's VXLAN device where the datastore gives none: `66:`, then sha1 of the node's name."""
    return "66:" + hashlib.sha1(node.encode(), usedforsecurity=False).digest()[:5].hex(":")


def wanted_devices(settings: TunnelSettings, inputs: Inputs) -> TunnelWish:
    """The tunnel devices of this host."""
    wishes = [_wanted_vxlan(settings, inputs)] if settings.vxlan else []
    wishes += [_wanted_ipip(settings, inputs)] if settings.ipip else []
    return TunnelWish(
        tuple(device for wish in wishes for device in wish.devices),
        frozenset(name for wish in wishes for name in wish.unknown),
        tuple(problem for wish in wishes for problem in wish.problems),
    )


def _wanted_vxlan(settings: TunnelSettings, inputs: Inputs) -> TunnelWish:
    node, host = inputs.settings.hostname, inputs.hosts.get(inputs.settings.hostname)
    local, parent = inputs.node_address, inputs.parent
    address = address_of(host.vxlan_address) if host else None
    unknown = frozenset((VXLAN_DEVICE,))
    if local is None:
        return TunnelWish((), unknown, (f"{VXLAN_DEVICE}: node {node} has no spec.bgp.ipv4Address: no VXLAN here",))
    if address is None:
        return TunnelWish((), unknown, (f"{VXLAN_DEVICE}: node {node} has no spec.ipv4VXLANTunnelAddr yet",))
    if parent is None:
        found = f"no interface carries {local}, this node's spec.bgp.ipv4Address: correct either"
        return TunnelWish((), unknown, (f"{VXLAN_DEVICE}: {found}",))
    mtu, problems = fitting_mtu(VXLAN_DEVICE, settings.vxlan_mtu, VXLAN_OVERHEAD, parent)
    mac = (host.vxlan_mac if host else "") or vtep_mac(node)
    vxlan = Vxlan(settings.vni, settings.port, local, parent.ifindex)
    return TunnelWish((Device(VXLAN_DEVICE, "vxlan", mtu, address, mac.lower(), vxlan),), frozenset(), problems)


def _wanted_ipip(settings: TunnelSettings, inputs: Inputs) -> TunnelWish:
    host, parent = inputs.hosts.get(inputs.settings.hostname), inputs.parent
    address = address_of(host.ipip_address) if host else None
    mtu, problems = settings.ipip_mtu, tuple[str, ...]()
    if parent is not None:
        mtu, problems = fitting_mtu(IPIP_DEVICE, settings.ipip_mtu, IPIP_OVERHEAD, parent)
    return TunnelWish((Device(IPIP_DEVICE, "ipip", mtu, address),), frozenset(), problems)


def fitting_mtu(device: str, asked: int, overhead: int, parent: Interface) -> tuple[int, tuple[str, ...]]:
    """The MTU a tunnel gets on `parent`, and a complaint where that is less than asked: larger packets are lost."""
    room = parent.link.mtu - overhead
    if asked <= room:
        return asked, ()
    said = f"{device}: an MTU of {asked} and {overhead} bytes around it do not fit {parent.name}'s {parent.link.mtu}"
    return room, (f"{said}: using {room}; set it so in the configuration, and containers' to no more",)


# -- devices -------------------------------------------------------------------------------------------------------


def plan_devices(settings: TunnelSettings, wish: TunnelWish, interfaces: Interfaces) -> list[Step]:
    """The next steps towards the devices of `wish`: a device is deleted, or made, or adjusted.

    A VXLAN device goes when VXLAN is switched off, and when it differs in what cannot be changed in place. `tunl0`
    stays: the kernel makes it by itself.
    """
    steps: list[Step] = []
    vxlan = interfaces.get(VXLAN_DEVICE)
    if not settings.vxlan and vxlan is not None and vxlan.link.kind == "vxlan":
        steps.append(Step(route.delete_link_request(vxlan.ifindex), f"delete {VXLAN_DEVICE}: VXLAN is switched off"))
    for device in wish.devices:
        steps += _plan_device(device, interfaces.get(device.name))
    return steps


def _plan_device(device: Device, found: Interface | None) -> list[Step]:
    if found is None:
        return [_creation(device)]
    if reason := _unfit(device, found):
        return [Step(route.delete_link_request(found.ifindex), f"delete {device.name}: {reason}")]
    return _adjustments(device, found)


def _creation(device: Device) -> Step:
    if device.vxlan is not None:
        return Step(route.vxlan_request(device.name, device.vxlan, device.mtu, device.mac), f"make {device.name}")
    return Step(route.link_request(device.name, device.kind, device.mtu), f"make {device.name}")


def _unfit(device: Device, found: Interface) -> str:
    """Why a device must be made anew; empty where it need not."""
    if found.link.kind != device.kind:
        return f"it is a {found.link.kind or 'device'}, not {device.kind}"
    if device.vxlan is None:
        return ""
    actual = route.read_vxlan(found.link)
    differing = [
        f"{name} {is_} instead of {should}"
        for name, is_, should in zip(Vxlan._fields, actual, device.vxlan, strict=True)
        if is_ != should
    ]
    return ", ".join(differing)


def _adjustments(device: Device, found: Interface) -> list[Step]:
    steps: list[Step] = []
    index, name = found.ifindex, device.name
    if device.mac and found.link.mac != device.mac:
        steps.append(Step(route.set_link_request(index, mac=device.mac), f"set {name}'s MAC address to {device.mac}"))
    if found.link.mtu != device.mtu:
        steps.append(Step(route.set_link_request(index, mtu=device.mtu), f"set {name}'s MTU to {device.mtu}"))
    if not found.link.is_up:
        steps.append(Step(route.set_link_request(index, up=True), f"switch {name} on"))
    return steps + _address_steps(device, found)


def _address_steps(device: Device, found: Interface) -> list[Step]:
    """Exactly one IPv4 address, the tunnel's; without one in the datastore what is there stays."""
    if device.address is None:
        return []
    actual = {one for one in found.addresses if isinstance(one.address, IPv4Address)}
    kept = {one for one in actual if (one.address, one.prefix) == (device.address, 32)}
    steps = []
    if not kept:
        wanted = InterfaceAddress(found.ifindex, device.address, 32)
        steps.append(Step(route.address_request(wanted), f"give {device.name} {device.address}"))
    for one in sorted(actual - kept):
        request = route.delete_address_request(one)
        steps.append(Step(request, f"take {one.address}/{one.prefix} from {device.name}"))
    return steps


# -- peers ---------------------------------------------------------------------------------------------------------


class Peers(NamedTuple):
    """What a VXLAN device knows of other nodes: whose MAC address a tunnel address has, and where frames to it go."""

    neighbours: Mapping[Address, Neighbour] = {}
    forwarding: Mapping[str, Forwarding] = {}


def wanted_peers(index: int, vteps: Mapping[str, Vtep]) -> Peers:
    """The entries of every VTEP. Of two nodes with one address or MAC address, the lowest name's holds."""
    neighbours: dict[Address, Neighbour] = {}
    forwarding: dict[str, Forwarding] = {}
    for _, vtep in sorted(vteps.items(), reverse=True):
        address, node_address = address_of(vtep.address), address_of(vtep.node_address)
        if address is None or node_address is None:
            continue
        mac = vtep.mac.lower()
        neighbours[address] = Neighbour(index, address, mac)
        forwarding[mac] = Forwarding(index, mac, node_address)
    return Peers(neighbours, forwarding)


class PeerPlan(NamedTuple):
    """Requests about peers: `put` comes before the routes that need them, `delete` after the routes that did."""

    put: tuple[Step, ...] = ()
    delete: tuple[Step, ...] = ()


def plan_peers(wanted: Peers, neighbours: Iterable[Neighbour], forwarding: Iterable[Forwarding]) -> PeerPlan:
    """What makes the entries on the device those of `wanted`. What is learned or resolved by itself is replaced too."""
    found_neighbours: dict[Address, Neighbour] = {one.address: one for one in neighbours if one.address.version == 4}
    found_forwarding = {one.mac: one for one in forwarding}
    put = [
        Step(route.neighbour_request(one), f"neighbour {one.address} is {one.mac}")
        for address, one in wanted.neighbours.items()
        if found_neighbours.get(address) != one
    ] + [
        Step(route.forwarding_request(one), f"frames to {one.mac} go to {one.destination}")
        for mac, one in wanted.forwarding.items()
        if found_forwarding.get(mac) != one
    ]
    delete = [
        Step(route.delete_neighbour_request(one), f"no neighbour {one.address}")
        for address, one in found_neighbours.items()
        if address not in wanted.neighbours
    ] + [
        Step(route.delete_forwarding_request(one), f"no frames to {one.mac}")
        for mac, one in found_forwarding.items()
        if mac not in wanted.forwarding
    ]
    return PeerPlan(tuple(put), tuple(delete))
