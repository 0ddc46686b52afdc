"""A store that takes writes and keeps them to itself: what a dry run and a comparison work on.

Guards are checked against the real store and what was written here before, so that a dry run is refused exactly where
the run itself would be, side effects and one document's effect on the next included. Nothing reaches the real store.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from calico.datastore.errors import DatastoreError
from calico.datastore.store import Delete, Get, Guard, KeyValue, Listing, Operation, Outcome, Put, Store, Watch, listing


class Written(NamedTuple):
    """One key as it really stands, and as it would; None where it does not exist."""

    key: str
    before: KeyValue | None
    after: KeyValue | None


class Overlay:
    """A `Store` over another. Leases are the business of daemons and refused.

    With `remembers` the real store is asked for each prefix once: what others write meanwhile is not seen.
    """

    def __init__(self, store: Store, remembers: bool = False) -> None:
        self._store = store
        self._remembered: dict[str, Listing] | None = {} if remembers else None
        self._written: dict[str, KeyValue | None] = {}
        self._revision = 0
        self._first_written = 0

    def written(self) -> list[Written]:
        """What would be different in the real store, in the order it was first written."""
        found = []
        for key, after in self._written.items():
            before = next(iter(self._store.get(key).items), None)
            if (before and before.value) != (after and after.value):
                found.append(Written(key, before, after))
        return found

    def get(self, key: str, revision: int = 0) -> Listing:
        """The key as last written here, else as it stands in the real store."""
        if self._is_past(revision) or key not in self._written:
            return self._seen(self._store.get(key, revision if self._is_past(revision) else 0))
        item = self._written[key]
        return Listing(self._revision, (item,) if item else ())

    def pages(self, prefix: str, revision: int = 0) -> Iterator[Listing]:
        """The keys under `prefix`, as one page."""
        if self._is_past(revision):
            yield from self._store.pages(prefix, revision)
            return
        found = self._listed(prefix)
        items: dict[str, KeyValue | None] = {item.key: item for item in found.items}
        items.update({key: item for key, item in self._written.items() if key.startswith(prefix)})
        yield Listing(self._revision, tuple(item for _, item in sorted(items.items()) if item))

    def commit(
        self, guards: Sequence[Guard], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Outcome:
        """Check and write here."""
        holds = all(self._mod_revision(guard.key) == guard.mod_revision for guard in guards)
        operations = then if holds else otherwise
        if any(not isinstance(one, Get) for one in operations):
            self._revision += 1
            self._first_written = self._first_written or self._revision
        return Outcome(holds, self._revision, tuple(self._run(one) for one in operations))

    def grant(self, ttl: int) -> int:
        """Refused."""
        raise DatastoreError(f"a dry run grants no lease (of {ttl} s)")

    def keep_alive(self, lease: int) -> int:
        """Refused."""
        raise DatastoreError(f"a dry run has no lease {lease}")

    def revoke(self, lease: int) -> None:
        """Refused."""
        raise DatastoreError(f"a dry run has no lease {lease}")

    def watch(self, prefix: str, after: int) -> Watch:
        """The real store's changes."""
        return self._store.watch(prefix, after)

    def close(self) -> None:
        """Close the real store."""
        self._store.close()

    def _listed(self, prefix: str) -> Listing:
        if self._remembered is None:
            return self._seen(listing(self._store, prefix))
        if prefix not in self._remembered:
            self._remembered[prefix] = self._seen(listing(self._store, prefix))
        return self._remembered[prefix]

    def _is_past(self, revision: int) -> bool:
        """Whether a revision is the real store's; one that a write here made stands for the present."""
        return bool(revision) and not 0 < self._first_written <= revision

    def _seen(self, found: Listing) -> Listing:
        self._revision = max(self._revision, found.revision)
        return found

    def _mod_revision(self, key: str) -> int:
        items = self.get(key).items
        return items[0].mod_revision if items else 0

    def _run(self, operation: Operation) -> tuple[KeyValue, ...]:
        match operation:
            case Put(key, value, lease):
                self._written[key] = KeyValue(key, value, self._revision, lease)
                return ()
            case Get(key):
                return self.get(key).items
            case Delete(key, prefix):
                gone = next(iter(self.pages(key))).items if prefix else self.get(key).items
                self._written.update(dict.fromkeys((item.key for item in gone), None))
                return gone
