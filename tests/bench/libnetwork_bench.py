"""`docker run` on Calico's network against the same on Docker's bridge, in turns, with a real engine."""

import statistics
import tempfile
import time
from pathlib import Path

from tests.servers.agent import Agent, World
from tests.servers.docker import sweep
from tests.servers.etcd import local_cluster

_AIM = 1.25


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    sweep()
    with tempfile.TemporaryDirectory() as directory:
        cluster = local_cluster(Path(directory))
        world = World(cluster)
        agent = None
        try:
            world.add_default()
            world.add_node("a")
            agent = Agent(world, "a").start()
            return _lines(agent, max(rounds, 9))
        finally:
            if agent is not None:
                agent.close()
            world.close()
            cluster.stop()


def _lines(agent: Agent, rounds: int) -> list[str]:
    for network in ("calico", "bridge"):
        _run(agent, network)
    times = [(_run(agent, "calico"), _run(agent, "bridge")) for _ in range(rounds)]
    calico, bridge = (statistics.median(column) for column in zip(*times, strict=True))
    text = f"docker run --network calico: {calico * 1000:.0f} ms; bridge {bridge * 1000:.0f}"
    return [f"{text}, ratio {calico / bridge:.2f} (aim: at most {_AIM})"]


def _run(agent: Agent, network: str) -> float:
    """Seconds until `docker run -d` returns; the container is removed outside of them."""
    begin = time.perf_counter()
    agent.run("bench", network=network)
    taken = time.perf_counter() - begin
    agent.remove("bench")
    return taken
