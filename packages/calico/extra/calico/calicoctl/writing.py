"""How calicoctl writes a resource: what it keeps of a document's metadata, and what it never touches."""

import time
from collections.abc import Callable
from typing import Any

from calico.client.errors import AlreadyExistsError, ConflictError, NotFoundError, ResourceError, UnsupportedError
from calico.client.resources import Client
from calico.model.metadata import Metadata
from calico.model.problems import ModelError, Problem
from calico.model.resource import Resource, prepare, resource_id

AnyResource = Resource[Any]
_ATTEMPTS = 5
_PAUSE = 1.0


def create(client: Client, resource: AnyResource) -> AnyResource:
    """A new resource: of its metadata only names, labels and annotations count."""
    resource = _writable(resource, "create")
    given = resource.metadata
    metadata = Metadata(given.name, namespace=given.namespace, labels=given.labels, annotations=given.annotations)
    return client.create(resource._replace(metadata=metadata))


def replace(client: Client, resource: AnyResource, operation: str = "replace") -> AnyResource:
    """The resource in the place of the one there, whose metadata stays but for labels and annotations."""
    resource = _writable(resource, operation)
    given = resource.metadata

    def changed(stored: AnyResource) -> AnyResource:
        metadata = stored.metadata._replace(labels=given.labels, annotations=given.annotations)
        if given.resource_version:
            metadata = metadata._replace(resource_version=given.resource_version)
        return resource._replace(metadata=metadata)

    attempts = 1 if given.resource_version else _ATTEMPTS
    return change(client, resource.kind, given.name, given.namespace, changed, attempts)


def apply(client: Client, resource: AnyResource) -> AnyResource:
    """Replace the resource, or create it where there is none."""
    try:
        return replace(client, resource, "apply")
    except NotFoundError:
        pass
    try:
        return create(client, resource)
    except AlreadyExistsError:  # made between the two, or always there
        return replace(client, resource, "apply")


def delete(client: Client, kind: str, name: str, namespace: str = "", resource_version: str = "") -> None:
    """Delete the resource, when a version is given only as of it; with a pool or a node goes what IPAM holds for it."""
    refuse_foreign(kind, name, namespace, "delete")
    if kind not in ("IPPool", "Node"):
        client.delete(kind, name, namespace, resource_version)
        return
    from calico.ipam.allocator import Ipam
    from calico.ipam.errors import IpamError

    client.allocations = Ipam(client.store)
    try:
        client.delete(kind, name, namespace, resource_version)
    except IpamError as error:
        identity = resource_id(kind, namespace, name)
        raise ResourceError(identity, f"{identity}: {error}") from None


def change(
    client: Client,
    kind: str,
    name: str,
    namespace: str,
    changed: Callable[[AnyResource], AnyResource],
    attempts: int = _ATTEMPTS,
) -> AnyResource:
    """Read, change and write back, again while others write in between; raises ConflictError in the end."""
    for attempt in range(attempts):
        if attempt:
            time.sleep(_PAUSE)
        stored = client.get(kind, name, namespace)
        successor = changed(stored)
        if _same(stored, successor):
            return stored
        try:
            return client.replace(successor)
        except ConflictError:
            if attempt == attempts - 1:
                raise
    raise AssertionError("the loop returns or raises")


def _same(stored: AnyResource, successor: AnyResource) -> bool:
    """Whether a write would change nothing. What has no uid is not stored as it stands."""
    return bool(stored.metadata.uid) and prepare(successor) == stored


def _writable(resource: AnyResource, operation: str) -> AnyResource:
    resource = prepare(resource)
    metadata = resource.metadata
    if not metadata.name:
        raise ModelError([Problem(resource.kind, ("metadata", "name"), "resource name may not be empty")])
    refuse_foreign(resource.kind, metadata.name, metadata.namespace, operation)
    return resource


def refuse_foreign(kind: str, name: str, namespace: str, operation: str) -> None:
    """Raise UnsupportedError for what somebody else keeps: the cluster's record, and Kubernetes' own policies."""
    if kind == "ClusterInformation":
        raise UnsupportedError(kind, operation, "resource is readonly")
    if kind == "NetworkPolicy" and name.startswith("knp.default."):
        reason = "kubernetes network policies must be managed through the kubernetes API"
        raise UnsupportedError(f"{kind}({namespace}/{name})", operation, reason)
