"""`calicoctl node diags` on a node with planted faults: each is named, and nothing secret leaves.

The node is namespaces of its own: a network with the interfaces that a test makes, /opt, /etc, /var/lib and /run of its
own, a `systemctl` and a `journalctl` that answer from files. etcd is real and runs inside the network.
"""

import itertools
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.servers import debian
from tests.servers.etcd import program

from .conftest import EXTRA

pytestmark = [pytest.mark.root, pytest.mark.netns, pytest.mark.timeout(180)]

POOL = """apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {{name: small}}
spec: {{cidr: {cidr}, vxlanMode: {vxlan}, blockSize: 29}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {{name: 10.0.0.1}}
spec: {{}}
"""
UNIT = """Id={name}
LoadState=loaded
ActiveState={state}
SubState={sub}
Result=success
NRestarts=0
StatusText=token=st4tus-secret
MainPID=1
ConditionResult={condition}
ConditionTimestampMonotonic=1
"""
ALLOCATE = """
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.ipam.allocator import Ipam
from calico.ipam.assign import Request
ipam = Ipam(Etcd(EtcdSettings(("http://127.0.0.1:2379",))))
for number in range({count}):
    ipam.auto_assign(Request("10.0.0.1", ipv4=1, handle=f"gone-{{number}}", attributes={{"node": "10.0.0.1"}}))
"""
REPORT = """
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.felix.status import Reporter, ReportSettings
clock = iter([0.0, 60.0, 120.0])
store = Etcd(EtcdSettings(("http://127.0.0.1:2379",)))
Reporter(ReportSettings("10.0.0.1"), store, dict, lambda: next(clock)).step()
"""
DAEMON = """
import sys
from calico.daemon.metrics import Endpoint, Registry, metrics_page
Endpoint("127.0.0.1", 62091, {"/metrics": metrics_page(Registry())})
print("serves", flush=True)
sys.stdin.read()
"""
INTERFACES = (
    "ip link add eth0 type veth peer name peer0",
    "ip address add 10.0.0.1/24 dev eth0",
    "ip link set eth0 up",
    "ip link set peer0 up",
    "ip link add vxlan.calico type vxlan id 4096 dev eth0 dstport 64000",
    "ip link set vxlan.calico mtu 1450 up",
)


