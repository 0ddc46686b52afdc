"""`Client`: create, read, change, delete and watch resources of every kind.

Writes are guarded as upstream guards them (created only where nothing is, changed and deleted only as of the revision
read), validated first, and followed by the side effects of sideeffects.py. A write whose answer was lost is looked up
once; IndeterminateError is raised only where that does not settle it.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from calico.client import sideeffects, values
from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError, UnsupportedError
from calico.datastore import log
from calico.datastore.errors import IndeterminateError
from calico.datastore.store import KeyValue, Outcome, Store, create, listing, remove, replace
from calico.model.keys import ResourceKey, list_prefix
from calico.model.problems import ModelError, Problem
from calico.model.resource import Resource, prepare, resource_id, validate, with_metadata

DEFAULT_ALLOW_NAME = "projectcalico-default-allow"
_GIVEN_UP_AFTER = 10

AnyResource = Resource[Any]


class ResourceList(NamedTuple):
    """Resources as of one revision, in the order of their keys. `unreadable` counts values that were left out."""

    revision: int
    items: tuple[AnyResource, ...]
    unreadable: int = 0


class Applied(NamedTuple):
    """What `apply` did."""

    resource: AnyResource
    created: bool


class Change(NamedTuple):
    """One step of a watch: `type` is ADDED, MODIFIED or DELETED (with the last resource known), or SYNCED (with none).

    Everything up to the first SYNCED is what was there at the start; a later one ends a new listing.
    """

    type: str
    resource: AnyResource | None


class Client:
    """Resources in a `Store`. `allocations` gives deletions of pools and nodes their effect on IPAM."""

    def __init__(self, store: Store, allocations: "sideeffects.Allocations | None" = None) -> None:
        self.store = store
        self.allocations = allocations

    # -- reading ---------------------------------------------------------------------------------------------------

    def get(self, kind: str, name: str, namespace: str = "", revision: int = 0) -> AnyResource:
        """One resource, now or as of a revision. Raise NotFoundError."""
        if kind == "Profile" and name == DEFAULT_ALLOW_NAME:
            return _default_allow()
        found = self.store.get(ResourceKey(kind, name, namespace).path, revision)
        if not found.items:
            raise NotFoundError(resource_id(kind, namespace, name))
        return values.read(found.items[0])

    def list(self, kind: str, namespace: str = "", revision: int = 0) -> ResourceList:
        """The resources of a kind, all or those of one namespace. What cannot be read is logged and left out."""
        found = listing(self.store, list_prefix(kind, namespace), revision)
        items = [resource for item in found.items if (resource := _readable(item)) is not None]
        unreadable = len(found.items) - len(items)
        if kind == "Profile":
            items.append(_default_allow())
        return ResourceList(found.revision, tuple(items), unreadable)

    def watch(self, kind: str, namespace: str = "", tick: float = 3600.0) -> "Iterator[Change | None]":
        """What is there, then every change, for ever; None every `tick` seconds without any."""
        from calico.datastore.syncer import InSync, Syncer

        known: dict[str, AnyResource] = {}
        syncer = Syncer(self.store, {list_prefix(kind, namespace): values.decode_resource})
        try:
            for batch in syncer.batches(tick):
                if not batch:
                    yield None
                for update in batch:
                    if isinstance(update, InSync):
                        yield Change("SYNCED", None)
                    elif update.value is None:
                        yield Change("DELETED", known.pop(update.key))
                    else:
                        yield Change("MODIFIED" if update.key in known else "ADDED", update.value)
                        known[update.key] = update.value
        finally:
            syncer.stop()

    # -- writing ---------------------------------------------------------------------------------------------------

    def create(self, resource: AnyResource) -> AnyResource:
        """Store a new resource; as stored. Raise AlreadyExistsError, or ModelError for an invalid one."""
        if _is_default_allow(resource):
            raise AlreadyExistsError(resource.id)
        if resource.metadata.resource_version:
            raise ModelError([_problem(resource, "resourceVersion", "must not be set to create a resource")])
        resource = self._checked(_with_birth(resource), None)
        sideeffects.before_write(self, resource)
        key, value = values.write(resource)
        try:
            outcome = create(self.store, key, value)
        except IndeterminateError:
            outcome = self._look_up(key, value, 0)
        if not outcome.succeeded:
            raise AlreadyExistsError(resource.id)
        return with_metadata(resource, resource_version=str(outcome.revision))

    def update(self, resource: AnyResource) -> AnyResource:
        """Store a resource changed since it was read: its version, uid and creation time are those of what was read.

        Raise ConflictError where somebody else changed it meanwhile, NotFoundError, or ModelError.
        """
        if _is_default_allow(resource):
            raise _default_allow_is_fixed("Update")
        metadata = resource.metadata
        missing = [
            _problem(resource, member, "must be set to update a resource")
            for member, value in (
                ("resourceVersion", metadata.resource_version),
                ("creationTimestamp", metadata.creation_timestamp),
                ("uid", metadata.uid),
            )
            if not value
        ]
        if missing:
            raise ModelError(missing)
        stored = self.get(resource.kind, metadata.name, metadata.namespace) if resource.kind == "IPPool" else None
        resource = self._checked(resource, stored)
        sideeffects.before_write(self, resource)
        return self._replace(resource)

    def replace(self, resource: AnyResource) -> AnyResource:
        """Store a resource in the place of the one there, whose uid and creation time it takes.

        A resourceVersion it carries must be that of the one there. Raise ConflictError, NotFoundError or ModelError.
        """
        if _is_default_allow(resource):
            raise _default_allow_is_fixed("Update")
        metadata = resource.metadata
        for _ in range(_GIVEN_UP_AFTER):
            stored = self.get(resource.kind, metadata.name, metadata.namespace)
            successor = with_metadata(
                resource,
                resource_version=metadata.resource_version or stored.metadata.resource_version,
                uid=stored.metadata.uid or _uid(),
                creation_timestamp=stored.metadata.creation_timestamp or _now(),
            )
            try:
                return self.update(successor)
            except ConflictError:
                if metadata.resource_version:
                    raise
        raise ConflictError(resource.id)

    def apply(self, resource: AnyResource) -> Applied:
        """Create the resource, or put it in the place of the one there.

        A resourceVersion it carries counts only where the resource exists: an exported resource can be restored.
        """
        for _ in range(_GIVEN_UP_AFTER):
            try:
                return Applied(self.replace(resource), created=False)
            except NotFoundError:
                pass
            try:
                return Applied(self.create(with_metadata(resource, resource_version="")), created=True)
            except AlreadyExistsError:
                continue  # made between the two
        raise ConflictError(resource.id)

    def delete(self, kind: str, name: str, namespace: str = "", resource_version: str = "") -> AnyResource | None:
        """Delete a resource and what hangs on it; as it was, None where that cannot be told.

        Raise NotFoundError, or ConflictError where it is not of the version given.
        """
        if kind == "Profile" and name == DEFAULT_ALLOW_NAME:
            raise _default_allow_is_fixed("Delete")
        resource_version = sideeffects.before_delete(self, kind, name, namespace, resource_version)
        identity = resource_id(kind, namespace, name)
        key = ResourceKey(kind, name, namespace).path
        try:
            outcome = remove(self.store, key, _revision(identity, resource_version))
        except IndeterminateError:
            if self.store.get(key).items:
                raise
            return None  # gone, by this deletion or another
        found = outcome.results[0]
        if not found:
            raise NotFoundError(identity)
        if not outcome.succeeded:
            raise ConflictError(identity)
        return _readable(found[0])

    # -- how -------------------------------------------------------------------------------------------------------

    def _checked(self, resource: AnyResource, stored: AnyResource | None) -> AnyResource:
        """The resource with its defaults; raise ModelError with everything that is wrong with it."""
        resource = prepare(resource)
        problems = [*validate(resource), *sideeffects.problems(self, resource, stored)]
        if problems:
            raise ModelError(problems)
        return resource

    def _replace(self, resource: AnyResource) -> AnyResource:
        key, value = values.write(resource)
        revision = _revision(resource.id, resource.metadata.resource_version)
        try:
            outcome = replace(self.store, key, value, revision)
        except IndeterminateError:
            outcome = self._look_up(key, value, revision)
        if not outcome.succeeded:
            raise ConflictError(resource.id) if outcome.results[0] else NotFoundError(resource.id)
        return with_metadata(resource, resource_version=str(outcome.revision))

    def _look_up(self, key: str, value: bytes, before: int) -> Outcome:
        """What became of a write over revision `before` whose answer was lost.

        Values carry their resource's uid, so that one that equals ours, written later than `before`, is ours or the
        same. While `before` still stands the write may be on its way: that stays open.
        """
        found = self.store.get(key).items
        if (found[0].mod_revision if found else 0) == before:
            raise IndeterminateError(f"{key}: no answer to a write; it may still happen")
        if found and found[0].value == value:
            return Outcome(True, found[0].mod_revision, ())
        return Outcome(False, 0, (found,))


def _readable(item: KeyValue) -> AnyResource | None:
    try:
        return values.read(item)
    except ModelError as error:
        log.warning("cannot be read: %s", error)
        return None


def _with_birth(resource: AnyResource) -> AnyResource:
    """A resource that is to be created, with the uid and creation time it lacks."""
    metadata = resource.metadata
    return with_metadata(resource, uid=metadata.uid or _uid(), creation_timestamp=metadata.creation_timestamp or _now())


def _uid() -> str:
    import uuid

    return str(uuid.uuid4())


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _revision(identity: str, text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ModelError([Problem(identity, ("metadata", "resourceVersion"), f"{text!r} is not a revision of etcd")])
    return int(text or 0)


def _problem(resource: AnyResource, member: str, message: str) -> Problem:
    return Problem(resource.id, ("metadata", member), message)


def _default_allow() -> AnyResource:
    from calico.model.profile import DEFAULT_ALLOW

    return DEFAULT_ALLOW


def _is_default_allow(resource: AnyResource) -> bool:
    return resource.kind == "Profile" and resource.metadata.name == DEFAULT_ALLOW_NAME


def _default_allow_is_fixed(operation: str) -> UnsupportedError:
    reason = "it is always there, and always allows everything"
    return UnsupportedError(resource_id("Profile", "", DEFAULT_ALLOW_NAME), operation, reason)
