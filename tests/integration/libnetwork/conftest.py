"""A cluster for the plugin: etcd, and agents with real engines, one for a whole module."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers.agent import Agent, World
from tests.servers.docker import sweep
from tests.servers.etcd import local_cluster


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An empty cluster."""
    sweep()
    cluster = local_cluster(Path(tmp_path_factory.mktemp("etcd")))
    found = World(cluster)
    yield found
    found.close()
    cluster.stop()


Maker = Callable[..., Agent]


@pytest.fixture(scope="module")
def make_agent(world: World) -> Iterator[Maker]:
    """Makes agents, each a node of the cluster; all are removed at the end."""
    made: list[Agent] = []

    def make(name: str, *options: str, **settings: str) -> Agent:
        world.add_node(name)
        made.append(Agent(world, name, options, **settings))
        return made[-1]

    yield make
    for agent in made:
        agent.close()


@pytest.fixture(scope="module")
def agent(world: World, make_agent: Maker) -> Agent:
    """One agent of a cluster with the usual pool and profile."""
    world.add_default()
    return make_agent("a").start()


@pytest.fixture(autouse=True)
def _containers_go(request: pytest.FixtureRequest) -> Iterator[None]:
    """No container of a test outlives it, and nothing of it stays behind."""
    yield
    if "agent" in request.fixturenames:
        agent: Agent = request.getfixturevalue("agent")
        if names := agent.engine.cli("ps", "-aq").stdout.split():
            agent.remove(*names)
        agent.wait_tidy()
