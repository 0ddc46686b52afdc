"""`calico-node`: start-up, then the agent, which serves CNI, keeps tunnel addresses and Mesos' networks right, and
collects what is unused.

CNI is served from the first moment; what a call needs it asks for itself. Everything else waits for etcd in a thread of
its own and says in the unit's status what for. systemd hears READY once start-up has been tried, so felix, which is
started after the agent, finds the node's configuration, and Mesos its networks; where etcd does not answer, it hears it
all the same. Nothing is torn down when the agent ends.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from calico.client.errors import ResourceError
from calico.client.resources import Client
from calico.client.values import decode_resource
from calico.cni.server import Server
from calico.cni.service import Service
from calico.daemon.log import LEVELS, configure, fields
from calico.daemon.notify import Notifier
from calico.datastore.errors import DatastoreError
from calico.datastore.settings import Settings, from_environment, open_store
from calico.datastore.settings import SettingsError as DatastoreSettingsError
from calico.datastore.store import Store
from calico.datastore.syncer import Decoder, Syncer
from calico.ipam.allocator import Ipam
from calico.ipam.errors import IpamError
from calico.model import registry
from calico.model.keys import ResourceKey, list_prefix
from calico.model.problems import ModelError
from calico.node import encapsulation, settings, startup, tunnels
from calico.node.collector import Collector
from calico.node.networks import BUNDLE, Files, Placer, follow
from calico.node.presence import Presence
from calico.node.settings import NodeSettings, SettingsError

log = logging.getLogger(__name__)

SOCKET = Path("/run/calico/cni.sock")
_RESYNC = 600.0
_TICK = 5.0
_READY_WITHIN = 5.0
_COLLECT_TICK = 20.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_EXPECTED = (DatastoreError, ResourceError, IpamError, ModelError, startup.StartupError, SettingsError, OSError)


class Status:
    """What the unit's status says: a line for each part that has something to say, in the order of the parts."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier, self._lock = notifier, threading.Lock()
        self._parts: dict[str, str] = {}

    def set(self, part: str, text: str) -> None:
        """What one part waits for or warns of; empty: nothing."""
        with self._lock:
            if self._parts.get(part, "") != text:
                self._parts[part] = text
                if text:
                    log.warning("%s: %s", part, text)
                self._notifier.status(self.text())

    def text(self) -> str:
        """The whole line."""
        said = [f"{part}: {text}" for part, text in sorted(self._parts.items()) if text]
        return "; ".join(said) or "ready"

    def ready(self) -> None:
        """The process serves."""
        with self._lock:
            self._notifier.ready(self.text())

    def alive(self) -> None:
        """See Notifier."""
        with self._lock:
            self._notifier.alive()


