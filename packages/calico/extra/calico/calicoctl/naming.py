"""Which kind and which namespace the words of a command line mean."""

from typing import Any

from calico.calicoctl.session import Failure
from calico.model.kinds import KINDS, Kind, find
from calico.model.problems import nearest
from calico.model.resource import Resource, with_metadata

AnyResource = Resource[Any]
DEFAULT_NAMESPACE = "default"


def placed(resource: AnyResource, namespace: str) -> AnyResource:
    """The resource in the namespace it says, else the one given with -n, else `default`; raises Failure."""
    kind, own = KINDS[resource.kind], resource.metadata.namespace
    _refuse_namespace(kind, namespace)
    if not kind.namespaced:
        return resource
    if own and namespace and own != namespace:
        raise Failure(
            f"{resource.id}: the namespace of the resource, {own}, is not the one given with -n, {namespace}; "
            "leave one of them out"
        )
    return with_metadata(resource, namespace=own or namespace or DEFAULT_NAMESPACE)


def kind_of(word: str) -> Kind:
    """The kind a user means by `word`; raises Failure."""
    kind = find(word)
    if kind is None:
        hint = nearest(word, (alias for one in KINDS.values() for alias in one.aliases))
        raise Failure(f"resource type '{word}' is not supported" + (f" ({hint})" if hint else ""))
    return kind


def namespace_of(kind: Kind, namespace: str) -> str:
    """Where to look for a resource of `kind`: empty for a cluster-wide one; raises Failure."""
    _refuse_namespace(kind, namespace)
    return (namespace or DEFAULT_NAMESPACE) if kind.namespaced else ""


def _refuse_namespace(kind: Kind, namespace: str) -> None:
    if namespace and not kind.namespaced:
        raise Failure(
            "namespace should not be specified for a non-namespaced resource: "
            f"{kind.name} belongs to the whole cluster; leave out -n"
        )
