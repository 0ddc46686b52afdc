"""The rules of policies and profiles."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from calico.model import formats
from calico.model.metadata import check_annotations
from calico.model.problems import Path, Report
from calico.model.scalars import PORT, PORT_PROTOCOLS, PROTOCOL, Port, Protocol
from calico.model.schema import TEXT, TEXTS, Choice, Integer, Listing, Member, Struct, Text, TextMap

SELECTOR = Text(formats.selector)


class ICMP(NamedTuple):
    """An ICMP type, and perhaps a code."""

    type: int | None = None
    code: int | None = None


class ServiceAccounts(NamedTuple):
    """Peers by service account: by name, by label, or both."""

    names: tuple[str, ...] = ()
    selector: str = ""


class EntityRule(NamedTuple):
    """What one end of a connection must be."""

    nets: tuple[str, ...] = ()
    selector: str = ""
    namespace_selector: str = ""
    ports: tuple[Port, ...] = ()
    not_nets: tuple[str, ...] = ()
    not_selector: str = ""
    not_ports: tuple[Port, ...] = ()
    service_accounts: ServiceAccounts | None = None


class HTTPPath(NamedTuple):
    """A request path: exactly one of the two."""

    exact: str = ""
    prefix: str = ""


class HTTP(NamedTuple):
    """HTTP requests by method and path."""

    methods: tuple[str, ...] = ()
    paths: tuple[HTTPPath, ...] = ()


class RuleMetadata(NamedTuple):
    """Notes on a rule."""

    annotations: Mapping[str, str] = {}


class Rule(NamedTuple):
    """What to do with packets that match all its members."""

    action: str = ""
    ip_version: int | None = None
    protocol: Protocol | None = None
    icmp: ICMP | None = None
    not_protocol: Protocol | None = None
    not_icmp: ICMP | None = None
    source: EntityRule = EntityRule()
    destination: EntityRule = EntityRule()
    http: HTTP | None = None
    metadata: RuleMetadata | None = None


def _between(least: int, most: int) -> Integer:
    return Integer(lambda value: "" if least <= value <= most else f"must be {least} to {most}")


def _icmp_rule(icmp: ICMP, path: Path, report: Report) -> None:
    if icmp.code is not None and icmp.type is None:
        report.add((*path, "code"), "ICMP code specified without an ICMP type")


_ICMP = Struct(
    ICMP, (Member("type", _between(0, 254), optional=True), Member("code", _between(0, 255), optional=True)), _icmp_rule
)

_NETS = Listing(Text(formats.net))
_PORTS = Listing(PORT)
_ENTITY = Struct(
    EntityRule,
    (
        Member("nets", _NETS),
        Member("selector", SELECTOR),
        Member("namespaceSelector", SELECTOR),
        Member("ports", _PORTS),
        Member("notNets", _NETS),
        Member("notSelector", SELECTOR),
        Member("notPorts", _PORTS),
        Member(
            "serviceAccounts",
            Struct(ServiceAccounts, (Member("names", TEXTS), Member("selector", SELECTOR))),
            optional=True,
        ),
    ),
)


def _path_rule(request: HTTPPath, path: Path, report: Report) -> None:
    text = request.exact or request.prefix
    if bool(request.exact) == bool(request.prefix):
        report.add(path, "give exactly one of exact and prefix")
    elif not text.startswith("/") or any(char in text for char in " ?#"):
        report.add(path, f"{text!r}: must start with '/' and hold no space, '?' or '#'")


def _http_rule(http: HTTP, path: Path, report: Report) -> None:
    if len(set(http.methods)) != len(http.methods):
        report.add((*path, "methods"), f"a method is given twice: {', '.join(http.methods)}")


_HTTP = Struct(
    HTTP,
    (
        Member("methods", TEXTS),
        Member("paths", Listing(Struct(HTTPPath, (Member("exact", TEXT), Member("prefix", TEXT)), _path_rule))),
    ),
    _http_rule,
)


def _metadata_rule(metadata: RuleMetadata, path: Path, report: Report) -> None:
    check_annotations(metadata.annotations, (*path, "annotations"), report)


def _rule(rule: Rule, path: Path, report: Report) -> None:
    _check_ports(rule, path, report)
    _check_icmp(rule, path, report)
    _check_families(rule, path, report)
    if rule.http is not None:
        _check_http(rule, path, report)


def _check_ports(rule: Rule, path: Path, report: Report) -> None:
    if rule.protocol in PORT_PROTOCOLS:
        return
    for end, entity in (("source", rule.source), ("destination", rule.destination)):
        for name, ports in (("ports", entity.ports), ("notPorts", entity.not_ports)):
            if ports:
                hint = "only these have ports"
                report.add((*path, end, name), "rules that specify ports must set protocol to TCP, UDP or SCTP", hint)


def _check_icmp(rule: Rule, path: Path, report: Report) -> None:
    if rule.icmp is not None and rule.protocol not in ("ICMP", "ICMPv6"):
        report.add((*path, "icmp"), "rules that specify ICMP fields must set protocol to ICMP or ICMPv6")
    for name, family in (("ICMP", 4), ("ICMPv6", 6)):
        if name in (rule.protocol, rule.not_protocol) and rule.ip_version not in (None, family):
            report.add((*path, "ipVersion"), f"must be {family} or left out with protocol {name}")


def _nets(rule: Rule) -> Iterator[tuple[Path, str]]:
    for end, entity in (("source", rule.source), ("destination", rule.destination)):
        for name, nets in (("nets", entity.nets), ("notNets", entity.not_nets)):
            for index, net in enumerate(nets):
                yield (end, name, index), net


def _check_families(rule: Rule, path: Path, report: Report) -> None:
    """Nets need a mask here, and all of a rule are of one family: that of ipVersion where it is set."""
    wanted = rule.ip_version if rule.ip_version in (4, 6) else None
    for place, net in _nets(rule):
        found = formats.parse_cidr(net)
        if found is None:
            bare = formats.parse_ip(net)
            if bare or "/" in net:
                hint = f"write {net}/{bare.max_prefixlen}" if bare else ""
                report.add((*path, *place), f"invalid CIDR {net!r}", hint)
        elif wanted is None:
            wanted = found[0].version
        elif found[0].version != wanted and rule.ip_version is not None:
            report.add((*path, *place), f"{net} is not of the rule's ipVersion {wanted}")
        elif found[0].version != wanted:
            report.add((*path, *place), f"rule contains both IPv4 and IPv6 CIDRs: {net}", "write one rule for each")


def _check_http(rule: Rule, path: Path, report: Report) -> None:
    if rule.protocol not in (None, "TCP"):
        report.add((*path, "protocol"), "rules that specify HTTP fields must set protocol to TCP or leave it out")
    if rule.action != "Allow":
        report.add((*path, "http"), "only valid for Allow rules")


RULE = Struct(
    Rule,
    (
        Member("action", Choice("Allow", "Deny", "Log", "Pass"), always=True, required=True),
        Member("ipVersion", Integer(lambda value: "" if value in (4, 6) else "must be 4 or 6"), optional=True),
        Member("protocol", PROTOCOL, optional=True),
        Member("icmp", _ICMP, optional=True),
        Member("notProtocol", PROTOCOL, optional=True),
        Member("notICMP", _ICMP, optional=True),
        Member("source", _ENTITY, always=True),
        Member("destination", _ENTITY, always=True),
        Member("http", _HTTP, optional=True),
        Member(
            "metadata",
            Struct(RuleMetadata, (Member("annotations", TextMap(formats.annotation)),), _metadata_rule),
            optional=True,
        ),
    ),
    _rule,
)
RULES = Listing(RULE)
