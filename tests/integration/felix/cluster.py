"""A cluster in namespaces: hosts that each run felix, workloads behind them, a router between two subnets, one etcd.

    10.99.0.0/24 ── h1, h2, outside      (outside is a host that is no Calico node)
         │ router (.254), etcd
    10.99.1.0/24 ── h3

A host is a network namespace with eth0 and a felix process; a workload a namespace with a veth to its host, as a CNI
plugin leaves it, and its WorkloadEndpoint in etcd. What a test writes is applied when `settle` returns.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from calico.client.errors import NotFoundError
from calico.client.resources import Client
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import put, remove
from calico.felix import live
from calico.model import ipam
from calico.model.keys import BlockKey
from calico.model.resource import decode
from tests.integration.felix.prober import Party, Prober
from tests.integration.felix.spaces import Space, run
from tests.servers.etcd import Cluster as EtcdCluster
from tests.servers.etcd import Place

ROOT = Path(__file__).resolve().parents[3]
MODULES = ROOT / "packages/calico/extra"
ETCD = "10.99.0.254"
SUBNETS = {"h1": 0, "h2": 0, "outside": 0, "h3": 1}
NUMBERS = {"h1": 1, "h2": 2, "h3": 3, "outside": 100}
DEADLINE = 60.0

_HOST_MAC = "ee:ee:ee:ee:ee:ee"
# The link-local address that the kernel makes of that MAC address: a workload's gateway for IPv6.
_GATEWAY6 = "fe80::ecee:eeff:feee:eeee"


class Host:
    """A host of the cluster. `start` and `stop` are its felix's; `environment` adds FELIX_* variables."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name, self.number = name, NUMBERS[name]
        self.subnet = SUBNETS[name]
        self.address = f"10.99.{self.subnet}.{self.number}"
        self.address6 = f"fd99:{self.subnet}::{self.number}"
        self.directory = directory / name
        self.directory.mkdir()
        self.log = directory / f"{name}.log"
        self.space = Space(name)
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        """The command line of a calico-felix inside."""
        program = [
            sys.executable,
            str(MODULES / "run.py"),
            "calico.felix.cli",
            f"--config-file={self.directory}/felix.cfg",
            *arguments,
        ]
        return self.space.command("setpriv", "--pdeathsig", "KILL", *program)

    def variables(self) -> dict[str, str]:
        """The environment of a calico-felix inside."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("FELIX_", "ETCD_", "CALICO_"))
        }
        return {
            **kept,
            "PYTHONPATH": str(MODULES),
            "ETCD_ENDPOINTS": f"http://{ETCD}:2379",
            "RUNTIME_DIRECTORY": str(self.directory),
            "NODENAME": self.name,
            "FELIX_VXLANPORT": "64000",
            "FELIX_VXLANMTU": "1450",
            "FELIX_DEFAULTENDPOINTTOHOSTACTION": "Return",
            **self.environment,
        }

    def start(self) -> None:
        """Start felix; it is not waited for."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=self.variables())

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End felix; its exit status."""
        if self.process is None:
            return 0
        # nsenter and setpriv have become the program: the process is felix itself.
        self.process.send_signal(number)
        status = self.process.wait(DEADLINE)
        self.process = None
        return status

    def kill(self) -> None:
        """End felix as a crash would."""
        self.stop(signal.SIGKILL)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run calico-felix with arguments to its end."""
        command, environment = self.command(*arguments), self.variables()
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE)

    def ask(self, **question: Any) -> Any:
        """Ask the running felix."""
        return live.ask(self.directory / live.SOCKET, question, DEADLINE)

    def metrics(self, port: int = 9091) -> dict[str, float]:
        """Its figures, by name with labels."""

        def read() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())

        lines = [line.rpartition(" ") for line in self.space.call(read).splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def wait(self, revision: int, timeout: float = DEADLINE) -> None:
        """Return when felix has applied `revision`; raise TimeoutError with its log when not."""
        until = time.monotonic() + timeout
        said: Any = ""
        while time.monotonic() < until:
            with contextlib.suppress(OSError, ValueError):
                said = self.ask(ask="applied", revision=revision, timeout=2)
                if said["applied"]:
                    return
            if self.process is not None and (status := self.process.poll()) is not None:
                raise RuntimeError(f"felix of {self.name} ended with {status}:\n{self.tail()}")
            time.sleep(0.02)
        raise TimeoutError(f"felix of {self.name} has not applied revision {revision}: {said}\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


class FelixCluster:
    """Hosts by name, and everything that tests do with them. `close` takes it all away."""

    def __init__(self, directory: Path, hosts: Iterable[str] = ("h1", "h2", "h3")) -> None:
        self.directory = directory
        self.prober = Prober()
        self.revision = 0
        self._workloads: dict[str, tuple[Space, Host, str]] = {}
        self._stack = contextlib.ExitStack()
        try:
            self._build(tuple(hosts))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop and remove everything."""
        self._stack.close()

    def __enter__(self) -> "FelixCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- building --------------------------------------------------------------------------------------------------

    def _build(self, hosts: tuple[str, ...]) -> None:
        self._stack.callback(self.prober.close)
        self.router = self._space("router")
        lines = []
        for subnet in (0, 1):
            lines += [
                f"link add br{subnet} type bridge",
                f"addr add 10.99.{subnet}.254/24 dev br{subnet}",
                f"addr add fd99:{subnet}::254/64 dev br{subnet} nodad",
                f"link set br{subnet} up",
            ]
        self.router.batch(lines)
        self.router.call(_sysctls, {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"})
        self.hosts = {name: self._host(name) for name in hosts}
        self.outside = self._host("outside")
        self.etcd = EtcdCluster(self.directory, [Place(ETCD, tuple(self.router.command()))])
        self._stack.callback(self.etcd.stop)
        self.etcd.start()
        self._open_store()

    def _open_store(self) -> None:
        def open_() -> Etcd:
            return Etcd(EtcdSettings((f"http://{ETCD}:2379",)))

        self.store = self.router.call(open_)
        self._stack.callback(lambda: self.router.call(self.store.close))
        self.client = Client(self.store)

    def _space(self, name: str) -> Space:
        made = Space(name)
        self._stack.callback(made.remove)
        return made

    def _host(self, name: str) -> Host:
        host = Host(name, self.directory)
        self._stack.callback(host.space.remove)
        self._stack.callback(host.kill)
        wire = f"to-{name}"
        host.space.call(_sysctls, {"ipv6/conf/all/forwarding": "1", "ipv6/conf/default/accept_dad": "0"})
        host.space.batch([f"link add eth0 type veth peer name {wire} netns {self.router.name}"])
        self.router.batch([f"link set {wire} master br{host.subnet}", f"link set {wire} up"])
        host.space.batch(
            [
                f"addr add {host.address}/24 dev eth0",
                f"addr add {host.address6}/64 dev eth0 nodad",
                "link set eth0 up",
                f"route add default via 10.99.{host.subnet}.254",
                f"route add default via fd99:{host.subnet}::254",
            ]
        )
        self.prober.parties[name] = Party(host.space, host.address, host.address6)
        return host

    # -- the datastore ---------------------------------------------------------------------------------------------

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Create or replace resources, given as in YAML; `apiVersion` may be left out."""

        def work() -> None:
            for document in documents:
                applied = self.client.apply(decode({"apiVersion": "projectcalico.org/v3", **document}))
                self.revision = max(self.revision, int(applied.resource.metadata.resource_version))

        self.router.call(work)
        self._look()

    def delete(self, kind: str, *names: str, namespace: str = "") -> None:
        """Delete resources; those that are not there are no error."""

        def work() -> None:
            for name in names:
                with contextlib.suppress(NotFoundError):
                    self.client.delete(kind, name, namespace)

        self.router.call(work)
        self._look()

    def clear(self, *kinds: str, namespace: str = "") -> None:
        """Delete every resource of some kinds (in a namespace)."""
        for kind in kinds:
            found = self.router.call(self.client.list, kind, namespace)
            for one in found.items:
                self.delete(kind, one.metadata.name, namespace=one.metadata.namespace)

    def put(self, key: str, value: bytes) -> None:
        """Write a key as it is."""
        self.revision = max(self.revision, self.router.call(put, self.store, key, value))

    def drop(self, key: str) -> None:
        """Delete a key, whatever stands there."""
        self.revision = max(self.revision, self.router.call(remove, self.store, key).revision)

    def _look(self) -> None:
        """Side effects and deletions have revisions, too."""
        found = self.router.call(self.store.get, "/calico/")
        self.revision = max(self.revision, found.revision)

    def settle(self, *names: str, timeout: float = DEADLINE) -> None:
        """Return when the felixes that run (or those of `names`) have applied everything written here."""
        for host in self.hosts.values():
            if (host.name in names) if names else host.process is not None:
                host.wait(self.revision, timeout)

    # -- what a cluster has ----------------------------------------------------------------------------------------

    def ready(self, **felix: Any) -> None:
        """The records that felix waits for; `felix` are members of FelixConfiguration default."""
        self.apply(
            {
                "kind": "ClusterInformation",
                "metadata": {"name": "default"},
                "spec": {"datastoreReady": True, "clusterGUID": "0" * 32},
            },
            {
                "kind": "FelixConfiguration",
                "metadata": {"name": "default"},
                "spec": {"reportingInterval": "0s", **felix},
            },
        )

    def node(self, name: str, tunnel: str = "", address: str | None = None, **spec: Any) -> None:
        """A node's resource: its address on eth0 (or `address`, empty: none), and its VXLAN tunnel's."""
        host = self.hosts.get(name)
        text = address if address is not None else f"{host.address}/24" if host else ""
        bgp = {"bgp": {"ipv4Address": text}} if text else {}
        if tunnel:
            spec["ipv4VXLANTunnelAddr"] = tunnel
        self.apply({"kind": "Node", "metadata": {"name": name}, "spec": {**bgp, **spec}})

    def pool(self, name: str, cidr: str, vxlan: str = "Never", ipip: str = "Never", nat: bool = False) -> None:
        """An IP pool."""
        spec: dict[str, Any] = {"cidr": cidr, "natOutgoing": nat}
        if ":" not in cidr:
            spec |= {"vxlanMode": vxlan, "ipipMode": ipip, "blockSize": 26}
        self.apply({"kind": "IPPool", "metadata": {"name": name}, "spec": spec})

    def block(self, cidr: str, owner: str, borrowed: Mapping[int, str] | None = None) -> None:
        """An allocation block of /26 of a node, with addresses (by ordinal) that other nodes borrowed."""
        borrowers = sorted(set((borrowed or {}).values()))
        attributes = [ipam.AllocationAttribute("handle", {"node": node}) for node in borrowers]
        slots = {ordinal: borrowers.index(node) for ordinal, node in (borrowed or {}).items()}
        block = ipam.Block(
            cidr,
            f"host:{owner}" if owner else None,
            tuple(slots.get(ordinal) for ordinal in range(64)),
            tuple(ordinal for ordinal in range(64) if ordinal not in slots),
            tuple(attributes),
        )
        self.put(BlockKey(cidr).path, json.dumps(ipam.BLOCK.encode(block)).encode())

    def vxlan(self, mode: str = "Always") -> None:
        """A pool 10.65.0.0/16 over VXLAN, and a block with the tunnel address for each host: 10.65.<number>.0/26."""
        self.pool("vxlan", "10.65.0.0/16", vxlan=mode)
        for host in self.hosts.values():
            self.node(host.name, f"10.65.{host.number}.63")
            self.block(f"10.65.{host.number}.0/26", host.name)

    # -- workloads -------------------------------------------------------------------------------------------------

    def workload(
        self,
        name: str,
        host: str,
        *addresses: str,
        labels: Mapping[str, str] | None = None,
        profiles: Sequence[str] = ("projectcalico-default-allow",),
        namespace: str = "default",
        stored: bool = True,
        **spec: Any,
    ) -> Space:
        """A workload's namespace with eth0 and addresses, its veth `cali<name>` on the host, and its resource.

        `spec` are further members of the resource's, as `ports` and `ipNATs`. Not `stored`: felix does not know it.
        """
        interface, at = f"cali{name}", self.hosts[host]
        space = self._space(f"w-{name}")
        space.call(_sysctls, {"ipv6/conf/default/accept_dad": "0"})
        at.space.batch(
            [
                f"link add {interface} address {_HOST_MAC} type veth peer name eth0 netns {space.name}",
                f"link set {interface} up",
            ]
        )
        four = [one for one in addresses if ":" not in one]
        six = [one for one in addresses if ":" in one]
        space.batch(
            [
                "link set eth0 up",
                *(f"addr add {one}/32 dev eth0" for one in four),
                *(f"addr add {one}/128 dev eth0 nodad" for one in six),
                "route add 169.254.1.1 dev eth0 scope link",
                "route add default via 169.254.1.1",
                f"route add default via {_GATEWAY6} dev eth0",
            ]
        )
        self.prober.parties[name] = Party(space, *(found[0] if found else "" for found in (four, six)))
        self._workloads[name] = (space, at, interface)
        if stored:
            self.store_workload(name, *addresses, labels=labels, profiles=profiles, namespace=namespace, **spec)
        return space

    def store_workload(
        self,
        name: str,
        *addresses: str,
        labels: Mapping[str, str] | None = None,
        profiles: Sequence[str] = ("projectcalico-default-allow",),
        namespace: str = "default",
        **spec: Any,
    ) -> None:
        """Write (again) the resource of a workload."""
        _, host, interface = self._workloads[name]
        self.apply(
            {
                "kind": "WorkloadEndpoint",
                "metadata": {
                    "name": self.endpoint_name(name),
                    "namespace": namespace,
                    "labels": dict(labels or {}),
                },
                "spec": {
                    "node": host.name,
                    "orchestrator": "cni",
                    "containerID": name,
                    "endpoint": "eth0",
                    "interfaceName": interface,
                    "ipNetworks": [f"{one}/{128 if ':' in one else 32}" for one in addresses],
                    "profiles": list(profiles),
                    **spec,
                },
            }
        )

    def endpoint_name(self, name: str) -> str:
        """The name of a workload's resource."""
        return f"{self._workloads[name][1].name}-cni-{name}-eth0"

    def remove_workload(self, name: str, namespace: str = "default") -> None:
        """A workload goes: its resource and its interface."""
        self.delete("WorkloadEndpoint", self.endpoint_name(name), namespace=namespace)
        _, host, interface = self._workloads.pop(name)
        self.prober.forget(name)
        host.space.ip("link", "del", interface, check=False)


def _sysctls(settings: Mapping[str, str]) -> None:
    for path, value in settings.items():
        Path(f"/proc/sys/net/{path}").write_text(value)


def dumps(host: Host) -> str:
    """Everything that felix may change on a host, as text to compare: links, addresses, routes, rules, settings."""
    parts = [host.space.ip(*words.split()) for words in ("-d link", "addr", "route show table all", "-6 route show")]
    parts.append(run(*host.space.command("nft", "list", "ruleset")))
    parts.append(run(*host.space.command("sysctl", "-a", "-r", r"^net\.ipv[46]\.(conf|neigh)\.")))
    return "\n".join(parts)
