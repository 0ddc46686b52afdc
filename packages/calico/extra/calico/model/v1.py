"""The deprecated v1 API as values: what old documents hold, read strictly and checked before conversion."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from calico.model import formats
from calico.model.endpoint import PORTS, EndpointPort
from calico.model.node import OrchRef
from calico.model.problems import ModelError, Path, Report, nearest, shown
from calico.model.rule import ICMP
from calico.model.scalars import AS_NUMBER, PORT, PROTOCOL, Port, Protocol
from calico.model.schema import (
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    TEXTS,
    Choice,
    Codec,
    Listing,
    Member,
    Struct,
    Text,
    TextMap,
)
from calico.model.workloadendpoint import IPNAT

API_VERSION = "v1"


class V1Metadata(NamedTuple):
    """The metadata of all v1 kinds together; each kind has some of it."""

    name: str = ""
    node: str = ""
    orchestrator: str = ""
    workload: str = ""
    active_instance_id: str = ""
    scope: str = ""
    peer_ip: str = ""
    cidr: str = ""
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    tags: tuple[str, ...] = ()


class V1Entity(NamedTuple):
    """One end of a connection; `net` and `nets` are two spellings of one thing."""

    tag: str = ""
    net: str = ""
    nets: tuple[str, ...] = ()
    selector: str = ""
    ports: tuple[Port, ...] = ()
    not_tag: str = ""
    not_net: str = ""
    not_nets: tuple[str, ...] = ()
    not_selector: str = ""
    not_ports: tuple[Port, ...] = ()


class V1Rule(NamedTuple):
    """A rule; an empty action allows."""

    action: str = ""
    ip_version: int | None = None
    protocol: Protocol | None = None
    icmp: ICMP | None = None
    not_protocol: Protocol | None = None
    not_icmp: ICMP | None = None
    source: V1Entity = V1Entity()
    destination: V1Entity = V1Entity()


class V1IPIP(NamedTuple):
    """IP-in-IP of a pool."""

    enabled: bool = False
    mode: str = ""


class V1Pool(NamedTuple):
    """An address pool."""

    ipip: V1IPIP | None = None
    nat_outgoing: bool = False
    disabled: bool = False


class V1Peer(NamedTuple):
    """A BGP peer."""

    as_number: int = 0


class V1NodeBGP(NamedTuple):
    """A node's BGP addresses."""

    as_number: int | None = None
    ipv4_address: str = ""
    ipv6_address: str = ""


class V1Node(NamedTuple):
    """A node."""

    orch_refs: tuple[OrchRef, ...] = ()
    bgp: V1NodeBGP | None = None


class V1HostEndpoint(NamedTuple):
    """An interface of a node."""

    interface_name: str = ""
    expected_ips: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class V1Profile(NamedTuple):
    """Rules of a profile."""

    ingress: tuple[V1Rule, ...] = ()
    egress: tuple[V1Rule, ...] = ()


class V1Policy(NamedTuple):
    """A policy, always global."""

    order: float | None = None
    selector: str = ""
    types: tuple[str, ...] = ()
    do_not_track: bool = False
    pre_dnat: bool = False
    ingress: tuple[V1Rule, ...] = ()
    egress: tuple[V1Rule, ...] = ()


class V1WorkloadEndpoint(NamedTuple):
    """A container's interface."""

    ip_networks: tuple[str, ...] = ()
    ip_nats: tuple[IPNAT, ...] = ()
    ipv4_gateway: str = ""
    ipv6_gateway: str = ""
    profiles: tuple[str, ...] = ()
    interface_name: str = ""
    mac: str = ""
    ports: tuple[EndpointPort, ...] = ()


class V1Resource(NamedTuple):
    """One v1 document."""

    kind: str
    metadata: V1Metadata
    spec: Any


def _label_value(_key: str, value: str) -> str:
    return "" if len(value) <= 63 else f"value of {len(value)} characters is longer than 63"


def _name(text: str) -> str:
    good = text and len(text) <= 128 and all(char.isascii() and (char.isalnum() or char in "_.-/") for char in text)
    return "" if good else "not a name of 1 to 128 letters, digits, '_', '.' and '-'"


_METADATA = {
    "name": Member("name", Text(_name)),
    "node": Member("node", Text(_name)),
    "orchestrator": Member("orchestrator", Text(_name)),
    "workload": Member("workload", Text(_name)),
    "active_instance_id": Member("activeInstanceID", TEXT),
    "scope": Member("scope", Choice("global", "node"), required=True),
    "peer_ip": Member("peerIP", Text(formats.ip), required=True),
    "cidr": Member("cidr", TEXT, required=True),
    "labels": Member("labels", TextMap(_label_value)),
    "annotations": Member("annotations", TextMap()),
    "tags": Member("tags", TEXTS),
}


