"""Clearing away what a node that is gone has in etcd: endpoints, addresses, claims, tunnels, configuration, itself.

The Node goes before what it might still be given, since no address is given to a node without one; what is left is then
found by the notes of allocations and by claims. Each step is safe to repeat, also when the Node is gone already.
"""

from typing import NamedTuple

from calico.client.errors import NotFoundError
from calico.client.resources import Client
from calico.datastore.store import Delete, listing
from calico.ipam.allocator import Ipam
from calico.ipam.check import check
from calico.ipam.release import Claim
from calico.ipam.snapshot import take_snapshot
from calico.model.keys import HOST_ENDPOINT_STATUS, HOSTS, STATUS
from calico.model.registry import placements_of


class Cleared(NamedTuple):
    """What a node had, and has no more."""

    had_node: bool
    endpoints: tuple[str, ...]
    addresses: tuple[str, ...]
    blocks: tuple[str, ...]
    status_keys: int

    @property
    def is_nothing(self) -> bool:
        """Whether there was nothing to clear."""
        return not (self.had_node or self.endpoints or self.addresses or self.blocks or self.status_keys)


def clear(client: Client, ipam: Ipam, node: str) -> Cleared:
    """Clear a node away. Raise client's, IPAM's and the datastore's errors; what was done by then stays done."""
    client.allocations = ipam
    endpoints = tuple(one.id for one in client.list("WorkloadEndpoint").items if one.spec.node == node)
    held = _addresses(ipam, node)
    blocks = _claims(ipam, node)
    had_node = _delete_node(client, node)
    if not had_node:
        for endpoint in client.list("WorkloadEndpoint").items:
            if endpoint.spec.node == node:
                client.delete("WorkloadEndpoint", endpoint.metadata.name, endpoint.metadata.namespace)
    left = _addresses(ipam, node)
    ipam.release_claims(left)
    ipam.release_host_affinities(node)
    client.store.commit([], [Delete(placements_of(node), prefix=True)])
    found = (one.address for one in (*held, *left))
    return Cleared(had_node, endpoints, tuple(dict.fromkeys(found)), blocks, _delete_status(client, node))


def _delete_node(client: Client, node: str) -> bool:
    try:
        client.delete("Node", node)
    except NotFoundError:
        return False
    return True


def _addresses(ipam: Ipam, node: str) -> tuple[Claim, ...]:
    """What is allocated and says that it is this node's."""
    report = check(take_snapshot(ipam.context.store))
    return tuple(
        Claim(one.address, one.holder) for one in report.allocations if (one.holder.secondary or {}).get("node") == node
    )


def _claims(ipam: Ipam, node: str) -> tuple[str, ...]:
    items = listing(ipam.context.store, f"{HOSTS}{node}/").items
    return tuple(item.key.rpartition("/")[2].replace("-", "/") for item in items)


def _delete_status(client: Client, node: str) -> int:
    """Delete what felix reported of the node, in whatever region."""
    keys = [item.key for item in listing(client.store, STATUS).items if f"/host/{node}/" in item.key]
    keys += [item.key for item in listing(client.store, f"{HOST_ENDPOINT_STATUS}{node}/").items]
    for key in keys:
        client.store.commit([], [Delete(key)])
    return len(keys)
