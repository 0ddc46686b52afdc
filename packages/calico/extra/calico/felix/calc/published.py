"""What has been given out of a map, and what of it may differ now."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Published(Generic[K, V]):
    """The values of a map as the dataplane has them, against `compute`, which knows what each is now (None: nothing).

    Whoever learns of a change names the keys whose value may have become another; `changes` then computes these alone
    and tells those that did. So the outcome depends on the state at that moment, not on how it came about.
    """

    def __init__(self, compute: Callable[[K], V | None]) -> None:
        self._compute = compute
        self._given: dict[K, V] = {}
        self._suspects: set[K] = set()

    def __len__(self) -> int:
        return len(self._given)

    def suspect(self, key: K) -> None:
        """The value of a key may be another now."""
        self._suspects.add(key)

    def suspect_all(self, keys: Iterable[K]) -> None:
        """As `suspect`, of many."""
        self._suspects.update(keys)

    def changes(self) -> dict[K, V | None]:
        """What differs from what was given out, which it then is; None where a value is gone."""
        if not self._suspects:
            return {}
        changed: dict[K, V | None] = {}
        given, compute = self._given, self._compute
        for key in self._suspects:
            value = compute(key)
            if value is None:
                if given.pop(key, None) is not None:
                    changed[key] = None
            elif given.get(key) != value:
                changed[key] = given[key] = value
        self._suspects.clear()
        return changed
