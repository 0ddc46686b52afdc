"""`MemoryStore`: the datastore in this process, for tests and dry runs. It keeps the contract that `Etcd` keeps.

The whole history since the last compaction is a list of writes; reads of the past and watches walk it. That is slow and
obvious on purpose.
"""

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence

from calico.datastore.errors import CompactedError, DatastoreError, LeaseGoneError
from calico.datastore.store import Batch, Delete, Event, Get, Guard, KeyValue, Listing, Operation, Outcome, Put


class MemoryStore:
    """A `Store`. `clock` gives seconds, for leases; keys of an expired lease go when the store is next used."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, page: int = 1000) -> None:
        self._clock, self._page = clock, page
        self._changed = threading.Condition(threading.RLock())
        self._versions: dict[str, list[tuple[int, KeyValue | None]]] = {}
        self._history: list[Event] = []
        self._revision, self._compacted = 1, 0
        self._leases: dict[int, tuple[int, float]] = {}
        self._last_lease = 0

    def get(self, key: str, revision: int = 0) -> Listing:
        """See Store."""
        with self._changed:
            at = self._at(revision)
            item = self._item(key, at)
            return Listing(at, () if item is None else (item,))

    def pages(self, prefix: str, revision: int = 0) -> Iterator[Listing]:
        """See Store."""
        start = prefix
        while True:
            with self._changed:
                revision = self._at(revision)
                keys = sorted(key for key in self._versions if key.startswith(prefix) and key >= start)
                found = [item for key in keys if (item := self._item(key, revision)) is not None]
            yield Listing(revision, tuple(found[: self._page]))
            if len(found) <= self._page:
                return
            start = found[self._page].key

    def commit(
        self, guards: Sequence[Guard], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Outcome:
        """See Store."""
        with self._changed:
            self._expire()
            held = all(self._holds(guard) for guard in guards)
            operations = then if held else otherwise
            self._check(operations)
            before, revision = len(self._history), self._revision + 1
            results = tuple(self._apply(operation, revision) for operation in operations)
            if len(self._history) > before:
                self._revision = revision
                self._changed.notify_all()
            return Outcome(held, self._revision, results)

    def grant(self, ttl: int) -> int:
        """See Store."""
        with self._changed:
            self._last_lease += 1
            self._leases[self._last_lease] = (ttl, self._clock() + ttl)
            return self._last_lease

    def keep_alive(self, lease: int) -> int:
        """See Store."""
        with self._changed:
            ttl = self._lease(lease)
            self._leases[lease] = (ttl, self._clock() + ttl)
            return ttl

    def revoke(self, lease: int) -> None:
        """See Store."""
        with self._changed:
            self._lease(lease)
            self._end(lease)

    def watch(self, prefix: str, after: int) -> "MemoryWatch":
        """See Store."""
        return MemoryWatch(self, prefix, after)

    def close(self) -> None:
        """See Store; there is nothing to give back."""

    def compact(self, revision: int) -> None:
        """Forget what was overwritten or deleted before `revision`, as etcd's compaction does."""
        with self._changed:
            self._compacted = revision
            self._history = [event for event in self._history if event.mod_revision >= revision]
            for key, versions in list(self._versions.items()):
                keep = max(bisect_right(versions, revision, key=lambda version: version[0]) - 1, 0)
                del versions[:keep]
                if len(versions) == 1 and versions[0][1] is None and versions[0][0] <= revision:
                    del self._versions[key]
            self._changed.notify_all()

    def wait_for(self, prefix: str, after: int, timeout: float, closed: threading.Event) -> Batch | None:
        """The changes behind `after`, waiting for the first."""
        with self._changed:
            deadline = time.monotonic() + timeout
            while not closed.is_set():
                self._expire()
                if after + 1 < self._compacted:
                    raise CompactedError(self._compacted)
                if self._revision > after:
                    begin = bisect_right(self._history, after, key=lambda event: event.mod_revision)
                    events = tuple(event for event in self._history[begin:] if event.key.startswith(prefix))
                    if events:
                        return Batch(self._revision, events)
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
        return None

    def wake(self) -> None:
        """Have every waiting watch look whether it was closed."""
        with self._changed:
            self._changed.notify_all()

    def _at(self, revision: int) -> int:
        self._expire()
        if revision and revision < self._compacted:
            raise CompactedError(self._compacted)
        if revision > self._revision:
            raise DatastoreError("required revision is a future revision")
        return revision or self._revision

    def _item(self, key: str, revision: int) -> KeyValue | None:
        versions = self._versions.get(key, [])
        index = bisect_right(versions, revision, key=lambda version: version[0])
        return versions[index - 1][1] if index else None

    def _holds(self, guard: Guard) -> bool:
        item = self._item(guard.key, self._revision)
        return (item.mod_revision if item else 0) == guard.mod_revision

    def _check(self, operations: Sequence[Operation]) -> None:
        keys = [operation.key for operation in operations if isinstance(operation, Put)]
        deleted = [operation for operation in operations if isinstance(operation, Delete)]
        touched = [*keys, *(key for one in deleted for key in keys if _covers(one, key))]
        if len(touched) != len(set(touched)):
            raise DatastoreError("duplicate key given in txn request")
        for operation in operations:
            if isinstance(operation, Put) and operation.lease:
                self._lease(operation.lease)

    def _apply(self, operation: Operation, revision: int) -> tuple[KeyValue, ...]:
        match operation:
            case Put(key, value, lease):
                self._write(key, KeyValue(key, value, revision, lease), revision)
                return ()
            case Delete():
                return self._delete(operation, revision)
            case Get(key):
                item = self._item(key, revision)
                return () if item is None else (item,)

    def _delete(self, operation: Delete, revision: int) -> tuple[KeyValue, ...]:
        keys = sorted(key for key in self._versions if _covers(operation, key))
        found = [item for key in keys if (item := self._item(key, revision)) is not None]
        for item in found:
            self._write(item.key, None, revision)
        return tuple(found)

    def _write(self, key: str, item: KeyValue | None, revision: int) -> None:
        self._versions.setdefault(key, []).append((revision, item))
        self._history.append(Event(key, item.value if item else None, revision))

    def _lease(self, lease: int) -> int:
        self._expire()
        if lease not in self._leases:
            raise LeaseGoneError(f"lease {lease:x} has expired")
        return self._leases[lease][0]

    def _expire(self) -> None:
        now = self._clock()
        for lease in [lease for lease, (_, until) in self._leases.items() if until <= now]:
            self._end(lease)

    def _end(self, lease: int) -> None:
        del self._leases[lease]
        bound = [
            key for key in sorted(self._versions) if (item := self._item(key, self._revision)) and item.lease == lease
        ]
        if bound:
            self._revision += 1
            for key in bound:
                self._write(key, None, self._revision)
            self._changed.notify_all()


class MemoryWatch:
    """See Watch."""

    def __init__(self, store: MemoryStore, prefix: str, after: int) -> None:
        self._store, self._prefix, self._after = store, prefix, after
        self._closed = threading.Event()

    @property
    def connected(self) -> bool:
        """See Watch."""
        return not self._closed.is_set()

    @property
    def member(self) -> str:
        """See Watch."""
        return "memory" if self.connected else ""

    def next(self, timeout: float) -> Batch | None:
        """See Watch."""
        batch = self._store.wait_for(self._prefix, self._after, timeout, self._closed)
        if batch is not None:
            self._after = batch.revision
        return batch

    def close(self) -> None:
        """See Watch."""
        self._closed.set()
        self._store.wake()


def _covers(operation: Delete, key: str) -> bool:
    return key.startswith(operation.key) if operation.prefix else key == operation.key