class Node:
    """Files of the node, and the shell that plants faults and runs `node diags`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("opt/mesosphere/etc/calico", "etc/dcos-calico/pki", "var/calico", "bin", "etcd", "work"):
            (directory / name).mkdir(parents=True)
        (directory / "var/calico/nodename").write_text("10.0.0.1")
        (directory / "etc/dcos-calico/pki/etcd-password").write_text("pl4nted-secret\n")
        self.units: dict[str, tuple[str, str]] = {"dcos-calico-felix.service": ("active", "running")}
        self.unwanted: tuple[str, ...] = ("dcos-calico-confd.service", "dcos-calico-bird.service")
        self.plant: list[str] = list(INTERFACES)
        self.has_etcd = True
        self._numbers = itertools.count()
        (directory / "journal").write_text("felix says password=0ther-secret and pl4nted-secret\n")
        self.program("systemctl", f"[[ $1 != show ]] || cat {directory}/units")
        self.program("journalctl", f"cat {directory}/journal")

    def program(self, name: str, body: str) -> None:
        """Put a program first in PATH."""
        path = self.directory / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def calicoctl(self, *words: str) -> str:
        """A line of shell that runs calicoctl on the node."""
        return " ".join([sys.executable, str(EXTRA / "run.py"), "calico.calicoctl.cli", *words])

    def python(self, text: str, before: str = "") -> str:
        """A line of shell that runs Calico's modules."""
        path = self.directory / f"program-{next(self._numbers)}.py"
        path.write_text(text)
        return f"{before} PYTHONPATH={EXTRA} {sys.executable} {path}"

    def pool(self, cidr: str = "172.29.0.0/24", vxlan: str = "Always") -> str:
        """A line of shell that makes a pool."""
        path = self.directory / "pool.yaml"
        path.write_text(POOL.format(cidr=cidr, vxlan=vxlan))
        return self.calicoctl("apply", "-f", str(path))

    def run(self, *words: str) -> "Diags":
        """Plant, collect."""
        d = self.directory
        units = {**dict.fromkeys(self.unwanted, ("inactive", "dead")), **self.units}
        shown = [
            UNIT.format(name=name, state=state, sub=sub, condition="no" if name in self.unwanted else "yes")
            for name, (state, sub) in units.items()
        ]
        (d / "units").write_text("\n".join(shown))
        etcd = [
            f"{program('etcd')} --data-dir {d}/etcd/data >{d}/etcd/log 2>&1 & etcd=$!",
            f"until ETCDCTL_API=3 {program('etcdctl')} endpoint health &>/dev/null; do sleep 0.1; done",
        ]
        diags = self.calicoctl("node", "diags", "-o", f"{d}/diags.tar.gz", "--html", f"{d}/diags.html", *words)
        lines = [
            "set -e",
            f"mount -t overlay overlay -o lowerdir=/etc,upperdir={d}/etc,workdir={d}/work /etc",
            f"mount --bind {d}/opt /opt",
            f"mount --bind {d}/var /var/lib",
            "mount -t tmpfs -o size=1m tmpfs /run",
            "ip link set lo up",
            f"export PATH={d}/bin:$PATH:/usr/sbin:/sbin ETCD_ENDPOINTS=http://127.0.0.1:2379",
            *(etcd if self.has_etcd else []),
            *(line if line.startswith("coproc") else f"{line} >&2" for line in self.plant),
            f"status=0; {diags} || status=$?",
            "for each in ${etcd:-} ${daemon:-}; do kill $each; wait $each || true; done",
            "exit $status",
        ]
        command = ["unshare", "--mount", "--net", "--propagation", "private", "bash", "-c", "\n".join(lines)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return Diags(done.returncode, done.stdout, done.stderr, d)


class Diags:
    """What came of it."""

    def __init__(self, status: int, analysis: str, errors: str, directory: Path) -> None:
        self.status, self.analysis, self.errors, self.directory = status, analysis, errors, directory

    @property
    def rules(self) -> set[str]:
        """The names of what looks wrong."""
        return {line.rpartition("[")[2].rstrip("]") for line in self.analysis.splitlines() if line[:1].isdigit()}

    @property
    def files(self) -> dict[str, str]:
        """The archive's contents."""
        with tarfile.open(self.directory / "diags.tar.gz") as archive:
            opened = {member.name: archive.extractfile(member) for member in archive.getmembers()}
            texts = {name: file.read().decode() for name, file in opened.items() if file}
        return {name.removeprefix("calico-diags/"): text for name, text in texts.items()}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_node_without_faults_has_none_named_and_keeps_its_secrets(node: Node) -> None:
    node.plant += [node.pool(), node.python(REPORT)]
    done = node.run()
    assert done.status == 0, done.analysis + done.errors
    assert done.rules == set()
    files = done.files
    assert {
        "analysis.txt",
        "units.txt",
        "nft.txt",
        "disks.txt",
        "bgp.txt",
        "ipam/check.txt",
        "felix-reports.txt",
    } <= set(files)
    assert {"network/interfaces.txt", "network/routes.txt", "network/vxlan.txt", "resources/ippool.json"} <= set(files)
    assert "vxlan.calico" in files["network/interfaces.txt"]
    everything = "".join(files.values()) + done.analysis + (node.directory / "diags.html").read_text()
    for secret in ("pl4nted-secret", "0ther-secret", "st4tus-secret"):
        assert secret not in everything


def test_etcd_down(node: Node) -> None:
    node.has_etcd = False
    done = node.run()
    assert done.status == 1
    assert "etcd-down" in done.rules
    assert "http://127.0.0.1:2379" in done.analysis
    assert "network/interfaces.txt" in done.files, "the rest is collected all the same"


def test_bird_down(node: Node) -> None:
    (node.directory / "opt/mesosphere/etc/calico/bird_enabled").touch()
    node.units["dcos-calico-bird.service"] = ("failed", "failed")
    node.unwanted = ()
    node.plant += [node.pool(vxlan="Never"), node.python(REPORT)]
    done = node.run()
    assert done.rules == {"bird-down", "unit-down"}


def test_a_full_pool_and_leaked_addresses(node: Node) -> None:
    node.plant += [node.pool("172.29.0.0/29"), node.python(ALLOCATE.format(count=8)), node.python(REPORT)]
    done = node.run()
    assert done.rules == {"pool-full", "leaked-addresses"}
    assert "8 of 8 addresses of 172.29.0.0/29" in done.analysis
    assert "gone-0" in done.analysis


def test_an_mtu_that_does_not_fit(node: Node) -> None:
    node.plant += ["ip link set eth0 mtu 1400", node.pool(), node.python(REPORT)]
    done = node.run()
    assert done.rules == {"mtu-mismatch"}
    assert "vxlan.calico: MTU 1450; eth0: MTU 1400" in done.analysis


def test_another_firewalls_drop_policy(node: Node) -> None:
    rules = "table inet office { chain f { type filter hook forward priority 0; policy drop; }; }"
    node.plant += [f"nft '{rules}'", node.pool(), node.python(REPORT)]
    done = node.run()
    assert done.rules == {"foreign-drop"}
    assert "table inet office chain f" in done.analysis


def faked(node: Node, text: str) -> str:
    """A line of shell that runs a program of Calico's two hours ahead."""
    (library,) = debian.unpacked("libfaketime").rglob("libfaketime.so.1")
    return node.python(text, f"FAKETIME=+2h FAKETIME_DONT_FAKE_MONOTONIC=1 LD_PRELOAD={library}")


def test_a_daemons_clock_that_is_off(node: Node) -> None:
    """What serves felix' figures tells its own clock with them."""
    serves = f"coproc {{ {faked(node, DAEMON)}; }}; read -r _ <&${{COPROC[0]}}; daemon=$COPROC_PID"
    node.plant += [node.pool(), serves, "export http_proxy=http://127.0.0.1:9"]
    done = node.run()
    assert done.rules == {"clock-off"}
    assert "the clock of felix on this node is 7" in done.analysis and "s ahead" in done.analysis


def test_a_clock_that_is_off_as_reported_in_etcd(node: Node) -> None:
    node.plant += [node.pool(), faked(node, REPORT)]
    done = node.run()
    assert done.rules == {"clock-off"}
    assert "the clock of felix on 10.0.0.1" in done.analysis and "s ahead" in done.analysis


def test_a_full_disk(node: Node) -> None:
    node.plant += [node.pool(), node.python(REPORT), "{ dd if=/dev/zero of=/run/fill bs=4k || true; } 2>/dev/null"]
    done = node.run()
    assert done.rules == {"disk-full"}
    assert "MiB free at /run" in done.analysis


def test_a_daemon_that_is_down_and_programs_that_hang(node: Node) -> None:
    node.units["dcos-calico-felix.service"] = ("failed", "failed")
    node.program("journalctl", "sleep 60")
    node.plant += [node.pool()]
    begin = time.monotonic()
    done = node.run("--timeout", "8")
    assert "unit-down" in done.rules
    assert "logs: " in done.analysis, "what was not read is told"
    assert time.monotonic() - begin < 60


def test_only_the_analysis(node: Node) -> None:
    done = node.run("--analysis", "--timeout", "30")
    assert not (node.directory / "diags.tar.gz").exists()
    assert done.analysis.startswith("dcos-calico diagnostics of 10.0.0.1")
