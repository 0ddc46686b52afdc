"""The pools and nodes IPAM decides by, each with the guard that makes a decision void once it changed.

Because every allocation carries these guards, an `Inventory` may answer from a cache: at worst a commit fails, the
inventory is told to `refresh`, and the decision is made again. No address is ever given out of a pool that was
disabled or deleted before the transaction.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from calico.datastore import log
from calico.datastore.store import Guard, KeyValue, Store, listing
from calico.ipam.block import Address, Network
from calico.ipam.errors import NotFoundError
from calico.model.formats import parse_cidr
from calico.model.keys import ResourceKey, from_stored, list_prefix
from calico.model.problems import ModelError
from calico.model.resource import Resource


class Pool(NamedTuple):
    """An IPPool, as far as addresses are concerned."""

    name: str
    network: Network
    block_size: int
    disabled: bool
    selector: str
    guard: Guard

    @property
    def title(self) -> str:
        """How messages name it."""
        return f"{self.name} ({self.network})"

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether nodes with these labels take addresses from it; a selector that cannot be read selects none."""
        if self.selector in ("", "all()"):
            return True
        from calico.selector.parser import SelectorError, parse

        try:
            return parse(self.selector).matches(labels)
        except SelectorError as error:
            log.warning("IPPool(%s) selects no node: its nodeSelector: %s", self.name, error)
            return False


class Host(NamedTuple):
    """A node: its labels, and the guard on its being there."""

    name: str
    labels: Mapping[str, str]
    guard: Guard


class Inventory(Protocol):
    """Where pools and nodes come from."""

    def pools(self) -> tuple[Pool, ...]:
        """All pools, disabled ones too, in the order of their names."""

    def host(self, name: str) -> Host | None:
        """A node."""

    def refresh(self) -> None:
        """A guard did not hold: the next answers must be at least as new as this call."""


class StoredInventory:
    """Asks the datastore every time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pools(self) -> tuple[Pool, ...]:
        """See Inventory. A pool that cannot be read is logged, and gives no addresses."""
        return read_pools(listing(self._store, list_prefix("IPPool")).items)

    def host(self, name: str) -> Host | None:
        """See Inventory."""
        found = self._store.get(ResourceKey("Node", name).path).items
        resource = read_resource(found[0]) if found else None
        return None if resource is None else Host(name, resource.metadata.labels, _guard(found[0]))

    def refresh(self) -> None:
        """See Inventory; there is nothing kept."""


class CachedInventory:
    """Remembers another inventory's answers for `seconds`, for a daemon that allocates often. Threads may share it.

    What was read as absent is asked again each time. A new pool is seen after `seconds` at the latest, and by who asks
    for it at once: IPAM refuses nothing before a `refresh`.
    """

    def __init__(self, inner: Inventory, seconds: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._inner, self._seconds, self._clock = inner, seconds, clock
        self._pools: tuple[float, tuple[Pool, ...]] | None = None
        self._hosts: dict[str, tuple[float, Host]] = {}

    def pools(self) -> tuple[Pool, ...]:
        """See Inventory."""
        kept, now = self._pools, self._clock()
        if kept is None or not kept[1] or now - kept[0] >= self._seconds:
            kept = self._pools = (now, self._inner.pools())
        return kept[1]

    def host(self, name: str) -> Host | None:
        """See Inventory."""
        kept, now = self._hosts.get(name), self._clock()
        if kept is not None and now - kept[0] < self._seconds:
            return kept[1]
        host = self._inner.host(name)
        if host is not None:
            self._hosts[name] = (now, host)
        return host

    def refresh(self) -> None:
        """See Inventory."""
        self._inner.refresh()
        self._pools, self._hosts = None, {}


def read_resource(item: KeyValue) -> Resource[Any] | None:
    """The resource an item holds; None, and a line in the log, when it cannot be read."""
    try:
        return from_stored(item.key, json.loads(item.value), item.mod_revision)
    except (ValueError, ModelError) as error:
        log.warning("cannot be read: %s: %s", item.key, error)
        return None


def read_pools(items: Iterable[KeyValue]) -> tuple[Pool, ...]:
    """The pools of a listing that can be read."""
    from calico.model.ippool import with_read_defaults

    found = []
    for item in items:
        resource = read_resource(item)
        cidr = parse_cidr(resource.spec.cidr) if resource else None
        if resource and cidr:
            spec = with_read_defaults(resource).spec
            name = resource.metadata.name
            found.append(Pool(name, cidr[1], spec.block_size, spec.disabled, spec.node_selector, _guard(item)))
    return tuple(sorted(found, key=lambda pool: pool.name))


def _guard(item: KeyValue) -> Guard:
    return Guard(item.key, item.mod_revision)


def holding(pools: Iterable[Pool], address: Address) -> Pool | None:
    """The pool an address is of."""
    return next((pool for pool in pools if address in pool.network), None)


def covering(pools: Iterable[Pool], network: Network) -> Pool | None:
    """The pool a block is of."""
    return next((pool for pool in pools if is_inside(network, pool.network)), None)


def is_inside(inner: Network, outer: Network) -> bool:
    """Whether one network lies within another, of whatever family each is."""
    return inner.version == outer.version and inner.network_address in outer and inner.prefixlen >= outer.prefixlen


def choose(pools: tuple[Pool, ...], host: Host, family: int, requested: tuple[str, ...]) -> tuple[Pool, ...]:
    """The pools a host takes addresses of a family from: those requested, in that order, or all that select it.

    Raise NotFoundError when one that was requested is not there, or none is left.
    """
    usable = [pool for pool in pools if pool.network.version == family and not pool.disabled]
    if not requested:
        chosen = tuple(pool for pool in usable if pool.selects(host.labels))
        if chosen:
            return chosen
        hint = f"give an enabled IPv{family} IPPool a nodeSelector that matches the node's labels"
        raise NotFoundError(f"no configured Calico pools for node {host.name}; {hint}")
    by_network = {pool.network: pool for pool in usable}
    found = {}
    for cidr in requested:
        parsed = parse_cidr(cidr)
        pool = by_network.get(parsed[1]) if parsed else None
        if pool is None:
            raise NotFoundError(f"the given pool ({cidr}) does not exist, or is not enabled")
        found[pool.name] = pool
    return tuple(found.values())
