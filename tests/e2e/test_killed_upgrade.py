"""The script that upgrades a cluster is killed at instants chosen by a seed, and the same command completes it.

Some kills take what runs on the node with them, some only what runs on the operator's machine, and after some of both
the node that was at its turn loses its power.
"""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.machine import Machine, Running
from tests.e2e import node
from tests.e2e.bundles import AGENT, MASTER, PUBLIC_AGENT, Bundle, Server
from tests.e2e.conftest import Lab, Versions
from tests.e2e.workstation import Workstation, cut_off

SEED = int(os.environ.get("DCOS_CALICO_SEED", "20261125"))
KILLS = 40
pytestmark = [
    pytest.mark.root,
    pytest.mark.netns,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not os.environ.get("DCOS_CALICO_SOAK"), reason="upgrades a cluster some eighty times: soak"),
]


class Way(NamedTuple):
    """From one bundle to another, and the machine with the script for it."""

    old: Bundle
    new: Bundle
    workstation: Workstation


class Cluster(NamedTuple):
    """The nodes by role in the order in which they are upgraded, and the two ways there are."""

    nodes: dict[str, Machine]
    server: Server
    ways: tuple[Way, Way]

    def states(self, way: Way) -> list[str]:
        """Of each node, which bundle it has."""
        return [
            {tuple(way.old.ids_for(role)): "old", tuple(way.new.ids_for(role)): "new"}[tuple(node.active(machine))]
            for role, machine in self.nodes.items()
        ]


@pytest.fixture(scope="module")
def cluster(lab: Lab, versions: Versions, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    addresses = {"master": MASTER, "slave": AGENT, "slave_public": PUBLIC_AGENT}
    server = Server(lab.instance, lab.network)
    server.serve(versions.first)
    nodes = {role: lab.add(role.replace("_", "-"), address) for role, address in addresses.items()}
    for role, machine in nodes.items():
        machine.boot()
        node.place_keys(machine, versions.pki)
        node.install(machine, role, "--pki", "/root/pki")
    for machine in nodes.values():
        node.wait_until_healthy(machine)
    pairs = ((versions.first, versions.second), (versions.second, versions.first))
    ways = [_way(lab, nodes, old, new, tmp_path_factory.mktemp("workstation")) for old, new in pairs]
    return Cluster(nodes, server, (ways[0], ways[1]))


def _way(lab: Lab, nodes: dict[str, Machine], old: Bundle, new: Bundle, directory: Path) -> Way:
    workstation = Workstation(directory, lab.instance, nodes.values())
    workstation.write_script(old.directory, new.directory)
    return Way(old, new, workstation)


@pytest.fixture(scope="module")
def usual_seconds(cluster: Cluster) -> float:
    """How long the way there takes on this machine; the cluster is back afterwards."""
    start = time.monotonic()
    for way in cluster.ways:
        cluster.server.serve(way.new)
        assert way.workstation.upgrade().returncode == 0
    return (time.monotonic() - start) / 2


@pytest.fixture(scope="module")
def interrupted() -> Iterator[list[str]]:
    """How many nodes were done at each kill; at the end, enough of the kills must have been between the ends."""
    states: list[str] = []
    yield states
    assert len(set(states)) >= 3 or len(states) < KILLS, states


def kill(running: Running, everywhere: bool) -> None:
    if everywhere:
        running.kill()
    elif running.process.poll() is None:
        cut_off(running)


def cut_power(cluster: Cluster) -> None:
    """Of the node that is at its turn, the one whose script is at work or has been."""
    for machine in cluster.nodes.values():
        if (machine.root / "opt/.dcos-calico-upgrade").exists():
            machine.kill()
            machine.boot()


@pytest.mark.parametrize("number", range(KILLS))
def test_a_killed_upgrade_is_completed_by_the_same_command(
    cluster: Cluster, usual_seconds: float, interrupted: list[str], number: int
) -> None:
    numbers = random.Random(f"{SEED} {number}")
    way = cluster.ways[number % 2]
    cluster.server.serve(way.new)
    running = way.workstation.start()
    start = time.monotonic()
    time.sleep(numbers.uniform(0, usual_seconds))
    kill(running, everywhere=number % 4 < 2)
    if number % 3 == 0:
        cut_power(cluster)
    when = f"killed {time.monotonic() - start:.3f} s after its start (seed {SEED})"
    states = cluster.states(way)
    interrupted.append("".join(states))
    # One at a time, in order: the nodes after the first old one are old.
    assert states == sorted(states), when
    done = way.workstation.upgrade()
    assert (done.returncode, done.stderr) == (0, ""), f"{when}\n{done.stdout}{done.stderr}"
    assert cluster.states(way) == ["new"] * 3, when
    for machine in cluster.nodes.values():
        node.wait_until_healthy(machine)
        machine.run([node.PKGPANDA, "verify"])
        assert not node.journal(machine).exists()
        assert machine.run("ls -A /opt").stdout.split() == ["mesosphere"], when
