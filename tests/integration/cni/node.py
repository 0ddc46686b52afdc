"""A node as a network namespace: etcd, the agent and the plugins run in it, containers are namespaces beside it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import Store, listing
from calico.netlink.namespaces import open_namespace, run_in
from tests.servers.etcd import Cluster, Place

ROOT = Path(__file__).resolve().parents[3]
EXTRA = ROOT / "packages/calico/extra"
CLIENT = EXTRA / "calico/cni/client.py"
DEADLINE = 30.0
T = TypeVar("T")


def ip(*words: str) -> str:
    """iproute2; its output. Raises CalledProcessError."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=20).stdout


def eventually(condition: Callable[[], T], what: str, seconds: float = DEADLINE) -> T:
    """The first true answer of `condition`, asked until the deadline."""
    until = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)
    return answer


class Done(NamedTuple):
    """How a plugin ended."""

    status: int
    output: str
    errors: str

    @property
    def document(self) -> Any:
        """What it printed."""
        return json.loads(self.output)

    @property
    def address(self) -> str:
        """The first address of a result in the shape of 0.2.0, or of a later one."""
        document = self.document
        return str(document["ip4"]["ip"] if "ip4" in document else document["ips"][0]["address"])


class Space:
    """A network namespace of this test run's; what an earlier run left under the name goes first."""

    def __init__(self, name: str, existing: str = "") -> None:
        self.name = existing or f"cnit-{os.getpid()}-{name}"
        self.path = f"/run/netns/{self.name}"
        if not existing:
            ip("netns", "add", self.name)
            ip("-n", self.name, "link", "set", "lo", "up")

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words that run a command there."""
        return ("ip", "netns", "exec", self.name)

    def ip(self, *words: str) -> str:
        """What iproute2 says there."""
        return ip("-n", self.name, *words)

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns when it runs there."""
        descriptor = open_namespace(self.path)
        try:
            return run_in(descriptor, work)
        finally:
            os.close(descriptor)

    def reaches(self, other: "Space", address: str) -> bool:
        """Whether a TCP connection from here comes to another namespace at an address of its."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listener = other.run(lambda: socket.create_server((address, 0), family=family))
        with listener:
            port = listener.getsockname()[1]
            try:
                self.run(lambda: socket.create_connection((address, port), 5)).close()
            except OSError:
                return False
        return True

    def remove(self) -> None:
        """Remove it, if it is there."""
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True, check=False, timeout=20)


def sweep() -> None:
    """Remove the namespaces of runs that ended without doing so."""
    for name in re.findall(r"^(cnit-(\d+)-\S+)", ip("netns", "list"), re.MULTILINE):
        if not Path(f"/proc/{name[1]}").exists():
            subprocess.run(["ip", "netns", "delete", name[0]], capture_output=True, check=False, timeout=20)


def _uplink(space: Space, address: str) -> None:
    """An interface to nowhere, and no default route: containers must not need one."""
    space.ip("link", "add", "eth0", "type", "veth", "peer", "name", "wire")
    space.ip("link", "set", "wire", "up")
    space.ip("link", "set", "eth0", "up")
    space.ip("address", "add", f"{address}/24", "dev", "eth0")


class Node:
    """A node of its own, with an etcd on its loopback."""

    def __init__(self, directory: Path, name: str = "10.0.0.5", space: Space | None = None, url: str = "") -> None:
        self.name, self.directory = name, directory
        self.space = space or Space(f"node-{name}")
        if not url:  # a second node of the namespace finds it prepared
            _uplink(self.space, name)
        self.cluster: Cluster | None = None
        self.state = directory / "state"
        self.socket = directory / "cni.sock"
        self.plugins = directory / "plugins"
        self.bundle = directory / "bundle"
        self.url = url
        self.agent: subprocess.Popen[bytes] | None = None
        self._containers: list[Space] = []
        directory.mkdir(parents=True, exist_ok=True)
        self._install_plugins()

    # -- what runs on it -------------------------------------------------------------------------------------------

    def start_etcd(self) -> Cluster:
        """An etcd in the node's namespace, which only the node reaches."""
        place = Place("127.0.0.1", self.space.prefix)
        home = self.directory / "etcd"
        home.mkdir()
        self.cluster = Cluster(home, [place]).start()
        self.url = self.cluster.urls[0]
        return self.cluster

    def environment(self, **more: str) -> dict[str, str]:
        """What calico-node.env and calico-node-datastore.env hold."""
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(EXTRA),
            "ETCD_ENDPOINTS": self.url,
            "NODENAME": self.name,
            "IP": self.name,
            "NO_DEFAULT_POOLS": "false",
            "CALICO_IPV4POOL_CIDR": "172.29.0.0/16",
            "CALICO_IPV4POOL_NAT_OUTGOING": "true",
            "CALICO_IPV4POOL_IPIP": "never",
            "CALICO_IPV4POOL_VXLAN": "always",
            "CALICO_NETWORKING_BACKEND": "vxlan",
            "FELIX_IPV6SUPPORT": "false",
            "CALICO_CNI_SOCKET": str(self.socket),
            "CALICO_NODENAME_FILE": str(self.state / "nodename"),
            **more,
        }

    def start_up(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One run of start-up, and of the tunnels' addresses where `words` say so."""
        command = [*self.space.prefix, sys.executable, "-m", "calico.node.agent", "-startup", *words]
        return subprocess.run(
            [*command, "--state", str(self.state)],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def start_agent(self, **more: str) -> None:
        """The agent; returns when it listens."""
        self.bundle.mkdir(exist_ok=True)
        delegate = {name: value for name, value in self.conf().items() if name != "name"}
        document = {"name": "calico", "type": "mesos-cni-port-mapper", "chain": "M-CALICO", "delegate": delegate}
        (self.bundle / "calico.conf").write_text(json.dumps(document))
        command = [*self.space.prefix, "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "calico.node.agent"]
        with (self.directory / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(
                [*command, "--state", str(self.state), "--networks", str(self.bundle)],
                env=self.environment(**more),
                stdout=log,
                stderr=log,
            )
        eventually(self.socket.exists, "the agent listens")

    def stop_agent(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the agent; how it ended."""
        assert self.agent is not None
        self.agent.send_signal(number)
        status = self.agent.wait(DEADLINE)
        self.agent = None
        if number == signal.SIGKILL:
            self.socket.unlink(missing_ok=True)  # so that `start_agent` can wait for the next
        return status

    def log(self) -> str:
        """What the agent logged."""
        return (self.directory / "agent.log").read_text()

    # -- what it holds ---------------------------------------------------------------------------------------------

    def with_store(self, work: Callable[[Store], T]) -> T:
        """What `work` returns when it is given the node's datastore."""

        def there() -> T:
            store = Etcd(EtcdSettings((self.url,), timeout=5))
            try:
                return work(store)
            finally:
                store.close()

        return self.space.run(there)

    def documents(self, prefix: str = "/calico/") -> dict[str, Any]:
        """The JSON values under a prefix of keys."""
        return self.with_store(
            lambda store: {
                item.key.removeprefix(prefix): json.loads(item.value) for item in listing(store, prefix).items
            }
        )

    def endpoints(self) -> dict[str, Any]:
        """The workload endpoints by name."""
        return self.documents("/calico/resources/v3/projectcalico.org/workloadendpoints/default/")

    def handles(self) -> set[str]:
        """The handles of workloads."""
        return {one for one in self.documents("/calico/ipam/v2/handle/") if "tunnel-addr" not in one}

    def interfaces(self) -> set[str]:
        """The host's ends of containers' interfaces."""
        return {one["ifname"] for one in json.loads(self.space.ip("-j", "link")) if one["ifname"].startswith("cali")}

    def routes(self) -> set[str]:
        """Where the host's routes to containers lead."""
        return {one["dst"] for one in json.loads(self.space.ip("-j", "route")) if one["dev"].startswith("cali")}

    # -- calling plugins -------------------------------------------------------------------------------------------

    def container(self, name: str) -> Space:
        """A container's namespace."""
        made = Space(name)
        self._containers.append(made)
        return made

    def conf(self, **more: Any) -> dict[str, Any]:
        """A network configuration as DC/OS' delegate has it."""
        return {
            "cniVersion": "0.3.1",
            "name": "calico",
            "type": "calico",
            "mtu": 1450,
            "etcd_endpoints": self.url,
            "ipam": {"type": "calico-ipam"},
            **more,
        }

    def call(
        self,
        command: str,
        container: str,
        namespace: str,
        conf: Mapping[str, Any] | None = None,
        plugin: str = "calico",
        interface: str = "eth0",
        **environment: str,
    ) -> Done:
        """One call of a plugin, as a runtime makes it."""
        process = self.begin(command, container, namespace, conf, plugin, interface, **environment)
        output, errors = process.communicate(timeout=120)
        return Done(process.returncode, output, errors)

    def begin(
        self,
        command: str,
        container: str,
        namespace: str,
        conf: Mapping[str, Any] | None = None,
        plugin: str = "calico",
        interface: str = "eth0",
        **environment: str,
    ) -> subprocess.Popen[str]:
        """A call that is not waited for."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*self.space.prefix, str(self.plugins / plugin)],
            env={
                "PATH": os.environ["PATH"],
                "CNI_COMMAND": command,
                "CNI_CONTAINERID": container,
                "CNI_NETNS": namespace,
                "CNI_IFNAME": interface,
                "CNI_PATH": str(self.plugins),
                **environment,
            },
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps(conf or self.conf()))
        process.stdin.close()
        process.stdin = None
        return process

    def _install_plugins(self) -> None:
        """The plugins, which find this node's socket and name; and Mesos' port mapper's stand-in."""
        self.plugins.mkdir(exist_ok=True)
        paths = f"CALICO_CNI_SOCKET={self.socket} CALICO_NODENAME_FILE={self.state}/nodename"
        for plugin in ("calico", "calico-ipam"):
            self._program(plugin, f"{paths} exec {sys.executable} -I {CLIENT} {plugin}")
        # The lab's stand-in, with an iptables that only writes down what it was asked for.
        mapper = f"PATH={self.plugins}:$PATH exec {sys.executable} -I {ROOT}/lab/node/portmapper.py"
        self._program("mesos-cni-port-mapper", mapper)
        self._program("iptables", f'echo "$*" >>{self.plugins}/iptables.log')

    def _program(self, name: str, line: str) -> None:
        path = self.plugins / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def remove(self) -> None:
        """End everything and remove every namespace."""
        if self.agent is not None:
            self.agent.kill()
            self.agent.wait(DEADLINE)
        if self.cluster is not None:
            self.cluster.stop()
        for space in (*self._containers, self.space):
            space.remove()
