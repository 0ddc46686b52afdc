"""Containers on one node: they get addresses, reach each other, and leave nothing behind."""

import json
import shutil
from pathlib import Path

import pytest

from calico.cni.conf import VERSIONS
from calico.ipam.check import check
from calico.ipam.snapshot import take_snapshot
from tests.integration.cni.node import Node, eventually
from tests.servers import debian

ID1 = "0a1b2c3d-1111-4222-8333-444455556666"
ID2 = "9f8e7d6c-aaaa-4bbb-8ccc-ddddeeeeffff"


def test_two_containers_reach_each_other_and_leave_nothing_behind(node: Node) -> None:
    first, second = node.container("a"), node.container("b")
    added = [node.call("ADD", ID1, first.path), node.call("ADD", ID2, second.path)]
    assert [one.status for one in added] == [0, 0], added
    addresses = [one.address.removesuffix("/32") for one in added]
    assert all(address.startswith("172.29.") for address in addresses)
    assert added[0].document == {
        "cniVersion": "0.3.1",
        "interfaces": [{"name": "cali0a1b2c3d-11"}],
        "ips": [{"version": "4", "address": f"{addresses[0]}/32"}],
        "dns": {},
    }
    assert first.reaches(second, addresses[1])
    assert second.reaches(first, addresses[0])
    assert node.routes() == set(addresses)
    spec = node.endpoints()["10.0.0.5-cni-0a1b2c3d--1111--4222--8333--444455556666-eth0"]["spec"]
    link = json.loads(first.ip("-j", "link", "show", "eth0"))[0]
    assert spec == {
        "orchestrator": "cni",
        "node": "10.0.0.5",
        "containerID": ID1,
        "endpoint": "eth0",
        "ipNetworks": [f"{addresses[0]}/32"],
        "profiles": ["calico"],
        "interfaceName": "cali0a1b2c3d-11",
        "mac": link["address"],
    }
    assert link["mtu"] == 1450
    routes = {(one["dst"], one.get("gateway")) for one in json.loads(first.ip("-j", "route"))}
    assert routes == {("default", "169.254.1.1"), ("169.254.1.1", None)}

    for container, space in ((ID1, first), (ID2, second)):
        deleted = node.call("DEL", container, space.path)
        assert (deleted.status, deleted.output) == (0, "")
    assert node.endpoints() == {}
    assert node.interfaces() == node.routes() == set()
    assert node.handles() == set()


@pytest.mark.parametrize("is_agent_there", [True, False])
def test_add_and_del_twice(node: Node, is_agent_there: bool) -> None:
    if not is_agent_there:
        node.stop_agent()
    space = node.container("a")
    first, second = node.call("ADD", ID1, space.path), node.call("ADD", ID1, space.path)
    assert (first.status, second.status) == (0, 0), (first, second)
    assert first.output == second.output
    assert len(node.endpoints()) == len(node.handles()) == len(node.interfaces()) == 1
    assert node.call("CHECK", ID1, space.path, node.conf(cniVersion="0.4.0")).status == 0
    for _ in range(2):
        assert node.call("DEL", ID1, space.path).status == 0
    assert not node.endpoints()
    assert not node.handles()
    assert not node.interfaces()


