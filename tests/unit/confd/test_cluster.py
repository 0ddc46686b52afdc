"""The datastore's stream, gathered: what of it counts, and what a broken value costs."""

import json
from typing import Any

from calico.confd.cluster import Cluster, Gathering, Node, decoders
from calico.datastore.memory import MemoryStore
from calico.datastore.store import Delete, Put
from calico.datastore.syncer import InSync, Syncer, Update
from calico.model.ipam import Affinity
from calico.model.keys import AffinityKey, ResourceKey


class Store:
    """A datastore, and what confd of node `a` makes of it."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self._syncer = Syncer(self.store, decoders("a"))
        self._batches = self._syncer.batches(0.05)
        self._gathering = Gathering()

    def put(self, kind: str, name: str, spec: Any, **labels: str) -> None:
        metadata = {"name": name, "labels": labels}
        document = {"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": metadata, "spec": spec}
        self.put_raw(ResourceKey(kind, name).path, json.dumps(document))

    def put_raw(self, key: str, value: str) -> None:
        self.store.commit([], [Put(key, value.encode())])

    def cluster(self) -> Cluster:
        """All that has come."""
        whole = False
        for batch in self._batches:
            for one in batch:
                whole = whole or isinstance(one, InSync)
                if isinstance(one, Update):
                    self._gathering.on_update(one)
            if not batch or whole:
                break
        return self._gathering.cluster(tuple((key, "") for key in self._syncer.broken_keys))


def test_what_is_gathered() -> None:
    store = Store()
    bgp = {"ipv4Address": "10.0.0.1/24", "ipv6Address": "FD00:0::1/64", "asNumber": "1.1"}
    store.put("Node", "a", {"bgp": {**bgp, "routeReflectorClusterID": "1.0.0.1"}}, rack="1")
    store.put("Node", "b", {})
    store.put("BGPPeer", "p", {"peerIP": "192.0.2.1", "asNumber": 65001, "passwordFile": "f"})
    store.put("BGPConfiguration", "default", {"asNumber": 65100, "nodeToNodeMeshEnabled": False})
    store.put("BGPConfiguration", "node.a", {"logSeverityScreen": "Debug"})
    store.put("IPPool", "pool", {"cidr": "10.1.0.0/16", "ipipMode": "CrossSubnet"})
    store.put("Profile", "nothing-of-ours", {})
    store.put_raw(AffinityKey("a", "10.1.0.0/26").path, '{"state":"pending"}')
    store.put_raw(AffinityKey("a", "10.1.0.64/26").path, "")
    store.put_raw(AffinityKey("a", "10.1.0.128/26").path, '{"state":"confirmed","deleted":true}')
    store.put_raw(AffinityKey("ab", "10.1.1.0/26").path, '{"state":"confirmed"}')
    found = store.cluster()
    assert found.nodes == {"a": Node("a", {"rack": "1"}, 65537, "10.0.0.1", "fd00::1", "1.0.0.1"), "b": Node("b")}
    assert found.peers["p"].password_file == "f"
    assert (found.as_number, found.has_mesh) == (65100, False)
    assert (found.log_level("a"), found.log_level("b")) == ("debug", "info")
    assert found.pools["pool"].ipip_mode == "CrossSubnet"
    assert found.affinities == {"10.1.0.0/26": Affinity("pending"), "10.1.0.64/26": Affinity("")}


def test_an_empty_datastore_has_defaults() -> None:
    found = Store().cluster()
    assert (found.as_number, found.has_mesh, found.log_level("a")) == (64512, True, "info")


def test_broken_values_cost_themselves_alone() -> None:
    store = Store()
    store.put("Node", "a", {"bgp": {"ipv4Address": "10.0.0.1/24"}})
    store.put("BGPPeer", "huge", {"peerIP": "192.0.2.1", "asNumber": 4294967296})
    store.put_raw(AffinityKey("a", "10.1.0.0/26").path, "[]")
    found = store.cluster()
    assert list(found.nodes) == ["a"]
    assert not found.peers
    assert not found.affinities
    broken = {AffinityKey("a", "10.1.0.0/26").path, ResourceKey("BGPPeer", "huge").path}
    assert {key for key, _ in found.unreadable} == broken


def test_an_address_that_is_none_is_a_problem_of_its_node() -> None:
    store = Store()
    store.put("Node", "a", {"bgp": {"ipv4Address": "10.0.0.256/24", "ipv6Address": "10.0.0.1/24"}})
    node = store.cluster().nodes["a"]
    assert (node.ipv4, node.ipv6) == ("", "")
    assert [str(problem).partition(" (")[0] for problem in node.problems] == [
        "Node(a): spec.bgp.ipv4Address: '10.0.0.256/24' is no IPv4 address",
        "Node(a): spec.bgp.ipv6Address: '10.0.0.1/24' is no IPv6 address",
    ]


def test_only_what_changes_counts_as_a_change() -> None:
    gathering = Gathering()
    key = AffinityKey("a", "10.1.0.0/26").path
    assert gathering.on_update(Update(key, Affinity("pending"), 1))
    assert not gathering.on_update(Update(key, Affinity("pending"), 2))
    assert gathering.on_update(Update(key, None, 3))
    assert not gathering.on_update(Update(key, None, 4))
    assert not gathering.on_update(Update("/calico/else", 1, 5))


def test_deletions_arrive() -> None:
    store = Store()
    store.put("Node", "a", {"bgp": {"ipv4Address": "10.0.0.1/24"}})
    assert list(store.cluster().nodes) == ["a"]
    store.store.commit([], [Delete(ResourceKey("Node", "a").path)])
    assert list(store.cluster().nodes) == []
