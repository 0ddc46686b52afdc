"""An agent of a cluster: a host with Docker's engine and our plugin on it, over an etcd that the test has outside.

What felix does for a container is done by `route`, so that these tests judge the plugin alone.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from calico.client.resources import Client
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.ipam.allocator import Ipam
from calico.ipam.check import Report, Use, check
from calico.ipam.snapshot import take_snapshot
from calico.model.ippool import IPPoolSpec
from calico.model.metadata import Metadata
from calico.model.node import NodeSpec
from calico.model.profile import ProfileSpec
from calico.model.resource import Resource
from calico.model.rule import Rule
from tests.servers.docker import Engine, Host, wait_for
from tests.servers.etcd import Cluster
from tests.servers.forward import Forward

_EXTRA = Path(__file__).resolve().parents[2] / "packages/calico/extra"
POOL, POOL_V6 = "172.29.0.0/16", "fd80:1::/112"
GRACE = 4.0
"""Seconds until the plugin takes back what it sees unused."""

_ASK = """
import socket
handle = socket.socket(socket.AF_UNIX)
handle.connect({path!r})
body = {body!r}.encode()
handle.sendall(b"POST /{call} HTTP/1.0\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
print(handle.makefile("rb").read().partition(b"\\r\\n\\r\\n")[2].decode())
"""


class World:
    """The cluster's datastore as a test looks at it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.store = Etcd(EtcdSettings(tuple(cluster.urls)))
        self.client = Client(self.store, Ipam(self.store))

    def add_pool(self, name: str, cidr: str, block_size: int = 0) -> None:
        """A pool."""
        self.client.create(Resource("IPPool", Metadata(name), IPPoolSpec(cidr=cidr, block_size=block_size)))

    def add_node(self, name: str) -> None:
        """A node, as dcos-calico-node makes it."""
        self.client.create(Resource("Node", Metadata(name), NodeSpec()))

    def add_default(self) -> None:
        """What dcos-calico-node gives a new cluster: the pool and the profile."""
        self.add_pool("default-ipv4-ippool", POOL)
        spec = ProfileSpec((Rule("Allow"),), (Rule("Allow"),), {"calico": ""})
        self.client.create(Resource("Profile", Metadata("calico"), spec))

    def report(self) -> Report:
        """What `ipam check` says."""
        return check(take_snapshot(self.store))

    def endpoints(self, node: str) -> dict[str, Any]:
        """A node's WorkloadEndpoints by the engine's id."""
        found = self.client.list("WorkloadEndpoint", "default").items
        return {one.spec.endpoint: one for one in found if one.spec.node == node}

    def close(self) -> None:
        """Give back the connections."""
        self.store.close()


class Agent:
    """A host, its engine and its plugin. Its name in the cluster is `name`."""

    def __init__(self, world: World, name: str, options: tuple[str, ...] = (), **settings: str) -> None:
        self.world, self.name = world, name
        self.host = Host(name)
        self.engine = Engine(self.host, options)
        address = world.cluster.urls[0].removeprefix("http://").partition(":")[0]
        self._forward = Forward(self.host.namespace, (address, 2379))
        self.log = self.host.directory / "plugin.log"
        self.settings = settings
        self.plugin: subprocess.Popen[bytes] | None = None
        self._ready_network()

    def _ready_network(self) -> None:
        self.host.ip("link", "add", "eth0", "type", "veth", "peer", "name", "away")
        self.host.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
        for one in ("eth0", "away"):
            self.host.ip("link", "set", one, "up")
        # A container's gateway is answered for where the host has a route to it.
        self.host.ip("route", "add", "default", "via", "192.0.2.254")
        self.host.ip("-6", "route", "add", "default", "dev", "eth0")
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            self.sysctl(name, "1")

    def sysctl(self, name: str, value: str) -> None:
        """Set one of the namespace's settings."""
        path = f"/proc/sys/{name.replace('.', '/')}"
        subprocess.run(["nsenter", f"--net={self.host.namespace}", "sh", "-c", f"echo {value} > {path}"], check=True)

    def environment(self) -> dict[str, str]:
        """What the plugin is told."""
        return {
            "PATH": os.environ["PATH"],
            "ETCD_ENDPOINTS": "http://127.0.0.1:2379",
            "CALICO_LIBNETWORK_HOSTNAME": self.name,
            "CALICO_LIBNETWORK_NAMESPACE": "default",
            "CALICO_LIBNETWORK_LABEL_ENDPOINTS": "true",
            "CALICO_LIBNETWORK_VETH_MTU": "1420",
            "CALICO_LIBNETWORK_GRACE": f"{GRACE:g}s",
            "CALICO_IPV4POOL_CIDR": POOL,
            **self.settings,
        }

    def start(self) -> "Agent":
        """Start both, and wait until the network `calico` is there."""
        self.start_plugin()
        self.engine.start()
        self.wait_for_network("calico")
        return self

    def start_plugin(self, *program: str) -> None:
        """Start the plugin, or a program in its place, and wait until it answers."""
        ready = self.log.read_text().count("ready: ") if self.log.exists() else 0
        self.spawn_plugin(*program)
        wait_for(lambda: self.log.read_text().count("ready: ") > ready or self._failed(), f"{self.name}'s plugin")

    def spawn_plugin(self, *program: str) -> None:
        """Start the plugin, or a program in its place."""
        words = program or ("-I", str(_EXTRA / "run.py"), "calico.libnetwork.plugin")
        self.plugin = self.host.start([sys.executable, *words], self.log, self.environment())

    def _failed(self) -> bool:
        if self.plugin is not None and self.plugin.poll() is not None:
            raise RuntimeError(f"the plugin of {self.name} ended:\n{self.tail()}")
        return False

    def kill_plugin(self) -> None:
        """SIGKILL."""
        if self.plugin is not None:
            self.plugin.kill()
            self.plugin.wait()
            self.plugin = None

    def wait_for_network(self, name: str, gone: bool = False) -> None:
        """Return when the engine has a network, or has it no more."""
        self.wait(lambda: self.has_network(name) != gone, f"network {name} {'gone' if gone else 'there'}")

    def has_network(self, name: str) -> bool:
        """Whether the engine has it."""
        return self.engine.cli("network", "inspect", name, check=False).returncode == 0

    def wait(self, what: Callable[[], Any], why: str) -> Any:
        """See wait_for; with the logs."""
        try:
            return wait_for(what, f"{self.name}: {why}")
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.tail()}\n{self.engine.tail()}") from None

    def ask(self, plugin: str, call: str, request: Mapping[str, Any]) -> Any:
        """Call the plugin as an engine does; what it answers."""
        body = json.dumps(request).replace("'", "")
        script = _ASK.format(path=f"/run/docker/plugins/{plugin}.sock", call=call, body=body)
        return json.loads(self.host.run(sys.executable, "-c", script).stdout)

    def run(self, name: str, *words: str, network: str = "calico", command: tuple[str, ...] = ()) -> str:
        """Start a container that sleeps; its id."""
        last = command or ("sleep", "3600")
        given = ("-d", "--stop-timeout", "1", "--name", name, "--network", network, *words)
        done = self.engine.cli("run", *given, "bb", *last)
        return done.stdout.strip()

    def remove(self, *names: str) -> None:
        """Remove containers, running or not."""
        self.engine.cli("rm", "-f", *names)

    def network_of(self, container: str, network: str = "calico") -> Mapping[str, Any]:
        """What the engine says of a container's connection."""
        found: Mapping[str, Any] = self.engine.inspect("container", container)["NetworkSettings"]["Networks"][network]
        return found

    def route(self) -> None:
        """Do what felix does for every endpoint of this node: routes, and answers for the gateway."""
        for endpoint in self.world.endpoints(self.name).values():
            interface = endpoint.spec.interface_name
            for setting in (f"ipv4.conf.{interface}.proxy_arp", f"ipv6.conf.{interface}.proxy_ndp"):
                self.sysctl(f"net.{setting}".replace(interface, interface), "1")
            self.sysctl(f"net.ipv4.neigh.{interface}.proxy_delay", "0")
            for network in endpoint.spec.ip_networks:
                self.host.ip("route", "replace", network, "dev", interface, "proto", "80")

    def pings(self, container: str, address: str) -> bool:
        """Whether a container reaches an address, within a few tries."""
        until = time.monotonic() + 20
        while True:
            if self.engine.cli("exec", container, "ping", "-c1", "-W2", address, check=False).returncode == 0:
                return True
            if time.monotonic() > until:
                return False

    def untidy(self) -> str:
        """What does not add up between engine, datastore and kernel; empty when all does."""
        report = self.world.report()
        found = [str(one) for one in report.findings]
        found += [f"{one.address}: {one.reason}" for one in report.of(Use.LEAKED, Use.UNKNOWN)]
        connected = {
            one["EndpointID"]
            for name in self.engine.cli("network", "ls", "-q", "--filter", "driver=calico").stdout.split()
            for one in self.engine.inspect("network", name)["Containers"].values()
        }
        stored = self.world.endpoints(self.name)
        if set(stored) != connected:
            found.append(f"endpoints stored: {sorted(stored)}, connected: {sorted(connected)}")
        links = {line.split(": ")[1].split("@")[0] for line in self.host.ip("-o", "link").splitlines()}
        ours = {one for one in links if one.startswith(("cali", "temp"))}
        if ours != {f"cali{one[:11]}" for one in connected}:
            found.append(f"interfaces: {sorted(ours)}")
        if len(report.of(Use.ENDPOINT)) != sum(
            len(one.spec.ip_networks) for one in self.world.client.list("WorkloadEndpoint", "default").items
        ):
            found.append("an endpoint's address is not allocated")
        if "Traceback" in self.tail():
            found.append("the plugin's log has a traceback")
        return "\n".join(found)

    def wait_tidy(self) -> None:
        """Return when everything adds up."""
        last = [""]

        def is_tidy() -> bool:
            last[0] = self.untidy()
            return not last[0]

        try:
            self.wait(is_tidy, "tidy")
        except TimeoutError as error:
            raise AssertionError(f"{last[0]}\n{error}") from None

    def tail(self) -> str:
        """The last lines of the plugin's log."""
        return self.log.read_text(errors="replace")[-4000:] if self.log.exists() else ""

    def close(self) -> None:
        """End and remove everything."""
        self.engine.remove()
        self.kill_plugin()
        self._forward.close()
        self.host.remove()
