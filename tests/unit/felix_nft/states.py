"""Whole desired states, what lies between two of them, and short ways to write them."""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from calico.felix.desired import (
    Action,
    Changes,
    Host,
    HostEndpoint,
    IpSet,
    Nat,
    Policy,
    PolicyId,
    PolicyList,
    Pool,
    PortRange,
    Profile,
    Rule,
    SetChange,
    Side,
    Vtep,
    Workload,
    WorkloadId,
)

UDP, TCP, ICMP = 17, 6, 1
ANY = Side()


K = TypeVar("K")
V = TypeVar("V")


class State(NamedTuple):
    """Everything that the packet filter looks at."""

    sets: Mapping[str, IpSet] = {}
    policies: Mapping[PolicyId, Policy] = {}
    profiles: Mapping[str, Profile] = {}
    workloads: Mapping[WorkloadId, Workload] = {}
    host_endpoints: Mapping[str, HostEndpoint] = {}
    vteps: Mapping[str, Vtep] = {}
    pools: Mapping[str, Pool] = {}
    hosts: Mapping[str, Host] = {}


EMPTY = State()


def between(old: State, new: State) -> Changes:
    """What leads from one state to another."""
    created = {name: value for name, value in new.sets.items() if name not in old.sets}
    changed = {
        name: SetChange(value.members - old.sets[name].members, old.sets[name].members - value.members)
        for name, value in new.sets.items()
        if name in old.sets and value != old.sets[name]
    }
    return Changes(
        sets_created=created,
        sets_changed=changed,
        sets_removed=frozenset(old.sets) - frozenset(new.sets),
        policies=_differing(old.policies, new.policies),
        profiles=_differing(old.profiles, new.profiles),
        workloads=_differing(old.workloads, new.workloads),
        host_endpoints=_differing(old.host_endpoints, new.host_endpoints),
        vteps=_differing(old.vteps, new.vteps),
        pools=_differing(old.pools, new.pools),
        hosts=_differing(old.hosts, new.hosts),
    )


def _differing(old: Mapping[K, V], new: Mapping[K, V]) -> dict[K, V | None]:
    changes: dict[K, V | None] = {key: value for key, value in new.items() if old.get(key) != value}
    changes.update((key, None) for key in old if key not in new)
    return changes


def rule(
    action: Action = "allow",
    protocol: int | None = None,
    *,
    source: Side = ANY,
    to: Side = ANY,
    **more: object,
) -> Rule:
    """A rule."""
    return Rule(action, protocol=protocol, source=source, destination=to, **more)  # type: ignore[arg-type]


def port(first: int, last: int = 0) -> Side:
    """A side of one range of ports."""
    return Side(ports=(PortRange(first, last or first),))


def policies(*names: str) -> tuple[PolicyId, ...]:
    """Ids in order."""
    return tuple(PolicyId(name) for name in names)


def workload(
    interface: str,
    *addresses: str,
    ingress: tuple[str, ...] = (),
    egress: tuple[str, ...] = (),
    profiles: tuple[str, ...] = ("open",),
    nat: tuple[Nat, ...] = (),
    active: bool = True,
) -> Workload:
    """A workload endpoint."""
    return Workload(
        interface,
        "",
        tuple(one for one in addresses if ":" not in one),
        tuple(one for one in addresses if ":" in one),
        nat,
        active,
        profiles,
        PolicyList(policies(*ingress), policies(*egress)),
    )


def identity(name: str) -> WorkloadId:
    """The id of a workload endpoint."""
    return WorkloadId("libnetwork", "libnetwork", name)


OPEN = Profile((Rule("allow"),), (Rule("allow"),))
CLOSED = Profile((), ())
