"""Which network an engine's id stands for: `LocalNetworks` asks the registry, `GlobalNetworks` pools' annotations."""

import logging
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from calico.client.errors import ConflictError
from calico.client.resources import Client
from calico.daemon.log import fields
from calico.datastore.errors import IndeterminateError
from calico.datastore.store import Delete, Guard, Operation, Put, Store, listing
from calico.libnetwork import definition as definitions
from calico.libnetwork.definition import PROFILE_OPTION, Definition, Entry, Record
from calico.libnetwork.engine import Engine, EngineAwayError, EngineNetwork, EngineRefusedError
from calico.model.resource import with_metadata

DRIVER, IPAM_DRIVER = "calico", "calico-ipam"

ANNOTATION_PREFIX = "org.projectcalico.label."
NETWORK_ANNOTATION = f"{ANNOTATION_PREFIX}network.ID"
PROFILE_ANNOTATION = f"{ANNOTATION_PREFIX}profile"
_ATTEMPTS = 20

_log = logging.getLogger(__name__)


class Networks(Protocol):
    """The networks of a node's engine, by the engine's id. Raises DatastoreError."""

    def create(self, identity: str, definition: Definition) -> None:
        """The engine makes a network."""

    def delete(self, identity: str) -> None:
        """The engine removes a network. One that is not known is no error."""

    def find(self, identity: str) -> Definition | None:
        """What a network is; None for one that nobody knows."""

    def sharing(self, subnet: str) -> int:
        """How many networks of this node are known to be over a subnet."""


def definition_of(network: EngineNetwork) -> Definition:
    """An engine's network as the registry has it."""
    return Definition(
        subnets=network.subnets,
        profile=network.options.get(PROFILE_OPTION, ""),
        ipv6=network.ipv6,
        internal=network.internal,
        labels=dict(network.labels),
    )


class LocalNetworks:
    """The registry in etcd. `on_change` is called after a network of the engine came or went.

    Only this process writes its node's records, so what it wrote or read it need not read again.
    """

    def __init__(
        self, store: Store, engine: Engine, node: str, default_network: str, on_change: Callable[[], None]
    ) -> None:
        self._store, self._engine, self._node = store, engine, node
        self._default, self._on_change = default_network, on_change
        self._lock = Lock()
        self._records: dict[str, Record] = {}

    def create(self, identity: str, definition: Definition) -> None:
        """See Networks. Its name is learned from the engine later: a driver is not told."""
        known = self._record(identity)
        if known is None or not known.definition.matches(definition):
            self.write(Record(self._node, identity, definition, known.name if known else ""))
        self._on_change()

    def delete(self, identity: str) -> None:
        """See Networks. A network of the whole cluster is marked, so that the other agents remove theirs."""
        for _ in range(_ATTEMPTS):
            try:
                if self._delete(identity):
                    break
            except IndeterminateError:
                continue  # to do it again is harmless
        else:
            raise ConflictError(f"network {identity}")
        with self._lock:
            self._records.pop(identity, None)
        self._on_change()

    def _delete(self, identity: str) -> bool:
        record = self._record(identity, afresh=True)
        if record is None:
            return True
        operations: list[Operation] = [Delete(record.key)]
        guards = [Guard(record.key, record.revision)]
        entry = None if record.private or record.leaving or record.name == self._default else self.entry(record.name)
        if entry is not None and not entry.removing:
            key = definitions.entry_key(entry.name)
            operations.append(Put(key, definitions.write_entry(entry._replace(removing=True))))
            guards.append(Guard(key, entry.revision))
            _log.info("network removed from the cluster: %s", fields(network=entry.name))
        return self._store.commit(guards, operations).succeeded

    def find(self, identity: str) -> Definition | None:
        """See Networks. One that came about while etcd was without its record is learned from the engine."""
        if record := self._record(identity):
            return record.definition
        try:
            network = self._engine.network(identity)
        except (EngineAwayError, EngineRefusedError) as error:
            _log.warning("network not known: %s", fields(id=identity, error=error))
            return None
        if network.driver != DRIVER:
            return None
        definition = definition_of(network)
        self.write(Record(self._node, identity, definition))
        self._on_change()
        return definition

    def sharing(self, subnet: str) -> int:
        """See Networks."""
        with self._lock:
            return sum(subnet in record.definition.subnets for record in self._records.values())

    def entry(self, name: str) -> Entry | None:
        """A network of the cluster; one that cannot be read counts as absent."""
        found = self._store.get(definitions.entry_key(name)).items if name else ()
        try:
            value = definitions.read(found[0].key, found[0].value, found[0].mod_revision) if found else None
        except ValueError:
            return None
        return value if isinstance(value, Entry) else None

    def write(self, record: Record, *also: Operation, guards: tuple[Guard, ...] = ()) -> bool:
        """Write a record of this node, with other operations while `guards` hold; whether they did."""
        outcome = self._store.commit(guards, [Put(record.key, definitions.write_record(record)), *also])
        if outcome.succeeded:
            with self._lock:
                self._records[record.id] = record._replace(revision=outcome.revision)
        return outcome.succeeded

    def forget(self, record: Record) -> None:
        """Drop the record of a network that the engine does not have, unless it was written again meanwhile."""
        if self._store.commit([Guard(record.key, record.revision)], [Delete(record.key)]).succeeded:
            with self._lock:
                self._records.pop(record.id, None)

    def load(self) -> tuple[dict[str, Entry], list[Record], frozenset[str]]:
        """The whole registry: networks of the cluster by name, every node's records, and names that are unreadable."""
        entries: dict[str, Entry] = {}
        records: list[Record] = []
        unreadable: list[str] = []
        for item in listing(self._store, definitions.REGISTRY).items:
            try:
                value = definitions.read(item.key, item.value, item.mod_revision)
            except (ValueError, TypeError) as error:
                _log.warning("cannot be read: %s", fields(key=item.key, error=error))
                unreadable.append(item.key.removeprefix(definitions.ENTRIES))
                continue
            if isinstance(value, Entry):
                entries[value.name] = value
            elif isinstance(value, Record):
                records.append(value)
        with self._lock:
            for record in records:
                if record.node == self._node:
                    known = self._records.get(record.id)
                    if known is None or known.revision < record.revision:
                        self._records[record.id] = record
        return entries, records, frozenset(unreadable)

    def _record(self, identity: str, afresh: bool = False) -> Record | None:
        with self._lock:
            known = self._records.get(identity)
        if known is not None and not afresh:
            return known
        key = Record(self._node, identity, Definition()).key
        found = self._store.get(key).items
        value = definitions.read(key, found[0].value, found[0].mod_revision) if found else None
        if not isinstance(value, Record):
            return None
        with self._lock:
            self._records[identity] = value
        return value


