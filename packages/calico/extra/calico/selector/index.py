"""Which endpoints match which selectors, kept up to date as either changes.

Evaluating every selector for every change would cost endpoints x selectors. Two facts avoid it:

- a selector is filed under one *requirement* (see `nodes`): pairs of label and value of which a matching endpoint
  carries at least one. Only endpoints with such a pair are looked at when the selector arrives, and only selectors
  filed under an endpoint's own pairs when the endpoint changes;
- a change of some labels can only change the outcome of selectors that mention one of them, so each file keeps its
  selectors by the labels they mention.

An endpoint carries its own labels and those of its profiles; its own win, then the first profile's. Profiles may be
named before they exist.

Every change returns the matches that began and ended, in no particular order: one `Change` for each pair of selector
and endpoint whose outcome differs from before, so that a caller that applies them all always agrees with `matches`.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from calico.selector.nodes import Pair, Requirement, Test
from calico.selector.parser import Selector

E = TypeVar("E", bound=Hashable)
P = TypeVar("P", bound=Hashable)
K = TypeVar("K", bound=Hashable)


class Change(NamedTuple, Generic[K, E]):
    """A match that began (`matches` true) or ended."""

    selector: K
    endpoint: E
    matches: bool


class _File(Generic[K]):
    """The selectors filed under one pair: all of them, and by label they mention."""

    __slots__ = ("all", "by_label")

    def __init__(self) -> None:
        self.all: set[K] = set()
        self.by_label: dict[str, set[K]] = {}

    def add(self, key: K, labels: Iterable[str]) -> None:
        self.all.add(key)
        for label in labels:
            self.by_label.setdefault(label, set()).add(key)

    def remove(self, key: K, labels: Iterable[str]) -> None:
        self.all.discard(key)
        for label in labels:
            keys = self.by_label[label]
            keys.discard(key)
            if not keys:
                del self.by_label[label]


class _Filed(NamedTuple):
    """A selector with the labels it mentions and where it is filed; None is among the selectors without requirement."""

    selector: Selector
    labels: frozenset[str]
    requirement: Requirement | None


class _Endpoint(Generic[P, K]):
    """An endpoint's own labels, its profiles, the labels in effect, and the selectors it matches."""

    __slots__ = ("labels", "matched", "own", "profiles")

    def __init__(self, own: Mapping[str, str], profiles: Sequence[P]) -> None:
        self.own = own
        self.profiles = tuple(dict.fromkeys(profiles))
        self.labels: dict[str, str] = {}
        self.matched: set[K] = set()


