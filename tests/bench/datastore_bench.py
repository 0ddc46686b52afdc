"""The datastore client against a real etcd: a large listing, the lag of a watch, and a whole short process."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import Put, listing, put
from tests.servers.etcd import Cluster, local_cluster, program

_KEYS, _RATE, _SECONDS = 50_000, 1000, 3
_VALUE = b'{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","metadata":' + b"x" * 600 + b"}"
_EXTRA = Path(__file__).resolve().parents[2] / "packages/calico/extra"
_PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
_READ_A_POOL = """
import sys
from calico.client.resources import Client
from calico.datastore.etcd import Etcd, EtcdSettings
for pool in Client(Etcd(EtcdSettings((sys.argv[1],)))).list("IPPool").items:
    print(pool.metadata.name, pool.spec.cidr)
"""
_WRITE = """
import sys, time
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import Put
store, rate, seconds = Etcd(EtcdSettings((sys.argv[1],))), int(sys.argv[2]), int(sys.argv[3])
begin = time.monotonic()
for turn in range(rate * seconds // 10):
    time.sleep(max(0.0, begin + turn * 10 / rate - time.monotonic()))
    store.commit([], [Put(f"/calico/lag/{turn % 50}-{n}", b"%.6f" % time.monotonic()) for n in range(10)])
"""


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    with tempfile.TemporaryDirectory() as directory:
        cluster = local_cluster(Path(directory))
        try:
            store = Etcd(EtcdSettings(tuple(cluster.urls)))
            lines = [*_short_process(cluster, store, rounds), _lag(cluster, store), *_snapshot(cluster, store, rounds)]
            store.close()
        finally:
            cluster.stop()
    return lines


def _median(run: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _quiet(*command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(_EXTRA), "ETCDCTL_API": "3"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def _short_process(cluster: Cluster, store: Etcd, rounds: int) -> list[str]:
    """Read the pools as a whole process, and time single requests."""
    document = (
        b'{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"a"},"spec":{"cidr":"10.0.0.0/8"}}'
    )
    put(store, "/calico/resources/v3/projectcalico.org/ippools/a", document)
    url = cluster.urls[0]
    ours = _median(lambda: _quiet(_PYTHON, "-c", _READ_A_POOL, url), rounds)
    bare = _median(lambda: _quiet(_PYTHON, "-c", "pass"), rounds)
    ctl = _median(lambda: _quiet(program("etcdctl"), f"--endpoints={url}", "get", "--prefix", "/calico/"), rounds)
    write = _median(lambda: put(store, "/calico/x", b"1"), rounds * 30)
    read = _median(lambda: store.get("/calico/x"), rounds * 30)
    others = f"interpreter alone {bare * 1000:.0f}, etcdctl get {ctl * 1000:.0f}"
    return [
        f"list IPPools, whole process: {ours * 1000:.0f} ms ({others}; ratio to etcdctl {ours / ctl:.1f})",
        f"one put {write * 1000:.2f} ms, one get {read * 1000:.2f} ms",
    ]


def _lag(cluster: Cluster, store: Etcd) -> str:
    """From just before a transaction is sent by another process to its events' arrival here."""
    watch = store.watch("/calico/lag/", put(store, "/calico/lag-start", b""))
    watch.next(0.5)
    used, begin = time.process_time(), time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(_EXTRA)}
    writer = subprocess.Popen([_PYTHON, "-c", _WRITE, cluster.urls[0], str(_RATE), str(_SECONDS)], env=environment)
    lags: list[float] = []
    while len(lags) < _RATE * _SECONDS and time.monotonic() < begin + 30:
        if batch := watch.next(1.0):
            now = time.monotonic()
            lags += [now - float(event.value or b"0") for event in batch.events]
    share = (time.process_time() - used) / (time.monotonic() - begin)
    writer.wait(30)
    watch.close()
    cuts = statistics.quantiles(lags, n=100)
    return (
        f"watch at {_RATE} updates/s: {len(lags)} of {_RATE * _SECONDS} arrived, write sent to event p50 "
        f"{cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, {share:.0%} of a core"
    )


def _snapshot(cluster: Cluster, store: Etcd, rounds: int) -> list[str]:
    for start in range(0, _KEYS, 100):
        store.commit([], [Put(f"/calico/many/{name:06}", _VALUE) for name in range(start, start + 100)])
    ours = _median(lambda: listing(store, "/calico/many/"), min(rounds, 5))
    ctl = _median(
        lambda: _quiet(program("etcdctl"), f"--endpoints={cluster.urls[0]}", "get", "--prefix", "/calico/many/"),
        min(rounds, 5),
    )
    return [
        f"snapshot of {_KEYS} keys of {len(_VALUE)} bytes: {ours:.2f} s (etcdctl {ctl:.2f}, ratio {ours / ctl:.1f})"
    ]
