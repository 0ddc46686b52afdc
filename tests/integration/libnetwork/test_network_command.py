"""`calicoctl network create` and `delete`, with real engines on two agents."""

import os
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tests.integration.libnetwork.conftest import Maker
from tests.servers.agent import Agent, World

pytestmark = [pytest.mark.root, pytest.mark.netns]

RUN = Path(__file__).resolve().parents[3] / "packages/calico/extra/run.py"


def calicoctl(world: World, *words: str) -> "subprocess.CompletedProcess[str]":
    """The command, outside the agents."""
    environment = {name: value for name, value in os.environ.items() if "ETCD" not in name}
    environment["ETCD_ENDPOINTS"] = world.cluster.urls[0]
    command = [sys.executable, str(RUN), "calico.calicoctl.cli", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def agents(world: World, make_agent: Maker) -> tuple[Agent, Agent]:
    world.add_default()
    first, second = make_agent("a").start(), make_agent("b").start()
    return first, second


def test_a_network_comes_to_every_agent_and_goes_from_all(world: World, agents: tuple[Agent, Agent]) -> None:
    made = calicoctl(world, "network", "create", "blue", "--cidr", "10.77.0.0/24")
    assert made.returncode == 0, made.stderr
    for agent in agents:
        agent.wait_for_network("blue")
        assert agent.engine.inspect("network", "blue")["Options"] == {"org.projectcalico.profile": "blue"}
    agents[0].run("c1", network="blue")
    agents[1].run("c2")
    (endpoint,) = world.endpoints("a").values()
    assert endpoint.spec.profiles == ("blue",)
    assert ip_address(endpoint.spec.ip_networks[0].partition("/")[0]) in ip_network("10.77.0.0/24")
    (other,) = world.endpoints("b").values()
    assert ip_address(other.spec.ip_networks[0].partition("/")[0]) not in ip_network("10.77.0.0/24")

    refused = calicoctl(world, "network", "delete", "blue")
    assert refused.returncode == 1 and "10.77.0." in refused.stderr
    agents[0].remove("c1")
    agents[1].remove("c2")
    agents[0].wait(lambda: not world.endpoints("a"), "the endpoint is gone")
    agents[0].wait(lambda: calicoctl(world, "network", "delete", "blue").returncode == 0, "all of it is gone")
    for agent in agents:
        agent.wait_for_network("blue", gone=True)
    assert "blue" not in calicoctl(world, "get", "ippool", "-o", "yaml").stdout
    assert "blue" not in calicoctl(world, "get", "profile", "-o", "yaml").stdout
    assert "blue" not in calicoctl(world, "network", "list").stdout
