"""Routes: which ones this host should have, and what to ask of the kernel so that it has them.

Pure. `wanted_routes` says from everything which routes there should be, slowly and plainly; `RouteBook` says the same
for single networks as inputs change. `plan_routes` compares with what the kernel has.

Which routes are ours, and so removed when unwanted (docs/explanation/routes.md): all on workloads' interfaces (see
`RouteSettings.remove_external`), all on our tunnels, and everywhere those of protocol 80. What the kernel itself makes
is never touched.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, ip_address, ip_network
from typing import NamedTuple, TypeVar

from calico.felix.dataplane.interfaces import Interface, Interfaces, carrying, is_workload
from calico.felix.desired import Changes, Host, Vtep, Workload, WorkloadId
from calico.felix.desired import Route as Destination
from calico.netlink.route import (
    RTN_BLACKHOLE,
    RTN_UNICAST,
    RTPROT_BOOT,
    RTPROT_FELIX,
    RTPROT_KERNEL,
    SCOPE_LINK,
    Address,
    Network,
    Route,
)

VXLAN_DEVICE, IPIP_DEVICE = "vxlan.calico", "tunl0"
K = TypeVar("K")
V = TypeVar("V")
_TUNNELS = {"vxlan": VXLAN_DEVICE, "ipip": IPIP_DEVICE}

# What the kernel gives an IPv6 route that asks for no metric.
_METRIC6 = 1024
# net/ipv6/route.c: an IPv6 route that leads nowhere stands on the loopback interface.
_LOOPBACK = 1


class RouteSettings(NamedTuple):
    """What felix's configuration says of routes. `hostname` is this node's name in the datastore."""

    hostname: str
    prefixes: tuple[str, ...] = ("cali",)
    protocol: int = RTPROT_BOOT
    source: IPv4Address | None = None
    remove_external: bool = True
    ipv6: bool = True
    vxlan: bool = False
    ipip: bool = False


class Inputs(NamedTuple):
    """Everything that routes depend on. The mappings are the owner's, who changes them in place."""

    settings: RouteSettings
    interfaces: Interfaces
    workloads: Mapping[WorkloadId, Workload]
    destinations: Mapping[str, Destination]
    vteps: Mapping[str, Vtep]
    hosts: Mapping[str, Host]

    @property
    def node_address(self) -> Address | None:
        """This node's own IPv4 address; None where the datastore has none that can be read."""
        host = self.hosts.get(self.settings.hostname)
        return address_of(host.address4) if host else None

    @property
    def parent(self) -> Interface | None:
        """The interface that carries this node's address."""
        address = self.node_address
        return carrying(self.interfaces, address) if address else None


def address_of(text: str) -> Address | None:
    """An address from the datastore, with or without a prefix length behind it; None for anything else."""
    try:
        return ip_address(text.partition("/")[0])
    except ValueError:
        return None


# -- what there should be, from everything -------------------------------------------------------------------------


def wanted_routes(inputs: Inputs) -> dict[Network, Route]:
    """Every route there should be. A workload's own comes before one to another node, that before a blackhole."""
    found: dict[Network, Route] = {}
    parent = inputs.parent
    for text, destination in inputs.destinations.items():
        network = ip_network(text)
        if one := _destination_route(inputs, parent, network, destination):
            found[network] = one
    claimed: set[Network] = set()
    taken: set[str] = set()
    for _, workload in sorted(inputs.workloads.items()):
        if workload.interface in taken:
            continue
        taken.add(workload.interface)
        for one in _workload_routes(inputs, workload):
            if one.network not in claimed:
                claimed.add(one.network)
                found[one.network] = one
    return found


def _workload_routes(inputs: Inputs, workload: Workload) -> Iterator[Route]:
    for address in workload_addresses(inputs.settings, workload):
        if one := _workload_route(inputs, workload, address):
            yield one


def workload_addresses(settings: RouteSettings, workload: Workload) -> list[Address]:
    """The addresses that lead to a workload, once each: its own, and those its NAT maps to them."""
    if not workload.active:
        return []
    texts = [*workload.addresses4, *workload.addresses6, *(nat.external for nat in workload.nat)]
    found = dict.fromkeys(address for text in texts if (address := address_of(text)))
    return [address for address in found if address.version == 4 or settings.ipv6]


def _workload_route(inputs: Inputs, workload: Workload, address: Address) -> Route | None:
    interface = inputs.interfaces.get(workload.interface)
    if interface is None or not interface.link.is_up:
        return None
    settings, network = inputs.settings, ip_network(address)
    if address.version == 6:
        return Route(network, interface.ifindex, protocol=settings.protocol, metric=_METRIC6)
    return Route(network, interface.ifindex, None, settings.protocol, SCOPE_LINK, source=settings.source)