class _V1Protocol(Codec):
    """A protocol in lower case, or a number."""

    __slots__ = ()
    zero = ""
    decode = PROTOCOL.decode
    _NAMES = ("tcp", "udp", "icmp", "icmpv6", "sctp", "udplite")

    def check(self, value: Any, path: Path, report: Report) -> None:
        if value == 0 or (isinstance(value, str) and value.lower() not in self._NAMES):
            report.add(path, f"{shown(value)} is none of {', '.join(self._NAMES)} and no number from 1 to 255")


def _one_of_each(entity: V1Entity, path: Path, report: Report) -> None:
    for one, many in (("net", "nets"), ("not_net", "not_nets")):
        if getattr(entity, one) and getattr(entity, many):
            words = {"net": "net and nets", "not_net": "notNet and notNets"}[one]
            report.add(path, f"{words} are two spellings of one member: give one of them")


_NET, _SELECTOR, _PORTS = Text(formats.cidr), Text(formats.selector), Listing(PORT)
_ENTITY = Struct(
    V1Entity,
    (
        Member("tag", TEXT),
        Member("net", _NET),
        Member("nets", Listing(_NET)),
        Member("selector", _SELECTOR),
        Member("ports", _PORTS),
        Member("notTag", TEXT),
        Member("notNet", _NET),
        Member("notNets", Listing(_NET)),
        Member("notSelector", _SELECTOR),
        Member("notPorts", _PORTS),
    ),
    _one_of_each,
)
_ICMP = Struct(ICMP, (Member("type", INTEGER, optional=True), Member("code", INTEGER, optional=True)))
_RULES = Listing(
    Struct(
        V1Rule,
        (
            Member("action", Choice("allow", "deny", "log", "pass", "next-tier")),
            Member("ipVersion", INTEGER, optional=True),
            Member("protocol", _V1Protocol(), optional=True),
            Member("icmp", _ICMP, optional=True),
            Member("notProtocol", _V1Protocol(), optional=True),
            Member("notICMP", _ICMP, optional=True),
            Member("source", _ENTITY),
            Member("destination", _ENTITY),
        ),
    )
)
_IPIP = Struct(V1IPIP, (Member("enabled", FLAG), Member("mode", Choice("always", "cross-subnet"))))
_BGP = Struct(
    V1NodeBGP,
    (
        Member("asNumber", AS_NUMBER, optional=True),
        Member("ipv4Address", Text(formats.cidrv4)),
        Member("ipv6Address", Text(formats.cidrv6)),
    ),
)
_NATS = Listing(Struct(IPNAT, (Member("internalIP", Text(formats.ip)), Member("externalIP", Text(formats.ip)))))
_REF = Struct(OrchRef, (Member("nodeName", TEXT), Member("orchestrator", TEXT)))

_SPECS = {
    "ipPool": Struct(
        V1Pool, (Member("ipip", _IPIP, optional=True), Member("nat-outgoing", FLAG), Member("disabled", FLAG))
    ),
    "bgpPeer": Struct(V1Peer, (Member("asNumber", AS_NUMBER),)),
    "node": Struct(V1Node, (Member("orchRefs", Listing(_REF)), Member("bgp", _BGP, optional=True))),
    "hostEndpoint": Struct(
        V1HostEndpoint,
        (
            Member("interfaceName", Text(formats.interface)),
            Member("expectedIPs", Listing(Text(formats.ip))),
            Member("profiles", TEXTS),
            Member("ports", PORTS),
        ),
    ),
    "profile": Struct(V1Profile, (Member("ingress", _RULES), Member("egress", _RULES))),
    "policy": Struct(
        V1Policy,
        (
            Member("order", NUMBER, optional=True),
            Member("selector", _SELECTOR),
            Member("types", Listing(Choice("ingress", "egress"))),
            Member("doNotTrack", FLAG),
            Member("preDNAT", FLAG),
            Member("ingress", _RULES),
            Member("egress", _RULES),
        ),
    ),
    "workloadEndpoint": Struct(
        V1WorkloadEndpoint,
        (
            Member("ipNetworks", Listing(Text(formats.cidr))),
            Member("ipNATs", _NATS),
            Member("ipv4Gateway", Text(formats.ipv4)),
            Member("ipv6Gateway", Text(formats.ipv6)),
            Member("profiles", TEXTS),
            Member("interfaceName", Text(formats.interface)),
            Member("mac", Text(formats.mac)),
            Member("ports", PORTS),
        ),
    ),
}
_MEMBERS = {
    "ipPool": ("cidr",),
    "bgpPeer": ("scope", "node", "peer_ip"),
    "node": ("name",),
    "hostEndpoint": ("name", "node", "labels"),
    "profile": ("name", "tags", "labels"),
    "policy": ("name", "annotations"),
    "workloadEndpoint": ("name", "node", "orchestrator", "workload", "active_instance_id", "labels"),
}
KINDS = tuple(_SPECS)


