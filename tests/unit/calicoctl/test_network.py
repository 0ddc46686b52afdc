"""`network create | delete | list | cni`: all of it or nothing, what may not overlap, and the way back."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from calico.calicoctl import networks
from calico.calicoctl.verbs import network
from calico.client.errors import ConflictError
from calico.client.resources import Client
from calico.datastore.store import Delete, Put, listing
from calico.ipam.assign import Request
from calico.model import registry
from calico.model.registry import Definition, Entry, Placement, Record
from gen.parameters import DEFAULT_OVERLAY
from gen.render import render
from gen.units import DAEMONS
from tests.unit.gen.test_render import values
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

    monkeypatch.setattr(registry, "write_entry", refuse)
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


@pytest.fixture
def configured(cluster: Calicoctl, tmp_path: Path) -> Calicoctl:
    """A node with what `gen` rendered of a cluster whose ranges are not DC/OS' own."""
    overlay = {**DEFAULT_OVERLAY, "overlays": [{"name": "dcos", "subnet": "10.8.0.0/16", "prefix": 24}]}
    changed = {
        "dcos_overlay_network": {**overlay, "vtep_subnet": "45.0.0.0/20"},
        "dcos_ucr_default_bridge_subnet": "172.31.1.0/24",
        "dcos_l4lb_min_named_ip": "12.0.0.1",
        "dcos_l4lb_max_named_ip": "12.0.0.100",
        "resolvers": ["10.200.0.1"],
    }
    (file,) = (one for one in render(values(**changed), DAEMONS) if one.path == "etc/calico/networks.json")
    path = tmp_path / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    return cluster


@pytest.mark.parametrize(
    ("cidr", "owner"),
    [
        ("172.29.128.0/17", "the pool default"),
        ("10.8.1.0/24", "10.8.0.0/16 of the overlay 'dcos'"),
        ("45.0.0.0/24", "the overlay's vtep_subnet"),
        ("12.0.0.64/26", "the load balancer's range"),
        ("172.17.0.0/16", "docker0's default"),
        ("172.31.0.0/16", "172.31.1.0/24 of the UCR bridge"),
        ("10.200.0.0/26", "a resolver"),
        ("192.0.2.0/24", "a node"),
        ("198.51.100.0/24", "DC/OS's internal addresses"),
        ("169.254.0.0/16", "link-local"),
    ],
)
def test_what_the_cluster_is_configured_with_is_refused(configured: Calicoctl, cidr: str, owner: str) -> None:
    before = keys(configured)
    result = configured("network", "create", "blue", "--cidr", cidr, "--allow-overlap")
    assert result.code == 1 and owner in result.err
    assert "by default" not in result.err
    assert keys(configured) == before


def test_what_the_cluster_is_not_configured_with_is_free(configured: Calicoctl) -> None:
    for number, cidr in enumerate(("9.1.0.0/16", "44.128.0.0/24", "11.2.0.0/16", "172.31.254.0/24", "12.0.0.128/26")):
        result = configured("network", "create", f"net{number}", "--cidr", cidr)
        assert result.code == 0, result


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"networks": [{"owner": "x", "first": "a", "last": "b"}]}'])
def test_a_list_that_cannot_be_read_is_told(configured: Calicoctl, tmp_path: Path, content: str) -> None:
    before = keys(configured)
    path = tmp_path / "etc/calico/networks.json"
    path.write_text(content)
    result = configured(*CREATE)
    assert result.code == 1 and f"{path}: cannot be read" in result.err
    assert keys(configured) == before


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


def put_engine(cluster: Calicoctl, node: str) -> str:
    """A node whose engine has the network; the key that says so."""
    record = Record(node, "f00", Definition(("10.1.0.0/16",), "blue"), "blue")
    cluster.store.commit([], [Put(record.key, registry.write_record(record))])
    return record.key


def put_file(cluster: Calicoctl, node: str) -> str:
    """A node that has the network's file for Mesos."""
    key = Placement(node, "blue").key
    cluster.store.commit([], [Put(key, b"{}")])
    return key