def _destination_route(
    inputs: Inputs, parent: Interface | None, network: Network, destination: Destination
) -> Route | None:
    """The route to a block or an address of a pool that is encapsulated; None where it needs none, or not yet."""
    if destination.encapsulation not in _TUNNELS or not _is_enabled(inputs.settings, destination.encapsulation):
        return None
    if destination.kind == "local-workload":
        return _blackhole(network) if network.prefixlen < network.max_prefixlen else None
    if destination.kind != "remote-workload":
        return None
    return _remote_route(inputs, parent, network, destination)


def _is_enabled(settings: RouteSettings, encapsulation: str) -> bool:
    return settings.vxlan if encapsulation == "vxlan" else settings.ipip


def _blackhole(network: Network) -> Route:
    """What ends packets to addresses of a local block that no workload has: else they leave by the default route."""
    if network.version == 6:
        return Route(network, _LOOPBACK, protocol=RTPROT_FELIX, kind=RTN_BLACKHOLE, metric=_METRIC6)
    return Route(network, protocol=RTPROT_FELIX, kind=RTN_BLACKHOLE)


def _remote_route(inputs: Inputs, parent: Interface | None, network: Network, destination: Destination) -> Route | None:
    node_address = address_of(destination.node_address)
    if destination.same_subnet:
        return _onlink(network, parent, node_address)
    if destination.encapsulation == "ipip":
        return _onlink(network, inputs.interfaces.get(IPIP_DEVICE), node_address)
    vtep = inputs.vteps.get(destination.node)
    return _onlink(network, inputs.interfaces.get(VXLAN_DEVICE), address_of(vtep.address) if vtep else None)


def _onlink(network: Network, interface: Interface | None, gateway: Address | None) -> Route | None:
    if interface is None or not interface.link.is_up or gateway is None or gateway.version != network.version:
        return None
    return Route(network, interface.ifindex, gateway, RTPROT_FELIX, onlink=True)


# -- the same, for what changed ------------------------------------------------------------------------------------


class Dirty(NamedTuple):
    """Networks whose route may differ. `moved`: those of them that were a workload's and are not any more."""

    networks: set[Network]
    moved: set[Network]


