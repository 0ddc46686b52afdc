"""Where things live in etcd: resource keys and stored names, and the keys of the tables kept beside them.

Everything stands under `/calico/`. A policy's stored name carries the prefix `default.`; a CIDR in a key has `-` for
its `/`; in felix's status keys each component after the host is escaped, so that a key always splits at its slashes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from calico.model.kinds import BY_PLURAL, KINDS, PREFIXED
from calico.model.problems import ModelError, Problem
from calico.model.resource import Resource, decode, encode, with_metadata

RESOURCES = "/calico/resources/v3/projectcalico.org/"
_TIER = "default."
_FOREIGN = ("knp.", "ossg.")
_ORCHESTRATOR_LABEL = "projectcalico.org/orchestrator"
NAMESPACE_LABEL = "projectcalico.org/namespace"


class ResourceKey(NamedTuple):
    """A resource as a user names it; `namespace` is empty for cluster-wide kinds."""

    kind: str
    name: str
    namespace: str = ""

    @property
    def path(self) -> str:
        """The key in etcd."""
        return list_prefix(self.kind, self.namespace) + stored_name(self.kind, self.name)

    @classmethod
    def parse(cls, key: str) -> "ResourceKey | None":
        """The resource a key in etcd holds; None for any other key."""
        if not key.startswith(RESOURCES):
            return None
        plural, *rest = key[len(RESOURCES) :].split("/")
        kind = BY_PLURAL.get(plural)
        if kind is None or len(rest) != 1 + kind.namespaced or not all(rest):
            return None
        return cls(kind.name, user_name(kind.name, rest[-1]), rest[0] if kind.namespaced else "")


def list_prefix(kind: str, namespace: str = "") -> str:
    """The prefix of all keys of a kind, or of those in one namespace."""
    prefix = f"{RESOURCES}{KINDS[kind].plural}/"
    return f"{prefix}{namespace}/" if namespace else prefix


def stored_name(kind: str, name: str) -> str:
    """The name under which etcd holds what a user calls `name`."""
    return name if kind not in PREFIXED or name.startswith(_FOREIGN) else _TIER + name


def user_name(kind: str, stored: str) -> str:
    """The inverse of `stored_name`."""
    if kind not in PREFIXED or stored.startswith(_FOREIGN):
        return stored
    _, dot, name = stored.partition(".")
    return name if dot else stored


def to_stored(resource: Resource[Any]) -> tuple[str, dict[str, Any]]:
    """The key and the document to store: no resourceVersion, the prefixed name, the labels every endpoint carries."""
    metadata = resource.metadata
    key = ResourceKey(resource.kind, metadata.name, metadata.namespace).path
    labels = metadata.labels
    if resource.kind == "WorkloadEndpoint":
        labels = {**labels, NAMESPACE_LABEL: metadata.namespace, _ORCHESTRATOR_LABEL: resource.spec.orchestrator}
    name = stored_name(resource.kind, metadata.name)
    return key, encode(with_metadata(resource, name=name, labels=labels, resource_version=""))


def from_stored(key: str, document: Mapping[str, Any], revision: int) -> Resource[Any]:
    """The resource a key holds, as a user sees it, at etcd's mod_revision; raises ModelError when it is unreadable."""
    resource = decode(document, where=key, strict=False)
    if not key.startswith(list_prefix(resource.kind)):
        raise ModelError([Problem(key, ("kind",), f"{resource.kind} does not belong under this key")])
    name = user_name(resource.kind, resource.metadata.name)
    return with_metadata(resource, name=name, resource_version=str(revision))


def escape(part: str) -> str:
    """A component of a felix status key."""
    return part.replace("%", "%25").replace("/", "%2f")


def unescape(part: str) -> str:
    """The inverse of `escape`."""
    return part.replace("%2f", "/").replace("%25", "%")


def cidr_in_key(cidr: str) -> str:
    """`172.29.12.64-26` of `172.29.12.64/26`."""
    return cidr.replace("/", "-", 1)


def cidr_from_key(text: str) -> str:
    """The inverse of `cidr_in_key`."""
    return text.replace("-", "/", 1)


def _family(cidr: str) -> str:
    return "ipv6" if ":" in cidr else "ipv4"


IPAM = "/calico/ipam/v2/"
BLOCKS = f"{IPAM}assignment/"
HOSTS = f"{IPAM}host/"
HANDLES = f"{IPAM}handle/"
IPAM_CONFIG = f"{IPAM}config"
_FELIX = "/calico/felix/"
STATUS = f"{_FELIX}v2/"
HOST_ENDPOINT_STATUS = f"{_FELIX}v1/host/"


