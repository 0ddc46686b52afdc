"""`View`: what one operation has read, and commits that hold only while all of it still stands.

An allocation touches a block, a handle and at times an affinity, and is right only while its pool and node are as they
were read. All of these are guarded and written in one transaction: there is no moment at which one of them is written
and another is not. When a guard fails, the same transaction brings back what stands there now, so that the next
attempt needs no reading of its own.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from calico.datastore.errors import IndeterminateError
from calico.datastore.store import Delete, Get, Guard, KeyValue, Operation, Put, Store
from calico.ipam.errors import ContentionError

MOST_ATTEMPTS = 100
MOST_IN_ONE = 100
"""Operations in one transaction; etcd takes 128."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.064


class View:
    """The keys an operation knows, each as it was last read. A key read as absent is known too."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, KeyValue | None] = {}

    def load(self, *keys: str) -> None:
        """Read what is not known yet, in one question."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._known]
        for start in range(0, len(missing), MOST_IN_ONE):
            self._read(missing[start : start + MOST_IN_ONE])

    def learn(self, items: Iterable[KeyValue]) -> None:
        """Take what a listing brought as read."""
        self._known.update({item.key: item for item in items})

    def guess_absent(self, key: str) -> None:
        """Work as if a key that is not known did not exist; the first commit finds out."""
        self._known.setdefault(key, None)

    def forget(self, *keys: str) -> None:
        """Have the next `load` read them again."""
        for key in keys:
            self._known.pop(key, None)

    def item(self, key: str) -> KeyValue | None:
        """A key as last read; reads it when it is not known."""
        self.load(key)
        return self._known[key]

    def commit(self, writes: Mapping[str, bytes | None], relies_on: Iterable[Guard] = ()) -> bool:
        """Write keys (None: delete them) if they and what is relied on stand as read; else False, and all is read anew.

        After True what was written is what is known. IndeterminateError passes through, and then none of it is known.
        """
        guards = {key: self.guard(key) for key in writes}
        guards.update({guard.key: guard for guard in relies_on})
        operations: list[Operation] = [
            Delete(key) if value is None else Put(key, value)
            for key, value in writes.items()
            if value is not None or guards[key].mod_revision
        ]
        keys = list(guards)
        try:
            outcome = self._store.commit(list(guards.values()), operations, [Get(key) for key in keys])
        except IndeterminateError:
            self.forget(*keys)
            raise
        if outcome.succeeded:
            for key, value in writes.items():
                self._known[key] = None if value is None else KeyValue(key, value, outcome.revision)
            return True
        for key, found in zip(keys, outcome.results, strict=True):
            self._known[key] = found[0] if found else None
        return False

    def holds(self, guard: Guard) -> bool:
        """Whether a guard agrees with what is known of its key; what is not known may agree."""
        return guard.key not in self._known or self.guard(guard.key) == guard

    def guard(self, key: str) -> Guard:
        """That a key stands as it is known; reads it when it is not."""
        item = self.item(key)
        return Guard(key, item.mod_revision if item else 0)

    def _read(self, keys: list[str]) -> None:
        found: tuple[tuple[KeyValue, ...], ...] = ()
        if len(keys) > 1:
            try:
                found = self._store.commit([], [Get(key) for key in keys]).results
            except IndeterminateError:  # it wrote nothing: ask again, one at a time, as reads may be
                found = ()
        if not found:
            found = tuple(self._store.get(key).items for key in keys)
        self._known.update({key: items[0] if items else None for key, items in zip(keys, found, strict=True)})


class Attempts:
    """How often, and after which pauses, a commit that lost a race is tried again.

    Pauses are drawn from all of a span that doubles from 2 to 64 ms, so that those who met once spread out.
    """

    def __init__(
        self, chance: random.Random, sleep: Callable[[float], None] = time.sleep, most: int = MOST_ATTEMPTS
    ) -> None:
        self._chance, self._sleep, self._most = chance, sleep, most

    def __call__(self, what: str) -> Iterator[int]:
        """Count attempts from 0, with a pause before each but the first two; raise ContentionError after the last."""
        span = _FIRST_PAUSE
        for attempt in range(self._most):
            if attempt > 1:
                self._sleep(self._chance.uniform(0, span))
                span = min(span * 2, _LONGEST_PAUSE)
            yield attempt
        raise ContentionError(f"{what}: Max retries hit - excessive concurrent IPAM requests; try again")
