"""`calico-felix --check`: desired against actual. Reads etcd and the kernel, and writes nothing."""

import time
from pathlib import Path
from typing import NamedTuple

from calico.datastore.errors import DatastoreError
from calico.datastore.store import Store
from calico.datastore.syncer import InSync, Syncer, Update
from calico.felix import configuration, wiring
from calico.felix.calc.graph import Graph
from calico.felix.calc.inputs import DECODERS
from calico.felix.config.settings import Settings
from calico.felix.configuration import Configuration
from calico.felix.dataplane.network import Network
from calico.felix.dataplane.nft.foreign import Neighbours
from calico.felix.dataplane.nft.tables import DataplaneError, Tables
from calico.felix.desired import Changes
from calico.netlink.nftables.transactions import Nfnetlink
from calico.netlink.socket import NETLINK_NETFILTER, Netlink

_DEADLINE = 30.0


class Report(NamedTuple):
    """What differs in the kernel, and what is wrong with the configuration or with resources; a line each."""

    differences: list[str]
    problems: list[str]


def check(config: Configuration, store: Store, directory: Path) -> Report:
    """Compare. Raises DatastoreError where etcd does not answer, OSError where the kernel does not."""
    syncer = Syncer(store, {**DECODERS, **configuration.DECODERS})
    updates = _snapshot(syncer, config)
    resolved = config.resolve()
    problems = [*map(str, resolved.problems)]
    problems += [f"{key}: cannot be read or is not valid: it counts as absent" for key in sorted(syncer.broken_keys)]
    if not config.is_ready:
        problems.append("ClusterInformation default does not say datastoreReady: felix waits and changes nothing")
    graph = Graph(resolved.settings.hostname, resolved.settings.route_source)
    graph.update(updates)
    differences, more = _compare(resolved.settings, graph.flush(), directory)
    return Report(differences, problems + more)


def _snapshot(syncer: Syncer, config: Configuration) -> list[Update]:
    """The whole datastore; the configuration takes its part of it."""
    updates: list[Update] = []
    until = time.monotonic() + _DEADLINE
    for batch in syncer.batches(1.0):
        for item in batch:
            if isinstance(item, InSync):
                syncer.stop()
                return updates
            config.update(item)
            updates.append(item)
        if time.monotonic() > until:
            break
    syncer.stop()
    raise DatastoreError(f"the datastore cannot be read: {syncer.last_error or 'no answer'}")


def _compare(settings: Settings, changes: Changes, directory: Path) -> tuple[list[str], list[str]]:
    network = Network(wiring.network_settings(settings, directory))
    netlink = Netlink(NETLINK_NETFILTER, settings.netlink_timeout)
    try:
        network.on_changes(changes)
        differences, problems = network.compare()
        tables = Tables(netlink, wiring.nft_settings(settings))
        is_excluded = wiring.exclusion(settings)
        interfaces = network.host_interfaces()
        tables.set_interfaces({name: held for name, held in interfaces.items() if not is_excluded(name)})
        differences += tables.compare(changes)
        missing, obstacles = Neighbours(Nfnetlink(netlink), wiring.nft_settings(settings)).compare()
        return [*differences, *missing], [*problems, *tables.problems(), *obstacles]
    except DataplaneError as error:
        raise OSError(str(error)) from error
    finally:
        netlink.close()
        network.close()
