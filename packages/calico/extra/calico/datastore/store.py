"""The datastore as the rest of calico sees it: values, and the `Store` protocol that etcd and the in-memory twin keep.

Keys are text, values bytes, revisions those of etcd: one counter for the whole store, increased by each transaction
that writes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from calico.datastore.errors import CompactedError

_LIST_ATTEMPTS = 5


class KeyValue(NamedTuple):
    """A key as it stood at some revision; `mod_revision` is the one that last wrote it."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0


class Event(NamedTuple):
    """A change of one key. `value` is None for a deletion, and `mod_revision` then the revision that deleted it."""

    key: str
    value: bytes | None
    mod_revision: int


class Listing(NamedTuple):
    """Keys in order, all as they stood at `revision`."""

    revision: int
    items: tuple[KeyValue, ...]


class Guard(NamedTuple):
    """True when `key` was last written by `mod_revision`; 0 means that the key does not exist."""

    key: str
    mod_revision: int


class Put(NamedTuple):
    """Write a key, bound to a lease when one is given (and unbound from any other)."""

    key: str
    value: bytes
    lease: int = 0


class Delete(NamedTuple):
    """Delete a key, or with `prefix` every key that begins so. Its result is what was deleted."""

    key: str
    prefix: bool = False


class Get(NamedTuple):
    """Read a key inside a transaction. Its result is the key, or nothing."""

    key: str


Operation = Put | Delete | Get


class Outcome(NamedTuple):
    """What a transaction did: whether its guards held, the store's revision after it, a result per operation run."""

    succeeded: bool
    revision: int
    results: tuple[tuple[KeyValue, ...], ...]


class Batch(NamedTuple):
    """Changes of one or more whole revisions, in order. Everything up to `revision` has been delivered with it."""

    revision: int
    events: tuple[Event, ...]


class Watch(Protocol):
    """The changes under a prefix after a revision: each once, in order, none left out.

    It outlives lost connections. One thread at a time may call `next`; `close` may be called from any.
    """

    @property
    def connected(self) -> bool:
        """Whether a member is delivering; False while the next one is looked for."""

    @property
    def member(self) -> str:
        """The member that delivers, as a user would name it; empty while there is none."""

    def next(self, timeout: float) -> Batch | None:
        """The next changes, or None when `timeout` seconds pass without any. Raise RelistError when history is gone."""

    def close(self) -> None:
        """End it; a `next` under way returns None."""


class Store(Protocol):
    """An etcd v3 store. Reads are linearizable: they see every write that was acknowledged before they were asked.

    Every method may raise DatastoreError; those that write raise IndeterminateError when they cannot know the outcome.
    """

    def get(self, key: str, revision: int = 0) -> Listing:
        """One key, now or as of `revision`; `items` is empty when it does not exist."""

    def pages(self, prefix: str, revision: int = 0) -> Iterator[Listing]:
        """The keys under `prefix` in parts (at least one), all at one revision. Raise CompactedError when too slow."""

    def commit(
        self, guards: Sequence[Guard], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Outcome:
        """Do `then` when every guard holds, else `otherwise`, as one transaction."""

    def grant(self, ttl: int) -> int:
        """A new lease of at least `ttl` seconds; its id."""

    def keep_alive(self, lease: int) -> int:
        """Renew a lease; its seconds from now on. Raise LeaseGoneError when it has expired."""

    def revoke(self, lease: int) -> None:
        """End a lease and delete its keys. Raise LeaseGoneError when it has expired."""

    def watch(self, prefix: str, after: int) -> Watch:
        """The changes under `prefix` that come after revision `after`."""

    def close(self) -> None:
        """Give back connections. Watches made by this store end too."""


def listing(store: Store, prefix: str, revision: int = 0) -> Listing:
    """All keys under `prefix` at one revision, begun again when compaction overtakes the reading of the present."""
    for attempt in range(_LIST_ATTEMPTS):
        try:
            parts = list(store.pages(prefix, revision))
        except CompactedError:
            if revision or attempt == _LIST_ATTEMPTS - 1:
                raise
            continue
        return Listing(parts[0].revision, tuple(item for part in parts for item in part.items))
    raise AssertionError("the loop returns or raises")


def create(store: Store, key: str, value: bytes, lease: int = 0) -> Outcome:
    """Write a key that must not exist; when it does, the outcome's result is what stands there."""
    return store.commit([Guard(key, 0)], [Put(key, value, lease)], [Get(key)])


def replace(store: Store, key: str, value: bytes, mod_revision: int, lease: int = 0) -> Outcome:
    """Write a key that nobody has written since `mod_revision`; otherwise the result is what stands there, if any."""
    return store.commit([Guard(key, mod_revision)], [Put(key, value, lease)], [Get(key)])


def remove(store: Store, key: str, mod_revision: int = 0) -> Outcome:
    """Delete a key, when given only as of `mod_revision`; the result is what was deleted, or what stands there."""
    guards = [Guard(key, mod_revision)] if mod_revision else []
    return store.commit(guards, [Delete(key)], [Get(key)])


def put(store: Store, key: str, value: bytes, lease: int = 0) -> int:
    """Write a key whatever stands there; the new revision."""
    return store.commit([], [Put(key, value, lease)]).revision


def prefix_end(prefix: str) -> bytes:
    """The first key behind every key that begins with `prefix`, as etcd's range_end wants it."""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1])
