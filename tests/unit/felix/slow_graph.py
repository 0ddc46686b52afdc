"""The calculation at its most obvious: every flush computes everything anew and gives out what differs."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_interface
from math import inf
from typing import Any

from calico.datastore.syncer import Update
from calico.felix import desired
from calico.felix.calc import inputs
from calico.felix.calc.cluster import mac_of
from calico.felix.calc.rules import SetDefinition, Sets, translate
from calico.felix.desired import Changes, IpSet, PolicyList, Route, SetChange
from calico.felix.state import State

Endpoint = inputs.Workload | inputs.HostEnd


class SlowGraph:
    """The contract of `Graph`, by recomputing."""

    def __init__(self, host: str, route_source: str = "CalicoIPAM") -> None:
        self._host, self._route_source = host, route_source
        self._values: dict[str, Any] = {}
        self._given = State()

    def update(self, updates: Iterable[Update]) -> None:
        for key, value, _ in updates:
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value

    def flush(self) -> Changes:
        before, self._given = self._given, self.state()
        return difference(before, self._given)

    def _all(self, *kinds: type) -> list[Any]:
        return [value for value in self._values.values() if isinstance(value, kinds)]

    def _profiles(self) -> dict[str, inputs.Profile]:
        stored = {one.name: one for one in self._all(inputs.Profile)}
        return {inputs.DEFAULT_PROFILE.name: inputs.DEFAULT_PROFILE, **stored}

    def _labels(self, one: Any) -> dict[str, str]:
        labels: dict[str, str] = {}
        for name in reversed(one.profiles):
            labels |= self._profiles()[name].labels if name in self._profiles() else {}
        return {**labels, **one.labels}

    def _local(self) -> list[Endpoint]:
        return [one for one in self._all(inputs.Workload, inputs.HostEnd) if one.node == self._host]

    def state(self) -> State:
        """The whole desired dataplane, as the values are now."""
        state, sets = State(), Sets()
        for policy in self._all(inputs.Policy):
            if any(policy.selector.matches(self._labels(one)) for one in self._local()):
                inbound, outbound = (
                    translate(rules, policy.namespace, sets) for rules in (policy.inbound, policy.outbound)
                )
                state.policies[policy.id] = desired.Policy(inbound, outbound, policy.untracked, policy.pre_dnat)
        for name in {name for one in self._local() for name in one.profiles}:
            found = self._profiles().get(name)
            rules = (translate(found.inbound, "", sets), translate(found.outbound, "", sets)) if found else ((), ())
            state.profiles[name] = desired.Profile(*rules, missing=found is None)
        state.sets = {uid: self._set(definition) for uid, definition in sets.items()}
        for one in self._local():
            self._add_endpoint(state, one)
        self._add_cluster(state)
        self._add_routes(state)
        return state

    def _set(self, definition: SetDefinition) -> IpSet:
        members: set[str] = set()
        for one in self._all(inputs.Workload, inputs.HostEnd, inputs.NetworkSet):
            if not definition.selector.matches(self._labels(one)):
                continue
            if not definition.port:
                members.update(one.nets)
            for port in one.ports:
                if (port.name, port.protocol) == (definition.port, definition.protocol):
                    members.update(f"{net},{port.protocol}:{port.port}" for net in one.nets)
        return IpSet("port" if definition.port else "net", frozenset(members))

    def _add_endpoint(self, state: State, one: Endpoint) -> None:
        selecting = [policy for policy in self._all(inputs.Policy) if policy.selector.matches(self._labels(one))]
        selecting.sort(key=lambda policy: (inf if policy.order is None else policy.order, policy.id.name))

        def listed(*wanted: bool) -> PolicyList:
            """Of the policies that are (untracked, pre_dnat) as wanted, and on forward where a third is given."""
            chosen = [
                policy
                for policy in selecting
                if (policy.untracked, policy.pre_dnat) == wanted[:2] and (len(wanted) < 3 or policy.on_forward)
            ]
            return PolicyList(
                tuple(policy.id for policy in chosen if policy.governs_ingress),
                tuple(policy.id for policy in chosen if policy.governs_egress),
            )

        normal = listed(False, False)
        if isinstance(one, inputs.HostEnd):
            lists = normal, listed(True, False), listed(False, True), listed(False, False, True)
            state.host_endpoints[one.name] = desired.HostEndpoint(one.interface, one.nets, one.profiles, *lists)
            return
        families = [tuple(net for net in one.nets if ip_interface(net).version == version) for version in (4, 6)]
        state.workloads[one.id] = desired.Workload(
            one.interface, one.mac, families[0], families[1], one.nat, True, one.profiles, normal, one.name
        )

    def _add_cluster(self, state: State) -> None:
        for one in self._all(inputs.Node):
            address4, address6 = (
                one.address4.partition("/")[0],
                str(ip_interface(one.address6).ip) if one.address6 else "",
            )
            subnet = str(IPv4Interface(one.address4).network) if one.address4 else ""
            state.hosts[one.name] = desired.Host(
                address4, address6, one.vxlan_address, one.ipip_address, one.vxlan_mac, subnet
            )
            if one.name != self._host and address4 and one.vxlan_address:
                state.vteps[one.name] = desired.Vtep(one.vxlan_address, mac_of(one.name, one.vxlan_mac), address4)
        for pool in sorted(self._all(inputs.PoolInput), key=lambda pool: str(pool.name), reverse=True):
            state.pools[pool.cidr] = pool.pool

    def _add_routes(self, state: State) -> None:
        owners: dict[str, tuple[Any, str, bool]] = {}
        for cidr, pool in state.pools.items():
            if ":" not in cidr:
                state.routes[cidr] = Route("pool", "", "", pool.encapsulation, pool.masquerade)
        if self._route_source == "CalicoIPAM":
            claims = [claim for block in self._all(inputs.Block) for claim in block.claims]
            for claim in sorted(claims, key=lambda one: (one.borrowed, [-ord(char) for char in one.node])):
                owners[claim.cidr] = ("workload", claim.node, claim.borrowed)
        for name in sorted(state.hosts, reverse=True):
            if state.hosts[name].address4:
                owners[f"{state.hosts[name].address4}/32"] = ("host", name, False)
        for one in sorted(self._all(inputs.Workload), key=lambda one: str(one.node), reverse=True):
            if one.node == self._host or self._route_source == "WorkloadIPs":
                owners.update({f"{net}/32": ("workload", one.node, False) for net in one.nets if ":" not in net})
        for cidr, owner in owners.items():
            state.routes[cidr] = self._route(state, cidr, *owner)

    def _route(self, state: State, cidr: str, what: str, node: str, borrowed: bool) -> Route:
        around = [one for one in map(IPv4Network, self._pools4(state)) if IPv4Network(cidr).subnet_of(one)]
        pool = state.pools[str(max(around, key=lambda one: one.prefixlen))] if around else None
        host = state.hosts.get(node, desired.Host())
        kind: Any = f"{'local' if node == self._host else 'remote'}-{what}"
        if pool is None:
            return Route(kind, node, host.address4, borrowed=borrowed)
        subnet = state.hosts.get(self._host, desired.Host()).subnet4
        near = bool(subnet and host.address4 and IPv4Address(host.address4) in IPv4Network(subnet))
        same = pool.cross_subnet and near
        return Route(kind, node, host.address4, pool.encapsulation, pool.masquerade, same, borrowed)

    def _pools4(self, state: State) -> list[str]:
        return [cidr for cidr in state.pools if ":" not in cidr]


def difference(before: State, after: State) -> Changes:
    """What leads from one state to another."""
    maps = {name: _differing(getattr(before, name), value) for name, value in vars(after).items() if name != "sets"}
    both = before.sets.keys() & after.sets.keys()
    changes = {
        uid: SetChange(now.members - old.members, old.members - now.members)
        for uid in both
        if (now := after.sets[uid]) != (old := before.sets[uid])
    }
    created = {uid: found for uid, found in after.sets.items() if uid not in before.sets}
    return Changes(created, changes, frozenset(before.sets.keys() - after.sets.keys()), **maps)


def _differing(before: dict[Any, Any], after: dict[Any, Any]) -> dict[Any, Any]:
    keys = before.keys() | after.keys()
    return {key: after.get(key) for key in keys if before.get(key) != after.get(key)}
