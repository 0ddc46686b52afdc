"""`State`: the whole desired dataplane, as the sum of all `Changes` so far."""

from typing import Any

from calico.felix.desired import (
    Changes,
    Host,
    HostEndpoint,
    IpSet,
    Policy,
    PolicyId,
    Pool,
    Profile,
    Route,
    Vtep,
    Workload,
    WorkloadId,
)


class State:
    """What must be true in the kernel, by the names of the members of `Changes`."""

    def __init__(self) -> None:
        self.sets: dict[str, IpSet] = {}
        self.policies: dict[PolicyId, Policy] = {}
        self.profiles: dict[str, Profile] = {}
        self.workloads: dict[WorkloadId, Workload] = {}
        self.host_endpoints: dict[str, HostEndpoint] = {}
        self.routes: dict[str, Route] = {}
        self.vteps: dict[str, Vtep] = {}
        self.pools: dict[str, Pool] = {}
        self.hosts: dict[str, Host] = {}

    def apply(self, changes: Changes) -> None:
        """Take in what differs; KeyError where it speaks of a set that is not there."""
        for uid in changes.sets_removed:
            del self.sets[uid]
        for uid, change in changes.sets_changed.items():
            found = self.sets[uid]
            self.sets[uid] = found._replace(members=(found.members - change.removed) | change.added)
        self.sets.update(changes.sets_created)
        for name in _MAPS:
            _merge(getattr(self, name), getattr(changes, name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


_MAPS = ("policies", "profiles", "workloads", "host_endpoints", "routes", "vteps", "pools", "hosts")


def _merge(known: dict[Any, Any], changes: Any) -> None:
    for key, value in changes.items():
        if value is None:
            del known[key]
        else:
            known[key] = value
