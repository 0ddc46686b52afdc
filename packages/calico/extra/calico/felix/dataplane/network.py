"""Everything of the dataplane but the packet filter: routes, tunnels, their peers, interfaces' settings, connections.

`Network` is the executor: it keeps what is wanted and what is believed to be in the kernel, asks the planners
(routes.py, tunnels.py, sysctls.py) what to do, and does it. What it believes comes from reading the kernel at the first
`apply` and at every `resync`; between those only what changed is compared, and nothing is listed.

Order: devices, peers, routes that go, connections of addresses that go, routes that come, peers that go. What is
refused is tried again at the next `apply`; after an answer that did not come in time everything is read again.
"""

import errno
import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from calico.felix.dataplane import offload, routes, sysctls, tunnels
from calico.felix.dataplane.conntrack import Conntrack
from calico.felix.dataplane.interfaces import Interface, InterfaceMonitor, is_workload
from calico.felix.dataplane.routes import IPIP_DEVICE, VXLAN_DEVICE, Inputs, RouteBook, RoutePlan, RouteSettings
from calico.felix.dataplane.sysctls import Setting, Sysctls
from calico.felix.dataplane.tunnels import Peers, Step, TunnelSettings
from calico.felix.desired import Changes, Host, Vtep, Workload, WorkloadId
from calico.felix.desired import Route as Destination
from calico.netlink import route
from calico.netlink.message import NetlinkError
from calico.netlink.route import Address, Route
from calico.netlink.route import Network as Prefix
from calico.netlink.socket import Netlink, Request

_log = logging.getLogger(__name__)

GRACE = 10.0
"""Seconds that a route nobody asked for may stand on a workload's interface after that is first seen: the CNI plugin
makes it before felix hears of the endpoint."""

_DEVICE_ROUNDS = 6
_INET6 = 10


class Settings(NamedTuple):
    """What felix's configuration says of this half of the dataplane. `record` is the file of changed sysctls."""

    routes: RouteSettings
    tunnels: TunnelSettings
    record: Path
    timeout: float = 10.0


class Report(NamedTuple):
    """What an `apply` did: requests that changed the kernel, how many of them undid foreign changes, and complaints.

    `retry`: something was refused, so that `apply` should be called again after a pause. `states` are complaints about
    the node's configuration, which trying again does not mend.
    """

    writes: int = 0
    repaired: int = 0
    retry: tuple[str, ...] = ()
    states: tuple[str, ...] = ()


