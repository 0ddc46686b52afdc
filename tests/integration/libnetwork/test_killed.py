"""The plugin is killed at each call and started again: what the user asked for happens, and nothing stays behind."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.servers.agent import Agent
from tests.servers.docker import wait_for

pytestmark = [pytest.mark.root, pytest.mark.netns]

_DYING = str(Path(__file__).with_name("dying.py"))
_SOAK = os.environ.get("DCOS_CALICO_SOAK") == "1"
_RUN = ("IpamDriver.RequestAddress", "NetworkDriver.CreateEndpoint", "NetworkDriver.Join")
_STOP = ("NetworkDriver.Leave", "NetworkDriver.DeleteEndpoint", "IpamDriver.ReleaseAddress")
# Nothing is kept of pools: what is left out is a question that is asked again.
_CREATE = (*(("IpamDriver.RequestPool",) if _SOAK else ()), "NetworkDriver.CreateNetwork")
_REMOVE = (*(("IpamDriver.ReleasePool",) if _SOAK else ()), "NetworkDriver.DeleteNetwork")
_QUIET = ("NetworkDriver.ProgramExternalConnectivity", "NetworkDriver.EndpointOperInfo")
_WHEN = ("before", "after")
_NETWORK = ("network", "create", "--driver", "calico", "--ipam-driver", "calico-ipam", "--subnet", "172.29.0.0/16")


def cases(*calls: str, few: tuple[str, ...] = ("after",)) -> list[tuple[str, str]]:
    """Each call at the moments there are; the more telling of them where time is short."""
    return [(call, when) for call in calls for when in (_WHEN if _SOAK else few)]


def while_dying(agent: Agent, call: str, when: str, work: Callable[[], object]) -> None:
    """Do `work` with a plugin that dies at a call, and start another as systemd would."""
    agent.kill_plugin()
    agent.start_plugin(_DYING, call, when)
    dying = agent.plugin
    assert dying is not None
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(work)
        wait_for(lambda: dying.poll() is not None or done.done(), f"{call} is called")
        if dying.poll() is None:
            pytest.fail(f"{call} was never called")
        agent.start_plugin()
        done.result(90)
    agent.wait_tidy()


@pytest.mark.parametrize(("call", "when"), [*cases(*_RUN), *(cases(*_QUIET) if _SOAK else [])])
def test_a_container_starts_though_the_plugin_dies(agent: Agent, call: str, when: str) -> None:
    while_dying(agent, call, when, lambda: agent.run("c1"))
    agent.run("c2")
    agent.route()
    assert agent.pings("c2", agent.network_of("c1")["IPAddress"])


@pytest.mark.parametrize(("call", "when"), cases(*_STOP))
def test_a_container_goes_though_the_plugin_dies(agent: Agent, call: str, when: str) -> None:
    agent.run("c1")
    while_dying(agent, call, when, lambda: agent.remove("c1"))
    assert agent.world.endpoints("a") == {}
    assert agent.world.report().allocations == ()


@pytest.mark.parametrize(("call", "when"), [*cases(*_CREATE), *cases(*_REMOVE)])
def test_a_network_comes_and_goes_though_the_plugin_dies(agent: Agent, call: str, when: str) -> None:
    def create() -> None:
        agent.engine.cli(*_NETWORK, "brief")

    def remove() -> None:
        agent.engine.cli("network", "rm", "brief")

    first, last = (create, remove) if call in _CREATE else (remove, create)
    if call in _CREATE:
        while_dying(agent, call, when, first)
        agent.run("c1", network="brief")
        agent.remove("c1")
        last()
    else:
        last()
        while_dying(agent, call, when, first)
    agent.wait(lambda: "/network/brief" not in _keys(agent), "the registry forgets it")
    assert not agent.has_network("brief")


def _keys(agent: Agent) -> str:
    return agent.world.cluster.ctl("get", "--prefix", "/calico/dcos-calico/", "--keys-only")
