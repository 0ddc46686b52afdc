"""Containers on one node: they get addresses, reach each other, and leave nothing behind."""

import json

import pytest

from tests.integration.cni.node import Node

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
