"""Networks of the whole cluster: what is made or removed on one agent, on the others. Real engines."""

import json
import os

import pytest

from tests.integration.libnetwork.conftest import Maker
from tests.servers.agent import Agent, World

pytestmark = [pytest.mark.root, pytest.mark.netns]

soak = pytest.mark.skipif(os.environ.get("DCOS_CALICO_SOAK") != "1", reason="rare, and waits: soak")
_REGISTRY = "/calico/dcos-calico/v1/docker/"
Agents = tuple[Agent, Agent]


@pytest.fixture(scope="module")
def agents(world: World, make_agent: Maker) -> Agents:
    """Two agents, which found the cluster empty."""
    found = make_agent("a"), make_agent("b")
    for one in found:
        one.start_plugin()
        one.engine.start()
    world.add_default()
    for one in found:
        one.wait_for_network("calico")
    return found


def create(agent: Agent, name: str, subnet: str = "172.29.0.0/16", *words: str) -> None:
    ipam = ("--driver", "calico", "--ipam-driver", "calico-ipam", "--subnet", subnet)
    agent.engine.cli("network", "create", *ipam, *words, name)


def entry(agent: Agent, name: str) -> dict[str, object] | None:
    text = agent.world.cluster.ctl("get", f"{_REGISTRY}network/{name}", "--print-value-only")
    return dict(json.loads(text)) if text.strip() else None


def options(agent: Agent, name: str) -> object:
    return agent.engine.inspect("network", name)["Options"]


def test_the_network_of_every_agent_is_one(agents: Agents) -> None:
    first, second = agents
    found = entry(first, "calico")
    assert found is not None
    assert (found["subnets"], found["profile"]) == (["172.29.0.0/16"], "calico")
    assert options(first, "calico") == options(second, "calico") == {"org.projectcalico.profile": "calico"}


def test_what_is_created_on_one_agent_is_on_all_and_goes_from_all(agents: Agents) -> None:
    first, second = agents
    create(first, "more", "172.29.0.0/16", "--opt", "org.projectcalico.profile=strict", "--label", "team=x")
    second.wait_for_network("more")
    assert options(second, "more") == {"org.projectcalico.profile": "strict"}
    assert second.engine.inspect("network", "more")["Labels"] == {"team": "x"}
    second.run("c1", network="more")
    (endpoint,) = second.world.endpoints("b").values()
    assert endpoint.spec.profiles == ("strict",)
    # Removed where nothing runs on it: it stays, marked, where something does.
    first.engine.cli("network", "rm", "more")
    second.wait(lambda: (entry(second, "more") or {}).get("removing"), "the mark")
    assert second.has_network("more")
    assert not first.has_network("more")
    second.remove("c1")
    second.wait_for_network("more", gone=True)
    second.wait(lambda: entry(second, "more") is None, "the registry forgets it")


@soak
def test_a_name_that_is_taken_at_the_same_time(agents: Agents) -> None:
    """The first is the cluster's; the other stays its agent's own, and its end changes nothing."""
    first, second = agents
    first.world.add_pool("other", "172.31.0.0/16")
    second.kill_plugin()
    create(first, "both")
    first.wait(lambda: entry(first, "both"), "the first is the cluster's")
    second.start_plugin()
    second.wait_for_network("both")
    second.engine.cli("network", "rm", "both")
    first.wait_for_network("both", gone=True)
    second.wait(lambda: entry(second, "both") is None, "it is forgotten")


def test_pruning_an_agent_takes_nothing_from_the_cluster(agents: Agents) -> None:
    first, second = agents
    create(first, "kept")
    second.wait_for_network("kept")
    first.engine.cli("network", "prune", "--force")
    first.wait_for_network("kept")
    first.wait_for_network("calico")
    found = entry(first, "kept")
    assert found is not None
    assert not found["removing"]
    assert second.has_network("kept")
    first.engine.cli("network", "rm", "kept")
    second.wait_for_network("kept", gone=True)


def test_calico_itself_comes_back(agents: Agents) -> None:
    first, second = agents
    before = second.engine.inspect("network", "calico")["Id"]
    first.engine.cli("network", "rm", "calico")
    first.wait_for_network("calico")
    assert second.engine.inspect("network", "calico")["Id"] == before


@soak
def test_an_agent_that_was_away_when_a_network_went(agents: Agents) -> None:
    first, second = agents
    create(first, "old")
    second.wait_for_network("old")
    second.engine.stop()
    second.kill_plugin()
    first.engine.cli("network", "rm", "old")
    first.wait(lambda: (entry(first, "old") or {}).get("removing"), "the mark")
    second.start_plugin()
    second.engine.start()
    second.wait_for_network("old", gone=True)
    first.wait(lambda: entry(first, "old") is None, "the registry forgets it")


def test_an_agent_that_was_installed_anew_gets_its_networks_back(agents: Agents) -> None:
    first, second = agents
    create(first, "stays")
    second.wait_for_network("stays")
    second.kill_plugin()
    second.engine.stop()
    second.host.run("rm", "-rf", f"{second.host.directory}/data/network")
    second.engine.start()
    assert not second.has_network("stays")
    second.start_plugin()
    second.wait_for_network("stays")
    second.wait_for_network("calico")
    assert first.has_network("stays")
    first.engine.cli("network", "rm", "stays")
    second.wait_for_network("stays", gone=True)


def test_calico_moves_with_its_pool(agents: Agents) -> None:
    """As `calicoctl pool migrate` leaves it: the old pool is closed, and containers are restarted one by one."""
    first, second = agents
    second.run("c1")
    world = first.world
    world.add_pool("moved", "172.28.0.0/16")
    old = world.client.get("IPPool", "default-ipv4-ippool")
    world.client.update(old._replace(spec=old.spec._replace(disabled=True)))
    for one in agents:
        one.kill_plugin()
        one.settings["CALICO_IPV4POOL_CIDR"] = "172.28.0.0/16"
        one.start_plugin()
    first.wait(lambda: "172.28.0.0/16" in first.engine.cli("network", "inspect", "calico", check=False).stdout, "moved")
    second.engine.cli("restart", "-t", "0", "c1")
    assert second.network_of("c1")["IPAddress"].startswith("172.28.")
    first.run("c2")
    assert first.network_of("c2")["IPAddress"].startswith("172.28.")
    world.client.delete("IPPool", "default-ipv4-ippool")
    second.engine.cli("restart", "-t", "0", "c1")
    assert second.network_of("c1")["IPAddress"].startswith("172.28.")
    second.remove("c1")
    second.wait(lambda: "172.28.0.0/16" in second.engine.cli("network", "inspect", "calico", check=False).stdout, "too")
    first.remove("c2")


def test_all_is_tidy(agents: Agents) -> None:
    for one in agents:
        one.wait_tidy()

    def keys() -> list[str]:
        return agents[0].world.cluster.ctl("get", "--prefix", _REGISTRY, "--keys-only").split()

    agents[0].wait(lambda: len(keys()) == 3, "one network, a record for each agent")