class GlobalNetworks:
    """Upstream's way, for engines with a cluster store: one id for all nodes, noted at the pools of the network."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, identity: str, definition: Definition) -> None:
        """See Networks."""
        notes = {NETWORK_ANNOTATION: identity}
        if definition.profile:
            notes[PROFILE_ANNOTATION] = definition.profile
        for pool in self._client.list("IPPool").items:
            if pool.spec.cidr in definition.subnets:
                self._annotate(pool.metadata.name, lambda annotations: {**annotations, **notes})

    def delete(self, identity: str) -> None:
        """See Networks. Upstream clears the first pool of the network only."""
        for pool in self._client.list("IPPool").items:
            if pool.metadata.annotations.get(NETWORK_ANNOTATION) == identity:
                self._annotate(pool.metadata.name, _without_ours)

    def find(self, identity: str) -> Definition | None:
        """See Networks."""
        pools = [
            pool
            for pool in self._client.list("IPPool").items
            if pool.metadata.annotations.get(NETWORK_ANNOTATION) == identity
        ]
        if not pools:
            return None
        profile = pools[0].metadata.annotations.get(PROFILE_ANNOTATION, "")
        subnets = tuple(pool.spec.cidr for pool in pools)
        return Definition(subnets, profile, ipv6=any(":" in subnet for subnet in subnets))

    def sharing(self, subnet: str) -> int:
        """See Networks: a pool has one annotation."""
        return 1

    def _annotate(self, name: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
        for _ in range(_ATTEMPTS):
            pool = self._client.get("IPPool", name)
            wanted = change(dict(pool.metadata.annotations))
            try:
                if wanted != pool.metadata.annotations:
                    self._client.update(with_metadata(pool, annotations=wanted))
                return
            except ConflictError:
                continue
        raise ConflictError(f"IPPool({name})")


def _without_ours(annotations: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in annotations.items() if not name.startswith(ANNOTATION_PREFIX)}