class RouteBook:
    """`wanted_routes`, kept up to date at a cost that depends on what changes.

    `inputs` are the owner's; after changing them it tells the book by `on_changes` (with the values from before) and
    `on_interfaces`, and takes the networks whose route may differ by `take_dirty`.
    """

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        self._by_interface: dict[str, set[WorkloadId]] = {}
        self._by_network: dict[Network, set[WorkloadId]] = {}
        self._networks_of: dict[WorkloadId, tuple[Network, ...]] = {}
        self._interface_of: dict[WorkloadId, str] = {}
        self._by_node: dict[str, set[str]] = {}
        self._node_of: dict[str, str] = {}
        self._claims: dict[Network, str] = {}
        self._dirty: set[Network] = set()
        self.parent = inputs.parent
        """The interface that carries this node's address."""

    def take_dirty(self) -> Dirty:
        """What may differ since the last call."""
        networks, self._dirty = self._dirty, set()
        moved = set()
        for network in networks:
            before, now = self._claims.get(network, ""), self.claimant(network)
            if before and before != now:
                moved.add(network)
            if now:
                self._claims[network] = now
            else:
                self._claims.pop(network, None)
        return Dirty(networks, moved)

    def claimant(self, network: Network) -> str:
        """The interface of the workload that a single address belongs to, be it there or not; empty: nobody's."""
        for identity in sorted(self._by_network.get(network, ())):
            interface = self._interface_of[identity]
            if min(self._by_interface[interface]) == identity:
                return interface
        return ""

    def is_in_use(self, interface: str) -> bool:
        """Whether an active workload is behind an interface."""
        return any(self._inputs.workloads[identity].active for identity in self._by_interface.get(interface, ()))

    def wanted(self, network: Network) -> Route | None:
        """The route to a network; None: there should be none of ours."""
        for identity in sorted(self._by_network.get(network, ())):
            workload = self._inputs.workloads[identity]
            if min(self._by_interface[workload.interface]) != identity:
                continue
            if one := _workload_route(self._inputs, workload, network.network_address):
                return one
        destination = self._inputs.destinations.get(str(network))
        return _destination_route(self._inputs, self.parent, network, destination) if destination else None

    def on_changes(self, changes: Changes) -> None:
        """The datastore's part of the inputs changed by `changes`, which the owner has worked in already."""
        for identity, workload in changes.workloads.items():
            self._on_workload(identity, workload)
        for text, destination in changes.routes.items():
            self._on_destination(text, destination)
        for node in changes.vteps:
            self._dirty.update(ip_network(text) for text in self._by_node.get(node, ()))
        if self._inputs.settings.hostname in changes.hosts:
            self._check_parent()

    def on_interfaces(self, names: Collection[str]) -> None:
        """Interfaces came, went or changed."""
        for name in names:
            for identity in self._by_interface.get(name, ()):
                self._dirty.update(self._networks_of[identity])
        others = [name for name in names if not is_workload(name, self._inputs.settings.prefixes)]
        if VXLAN_DEVICE in others or IPIP_DEVICE in others:
            self._all_destinations()
        if others:
            self._check_parent()

    def _on_workload(self, identity: WorkloadId, workload: Workload | None) -> None:
        self._dirty.update(self._networks_of.get(identity, ()))
        for network in self._networks_of.pop(identity, ()):
            _discard(self._by_network, network, identity)
        self._move(identity, workload.interface if workload else "")
        if workload is None or not workload.interface:
            return
        networks = tuple(ip_network(address) for address in workload_addresses(self._inputs.settings, workload))
        self._networks_of[identity] = networks
        for network in networks:
            self._by_network.setdefault(network, set()).add(identity)
        self._dirty.update(networks)

    def _move(self, identity: WorkloadId, interface: str) -> None:
        """A workload claims an interface, and no other; whoever shares either is looked at again."""
        before = self._interface_of.pop(identity, "")
        if before and before != interface:
            _discard(self._by_interface, before, identity)
            self._touch(before)
        if interface:
            self._interface_of[identity] = interface
            self._by_interface.setdefault(interface, set()).add(identity)
            self._touch(interface)

    def _touch(self, interface: str) -> None:
        for other in self._by_interface.get(interface, ()):
            self._dirty.update(self._networks_of.get(other, ()))

    def _on_destination(self, text: str, destination: Destination | None) -> None:
        if before := self._node_of.pop(text, ""):
            _discard(self._by_node, before, text)
        if destination is not None and destination.node:
            self._node_of[text] = destination.node
            self._by_node.setdefault(destination.node, set()).add(text)
        self._dirty.add(ip_network(text))

    def _check_parent(self) -> None:
        parent = self._inputs.parent
        if _place(parent) != _place(self.parent):
            self._all_destinations()
        self.parent = parent

    def _all_destinations(self) -> None:
        self._dirty.update(ip_network(text) for text in self._inputs.destinations)


def _discard(index: dict[K, set[V]], key: K, member: V) -> None:
    """Take a member out of a set of an index, and the set when it is the last."""
    index[key].discard(member)
    if not index[key]:
        del index[key]


def _place(interface: Interface | None) -> tuple[int, bool]:
    return (interface.ifindex, interface.link.is_up) if interface else (0, False)


# -- what to ask of the kernel -------------------------------------------------------------------------------------


class RoutePlan(NamedTuple):
    """What to do, in this order: delete, let the kernel forget connections of `forget`, put."""

    delete: tuple[Route, ...] = ()
    forget: frozenset[Address] = frozenset()
    put: tuple[Route, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not any(self)


def plan_routes(
    wanted: Mapping[Network, Route | None], actual: Iterable[Route], moved: Collection[Network] = ()
) -> RoutePlan:
    """What makes the routes to the networks of `wanted` those, where `actual` are the ones of ours that are there.

    A route of `actual` to a network that is not in `wanted` is deleted. A route to a network of `moved` is deleted
    before the new one comes, and what connections its last owner had are forgotten in between.
    """
    delete: list[Route] = []
    present: set[Network] = set()
    for one in actual:
        target = wanted.get(one.network)
        if target == one:
            present.add(one.network)
        elif target is None or target.metric != one.metric or one.network in moved:
            delete.append(one)
    put = [one for network, one in wanted.items() if one is not None and network not in present]
    return RoutePlan(tuple(delete), frozenset(network.network_address for network in moved), tuple(put))


def is_ours(one: Route, settings: RouteSettings, interface: str) -> bool:
    """Whether a route that nobody wants is for us to remove. `interface` is the name of the one it is on."""
    if one.protocol == RTPROT_KERNEL or one.network.is_multicast or one.network.is_link_local:
        return False
    if one.protocol == RTPROT_FELIX or interface in (VXLAN_DEVICE, IPIP_DEVICE):
        return True
    if not is_workload(interface, settings.prefixes) or one.kind != RTN_UNICAST:
        return False
    return settings.remove_external or one.protocol == settings.protocol