@pytest.mark.parametrize("put", [put_engine, put_file])
def test_nodes_take_theirs_away_first(cluster: Calicoctl, put: Callable[[Calicoctl, str], str]) -> None:
    cluster(*CREATE)
    key = put(cluster, "192.0.2.11")
    (listed,) = json.loads(cluster("network", "list", "--format", "json").out)
    assert (listed["docker"], listed["mesos"]) == ((["192.0.2.11"], []) if put is put_engine else ([], ["192.0.2.11"]))
    result = cluster("network", "delete", "blue", "--wait", "0")
    assert result.code == 1 and "the node 192.0.2.11 still has it" in result.err
    assert networks.entries(cluster.client)[0].removing
    assert cluster.client.get("IPPool", "blue")
    assert "being removed" in cluster("network", "list").out
    cluster.store.commit([], [Delete(key)])
    assert cluster("network", "delete", "blue").code == 0
    assert networks.entries(cluster.client) == []


def test_the_nodes_are_waited_for(cluster: Calicoctl, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys(cluster)
    cluster(*CREATE)
    left = [put_engine(cluster, "192.0.2.11"), put_file(cluster, "192.0.2.11")]
    monkeypatch.setattr("time.sleep", lambda _seconds: cluster.store.commit([], [Delete(left.pop())]))
    result = cluster("network", "delete", "blue")
    assert result.code == 0, result
    assert keys(cluster) == before


def test_an_agent_that_forgets_the_network_first_is_no_error(
    cluster: Calicoctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin that finds that no engine has a network any more deletes its entry, too."""
    before = keys(cluster)
    cluster(*CREATE)
    write = networks._write

    def late(client: Client, entry: Entry, operation: Put | Delete) -> bool:
        if isinstance(operation, Delete):
            cluster.store.commit([], [operation])
        return write(client, entry, operation)

    monkeypatch.setattr(networks, "_write", late)
    assert cluster("network", "delete", "blue").code == 0
    assert keys(cluster) == before


def test_a_container_that_came_meanwhile_keeps_its_network(cluster: Calicoctl, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster(*CREATE)
    key = put_file(cluster, "192.0.2.11")

    def come(_seconds: float) -> None:
        ipam_of(cluster.store).auto_assign(Request("192.0.2.11", ipv4=1, handle="c", ipv4_pools=("10.1.0.0/16",)))
        cluster.store.commit([], [Delete(key)])

    monkeypatch.setattr("time.sleep", come)
    result = cluster("network", "delete", "blue")
    assert result.code == 1 and "10.1." in result.err
    assert cluster.client.get("IPPool", "blue") and networks.entries(cluster.client)


def test_what_a_node_that_is_gone_says_is_not_waited_for(cluster: Calicoctl) -> None:
    before = keys(cluster)
    cluster(*CREATE)
    put_file(cluster, "192.0.2.99")
    assert cluster("network", "delete", "blue", "--wait", "0").code == 0
    assert keys(cluster) == before


def test_a_network_that_calicoctl_did_not_make_stays(cluster: Calicoctl) -> None:
    value = registry.write_entry(Entry("calico", Definition(("172.29.0.0/16",), "calico")))
    cluster.store.commit([], [Put(registry.entry_key("calico"), value)])
    before = keys(cluster)
    result = cluster("network", "delete", "calico")
    assert result.code == 1 and "there is no network calico that calicoctl made" in result.err
    assert keys(cluster) == before


def test_the_file_for_mesos(cluster: Calicoctl) -> None:
    cluster(*CREATE)
    document = json.loads(cluster("network", "cni", "blue").out)
    assert document["name"] == "blue"
    assert document["delegate"]["ipam"] == {"type": "calico-ipam", "ipv4_pools": ["10.1.0.0/16"]}
    none = cluster("network", "cni", "none")
    assert none.code == 1 and "there is no network none" in none.err


def test_the_file_for_mesos_of_what_has_none(cluster: Calicoctl, tmp_path: Path) -> None:
    entry = Entry("six", Definition(("fd00::/64",)))
    cluster.store.commit([], [Put(registry.entry_key("six"), registry.write_entry(entry))])
    assert "has not just one IPv4 subnet" in cluster("network", "cni", "six").err
    cluster(*CREATE)
    for content in ("{", "[]", "{}", None):
        conf = tmp_path / "etc/dcos/network/cni/calico.conf"
        conf.unlink() if content is None else conf.write_text(content)
        result = cluster("network", "cni", "blue")
        assert result.code == 1 and f"{conf}: " in result.err
