"""Whether a node's agent runs: a key bound to a lease, so that nobody clears away a node that is at work."""

from contextlib import suppress

from calico.datastore.errors import DatastoreError, LeaseGoneError
from calico.datastore.store import Put, Store

_PREFIX = "/calico/dcos-calico/v1/alive/"
LEASE = 60
"""Seconds after which a node that is not heard of any more counts as gone."""


def key_of(node: str) -> str:
    """Where a node's agent says that it runs."""
    return f"{_PREFIX}{node}"


def is_alive(store: Store, node: str) -> bool:
    """Whether the agent of a node was heard of within the last minute."""
    return bool(store.get(key_of(node)).items)


class Presence:
    """One agent's. `step` is called more often than the lease lasts."""

    def __init__(self, store: Store, node: str) -> None:
        self._store, self._node, self._lease = store, node, 0

    def step(self) -> None:
        """Say that it runs. Raise DatastoreError."""
        if self._lease:
            try:
                self._store.keep_alive(self._lease)
                return
            except LeaseGoneError:
                self._lease = 0
        lease = self._store.grant(LEASE)
        self._store.commit([], [Put(key_of(self._node), b"{}", lease)])
        self._lease = lease

    def stop(self) -> None:
        """Say at once that it runs no more."""
        if self._lease:
            with suppress(DatastoreError):
                self._store.revoke(self._lease)
            self._lease = 0
