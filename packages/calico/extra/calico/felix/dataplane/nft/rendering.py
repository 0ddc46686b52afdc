"""`Rendering`: the desired content of one family's table, from `Changes`.

Pure: it writes in a `Book`. The cost of a change is the change's: a policy's chains are rendered when the policy
changes, an endpoint's list when it is the first or the last to have it.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeVar

from calico.felix import desired
from calico.felix.dataplane.nft.bodies import Body, body_chain
from calico.felix.dataplane.nft.causes import DROPS_SET, Cause
from calico.felix.dataplane.nft.content import Book
from calico.felix.dataplane.nft.family import Family
from calico.felix.dataplane.nft.hosts import host_chains, match_interfaces
from calico.felix.dataplane.nft.members import Members
from calico.felix.dataplane.nft.names import (
    ALL_HOSTS,
    ALL_POOLS,
    ALL_VTEPS,
    DROPS,
    MASQUERADE_POOLS,
    Direction,
    Place,
    ip_set,
    policy_chain,
    profile_chain,
)
from calico.felix.dataplane.nft.policies import Where, denial, deny_chain, named, rules_chain, sets_of
from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.dataplane.nft.static import Static
from calico.felix.dataplane.nft.workloads import Workloads
from calico.felix.desired import Changes, HostEndpoint, IpSet, PolicyId, SetChange, Workload, WorkloadId
from calico.netlink.nftables.objects import Chain

K = TypeVar("K")
V = TypeVar("V")


class RulesKey(NamedTuple):
    """A chain of rules: of which policy or profile, for which direction and place."""

    kind: Literal["policy", "profile"]
    name: str
    direction: Direction
    place: Place

    @property
    def chain(self) -> str:
        """Its name in the kernel."""
        of = policy_chain if self.kind == "policy" else profile_chain
        return of(self.name, self.direction, self.place)


class Rendering:
    """The table of one family, as `Changes` make it.

    Chains of policies and profiles are there while a chain of an endpoint list refers to them, in the direction and
    place it does. What is referred to and not known denies, and is in `problems`. So is what cannot be rendered, and
    what the kernel refused: until the policy or profile changes.
    """

    def __init__(self, family: Family, settings: NftSettings) -> None:
        self.family = family
        self.book = Book()
        self.problems: dict[str, str] = {}
        self._settings = settings
        self._static = Static(family, settings)
        self._policies: dict[PolicyId, desired.Policy] = {}
        self._profiles: dict[str, desired.Profile] = {}
        self._sets: dict[str, Members] = {}
        self._users: dict[str, set[RulesKey]] = {}
        self._used: dict[RulesKey, frozenset[str]] = {}
        self._contents: Counter[str] = Counter()
        self._listed: dict[RulesKey, tuple[str, ...]] = {}
        self._bodies: Counter[Body] = Counter()
        self._rules: Counter[RulesKey] = Counter()
        self._refused: dict[RulesKey, str] = {}
        self._hosts: dict[str, HostEndpoint] = {}
        self._interfaces: Mapping[str, frozenset[str]] = {}
        self._host_bodies: frozenset[Body] = frozenset()
        self._host_chains: frozenset[str] = frozenset()
        self._vteps: dict[str, str] = {}
        self._nodes: dict[str, str] = {}
        self._pools: dict[str, bool] = {}
        self.book.put_set(DROPS, DROPS_SET)
        for name in (ALL_HOSTS, ALL_VTEPS, ALL_POOLS, MASQUERADE_POOLS):
            self._put_special(name, ())
        self.workloads = Workloads(family, self.book)
        for name, chain in (self._static.fixed() | self._static.entries(frozenset())).items():
            self.book.put_chain(name, chain)
        self._put_nodes()

    def update(self, changes: Changes) -> None:
        """Take changes in. What is referred to comes before what refers to it, and goes after."""
        self._update_sets(changes)
        self._update_rules(changes)
        for identity, workload in changes.workloads.items():
            needed, unneeded = self.workloads.update(identity, self._refuse(identity, workload))
            self._hold(needed)
            self._release(unneeded)
        if changes.host_endpoints:
            _merge(self._hosts, changes.host_endpoints)
            self._update_hosts()
        self._update_nodes(changes)
        for removed in changes.sets_removed:
            self.problems.pop(removed, None)
            self._drop_set(removed)

    def set_interfaces(self, interfaces: Mapping[str, frozenset[str]]) -> None:
        """Know the host's interfaces and their addresses."""
        if interfaces != self._interfaces:
            self._interfaces = dict(interfaces)
            self._update_hosts()

    def knows(self, interface: str) -> bool:
        """Whether an interface is a workload's, or one of the host that was told."""
        return self.workloads.has_interface(interface) or interface in self._interfaces

    def refuse(self, name: str, reason: str) -> bool:
        """Let what needs a chain, or a set of its rules' content, deny alone; whether it is any policy's or profile's.

        `name` is the chain's or set's, `reason` the kernel's.
        """
        users = [key for key in self._rules if name == key.chain or name in self._listed.get(key, ())]
        for key in users:
            self._refused[key] = reason
            self._render(key)
        return bool(users)

    def use_intervals(self, names: Iterable[str]) -> None:
        """Let sets be what the kernel has: one that became an interval set stays one."""
        wanted = set(names)
        for identity, members in self._sets.items():
            if ip_set(identity, interval=True) in wanted and not members.interval and members.kind == "net":
                self._become_intervals(identity, members)

    def _refuse(self, identity: WorkloadId, workload: Workload | None) -> Workload | None:
        """The workload; None, which drops its traffic, where the kernel could not hold what it says."""
        what = f"workload {workload.name or '/'.join(identity)}" if workload else ""
        reason = self.workloads.refusal(workload) if workload else ""
        key = "/".join(identity)
        if not reason:
            self.problems.pop(key, None)
            return workload
        self.problems[key] = f"{what}: {reason}; its traffic is dropped"
        return None

    def _update_sets(self, changes: Changes) -> None:
        for identity, content in changes.sets_created.items():
            self._create_set(identity, content)
        for identity, change in changes.sets_changed.items():
            self._change_set(identity, change)

    def _create_set(self, identity: str, content: IpSet) -> None:
        self._drop_set(identity)
        self._sets[identity] = members = Members(self.family, content.kind, content.members)
        self.book.put_set(self._set_name(identity), members.definition, members.elements)
        self._note_refused(identity, members)
        for user in tuple(self._users.get(identity, ())):
            self._render(user)

    def _note_refused(self, identity: str, members: Members) -> None:
        if members.refused:
            left_out = ", ".join(sorted(members.refused)[:3])
            self.problems[identity] = f"set {identity}: {len(members.refused)} members make no sense: {left_out}"
        else:
            self.problems.pop(identity, None)

    def _change_set(self, identity: str, change: SetChange) -> None:
        self._change_members(identity, self._sets[identity], change)
        self._note_refused(identity, self._sets[identity])

    def _change_members(self, identity: str, members: Members, change: SetChange) -> None:
        if not members.interval and members.needs_intervals(change.added):
            members.change((), change.removed)
            self._become_intervals(identity, members, change.added)
            return
        name = self._set_name(identity)
        added, removed = members.change(change.added, change.removed)
        self.book.add_elements(name, added)
        self.book.remove_elements(name, removed)

    def _become_intervals(self, identity: str, members: Members, added: Iterable[str] = ()) -> None:
        """Let an interval set stand in the place of a hash, and everything that refers to it refer to that."""
        self.book.drop_set(self._set_name(identity))
        members.become_intervals()
        members.change(added, ())
        self.book.put_set(self._set_name(identity), members.definition, members.elements)
        for user in tuple(self._users.get(identity, ())):
            self._render(user)

    def _drop_set(self, identity: str) -> None:
        if identity in self._sets:
            self.book.drop_set(self._set_name(identity))
            del self._sets[identity]

    def _set_name(self, identity: str) -> str:
        return ip_set(identity, interval=self._sets[identity].interval)

    def _update_rules(self, changes: Changes) -> None:
        _merge(self._policies, changes.policies)
        _merge(self._profiles, changes.profiles)
        for policy in changes.policies:
            self._render_again("policy", policy.name)
        for profile in changes.profiles:
            self._render_again("profile", profile)

    def _render_again(self, kind: Literal["policy", "profile"], name: str) -> None:
        for key in _keys(kind, name):
            self._refused.pop(key, None)
            if key in self._rules:
                self._render(key)

    def _render(self, key: RulesKey) -> None:
        cause = Cause.POLICY if key.kind == "policy" else Cause.PROFILE
        at = Where(self.family, self._settings, denial(cause, key.direction, key.place), self._set_name)
        rules = self._rules_of(key)
        used = sets_of(rules or ())
        self._use(key, used)
        unknown = sorted(used - self._sets.keys())
        if rules is None or unknown:
            self.problems[key.chain] = f"{key.kind} {key.name}: " + (
                f"refers to sets that are not there: {', '.join(unknown)}" if unknown else "is not there"
            )
            self._put(key, deny_chain(at))
            return
        self._put_rules(key, rules, at)

    def _put_rules(self, key: RulesKey, rules: tuple[desired.Rule, ...], at: Where) -> None:
        try:
            if reason := self._refused.get(key):
                raise ValueError(f"the kernel refuses it: {reason}")
            chain = deny_chain(at) if self._is_missing(key) else rules_chain(rules, at)
            self.problems.pop(key.chain, None)
        except (ValueError, OSError, OverflowError, struct.error) as error:
            self.problems[key.chain] = f"{key.kind} {key.name}: cannot be rendered, so it denies everything: {error}"
            chain = deny_chain(at)
        self._put(key, chain)

    def _put(self, key: RulesKey, chain: Chain) -> None:
        """Put a chain in the book, with the sets of what its rules list; sets of the same content are shared."""
        chain, contents = named(chain)
        for name, part in contents.items():
            if not self._contents[name]:
                self.book.put_set(name, part.set, part.elements)
            self._contents[name] += 1
        self.book.put_chain(key.chain, chain)
        self._release_contents(key)
        self._listed[key] = tuple(contents)

    def _release_contents(self, key: RulesKey) -> None:
        for name in self._listed.pop(key, ()):
            self._contents[name] -= 1
            if not self._contents[name]:
                del self._contents[name]
                self.book.drop_set(name)

    def _is_missing(self, key: RulesKey) -> bool:
        return key.kind == "profile" and self._profiles[key.name].missing

    def _rules_of(self, key: RulesKey) -> tuple[desired.Rule, ...] | None:
        of: desired.Policy | desired.Profile | None
        of = self._policies.get(PolicyId(key.name)) if key.kind == "policy" else self._profiles.get(key.name)
        if of is None:
            return None
        return of.inbound if key.direction == "in" else of.outbound

    def _use(self, key: RulesKey, used: frozenset[str]) -> None:
        """Remember which sets a chain refers to."""
        before = self._used.pop(key, frozenset())
        for identity in before - used:
            self._users[identity].discard(key)
            if not self._users[identity]:
                del self._users[identity]
        for identity in used - before:
            self._users.setdefault(identity, set()).add(key)
        if used:
            self._used[key] = used

    def _hold(self, bodies: Iterable[Body]) -> None:
        for body in bodies:
            self._bodies[body] += 1
            if self._bodies[body] == 1:
                for key in _rules_keys(body):
                    self._rules[key] += 1
                    if self._rules[key] == 1:
                        self._render(key)
                self.book.put_chain(body.chain, body_chain(body, self._settings))

    def _release(self, bodies: Iterable[Body]) -> None:
        for body in bodies:
            self._bodies[body] -= 1
            if self._bodies[body]:
                continue
            del self._bodies[body]
            self.book.drop_chain(body.chain)
            for key in _rules_keys(body):
                self._rules[key] -= 1
                if not self._rules[key]:
                    self._forget(key)

    def _forget(self, key: RulesKey) -> None:
        del self._rules[key]
        self._refused.pop(key, None)
        self._use(key, frozenset())
        self._release_contents(key)
        self.problems.pop(key.chain, None)
        self.book.drop_chain(key.chain)

    def _update_hosts(self) -> None:
        chains, bodies = host_chains(match_interfaces(self._hosts, self._interfaces, self._settings.interface_prefixes))
        self._hold(bodies - self._host_bodies)
        for name, chain in chains.items():
            self.book.put_chain(name, chain)
        names = frozenset(chains)
        entries = self._static.entries(names)
        for name, chain in entries.items():
            self.book.put_chain(name, chain)
        for name in self._static.entries(self._host_chains).keys() - entries.keys():
            self.book.drop_chain(name)
        for name in self._host_chains - names:
            self.book.drop_chain(name)
        self._release(self._host_bodies - bodies)
        self._host_bodies, self._host_chains = bodies, names

    def _update_nodes(self, changes: Changes) -> None:
        if changes.vteps or changes.hosts:
            _merge(self._vteps, {name: vtep and vtep.node_address for name, vtep in changes.vteps.items()})
            _merge(self._nodes, {name: host and host.address4 for name, host in changes.hosts.items()})
            self._put_nodes()
        if changes.pools:
            _merge(self._pools, {net: pool and pool.masquerade for net, pool in changes.pools.items()})
            self._put_special(ALL_POOLS, self._pools)
            self._put_special(MASQUERADE_POOLS, (net for net, masquerade in self._pools.items() if masquerade))

    def _put_nodes(self) -> None:
        external = self._settings.external_nodes
        self._put_special(ALL_HOSTS, (*filter(None, self._nodes.values()), *external))
        self._put_special(ALL_VTEPS, (*filter(None, self._vteps.values()), *external))

    def _put_special(self, name: str, nets: Iterable[str]) -> None:
        members = Members(self.family, "net", nets, interval=True)
        self.book.put_set(name, members.definition, members.elements)


def _keys(kind: Literal["policy", "profile"], name: str) -> list[RulesKey]:
    directions: tuple[Direction, ...] = ("in", "out")
    places: tuple[Place, ...] = ("workload", "host")
    return [RulesKey(kind, name, direction, place) for direction in directions for place in places]


def _rules_keys(body: Body) -> list[RulesKey]:
    """The chains that a body's chain jumps to."""
    return [
        *(RulesKey("policy", one.name, body.direction, body.place) for one in body.policies),
        *(RulesKey("profile", one, body.direction, body.place) for one in body.profiles),
    ]


def _merge(known: dict[K, V], changes: Mapping[K, V | None]) -> None:
    """Take in what changed; None: it is no more."""
    for key, value in changes.items():
        if value is None:
            known.pop(key, None)
        else:
            known[key] = value