class BlockKey(NamedTuple):
    """An allocation block; `cidr` in Go's canonical text."""

    cidr: str

    @property
    def path(self) -> str:
        """The key in etcd."""
        return f"{BLOCKS}{_family(self.cidr)}/block/{cidr_in_key(self.cidr)}"


class AffinityKey(NamedTuple):
    """A host's claim on a block."""

    host: str
    cidr: str

    @property
    def path(self) -> str:
        """The key in etcd."""
        return f"{HOSTS}{self.host}/{_family(self.cidr)}/block/{cidr_in_key(self.cidr)}"


class HandleKey(NamedTuple):
    """An IPAM handle."""

    handle_id: str

    @property
    def path(self) -> str:
        """The key in etcd."""
        return f"{HANDLES}{self.handle_id}"


class IPAMConfigKey(NamedTuple):
    """The one IPAM configuration."""

    @property
    def path(self) -> str:
        """The key in etcd."""
        return IPAM_CONFIG


class FelixStatusKey(NamedTuple):
    """A felix's report of itself; `last` is the copy that outlives its lease."""

    host: str
    last: bool = False
    region: str = ""

    @property
    def path(self) -> str:
        """The key in etcd."""
        return f"{STATUS}{_region(self.region)}/host/{self.host}/{'last_reported_status' if self.last else 'status'}"


class WorkloadStatusKey(NamedTuple):
    """A workload endpoint's status; `workload` is `<namespace>/<workload part of the endpoint's name>`."""

    host: str
    orchestrator: str
    workload: str
    endpoint: str
    region: str = ""

    @property
    def path(self) -> str:
        """The key in etcd."""
        workload = f"workload/{escape(self.orchestrator)}/{escape(self.workload)}/endpoint/{escape(self.endpoint)}"
        return f"{STATUS}{_region(self.region)}/host/{self.host}/{workload}"


class HostEndpointStatusKey(NamedTuple):
    """A host endpoint's status."""

    host: str
    name: str

    @property
    def path(self) -> str:
        """The key in etcd."""
        return f"{HOST_ENDPOINT_STATUS}{self.host}/endpoint/{escape(self.name)}"


Key = (
    ResourceKey
    | BlockKey
    | AffinityKey
    | HandleKey
    | IPAMConfigKey
    | FelixStatusKey
    | WorkloadStatusKey
    | HostEndpointStatusKey
)


def _region(region: str) -> str:
    return f"region-{region}" if region else "no-region"


def parse_key(key: str) -> Key | None:
    """What any key under `/calico/` stands for; None for one that nobody of v3.14 writes."""
    if key.startswith(RESOURCES):
        return ResourceKey.parse(key)
    if key.startswith(IPAM):
        return _parse_ipam(key[len(IPAM) :])
    return _parse_felix(key[len(_FELIX) :].split("/")) if key.startswith(_FELIX) else None


def _parse_ipam(rest: str) -> Key | None:
    match rest.split("/"):
        case ["assignment", "ipv4" | "ipv6", "block", cidr] if cidr:
            return BlockKey(cidr_from_key(cidr))
        case ["host", host, "ipv4" | "ipv6", "block", cidr] if host and cidr:
            return AffinityKey(host, cidr_from_key(cidr))
        case ["config"]:
            return IPAMConfigKey()
    handle = rest.removeprefix("handle/")
    return HandleKey(handle) if handle and handle != rest else None


def _parse_felix(parts: list[str]) -> Key | None:
    if any(not part for part in parts):
        return None
    match parts:
        case ["v1", "host", host, "endpoint", name]:
            return HostEndpointStatusKey(host, unescape(name))
        case ["v2", region, "host", host, "status" | "last_reported_status" as word] if _is_region(region):
            return FelixStatusKey(host, word != "status", region.partition("-")[2] * (region != "no-region"))
        case ["v2", region, "host", host, "workload", orchestrator, workload, "endpoint", name] if _is_region(region):
            return WorkloadStatusKey(
                host,
                unescape(orchestrator),
                unescape(workload),
                unescape(name),
                region.partition("-")[2] * (region != "no-region"),
            )
    return None


def _is_region(text: str) -> bool:
    return text == "no-region" or (text.startswith("region-") and len(text) > len("region-"))
