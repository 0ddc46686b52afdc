"""`network create | delete | list | cni`: all three parts or none, what may not overlap, and the way back."""

import json
from pathlib import Path

import pytest

from calico.calicoctl import networks
from calico.calicoctl.verbs import network
from calico.client.errors import ConflictError
from calico.datastore.store import Delete, Put, listing
from calico.ipam.assign import Request
from calico.libnetwork import definition as definitions
from calico.libnetwork.definition import Definition, Record
from tests.unit.ipam.cluster import ipam_of, put_node

from .conftest import Calicoctl

CREATE = ("network", "create", "blue", "--cidr", "10.1.0.0/16")


@pytest.fixture
def cluster(calicoctl: Calicoctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calicoctl:
    """A default pool with VXLAN, a node with an address, and rendered files."""
    spec = "{cidr: 172.29.0.0/16, vxlanMode: Always, natOutgoing: true}"
    calicoctl.apply(f"apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: default}}\nspec: {spec}\n")
    put_node(calicoctl.store, "192.0.2.11", bgp={"ipv4Address": "192.0.2.11/24"})
    conf = tmp_path / "etc/dcos/network/cni/calico.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text(
        '{"name": "calico", "type": "mesos-cni-port-mapper", "delegate": {"ipam": {"type": "calico-ipam"}}}'
    )
    monkeypatch.setattr(network, "CONFIGURATION", tmp_path / "etc")
    return calicoctl


def keys(calicoctl: Calicoctl) -> dict[str, bytes]:
    return {item.key: item.value for item in listing(calicoctl.store, "/calico/").items}


def test_a_network_is_a_pool_a_profile_and_an_entry(cluster: Calicoctl) -> None:
    result = cluster(*CREATE)
    assert result.code == 0, result
    pool = cluster.client.get("IPPool", "blue")
    assert (pool.spec.cidr, pool.spec.vxlan_mode, pool.spec.nat_outgoing) == ("10.1.0.0/16", "Always", True)
    assert pool.spec.node_selector == "!all()", "nobody gets its addresses who does not ask for them"
    profile = cluster.client.get("Profile", "blue")
    assert profile.spec.labels_to_apply == {"blue": ""}
    (entry,) = networks.entries(cluster.client)
    assert (entry.name, entry.definition) == ("blue", Definition(("10.1.0.0/16",), "blue"))


def test_addresses_of_it_go_only_to_who_asks(cluster: Calicoctl) -> None:
    cluster(*CREATE)
    ipam = ipam_of(cluster.store)
    (one,) = ipam.auto_assign(Request("192.0.2.11", ipv4=1, handle="a")).ipv4
    (two,) = ipam.auto_assign(Request("192.0.2.11", ipv4=1, handle="b", ipv4_pools=("10.1.0.0/16",))).ipv4
    assert one.address.startswith("172.29.") and two.address.startswith("10.1.")


def test_a_profile_that_is_there_is_used_and_stays(cluster: Calicoctl) -> None:
    cluster.apply("apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: shared}\nspec: {}\n")
    assert "was there" in cluster(*CREATE, "--profile", "shared").out
    assert cluster("network", "delete", "blue").code == 0
    assert cluster.client.get("Profile", "shared")


def test_it_is_undone_as_a_whole(cluster: Calicoctl) -> None:
    before = keys(cluster)
    cluster(*CREATE)
    result = cluster("network", "delete", "blue")
    assert result.code == 0, result
    assert keys(cluster) == before
    again = cluster("network", "delete", "blue")
    assert again.code == 1 and "there is no network blue" in again.err


def test_a_dry_run_changes_nothing(cluster: Calicoctl) -> None:
    before = keys(cluster)
    result = cluster(*CREATE, "--dry-run")
    assert "would make IPPool(blue): 10.1.0.0/16" in result.out
    assert keys(cluster) == before
    cluster(*CREATE)
    made = keys(cluster)
    assert "would remove" in cluster("network", "delete", "blue", "--dry-run").out
    assert keys(cluster) == made


