"""The engine and the plugin stop, crash and start, in either order, with containers running."""

import os
from collections.abc import Iterator

import pytest

from tests.integration.libnetwork.conftest import Maker
from tests.servers.agent import Agent, World

pytestmark = [pytest.mark.root, pytest.mark.netns]

_SOAK = os.environ.get("DCOS_CALICO_SOAK") == "1"
soak = pytest.mark.skipif(not _SOAK, reason="waits for deadlines: soak")
_HOW = ("stop", "kill") if _SOAK else ("kill",)


@pytest.fixture(scope="module")
def agent(world: World, make_agent: Maker) -> Agent:
    """An agent whose containers end with the engine."""
    world.add_default()
    return make_agent("a").start()


@pytest.fixture(scope="module")
def lively(world: World, make_agent: Maker, agent: Agent) -> Agent:
    """An agent whose containers go on while the engine is away."""
    return make_agent("l", "--live-restore").start()


@pytest.fixture
def surviving(lively: Agent) -> Iterator[Agent]:
    """The same, with two containers that reach each other."""
    for name in ("c1", "c2"):
        lively.run(name)
    lively.route()
    yield lively
    lively.remove("c1", "c2")
    lively.wait_tidy()
    assert lively.world.endpoints("l") == {}


def down(agent: Agent, how: str) -> None:
    agent.engine.stop() if how == "stop" else agent.engine.kill()


@pytest.mark.parametrize("how", _HOW)
def test_live_restore_keeps_containers_and_their_endpoints(surviving: Agent, how: str) -> None:
    before = surviving.world.endpoints("l")
    address = surviving.network_of("c2")["IPAddress"]
    down(surviving, how)
    assert surviving.world.endpoints("l") == before
    surviving.engine.start()
    surviving.wait_tidy()
    assert {one.spec for one in surviving.world.endpoints("l").values()} == {one.spec for one in before.values()}
    assert surviving.network_of("c2")["IPAddress"] == address
    assert surviving.pings("c1", address)


@pytest.mark.parametrize("first", ["plugin", "engine"])
def test_both_go_and_come_back_in_either_order(surviving: Agent, first: str) -> None:
    before = set(surviving.world.endpoints("l"))
    surviving.kill_plugin()
    surviving.engine.kill()
    if first == "plugin":
        surviving.start_plugin()
        surviving.engine.start()
    else:
        surviving.engine.start(wait=False)
        surviving.start_plugin()
        surviving.engine.wait()
    surviving.wait_tidy()
    assert set(surviving.world.endpoints("l")) == before
    assert surviving.pings("c1", surviving.network_of("c2")["IPAddress"])


@pytest.mark.parametrize("how", _HOW)
def test_without_it_containers_end_and_nothing_is_left(agent: Agent, how: str) -> None:
    agent.run("c1")
    agent.run("c2", "--restart", "always")
    down(agent, how)
    agent.engine.start()
    agent.wait(lambda: len(agent.world.endpoints("a")) == 1, "the container that is started again, and no other")
    agent.wait_tidy()
    assert agent.network_of("c2")["EndpointID"] in agent.world.endpoints("a")


def test_an_engine_that_dies_while_a_container_starts(agent: Agent) -> None:
    """Whatever was taken for it goes, though nobody ever says so."""
    agent.kill_plugin()
    agent.start_plugin()
    engine = agent.engine
    engine.cli("create", "--name", "c1", "--network", "calico", "bb", "sleep", "3600")
    agent.ask("calico-ipam", "IpamDriver.RequestAddress", {"PoolID": "default-ipv4-ippool", "Address": ""})
    (taken,) = agent.world.report().allocations
    network = engine.inspect("network", "calico")["Id"]
    interface = {"Address": f"{taken.address}/32", "AddressIPv6": "", "MacAddress": ""}
    request = {"NetworkID": network, "EndpointID": "f" * 64, "Interface": interface, "Options": {}}
    agent.ask("calico", "NetworkDriver.CreateEndpoint", request)
    sandbox = {"SandboxKey": "/var/run/docker/netns/x", "Options": {}}
    agent.ask("calico", "NetworkDriver.Join", {"NetworkID": network, "EndpointID": "f" * 64, **sandbox})
    assert agent.untidy()
    agent.wait_tidy()
    assert agent.world.report().allocations == ()


@soak
def test_a_datastore_restored_from_before_a_container(surviving: Agent) -> None:
    """The container keeps its network: its endpoint and address are stored again."""
    world = surviving.world
    lost = world.endpoints("l")[surviving.network_of("c1")["EndpointID"]]
    world.client.delete("WorkloadEndpoint", lost.metadata.name, "default")
    world.client.allocations.release_addresses((lost.spec.ip_networks[0].partition("/")[0],))  # type: ignore[union-attr]
    surviving.wait(lambda: lost.spec.endpoint in world.endpoints("l"), "the endpoint is stored again")
    found = world.endpoints("l")[lost.spec.endpoint]
    assert found.spec == lost.spec
    surviving.wait_tidy()


def test_records_that_are_lost_are_learned_from_the_engine(agent: Agent) -> None:
    agent.world.cluster.ctl("del", "--prefix", "/calico/dcos-calico/v1/docker/")
    agent.kill_plugin()
    agent.start_plugin()
    agent.run("c1")
    found = agent.world.endpoints("a")[agent.network_of("c1")["EndpointID"]]
    assert found.spec.profiles == ("calico",)


@soak
def test_etcd_is_away(agent: Agent) -> None:
    """The plugin starts, refuses with a reason, and works when etcd is back."""
    member = agent.world.cluster.members[0]
    agent.kill_plugin()
    member.pause()
    try:
        agent.start_plugin()
        refused = agent.engine.cli("run", "--rm", "--network", "calico", "bb", "true", check=False, timeout=120)
        assert refused.returncode == 125
        assert "no etcd endpoint" in refused.stderr or "2379" in refused.stderr
    finally:
        member.resume()
    agent.run("c1")
