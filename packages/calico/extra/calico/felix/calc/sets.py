"""The IP sets that active rules use, and what is in each.

A set lives while an active policy or profile uses it. Its selector is in a label index over the endpoints and network
sets of the whole cluster, so that a change of one of these visits only the sets whose members it can change. Two
contributors may bring the same member, which leaves with the last of them.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from calico.felix.calc.inputs import Labels, Member
from calico.felix.calc.rules import SetDefinition
from calico.felix.desired import IpSet, SetChange
from calico.selector.index import Change, LabelIndex


class SetChanges(NamedTuple):
    """The part of `Changes` that is about sets."""

    created: Mapping[str, IpSet]
    changed: Mapping[str, SetChange]
    removed: frozenset[str]


class _Set:
    """A set: how many users and contributors of each member it has, and what differs from what was given out."""

    __slots__ = ("added", "definition", "given", "members", "removed", "users")

    def __init__(self, definition: SetDefinition) -> None:
        self.definition = definition
        self.users = 0
        self.given = False
        self.members: dict[str, int] = {}
        self.added: set[str] = set()
        self.removed: set[str] = set()

    def add(self, member: str) -> None:
        """One more contributor of a member."""
        count = self.members.get(member, 0)
        self.members[member] = count + 1
        if not count and self.given:
            _move(member, self.removed, self.added)

    def remove(self, member: str) -> None:
        """One contributor of a member less."""
        count = self.members[member] - 1
        if count:
            self.members[member] = count
            return
        del self.members[member]
        if self.given:
            _move(member, self.added, self.removed)


def _move(member: str, undone: set[str], done: set[str]) -> None:
    if member in undone:
        undone.remove(member)
    else:
        done.add(member)


class IpSets:
    """The sets in use. Contributors are known by the key of their resource."""

    def __init__(self) -> None:
        self._index: LabelIndex[str, str, str] = LabelIndex()
        self._contributors: dict[str, Member] = {}
        self._sets: dict[str, _Set] = {}
        self._suspects: set[str] = set()

    def __len__(self) -> int:
        return len(self._sets)

    def describe(self, uid: str) -> str:
        """What is in a set, in a user's words; the id of one that is not there."""
        found = self._sets.get(uid)
        if found is None:
            return uid
        selector, protocol, port = found.definition.selector, found.definition.protocol, found.definition.port
        shown = selector.canonical
        shown = shown[1:-1] if shown.startswith("(") else shown
        return f"named {protocol} port {port} of {shown}" if port else shown

    def set_profile(self, name: str, labels: Labels | None) -> None:
        """The labels that a profile gives; None: it is gone."""
        changes = self._index.remove_profile(name) if labels is None else self._index.set_profile(name, labels)
        self._apply(changes)

    def set_contributor(self, key: str, now: Member | None) -> None:
        """An endpoint or network set as it is now; None: it is gone."""
        before = self._contributors.get(key)
        if before == now:
            return
        if before is not None and now is not None and before.nets == now.nets and before.ports == now.ports:
            self._contributors[key] = now
            self._apply(self._index.set_endpoint(key, now.labels, now.profiles))
            return
        if before is not None:
            self._withdraw(key, before, now)
        if now is not None:
            self._contribute(key, now)

    def _withdraw(self, key: str, before: Member, now: Member | None) -> None:
        for uid in self._index.matched_by(key):
            self._remove(uid, before)
        del self._contributors[key]
        if now is None:
            self._index.remove_endpoint(key)

    def _contribute(self, key: str, now: Member) -> None:
        self._contributors[key] = now
        self._index.set_endpoint(key, now.labels, now.profiles)
        for uid in self._index.matched_by(key):
            self._add(uid, now)

    def use(self, definition: SetDefinition) -> None:
        """One more user of a set, which is made if it is the first."""
        found = self._sets.get(definition.id)
        if found is None:
            found = self._sets[definition.id] = _Set(definition)
            self._apply(self._index.set_selector(definition.id, definition.selector))
        found.users += 1
        self._suspects.add(definition.id)

    def drop(self, uid: str) -> None:
        """One user of a set less; one without users goes when changes are next asked for."""
        self._sets[uid].users -= 1
        self._suspects.add(uid)

    def changes(self) -> SetChanges:
        """What differs from what was given out, which it then is."""
        created: dict[str, IpSet] = {}
        changed: dict[str, SetChange] = {}
        removed: set[str] = set()
        for uid in self._suspects:
            found = self._sets[uid]
            if not found.users:
                self._forget(uid)
                if found.given:
                    removed.add(uid)
            elif not found.given:
                found.given = True
                created[uid] = IpSet("port" if found.definition.port else "net", frozenset(found.members))
            elif found.added or found.removed:
                changed[uid] = SetChange(frozenset(found.added), frozenset(found.removed))
                found.added, found.removed = set(), set()
        self._suspects.clear()
        return SetChanges(created, changed, frozenset(removed))

    def _forget(self, uid: str) -> None:
        del self._sets[uid]
        self._index.remove_selector(uid)

    def _apply(self, changes: Iterable[Change[str, str]]) -> None:
        for uid, key, matches in changes:
            if matches:
                self._add(uid, self._contributors[key])
            else:
                self._remove(uid, self._contributors[key])

    def _add(self, uid: str, contributor: Member) -> None:
        found = self._sets[uid]
        for member in members_of(contributor, found.definition):
            found.add(member)
        self._suspects.add(uid)

    def _remove(self, uid: str, contributor: Member) -> None:
        found = self._sets[uid]
        for member in members_of(contributor, found.definition):
            found.remove(member)
        self._suspects.add(uid)


def members_of(contributor: Member, definition: SetDefinition) -> Iterable[str]:
    """What an endpoint or network set that is selected brings into a set."""
    return _ports_of(contributor, definition) if definition.port else contributor.nets


def _ports_of(contributor: Member, definition: SetDefinition) -> Iterator[str]:
    ports = {port.port for port in contributor.ports if port[:2] == (definition.port, definition.protocol)}
    for port in ports:
        for address in contributor.nets:
            yield f"{address},{definition.protocol}:{port}"
