"""Containers of a real engine on the network `calico`: what each is in Calico, and what it finds inside."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.samples import commands_of
from tests.servers.agent import POOL_V6, Agent

pytestmark = [pytest.mark.root, pytest.mark.netns]

_GUIDE = "docs/how-to/docker.md"
_AT_ONCE = 40 if os.environ.get("DCOS_CALICO_SOAK") == "1" else 8


def test_a_container_is_an_endpoint_like_any_other(agent: Agent) -> None:
    (line,) = commands_of(_GUIDE, "docker run", {"my/image": "--name c1 --label other=x bb sleep 3600"})
    container = agent.engine.cli(*line.split()[1:]).stdout.strip()
    found = agent.network_of("c1")
    endpoint = agent.world.endpoints("a")[found["EndpointID"]]
    assert endpoint.metadata.name == f"a-libnetwork-libnetwork-{found['EndpointID']}"
    assert endpoint.spec.ip_networks == (f"{found['IPAddress']}/32",)
    assert endpoint.spec.profiles == ("calico",)
    assert endpoint.spec.interface_name == f"cali{found['EndpointID'][:11]}"
    inside = agent.engine.cli("exec", "c1", "cat", "/sys/class/net/cali0/address", "/sys/class/net/cali0/mtu").stdout
    assert inside.split() == [endpoint.spec.mac, "1420"]
    assert "mtu 1420" in agent.host.ip("link", "show", endpoint.spec.interface_name)

    def labels() -> bool:
        return bool(agent.world.endpoints("a")[found["EndpointID"]].metadata.labels.get("role") == "server")

    agent.wait(labels, "labels")
    assert "other" not in agent.world.endpoints("a")[found["EndpointID"]].metadata.labels

    def is_noted() -> bool:
        (one,) = agent.world.report().allocations
        return (one.holder.secondary or {}) == {
            "node": "a",
            "container": container,
            "endpoint": found["EndpointID"],
        } and (one.holder.handle_id or "").startswith("libnetwork.a.")

    agent.wait(is_noted, "notes on the address")


def test_two_containers_reach_each_other(agent: Agent) -> None:
    agent.run("c1")
    agent.run("c2")
    agent.route()
    assert agent.pings("c1", agent.network_of("c2")["IPAddress"])


def test_labels_that_are_there_from_the_start(agent: Agent) -> None:
    option = "driver-opt=org.projectcalico.label.biz_type=bookstore"
    agent.engine.cli("run", "-d", "--name", "c1", "--network", f"name=calico,{option}", "bb", "sleep", "3600")
    endpoint = agent.world.endpoints("a")[agent.network_of("c1")["EndpointID"]]
    assert endpoint.metadata.labels["biz_type"] == "bookstore"


def test_an_address_and_a_mac_address_of_ones_own(agent: Agent) -> None:
    agent.run("c1", "--ip", "172.29.200.7", "--mac-address", "02:42:0A:00:00:07")
    found = agent.network_of("c1")
    assert found["IPAddress"] == "172.29.200.7"
    endpoint = agent.world.endpoints("a")[found["EndpointID"]]
    assert endpoint.spec.mac == "02:42:0a:00:00:07"
    assert "02:42:0a:00:00:07" in agent.engine.cli("exec", "c1", "ip", "link", "show", "cali0").stdout
    agent.run("c2")
    agent.route()
    assert agent.pings("c2", "172.29.200.7")
    refused = agent.engine.cli("run", "--rm", "--network", "calico", "--ip", "172.29.200.7", "bb", "true", check=False)
    assert "resource already exists: 172.29.200.7" in refused.stderr


def test_ipv6(agent: Agent) -> None:
    agent.world.add_pool("v6", POOL_V6, 122)
    words = ("--driver", "calico", "--ipam-driver", "calico-ipam", "--ipv6")
    agent.engine.cli("network", "create", *words, "--subnet", "172.29.0.0/16", "--subnet", POOL_V6, "six")
    agent.run("c1", network="six")
    agent.run("c2", "--ip6", "fd80:1::77", network="six")
    agent.route()
    found = agent.network_of("c2", "six")
    assert found["GlobalIPv6Address"] == "fd80:1::77"
    assert agent.world.endpoints("a")[found["EndpointID"]].spec.ip_networks[1] == "fd80:1::77/128"
    assert agent.pings("c1", "fd80:1::77")
    assert agent.pings("c1", found["IPAddress"])
    agent.remove("c1", "c2")
    agent.engine.cli("network", "rm", "six")


def test_several_networks(agent: Agent) -> None:
    agent.world.add_pool("second", "172.30.0.0/16")
    words = ("--driver", "calico", "--ipam-driver", "calico-ipam", "--subnet", "172.30.0.0/16")
    agent.engine.cli("network", "create", *words, "--opt", "org.projectcalico.profile=other", "net2")
    for name in ("c1", "c2"):
        agent.run(name)
        agent.engine.cli("network", "connect", "net2", name)
    agent.engine.cli("network", "connect", "bridge", "c1")
    agent.route()
    second = agent.network_of("c2", "net2")
    assert agent.world.endpoints("a")[second["EndpointID"]].spec.profiles == ("other",)
    assert agent.world.client.get("Profile", "other").spec.ingress[0].source.selector == "has(other)"
    assert agent.pings("c1", second["IPAddress"])
    assert agent.pings("c1", agent.network_of("c2")["IPAddress"])
    # The default route moves to the network that is left.
    agent.engine.cli("network", "disconnect", "bridge", "c1")
    agent.engine.cli("network", "disconnect", "calico", "c1")
    agent.route()
    assert agent.pings("c1", second["IPAddress"])
    assert "default via 169.254.1.2" in agent.engine.cli("exec", "c1", "ip", "route").stdout
    agent.wait_tidy()
    agent.engine.cli("network", "connect", "calico", "c1")
    agent.route()
    assert agent.pings("c1", agent.network_of("c2")["IPAddress"])
    agent.remove("c1", "c2")
    agent.engine.cli("network", "rm", "net2")


def test_two_networks_over_one_pool(agent: Agent) -> None:
    words = ("--driver", "calico", "--ipam-driver", "calico-ipam", "--subnet", "172.29.0.0/16")
    agent.engine.cli("network", "create", *words, "--opt", "org.projectcalico.profile=strict", "same")
    agent.run("c1")
    agent.engine.cli("network", "connect", "same", "c1")
    profiles = {one.spec.profiles for one in agent.world.endpoints("a").values()}
    assert profiles == {("calico",), ("strict",)}
    agent.remove("c1")
    agent.engine.cli("network", "rm", "same")


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_container_that_ends_and_comes_back(agent: Agent, how: str) -> None:
    agent.run("c1")
    before = agent.network_of("c1")["EndpointID"]
    agent.engine.cli("kill", "c1") if how == "kill" else agent.engine.cli("restart", "-t", "0", "c1")
    if how == "kill":
        agent.wait_tidy()
        assert agent.world.endpoints("a") == {}
        agent.engine.cli("start", "c1")
    after = agent.network_of("c1")["EndpointID"]
    assert after != before
    assert set(agent.world.endpoints("a")) == {after}
    agent.wait_tidy()


def test_what_the_readme_says_of_further_networks(agent: Agent) -> None:
    """5.4: pool, profile, then the network on every agent; an agent that has it already says so."""
    agent.world.add_pool("more", "10.1.0.0/16")
    (line,) = commands_of(_GUIDE, "docker network create", {"<profile>": "more", "<network>": "more"})
    words = line.split()[1:]
    agent.engine.cli(*words)
    again = agent.engine.cli(*words, check=False)
    assert "network with name more already exists" in again.stderr
    agent.run("c1", network="more")
    assert agent.network_of("c1", "more")["IPAddress"].startswith("10.1.")
    agent.remove("c1")
    agent.engine.cli("network", "rm", "more")


def test_refusals_reach_the_user(agent: Agent) -> None:
    def create(*words: str) -> str:
        ipam = ("--driver", "calico", "--ipam-driver", "calico-ipam")
        return agent.engine.cli("network", "create", *ipam, *words, "bad", check=False).stderr

    assert "must match the CIDR of a configured Calico IP Pool" in create("--subnet", "192.168.0.0/24")
    assert "Unknown option 'colour'" in create("--subnet", "172.29.0.0/16", "--opt", "colour=red")
    assert "does not support sub pool" in create("--subnet", "172.29.0.0/16", "--ip-range", "172.29.1.0/24")
    assert "does not support specifying a gateway" in create("--subnet", "172.29.0.0/16", "--gateway", "172.29.0.1")
    mixed = agent.engine.cli("network", "create", "--driver", "calico", "--subnet", "172.29.0.0/16", "bad", check=False)
    assert "Non-Calico IPAM driver is used" in mixed.stderr
    assert json.loads(agent.engine.cli("network", "ls", "--format", "{{json .Name}}").stdout.split()[0])


def test_many_at_once(agent: Agent) -> None:
    names = [f"m{number}" for number in range(_AT_ONCE)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(agent.run, names))
        addresses = {endpoint.spec.ip_networks for endpoint in agent.world.endpoints("a").values()}
        assert len(addresses) == _AT_ONCE
        list(pool.map(agent.remove, names))
    assert agent.world.endpoints("a") == {}