class LabelIndex(Generic[K, E, P]):
    """Endpoints, profiles and selectors by keys of the caller's choice. Not safe for use from several threads."""

    def __init__(self) -> None:
        self._selectors: dict[K, _Filed] = {}
        self._tests: dict[K, Test] = {}
        self._matches: dict[K, set[E]] = {}
        self._endpoints: dict[E, _Endpoint[P, K]] = {}
        self._profiles: dict[P, Mapping[str, str]] = {}
        self._members: dict[P, set[E]] = {}
        self._carriers: dict[str, dict[str, set[E]]] = {}
        self._files: dict[Pair, _File[K]] = {}
        self._unfiled: _File[K] = _File()

    def matches(self, selector: K) -> frozenset[E]:
        """The endpoints that match a selector; empty for one that is not there."""
        return frozenset(self._matches.get(selector, ()))

    def matched_by(self, endpoint: E) -> frozenset[K]:
        """The selectors an endpoint matches; empty for one that is not there."""
        found = self._endpoints.get(endpoint)
        return frozenset(found.matched if found else ())

    def labels(self, endpoint: E) -> Mapping[str, str]:
        """The labels in effect on an endpoint, inherited ones included."""
        found = self._endpoints.get(endpoint)
        return dict(found.labels) if found else {}

    def set_selector(self, key: K, selector: Selector) -> list[Change[K, E]]:
        """Add a selector, or put another in its place."""
        old = self._selectors.get(key)
        if old is not None and old.selector == selector:
            return []
        before = self._matches.get(key, set())
        if old is not None:
            self._unfile(key, old)
        filed = self._file(key, selector)
        matches = self._tests[key] = selector.matches
        now = {one for one in self._candidates(filed) if matches(self._endpoints[one].labels)}
        self._matches[key] = now
        return self._record(key, before, now)

    def remove_selector(self, key: K) -> list[Change[K, E]]:
        """Forget a selector; its matches end."""
        filed = self._selectors.pop(key, None)
        if filed is None:
            return []
        self._unfile(key, filed)
        del self._tests[key]
        return self._record(key, self._matches.pop(key), set())

    def set_endpoint(self, key: E, labels: Mapping[str, str], profiles: Sequence[P] = ()) -> list[Change[K, E]]:
        """Add an endpoint, or change its labels and profiles."""
        new: _Endpoint[P, K] = _Endpoint(dict(labels), profiles)
        old = self._endpoints.get(key)
        self._join(key, old.profiles if old else (), new.profiles)
        effective = self._effective(new)
        if old is None:
            self._endpoints[key] = new
            return self._arrive(key, new, effective)
        old.own, old.profiles = new.own, new.profiles
        return self._relabel(key, old, effective, old.labels.keys() | effective.keys())

    def remove_endpoint(self, key: E) -> list[Change[K, E]]:
        """Forget an endpoint; its matches end."""
        endpoint = self._endpoints.pop(key, None)
        if endpoint is None:
            return []
        self._join(key, endpoint.profiles, ())
        for pair in endpoint.labels.items():
            self._drop_carrier(key, *pair)
        for selector in endpoint.matched:
            self._matches[selector].discard(key)
        return [Change(selector, key, False) for selector in endpoint.matched]

    def set_profile(self, key: P, labels: Mapping[str, str]) -> list[Change[K, E]]:
        """Set the labels that endpoints with the profile inherit."""
        old = self._profiles.get(key, {})
        self._profiles[key] = dict(labels)
        return self._inherit(key, old, labels)

    def remove_profile(self, key: P) -> list[Change[K, E]]:
        """Forget a profile: endpoints that name it inherit nothing from it."""
        return self._inherit(key, self._profiles.pop(key, {}), {})

    def _file(self, key: K, selector: Selector) -> _Filed:
        labels = frozenset(selector.root.labels())
        requirements = selector.root.alternatives()
        requirement = min(requirements, key=self._cost) if requirements else None
        filed = self._selectors[key] = _Filed(selector, labels, requirement)
        if requirement is None:
            self._unfiled.add(key, labels)
        for pair in requirement or ():
            self._files.setdefault(pair, _File()).add(key, labels)
        return filed

    def _cost(self, requirement: Requirement) -> int:
        """How many endpoints and selectors already share the requirement's pairs: the fewer, the narrower."""
        cost = 0
        for pair in requirement:
            label, value = pair
            carriers = self._carriers.get(label, {})
            cost += 1 + len(carriers.get(value, ())) if value is not None else 4 + sum(map(len, carriers.values()))
            cost += len(self._files[pair].all) if pair in self._files else 0
        return cost

    def _unfile(self, key: K, filed: _Filed) -> None:
        if filed.requirement is None:
            self._unfiled.remove(key, filed.labels)
        for pair in filed.requirement or ():
            self._files[pair].remove(key, filed.labels)
            if not self._files[pair].all:
                del self._files[pair]

    def _candidates(self, filed: _Filed) -> Iterable[E]:
        if filed.requirement is None:
            return self._endpoints
        found: set[E] = set()
        for label, value in filed.requirement:
            carriers = self._carriers.get(label, {})
            found.update(*carriers.values()) if value is None else found.update(carriers.get(value, ()))
        return found

    def _record(self, key: K, before: set[E], now: set[E]) -> list[Change[K, E]]:
        changes: list[Change[K, E]] = []
        for endpoint in before - now:
            self._endpoints[endpoint].matched.discard(key)
            changes.append(Change(key, endpoint, False))
        for endpoint in now - before:
            self._endpoints[endpoint].matched.add(key)
            changes.append(Change(key, endpoint, True))
        return changes

    def _join(self, key: E, before: tuple[P, ...], now: tuple[P, ...]) -> None:
        for profile in set(before).difference(now):
            self._members[profile].discard(key)
            if not self._members[profile]:
                del self._members[profile]
        for profile in now:
            self._members.setdefault(profile, set()).add(key)

    def _effective(self, endpoint: _Endpoint[P, K]) -> dict[str, str]:
        labels: dict[str, str] = {}
        for profile in reversed(endpoint.profiles):
            labels.update(self._profiles.get(profile, {}))
        labels.update(endpoint.own)
        return labels

    def _arrive(self, key: E, endpoint: _Endpoint[P, K], labels: dict[str, str]) -> list[Change[K, E]]:
        endpoint.labels = labels
        candidates = set(self._unfiled.all)
        for label, value in labels.items():
            self._carriers.setdefault(label, {}).setdefault(value, set()).add(key)
            for pair in ((label, value), (label, None)):
                if pair in self._files:
                    candidates |= self._files[pair].all
        return self._evaluate(key, endpoint, candidates)

    def _relabel(
        self, key: E, endpoint: _Endpoint[P, K], labels: dict[str, str], suspects: Iterable[str]
    ) -> list[Change[K, E]]:
        """Give an endpoint other labels, of which only `suspects` can differ from before."""
        before = endpoint.labels
        changed = [label for label in suspects if before.get(label) != labels.get(label)]
        if not changed:
            return []
        endpoint.labels = labels
        for label in changed:
            if label in before:
                self._drop_carrier(key, label, before[label])
            if label in labels:
                self._carriers.setdefault(label, {}).setdefault(labels[label], set()).add(key)
        return self._evaluate(key, endpoint, self._affected(endpoint, changed))

    def _affected(self, endpoint: _Endpoint[P, K], changed: list[str]) -> set[K]:
        """The selectors whose outcome a change of some labels may have changed."""
        files = [self._unfiled]
        for label, value in endpoint.labels.items():
            files += [self._files[pair] for pair in ((label, value), (label, None)) if pair in self._files]
        affected: set[K] = set()
        for label in changed:
            for file in files:
                if label in file.by_label:
                    affected |= file.by_label[label]
        selectors = self._selectors
        affected.update(
            [key for key in endpoint.matched if key not in affected and not selectors[key].labels.isdisjoint(changed)]
        )
        return affected

    def _evaluate(self, key: E, endpoint: _Endpoint[P, K], selectors: Iterable[K]) -> list[Change[K, E]]:
        changes: list[Change[K, E]] = []
        matched, labels = endpoint.matched, endpoint.labels
        tests = self._tests
        for selector in selectors:
            matches = tests[selector](labels)
            if matches == (selector in matched):
                continue
            changes.append(Change(selector, key, matches))
            if matches:
                matched.add(selector)
                self._matches[selector].add(key)
            else:
                matched.discard(selector)
                self._matches[selector].discard(key)
        return changes

    def _drop_carrier(self, key: E, label: str, value: str) -> None:
        values = self._carriers[label]
        values[value].discard(key)
        if not values[value]:
            del values[value]
        if not values:
            del self._carriers[label]

    def _inherit(self, key: P, before: Mapping[str, str], now: Mapping[str, str]) -> list[Change[K, E]]:
        suspects = [label for label in before.keys() | now.keys() if before.get(label) != now.get(label)]
        if not suspects:
            return []
        changes: list[Change[K, E]] = []
        for member in self._members.get(key, ()):
            endpoint = self._endpoints[member]
            changes += self._relabel(member, endpoint, self._effective(endpoint), suspects)
        return changes
