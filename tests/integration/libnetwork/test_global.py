"""The scope `global`: two real engines that share a cluster store, as upstream's plugin needs them."""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.servers.agent import Agent, World
from tests.servers.docker import sweep
from tests.servers.etcd import local_cluster

pytestmark = [pytest.mark.root, pytest.mark.netns]

Agents = tuple[Agent, Agent]
# Engines ask the store's members for their addresses, and then only those: from in here it is at the forwarded port.
_STORE = ("--enable-v2", "--advertise-client-urls=http://127.0.0.1:2379")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    sweep()
    cluster = local_cluster(tmp_path_factory.mktemp("etcd"), options=_STORE)
    found = World(cluster)
    found.add_default()
    yield found
    found.close()
    cluster.stop()


@pytest.fixture(scope="module")
def agents(world: World) -> Iterator[Agents]:
    options = ("--cluster-store=etcd://127.0.0.1:2379", "--cluster-advertise=192.0.2.1:62376")
    made: list[Agent] = []
    try:
        for name in "ab":
            world.add_node(name)
            made.append(Agent(world, name, options, CALICO_LIBNETWORK_NETWORK_SCOPE="global"))
            made[-1].start()
        yield made[0], made[1]
    finally:
        for one in made:
            one.close()


def test_one_network_for_both_engines(world: World, agents: Agents) -> None:
    first, second = agents
    identity = first.engine.inspect("network", "calico")["Id"]
    assert second.engine.inspect("network", "calico")["Id"] == identity
    assert first.engine.inspect("network", "calico")["Scope"] == "global"
    notes = world.client.get("IPPool", "default-ipv4-ippool").metadata.annotations
    assert notes["org.projectcalico.label.network.ID"] == identity
    assert notes["org.projectcalico.label.profile"] == "calico"
    assert world.cluster.ctl("get", "--prefix", "/calico/dcos-calico/v1/docker/", "--keys-only") == ""


def has_label(agent: Agent) -> bool:
    found = agent.world.endpoints(agent.name).values()
    return [one.metadata.labels.get("role") for one in found] == ["web"]


def test_containers_on_both(world: World, agents: Agents) -> None:
    for agent in agents:
        agent.run(f"c-{agent.name}", "--label", "org.projectcalico.label.role=web")
    for agent in agents:
        (endpoint,) = world.endpoints(agent.name).values()
        assert endpoint.spec.profiles == ("calico",)
        agent.wait(partial(has_label, agent), "labels")
    for agent in agents:
        agent.remove(f"c-{agent.name}")
    agents[0].wait(lambda: not world.client.list("WorkloadEndpoint").items, "no endpoint is left")
    agents[0].wait_tidy()


def test_removal(world: World, agents: Agents) -> None:
    first, _ = agents
    world.add_pool("more", "10.1.0.0/16")
    ipam = ("--driver", "calico", "--ipam-driver", "calico-ipam", "--subnet", "10.1.0.0/16")
    first.engine.cli("network", "create", *ipam, "more")
    assert world.client.get("IPPool", "more").metadata.annotations
    first.engine.cli("network", "rm", "more")
    assert world.client.get("IPPool", "more").metadata.annotations == {}
