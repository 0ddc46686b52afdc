"""What stands in a packet's way on one node, in the kernel's order, and which of it decides.

A packet comes in from somewhere and goes out to somewhere: a workload's interface, another interface of the host, or
the host itself. Before connection tracking stand the untracked policies of host endpoints, then the pre-DNAT ones, then

    workload -> host         the workload's egress, then DefaultEndpointToHostAction
    host -> workload         nothing: what a host sends to its own workloads is never policed
    interface -> host        the host endpoint's ingress (failsafe ports first)
    host -> interface        the host endpoint's egress (failsafe ports first)
    anything else            forwarded: the host endpoint's forward ingress, the sender's egress, the receiver's
                             ingress, the host endpoint's forward egress

The host endpoint of all interfaces (`*`) also meets forwarded and pre-DNAT traffic of workloads; untracked policy on it
has no effect. What an untracked or pre-DNAT rule allows skips the ingress of host endpoints behind it.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Literal, NamedTuple

from calico.felix.config.settings import Settings
from calico.felix.desired import HostEndpoint, PolicyId, PolicyList, WorkloadId
from calico.felix.desired import Workload as LocalWorkload
from calico.felix.state import State
from calico.felix.trace.lists import Direction, Kind, Lists, Outcome, Step, go_through
from calico.felix.trace.matching import Describe, Packet

EVERY = "*"
_NEIGHBOURS = (130, 131, 132, 133, 135, 136)
_IPIP, _ICMPV6 = 4, 58


class Stop(NamedTuple):
    """Where a packet comes from or goes to on a node: a workload, an interface of the host, or (neither) the host."""

    workload: WorkloadId | None = None
    interface: str = ""

    @property
    def is_host(self) -> bool:
        """Whether it is the host itself."""
        return self.workload is None and not self.interface


HOST = Stop()


class View(NamedTuple):
    """A node: its desired dataplane, its settings, and the addresses of its interfaces."""

    node: str
    state: State
    settings: Settings = Settings()
    interfaces: Mapping[str, frozenset[str]] = {}
    describe: Describe = str


class Stage(NamedTuple):
    """One place on the way: whose, in which direction and of which kind, what was asked there, and what came of it."""

    node: str
    endpoint: str
    direction: Direction
    kind: Kind
    steps: tuple[Step, ...]
    verdict: Literal["allow", "deny", "continue"]
    why: str


def follow(view: View, packet: Packet, came: Stop, goes: Stop) -> list[Stage]:
    """The stages of a packet's way through a node, up to the one that denies it."""
    stages: list[Stage] = []
    for stage in _Way(view, packet, came, goes).stages():
        stages.append(stage)
        if stage.verdict == "deny":
            break
    return stages


def follow_tunnel(view: View, outer: Packet, uplink: str, arrives: bool) -> list[Stage]:
    """The stages that a tunnel's own packet meets at a node's uplink, as it leaves or `arrives`, up to a denial.

    The tunnel's rules accept it before any other policy of the host, but not before its untracked and pre-DNAT policy.
    """
    came, goes = (Stop(interface=uplink), HOST) if arrives else (HOST, Stop(interface=uplink))
    way = _Way(view, outer, came, goes)
    stages: list[Stage] = []
    for stage in (*way.before_tracking(), *way.before_dnat()):
        stages.append(stage)
        if stage.verdict == "deny":
            break
    return stages


