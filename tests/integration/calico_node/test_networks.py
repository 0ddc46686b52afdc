"""`calicoctl network create` and `delete` as Mesos' containers see them: two agents on a real etcd, one killed."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from tests.integration.cni.node import EXTRA, Node, eventually, sweep

pytestmark = [pytest.mark.root, pytest.mark.netns]


def calicoctl(node: Node, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command, on a node."""
    command = [*node.space.prefix, sys.executable, "-I", str(EXTRA / "run.py"), "calico.calicoctl.cli", *words]
    environment = {"PATH": os.environ["PATH"], "ETCD_ENDPOINTS": node.url}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def net_d(node: Node) -> Path:
    return node.state / "cni/net.d"


def names(node: Node) -> set[str]:
    """What Mesos finds on a node."""
    return {path.name for path in net_d(node).iterdir()}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    sweep()
    first = Node(tmp_path / "first", "10.0.0.1")
    first.start_etcd()
    second = Node(tmp_path / "second", "10.0.0.2", space=first.space, url=first.url)
    try:
        first.start_agent()
        second.start_agent()
        for node in (first, second):
            eventually(lambda node=node: (node.state / "nodename").exists(), "it has its place")  # type: ignore[misc]
        yield first, second
    finally:
        second.remove()
        first.remove()


def create(node: Node, *words: str) -> None:
    made = calicoctl(node, "network", "create", "blue", "--cidr", "10.77.0.0/24", *words)
    assert made.returncode == 0, made.stderr


def test_mesos_containers_get_addresses_of_a_network_on_every_node_until_it_is_deleted(
    nodes: tuple[Node, Node],
) -> None:
    first, second = nodes
    create(first, "--profile", "shared")
    for node in nodes:
        eventually(lambda node=node: names(node) == {"calico.conf", "blue.conf"}, "both are there")  # type: ignore[misc]
    conf = json.loads((net_d(second) / "blue.conf").read_text())
    box = second.container("box")
    added = second.call("ADD", "box-1", box.path, conf, plugin=conf["type"])
    assert ip_interface(added.address).ip in ip_network("10.77.0.0/24"), added
    (endpoint,) = second.endpoints().values()
    assert endpoint["spec"]["profiles"] == ["shared"]

    refused = calicoctl(first, "network", "delete", "blue")
    assert refused.returncode == 1 and "10.77.0." in refused.stderr
    assert "blue.conf" in names(first)
    assert second.call("DEL", "box-1", box.path, conf, plugin=conf["type"]).status == 0
    deleted = calicoctl(first, "network", "delete", "blue")
    assert deleted.returncode == 0, deleted.stderr
    for node in nodes:
        assert names(node) == {"calico.conf"}, "when it is said to be gone it is"
    assert "blue" not in calicoctl(first, "network", "list").stdout
    assert not first.documents("/calico/dcos-calico/v1/cni/")
    assert "shared" not in calicoctl(first, "get", "profile", "-o", "yaml").stdout


def test_a_node_that_was_killed_catches_up_and_is_waited_for(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    second.stop_agent(signal.SIGKILL)
    create(first)
    eventually(lambda: "blue.conf" in names(first), "it is there")
    second.start_agent()
    eventually(lambda: "blue.conf" in names(second), "it is there too")
    second.stop_agent(signal.SIGKILL)
    left = calicoctl(first, "network", "delete", "blue", "--wait", "2")
    assert left.returncode == 1 and "the node 10.0.0.2 still has it" in left.stderr
    assert "10.0.0.1" not in left.stderr
    assert "blue.conf" in names(second)
    second.start_agent()
    eventually(lambda: "blue.conf" not in names(second), "it is gone")
    assert calicoctl(first, "network", "delete", "blue").returncode == 0
    assert not first.documents("/calico/dcos-calico/v1/cni/")


def test_anothers_file_is_left_alone_and_in_nobodys_way(nodes: tuple[Node, Node]) -> None:
    first, second = nodes
    mine = net_d(second) / "blue.conf"
    mine.write_text('{"name": "blue", "type": "bridge"}')
    create(first)
    eventually(lambda: "blue.conf" in names(first), "it is there")
    eventually(lambda: f"{mine} is not ours and stays" in second.log(), "it says so")
    assert calicoctl(first, "network", "delete", "blue").returncode == 0
    assert mine.read_text() == '{"name": "blue", "type": "bridge"}'


def start_until_ready(node: Node, path: Path) -> None:
    """Start the agent; return when it says READY, which is when Mesos is started."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(30)
        node.start_agent(NOTIFY_SOCKET=str(path))
        while b"READY=1" not in manager.recv(65536):
            pass


def test_mesos_finds_its_networks_when_the_agent_is_ready_with_etcd_and_without(
    nodes: tuple[Node, Node], tmp_path: Path
) -> None:
    first, second = nodes
    second.stop_agent()
    for path in net_d(second).iterdir():
        path.unlink()
    create(first)
    start_until_ready(second, tmp_path / "with")
    assert names(second) == {"calico.conf", "blue.conf"}
    second.stop_agent()
    assert first.cluster is not None
    first.cluster.stop()
    (net_d(second) / "calico.conf").unlink()
    start_until_ready(second, tmp_path / "without")
    assert names(second) == {"calico.conf", "blue.conf"}
    assert json.loads((net_d(second) / "calico.conf").read_text())["name"] == "calico"
