"""Which network an engine's id stands for: `LocalNetworks` asks the registry, `GlobalNetworks` pools' annotations."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Protocol

from calico.client.errors import ConflictError
from calico.client.resources import Client
from calico.daemon.log import fields
from calico.datastore.errors import IndeterminateError
from calico.datastore.store import Delete, Guard, Operation, Put, Store, listing
from calico.libnetwork.engine import Engine, EngineAwayError, EngineNetwork, EngineRefusedError
from calico.model import registry
from calico.model.registry import PROFILE_OPTION, Definition, Entry, Record
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

    def successors(self, subnet: str) -> tuple[str, ...]:
        """The subnets that containers of the network over a subnet get their addresses from, when it gives none.

        `subnet` is empty for a pool that is gone.
        """


def definition_of(network: EngineNetwork) -> Definition:
    """An engine's network as the registry has it."""
    return Definition(
        subnets=network.subnets,
        profile=network.options.get(PROFILE_OPTION, ""),
        ipv6=network.ipv6,
        labels=dict(network.labels),
    )


class LocalNetworks:
    """The registry in etcd. `on_change` is called after a network of the engine came or went.

    Only this process writes its node's records, so what it wrote or read it need not read again.
    """

    def __init__(
        self, store: Store, engine: Engine, node: str, default: Entry | None, on_change: Callable[[], None]
    ) -> None:
        self._store, self._engine, self._node = store, engine, node
        self._default = default.name if default else ""
        self._default_subnets = default.definition.subnets if default else ()
        self._on_change = on_change
        self._lock = Lock()
        self._records: dict[str, Record] = {}
        self._expected: tuple[str, Definition] | None = None
        self.last_delete = time.monotonic()
        """When a DeleteNetwork last came; the process's start where none has."""

    def create(self, identity: str, definition: Definition) -> None:
        """See Networks. A driver is not told the name: unless we asked for it, it is read from the engine later."""
        known = self._record(identity)
        if known is None or not known.definition.matches(definition):
            name = known.name if known else self._expected_name(definition)
            self.write(Record(self._node, identity, definition, name))
        self._on_change()

    @contextmanager
    def expecting(self, name: str, definition: Definition) -> Iterator[None]:
        """While the plugin has the engine make a network, it knows the name of the one that comes."""
        self._expected = (name, definition)
        try:
            yield
        finally:
            self._expected = None

    def _expected_name(self, definition: Definition) -> str:
        """The name a new network must have; should it be another's that is made at the same time, `plan` rights it."""
        expected = self._expected
        return expected[0] if expected is not None and expected[1].matches(definition) else ""

    def delete(self, identity: str) -> None:
        """See Networks. Of a network of the whole cluster it is written down: `plan` decides what that means."""
        for _ in range(_ATTEMPTS):
            try:
                if self._delete(identity):
                    break
            except IndeterminateError:
                continue  # to do it again is harmless
        else:
            raise ConflictError(f"network {identity}")
        self.last_delete = time.monotonic()
        self._on_change()

    def _delete(self, identity: str) -> bool:
        record = self._record(identity, afresh=True)
        if record is None or record.removed:
            return True
        if not record.name or record.name == self._default or record.private or record.leaving:
            return self.forget(record)
        return self.write(record._replace(removed=True), guards=(Guard(record.key, record.revision),))

    def removed(self) -> set[str]:
        """Networks that were taken from the engine, and of which the cluster has not been told."""
        with self._lock:
            return {record.id for record in self._records.values() if record.removed}

    def find(self, identity: str) -> Definition | None:
        """See Networks. One that came about while etcd was without its record is learned from the engine."""
        if record := self._record(identity):
            return self._with_successors(record)
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

    def _with_successors(self, record: Record) -> Definition:
        """A network as its endpoints find it: that of every agent is also over the pool that replaced its first."""
        definition = record.definition
        if record.name != self._default or set(self._default_subnets) <= set(definition.subnets):
            return definition
        return definition._replace(subnets=(*definition.subnets, *self._default_subnets))

    def successors(self, subnet: str) -> tuple[str, ...]:
        """See Networks. Only the network of every agent, whose pool may be migrated, has any."""
        with self._lock:
            own = [record for record in self._records.values() if record.name == self._default]
        is_ours = any(not subnet or subnet in record.definition.subnets for record in own)
        return tuple(one for one in self._default_subnets if one != subnet) if is_ours else ()

    def sharing(self, subnet: str) -> int:
        """See Networks."""
        with self._lock:
            return sum(subnet in record.definition.subnets for record in self._records.values())

    def write(self, record: Record, *also: Operation, guards: tuple[Guard, ...] = ()) -> bool:
        """Write a record of this node, with other operations while `guards` hold; whether they did."""
        outcome = self._store.commit(guards, [Put(record.key, registry.write_record(record)), *also])
        if outcome.succeeded:
            with self._lock:
                self._records[record.id] = record._replace(revision=outcome.revision)
        return outcome.succeeded

    def forget(self, record: Record, *also: Operation, guards: tuple[Guard, ...] = ()) -> bool:
        """Delete a record of this node, with other operations, while it and `guards` stand; whether they did."""
        own = Guard(record.key, record.revision)
        done = self._store.commit((own, *guards), [Delete(record.key), *also]).succeeded
        if done:
            with self._lock:
                self._records.pop(record.id, None)
        return done

    def load(self) -> tuple[dict[str, Entry], list[Record], frozenset[str]]:
        """The whole registry: networks of the cluster by name, every node's records, and names that are unreadable."""
        entries: dict[str, Entry] = {}
        records: list[Record] = []
        unreadable: list[str] = []
        for item in listing(self._store, registry.REGISTRY).items:
            try:
                value = registry.read(item.key, item.value, item.mod_revision)
            except (ValueError, TypeError) as error:
                _log.warning("cannot be read: %s", fields(key=item.key, error=error))
                unreadable.append(item.key.removeprefix(registry.ENTRIES))
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
        value = registry.read(key, found[0].value, found[0].mod_revision) if found else None
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

    def successors(self, subnet: str) -> tuple[str, ...]:
        """See Networks: a pool's annotations stay with it."""
        return ()

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