def test_what_fails_at_the_end_leaves_nothing(cluster: Calicoctl, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(cluster)

    def refuse(*_arguments: object) -> None:
        raise ConflictError("network blue")

    monkeypatch.setattr(definitions, "write_entry", refuse)
    assert cluster(*CREATE).code == 1
    assert keys(cluster) == before


@pytest.mark.parametrize(
    ("cidr", "owner"),
    [
        ("172.29.128.0/17", "the pool default"),
        ("9.1.0.0/16", "the DC/OS overlay, by default"),
        ("44.128.0.0/24", "the overlay's tunnel endpoints"),
        ("11.2.0.0/16", "named virtual IPs"),
        ("172.17.0.0/16", "docker0"),
        ("172.31.0.0/16", "the UCR bridge"),
        ("192.0.2.0/24", "the node 192.0.2.11"),
        ("198.51.100.0/24", "DC/OS' internal addresses"),
        ("127.0.0.0/8", "loopback"),
        ("224.0.0.0/8", "multicast"),
        ("169.254.0.0/16", "link-local"),
    ],
)
def test_what_overlaps_is_refused_with_its_owner(cluster: Calicoctl, cidr: str, owner: str) -> None:
    before = keys(cluster)
    result = cluster("network", "create", "blue", "--cidr", cidr)
    assert result.code == 1 and owner in result.err
    assert keys(cluster) == before


def test_defaults_may_be_configured_otherwise(cluster: Calicoctl, tmp_path: Path) -> None:
    assert cluster("network", "create", "blue", "--cidr", "9.1.0.0/16", "--allow-overlap").code == 0
    assert cluster("network", "create", "red", "--cidr", "127.0.0.0/16", "--allow-overlap").code == 1
    overlay = tmp_path / "etc/overlay/config/master.json"
    overlay.parent.mkdir(parents=True)
    rendered = {"vtep_subnet": "45.0.0.0/20", "overlays": [{"name": "dcos", "subnet": "10.8.0.0/16"}, {"name": "six"}]}
    overlay.write_text(json.dumps({"network": rendered}))
    assert "the overlay dcos" in cluster("network", "create", "red", "--cidr", "10.8.1.0/24").err
    assert cluster("network", "create", "red", "--cidr", "9.2.0.0/16").code == 0


@pytest.mark.parametrize(
    ("name", "cidr", "told"),
    [
        ("calico", "10.1.0.0/16", "cannot name a network"),
        ("Blue", "10.1.0.0/16", "cannot name a network"),
        ("-x", "10.1.0.0/16", "unrecognized"),
        ("blue", "10.1.0.1/16", "has host bits set"),
        ("blue", "10.1.0.0/27", "at least a /26"),
        ("blue", "fd00::/64", "IPv4"),
        ("blue", "x", "--cidr"),
    ],
)
def test_what_cannot_be_a_network(cluster: Calicoctl, name: str, cidr: str, told: str) -> None:
    result = cluster("network", "create", name, "--cidr", cidr)
    assert result.code == 1 and (told in result.err or "-x" in name)


def test_a_second_of_that_name_or_range_is_refused(cluster: Calicoctl) -> None:
    cluster(*CREATE)
    made = keys(cluster)
    assert "overlaps 10.1.0.0/16 of the pool blue" in cluster("network", "create", "red", "--cidr", "10.1.2.0/24").err
    assert cluster("network", "create", "blue", "--cidr", "10.2.0.0/16").code == 1
    assert keys(cluster) == made


def test_a_network_in_use_is_not_taken_away(cluster: Calicoctl) -> None:
    cluster(*CREATE)
    ipam_of(cluster.store).auto_assign(Request("192.0.2.11", ipv4=1, handle="c", ipv4_pools=("10.1.0.0/16",)))
    made = keys(cluster)
    result = cluster("network", "delete", "blue")
    assert result.code == 1 and "10.1." in result.err
    assert keys(cluster) == made


def test_agents_take_theirs_away_first(cluster: Calicoctl) -> None:
    cluster(*CREATE)
    record = Record("192.0.2.21", "f00", Definition(("10.1.0.0/16",), "blue"), "blue")
    cluster.store.commit([], [Put(record.key, definitions.write_record(record))])
    listed = json.loads(cluster("network", "list", "--format", "json").out)
    assert [(one["name"], one["agents"]) for one in listed] == [("blue", ["192.0.2.21"])]
    result = cluster("network", "delete", "blue")
    assert result.code == 1 and "the agent 192.0.2.21 still has it" in result.err
    assert networks.entries(cluster.client)[0].removing
    assert "being removed" in cluster("network", "list").out
    cluster.store.commit([], [Delete(record.key)])
    assert cluster("network", "delete", "blue").code == 0
    assert networks.entries(cluster.client) == []


def test_the_file_for_mesos(cluster: Calicoctl) -> None:
    cluster(*CREATE)
    document = json.loads(cluster("network", "cni", "blue").out)
    assert document["name"] == "blue"
    assert document["delegate"]["ipam"] == {"type": "calico-ipam", "ipv4_pools": ["10.1.0.0/16"]}
    assert cluster("network", "cni", "none").code == 1