class Network:
    """The routes, tunnels and settings of the namespace it was made in. Used by one thread.

    Nothing is read or written before the first `apply`. Raises OSError where the kernel gives no socket.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._netlink = Netlink(timeout=settings.timeout)
        self._conntrack = Conntrack(settings.timeout)
        self._sysctls = Sysctls(settings.record)
        self.monitor = InterfaceMonitor(settings.timeout)
        self._interfaces: dict[str, Interface] = {}
        self._workloads: dict[WorkloadId, Workload] = {}
        self._destinations: dict[str, Destination] = {}
        self._vteps: dict[str, Vtep] = {}
        self._hosts: dict[str, Host] = {}
        self._inputs = Inputs(
            settings.routes, self._interfaces, self._workloads, self._destinations, self._vteps, self._hosts
        )
        self._book = RouteBook(self._inputs)
        self._actual = _Actual()
        self._peers: Peers | None = None
        self._first_seen: dict[int, float] = {}
        self._retry: set[Prefix] = set()
        self._remembered: frozenset[Address] = frozenset()
        self._unset: set[str] = set()
        self._devices_due = self._peers_due = self._resync_due = True
        self._is_first = True
        self._states: tuple[str, ...] = ()
        self._grace_ends = 0.0

    def close(self) -> None:
        """Give the sockets back. The kernel stays as it is."""
        self._netlink.close()
        self._conntrack.close()
        self.monitor.close()

    @property
    def next_due(self) -> float:
        """When (by the clock) a route's grace ends, so that `resync` has something to do; 0: never."""
        return self._grace_ends

    def host_interfaces(self) -> dict[str, frozenset[str]]:
        """The interfaces that are no workload's, with their addresses."""
        return {
            name: frozenset(str(one.address) for one in interface.addresses)
            for name, interface in self.monitor.interfaces.items()
            if not self._is_workload(name)
        }

    # -- what comes in ---------------------------------------------------------------------------------------------

    def on_changes(self, changes: Changes) -> None:
        """The desired dataplane changed. Nothing is written before `apply`."""
        _merge(self._workloads, changes.workloads)
        _merge(self._destinations, changes.routes)
        _merge(self._vteps, changes.vteps)
        _merge(self._hosts, changes.hosts)
        self._book.on_changes(changes)
        self._unset.update(workload.interface for workload in changes.workloads.values() if workload)
        self._peers_due = self._peers_due or bool(changes.vteps)
        if self._settings.routes.hostname in changes.hosts:
            self._devices_due = True
            self._unset.update({self._book.parent.name} if self._book.parent else ())

    def refresh_interfaces(self) -> frozenset[str]:
        """Take the notifications of interfaces that wait; the names of those that changed."""
        changed = self.monitor.refresh()
        self._on_interfaces(changed)
        return changed

    def load_interfaces(self) -> None:
        """Learn which interfaces there are. Raises OSError."""
        self._on_interfaces(self.monitor.resync())

    def resync(self) -> None:
        """Have the next `apply` read the kernel and repair what differs."""
        self._resync_due = True

    def _on_interfaces(self, changed: Collection[str]) -> None:
        now, interfaces = self._clock(), self.monitor.interfaces
        _replace(self._interfaces, interfaces, changed)
        for name in changed:
            if interface := interfaces.get(name):
                self._first_seen.setdefault(interface.ifindex, now)
        flapped = self.monitor.take_flapped()
        for index in flapped:
            self._retry |= self._actual.forget(index)
            if not self.monitor.exists(index):
                self._first_seen.pop(index, None)
        self._unset.update(changed)
        self._book.on_interfaces(changed)
        self._devices_due = self._devices_due or not all(map(self._is_workload, changed))
        device = interfaces.get(VXLAN_DEVICE)
        if device is None or device.ifindex in flapped | self.monitor.take_readdressed():
            self._peers, self._peers_due = None, True

    def _is_workload(self, name: str) -> bool:
        return is_workload(name, self._settings.routes.prefixes)

    # -- what goes out ---------------------------------------------------------------------------------------------

    def apply(self) -> Report:
        """Make the kernel what is wanted. Raises nothing for what the kernel refuses: that is in the report."""
        work = _Work(self._netlink)
        try:
            states = self._apply(work)
        except OSError as error:
            self._resync_due = True
            return Report(work.writes, 0, (f"network: {error}",))
        return Report(work.writes, work.repaired, tuple(work.problems), states)

    def _apply(self, work: "_Work") -> tuple[str, ...]:
        is_resync, self._resync_due = self._resync_due, False
        try:
            if is_resync:
                self.load_interfaces()
                self._read_kernel()
            states = self._apply_devices(work) if self._devices_due else self._states
        except OSError:
            self._resync_due = True
            raise
        self._states = states
        before = work.writes
        peers = self._apply_peers(work)
        self._apply_routes(work, is_resync)
        work.steps(peers)
        if is_resync and not self._is_first:
            work.repaired = work.writes - before
        self._is_first = False
        self._apply_settings(work, is_resync)
        return states

    def _read_kernel(self) -> None:
        """Learn what is there: our routes, and the tunnel's peers."""
        self._actual = _Actual(self._our_routes())
        self._peers_due = self._devices_due = True
        self._peers = None

    def _read_peers(self, device: Interface) -> Peers:
        neighbours = route.list_neighbours(self._netlink, device.ifindex)
        forwarding = route.list_forwarding(self._netlink, device.ifindex)
        return Peers({one.address: one for one in neighbours}, {one.mac: one for one in forwarding})

    def _our_routes(self) -> Iterator[Route]:
        """The routes that are ours to remove, those of fresh interfaces that nobody asked for left out."""
        names = {interface.ifindex: name for name, interface in self.monitor.interfaces.items()}
        found = route.list_routes(self._netlink)
        if self._settings.routes.ipv6:
            found += route.list_routes(self._netlink, _INET6)
        self._grace_ends, now = 0.0, self._clock()
        for one in found:
            name = names.get(one.ifindex, "")
            if not routes.is_ours(one, self._settings.routes, name):
                continue
            ends = self._first_seen.get(one.ifindex, now) + GRACE
            if self._is_workload(name) and ends > now and self._book.wanted(one.network) is None:
                self._grace_ends = min(self._grace_ends or ends, ends)
                continue
            yield one

    def compare(self) -> tuple[list[str], tuple[str, ...]]:
        """What in the kernel differs from what is wanted, and complaints; nothing is written. Raises OSError."""
        self.load_interfaces()
        wish = tunnels.wanted_devices(self._settings.tunnels, self._inputs)
        found = [step.what for step in tunnels.plan_devices(self._settings.tunnels, wish, self.monitor.interfaces)]
        device = self.monitor.interfaces.get(VXLAN_DEVICE)
        if device is not None and device.link.kind == "vxlan":
            wanted, actual = tunnels.wanted_peers(device.ifindex, self._inputs.vteps), self._read_peers(device)
            peers = tunnels.plan_peers(wanted, actual.neighbours.values(), actual.forwarding.values())
            found += [step.what for step in (*peers.put, *peers.delete)]
        plan = routes.plan_routes(dict(routes.wanted_routes(self._inputs)), self._our_routes())
        found += [f"route {one.network} is missing or another" for one in plan.put]
        found += [f"route {one.network} is not wanted" for one in plan.delete]
        settings = self._sysctls.differing(self._wanted_settings(self.monitor.interfaces))
        found += [f"sysctl net.{one.path.replace('/', '.')} is not {one.value}" for one in settings]
        return found, wish.problems

    # -- devices and peers -----------------------------------------------------------------------------------------

    def _apply_devices(self, work: "_Work") -> tuple[str, ...]:
        """Bring the tunnel devices about; what the configuration keeps from being done."""
        self._devices_due = False
        for _ in range(_DEVICE_ROUNDS):
            wish = tunnels.wanted_devices(self._settings.tunnels, self._inputs)
            steps = tunnels.plan_devices(self._settings.tunnels, wish, self.monitor.interfaces)
            if not steps:
                break
            failed = work.steps(steps[:1])
            self._on_interfaces(self.monitor.refresh())
            if failed:
                self._devices_due = True
                break
        return wish.problems + self._offload_problems()

    def _offload_problems(self) -> tuple[str, ...]:
        if VXLAN_DEVICE not in self.monitor.interfaces:
            return ()
        parent = self._inputs.parent
        return offload.settle(VXLAN_DEVICE, parent.name if parent else "")

    def _apply_peers(self, work: "_Work") -> Sequence[Step]:
        """Make the entries of peers; the steps that remove entries, for when no route needs them any more."""
        device = self.monitor.interfaces.get(VXLAN_DEVICE)
        if not self._peers_due or device is None or device.link.kind != "vxlan" or not self._settings.tunnels.vxlan:
            return ()
        wanted = tunnels.wanted_peers(device.ifindex, self._inputs.vteps)
        actual = self._peers or self._read_peers(device)
        plan = tunnels.plan_peers(wanted, actual.neighbours.values(), actual.forwarding.values())
        failed = work.steps(plan.put)
        self._peers_due = bool(failed)
        self._peers = None if failed else wanted
        return plan.delete

    # -- routes ----------------------------------------------------------------------------------------------------

    def _apply_routes(self, work: "_Work", is_resync: bool) -> None:
        dirty = self._book.take_dirty()
        networks, self._retry = dirty.networks | self._retry, set()
        if is_resync:
            wanted: dict[Prefix, Route | None] = dict(routes.wanted_routes(self._inputs).items())
            actual = self._actual.all()
            moved = dirty.moved | self._usurped(actual)
        else:
            wanted = {network: self._book.wanted(network) for network in networks}
            actual, moved = self._actual.of(networks), dirty.moved
        self._carry_out(work, routes.plan_routes(wanted, actual, moved))

    def _usurped(self, actual: Iterable[Route]) -> set[Prefix]:
        """Addresses that lead to a workload's interface though they are not that workload's any more."""
        names = {one.ifindex: name for name, one in self.monitor.interfaces.items() if self._is_workload(name)}
        single = (one for one in actual if one.ifindex in names and one.network.num_addresses == 1)
        return {one.network for one in single if self._book.claimant(one.network) != names[one.ifindex]}

    def _carry_out(self, work: "_Work", plan: RoutePlan) -> None:
        for one in self._send(work, plan.delete, route.delete_route_request, "delete route"):
            self._actual.remove(one)
        if addresses := plan.forget | self._remembered:
            self._forget(work, addresses)
        for one in self._send(work, plan.put, route.route_request, "route"):
            self._actual.put(one)

    def _send(
        self, work: "_Work", wanted: Sequence[Route], request: Callable[[Route], Request], what: str
    ) -> list[Route]:
        """Send a request for each route; those that are done, or whose object is gone anyway."""
        steps = [Step(request(one), f"{what} {one.network}") for one in wanted]
        failed = work.steps(steps)
        self._retry.update(wanted[index].network for index in failed)
        return [one for index, one in enumerate(wanted) if index not in failed]

    def _forget(self, work: "_Work", addresses: frozenset[Address]) -> None:
        """End the connections of addresses; what the kernel refuses is tried again."""
        try:
            self._conntrack.forget(addresses)
            self._remembered = frozenset()
        except NetlinkError as error:
            self._remembered = addresses
            work.problems.append(f"connections of {', '.join(map(str, sorted(addresses, key=str)))}: {error}")

    # -- settings --------------------------------------------------------------------------------------------------

    def _apply_settings(self, work: "_Work", is_resync: bool) -> None:
        names = self.monitor.interfaces.keys() if is_resync else self._unset & self.monitor.interfaces.keys()
        problems = self._sysctls.apply(list(self._wanted_settings(names)))
        work.problems += problems
        self._unset = set(names) if problems else set()
        if is_resync:
            self._sysctls.compact()

    def _wanted_settings(self, names: Iterable[str]) -> Iterator[Setting]:
        for name in names:
            if self._is_workload(name):
                if self._book.is_in_use(name):
                    yield from sysctls.workload_settings(name, self._settings.routes.ipv6)
            elif self._is_forwarding(name, self._book.parent):
                yield from sysctls.forwarding_settings(name)

    def _is_forwarding(self, name: str, parent: Interface | None) -> bool:
        tunnelling = self._settings.tunnels
        if parent is not None and name == parent.name:
            return True
        return (name == VXLAN_DEVICE and tunnelling.vxlan) or (name == IPIP_DEVICE and tunnelling.ipip)


