"""Hosts and workloads as network namespaces, and nodes on them: a real BIRD and the confd that configures it.

Everything is inside namespaces named after this process; what a killed run left is removed by the next one.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from calico.confd.cluster import DEFAULT_AS
from calico.confd.daemon import Confd, Options
from calico.confd.plan import Settings
from calico.datastore.memory import MemoryStore
from calico.datastore.store import Delete, Put
from calico.model.keys import AffinityKey, ResourceKey
from tests.servers.bird import Bird, wait_for

_TAG = "bgp"
SUBNET = "10.80.0"
_PACKETS = Path(__file__).with_name("packets.py")


def run(*command: str, check: bool = True) -> str:
    """A program's output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def sweep() -> None:
    """Remove the namespaces of runs that are no more, with what still runs in them."""
    for path in Path("/run/netns").glob(f"{_TAG}-*-*"):
        owner = path.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            for pid in run("ip", "netns", "pids", path.name, check=False).split():
                os.kill(int(pid), signal.SIGKILL)
            run("ip", "netns", "delete", path.name, check=False)


class Site:
    """A bridge, the hosts on it (`10.80.0.<n>`, `fd80::<n>`) and their workloads. `remove` takes all of it away."""

    def __init__(self) -> None:
        sweep()
        self._spaces: list[str] = []
        self._echoes: list[subprocess.Popen[bytes]] = []
        self._bridge = self._space("br")
        run("ip", "-n", self._bridge, "link", "add", "name", "br0", "type", "bridge")
        run("ip", "-n", self._bridge, "link", "set", "br0", "up")

    def _space(self, name: str) -> str:
        space = f"{_TAG}-{os.getpid()}-{name}"
        run("ip", "netns", "add", space)
        self._spaces.append(space)
        run("ip", "-n", space, "link", "set", "lo", "up")
        return space

    def namespace(self, name: str) -> str:
        """The namespace of a host or workload."""
        return f"{_TAG}-{os.getpid()}-{name}"

    def ip(self, name: str, *words: str) -> str:
        """What iproute2 says there."""
        return run("ip", "-n", self.namespace(name), *words)

    def prefix(self, name: str) -> tuple[str, ...]:
        """The words that run a command there."""
        return ("ip", "netns", "exec", self.namespace(name))

    def add_host(self, name: str, number: int) -> None:
        """A host that forwards."""
        space = self._space(name)
        run("ip", "-n", space, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", self._bridge)
        run("ip", "-n", self._bridge, "link", "set", "dev", name, "master", "br0", "up")
        run("ip", "-n", space, "address", "add", f"{SUBNET}.{number}/24", "dev", "eth0")
        run("ip", "-n", space, "address", "add", f"fd80::{number:x}/64", "dev", "eth0", "nodad")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        # As every host has one. It also makes the host answer its workloads for 169.254.1.1.
        run("ip", "-n", space, "route", "add", "default", "via", f"{SUBNET}.254")
        self._sysctl(name, "net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1")

    def add_workload(self, host: str, name: str, address: str) -> None:
        """A container of `host` with `address`, as felix and the CNI plugin connect one."""
        space, at = self._space(name), self.namespace(host)
        interface = f"cali{name}"
        run("ip", "-n", at, "link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "-n", at, "link", "set", "dev", interface, "up")
        conf = f"net/ipv4/conf/{interface}"
        self._sysctl(host, f"{conf}/proxy_arp=1", f"{conf}/forwarding=1", f"net/ipv4/neigh/{interface}/proxy_delay=0")
        run("ip", "-n", at, "route", "add", f"{address}/32", "dev", interface, "scope", "link", "proto", "boot")
        run("ip", "-n", space, "address", "add", f"{address}/32", "dev", "eth0")
        run("ip", "-n", space, "link", "set", "eth0", "up")
        run("ip", "-n", space, "route", "add", "169.254.1.1", "dev", "eth0", "scope", "link")
        run("ip", "-n", space, "route", "add", "default", "via", "169.254.1.1", "dev", "eth0")
        command = [*self.prefix(name), sys.executable, "-S", str(_PACKETS), "echo"]
        self._echoes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        pipe = self._echoes[-1].stdout
        assert pipe is not None
        assert pipe.readline() == b"listening\n"

    def remove_workload(self, host: str, name: str) -> None:
        """The container is gone."""
        run("ip", "-n", self.namespace(host), "link", "delete", f"cali{name}")

    def _sysctl(self, name: str, *settings: str) -> None:
        script = ";".join(f"echo {one.partition('=')[2]} >/proc/sys/{one.partition('=')[0]}" for one in settings)
        run(*self.prefix(name), "sh", "-c", script)

    def cut(self, host: str) -> None:
        """Pull a host's cable."""
        run("ip", "-n", self._bridge, "link", "set", "dev", host, "down")

    def heal(self, host: str) -> None:
        """Put it back."""
        run("ip", "-n", self._bridge, "link", "set", "dev", host, "up")

    def routes(self, host: str, *words: str) -> dict[str, str]:
        """The routes of a host: what stands behind each destination."""
        lines = (line.strip() for line in self.ip(host, "route", "show", *words).splitlines())
        pairs = (line.removeprefix("blackhole ").partition(" ") for line in lines if line)
        return {to: rest.strip() for to, _, rest in pairs}

    def reaches(self, workload: str, address: str) -> bool:
        """Whether an answer comes back from the workload at `address`."""
        with Flow(self, workload, address, 1) as flow:
            pass
        return flow.sent == 1 and not flow.lost

    def remove(self) -> None:
        """Take everything away; the nodes' processes must have ended."""
        for echo in self._echoes:
            echo.kill()
            echo.wait(20)
        for space in reversed(self._spaces):
            run("ip", "netns", "delete", space, check=False)


class Flow:
    """Ten packets a second from a workload to an address while the block runs, or `count`; each wants an answer."""

    def __init__(self, site: Site, workload: str, address: str, count: int = 1_000_000) -> None:
        self._command = [*site.prefix(workload), sys.executable, "-S", str(_PACKETS), "flow", address, str(count)]
        self.sent = 0
        self.lost: list[int] = []

    def __enter__(self) -> "Flow":
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        said, _nothing = self._process.communicate(b"", timeout=60)
        found = json.loads(said)
        self.sent, self.lost = found["sent"], found["lost"]


class Cluster:
    """A datastore in memory, and how tests write to it."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def put(self, kind: str, name: str, spec: dict[str, object], **labels: str) -> None:
        """Create or replace a resource."""
        document = {
            "kind": kind,
            "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
        }
        self.store.commit([], [Put(ResourceKey(kind, name).path, json.dumps(document).encode())])

    def delete(self, kind: str, name: str) -> None:
        """Delete a resource."""
        self.store.commit([], [Delete(ResourceKey(kind, name).path)])

    def put_node(self, name: str, number: int, as_number: int = DEFAULT_AS, rr: str = "", **labels: str) -> None:
        """A node of the site."""
        bgp: dict[str, object] = {"ipv4Address": f"{SUBNET}.{number}/24", "ipv6Address": f"fd80::{number:x}/64"}
        bgp |= {"asNumber": as_number} if as_number != DEFAULT_AS else {}
        bgp |= {"routeReflectorClusterID": rr} if rr else {}
        self.put("Node", name, {"bgp": bgp}, **labels)

    def claim(self, node: str, cidr: str, state: str = "confirmed") -> None:
        """A block of a node."""
        value = f'{{"state":"{state}","deleted":false}}'.encode()
        self.store.commit([], [Put(AffinityKey(node, cidr).path, value)])

    def release(self, node: str, cidr: str) -> None:
        """A node's block is its no more."""
        self.store.commit([], [Delete(AffinityKey(node, cidr).path)])


class Node:
    """A host with BIRD and confd on it."""

    def __init__(self, site: Site, cluster: Cluster, directory: Path, name: str) -> None:
        self.name, self.passwords = name, directory / "passwords"
        self.bird = Bird(directory / name, site.prefix(name))
        self._cluster = cluster
        settings = Settings(name)
        self._options = Options(
            settings, self.bird.program, str(self.bird.config), self.bird.socket, str(self.passwords)
        )
        self._confd: Confd | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> "Node":
        """Start confd and then BIRD, as an empty node does: BIRD with what gen renders until confd has written."""
        self.start_confd()
        wait_for(self.bird.config.exists, f"{self.name}'s configuration")
        self.bird.start()
        return self

    def start_confd(self) -> None:
        """Start confd alone."""
        self._confd = Confd(self._options, self._cluster.store)
        self._thread = threading.Thread(target=self._confd.run, name=f"confd-{self.name}")
        self._thread.start()

    @property
    def confd(self) -> Confd:
        """The running one."""
        assert self._confd is not None
        return self._confd

    def stop_confd(self) -> None:
        """End it."""
        if self._confd is not None and self._thread is not None:
            self._confd.stop()
            self._thread.join(20)
            assert not self._thread.is_alive()
            self._confd = None

    def stop(self) -> None:
        """End both."""
        self.stop_confd()
        self.bird.kill()

    def is_established(self, *names: str) -> bool:
        """Whether those sessions are up, or all where none is named."""
        sessions = self.bird.sessions()
        chosen = [sessions.get(name) for name in names] if names else list(sessions.values())
        return bool(chosen) and all(one is not None and one.is_established for one in chosen)

    def explain(self) -> str:
        """How its sessions are."""
        shown = "\n".join(f"{one.name} {one.state} {one.reason}" for one in self.bird.sessions().values())
        return f"{self.name}:\n{shown}\n{self.bird.log()}"


def wait_established(*nodes: Node) -> None:
    """Return when every session of `nodes` is up."""
    for node in nodes:
        wait_for(node.is_established, f"the sessions of {node.name}", node.explain, 90)
