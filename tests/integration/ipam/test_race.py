"""IPAM on a real etcd: many processes at once, some killed on the way, and a hundred nodes that start together."""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.check import Use, check
from calico.ipam.release import Claim
from calico.ipam.snapshot import take_snapshot
from calico.model.keys import BLOCKS
from tests.servers.etcd import Cluster, local_cluster
from tests.unit.ipam.cluster import allocated, assert_consistent, documents, put_node, put_pool

_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))
_ROOT = Path(__file__).resolve().parents[3]
_PATH = f"{_ROOT}:{_ROOT / 'packages/calico/extra'}"
PROCESSES = 20
ADDRESSES = 10000 if _SOAK else 2000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = local_cluster(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def store(cluster: Cluster) -> Iterator[Etcd]:
    made = Etcd(EtcdSettings(tuple(cluster.urls)))
    yield made
    made.close()


class Racer:
    """A process of racer.py, and what it said it holds."""

    def __init__(self, url: str, host: str, name: str, count: int) -> None:
        command = [sys.executable, str(Path(__file__).with_name("racer.py")), url, host, name, str(count)]
        environment = {**os.environ, "PYTHONPATH": _PATH}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self.held: dict[str, str] = {}
        self.released: dict[str, str] = {}
        self.lines: list[str] = []

    def wait_until_ready(self) -> None:
        assert self.process.stdout and self.process.stdout.readline() == "ready\n"

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        """Read to the end what it held; of a killed one too."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            word, *rest = line.split()
            if word == "+":
                self.held[rest[0]] = rest[1]
            elif word == "-":
                del self.held[rest[0]]
                self.released[rest[0]] = rest[1]
        self.process.wait(30)


@pytest.mark.timeout(1800 if _SOAK else 300)
def test_no_address_twice_among_twenty_processes_three_of_them_killed(cluster: Cluster, store: Etcd) -> None:
    put_pool(store, "pool", "10.0.0.0/18", blockSize=27)
    hosts = [f"10.9.0.{number}" for number in range(1, 6)]
    for host in hosts:
        put_node(store, host)
    count = ADDRESSES // PROCESSES
    racers = [
        Racer(cluster.urls[0], hosts[number % len(hosts)], f"racer{number}", count) for number in range(PROCESSES)
    ]
    for racer in racers:
        racer.wait_until_ready()
    readers = [threading.Thread(target=racer.finish) for racer in racers]
    for racer, reader in zip(racers, readers, strict=True):
        reader.start()
        racer.go()
    killed = racers[:3]
    for racer in killed:
        time.sleep(random.uniform(0.05, 0.4))
        racer.process.kill()
    for reader in readers:
        reader.join(1700 if _SOAK else 280)

    for racer in racers[3:]:
        assert racer.process.returncode == 0, racer.lines[-3:]
        assert racer.lines[-1] == "done\n"
    held = {address: handle for racer in racers for address, handle in racer.held.items()}
    assert len(held) == sum(len(racer.held) for racer in racers), "an address was given out twice"
    found = allocated(store)
    for address, handle in held.items():
        assert found.get(address, {}).get("handle_id") == handle, f"{address} of {handle}"
    in_flight = {address for address in found if address not in held}
    assert len(in_flight) <= len(killed), "only the killed may have lost an address, one each"
    assert_consistent(store)

    report = check(take_snapshot(store))
    assert {one.address for one in report.of(Use.LEAKED)} == set(found)
    assert not report.findings
    assert not Ipam(store).release_claims([Claim(one.address, one.holder) for one in report.allocations])
    assert not allocated(store)


@pytest.mark.timeout(120)
def test_a_hundred_nodes_that_start_together_settle(cluster: Cluster, store: Etcd) -> None:
    nodes = [f"node{number}" for number in range(100)]
    put_pool(store, "pool", "10.0.0.0/19", blockSize=26)  # 128 blocks: nearly full when all have one
    for node in nodes:
        put_node(store, node)
    took: dict[str, float] = {}
    given: dict[str, str] = {}

    def start(node: str) -> None:
        client = Etcd(EtcdSettings(tuple(cluster.urls), timeout=30.0))
        begin = time.monotonic()
        for kind in ("vxlan", "ipip"):
            answer = Ipam(client).auto_assign(Request(node, ipv4=1, handle=f"{kind}-{node}"))
            given[f"{kind}-{node}"] = answer.ipv4[0].address
        took[node] = time.monotonic() - begin
        client.close()

    threads = [threading.Thread(target=start, args=(node,)) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert len(set(given.values())) == 200
    assert max(took.values()) < 30
    assert len(allocated(store)) == 200
    assert_consistent(store)
    owners = {block["affinity"] for block in documents(store, BLOCKS).values()}
    assert owners == {f"host:{node}" for node in nodes}, "each has a block of its own"


def test_a_whole_block_with_a_handle_each_is_released_in_one_call(store: Etcd) -> None:
    """Transactions stay within the number of operations etcd takes."""
    put_pool(store, "pool", "10.0.0.0/24", blockSize=24)
    put_node(store, "a")
    ipam = Ipam(store)
    given = [ipam.auto_assign(Request("a", ipv4=1, handle=f"h{n}")).ipv4[0].address for n in range(150)]
    given += [one.address for one in ipam.auto_assign(Request("a", ipv4=100, handle="many")).ipv4]
    assert len(set(given)) == 250
    assert not ipam.release_ips(given)
    assert not allocated(store)
    assert_consistent(store)
