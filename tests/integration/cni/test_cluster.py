"""Two nodes on one etcd: a changed encapsulation and another CIDR, while their agents run."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico.ipam.check import check
from calico.ipam.snapshot import take_snapshot
from tests.integration.cni.node import Node, eventually, sweep

ID1 = "0a1b2c3d-1111-4222-8333-444455556666"
ID2 = "9f8e7d6c-aaaa-4bbb-8ccc-ddddeeeeffff"
NODES = "/calico/resources/v3/projectcalico.org/nodes/"
IPIP = {"CALICO_IPV4POOL_IPIP": "always", "CALICO_IPV4POOL_VXLAN": "never", "CALICO_NETWORKING_BACKEND": "bird"}


class Pair:
    """Two nodes, by their agents and state; they share a network namespace, in which nothing of theirs collides."""

    def __init__(self, directory: Path) -> None:
        self.first = Node(directory / "first", "10.0.0.1")
        self.first.start_etcd()
        self.second = Node(directory / "second", "10.0.0.2", space=self.first.space, url=self.first.url)
        self.both = (self.first, self.second)

    def start(self, node: Node, **more: str) -> None:
        node.start_agent(**more)

    def tunnels(self) -> list[tuple[str, str]]:
        """Each node's VXLAN and IPIP address."""
        specs = [one["spec"] for one in self.first.documents(NODES).values()]
        return [(one.get("ipv4VXLANTunnelAddr", ""), one["bgp"].get("ipv4IPIPTunnelAddr", "")) for one in specs]

    def remove(self) -> None:
        if self.second.agent is not None:
            self.second.agent.kill()
            self.second.agent.wait(30)
        for space in self.second._containers:
            space.remove()
        self.first.remove()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    sweep()
    made = Pair(tmp_path)
    try:
        for node in made.both:
            made.start(node)
        eventually(lambda: len([one for one in made.tunnels() if one[0]]) == 2, "both have a tunnel address")
        yield made
    finally:
        made.remove()


def test_the_encapsulation_changes_node_by_node(pair: Pair) -> None:
    space = pair.first.container("a")
    added = pair.first.call("ADD", ID1, space.path)
    assert added.status == 0
    pair.first.stop_agent()
    pair.start(pair.first, **IPIP)
    eventually(lambda: [bool(v) for v, _ in pair.tunnels()] == [False, False], "no VXLAN address is left")
    eventually(lambda: all(ipip for _, ipip in pair.tunnels()), "both have an IPIP address, the old one too")
    (pool,) = pair.first.documents("/calico/resources/v3/projectcalico.org/ippools/").values()
    assert (pool["spec"]["ipipMode"], pool["spec"]["vxlanMode"]) == ("Always", "Never")
    felix = pair.first.documents("/calico/resources/v3/projectcalico.org/felixconfigurations/")["default"]["spec"]
    assert (felix.get("ipipEnabled"), felix.get("vxlanEnabled")) == (True, None)
    eventually(
        lambda: "and the configuration says VXLAN Always" in pair.second.log(), "the second says that it differs"
    )
    pair.second.stop_agent()
    pair.start(pair.second, **IPIP)
    assert pair.first.call("CHECK", ID1, space.path, pair.first.conf(cniVersion="0.4.0")).status == 0
    assert pair.first.call("DEL", ID1, space.path).status == 0
    report = pair.first.with_store(lambda store: check(take_snapshot(store)))
    assert report.findings == ()
    assert sorted(one.address for one in report.allocations) == sorted(ipip for _, ipip in pair.tunnels())


def calicoctl(node: Node, *words: str) -> str:
    """calicoctl on a node."""
    import subprocess
    import sys

    command = [*node.space.prefix, sys.executable, "-m", "calico.calicoctl.cli", *words, "-c", "none"]
    environment = node.environment()
    config = node.directory / "calicoctl.cfg"
    text = {"apiVersion": "projectcalico.org/v3", "kind": "CalicoAPIConfig", "spec": {"etcdEndpoints": node.url}}
    config.write_text(json.dumps(text))
    command[-1] = str(config)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_another_cidr(pair: Pair) -> None:
    spaces = {ID1: pair.first.container("a"), ID2: pair.second.container("b")}
    assert pair.first.call("ADD", ID1, spaces[ID1].path).status == 0
    pair.first.stop_agent()
    pair.start(pair.first, CALICO_IPV4POOL_CIDR="172.30.0.0/16")
    advice = "run `calicoctl pool migrate 172.29.0.0/16 172.30.0.0/16`"
    eventually(lambda: advice in pair.first.log(), "the status names what to do")
    words = ("pool", "migrate", "172.29.0.0/16", "172.30.0.0/16")
    assert f"WorkloadEndpoint(default/10.0.0.1-cni-{ID1.replace('-', '--')}-eth0)" in calicoctl(pair.first, *words)
    eventually(lambda: all(vxlan.startswith("172.30.") for vxlan, _ in pair.tunnels()), "the tunnels have moved")
    assert pair.first.call("CHECK", ID1, spaces[ID1].path, pair.first.conf(cniVersion="0.4.0")).status == 0
    added = pair.second.call("ADD", ID2, spaces[ID2].path)
    assert added.address.startswith("172.30.")
    assert pair.first.call("DEL", ID1, spaces[ID1].path).status == 0
    again = pair.first.call("ADD", ID1, spaces[ID1].path)
    assert again.address.startswith("172.30.")
    assert calicoctl(pair.first, *words).splitlines()[-1] == "migrated from 172.29.0.0/16 to 172.30.0.0/16"
    for node, container in ((pair.first, ID1), (pair.second, ID2)):
        assert node.call("DEL", container, spaces[container].path).status == 0
    assert "everything adds up" in calicoctl(pair.first, "ipam", "check")
