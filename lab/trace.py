"""Why a packet passes or does not: `calicoctl policy trace` on the nodes it crosses, in words."""

from typing import NamedTuple

from lab.cluster import Cluster
from lab.state import CALICOCTL
from lab.tasks import Task


class Trace(NamedTuple):
    """What calicoctl told: the verdict, its deciding line, and the whole text."""

    is_allowed: bool
    summary: str
    text: str


def trace(cluster: Cluster, source: Task, destination: Task, port: int, protocol: str = "TCP") -> Trace:
    """The way from one task to another, with the counters of the destination's felix."""
    machine = cluster.machine(destination.agent)
    words = [CALICOCTL, "policy", "trace", "--live", source.address, destination.address, protocol, str(port)]
    done = machine.run(words, check=False)
    text = (done.stdout + done.stderr).strip()
    return Trace(done.status == 0, text.splitlines()[-1] if text else "", text)
