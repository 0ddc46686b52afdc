"""IPAM against a real etcd: assignments on one host, one after the other, and on ten hosts at once."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import put
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.check import check
from calico.ipam.inventory import CachedInventory, StoredInventory
from calico.ipam.snapshot import take_snapshot
from tests.servers.etcd import Cluster, local_cluster

_EXTRA = Path(__file__).resolve().parents[2] / "packages/calico/extra"
_HOSTS = 10
_EACH = 30
_WORK = """
import sys, time
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.inventory import CachedInventory, StoredInventory
url, host, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = Etcd(EtcdSettings((url,), timeout=60.0))
ipam = Ipam(store, CachedInventory(StoredInventory(store)))
ipam.config()
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    handle = f"{host}-{sys.argv[4]}-{number}"
    assert ipam.auto_assign(Request(host, ipv4=1, handle=handle, attributes={"node": host})).ipv4
"""


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    with tempfile.TemporaryDirectory() as directory:
        cluster = local_cluster(Path(directory))
        store = Etcd(EtcdSettings(tuple(cluster.urls)))
        try:
            _prepare(store)
            return [
                _alone(store, rounds),
                _together(cluster, store, _HOSTS),
                _together(cluster, store, 1),
                _check(store),
            ]
        finally:
            store.close()
            cluster.stop()


def _prepare(store: Etcd) -> None:
    for key, spec in [("ippools/pool", '{"cidr":"10.0.0.0/16"}'), *[(f"nodes/h{n}", "{}") for n in range(_HOSTS)]]:
        kind, name = ("IPPool" if key.startswith("ippools") else "Node"), key.partition("/")[2]
        text = f'{{"kind":"{kind}","apiVersion":"projectcalico.org/v3","metadata":{{"name":"{name}"}},"spec":{spec}}}'
        put(store, f"/calico/resources/v3/projectcalico.org/{key}", text.encode())


def _alone(store: Etcd, rounds: int) -> str:
    """Assign and release on one host with nobody else there, beside a bare write."""
    ipam, count = Ipam(store, CachedInventory(StoredInventory(store))), rounds * 20
    assigning, releasing, writing = [], [], []
    for number in range(count):
        begin = time.perf_counter()
        ipam.auto_assign(Request("h0", ipv4=1, handle=f"alone-{number}", attributes={"node": "h0"}))
        assigned = time.perf_counter()
        ipam.release_handle(f"alone-{number}")
        released = time.perf_counter()
        put(store, "/calico/bench", b"x" * 1000)
        writing.append(time.perf_counter() - released)
        assigning.append(assigned - begin)
        releasing.append(released - assigned)
    assign, release, write = (statistics.median(times) for times in (assigning, releasing, writing))
    return (
        f"one host: {1 / assign:.0f} assignments/s, p50 {assign * 1000:.1f} ms, "
        f"release by handle {release * 1000:.1f} ms "
        f"(one put {write * 1000:.1f} ms; ratio of assigning {assign / write:.1f})"
    )


def _together(cluster: Cluster, store: Etcd, hosts: int) -> str:
    """Ten processes, on ten hosts or all on one, from the word go to the last one's end."""
    environment = {**os.environ, "PYTHONPATH": str(_EXTRA)}
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORK, cluster.urls[0], f"h{number % hosts}", str(_EACH), f"{hosts}-{number}"],
            stdin=pipe,
            stdout=pipe,
            text=True,
            env=environment,
        )
        for number in range(_HOSTS)
    ]
    for worker in workers:
        assert worker.stdout and worker.stdout.readline() == "ready\n"
    begin = time.perf_counter()
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    codes = [worker.wait(120) for worker in workers]
    seconds = time.perf_counter() - begin
    assert not any(codes)
    where = f"{hosts} hosts contending" if hosts > 1 else f"{_HOSTS} processes contending for one host's block"
    return f"{where}: {_HOSTS * _EACH / seconds:.0f} assignments/s in all"


def _check(store: Etcd) -> str:
    begin = time.perf_counter()
    report = check(take_snapshot(store))
    return f"check of {len(report.allocations)} allocations: {(time.perf_counter() - begin) * 1000:.0f} ms"
