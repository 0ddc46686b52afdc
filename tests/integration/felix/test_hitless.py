"""Felix is killed at random moments of a busy time: no allowed packet is lost, no denied packet comes through."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.felix.cluster import FelixCluster
from tests.integration.felix.spaces import Space, sweep

SECONDS = 600 if os.environ.get("DCOS_CALICO_SOAK") else 60
STREAM = str(Path(__file__).parent / "stream.py")


class Stream:
    """A program of stream.py in a namespace."""

    def __init__(self, space: Space, *words: str) -> None:
        command = space.command("setpriv", "--pdeathsig", "KILL", sys.executable, "-u", STREAM, *words)
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def wait_ready(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def end(self) -> dict[str, int]:
        self._process.terminate()
        output, _ = self._process.communicate(timeout=60)
        found: dict[str, int] = json.loads(output)
        return found


def policy(turn: int) -> dict[str, object]:
    """A policy whose rules differ each time, and which always lets `two` in and nobody else."""
    extra = [{"action": "Deny", "source": {"nets": [f"10.200.{turn % 250}.{number}/32"]}} for number in range(turn % 7)]
    allow = {"action": "Allow", "protocol": "UDP", "source": {"selector": "role == 'friend'"}}
    return {
        "kind": "GlobalNetworkPolicy",
        "metadata": {"name": "guarding"},
        "spec": {"selector": "role == 'one'", "order": 10, "types": ["Ingress"], "ingress": [*extra, allow]},
    }


def churn(cluster: FelixCluster, turn: int) -> None:
    """One change of each kind."""
    cluster.apply(policy(turn))
    cluster.store_workload("near", "10.65.1.2", labels={"role": "stranger", "turn": str(turn)})
    cluster.store_workload("one", "10.65.1.1", labels={"role": "one", "turn": str(turn)})
    nets = [f"10.201.{turn % 200}.{number}/32" for number in range(turn % 9 + 1)]
    cluster.apply(
        {"kind": "GlobalNetworkSet", "metadata": {"name": "set", "labels": {"role": "friend"}}, "spec": {"nets": nets}}
    )
    if turn % 2:
        cluster.apply(
            {
                "kind": "GlobalNetworkPolicy",
                "metadata": {"name": f"more-{turn % 5}"},
                "spec": {"selector": "all()", "order": 2000, "types": ["Egress"], "egress": [{"action": "Allow"}]},
            }
        )
    else:
        cluster.delete("GlobalNetworkPolicy", f"more-{turn % 5}")


@pytest.mark.timeout(SECONDS + 120)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    sweep()
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    with FelixCluster(tmp_path, ("h1", "h2")) as cluster:
        cluster.ready(routeRefreshInterval="3s", iptablesRefreshInterval="3s")
        cluster.vxlan()
        cluster.workload("one", "h1", "10.65.1.1", labels={"role": "one"})
        cluster.workload("near", "h1", "10.65.1.2", labels={"role": "stranger"})
        cluster.workload("two", "h2", "10.65.2.1", labels={"role": "friend"})
        cluster.workload("far", "h2", "10.65.2.2", labels={"role": "stranger"})
        cluster.apply(policy(0))
        for host in cluster.hosts.values():
            host.start()
        cluster.settle()
        parties = cluster.prober.parties
        receivers = [Stream(parties["one"].space, "receive", port) for port in ("7001", "7002", "7003")]
        for receiver in receivers:
            receiver.wait_ready()
        senders = [
            Stream(parties[name].space, "send", "10.65.1.1", port)
            for name, port in (("two", "7001"), ("near", "7002"), ("far", "7003"))
        ]
        kills = turns = 0
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            ends = time.monotonic() + dice.uniform(0.0, 2.5)
            while time.monotonic() < ends:
                churn(cluster, turns)
                turns += 1
            cluster.hosts["h1"].kill()
            kills += 1
            cluster.hosts["h1"].start()
        cluster.settle()
        sent = [sender.end() for sender in senders]
        time.sleep(0.5)
        allowed, *denied = [receiver.end() for receiver in receivers]
        told = f"seed {seed}, {kills} kills, {turns} turns, {sent}, {allowed}, {denied}"
        assert sent[0]["refused"] == 0, told
        assert (allowed["lost"], allowed["received"]) == (0, sent[0]["sent"]), told
        assert [one["received"] for one in denied] == [0, 0], told
        assert kills >= SECONDS / 10, told
        assert cluster.hosts["h1"].run("--check").stdout == "the kernel is what the datastore wants\n", told
