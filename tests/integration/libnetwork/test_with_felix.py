"""Two agents with real engines and real felix: across VXLAN, Docker's firewall, policy, full-size packets."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.model.ippool import IPPoolSpec
from calico.model.metadata import Metadata
from calico.model.networkpolicy import NetworkPolicySpec
from calico.model.node import NodeBGP, NodeSpec
from calico.model.profile import ProfileSpec
from calico.model.resource import Resource
from calico.model.rule import EntityRule, Rule
from tests.servers.agent import POOL, Agent, World

pytestmark = [pytest.mark.root, pytest.mark.netns]

_EXTRA = Path(__file__).resolve().parents[3] / "packages/calico/extra"
_DFPING = str(Path(__file__).with_name("dfping.py"))
_TUNNEL_MTU = 1450


class Pair:
    """Two agents on one cable, `192.0.2.1` and `.2`, each with its felix; containers of the second have MTU 1500."""

    def __init__(self, world: World) -> None:
        self.world = world
        spec = IPPoolSpec(cidr=POOL, vxlan_mode="Always", nat_outgoing=True)
        world.client.create(Resource("IPPool", Metadata("default-ipv4-ippool"), spec))
        allowing = ProfileSpec((Rule("Allow"),), (Rule("Allow"),), {"calico": ""})
        world.client.create(Resource("Profile", Metadata("calico"), allowing))
        self.first = Agent(world, "a")
        self.second = Agent(world, "b", (), CALICO_LIBNETWORK_VETH_MTU="1500")
        self._felixes: list[subprocess.Popen[bytes]] = []

    @property
    def both(self) -> tuple[Agent, Agent]:
        return self.first, self.second

    def start(self) -> None:
        for agent in self.both:
            agent.host.ip("link", "delete", "eth0")
            agent.sysctl("net.ipv4.ip_forward", "0")  # Docker turns it on, and then drops what it does not know
        cable = ("type", "veth", "peer", "name", "eth0", "netns", self.second.host.name)
        self.first.host.ip("link", "add", "eth0", *cable)
        for number, agent in enumerate(self.both, 1):
            agent.host.ip("address", "add", f"192.0.2.{number}/24", "dev", "eth0")
            agent.host.ip("link", "set", "eth0", "up")
            agent.host.ip("route", "add", "default", "via", f"192.0.2.{3 - number}")
            self._add_node(agent.name, f"192.0.2.{number}")
            self._start_felix(agent)
            agent.start()

    def _add_node(self, name: str, address: str) -> None:
        """A node with a tunnel address, as dcos-calico-node leaves it."""
        self.world.client.create(Resource("Node", Metadata(name), NodeSpec(NodeBGP(ipv4_address=f"{address}/24"))))
        notes = {"node": name, "type": "vxlanTunnelAddress"}
        taken = Ipam(self.world.store).auto_assign(
            Request(name, ipv4=1, handle=f"vxlan-tunnel-addr-{name}", attributes=notes)
        )
        spec = NodeSpec(NodeBGP(ipv4_address=f"{address}/24"), ipv4_vxlan_tunnel_addr=taken.ipv4[0].address)
        self.world.client.apply(Resource("Node", Metadata(name), spec))

    def _start_felix(self, agent: Agent) -> None:
        directory = agent.host.directory / "felix"
        directory.mkdir()
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(_EXTRA),
            "ETCD_ENDPOINTS": "http://127.0.0.1:2379",
            "RUNTIME_DIRECTORY": str(directory),
            "NODENAME": agent.name,
            "FELIX_VXLANPORT": "64000",
            "FELIX_VXLANVNI": "4096",
            "FELIX_VXLANMTU": str(_TUNNEL_MTU),
            "FELIX_DEFAULTENDPOINTTOHOSTACTION": "Return",
        }
        words = [sys.executable, str(_EXTRA / "run.py"), "calico.felix.cli", f"--config-file={directory}/felix.cfg"]
        self._felixes.append(agent.host.start(words, agent.host.directory / "felix.log", environment))

    def close(self) -> None:
        for process in self._felixes:
            process.kill()
            process.wait()
        for agent in self.both:
            agent.close()


@pytest.fixture(scope="module")
def pair(world: World) -> Iterator[Pair]:
    made = Pair(world)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def _containers_go_from_both(pair: Pair) -> Iterator[None]:
    yield
    for agent in pair.both:
        if names := agent.engine.cli("ps", "-aq").stdout.split():
            agent.remove(*names)
        agent.wait_tidy()


def address(agent: Agent, container: str) -> str:
    return str(agent.network_of(container)["IPAddress"])


def dfping(agent: Agent, container: str, destination: str, size: int) -> str:
    pid = agent.engine.inspect("container", container)["State"]["Pid"]
    words = ["nsenter", f"--target={pid}", "--net", sys.executable, _DFPING, destination, str(size)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_containers_reach_each_other_through_dockers_firewall(pair: Pair) -> None:
    first, second = pair.both
    first.run("c1")
    first.run("c2")
    second.run("c3")
    assert "policy drop" in first.host.run("nft", "list", "chain", "ip", "filter", "FORWARD").stdout
    assert first.pings("c1", address(first, "c2"))
    assert first.pings("c1", address(second, "c3"))
    assert second.pings("c3", address(first, "c2"))
    # Docker writes its chains anew when it starts.
    first.engine.kill()
    first.engine.start()
    first.run("c4")
    assert first.pings("c4", address(second, "c3"))
    assert second.pings("c3", address(first, "c4"))


def test_labels_of_a_container_are_what_policy_goes_by(pair: Pair) -> None:
    first, second = pair.both
    first.run("server", "--label", "org.projectcalico.label.role=server")
    first.run("near", "--label", "org.projectcalico.label.biz_type=bookstore")
    second.run("far", "--label", "org.projectcalico.label.biz_type=bookstore")
    second.run("other", "--label", "org.projectcalico.label.biz_type=fruitstore")
    server = address(first, "server")
    for agent, name in ((first, "near"), (second, "far"), (second, "other")):
        assert agent.pings(name, server)
    allowed = Rule("Allow", source=EntityRule(selector="biz_type == 'bookstore'"))
    policy = NetworkPolicySpec(selector="role == 'server'", ingress=(allowed,))
    resource = Resource("NetworkPolicy", Metadata("bookstore", namespace="default"), policy)
    pair.world.client.create(resource)
    try:

        def is_refused() -> bool:
            return second.engine.cli("exec", "other", "ping", "-c1", "-W1", server, check=False).returncode != 0

        second.wait(is_refused, "the policy")
        assert first.pings("near", server)
        assert second.pings("far", server)
    finally:
        pair.world.client.delete("NetworkPolicy", "bookstore", "default")


def test_a_full_size_packet_crosses_or_is_answered_with_what_fits(pair: Pair) -> None:
    first, second = pair.both
    first.run("fits")
    second.run("large")
    assert first.pings("fits", address(second, "large"))
    assert dfping(first, "fits", address(second, "large"), 1420) == "reply"
    assert dfping(second, "large", address(first, "fits"), 1500) == f"mtu {_TUNNEL_MTU}"
    assert dfping(second, "large", address(first, "fits"), 1420) == "reply"
