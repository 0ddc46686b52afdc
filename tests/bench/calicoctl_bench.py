"""calicoctl against etcdctl, as whole processes and one round after the other: what an operator waits for."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import put
from tests.servers.etcd import Cluster, local_cluster, program

_EXTRA = Path(__file__).resolve().parents[2] / "packages/calico/extra"
_PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
_PREFIX = "/calico/resources/v3/projectcalico.org/"
_FLOOR = 0.18
_POOLS = 3
_ENDPOINTS = 1000


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    with tempfile.TemporaryDirectory() as directory:
        cluster = local_cluster(Path(directory))
        try:
            _fill(cluster)
            return [*_pools(cluster, rounds), *_endpoints(cluster, rounds)]
        finally:
            cluster.stop()


def _fill(cluster: Cluster) -> None:
    store = Etcd(EtcdSettings(tuple(cluster.urls)))
    for index in range(_POOLS):
        store_resource(store, "IPPool", f"ippools/p{index}", {"cidr": f"10.{index}.0.0/16"})
    for index in range(_ENDPOINTS):
        spec = {
            "orchestrator": "cni",
            "node": "n",
            "containerID": f"c{index}",
            "endpoint": "eth0",
            "ipNetworks": [f"10.1.{index >> 8}.{index & 255}/32"],
            "profiles": ["calico"],
            "interfaceName": f"cali{index}",
        }
        store_resource(store, "WorkloadEndpoint", f"workloadendpoints/default/n-cni-c{index}-eth0", spec)
    store.close()


def store_resource(store: Etcd, kind: str, key: str, spec: Mapping[str, object]) -> None:
    """Write a resource as it stands in etcd."""
    namespace = {"namespace": "default"} if kind == "WorkloadEndpoint" else {}
    metadata = {"name": key.rpartition("/")[2], **namespace}
    document = {"kind": kind, "apiVersion": "projectcalico.org/v3", "metadata": metadata, "spec": spec}
    put(store, _PREFIX + key, json.dumps(document).encode())


def _pools(cluster: Cluster, rounds: int) -> list[str]:
    ours, ctl, bare = _compared(cluster, rounds, ["get", "pool"], f"{_PREFIX}ippools/")
    text = f"calicoctl get pool: {ours * 1000:.0f} ms (aim: at most {_FLOOR * 1000:.0f}); etcdctl get {ctl * 1000:.0f}"
    return [f"{text}, ratio {ours / ctl:.1f}; interpreter alone {bare * 1000:.0f}"]


def _endpoints(cluster: Cluster, rounds: int) -> list[str]:
    ours, ctl, _ = _compared(cluster, rounds, ["get", "wep", "-o", "wide"], f"{_PREFIX}workloadendpoints/")
    text = f"calicoctl get wep, {_ENDPOINTS} endpoints: {ours * 1000:.0f} ms; etcdctl get {ctl * 1000:.0f}"
    return [f"{text}, ratio {ours / ctl:.1f}"]


def _compared(cluster: Cluster, rounds: int, words: list[str], prefix: str) -> tuple[float, float, float]:
    """Medians of calicoctl, etcdctl and an interpreter that does nothing, taken in turns."""
    commands: list[list[str]] = [
        [_PYTHON, "-I", str(_EXTRA / "run.py"), "calico.calicoctl.cli", *words],
        [program("etcdctl"), f"--endpoints={cluster.urls[0]}", "get", "--prefix", prefix],
        [_PYTHON, "-I", "-c", "pass"],
    ]
    environment = {**os.environ, "ETCD_ENDPOINTS": cluster.urls[0], "ETCDCTL_API": "3"}
    times = [[_seconds(command, environment) for command in commands] for _ in range(max(rounds, 5))]
    ours, ctl, bare = (statistics.median(column) for column in zip(*times, strict=True))
    return ours, ctl, bare


def _seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin
