"""Everything IPAM and its users have in the datastore, as of one revision."""

import time
from typing import Any, NamedTuple

from calico.datastore.errors import CompactedError
from calico.datastore.store import KeyValue, Listing, Store, listing
from calico.ipam.inventory import Pool, read_pools, read_resource
from calico.model.keys import IPAM, ResourceKey, list_prefix
from calico.model.resource import Resource

_ATTEMPTS = 5


class Snapshot(NamedTuple):
    """`ipam` holds every key of IPAM as it stands; `taken` is in seconds since 1970; `unreadable` are keys."""

    cluster: str
    revision: int
    taken: float
    ipam: tuple[KeyValue, ...]
    pools: tuple[Pool, ...]
    nodes: tuple[Resource[Any], ...]
    endpoints: tuple[Resource[Any], ...]
    unreadable: tuple[str, ...] = ()


def take_snapshot(store: Store) -> Snapshot:
    """Read it, all at one revision, however long that takes."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return _read(store)
        except CompactedError:
            continue  # too slow for the compaction: begin anew
    return _read(store)


def _read(store: Store) -> Snapshot:
    found = listing(store, IPAM)
    at = found.revision

    def of_kind(kind: str) -> Listing:
        return listing(store, list_prefix(kind), at)

    nodes, broken_nodes = _resources(of_kind("Node").items)
    endpoints, broken_endpoints = _resources(of_kind("WorkloadEndpoint").items)
    pool_items = of_kind("IPPool").items
    pools = read_pools(pool_items)
    readable = {pool.guard.key for pool in pools}
    broken_pools = tuple(item.key for item in pool_items if item.key not in readable)
    broken = (*broken_pools, *broken_nodes, *broken_endpoints)
    return Snapshot(_cluster(store, at), at, time.time(), found.items, pools, nodes, endpoints, broken)


def _resources(items: tuple[KeyValue, ...]) -> tuple[tuple[Resource[Any], ...], tuple[str, ...]]:
    """What can be read, and the keys of the rest."""
    read = [(item.key, read_resource(item)) for item in items]
    return tuple(one for _, one in read if one), tuple(key for key, one in read if one is None)


def _cluster(store: Store, revision: int) -> str:
    """The cluster's GUID; empty where it has none yet."""
    found = store.get(ResourceKey("ClusterInformation", "default").path, revision).items
    resource = read_resource(found[0]) if found else None
    return str(resource.spec.cluster_guid) if resource else ""
