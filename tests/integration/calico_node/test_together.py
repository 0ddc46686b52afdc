"""A cluster that starts at once, on a real etcd: every node with its own process' view of it, none twice."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import Delete
from calico.ipam.check import Use, check
from calico.ipam.snapshot import take_snapshot
from calico.model.keys import ResourceKey
from calico.node import tunnels
from calico.node.collector import LEADER, Collector
from calico.node.presence import Presence, is_alive
from calico.node.startup import start
from tests.servers.etcd import local_cluster
from tests.unit.calico_node.cluster import client_of, host, settings, stored
from tests.unit.ipam.cluster import assert_consistent, ipam_of

_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))
NODES = 100 if _SOAK else 30


@pytest.mark.timeout(600 if _SOAK else 120)
def test_all_nodes_at_once(tmp_path: Path) -> None:
    cluster = local_cluster(tmp_path)
    names = [f"10.1.{number // 250}.{number % 250 + 1}" for number in range(NODES)]
    errors: list[str] = []
    together = threading.Barrier(NODES)

    def run(name: str) -> None:
        store = Etcd(EtcdSettings(tuple(cluster.urls), timeout=60.0))
        try:
            together.wait(60)
            client = client_of(store)
            start(client, settings(tmp_path, name), host())
            tunnels.ensure(client, ipam_of(store, seed=hash(name)), name)
        except Exception as error:
            errors.append(f"{name}: {error!r}")
        finally:
            store.close()

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(110)
    store = Etcd(EtcdSettings(tuple(cluster.urls)))
    try:
        assert errors == []
        found = stored(client_of(store))
        addresses = [spec["ipv4VXLANTunnelAddr"] for key, spec in found.items() if key.startswith("nodes/")]
        assert len(set(addresses)) == NODES
        assert sum(key.startswith("ippools/") for key in found) == 1
        assert_consistent(store)
        report = check(take_snapshot(store))
        assert report.findings == ()
        assert {one.use for one in report.allocations} == {Use.TUNNEL}
    finally:
        store.close()
        cluster.stop()


def test_leadership_and_presence_end_with_their_leases(tmp_path: Path) -> None:
    cluster = local_cluster(tmp_path)
    store = Etcd(EtcdSettings(tuple(cluster.urls)))
    try:
        first, second = (Collector(store, ipam_of(store), name) for name in ("a", "b"))
        first.step()
        second.step()
        assert (first.leads, second.leads) == (True, False)
        presence = Presence(store, "a")
        presence.step()
        assert is_alive(store, "a")
        for lease in {store.get(key).items[0].lease for key in (LEADER, "/calico/dcos-calico/v1/alive/a")}:
            store.revoke(lease)  # as when it was not heard of for a minute
        assert not is_alive(store, "a")
        second.step()
        first.step()
        assert (first.leads, second.leads) == (False, True)
        presence.step()
        assert is_alive(store, "a")
        presence.stop()
        second.stop()
        assert not is_alive(store, "a")
        assert store.get(LEADER).items == ()
    finally:
        store.close()
        cluster.stop()


def test_a_node_that_somebody_deleted_comes_back(tmp_path: Path) -> None:
    """The agent sees that its Node is gone, and makes it anew with its tunnel."""
    from tests.integration.cni.node import Node, eventually, sweep

    sweep()
    node = Node(tmp_path / "node")
    key = ResourceKey("Node", node.name).path
    try:
        node.start_etcd()
        node.start_agent()

        def tunnel() -> str:
            found = node.with_store(lambda store: store.get(key).items)
            return str(json.loads(found[0].value)["spec"].get("ipv4VXLANTunnelAddr", "")) if found else ""

        address = eventually(tunnel, "it has a tunnel")
        node.with_store(lambda store: store.commit([], [Delete(key)]))
        eventually(tunnel, "it has one again")
        assert address

        def is_clean() -> bool:
            report = node.with_store(lambda store: check(take_snapshot(store)))
            return [one.use for one in report.allocations] == [Use.TUNNEL] and report.findings == ()

        # The address it had before is freed once the new one is written down.
        eventually(is_clean, "it holds one address, its tunnel's")
    finally:
        node.remove()


def test_ready_is_said_when_the_nodes_configuration_stands_and_without_etcd_too(tmp_path: Path) -> None:
    """felix is started after READY: what it reads of this node is there."""
    from tests.integration.cni.node import Node, sweep

    sweep()
    node = Node(tmp_path / "node")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(30)
    try:
        node.start_etcd()
        node.start_agent(NOTIFY_SOCKET=str(tmp_path / "notify"))
        while b"READY=1" not in manager.recv(65536):
            pass
        key = ResourceKey("FelixConfiguration", f"node.{node.name}").path
        assert node.with_store(lambda store: store.get(key).items)
        node.stop_agent()
        assert node.cluster is not None
        node.cluster.stop()
        node.start_agent(NOTIFY_SOCKET=str(tmp_path / "notify"))
        while b"READY=1" not in (said := manager.recv(65536)):
            pass
        assert b"start-up: waits" in said
    finally:
        node.remove()
        manager.close()
