"""The lab: `lab up` with a warm cache, and one container's start and stop through the CNI plugins.

The reference of the first is booting as many bare nodes; that of the second, a container of the same root without a
network. Needs root.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lab import image, marathon
from lab.cleanup import destroy, sweep
from lab.cluster import Cluster
from lab.instance import Instance
from lab.machine import Machine
from lab.network import Network
from lab.plan import Counts, make_plan
from lab.state import wait_until_connected
from lab.tasks import Tasks

_APP = Path(marathon.__file__).parent / "apps/calico-ucr.json"
_BARE = "unshare --net --mount --pid --uts --ipc --fork /opt/dcos-lab/rootfs/bin/busybox true"


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _up(cluster: Cluster) -> None:
    cluster.up()
    wait_until_connected(cluster)


def _boot_bare(count: int) -> float:
    instance = Instance.create()
    try:
        network = Network(instance)
        machines = [
            Machine(instance, network, image.ensure(), f"n{number}", f"10.99.0.{number}")
            for number in range(1, count + 1)
        ]
        start = time.perf_counter()
        for machine in machines:
            machine.boot()
        return time.perf_counter() - start
    finally:
        destroy(instance)


def _containers(cluster: Cluster, rounds: int) -> str:
    tasks, starts, stops, bare = Tasks(cluster), [], [], []
    for _ in range(rounds):
        starts.append(_seconds(lambda: tasks.start(marathon.read(_APP), "agent1")))
        stops.append(_seconds(lambda: tasks.stop(tasks.all())))
        bare.append(_seconds(lambda: cluster.machine("agent1").run(_BARE)))
    start, stop, against = map(statistics.median, (starts, stops, bare))
    return (
        f"one container: start {start:.2f} s, stop {stop:.2f} s; {start / against:.1f} of a bare one ({against:.3f} s)"
    )


def bench(rounds: int) -> list[str]:
    """The figures as lines."""
    if os.geteuid() != 0:
        return ["left out: needs root"]
    sweep()
    plan, lines = make_plan(None, Counts()), []
    for state in ("as it is", "warm"):
        cluster = Cluster.create(plan)
        try:
            up = _seconds(partial(_up, cluster))
            if state == "warm":
                bare = _boot_bare(len(plan.nodes))
                lines.append(
                    f"lab up, one master and two agents, warm: {up:.1f} s, {up / bare:.1f} of booting ({bare:.1f} s)"
                )
                lines.append(_containers(cluster, rounds))
        finally:
            destroy(cluster.instance)
    return lines
