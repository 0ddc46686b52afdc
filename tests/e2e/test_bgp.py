"""A cluster without VXLAN, whose pool is made unencapsulated: the units of confd and BIRD as systemd confines them, and
containers that reach each other by BIRD's routes.

This kernel need not have IPIP: the default pool encapsulates until the first test turns that off.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import marathon, reach
from lab.cleanup import destroy
from lab.cluster import Cluster
from lab.machine import Machine
from lab.plan import Counts, make_plan
from lab.state import CALICOCTL
from lab.tasks import Task, Tasks
from tests.e2e import conftest
from tests.e2e.test_cluster import _APPS, eventually

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(600)]

_CONFD, _BIRD = "dcos-calico-confd.service", "dcos-calico-bird.service"
_BIRDCL = "/opt/mesosphere/bin/birdcl -s /run/calico/bird.ctl"
_PLAIN = '{"spec": {"ipipMode": "Never"}}'


@pytest.fixture(scope="module")
def cluster(node_root: Path) -> Iterator[Cluster]:
    values = {"cluster_name": "lab", "calico_vxlan_enabled": False}
    made = Cluster.create(make_plan(values, Counts(masters=1, agents=2)))
    conftest.watch(made)
    try:
        made.up()
        yield made
    finally:
        conftest.watch(None)
        destroy(made.instance)


def status(machine: Machine) -> list[dict[str, str]]:
    said = machine.run(f"{CALICOCTL} node status -o json", check=False).stdout
    peers: list[dict[str, str]] = json.loads(said)["peers"]
    return peers


def is_meshed(machine: Machine, others: int) -> bool:
    peers = status(machine)
    return len(peers) == others and all(peer["info"] == "Established" for peer in peers)


def is_recovering(machine: Machine, neighbour: Machine) -> bool:
    """Whether a restart is under way yet: BIRD waits for its peers' routes, or the neighbour for BIRD's."""
    own = machine.run(f"{_BIRDCL} show status").stdout
    seen = neighbour.run(f"{_BIRDCL} show protocols all").stdout
    return "Graceful restart recovery in progress" in own or "Neighbor graceful restart active" in seen


def test_every_node_meshes(cluster: Cluster) -> None:
    for machine in cluster.machines.values():
        eventually(lambda one=machine: is_meshed(one, 2), f"{machine.name} meshed", 90)  # type: ignore[misc]
        wanted = "2 of 2 sessions established"
        machine.wait_until(f"systemctl show -P StatusText {_CONFD} | grep -q '{wanted}'", 60, "so told to systemd")
        table = machine.run(f"{CALICOCTL} node status").stdout
        assert "node-to-node mesh" in table
        assert "Established" in table
        figures = machine.run("curl -fsS http://127.0.0.1:62092/metrics").stdout
        assert "calico_bird_up 1" in figures
        assert machine.run("stat -c %a /var/lib/calico/bird/bird.cfg").stdout.strip() == "600"


def test_containers_reach_each_other_by_birds_routes(cluster: Cluster) -> None:
    agents = [machine for machine in cluster.machines.values() if machine.name.startswith("agent")]
    agents[0].run(f"{CALICOCTL} patch ippool default-ipv4-ippool -p '{_PLAIN}'")
    tasks = Tasks(cluster)
    apps = marathon.read(_APPS / "calico-ucr.json")
    (one,), (two,) = (tasks.start([apps[0]._replace(id=f"/bgp-{agent.name}")], agent.name) for agent in agents)
    eventually(lambda: both_reached(tasks, one, two), "reached", 90)
    routes = [machine.inspect("ip", "route", "show", "proto", "bird") for machine in agents]
    for shown, other in zip(routes, reversed(agents), strict=True):
        assert f"via {other.address} dev eth0" in shown, routes
        assert "blackhole " in shown, routes


def both_reached(tasks: Tasks, one: Task, two: Task) -> bool:
    return reach.request(tasks, one, two).is_reached and reach.request(tasks, two, one).is_reached


def test_bird_is_killed_and_comes_back(cluster: Cluster) -> None:
    machine = cluster.machines["agent1"]
    before = machine.unit(_BIRD)["InvocationID"]
    machine.run(f"systemctl kill --signal=KILL {_BIRD}")
    machine.wait_until(f"systemctl is-active {_BIRD}", 30, "started again by systemd")
    eventually(lambda: machine.unit(_BIRD)["InvocationID"] != before, "another process")
    eventually(lambda: is_meshed(machine, 2), "meshed again", 90)
    assert machine.unit(_CONFD)["ActiveState"] == "active"


def test_a_restart_of_bird_withdraws_nothing(cluster: Cluster) -> None:
    machine, other = cluster.machines["agent1"], cluster.machines["agent2"]
    to_it = f"via {machine.address} dev eth0"
    # The run before was killed: two restarts on one another's heels withdraw routes (RFC 4724, 4.2), one does not.
    eventually(lambda: not is_recovering(machine, other), "recovered from the restart before", 300)
    assert to_it in other.inspect("ip", "route", "show", "proto", "bird")
    machine.run(f"systemctl stop {_BIRD}")
    time.sleep(2)
    assert to_it in other.inspect("ip", "route", "show", "proto", "bird")
    machine.run(f"systemctl start {_BIRD}")
    eventually(lambda: is_meshed(machine, 2), "meshed again", 90)
    assert to_it in other.inspect("ip", "route", "show", "proto", "bird")
