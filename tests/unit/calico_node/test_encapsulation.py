"""A changed configuration: the encapsulation follows it once, an operator's choice stays, a CIDR is only reported."""

from pathlib import Path

import pytest

from calico.client.resources import Client
from calico.node.settings import Encapsulation
from calico.node.startup import start
from tests.unit.calico_node.cluster import IPIP, VXLAN, host, settings, started, stored

CROSS = Encapsulation(vxlan="CrossSubnet")


def restart(client: Client, state: Path, name: str, encapsulation: Encapsulation) -> tuple[str, ...]:
    return start(client, settings(state, name, encapsulation), host())


def modes(client: Client) -> tuple[str, str]:
    pool = stored(client)["ippools/default-ipv4-ippool"]
    return pool["ipipMode"], pool["vxlanMode"]


def flags(client: Client) -> tuple[object, object]:
    felix = stored(client)["felixconfigurations/default"]
    return felix.get("ipipEnabled"), felix.get("vxlanEnabled")


def test_a_rolling_upgrade_changes_it_once(tmp_path: Path) -> None:
    nodes = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    client = started(tmp_path, *nodes)
    assert (modes(client), flags(client)) == (("Never", "Always"), (None, True))
    assert restart(client, tmp_path, nodes[0], IPIP) == ()
    assert (modes(client), flags(client)) == (("Always", "Never"), (True, None))
    warned = restart(client, tmp_path, nodes[2], VXLAN)  # not upgraded yet
    assert "is encapsulated by IPIP Always, and the configuration says VXLAN Always" in warned[0]
    assert modes(client) == ("Always", "Never")
    before = client.list("IPPool").items[0].metadata.resource_version
    for name in nodes[1:]:
        assert restart(client, tmp_path, name, IPIP) == ()
    assert client.list("IPPool").items[0].metadata.resource_version == before
    assert restart(client, tmp_path, nodes[1], VXLAN) == (), "and back again"
    assert (modes(client), flags(client)) == (("Never", "Always"), (None, True))


def test_what_an_operator_set_stays(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.1", "10.0.0.2")
    pool = client.get("IPPool", "default-ipv4-ippool")
    client.replace(pool._replace(spec=pool.spec._replace(vxlan_mode="CrossSubnet")))
    for name in ("10.0.0.1", "10.0.0.2"):
        assert restart(client, tmp_path, name, VXLAN)
        assert restart(client, tmp_path, name, IPIP)
    assert modes(client) == ("Never", "CrossSubnet")


def test_another_pool_keeps_its_encapsulation_on(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.1")
    pool = client.get("IPPool", "default-ipv4-ippool")
    from calico.model.metadata import Metadata
    from calico.model.resource import Resource

    client.create(Resource("IPPool", Metadata("second"), pool.spec._replace(cidr="10.9.0.0/16")))
    restart(client, tmp_path, "10.0.0.1", IPIP)
    assert flags(client) == (True, True)


def test_a_new_node_of_another_configuration_changes_nothing(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.1")
    assert restart(client, tmp_path, "10.0.0.9", IPIP)
    assert modes(client) == ("Never", "Always")


def test_a_changed_cidr_is_reported_and_nothing_else(tmp_path: Path) -> None:
    client = started(tmp_path, "10.0.0.1")
    advice = start(client, settings(tmp_path, "10.0.0.1", cidr="172.30.0.0/16"), host())
    assert len(advice) == 1
    assert "is 172.30.0.0/16 and the pool default-ipv4-ippool has 172.29.0.0/16" in advice[0]
    assert "run `calicoctl pool migrate 172.29.0.0/16 172.30.0.0/16`" in advice[0]
    assert len(client.list("IPPool").items) == 1


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": "other"}'])
def test_a_record_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    client = started(tmp_path, "10.0.0.1")
    (tmp_path / "10.0.0.1/configuration.json").write_text(text)
    restart(client, tmp_path, "10.0.0.1", IPIP)
    assert modes(client) == ("Never", "Always")
