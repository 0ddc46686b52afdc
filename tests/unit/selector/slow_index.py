"""The label index at its most obvious: every change evaluates every selector on every endpoint."""

from collections.abc import Mapping, Sequence

from calico.selector.index import Change
from calico.selector.parser import Selector


class SlowIndex:
    """The contract of `LabelIndex`, by recomputing."""

    def __init__(self) -> None:
        self._selectors: dict[str, Selector] = {}
        self._endpoints: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {}
        self._profiles: dict[str, dict[str, str]] = {}
        self._pairs: set[tuple[str, str]] = set()

    def labels(self, endpoint: str) -> dict[str, str]:
        own, profiles = self._endpoints.get(endpoint, ({}, ()))
        effective: dict[str, str] = {}
        for profile in reversed(profiles):
            effective |= self._profiles.get(profile, {})
        return effective | own

    def matches(self, selector: str) -> frozenset[str]:
        return frozenset(endpoint for key, endpoint in self._pairs if key == selector)

    def matched_by(self, endpoint: str) -> frozenset[str]:
        return frozenset(key for key, one in self._pairs if one == endpoint)

    def set_selector(self, key: str, selector: Selector) -> list[Change[str, str]]:
        self._selectors[key] = selector
        return self._changes()

    def remove_selector(self, key: str) -> list[Change[str, str]]:
        self._selectors.pop(key, None)
        return self._changes()

    def set_endpoint(self, key: str, labels: Mapping[str, str], profiles: Sequence[str] = ()) -> list[Change[str, str]]:
        self._endpoints[key] = (dict(labels), tuple(profiles))
        return self._changes()

    def remove_endpoint(self, key: str) -> list[Change[str, str]]:
        self._endpoints.pop(key, None)
        return self._changes()

    def set_profile(self, key: str, labels: Mapping[str, str]) -> list[Change[str, str]]:
        self._profiles[key] = dict(labels)
        return self._changes()

    def remove_profile(self, key: str) -> list[Change[str, str]]:
        self._profiles.pop(key, None)
        return self._changes()

    def _changes(self) -> list[Change[str, str]]:
        now = {
            (key, endpoint)
            for endpoint in self._endpoints
            for key, selector in self._selectors.items()
            if selector.matches(self.labels(endpoint))
        }
        before, self._pairs = self._pairs, now
        return [Change(*pair, False) for pair in before - now] + [Change(*pair, True) for pair in now - before]