class _Work:
    """What one `apply` sends: how much of it changed the kernel, and what was refused."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self.writes = self.repaired = 0
        self.problems: list[str] = []

    def steps(self, steps: Sequence[Step]) -> set[int]:
        """Carry steps out; those that were refused, by their place. To delete what is gone is done."""
        if not steps:
            return set()
        errors = self._netlink.batch([step.request for step in steps])
        failed = set()
        for error in errors:
            step = steps[error.sequence]
            if _is_done(step, error):
                continue
            failed.add(error.sequence)
            if error.errno not in _PASSING:
                self.problems.append(f"{step.what}: {error.strerror}{_advice(step, error)}")
        _log_steps([step.what for index, step in enumerate(steps) if index not in failed])
        self.writes += len(steps) - len(failed)
        return failed


_MANY = 20
_DELETIONS = frozenset((route.RTM_DELLINK, route.RTM_DELADDR, route.RTM_DELROUTE, route.RTM_DELNEIGH))
# The interface went away or was switched off meanwhile: a notification of it is on its way.
_PASSING = frozenset((errno.ENODEV, errno.ENETDOWN))


def _log_steps(done: Sequence[str]) -> None:
    """A line for each, or one for all where there are many: a start makes a thousand routes."""
    level = logging.INFO if len(done) <= _MANY else logging.DEBUG
    for what in done:
        _log.log(level, "%s", what)
    if len(done) > _MANY:
        _log.info("%s, and %d more", done[0], len(done) - 1)


def _is_done(step: Step, error: NetlinkError) -> bool:
    """Whether a refusal means that there was nothing to do: loading ipip makes `tunl0`, before it can be asked for."""
    if step.request.kind in _DELETIONS:
        return route.is_gone(error)
    return error.errno == errno.EEXIST and step.what.endswith(IPIP_DEVICE)


def _advice(step: Step, error: NetlinkError) -> str:
    if step.request.kind != route.RTM_NEWLINK:
        return ""
    if error.errno == errno.EEXIST:
        return ": another VXLAN device has its VNI and port (ip -d link show type vxlan): remove it or change VXLANVNI"
    if error.errno == errno.EOPNOTSUPP:
        module = "ipip" if IPIP_DEVICE in step.what else "vxlan"
        return f": this kernel has no {module}; load it (modprobe {module}), or give the pools another encapsulation"
    return ""


class _Actual:
    """The routes of ours that are believed to be in the kernel, by network and by interface."""

    def __init__(self, found: Iterable[Route] = ()) -> None:
        self._by_network: dict[Prefix, set[Route]] = {}
        self._by_index: dict[int, set[Prefix]] = {}
        for one in found:
            self._add(one)

    def all(self) -> list[Route]:
        """Every route."""
        return [one for found in self._by_network.values() for one in found]

    def of(self, networks: Iterable[Prefix]) -> list[Route]:
        """The routes to some networks."""
        return [one for network in networks for one in self._by_network.get(network, ())]

    def put(self, one: Route) -> None:
        """A route took the place of the one with its network and metric."""
        for other in [other for other in self._by_network.get(one.network, ()) if other.metric == one.metric]:
            self.remove(other)
        self._add(one)

    def remove(self, one: Route) -> None:
        """A route is gone."""
        found = self._by_network.get(one.network, set())
        found.discard(one)
        if not found:
            self._by_network.pop(one.network, None)

    def forget(self, index: int) -> set[Prefix]:
        """The kernel dropped the routes of an interface; the networks they led to."""
        networks = self._by_index.pop(index, set())
        for network in networks:
            for one in [one for one in self._by_network.get(network, ()) if one.ifindex == index]:
                self.remove(one)
        return networks

    def _add(self, one: Route) -> None:
        self._by_network.setdefault(one.network, set()).add(one)
        if one.ifindex:
            self._by_index.setdefault(one.ifindex, set()).add(one.network)


K = TypeVar("K")
V = TypeVar("V")


def _merge(kept: MutableMapping[K, V], differing: Mapping[K, V | None]) -> None:
    for key, value in differing.items():
        if value is None:
            kept.pop(key, None)
        else:
            kept[key] = value


def _replace(kept: MutableMapping[K, V], present: Mapping[K, V], changed: Iterable[K]) -> None:
    for key in changed:
        if key in present:
            kept[key] = present[key]
        else:
            kept.pop(key, None)
