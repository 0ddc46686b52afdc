"""Resources as values: reading a document, writing it in upstream's shape, defaults and validation."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from calico.model.kinds import API_VERSION, KINDS, Kind
from calico.model.metadata import METADATA, Metadata
from calico.model.problems import ModelError, Path, Problem, Report, nearest, shown
from calico.model.schema import Struct

S = TypeVar("S")


class Resource(NamedTuple, Generic[S]):
    """One resource. `spec` (and `status`, of the two kinds that have one) are the NamedTuples of the kind's module."""

    kind: str
    metadata: Metadata
    spec: S
    status: Any = None

    @property
    def id(self) -> str:
        """`IPPool(a)` or `NetworkPolicy(default/a)`: how messages name the resource."""
        return resource_id(self.kind, self.metadata.namespace, self.metadata.name)


class Definition(NamedTuple):
    """What a kind's module says about it.

    `prepare` fills in what a write does before it validates; `check` reports what concerns the whole resource;
    `name_rule` gives what is wrong with a name.
    """

    spec: Struct
    name_rule: Callable[[str], str]
    status: Struct | None = None
    prepare: Callable[[Resource[Any]], Resource[Any]] | None = None
    check: Callable[[Resource[Any], Report], None] | None = None


_TOP = ("kind", "apiVersion", "metadata", "spec", "status")


def resource_id(kind: str, namespace: str, name: str) -> str:
    """`Kind(name)`, or `Kind(namespace/name)` of a namespaced one."""
    return f"{kind}({namespace}/{name})" if namespace else f"{kind}({name})"


def decode(document: Mapping[str, Any], *, where: str = "", strict: bool = True) -> Resource[Any]:
    """The typed resource of a v3 document; raises ModelError with everything that cannot be read.

    `strict` is for a document a user wrote: members that do not exist are refused. Without it, as for a value from
    etcd, they are ignored. A readable resource need not be a valid one: see `validate`.
    """
    report = Report(where, strict)
    kind = _kind_of(document, report)
    if kind is None:
        raise ModelError(report.problems)
    definition = kind.definition()
    members = _top_members(document, definition, report)
    metadata = _part(METADATA, members, "metadata", report)
    spec = _part(definition.spec, members, "spec", report)
    status = _part(definition.status, members, "status", report) if definition.status else None
    if report.problems:
        raise ModelError(report.problems)
    return Resource(kind.name, metadata, spec, status)


def _part(struct: Struct, members: Mapping[str, Any], name: str, report: Report) -> Any:
    value = members.get(name)
    return struct.zero if value is None else struct.decode(value, (name,), report)


def _kind_of(document: Mapping[str, Any], report: Report) -> Kind | None:
    if not isinstance(document, Mapping):
        report.add((), f"a resource is a mapping, not {shown(document)}")
        return None
    name, version = document.get("kind"), document.get("apiVersion")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is not None and version == API_VERSION:
        return kind
    hint = f"apiVersion is {API_VERSION}" if kind is not None else _meant(str(name or ""), version)
    said = " and/or ".join((f"resource type ({name or ''})", f"version ({version or ''})"))
    report.add((), f"Unknown {said}", hint)
    return None


def _meant(name: str, version: object) -> str:
    if version != "v1":
        return nearest(name, KINDS)
    from calico.model import v1

    return nearest(name, v1.KINDS)


def _top_members(document: Mapping[str, Any], definition: Definition, report: Report) -> dict[str, Any]:
    known = _TOP if definition.status else _TOP[:-1]
    members: dict[str, Any] = {}
    for name, value in document.items():
        member = name if name in known else next((one for one in known if one.lower() == str(name).lower()), None)
        if member is None:
            if report.strict:
                hint = nearest(str(name), known) or f"its members: {', '.join(known)}"
                report.add((str(name),), "no such member", hint)
        elif member in members and report.strict:
            report.add((str(name),), "is given twice, in another spelling")
        else:
            members[member] = value
    return members


def encode(resource: Resource[Any]) -> dict[str, Any]:
    """The resource as upstream writes it: the same members, present and absent in the same cases, in its order."""
    definition = KINDS[resource.kind].definition()
    document = {
        "kind": resource.kind,
        "apiVersion": API_VERSION,
        "metadata": METADATA.encode(resource.metadata),
        "spec": definition.spec.encode(resource.spec),
    }
    if definition.status:
        document["status"] = definition.status.encode(
            definition.status.zero if resource.status is None else resource.status
        )
    return document


def prepare(resource: Resource[Any]) -> Resource[Any]:
    """The resource with the defaults a write fills in before it validates and stores."""
    step = KINDS[resource.kind].definition().prepare
    return step(resource) if step else resource


def validate(resource: Resource[Any], *, where: str = "") -> list[Problem]:
    """Everything that makes the resource invalid; a write is refused unless this is empty.

    Rules that need other resources (overlapping pools, what a stored object may change) are the client's.
    """
    kind = KINDS[resource.kind]
    definition = kind.definition()
    report = Report(where or resource.id)
    _check_name(resource, kind, definition, report)
    METADATA.check(resource.metadata, ("metadata",), report)
    definition.spec.check(resource.spec, ("spec",), report)
    if definition.status and resource.status is not None:
        definition.status.check(resource.status, ("status",), report)
    if definition.check:
        definition.check(resource, report)
    return report.problems


def _check_name(resource: Resource[Any], kind: Kind, definition: Definition, report: Report) -> None:
    path: Path = ("metadata", "name")
    name, namespace = resource.metadata.name, resource.metadata.namespace
    if not name:
        report.add(path, "resource name may not be empty")
    elif message := definition.name_rule(name):
        report.add(path, f"{shown(name)}: {message}")
    if kind.namespaced and not namespace:
        report.add(("metadata", "namespace"), f"must be given: a {kind.name} lives in a namespace")
    elif kind.namespaced and "/" in namespace:
        report.add(("metadata", "namespace"), f"{shown(namespace)}: a namespace holds no '/'")
    elif not kind.namespaced and namespace:
        report.add(("metadata", "namespace"), f"must not be given: a {kind.name} belongs to the whole cluster")


def with_metadata(resource: Resource[S], **changes: Any) -> Resource[S]:
    """The resource with some members of its metadata replaced."""
    return resource._replace(metadata=resource.metadata._replace(**changes))