def is_v1(document: Mapping[str, Any]) -> bool:
    """Whether a document is of the v1 API."""
    return document.get("apiVersion") == API_VERSION and document.get("kind") in _SPECS


def decode(document: Mapping[str, Any], *, where: str = "", strict: bool = False) -> V1Resource:
    """The typed value of a v1 document, checked; raises ModelError with everything wrong.

    A pool may carry a name of its own, as DC/OS's documentation has it; `strict` refuses it, as upstream does.
    """
    report = Report(where)
    kind = str(document.get("kind", ""))
    if not is_v1(document):
        message = f"Unknown resource type ({kind}) and/or version ({document.get('apiVersion', '')})"
        report.add((), message, nearest(kind, KINDS))
        raise ModelError(report.problems)
    given = {"kind": "", "apiVersion": "", "metadata": {}, "spec": {}} | dict(document)
    for name in sorted(given.keys() - {"kind", "apiVersion", "metadata", "spec"}):
        report.add((name,), "no such member", nearest(name, ("metadata", "spec")))
    metadata = _read_metadata(kind, {} if given["metadata"] is None else given["metadata"], strict, report)
    spec = _SPECS[kind].decode({} if given["spec"] is None else given["spec"], ("spec",), report)
    if not report.problems:
        _SPECS[kind].check(spec, ("spec",), report)
        _CHECKS.get(kind, _no_check)(V1Resource(kind, metadata, spec), report)
    if report.problems:
        raise ModelError(report.problems)
    return V1Resource(kind, metadata, spec)


def _read_metadata(kind: str, given: Any, strict: bool, report: Report) -> V1Metadata:
    names = _MEMBERS[kind] + (("name",) if kind == "ipPool" and not strict else ())
    struct = Struct(_Positional, tuple(_METADATA[name] for name in names))
    values = struct.decode(given, ("metadata",), report)
    struct.check(values, ("metadata",), report)
    metadata = V1Metadata(**dict(zip(names, values, strict=True)))
    for name in ("name", "node", "orchestrator", "workload"):
        if name in names and kind not in ("ipPool", "bgpPeer") and not getattr(metadata, name):
            report.add(("metadata", name), "must be given")
    return metadata


class _Positional:
    """Stands for a NamedTuple where the members differ by kind."""

    _make = staticmethod(tuple)


def _no_check(_resource: V1Resource, _report: Report) -> None:
    """Kinds without a rule of their own."""


def _check_pool(resource: V1Resource, report: Report) -> None:
    at: Path = ("metadata", "cidr")
    found = formats.parse_cidr(resource.metadata.cidr)
    if found is None:
        report.add(at, f"{resource.metadata.cidr!r}: not a subnet", "such as 10.1.0.0/16")
        return
    address, network = found
    if address != network.network_address:
        report.add(at, f"{resource.metadata.cidr!r} is not strictly masked", f"did you mean {network}?")
    if network.max_prefixlen - network.prefixlen < 6 and not resource.spec.disabled:
        report.add(at, f"{network}: a pool needs at least 64 addresses, a /{network.max_prefixlen - 6}")
    if network.is_link_local:
        report.add(at, f"{network} is link-local")
    if network.version == 6 and resource.spec.ipip and resource.spec.ipip.enabled:
        report.add(("spec", "ipip"), "IPIP is not supported on an IPv6 IP pool")


def _check_peer(resource: V1Resource, report: Report) -> None:
    metadata = resource.metadata
    if metadata.scope == "global" and metadata.node:
        report.add(("metadata", "node"), "must not be given with scope global")
    if metadata.scope == "node" and not metadata.node:
        report.add(("metadata", "node"), "must be given with scope node")


def _check_node(resource: V1Resource, report: Report) -> None:
    bgp = resource.spec.bgp
    if bgp is not None and not bgp.ipv4_address and not bgp.ipv6_address:
        report.add(("spec", "bgp"), "needs an ipv4Address or an ipv6Address")


def _check_policy(resource: V1Resource, report: Report) -> None:
    spec = resource.spec
    if spec.do_not_track and spec.pre_dnat:
        report.add(("spec", "preDNAT"), "preDNAT and doNotTrack cannot both be true")
    if spec.pre_dnat and (spec.egress or "egress" in spec.types):
        report.add(("spec", "egress"), "a preDNAT policy cannot have egress rules or the type egress")


_CHECKS: dict[str, Callable[[V1Resource, Report], None]] = {
    "ipPool": _check_pool,
    "bgpPeer": _check_peer,
    "node": _check_node,
    "policy": _check_policy,
}