class _Way:
    """One packet on one node."""

    def __init__(self, view: View, packet: Packet, came: Stop, goes: Stop) -> None:
        self._view, self._packet, self._came, self._goes = view, packet, came, goes
        self._accepted = False

    def stages(self) -> Iterator[Stage]:
        """All that stands in its way, whatever comes of each."""
        yield from self.before_tracking()
        yield from self.before_dnat()
        came, goes = self._came, self._goes
        if came.is_host and goes.workload:
            yield self._unpoliced()
        elif goes.is_host and came.workload:
            yield from self._to_host(came.workload)
        elif goes.is_host:
            yield from self._host_itself(came, "ingress")
        elif came.is_host:
            yield from self._host_itself(goes, "egress")
        else:
            yield from self._forwarded()

    def before_tracking(self) -> Iterator[Stage]:
        """The check of a workload's source, or the untracked policy of a host endpoint."""
        if self._came.workload:
            found = self._workload(self._came.workload)
            if found is None:
                return
            if not _is_own(found, self._packet):
                yield self._check(
                    found.name, "egress", "deny", "source", "the source address is not the workload's own"
                )
            return
        direction: Direction = "egress" if self._came.is_host else "ingress"
        name, endpoint = self._host_endpoint(self._goes if self._came.is_host else self._came, every=False)
        if endpoint and (policies := _of(endpoint.untracked, direction)):
            yield self._stage(name, Lists("untracked", direction, policies), failsafe=True)

    def before_dnat(self) -> Iterator[Stage]:
        """The pre-DNAT policy of a host endpoint, unless an untracked rule has allowed the packet."""
        if self._came.is_host or self._accepted:
            return
        name, endpoint = self._host_endpoint(self._came)
        if endpoint and endpoint.pre_dnat.ingress:
            yield self._stage(name, Lists("pre-DNAT", "ingress", endpoint.pre_dnat.ingress), failsafe=True)

    def _host_itself(self, stop: Stop, direction: Direction) -> Iterator[Stage]:
        name, endpoint = self._host_endpoint(stop)
        if self._accepted:
            return
        if endpoint:
            policies = _of(endpoint.normal, direction)
            yield self._stage(name, Lists("normal", direction, policies, endpoint.profiles), failsafe=True)
        else:
            yield self._check(
                f"host {self._view.node}", direction, "allow", "host endpoint", "no host endpoint is there"
            )

    def _forwarded(self) -> Iterator[Stage]:
        if not self._accepted:
            yield from self._forward(self._came, "ingress")
        if self._came.workload:
            yield from self._of_workload(self._came.workload, "egress")
        if self._goes.workload:
            yield from self._of_workload(self._goes.workload, "ingress")
        yield from self._forward(self._goes, "egress")

    def _forward(self, stop: Stop, direction: Direction) -> Iterator[Stage]:
        name, endpoint = self._host_endpoint(stop)
        if endpoint and (policies := _of(endpoint.forward, direction)):
            yield self._stage(name, Lists("forward", direction, policies))

    def _to_host(self, workload: WorkloadId) -> Iterator[Stage]:
        found = self._workload(workload)
        name = found.name if found else workload.endpoint
        icmp = self._packet.icmp
        if self._packet.version == 6 and self._packet.protocol == _ICMPV6 and icmp and icmp.type in _NEIGHBOURS:
            yield self._check(name, "egress", "allow", "neighbours", "finding neighbours is always allowed")
            return
        yield from self._of_workload(workload, "egress")
        action = self._view.settings.default_endpoint_to_host_action
        verdict: Literal["allow", "deny"] = "deny" if action == "DROP" else "allow"
        yield self._check(name, "egress", verdict, "workload to host", f"DefaultEndpointToHostAction is {action}")

    def _of_workload(self, workload: WorkloadId, direction: Direction) -> Iterator[Stage]:
        found = self._workload(workload)
        if found is None:
            why = "no endpoint has this interface"
            yield self._check(workload.endpoint, direction, "deny", "unknown interface", why)
        elif not found.active:
            yield self._check(found.name, direction, "deny", "admin state", "the endpoint is administratively down")
        elif direction == "egress" and self._packet.protocol == _IPIP:
            yield self._check(found.name, direction, "deny", "encapsulation", "a workload may not send IP in IP")
        else:
            yield self._stage(found.name, Lists("normal", direction, _of(found.policies, direction), found.profiles))

    def _stage(self, endpoint: str, lists: Lists, failsafe: bool = False) -> Stage:
        if failsafe and (port := self._failsafe(lists)):
            why = f"{port} is a failsafe port"
            return self._check(endpoint, lists.direction, "allow", "failsafe", why, lists.kind)
        outcome: Outcome = go_through(lists, self._packet, self._view.state, self._view.describe)
        if lists.kind in ("untracked", "pre-DNAT") and outcome.verdict == "allow":
            self._accepted = True
        return Stage(self._view.node, endpoint, lists.direction, lists.kind, *outcome)

    def _failsafe(self, lists: Lists) -> str:
        """The failsafe port that a packet is for; before connection tracking answers of the other side's count, too."""
        settings, packet = self._view.settings, self._packet
        inbound, outbound = settings.failsafe_inbound, settings.failsafe_outbound
        mine, theirs = (inbound, outbound) if lists.direction == "ingress" else (outbound, inbound)
        if any((packet.protocol, packet.destination_port) == one for one in mine):
            return str(packet.destination_port)
        if lists.kind == "untracked" and any((packet.protocol, packet.source_port) == one for one in theirs):
            return str(packet.source_port)
        return ""

    def _check(
        self,
        endpoint: str,
        direction: Direction,
        verdict: Literal["allow", "deny"],
        name: str,
        why: str,
        kind: Kind = "normal",
    ) -> Stage:
        step = Step("check", name, 0, verdict, why)
        return Stage(self._view.node, endpoint, direction, kind, (step,), verdict, why)

    def _unpoliced(self) -> Stage:
        found = self._workload(self._goes.workload) if self._goes.workload else None
        why = "what a host sends to its own workloads is never policed"
        return self._check(found.name if found else "", "ingress", "allow", "host to workload", why)

    def _workload(self, workload: WorkloadId) -> LocalWorkload | None:
        return self._view.state.workloads.get(workload)

    def _host_endpoint(self, stop: Stop, every: bool = True) -> tuple[str, HostEndpoint | None]:
        """The host endpoint an interface belongs to; that of all interfaces for others, workloads' among them."""
        every = every and not stop.is_host
        endpoints = self._view.state.host_endpoints
        mine = self._view.interfaces.get(stop.interface, frozenset())
        for name in sorted(endpoints):
            one = endpoints[name]
            if stop.interface and one.interface == stop.interface:
                return name, one
            if stop.interface and not one.interface and mine & set(one.addresses):
                return name, one
        if every:
            for name in sorted(endpoints):
                if endpoints[name].interface == EVERY:
                    return name, endpoints[name]
        return "", None


def _is_own(workload: LocalWorkload, packet: Packet) -> bool:
    """Whether a workload may send from a packet's source; in IPv6 also what finds neighbours on its link."""
    if packet.source in workload.addresses4 + workload.addresses6:
        return True
    is_neighbours = packet.source == "::" and packet.protocol == _ICMPV6
    return packet.version == 6 and (is_neighbours or ip_address(packet.source).is_link_local)


def _of(lists: PolicyList, direction: Direction) -> tuple[PolicyId, ...]:
    return lists.ingress if direction == "ingress" else lists.egress
