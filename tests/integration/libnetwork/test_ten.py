"""Ten plugins start at once on an empty cluster: one network, and no failure.

Engines here know networks only, so that ten fit; `DCOS_CALICO_SOAK=1` takes ten real ones.
"""

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.agent import Agent, World
from tests.servers.docker import wait_for

pytestmark = [pytest.mark.root, pytest.mark.netns]

_SOAK = os.environ.get("DCOS_CALICO_SOAK") == "1"
_FAKE = str(Path(__file__).with_name("fakeengine.py"))
_REGISTRY = "/calico/dcos-calico/v1/docker/"


@pytest.fixture
def agents(world: World) -> Iterator[list[Agent]]:
    made: list[Agent] = []
    try:
        made.extend(Agent(world, f"n{number}") for number in range(10))
        yield made
    finally:
        for agent in made:
            agent.close()


def test_one_network_on_ten_agents(world: World, agents: list[Agent]) -> None:
    fakes = []
    for agent in agents:
        if not _SOAK:
            words = [sys.executable, _FAKE, "/run/docker.sock", "/run/docker/plugins"]
            fakes.append(agent.host.start(words, agent.host.directory / "engine.log", dict(os.environ)))
    try:
        for agent in agents:
            agent.spawn_plugin()  # all at once, and nothing is there
        if _SOAK:
            for agent in agents:
                agent.engine.start(wait=False)
        # Pool, profile and nodes come while they look for them.
        world.add_default()
        for agent in agents:
            world.add_node(agent.name)
        wait_for(lambda: len(_records(world)) == 10, "a record for each agent")
        records = _records(world)
        assert {record["name"] for record in records.values()} == {"calico"}
        assert {key.split("/")[-2] for key in records} == {agent.name for agent in agents}
        entries = world.cluster.ctl("get", "--prefix", f"{_REGISTRY}network/", "--keys-only").split()
        assert entries == [f"{_REGISTRY}network/calico"]
        for agent in agents:
            assert agent.plugin is not None
            assert agent.plugin.poll() is None
            assert "Traceback" not in agent.tail()
            assert "not in step" not in agent.tail()
            assert "refused" not in agent.tail()
    finally:
        for fake in fakes:
            fake.kill()
            fake.wait()


def _records(world: World) -> dict[str, dict[str, str]]:
    listed = json.loads(world.cluster.ctl("get", "--prefix", f"{_REGISTRY}node/", "--write-out", "json"))
    return {
        base64.b64decode(one["key"]).decode(): json.loads(base64.b64decode(one["value"]))
        for one in listed.get("kvs", ())
    }