def test_both_families(bare_node: Node) -> None:
    node = bare_node
    node.space.ip("-6", "address", "add", "fd99::5/64", "dev", "eth0", "nodad")
    node.space.ip("-6", "route", "add", "default", "dev", "eth0")
    # IPv6 is forwarded by the whole host or not at all; that is felix' setting.
    node.space.run(lambda: Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1"))
    node.start_agent(FELIX_IPV6SUPPORT="true", CALICO_IPV6POOL_CIDR="fd12:3456::/64")
    eventually((node.state / "nodename").exists, "start-up ends")
    conf = node.conf(ipam={"type": "calico-ipam", "assign_ipv6": "true"})
    spaces = {ID1: node.container("a"), ID2: node.container("b")}
    added = {container: node.call("ADD", container, space.path, conf) for container, space in spaces.items()}
    assert [one.status for one in added.values()] == [0, 0], added
    addresses = [one["address"].rpartition("/")[0] for one in added[ID2].document["ips"]]
    assert [one["version"] for one in added[ID2].document["ips"]] == ["4", "6"]
    assert addresses[1].startswith("fd12:3456:")
    for address in addresses:
        assert spaces[ID1].reaches(spaces[ID2], address)
    for container, space in spaces.items():
        assert node.call("CHECK", container, space.path, {**conf, "cniVersion": "0.4.0"}).status == 0
        assert node.call("DEL", container, space.path, conf).status == 0
    assert not node.handles()
    assert not node.interfaces()


def test_another_ipam_plugin_is_called_by_the_plugins_own_process(node: Node) -> None:
    host_local = debian.unpacked("containernetworking-plugins") / "usr/lib/cni/host-local"
    shutil.copy(host_local, node.plugins / "host-local")
    ipam = {"type": "host-local", "subnet": "10.77.0.0/24", "dataDir": str(node.directory / "host-local")}
    space, conf = node.container("a"), node.conf(ipam=ipam)
    added = node.call("ADD", ID1, space.path, conf)
    assert (added.status, added.address) == (0, "10.77.0.2/32"), added
    assert not node.handles()
    assert node.call("DEL", ID1, space.path, conf).status == 0
    assert not node.endpoints()
    assert list((node.directory / "host-local/calico").glob("10.77.*")) == []


def test_calico_ipam_by_itself(node: Node) -> None:
    conf = node.conf(name="other", type="bridge")
    added = node.call("ADD", ID1, "/run/netns/none", conf, plugin="calico-ipam", CNI_ARGS="IP=172.29.5.5")
    assert added.document == {"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "172.29.5.5/32"}], "dns": {}}
    taken = node.call("ADD", ID2, "/run/netns/none", conf, plugin="calico-ipam", CNI_ARGS="IP=172.29.5.5")
    assert taken.document["msg"] == "resource already exists: 172.29.5.5"
    assert node.handles() == {f"other.{ID1}"}
    report = node.with_store(lambda store: check(take_snapshot(store)))
    assert {str(one.use) for one in report.allocations} == {"tunnel", "unknown"}
    for container in (ID1, ID1, ID2):
        assert node.call("DEL", container, "", conf, plugin="calico-ipam").status == 0
    assert not node.handles()


def test_twenty_at_once(node: Node) -> None:
    spaces = {f"{number:08x}-cafe": node.container(f"c{number}") for number in range(20)}
    processes = [node.begin("ADD", container, space.path) for container, space in spaces.items()]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    addresses = {json.loads(output)["ips"][0]["address"] for output in outputs}
    assert len(addresses) == 20
    assert len(node.endpoints()) == len(node.interfaces()) == 20
    processes = [node.begin("DEL", container, space.path) for container, space in spaces.items()]
    assert [process.wait(60) for process in processes] == [0] * 20
    assert not node.endpoints()
    assert not node.handles()
    assert not node.interfaces()


def test_version(node: Node) -> None:
    answer = node.call("VERSION", "", "", {"cniVersion": "1.0.0"}).document
    assert answer == {"cniVersion": "1.0.0", "supportedVersions": list(VERSIONS)}


def test_what_another_network_or_container_has_stays(node: Node) -> None:
    """The interface says whose it is: DEL of a second network, or of an id that begins alike, takes nothing away."""
    space, other = node.container("a"), node.container("b")
    first = node.call("ADD", ID1, space.path)
    second = node.call("ADD", ID1, space.path, node.conf(name="second"), interface="eth1")
    assert (second.status, second.address) == (0, first.address)
    assert node.call("DEL", ID1, space.path, node.conf(name="second"), interface="eth1").status == 0
    assert node.call("CHECK", ID1, space.path, node.conf(cniVersion="0.4.0")).status == 0
    alike = ID1[:11] + "-another"
    refused = node.call("ADD", alike, other.path)
    assert f"is there already, for {ID1} eth0: two containers whose ids begin alike" in refused.document["msg"]
    assert node.call("DEL", alike, other.path).status == 0
    assert node.call("CHECK", ID1, space.path, node.conf(cniVersion="0.4.0")).status == 0
    assert node.handles() == {f"calico.{ID1}"}
