"""Debian's containerd, by its CRI and by `ctr`, and podman run containers on the plugin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cni.node import Node, Space, eventually, sweep
from tests.servers import docker
from tests.servers.containerd import Containerd
from tests.servers.cri import CriError
from tests.servers.podman import Podman


class Machine:
    """A node, and containerd on it."""

    def __init__(self, directory: Path) -> None:
        self.host = docker.Host("cri")
        self.node = Node(directory / "node", space=Space("", existing=self.host.name))
        self.node.start_etcd()
        self.node.start_agent()
        eventually((self.node.state / "nodename").exists, "start-up ends")
        self.network = {"cniVersion": "1.0.0", "name": "calico", "plugins": [self.node.conf(cniVersion="1.0.0")]}
        self.runtime = Containerd(self.host, self.node.plugins, self.network).start()

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


def test_podman(machine: Machine) -> None:
    node, group = machine.node, f"/{machine.host.name}"
    podman = Podman(machine.host, node.plugins, machine.network)
    root = str(machine.runtime.rootfs())
    limits = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
    common = ("--network", "calico", "--cgroup-parent", group, *limits, "--rootfs", root)
    serve = ("/bin/nc", "-ll", "-p", "8080", "-e", "/bin/echo", "hello")
    server = podman("run", "--detach", "--name", "server", *common, *serve)
    (endpoint,) = node.endpoints().values()
    assert endpoint["spec"]["containerID"] == server.stdout.strip()
    address = endpoint["spec"]["ipNetworks"][0].removesuffix("/32")
    podman("run", "--detach", "--name", "client", *common, "/bin/sleep", "600")
    assert podman("exec", "client", "/bin/nc", "-w", "10", address, "8080").stdout == "hello\n"
    for name in ("client", "server"):
        podman("rm", "--force", "--time", "0", name)
    assert not node.endpoints()
    assert not node.handles()
    assert not node.interfaces()
