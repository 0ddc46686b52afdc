"""A small cluster in memory for IPAM's tests: pools and nodes, and what stands in the datastore afterwards."""

import json
import random
from collections import Counter
from typing import Any

from calico.datastore.memory import MemoryStore
from calico.datastore.store import Store, listing, put
from calico.ipam.allocator import Ipam
from calico.model.keys import BLOCKS, HANDLES, HOSTS, ResourceKey


def put_resource(store: Store, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> None:
    """Store a v3 resource as it stands."""
    namespace = metadata.get("namespace", "")
    document = {
        "kind": kind,
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }
    put(store, ResourceKey(kind, name, namespace).path, json.dumps(document).encode())


def put_pool(store: Store, name: str, cidr: str, **spec: Any) -> None:
    """Store an IPPool."""
    put_resource(store, "IPPool", name, {"cidr": cidr, **spec})


def put_node(store: Store, name: str, labels: dict[str, str] | None = None, **spec: Any) -> None:
    """Store a Node."""
    put_resource(store, "Node", name, spec, labels=labels or {})


def put_endpoint(store: Store, node: str, container: str, *addresses: str) -> None:
    """Store a WorkloadEndpoint with these addresses."""
    spec = {
        "orchestrator": "cni",
        "node": node,
        "containerID": container,
        "endpoint": "eth0",
        "ipNetworks": [f"{address}/32" for address in addresses],
        "interfaceName": f"cali{container}"[:15],
    }
    put_resource(store, "WorkloadEndpoint", f"{node}-cni-{container}-eth0", spec, namespace="default")


def small_cluster(*nodes: str, cidr: str = "10.0.0.0/26", block_size: int = 29) -> MemoryStore:
    """A store with one pool and some nodes."""
    store = MemoryStore()
    put_pool(store, "pool", cidr, blockSize=block_size)
    for node in nodes:
        put_node(store, node)
    return store


def ipam_of(store: Store, seed: int = 0, **options: Any) -> Ipam:
    """An Ipam that waits for nothing and draws the same chances each time."""
    return Ipam(store, chance=random.Random(seed), sleep=lambda _: None, **options)


def documents(store: Store, prefix: str) -> dict[str, Any]:
    """The JSON values under a prefix, by the rest of their keys."""
    return {item.key.removeprefix(prefix): json.loads(item.value) for item in listing(store, prefix).items}


def allocated(store: Store) -> dict[str, Any]:
    """Every allocated address, with its attribute as stored: read by rules of its own, not by the code under test."""
    import ipaddress

    found = {}
    for block in documents(store, BLOCKS).values():
        first = ipaddress.ip_network(block["cidr"]).network_address
        for ordinal, index in enumerate(block["allocations"]):
            if index is not None:
                address = str(first + ordinal)
                assert address not in found, f"{address} is in two blocks"
                found[address] = block["attributes"][index]
    return found


def assert_consistent(store: Store) -> None:
    """Blocks, handles and claims agree with one another."""
    counts: dict[str, Counter[str]] = {}
    for block in documents(store, BLOCKS).values():
        free = [ordinal for ordinal, index in enumerate(block["allocations"]) if index is None]
        assert sorted(block["unallocated"]) == free, block["cidr"]
        used = {index for index in block["allocations"] if index is not None}
        assert used == set(range(len(block["attributes"] or []))), block["cidr"]
        for index in block["allocations"]:
            handle = None if index is None else block["attributes"][index]["handle_id"]
            if handle is not None:
                counts.setdefault(handle, Counter())[block["cidr"]] += 1
    handles = {name: Counter(value["block"]) for name, value in documents(store, HANDLES).items()}
    assert handles == counts
    owners = {
        (b["affinity"].removeprefix("host:"), b["cidr"]) for b in documents(store, BLOCKS).values() if b["affinity"]
    }
    claims = set()
    for key, value in documents(store, HOSTS).items():
        host, _, _, cidr = key.split("/")
        assert value == {"state": "confirmed", "deleted": False}
        claims.add((host, cidr.replace("-", "/")))
    assert claims == owners
