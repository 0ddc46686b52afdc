"""Addresses for containers: taken from IPAM with a handle each, and given back when nothing has them.

The engine asks for an address before it says what for, so the handle is the node's and the request's. What becomes of
it is noted later (`note`). An address that was taken and never used, because somebody died between, is found by
`unused`.
"""

import logging
from collections.abc import Collection
from ipaddress import ip_address
from threading import Lock

from calico.daemon.log import fields
from calico.datastore.store import Store, listing
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.errors import NotFoundError
from calico.ipam.inventory import CachedInventory, Pool, StoredInventory
from calico.ipam.release import Claim
from calico.libnetwork.errors import DriverError
from calico.model.keys import HANDLES

_log = logging.getLogger(__name__)


class Addresses:
    """The addresses of a node's containers. Threads may share it. Raises DriverError, IpamError and DatastoreError."""

    def __init__(self, store: Store, node: str) -> None:
        self._store, self._node = store, node
        self._inventory = CachedInventory(StoredInventory(store))
        self._ipam = Ipam(store, self._inventory)
        self._prefix = f"libnetwork.{node}."
        self._lock = Lock()
        self._handles: dict[str, str] = {}
        """Addresses that are known to be this node's, and the handle of each."""

    def pools(self) -> tuple[Pool, ...]:
        """All pools."""
        return self._inventory.pools()

    def refresh(self) -> None:
        """Read the pools anew when next asked: the one that is looked for may have been made a moment ago."""
        self._inventory.refresh()

    def take(self, token: str, family: int, pools: tuple[str, ...], wanted: str, again: bool) -> str:
        """An address: the one `wanted`, or any of `pools`. `again`: the request may have been carried out before."""
        handle = self._prefix + token
        if again and (held := self._held_by(handle)):
            return self._know(held[0], handle)
        notes = {"node": self._node}
        if wanted:
            return self._know(self._ipam.assign_ip(wanted, self._node, handle, notes).address, handle)
        request = Request(
            self._node,
            ipv4=int(family == 4),
            ipv6=int(family == 6),
            handle=handle,
            attributes=notes,
            ipv4_pools=pools if family == 4 else (),
            ipv6_pools=pools if family == 6 else (),
        )
        assignment = self._ipam.auto_assign(request)
        found = assignment.ipv4 or assignment.ipv6
        if not found:
            raise DriverError("; ".join(assignment.shortages) or f"no IPv{family} address is free")
        return self._know(found[0].address, handle)

    def give_back(self, address: str) -> None:
        """Free an address, unless it is another node's by now. One that is free already is no error."""
        with self._lock:
            handle = self._handles.pop(address, "")
        if handle:
            self._release(handle)
            return
        try:
            holder = self._ipam.holder_of(address)
        except NotFoundError:
            return
        owner = (holder.secondary or {}).get("node", self._node)
        if owner != self._node:
            _log.warning("not released: %s", fields(address=address, node=owner))
        elif holder.handle_id:
            self._release(holder.handle_id)
        else:  # upstream's plugin gave it out, without a handle
            self._ipam.release_claims([Claim(address, holder)])

    def hold(self, address: str, token: str, afresh: bool = False) -> None:
        """Make sure that an address is this node's: it was given out, by us or by upstream's plugin, or is free now.

        What is known of it suffices unless it is to be looked for `afresh`. Raise DriverError for somebody else's.
        """
        with self._lock:
            if address in self._handles and not afresh:
                return
            try:
                holder = self._ipam.holder_of(address)
            except NotFoundError:
                handle = f"{self._prefix}{token}.{ip_address(address).version}"
                self._ipam.assign_ip(address, self._node, handle, {"node": self._node})
                self._handles[address] = handle
                return
            owner = (holder.secondary or {}).get("node", self._node)
            if owner != self._node:
                raise DriverError(f"address {address} is in use on node {owner}")
            self._handles[address] = holder.handle_id or ""

    def note(self, address: str, container: str, endpoint: str) -> None:
        """Write down whose an address is, for whoever reads the allocations."""
        with self._lock:
            handle = self._handles.get(address, "")
        if handle:
            self._ipam.annotate(address, handle, {"container": container, "endpoint": endpoint})

    def unused(self, used: Collection[str]) -> dict[str, tuple[str, ...]]:
        """This node's handles none of whose addresses is among `used`, with their addresses."""
        found = {}
        of_handle: dict[str, list[str]] = {}
        with self._lock:
            for address, handle in self._handles.items():
                of_handle.setdefault(handle, []).append(address)
        for item in listing(self._store, HANDLES + self._prefix).items:
            handle = item.key.removeprefix(HANDLES)
            addresses = tuple(of_handle.get(handle) or self._held_by(handle))
            if not any(address in used for address in addresses):
                found[handle] = addresses
            else:
                self._learn(addresses, handle)
        return found

    def release_unused(self, handle: str, addresses: Collection[str], is_used: "Collection[str]") -> bool:
        """Free a handle whose addresses were unused for long; False when one of them has come into use."""
        with self._lock:
            if any(address in is_used for address in addresses):
                return False
            for address in addresses:
                self._handles.pop(address, None)
            self._release(handle)
            return True

    def _learn(self, addresses: Collection[str], handle: str) -> None:
        with self._lock:
            for address in addresses:
                self._handles.setdefault(address, handle)

    def _know(self, address: str, handle: str) -> str:
        with self._lock:
            self._handles[address] = handle
        return address

    def _held_by(self, handle: str) -> tuple[str, ...]:
        try:
            return tuple(one.address for one in self._ipam.held_by(handle))
        except NotFoundError:
            return ()

    def _release(self, handle: str) -> None:
        try:
            self._ipam.release_handle(handle)
        except NotFoundError:
            return