class Agent:
    """One node's agent over one datastore."""

    def __init__(self, store: Store, datastore: Settings, environment: Mapping[str, str], paths: "Paths") -> None:
        self.store, self._environment, self._paths = store, environment, paths
        self.client = Client(store, Ipam(store))
        self.ipam = Ipam(store)
        self.status = Status(Notifier())
        self.stopped = threading.Event()
        self._service = Service(store, datastore.endpoints, paths.nodename_file(environment))
        self._syncers: list[Syncer] = []
        self._files = Files(paths.networks, paths.bundle)
        self._changed = threading.Event()
        self._tried, self._placed = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []
        self._failed = False

    def run(self) -> int:
        """Serve until `stopped` is set; the exit code, 1 when a part ended by itself and a restart is due."""
        self._paths.socket.parent.mkdir(parents=True, exist_ok=True)
        server = Server(self._paths.socket, self._service.handle)
        self._link()
        self._start("work", self._work)
        if not self._placed.wait(_READY_WITHIN) and not self._tried.is_set():
            self.status.set("start-up", "waits: etcd has not answered yet")
        self.status.ready()
        while not self.stopped.wait(_TICK):
            self.status.alive()
        server.stop()
        for syncer in self._syncers:
            syncer.stop()
        self._changed.set()
        for thread in self._threads:
            thread.join(5)
        return int(self._failed)

    def stop(self) -> None:
        """End soon."""
        self.stopped.set()
        self._placed.set()

    def _start(self, name: str, work: Callable[[], None]) -> None:
        """Run one part in a thread of its own. An error nobody expected ends the agent, and systemd starts it anew."""

        def run() -> None:
            try:
                work()
            except Exception:
                log.exception("the part %s failed", name)
                self._failed = True
                self.stop()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        """Take the node's place, then follow pools and nodes."""
        node = self._start_up()
        if node is None:
            return
        self.status.set("start-up", "")
        self._start("networks", lambda: self._place(node.name))
        self._start("collector", lambda: self._collect(node.name))
        self._follow(node)

    def start(self) -> NodeSettings:
        """One run of start-up."""
        node = settings.from_environment(self._environment, self._paths.state)
        self._advise(startup.start(self.client, node, startup.HostView(host_addresses)))
        log.info("started %s", fields(node=node.name))
        return node

    def _advise(self, lines: tuple[str, ...]) -> None:
        self.status.set("configuration", "; ".join(lines))

    def _start_up(self) -> NodeSettings | None:
        """Try again until it works, saying what it waits for; None when the agent ends meanwhile."""
        pause = _FIRST_PAUSE
        while not self.stopped.is_set():
            try:
                return self.start()
            except _EXPECTED as error:
                self.status.set("start-up", f"waits: {error}")
            finally:
                self._tried.set()
            self._link()
            self._placed.set()
            self.stopped.wait(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        return None

    def _link(self) -> None:
        """Give Mesos the bundle's networks, and leave it those of the cluster that it has."""
        try:
            said = self._files.link()
        except OSError as error:
            said = (f"waits: {error}",)
        self.status.set("networks", "; ".join(said))

    # -- what follows the datastore --------------------------------------------------------------------------------

    def _follow(self, node: NodeSettings) -> None:
        """Keep the tunnels' addresses right as pools and this node change, and look again now and then.

        The two are watched apart: what they have in common is a prefix under which every container's endpoint is too.
        """
        for name, prefix in (("pools", list_prefix("IPPool")), ("node", ResourceKey("Node", node.name).path)):
            syncer = self._syncer({prefix: decode_resource})
            self._start(name, partial(self._watch, name, syncer))
        looked = time.monotonic()
        while not self.stopped.is_set():
            is_due = self._changed.wait(_TICK) or time.monotonic() - looked >= _RESYNC
            if is_due and not self.stopped.is_set():
                self._changed.clear()
                looked = time.monotonic()
                if not self._keep(node):
                    self.stopped.wait(_FIRST_PAUSE)
                    self._changed.set()

    def _place(self, node: str) -> None:
        """Keep Mesos' directory in step with the networks of the cluster, and with the bundle's."""
        syncer = self._syncer({registry.ENTRIES: registry.read})
        for said in follow(Placer(self.store, node, self._files), syncer, _TICK):
            self.status.set("networks", "; ".join(said))
            self._placed.set()

    def _syncer(self, decoders: Mapping[str, Decoder]) -> Syncer:
        """One that ends with the agent, also when that ends at this moment."""
        syncer = Syncer(self.store, decoders)
        self._syncers.append(syncer)
        if self.stopped.is_set():
            syncer.stop()
        return syncer

    def _watch(self, name: str, syncer: Syncer) -> None:
        """Note every change, the end of the first listing among them."""
        for batch in syncer.batches(_TICK):
            self.status.set(name, f"waits: {syncer.last_error}" if syncer.last_error else "")
            if batch:
                self._changed.set()

    def _keep(self, node: NodeSettings) -> bool:
        """See that Node and tunnels are as they should be; whether they are."""
        try:
            startup.ensure_node(self.client, node)
            self._advise(encapsulation.advice(self.client, node))
            tunnels.ensure(self.client, self.ipam, node.name)
        except _EXPECTED as error:
            self.status.set("tunnels", f"waits: {error}")
            return False
        self.status.set("tunnels", "")
        return True

    def _collect(self, node: str) -> None:
        """Say that this node runs, and do its part in the collection."""
        collector, presence = Collector(self.store, self.ipam, node), Presence(self.store, node)
        while not self.stopped.is_set():
            try:
                presence.step()
                collector.step()
                self.status.set("collector", "")
            except (DatastoreError, IpamError) as error:
                self.status.set("collector", f"waits: {error}")
            self.stopped.wait(_COLLECT_TICK)
        presence.stop()
        collector.stop()


def host_addresses() -> Sequence[IPv4Address | IPv6Address]:
    """The addresses of the host's interfaces."""
    from calico.netlink.route import list_addresses
    from calico.netlink.socket import Netlink

    with Netlink() as netlink:
        return [one.address for one in list_addresses(netlink)]


class Paths:
    """Where the agent's socket and state are; tests have their own."""

    def __init__(self, socket: Path = SOCKET, state: Path = settings.STATE_DIRECTORY, bundle: Path = BUNDLE) -> None:
        self.socket, self.state, self.bundle = socket, state, bundle

    @property
    def networks(self) -> Path:
        """Below it is the directory that Mesos reads."""
        return self.state / "cni"

    def nodename_file(self, environment: Mapping[str, str]) -> Path:
        """The file that start-up writes, and plugins read."""
        return Path(environment.get("CALICO_NODENAME_FILE") or self.state / "nodename")


# -- the program -------------------------------------------------------------------------------------------------------


def main() -> int:
    """The agent, or one step of it: 0 done, 1 the state is wrong, 2 the command line is, 3 etcd does not answer."""
    options = _parser().parse_args()
    level = os.environ.get("CALICO_STARTUP_LOGLEVEL", "info").lower()
    configure(LEVELS.get(level, logging.INFO))
    paths = Paths(Path(os.environ.get("CALICO_CNI_SOCKET") or SOCKET), options.state, options.networks)
    if options.cleanup:
        return _clean(paths)
    try:
        datastore = from_environment(os.environ)
        store = open_store(datastore)
    except (DatastoreSettingsError, DatastoreError) as error:
        print(f"calico-node: {error}; see calico-node-datastore.env", file=sys.stderr)
        return 1
    agent = Agent(store, datastore, os.environ, paths)
    try:
        if options.startup or options.tunnels:
            return _once(agent, options)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        return agent.run()
    finally:
        store.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="calico-node",
        description="Take this node's place in the cluster, then serve CNI and keep tunnel addresses right.",
        epilog="Example: calico-node -startup",
    )
    parser.add_argument("-startup", action="store_true", help="only write what start-up writes, and end")
    parser.add_argument(
        "-allocate-tunnel-addrs",
        dest="tunnels",
        action="store_true",
        help="only see to the tunnels' addresses, and end",
    )
    parser.add_argument(
        "--cleanup",
        action="store_true",
        help="only remove what Mesos' directory of networks has of the agent's, and end",
    )
    parser.add_argument(
        "--networks",
        type=Path,
        default=BUNDLE,
        metavar="DIRECTORY",
        help="where the bundle's CNI configurations are (default %(default)s)",
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=settings.STATE_DIRECTORY,
        metavar="DIRECTORY",
        help="where the node's name and Mesos' networks are kept (default %(default)s)",
    )
    return parser


def _clean(paths: Paths) -> int:
    try:
        Files(paths.networks, paths.bundle).clear()
    except OSError as error:
        print(f"calico-node: {error}; remove what is in the way and run this again", file=sys.stderr)
        return 1
    return 0


def _once(agent: Agent, options: argparse.Namespace) -> int:
    """Upstream's one-shot programs."""
    try:
        if options.startup:
            agent.start()
        if options.tunnels:
            node = settings.from_environment(os.environ, options.state)
            found: dict[str, Any] = tunnels.ensure(agent.client, agent.ipam, node.name)
            for name, address in found.items():
                print(f"{name} {address}")
    except DatastoreError as error:
        print(f"calico-node: {error}", file=sys.stderr)
        return 3
    except _EXPECTED as error:
        print(f"calico-node: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
