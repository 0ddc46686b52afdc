"""The daemon: two sockets for the engine, and a thread that follows what happens.

READY says that the sockets answer. Neither the engine nor etcd has to be there: the engine starts after us, and a call
that needs etcd while it is away is refused with a text that says so.
"""

import logging
import os
import signal
import sys
import threading
from pathlib import Path

from calico.client.resources import Client
from calico.daemon import log
from calico.daemon.log import fields
from calico.daemon.notify import Notifier
from calico.datastore.errors import DatastoreError
from calico.datastore.settings import SettingsError, open_store
from calico.datastore.settings import from_environment as datastore_settings
from calico.datastore.store import Store
from calico.ipam.allocator import Ipam
from calico.libnetwork.addresses import Addresses
from calico.libnetwork.endpoints import Endpoints
from calico.libnetwork.engine import Engine
from calico.libnetwork.follower import Follower, Rooms, default_of
from calico.libnetwork.ipamdriver import IpamDriver
from calico.libnetwork.journal import Journal
from calico.libnetwork.links import Links
from calico.libnetwork.networkdriver import NetworkDriver
from calico.libnetwork.networks import GlobalNetworks, LocalNetworks, Networks
from calico.libnetwork.releasing import Releasing
from calico.libnetwork.server import PluginServer
from calico.libnetwork.settings import PluginSettings, from_environment

_USAGE = """usage: calico-libnetwork-plugin [-v]

Calico's network and IPAM plugin of the Docker Engine. It is configured by the environment: CALICO_LIBNETWORK_* and
ETCD_*, as /opt/mesosphere/etc/calico/libnetwork.env and calico-node-datastore.env have them.

  -v, --version   print the version
  -h, --help      print this

Example: ETCD_ENDPOINTS=http://127.0.0.1:2379 calico-libnetwork-plugin
"""

_VERSION = "v3.14.0"
_log = logging.getLogger(__name__)


def main() -> int:
    """The program's exit status: 1 for settings that cannot be used, 2 for a wrong command line, 3 for sockets."""
    arguments = sys.argv[1:]
    if arguments in (["-v"], ["--version"]):
        print(_VERSION)
        return 0
    if arguments in (["-h"], ["--help"]):
        print(_USAGE, end="")
        return 0
    if arguments:
        print(f"calico-libnetwork-plugin: unknown argument {arguments[0]!r}\n{_USAGE}", end="", file=sys.stderr)
        return 2
    try:
        settings = from_environment(os.environ)
        store = open_store(datastore_settings(os.environ))
    except (SettingsError, DatastoreError) as error:
        print(f"calico-libnetwork-plugin: {error}", file=sys.stderr)
        return 1
    log.configure(logging.DEBUG if settings.debug else logging.INFO)
    try:
        return Plugin(settings, store).run()
    except OSError as error:
        print(f"calico-libnetwork-plugin: {error}", file=sys.stderr)
        return 3


class Plugin:
    """The rooms, put together. `run` serves until it is told to end."""

    def __init__(self, settings: PluginSettings, store: Store) -> None:
        self._settings = settings
        client = Client(store, Ipam(store))
        engine = Engine(settings.engine_socket)
        self._addresses = Addresses(store, settings.node)
        self._endpoints = Endpoints(client, settings.node, settings.namespace)
        self._links = Links(settings.interface_prefix, settings.veth_mtu)
        self._networks: Networks = GlobalNetworks(client)
        if settings.scope == "local":
            self._networks = LocalNetworks(store, engine, settings.node, default_of(settings), self._on_change)
        rooms = Rooms(client, engine, self._networks, self._endpoints, self._addresses, self._links)
        self._follower = Follower(settings, rooms)

    def _on_change(self) -> None:
        self._follower.poke()

    def run(self) -> int:
        """Serve. Raises OSError where a socket cannot be made."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        servers = self._serve()
        self._follower.start()
        notifier = Notifier()
        notifier.ready(self._follower.status)
        _log.info("ready: %s", fields(node=self._settings.node, scope=self._settings.scope))
        while not stop.wait(1.0):
            notifier.status(self._follower.status)
            notifier.alive()
        notifier.stopping()
        for server in servers:
            server.close()
        return 0

    def _serve(self) -> list[PluginServer]:
        settings = self._settings
        directory = Path(settings.plugin_directory)
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        journal = Journal(Path(settings.state_directory))
        releasing = Releasing(self._endpoints, self._addresses, self._links)
        network = NetworkDriver(
            self._networks,
            self._endpoints,
            self._addresses,
            self._links,
            settings.scope,
            settings.interface_prefix,
            settings.create_profiles,
        )
        ipam = IpamDriver(self._networks, self._addresses, releasing)
        return [
            PluginServer(directory / "calico-ipam.sock", ipam.handlers(), journal),
            PluginServer(directory / "calico.sock", network.handlers(), journal),
        ]
