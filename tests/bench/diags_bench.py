"""`calicoctl node diags` where etcd has a thousand endpoints: its time, and the bounds of what it collects.

It reads this machine as it would a node and changes nothing, so what it finds wrong here is no concern.
"""

import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
from calico.ipam.inventory import CachedInventory, StoredInventory
from calico.node.diagnostics.collect import FILE_LIMIT, TOTAL_LIMIT
from tests.bench.calicoctl_bench import store_resource
from tests.servers.etcd import Cluster, local_cluster, program

_EXTRA = Path(__file__).resolve().parents[2] / "packages/calico/extra"
_ENDPOINTS = 1000
_NODES = 10
_MINUTE = 60


def bench(rounds: int) -> list[str]:
    """The lines of `make bench`."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        cluster = local_cluster(place)
        try:
            _fill(cluster)
            return _lines(cluster, place, rounds)
        finally:
            cluster.stop()


def _fill(cluster: Cluster) -> None:
    """Endpoints with the addresses that they would have from IPAM."""
    store = Etcd(EtcdSettings(tuple(cluster.urls)))
    store_resource(store, "IPPool", "ippools/pool", {"cidr": "10.0.0.0/16"})
    for number in range(_NODES):
        store_resource(store, "Node", f"nodes/n{number}", {})
    ipam = Ipam(store, CachedInventory(StoredInventory(store)))
    for number in range(_ENDPOINTS):
        node, container = f"n{number % _NODES}", f"c{number}"
        name = f"{node}-cni-{container}-eth0"
        request = Request(node, ipv4=1, handle=f"calico.{container}", attributes={"node": node})
        (address,) = ipam.auto_assign(request).ipv4
        spec = {
            "orchestrator": "cni",
            "node": node,
            "containerID": container,
            "endpoint": "eth0",
            "ipNetworks": [str(address)],
            "profiles": ["calico"],
            "interfaceName": f"cali{number}",
        }
        store_resource(store, "WorkloadEndpoint", f"workloadendpoints/default/{name}", spec)
    store.close()


def _lines(cluster: Cluster, place: Path, rounds: int) -> list[str]:
    environment = {**os.environ, "ETCD_ENDPOINTS": cluster.urls[0], "ETCDCTL_API": "3"}
    calicoctl = [sys.executable, "-I", str(_EXTRA / "run.py"), "calico.calicoctl.cli", "node", "diags"]
    etcdctl = [program("etcdctl"), f"--endpoints={cluster.urls[0]}", "get", "--prefix", "/calico/"]
    times = []
    for number in range(rounds):
        archive = place / f"{number}.tar.gz"
        ours = _seconds([*calicoctl, "-o", str(archive)], environment, (0, 1))
        times.append((ours, _seconds(etcdctl, environment)))
    diags, read = (statistics.median(column) for column in zip(*times, strict=True))
    against = f"etcdctl get of everything {read:.2f} s, ratio {diags / read:.0f}"
    return [
        f"node diags, {_ENDPOINTS} endpoints: {diags:.1f} s (bound: {_MINUTE} s); {against}",
        _sizes(archive),
    ]


def _sizes(archive: Path) -> str:
    with tarfile.open(archive) as opened:
        sizes = [member.size for member in opened.getmembers()]
    return (
        f"its archive: {archive.stat().st_size / 1024:.0f} KiB; the largest of {len(sizes)} files "
        f"{max(sizes) / 2**20:.2f} MiB (bound: {FILE_LIMIT >> 20}), "
        f"all of them {sum(sizes) / 2**20:.2f} (bound: {TOTAL_LIMIT >> 20})"
    )


def _seconds(command: list[str], environment: dict[str, str], statuses: tuple[int, ...] = (0,)) -> float:
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode in statuses, done
    return time.perf_counter() - begin
