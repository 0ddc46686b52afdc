"""Tunnel addresses follow the pools, belong to one node each, and never take what is somebody else's."""

from pathlib import Path

import pytest

from calico.client.resources import Client
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.errors import IpamError
from calico.node.settings import Encapsulation
from calico.node.tunnels import ensure
from tests.unit.calico_node.cluster import IPIP, VXLAN, started, stored
from tests.unit.ipam.cluster import allocated, assert_consistent, ipam_of, put_endpoint, put_node

NODE = "10.0.0.5"


def cluster(tmp_path: Path, encapsulation: Encapsulation = VXLAN) -> tuple[Client, Ipam]:
    client = started(tmp_path, NODE, encapsulation=encapsulation)
    return client, ipam_of(client.store)


def change_pool(client: Client, **changes: object) -> None:
    pool = client.get("IPPool", "default-ipv4-ippool")
    client.replace(pool._replace(spec=pool.spec._replace(**changes)))


@pytest.mark.parametrize(
    ("encapsulation", "name", "type_"),
    [(VXLAN, "vxlan", "vxlanTunnelAddress"), (IPIP, "ipip", "ipipTunnelAddress")],
)
def test_an_address_is_given_once_and_kept(tmp_path: Path, encapsulation: Encapsulation, name: str, type_: str) -> None:
    client, ipam = cluster(tmp_path, encapsulation)
    given = ensure(client, ipam, NODE)
    assert set(given) == {name}
    address = given[name]
    spec = stored(client)[f"nodes/{NODE}"]
    assert address == (spec.get("ipv4VXLANTunnelAddr") or spec["bgp"].get("ipv4IPIPTunnelAddr"))
    notes = {"node": NODE, "type": type_}
    assert allocated(client.store) == {address: {"handle_id": f"{name}-tunnel-addr-{NODE}", "secondary": notes}}
    before = client.list("Node").revision
    assert ensure(client, ipam, NODE) == given
    assert client.list("Node").revision == before


def test_it_follows_the_pools(tmp_path: Path) -> None:
    client, ipam = cluster(tmp_path)
    vxlan = ensure(client, ipam, NODE)["vxlan"]
    change_pool(client, vxlan_mode="Never", ipip_mode="CrossSubnet")
    given = ensure(client, ipam, NODE)
    assert set(given) == {"ipip"}
    assert set(allocated(client.store)) == {given["ipip"]}
    assert "ipv4VXLANTunnelAddr" not in stored(client)[f"nodes/{NODE}"]
    change_pool(client, ipip_mode="Never")
    assert ensure(client, ipam, NODE) == {}
    assert allocated(client.store) == {}
    assert stored(client)[f"nodes/{NODE}"] == {"bgp": {"ipv4Address": f"{NODE}/32"}}
    assert vxlan
    assert_consistent(client.store)


@pytest.mark.parametrize("change", [{"disabled": True}, {"node_selector": "has(other)"}])
def test_a_pool_that_is_not_for_the_node_gives_none(tmp_path: Path, change: dict[str, object]) -> None:
    client, ipam = cluster(tmp_path)
    ensure(client, ipam, NODE)
    change_pool(client, **change)
    assert ensure(client, ipam, NODE) == {}
    assert allocated(client.store) == {}


def test_what_the_node_names_but_is_anothers_is_replaced_and_not_released(tmp_path: Path) -> None:
    client, ipam = cluster(tmp_path)
    put_node(client.store, "other")
    theirs = ipam.auto_assign(Request("other", ipv4=1, handle="calico.x", attributes={"node": "other"})).ipv4[0].address
    node = client.get("Node", NODE)
    client.replace(node._replace(spec=node.spec._replace(ipv4_vxlan_tunnel_addr=theirs)))
    given = ensure(client, ipam, NODE)["vxlan"]
    assert given != theirs
    assert theirs in allocated(client.store)


def test_an_address_of_the_old_format_is_taken_over(tmp_path: Path) -> None:
    client, ipam = cluster(tmp_path)
    old = ipam.auto_assign(Request(NODE, ipv4=1)).ipv4[0].address
    node = client.get("Node", NODE)
    client.replace(node._replace(spec=node.spec._replace(ipv4_vxlan_tunnel_addr=old)))
    assert ensure(client, ipam, NODE) == {"vxlan": old}
    assert allocated(client.store)[old]["handle_id"] == f"vxlan-tunnel-addr-{NODE}"


def test_a_docker_containers_address_is_not_taken_for_one(tmp_path: Path) -> None:
    """v3.14's Docker plugin gives out addresses without handle and notes, as old tunnels have them."""
    client, ipam = cluster(tmp_path)
    dockers = ipam.auto_assign(Request(NODE, ipv4=1)).ipv4[0].address
    put_endpoint(client.store, NODE, "c1", dockers)
    node = client.get("Node", NODE)
    client.replace(node._replace(spec=node.spec._replace(ipv4_vxlan_tunnel_addr=dockers)))
    given = ensure(client, ipam, NODE)["vxlan"]
    assert given != dockers
    assert allocated(client.store)[dockers] == {"handle_id": None, "secondary": None}
    node = client.get("Node", NODE)
    client.replace(node._replace(spec=node.spec._replace(ipv4_vxlan_tunnel_addr=dockers)))
    change_pool(client, disabled=True)
    assert ensure(client, ipam, NODE) == {}
    assert dockers in allocated(client.store)


def test_a_pool_without_addresses_says_so(tmp_path: Path) -> None:
    client = started(tmp_path, NODE, cidr="10.8.0.0/26")
    ipam = ipam_of(client.store)
    put_node(client.store, "other")
    assert len(ipam.auto_assign(Request("other", ipv4=64, handle="all")).ipv4) == 64
    with pytest.raises(IpamError, match="no address for the node's vxlan tunnel"):
        ensure(client, ipam, NODE)
