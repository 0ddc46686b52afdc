"""What start-up writes: upstream's resources, once, whoever is faster, and whatever interrupted it."""

import threading
from pathlib import Path
from typing import Any

import pytest

from calico.client.errors import ResourceError
from calico.datastore.errors import DatastoreError, UnavailableError
from calico.datastore.memory import MemoryStore
from calico.node.startup import StartupError, start
from tests.unit.calico_node.cluster import client_of, host, settings, started, stored
from tests.unit.ipam.cluster import put_node, put_pool, put_resource


def test_the_first_node_writes_what_upstream_writes(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.5")
    found = stored(client)
    guid = found["clusterinformations/default"].pop("clusterGUID")
    assert len(guid) == 32
    assert found == {
        "clusterinformations/default": {"calicoVersion": "v3.14.0", "datastoreReady": True},
        "felixconfigurations/default": {
            "bpfLogLevel": "",
            "logSeverityScreen": "Info",
            "reportingInterval": "0s",
            "vxlanEnabled": True,
        },
        "felixconfigurations/node.10.0.0.5": {"bpfLogLevel": "", "defaultEndpointToHostAction": "Return"},
        "ippools/default-ipv4-ippool": {
            "blockSize": 26,
            "cidr": "172.29.0.0/16",
            "ipipMode": "Never",
            "natOutgoing": True,
            "nodeSelector": "all()",
            "vxlanMode": "Always",
        },
        "nodes/10.0.0.5": {"bgp": {"ipv4Address": "10.0.0.5/32"}},
        "profiles/calico": {
            "egress": [{"action": "Allow", "destination": {}, "source": {}}],
            "ingress": [{"action": "Allow", "destination": {}, "source": {}}],
            "labelsToApply": {"calico": ""},
        },
    }
    assert (tmp_path / "10.0.0.5/nodename").read_bytes() == b"10.0.0.5"


def test_a_second_start_writes_nothing(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.5")
    before = client.list("Node").revision
    start(client, settings(tmp_path), host())
    assert client.list("Node").revision == before


@pytest.mark.parametrize("count", [12])
def test_many_that_start_together_agree(tmp_path: Path, count: int) -> None:
    store = MemoryStore()
    names = [f"10.0.0.{number}" for number in range(1, count + 1)]
    errors: list[Exception] = []

    def run(name: str) -> None:
        try:
            start(client_of(store), settings(tmp_path, name), host())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    found = stored(client_of(store))
    assert sorted(key for key in found if key.startswith("nodes/")) == sorted(f"nodes/{name}" for name in names)
    assert [key for key in found if key.startswith(("ippools/", "clusterinformations/", "profiles/"))] == [
        "clusterinformations/default",
        "ippools/default-ipv4-ippool",
        "profiles/calico",
    ]


class FailingStore(MemoryStore):
    """A datastore that stops answering after `left` writes."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 10**6

    def commit(self, guards: Any, then: Any, otherwise: Any = ()) -> Any:
        if self.left <= 0:
            raise UnavailableError("no endpoint answered")
        self.left -= 1
        return super().commit(guards, then, otherwise)


@pytest.mark.parametrize("writes", range(7))
def test_whatever_interrupted_it_the_next_start_completes_it(tmp_path: Path, writes: int) -> None:
    whole = stored(started(tmp_path / "whole", "10.0.0.5"))
    store = FailingStore()
    store.left = writes
    with pytest.raises(DatastoreError):
        start(client_of(store), settings(tmp_path), host())
    assert not (tmp_path / "10.0.0.5/nodename").exists()
    store.left = 10**6
    start(client_of(store), settings(tmp_path), host())
    found = stored(client_of(store))
    for each in (whole, found):
        each["clusterinformations/default"].pop("clusterGUID")
    assert found == whole


def test_what_an_operator_set_stays(tmp_path: Path) -> None:
    store = MemoryStore()
    put_resource(store, "ClusterInformation", "default", {"clusterGUID": "g", "datastoreReady": False})
    put_resource(store, "FelixConfiguration", "default", {"reportingInterval": "30s", "vxlanEnabled": False})
    put_resource(store, "FelixConfiguration", "node.10.0.0.5", {"defaultEndpointToHostAction": "Drop"})
    put_resource(store, "Profile", "calico", {"labelsToApply": {"mine": ""}})
    put_pool(store, "mine", "10.7.0.0/16", disabled=True)
    put_node(store, "10.0.0.5", {"rack": "a"}, bgp={"ipv4Address": "10.0.0.4/24", "asNumber": 7})
    client = started(tmp_path, "10.0.0.5", store=store)
    found = stored(client)
    assert found["clusterinformations/default"]["datastoreReady"] is False
    assert found["clusterinformations/default"]["clusterGUID"] == "g"
    assert found["felixconfigurations/default"]["reportingInterval"] == "30s"
    assert found["felixconfigurations/default"]["vxlanEnabled"] is False
    assert found["felixconfigurations/node.10.0.0.5"]["defaultEndpointToHostAction"] == "Drop"
    assert found["profiles/calico"] == {"labelsToApply": {"mine": ""}}
    assert [key for key in found if key.startswith("ippools/")] == ["ippools/mine"]
    assert found["nodes/10.0.0.5"]["bgp"] == {"ipv4Address": "10.0.0.5/32", "asNumber": 7}
    assert client.get("Node", "10.0.0.5").metadata.labels == {"rack": "a"}


def test_the_prefix_that_an_operator_gave_the_address_stays(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.5")
    node = client.get("Node", "10.0.0.5")
    client.replace(node._replace(spec=node.spec._replace(bgp=node.spec.bgp._replace(ipv4_address="10.0.0.5/24"))))
    start(client, settings(tmp_path), host())
    assert stored(client)["nodes/10.0.0.5"]["bgp"] == {"ipv4Address": "10.0.0.5/24"}


def test_a_profile_deleted_later_stays_deleted(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.5")
    client.delete("Profile", "calico")
    start(client, settings(tmp_path), host())
    assert "profiles/calico" not in stored(client)


def test_an_address_that_another_node_has_is_refused(tmp_path: Path) -> None:
    store = MemoryStore()
    put_node(store, "old", bgp={"ipv4Address": "10.0.0.5/24"})
    with pytest.raises(StartupError, match=r"Node\(old\) has the address 10.0.0.5 too.*node decommission old"):
        started(tmp_path, "10.0.0.5", store=store)
    started(tmp_path, "10.0.0.5", store=store, check_addresses=False)


def test_without_a_cidr_the_pool_avoids_the_host(tmp_path: Path) -> None:
    for addresses, expected in (((), "192.168.0.0/16"), (("192.168.3.4", "172.16.0.9"), "172.17.0.0/16")):
        client = client_of(MemoryStore())
        start(client, settings(tmp_path / expected[:6], cidr=""), host(*addresses))
        assert stored(client)["ippools/default-ipv4-ippool"]["cidr"] == expected


def test_no_default_pools(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.5", default_pools=False)
    assert not [key for key in stored(client) if key.startswith("ippools/")]


def test_a_name_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises((ResourceError, StartupError, Exception), match="not a name"):
        start(client_of(MemoryStore()), settings(tmp_path, "10.0.0.5")._replace(name="Node_1"), host())
