"""The collector: frees addresses that two looks, some time apart, found unused. One node of the cluster does it.

The leader holds a key with a lease, which goes with it when it dies. What it saw is kept in memory only: a new leader
begins with a first look, so that a change of leaders delays a release and never hastens one.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from calico.daemon.log import fields
from calico.datastore.errors import DatastoreError, LeaseGoneError
from calico.datastore.store import Store, create
from calico.ipam.allocator import Ipam
from calico.ipam.check import Report, Use, check
from calico.ipam.errors import IpamError
from calico.ipam.reports import LEAST_APART, release_leaked
from calico.ipam.snapshot import take_snapshot

log = logging.getLogger(__name__)

LEADER = "/calico/dcos-calico/v1/collector"
LEASE = 60
"""Seconds after which a leader that is not heard of any more is replaced."""


class Collector:
    """One node's part in it. `step` is called now and then; it never waits longer than the datastore makes it."""

    def __init__(
        self,
        store: Store,
        ipam: Ipam,
        node: str,
        apart: float = LEAST_APART,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._ipam, self._node = store, ipam, node
        self._apart, self._clock = apart, clock
        self._lease = 0
        self._first: Report | None = None
        self._looked = 0.0

    @property
    def leads(self) -> bool:
        """Whether this node was the leader when it last looked."""
        return bool(self._lease)

    def step(self) -> tuple[str, ...]:
        """Keep or seek the leadership and, when it is time, look; the addresses freed. Raise DatastoreError."""
        if not self._keep_leading():
            self._first = None
            return ()
        if self._first is not None and self._clock() - self._looked < self._apart:
            return ()
        return self._look()

    def stop(self) -> None:
        """Leave the leadership to another node at once."""
        if self._lease:
            with suppress(DatastoreError):
                self._store.revoke(self._lease)
            self._lease = 0

    def _keep_leading(self) -> bool:
        if self._lease:
            try:
                self._store.keep_alive(self._lease)
                return True
            except LeaseGoneError:
                self._lease = 0
        if self._store.get(LEADER).items:
            return False
        lease = self._store.grant(LEASE)
        if create(self._store, LEADER, self._node.encode(), lease).succeeded:
            self._lease = lease
            log.info("leads the collection of unused addresses %s", fields(node=self._node))
            return True
        with suppress(DatastoreError):
            self._store.revoke(lease)
        return False

    def _look(self) -> tuple[str, ...]:
        first, report = self._first, check(take_snapshot(self._store))
        self._first, self._looked = report, self._clock()
        if first is None:
            return ()
        try:
            released = release_leaked(self._ipam, first, report, self._apart)
        except IpamError as error:
            log.warning("no address collected: %s", error)
            return ()
        for address in released.addresses:
            holder = next(one for one in report.of(Use.LEAKED) if one.address == address)
            log.info("freed an unused address %s", fields(address=address, handle=holder.holder.handle_id))
        for key in released.handles:
            log.info("put a handle right %s", fields(key=key))
        return released.addresses
