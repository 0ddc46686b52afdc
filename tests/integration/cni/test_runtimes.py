"""Debian's containerd, by its CRI and by `ctr`, runs containers on the plugin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cni.node import Node, Space, eventually, sweep
from tests.servers import docker
from tests.servers.containerd import Containerd
from tests.servers.cri import CriError


class Machine:
    """A node, and containerd on it."""

    def __init__(self, directory: Path) -> None:
        self.host = docker.Host("cri")
        self.node = Node(directory / "node", space=Space("", existing=self.host.name))
        self.node.start_etcd()
        self.node.start_agent()
        eventually((self.node.state / "nodename").exists, "start-up ends")
        network = {"cniVersion": "1.0.0", "name": "calico", "plugins": [self.node.conf(cniVersion="1.0.0")]}
        self.runtime = Containerd(self.host, self.node.plugins, network).start()

    def remove(self) -> None:
        self.runtime.remove()
        self.node.remove()
        self.host.remove()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    sweep()
    docker.sweep()
    made = Machine(tmp_path)
    try:
        yield made
    finally:
        made.remove()


def test_containerd(machine: Machine) -> None:
    node, cri = machine.node, machine.runtime.cri
    try:
        sandboxes = [cri.run_sandbox(name, f"/{machine.host.name}") for name in ("one", "two")]
    except CriError as error:
        pytest.fail(f"{error}\n{machine.runtime.tail()}\n{node.log()}")
    addresses = [cri.address(sandbox) for sandbox in sandboxes]
    assert all(address.startswith("172.29.") for address in addresses)
    endpoints = node.endpoints()
    stored = [one["spec"]["ipNetworks"][0].removesuffix("/32") for one in endpoints.values()]
    assert sorted(stored) == sorted(addresses)
    assert {one["spec"]["containerID"] for one in endpoints.values()} == set(sandboxes)
    assert node.log().count("added network=calico") == 2, "the agent did it, which has none of the runtime's mounts"

    # ctr asks the plugin itself, and takes the network away when the container ends.
    command = f"ip -4 -o addr show eth0; ip route; nc -w 10 {addresses[0]} 8080; nc -w 10 {addresses[1]} 8080"
    shown = machine.runtime.ctr(
        *("run", "--rm", "--cni", "--cgroup", f"/{machine.host.name}/ctr", "--rootfs"),
        *(str(machine.runtime.rootfs()), "third", "/bin/sh", "-c", command),
    ).stdout
    assert "inet 172.29." in shown
    assert "default via 169.254.1.1 dev eth0" in shown
    assert shown.count("hello\n") == 2, "it reaches both pods"
    assert len(node.endpoints()) == 2

    for sandbox in sandboxes:
        cri.stop_sandbox(sandbox)
        cri.remove_sandbox(sandbox)
    assert not node.endpoints()
    assert not node.handles()
    assert not node.interfaces()
