"""`Graph`: a syncer's updates in, what the dataplane of one host must be out.

An update goes to the parts that it concerns, which work out at once whom it touches; `flush` then computes the touched
values and gives out those that differ from what was given out before. So however many updates a batch has, and in
whatever order they come, each value is computed once, from the state as it is then:

    resource                  sets     policies   routes    cluster
    WorkloadEndpoint          member   if local   if local
    HostEndpoint              member   if ours
    NetworkSet                member
    Profile                   labels   rules
    policies                           rules
    IPPool                                        around    pools
    Node                                          owner     hosts, VTEPs
    block                                         claims

Nothing here does I/O, and nothing is kept but memory: a restart builds it from the datastore's snapshot.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from calico.datastore.syncer import Update
from calico.felix import desired
from calico.felix.calc import inputs
from calico.felix.calc.cluster import Nodes, Pools
from calico.felix.calc.policies import Policies
from calico.felix.calc.published import Published
from calico.felix.calc.routes import Routes
from calico.felix.calc.sets import IpSets
from calico.felix.desired import Changes, WorkloadId
from calico.model.keys import BLOCKS, RESOURCES
from calico.model.kinds import KINDS


class Statistics(NamedTuple):
    """How much there is: in the whole cluster, and `active_`, what concerns this host."""

    hosts: int
    workloads: int
    host_endpoints: int
    policies: int
    profiles: int
    active_endpoints: int
    active_policies: int
    active_sets: int


class Graph:
    """The calculation for the host named `host`. Not for use from several threads."""

    def __init__(self, host: str, route_source: str = "CalicoIPAM") -> None:
        self._host = host
        self._sets = IpSets()
        self._policies = Policies(self._sets)
        self._nodes = Nodes(host)
        self._pools = Pools()
        self._routes = Routes(host, self._nodes, self._pools, route_source)
        self._workload_keys: dict[WorkloadId, str] = {}
        self._host_keys: dict[str, str] = {}
        self._workloads: Published[WorkloadId, desired.Workload] = Published(self._workload)
        self._host_endpoints: Published[str, desired.HostEndpoint] = Published(self._host_endpoint)
        self._local: dict[str, inputs.Workload | inputs.HostEnd] = {}
        self._present: dict[str, set[str]] = {plural: set() for plural in _COUNTED}
        self._handlers: dict[str, Callable[[str, Any], None]] = {
            "workloadendpoints": self._on_workload,
            "hostendpoints": self._on_host_endpoint,
            "networksets": self._sets.set_contributor,
            "globalnetworksets": self._sets.set_contributor,
            "networkpolicies": self._policies.set_policy,
            "globalnetworkpolicies": self._policies.set_policy,
            "profiles": self._on_profile,
            "nodes": self._on_node,
            "ippools": self._on_pool,
        }
        self._on_profile(inputs.DEFAULT_PROFILE.name, None)

    def update(self, updates: Iterable[Update]) -> None:
        """Take in what became of some keys, with values as `inputs.DECODERS` makes them. Other keys are ignored."""
        for key, value, _ in updates:
            if key.startswith(RESOURCES):
                plural = key[len(RESOURCES) :].partition("/")[0]
                if handler := self._handlers.get(plural):
                    handler(key, value)
                    self._count(plural, key, value is not None)
            elif key.startswith(BLOCKS):
                self._routes.set_block(key, value)

    def flush(self) -> Changes:
        """What differs from the desired dataplane as of the last flush."""
        policies, profiles = self._policies.policies.changes(), self._policies.profiles.changes()
        sets = self._sets.changes()
        self._suspect_relisted()
        return Changes(
            sets.created,
            sets.changed,
            sets.removed,
            policies,
            profiles,
            self._workloads.changes(),
            self._host_endpoints.changes(),
            self._routes.published.changes(),
            self._nodes.vteps.changes(),
            self._pools.published.changes(),
            self._nodes.hosts.changes(),
        )

    def statistics(self) -> Statistics:
        """How much there is, as of the last flush."""
        present = {plural: len(keys) for plural, keys in self._present.items()}
        return Statistics(
            len(self._nodes),
            present["workloadendpoints"],
            present["hostendpoints"],
            present["networkpolicies"] + present["globalnetworkpolicies"],
            present["profiles"],
            len(self._local),
            len(self._policies.policies),
            len(self._sets),
        )

    def describe(self, uid: str) -> str:
        """What is in a set that is in use, in a user's words; the id of one that is not."""
        return self._sets.describe(uid)

    def _count(self, plural: str, key: str, is_present: bool) -> None:
        if plural in self._present:
            (self._present[plural].add if is_present else self._present[plural].discard)(key)

    def _on_workload(self, key: str, workload: inputs.Workload | None) -> None:
        self._sets.set_contributor(key, workload)
        self._routes.set_workload(key, workload)
        before = self._local.get(key)
        if workload is not None and workload.node == self._host:
            self._workload_keys[workload.id] = key
            self._workloads.suspect(workload.id)
            self._set_local(key, workload)
        elif isinstance(before, inputs.Workload):
            self._workloads.suspect(before.id)
            self._set_local(key, None)

    def _on_host_endpoint(self, key: str, endpoint: inputs.HostEnd | None) -> None:
        self._sets.set_contributor(key, endpoint)
        before = self._local.get(key)
        if endpoint is not None and endpoint.node == self._host:
            self._host_keys[endpoint.name] = key
            self._host_endpoints.suspect(endpoint.name)
            self._set_local(key, endpoint)
        elif isinstance(before, inputs.HostEnd):
            self._host_endpoints.suspect(before.name)
            self._set_local(key, None)

    def _set_local(self, key: str, endpoint: inputs.Workload | inputs.HostEnd | None) -> None:
        if endpoint is None:
            del self._local[key]
        else:
            self._local[key] = endpoint
        self._policies.set_endpoint(key, endpoint)

    def _on_profile(self, key: str, profile: inputs.Profile | None) -> None:
        name = key.rpartition("/")[2]
        if profile is None and name == inputs.DEFAULT_PROFILE.name:
            profile = inputs.DEFAULT_PROFILE
        self._sets.set_profile(name, profile.labels if profile else None)
        if profile is None:
            self._policies.remove_profile(name)
        else:
            self._policies.set_profile(profile)

    def _on_node(self, key: str, node: inputs.Node | None) -> None:
        name = key.rpartition("/")[2]
        self._nodes.set_node(name, node)
        self._routes.set_node(name, node)

    def _on_pool(self, key: str, pool: inputs.PoolInput | None) -> None:
        self._routes.set_pools(self._pools.set_pool(key, pool))

    def _suspect_relisted(self) -> None:
        """The endpoints whose policy lists may differ are given out anew, if they do."""
        for key in self._policies.relisted:
            endpoint = self._local.get(key)
            if isinstance(endpoint, inputs.Workload):
                self._workloads.suspect(endpoint.id)
            elif endpoint is not None:
                self._host_endpoints.suspect(endpoint.name)
        self._policies.relisted.clear()

    def _workload(self, workload_id: WorkloadId) -> desired.Workload | None:
        key = self._workload_keys[workload_id]
        found = self._local.get(key)
        if not isinstance(found, inputs.Workload):
            del self._workload_keys[workload_id]
            return None
        return desired.Workload(
            found.interface,
            found.mac,
            tuple([net for net in found.nets if ":" not in net]),
            tuple([net for net in found.nets if ":" in net]),
            found.nat,
            True,
            found.profiles,
            self._policies.lists(key).normal,
            found.name,
        )

    def _host_endpoint(self, name: str) -> desired.HostEndpoint | None:
        key = self._host_keys[name]
        found = self._local.get(key)
        if not isinstance(found, inputs.HostEnd):
            del self._host_keys[name]
            return None
        return desired.HostEndpoint(found.interface, found.nets, found.profiles, *self._policies.lists(key))


_COUNTED = ("workloadendpoints", "hostendpoints", "networkpolicies", "globalnetworkpolicies", "profiles")
assert set(_COUNTED) <= {kind.plural for kind in KINDS.values()}
