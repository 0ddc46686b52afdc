"""Which policies and profiles are active on this host, what they say, and in which order they apply to each endpoint.

All policies' selectors are in a label index over the *local* endpoints. A policy is active while it selects one of
them, a profile while one of them names it. Rules are translated, and their IP sets wanted, only while they are active.
"""

from collections import Counter
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from calico.felix import desired
from calico.felix.calc import inputs
from calico.felix.calc.published import Published
from calico.felix.calc.rules import Sets, translate
from calico.felix.calc.sets import IpSets
from calico.felix.desired import PolicyId, PolicyList
from calico.selector.index import Change, LabelIndex

Local = inputs.Workload | inputs.HostEnd


class Lists(NamedTuple):
    """The policy lists of a host endpoint; a workload has the first alone."""

    normal: PolicyList = PolicyList()
    untracked: PolicyList = PolicyList()
    pre_dnat: PolicyList = PolicyList()
    forward: PolicyList = PolicyList()


class Policies:
    """Policies, profiles and the local endpoints, by the keys of their resources; profiles by name."""

    def __init__(self, sets: IpSets) -> None:
        self._sets = sets
        self._index: LabelIndex[str, str, str] = LabelIndex()
        self._policies: dict[str, inputs.Policy] = {}
        self._profiles: dict[str, inputs.Profile] = {}
        self._endpoints: dict[str, Local] = {}
        self._selected: Counter[str] = Counter()
        self._named: Counter[str] = Counter()
        self._uses: dict[tuple[str, str], frozenset[str]] = {}
        self._ids: dict[PolicyId, str] = {}
        self.policies: Published[PolicyId, desired.Policy] = Published(self._active_policy)
        self.profiles: Published[str, desired.Profile] = Published(self._active_profile)
        self.relisted: set[str] = set()
        """The local endpoints whose lists may differ; whoever reads it empties it."""

    def set_policy(self, key: str, policy: inputs.Policy | None) -> None:
        """A policy as it is now; None: it is gone."""
        before = self._policies.get(key)
        if before == policy:
            return
        if before is not None:
            self.policies.suspect(before.id)
        if policy is None:
            self._apply(self._index.remove_selector(key))
            del self._policies[key]
            return
        self._policies[key] = policy
        self._ids[policy.id] = key
        self.policies.suspect(policy.id)
        self._apply(self._index.set_selector(key, policy.selector))
        if before is not None and _place(before) != _place(policy):
            self.relisted |= self._index.matches(key)

    def set_profile(self, profile: inputs.Profile) -> None:
        """A profile as it is now."""
        if self._profiles.get(profile.name) != profile:
            self._profiles[profile.name] = profile
            self._apply(self._index.set_profile(profile.name, profile.labels))
            self.profiles.suspect(profile.name)

    def remove_profile(self, name: str) -> None:
        """A profile is gone."""
        if self._profiles.pop(name, None) is not None:
            self._apply(self._index.remove_profile(name))
            self.profiles.suspect(name)

    def set_endpoint(self, key: str, endpoint: Local | None) -> None:
        """A local endpoint as it is now; None: it is gone, or no longer of this host."""
        before = self._endpoints.pop(key, None)
        if endpoint is None:
            self._apply(self._index.remove_endpoint(key))
        else:
            self._endpoints[key] = endpoint
            self._apply(self._index.set_endpoint(key, endpoint.labels, endpoint.profiles))
        old, new = before.profiles if before else (), endpoint.profiles if endpoint else ()
        if old != new:
            self._name(old, -1)
            self._name(new, 1)

    def _name(self, profiles: Iterable[str], change: int) -> None:
        for name in profiles:
            self._named[name] += change
            if not self._named[name]:
                del self._named[name]
            self.profiles.suspect(name)

    def _apply(self, changes: Iterable[Change[str, str]]) -> None:
        for key, endpoint, matches in changes:
            count = self._selected[key] = self._selected[key] + (1 if matches else -1)
            if not count:
                del self._selected[key]
            if count <= 1:  # it becomes active, or no more is
                self.policies.suspect(self._policies[key].id)
            self.relisted.add(endpoint)

    def lists(self, endpoint: str) -> Lists:
        """The policies that apply to a local endpoint, in order: by number, those without one last, then by name."""
        selected = sorted([self._policies[key] for key in self._index.matched_by(endpoint)], key=_order)
        untracked = [policy for policy in selected if policy.untracked]
        pre_dnat = [policy for policy in selected if policy.pre_dnat]
        normal = [policy for policy in selected if not policy.untracked and not policy.pre_dnat]
        forward = [policy for policy in normal if policy.on_forward]
        return Lists(_list(normal), _list(untracked), _list(pre_dnat), _list(forward))

    def _active_policy(self, policy_id: PolicyId) -> desired.Policy | None:
        key = self._ids[policy_id]
        policy = self._policies.get(key)
        if policy is None:
            del self._ids[policy_id]
        sets: Sets = {}
        if policy is None or key not in self._selected:
            self._use("policy", policy_id.name, sets)
            return None
        inbound = translate(policy.inbound, policy.namespace, sets)
        outbound = translate(policy.outbound, policy.namespace, sets)
        self._use("policy", policy_id.name, sets)
        return desired.Policy(inbound, outbound, policy.untracked, policy.pre_dnat)

    def _active_profile(self, name: str) -> desired.Profile | None:
        profile = self._profiles.get(name)
        sets: Sets = {}
        active: desired.Profile | None = None
        if name in self._named:
            if profile is None:
                active = desired.Profile((), (), missing=True)
            else:
                inbound, outbound = translate(profile.inbound, "", sets), translate(profile.outbound, "", sets)
                active = desired.Profile(inbound, outbound)
        self._use("profile", name, sets)
        return active

    def _use(self, kind: str, name: str, sets: Sets) -> None:
        """A policy or profile needs these sets, and none that it needed before beside them."""
        before = self._uses.pop((kind, name), frozenset())
        for uid in sets.keys() - before:
            self._sets.use(sets[uid])
        for uid in before - sets.keys():
            self._sets.drop(uid)
        if sets:
            self._uses[kind, name] = frozenset(sets)


def _order(policy: inputs.Policy) -> tuple[float, str]:
    return inf if policy.order is None else policy.order, policy.id.name


def _place(policy: inputs.Policy) -> tuple[object, ...]:
    """What of a policy decides where it stands in lists."""
    return (
        policy.order,
        policy.governs_ingress,
        policy.governs_egress,
        policy.untracked,
        policy.pre_dnat,
        policy.on_forward,
    )


def _list(policies: list[inputs.Policy]) -> PolicyList:
    if not policies:
        return _NONE
    return PolicyList(
        tuple([policy.id for policy in policies if policy.governs_ingress]),
        tuple([policy.id for policy in policies if policy.governs_egress]),
    )


_NONE = PolicyList()
