"""The thread that keeps the engine, the cluster's registry and Calico's data in step.

It looks when something happens (an event of the engine, a change of the registry, a call) and once in each time of
grace (a minute), and acts on what `plan` finds. Without an engine it waits, without etcd too.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from calico.client.errors import ResourceError
from calico.client.resources import Client
from calico.daemon.log import fields
from calico.datastore.errors import DatastoreError, IndeterminateError
from calico.datastore.store import Delete, Guard, Put
from calico.datastore.syncer import Syncer
from calico.ipam.errors import IpamError
from calico.libnetwork.addresses import Addresses
from calico.libnetwork.endpoints import Endpoint, Endpoints, labels_among
from calico.libnetwork.engine import Engine, EngineAwayError, EngineEndpoint, EngineNetwork, EngineRefusedError
from calico.libnetwork.errors import DriverError
from calico.libnetwork.links import Links, mac_of
from calico.libnetwork.networks import DRIVER, IPAM_DRIVER, LocalNetworks, Networks
from calico.libnetwork.plan import (
    Action,
    CreateNetwork,
    DropEntry,
    DropRecord,
    PutEntry,
    PutRecord,
    RemoveNetwork,
    Say,
    Sightings,
    SpreadRemoval,
    World,
    plan_leftovers,
    plan_networks,
    plan_repairs,
)
from calico.libnetwork.releasing import Releasing
from calico.libnetwork.settings import PluginSettings
from calico.model import registry
from calico.model.problems import ModelError
from calico.model.registry import PROFILE_OPTION, Definition, Entry, Record

_RETRY = 2.0
_GATHERING = 0.1
"""Seconds in which what happens together is gathered into one look."""
_SETTLING = 2.0
"""Seconds after a removal until it is one for the cluster."""
_ROUNDS = 5  # plans in a row: each may rest on what the one before did
PROBLEMS = (DatastoreError, IpamError, ResourceError, ModelError, DriverError, EngineRefusedError, OSError)

_log = logging.getLogger(__name__)


class Rooms(NamedTuple):
    """What the follower works on."""

    client: Client
    engine: Engine
    networks: Networks
    endpoints: Endpoints
    addresses: Addresses
    links: Links


class Follower:
    """See the module. `start` begins its threads; `status` is one line on how things stand."""

    def __init__(self, settings: PluginSettings, rooms: Rooms, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._rooms, self._clock = settings, rooms, clock
        self._releasing = Releasing(rooms.endpoints, rooms.addresses, rooms.links)
        self._wake = threading.Event()
        self._endpoint_sightings, self._pair_sightings = Sightings(), Sightings()
        self._handle_sightings, self._lack_sightings = Sightings(), Sightings()
        self._record_sightings = Sightings()
        self._labelled: set[str] = set()
        self._label_lock = threading.Lock()
        self._said: set[Say] = set()
        self._pruned: set[str] = set()
        self.status = "waiting for the Docker Engine"

    def start(self) -> None:
        """Begin to follow, for as long as the process lives."""
        loops: list[Callable[[], None]] = [self._follow_engine, self._look_for_ever]
        if isinstance(self._rooms.networks, LocalNetworks):
            loops.append(self._follow_registry)
        for loop in loops:
            threading.Thread(target=loop, name=loop.__name__.strip("_"), daemon=True).start()

    def poke(self) -> None:
        """Something changed: look soon."""
        self._wake.set()

    # -- what wakes it ---------------------------------------------------------------------------------------------

    def _follow_registry(self) -> None:
        syncer = Syncer(self._rooms.client.store, {registry.REGISTRY: registry.read})
        for batch in syncer.batches():
            if batch:
                self.poke()

    def _follow_engine(self) -> None:
        while True:
            try:
                for event in self._rooms.engine.events(self._settings.grace):
                    if event is None:
                        self.poke()
                    elif event.action == "prune":
                        self._on_prune()
                    elif event.driver == DRIVER:
                        self._on_event(event.action, event.network, event.container)
            except EngineAwayError as error:
                self.status = f"no Docker Engine: {error}"
            except Exception:
                _log.exception("following the engine")
            time.sleep(_RETRY * random.uniform(0.5, 1.0))

    def _on_event(self, action: str, network: str, container: str) -> None:
        if action == "connect" and container:
            threading.Thread(target=self._on_connect, args=(network, container), name="labels", daemon=True).start()
        elif action in ("create", "destroy", "disconnect"):
            self.poke()

    def _on_prune(self) -> None:
        """The engine was tidied up: what went just now was in nobody's way, and the cluster keeps it."""
        if isinstance(self._rooms.networks, LocalNetworks):
            self._pruned |= self._rooms.networks.removed()
            self.poke()

    # -- labels ----------------------------------------------------------------------------------------------------

    def _on_connect(self, network: str, container: str) -> None:
        """A container is about to run: its endpoint gets its labels before its program starts, if all goes quickly."""
        until = self._clock() + self._settings.label_timeout
        while True:
            try:
                for endpoint in self._rooms.engine.network(network).endpoints:
                    if endpoint.container == container:
                        self._describe(endpoint)
                        return
            except (EngineAwayError, *PROBLEMS) as error:
                problem = str(error)
            else:
                problem = "the network does not list it"
            if self._clock() >= until:
                _log.warning("no labels: %s", fields(container=container[:12], problem=problem))
                return
            time.sleep(0.1)

    def _describe(self, endpoint: EngineEndpoint) -> None:
        """Write a container's labels into its endpoint, and whose its addresses are; once."""
        with self._label_lock:
            if endpoint.id in self._labelled:
                return
            labels = labels_among(self._rooms.engine.labels(endpoint.container))
            if labels and self._settings.label_endpoints:
                if not self._rooms.endpoints.add_labels(endpoint.id, labels):
                    return
                _log.info("endpoint labelled: %s", fields(id=endpoint.id[:12], labels=",".join(sorted(labels))))
            self._labelled.add(endpoint.id)
        for network in endpoint.networks:
            self._rooms.addresses.note(network.partition("/")[0], endpoint.container, endpoint.id)

    # -- looking ---------------------------------------------------------------------------------------------------

    def _look_for_ever(self) -> None:
        while True:
            wait = self._settings.grace
            try:
                wait = self.look()
            except EngineAwayError as error:
                self.status = f"no Docker Engine: {error}"
                wait = _RETRY
            except PROBLEMS as error:
                _log.warning("not in step: %s", fields(problem=error))
                self.status = f"not in step: {error}"
                wait = _RETRY
            except Exception as error:
                _log.exception("looking")
                self.status = f"not in step: {type(error).__name__}: {error}"
                wait = _RETRY
            if self._wake.wait(wait * random.uniform(0.9, 1.0)):
                time.sleep(_GATHERING)
            self._wake.clear()

    def look(self) -> float:
        """Bring everything in step, as far as it can be now; in how many seconds to look again."""
        self._rooms.endpoints.forget_profiles()
        engine = self._engine_networks()
        wait = self._settings.grace
        if isinstance(self._rooms.networks, LocalNetworks):
            wait = self._networks_in_step(self._rooms.networks, engine)
        elif self._settings.default_network and self._settings.default_network not in {one.name for one in engine}:
            self._ensure_global_network()
        connected = {one.id: one for network in engine if network.driver == DRIVER for one in network.endpoints}
        wait = min(wait, self._endpoints_in_step(engine, connected))
        count = sum(network.driver == DRIVER for network in engine)
        self.status = f"{count} networks, {len(connected)} endpoints"
        return wait

    def _engine_networks(self) -> list[EngineNetwork]:
        """The engine's networks; Calico's with their endpoints."""
        found = []
        for network in self._rooms.engine.networks():
            try:
                found.append(self._rooms.engine.network(network.id) if network.driver == DRIVER else network)
            except EngineRefusedError as error:
                if error.status != 404:
                    raise
        return found

    # -- networks --------------------------------------------------------------------------------------------------

    def _networks_in_step(self, networks: LocalNetworks, engine: list[EngineNetwork]) -> float:
        said: set[Say] = set()
        for number in range(_ROUNDS):
            entries, records, unreadable = networks.load()
            is_settled = time.monotonic() - networks.last_delete >= _SETTLING
            world = self._world(engine, entries, records)
            world = world._replace(unreadable=unreadable, is_settled=is_settled, pruned=frozenset(self._pruned))
            actions = plan_networks(world)
            if any(isinstance(one, RemoveNetwork) for one in actions):
                actions = plan_networks(world._replace(used=frozenset(self._rooms.engine.used_networks())))
            dropped = {one.record.id for one in actions if isinstance(one, DropRecord)}
            settled = set(self._record_sightings.long_seen(dropped, self._clock(), self._settings.grace))
            said |= {one for one in actions if isinstance(one, Say)}
            actions = [
                one
                for one in actions
                if not isinstance(one, Say) and not (isinstance(one, DropRecord) and one.record.id not in settled)
            ]
            if not actions:
                break
            for action in actions:
                self._apply(networks, action)
            if number < _ROUNDS - 1:
                engine[:] = self._engine_networks()
        for one in sorted(said - self._said):
            _log.warning("%s", one.text)
        self._said = said
        due = self._record_sightings.next_due(self._settings.grace)
        self._pruned &= networks.removed()
        is_brief = any(one.is_brief for one in said)
        wait = min(_RETRY, self._settings.grace) if is_brief else self._settings.grace
        if networks.removed():
            wait = min(wait, max(networks.last_delete + _SETTLING - time.monotonic(), 0.1))
        return wait if due is None else min(wait, max(due - self._clock(), 0.1))

    def _world(self, engine: list[EngineNetwork], entries: Mapping[str, Entry], records: list[Record]) -> World:
        nodes = {node.metadata.name for node in self._rooms.client.list("Node").items}
        self._rooms.addresses.refresh()
        pools = self._rooms.addresses.pools()
        return World(
            self._settings.node,
            engine,
            entries,
            records,
            nodes={*nodes, self._settings.node},
            subnets={str(pool.network) for pool in pools},
            default=default_of(self._settings),
            open={str(pool.network) for pool in pools if not pool.disabled},
        )

    def _apply(self, networks: LocalNetworks, action: Action) -> None:
        """Do one step. What others did meanwhile makes it void, and the next plan sees it."""
        store = self._rooms.client.store
        match action:
            case PutEntry(entry):
                key = registry.entry_key(entry.name)
                done = store.commit([Guard(key, entry.revision)], [Put(key, registry.write_entry(entry))])
                if done.succeeded:
                    _log.info("network of the cluster: %s", fields(network=entry.name))
            case DropEntry(entry):
                key = registry.entry_key(entry.name)
                if store.commit([Guard(key, entry.revision)], [Delete(key)]).succeeded:
                    _log.info("network forgotten: %s", fields(network=entry.name))
            case PutRecord(record, entry):
                self._put_record(networks, record, entry)
            case DropRecord(record):
                networks.forget(record)
            case SpreadRemoval(record, entry):
                self._spread_removal(networks, record, entry)
            case CreateNetwork(name, definition):
                with networks.expecting(name, definition):
                    self._create(name, definition)
            case RemoveNetwork(identity, name):
                self._remove(identity, name)

    def _put_record(self, networks: LocalNetworks, record: Record, entry: Entry | None) -> None:
        if entry is None:
            networks.write(record)
            if record.private:
                text = "it stays this node's own"
                _log.warning("network differs from the cluster's: %s", fields(network=record.name, so=text))
            return
        key = registry.entry_key(entry.name)
        try:
            done = networks.write(record, Put(key, registry.write_entry(entry)), guards=(Guard(key, entry.revision),))
        except IndeterminateError:
            return  # the next plan sees what came of it
        if done:
            _log.info("network of the cluster: %s", fields(network=entry.name))

    def _spread_removal(self, networks: LocalNetworks, record: Record, entry: Entry | None) -> None:
        if entry is None or entry.removing:
            networks.forget(record)
            return
        key = registry.entry_key(entry.name)
        put = Put(key, registry.write_entry(entry._replace(removing=True)))
        if networks.forget(record, put, guards=(Guard(key, entry.revision),)):
            _log.info("network removed from the cluster: %s", fields(network=entry.name))

    def _create(self, name: str, definition: Definition) -> None:
        try:
            self._rooms.engine.create_network(_creation(name, definition))
            _log.info("network created here: %s", fields(network=name))
        except EngineRefusedError as error:
            if error.status != 409:  # somebody was faster
                raise

    def _remove(self, identity: str, name: str) -> None:
        try:
            self._rooms.engine.remove_network(identity)
            _log.info("network removed here: %s", fields(network=name))
        except EngineRefusedError as error:
            if error.status not in (403, 404):  # a container came, or it is gone
                raise

    def _ensure_global_network(self) -> None:
        """The engines of a cluster store tell each other; only the first may succeed."""
        default = default_of(self._settings)
        if default is not None:
            subnets = {str(pool.network) for pool in self._rooms.addresses.pools()}
            if all(subnet in subnets for subnet in default.definition.subnets):
                self._create(default.name, default.definition)

    # -- endpoints -------------------------------------------------------------------------------------------------

    def _endpoints_in_step(self, engine: list[EngineNetwork], connected: Mapping[str, EngineEndpoint]) -> float:
        """Take back what no container has, give containers what they lack; when to look again."""
        rooms, now, grace = self._rooms, self._clock(), self._settings.grace
        endpoints, pairs = rooms.endpoints.all(), rooms.links.plugged()
        used = {address for one in endpoints.values() for address in one.addresses}
        handles = rooms.addresses.unused(used)
        left = plan_leftovers(connected, endpoints, pairs, handles)
        for one in self._endpoint_sightings.long_seen(left.endpoints, now, grace):
            _log.warning("endpoint without a container: %s", fields(id=one[:12]))
            self._releasing.endpoint(one, endpoints[one].addresses)
        for one in self._pair_sightings.long_seen(left.pairs - left.endpoints, now, grace):
            _log.warning("interface without a container: %s", fields(id=one[:12]))
            rooms.links.unplug(one)
        for one in self._handle_sightings.long_seen(left.handles, now, grace):
            if rooms.addresses.release_unused(one, handles[one], self._used_now()):
                _log.warning("addresses without a container: %s", fields(addresses=",".join(handles[one])))
        lacking = plan_repairs(connected, endpoints, pairs)
        for one in self._lack_sightings.long_seen(lacking, now, grace):
            self._repair(engine, connected[one], one)
        for found in connected.values():
            if found.container and found.id in endpoints:
                self._describe(found)
        self._labelled.intersection_update(connected)
        sightings = (self._endpoint_sightings, self._pair_sightings, self._handle_sightings, self._lack_sightings)
        due = [when for one in sightings if (when := one.next_due(grace)) is not None]
        return max(min(due) - self._clock(), 0.1) if due else self._settings.grace

    def _used_now(self) -> set[str]:
        return {address for one in self._rooms.endpoints.all().values() for address in one.addresses}

    def _repair(self, engine: list[EngineNetwork], found: EngineEndpoint, identity: str) -> None:
        """Store a running container's endpoint again, with its addresses."""
        network = next(one for one in engine if any(each.id == identity for each in one.endpoints))
        definition = self._rooms.networks.find(network.id)
        pools = self._rooms.addresses.pools()
        pool = next((one for one in pools if definition and str(one.network) in definition.subnets), None)
        if definition is None or pool is None:
            return
        networks = tuple(f"{one.partition('/')[0]}/{128 if ':' in one else 32}" for one in found.networks)
        pair = self._rooms.links.plugged()[identity]
        profile, mac = definition.profile or pool.name, found.mac or mac_of(identity)
        endpoint = Endpoint(identity, networks, profile, pair.host, mac)
        for address in endpoint.addresses:
            self._rooms.addresses.hold(address, identity[:32], afresh=True)
        self._rooms.endpoints.create(endpoint)
        self._labelled.discard(identity)
        _log.warning("endpoint stored again: %s", fields(id=identity[:12], addresses=",".join(networks)))


def default_of(settings: PluginSettings) -> Entry | None:
    """The network that every agent has; None where there is to be none."""
    if not settings.default_network or not settings.default_subnets:
        return None
    return Entry(settings.default_network, Definition(settings.default_subnets, settings.default_network))


def _creation(name: str, definition: Definition) -> dict[str, Any]:
    """What the engine's API takes for a network, as `docker network create` would send it."""
    return {
        "Name": name,
        "CheckDuplicate": True,
        "Driver": DRIVER,
        "EnableIPv6": definition.ipv6,
        "IPAM": {"Driver": IPAM_DRIVER, "Config": [{"Subnet": subnet} for subnet in definition.subnets]},
        "Options": {PROFILE_OPTION: definition.profile} if definition.profile else {},
        "Labels": dict(definition.labels),
    }
