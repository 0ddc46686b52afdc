# ruff: noqa: E501
"""What passes and what does not, as tables: a few resources, and what becomes of packets under them.

The parties, each with its addresses, on hosts h1, h2 (one subnet) and h3 (another), over VXLAN:

    h1: w1 (app=web)  w2 (app=db, ports http tcp/80, dns udp/53, http6 sctp/80)  w3 (app=web, namespace red)
    h2: r1 (app=web)  r2 (app=db, port http tcp/8080)  r3 (app=web, namespace red)
    h3: t1 (app=db)
    outside: a host of the first subnet that is no Calico node

Workloads have the profile that allows everything, and that of their namespace, unless a scenario gives them others. On
h1 DefaultEndpointToHostAction is Return, on h2 Accept, on h3 Drop.

A cell is a line: `w1 -> w2 tcp/80 yes`. `tcp6` is over IPv6; `as ADDRESS` spoofs; `from PORT` is the source's port.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.unit.felix.documents import Document, Item, host_endpoint, network_set, policy, profile, rule


class Cell(NamedTuple):
    """A packet, and whether it passes."""

    sender: str
    receiver: str
    protocol: str
    port: int
    version: int
    passes: bool
    source: str = ""
    source_port: int = 0

    def __str__(self) -> str:
        more = (f" as {self.source}" if self.source else "") + (f" from {self.source_port}" if self.source_port else "")
        return f"{self.sender} -> {self.receiver} {self.protocol}{'6' * (self.version == 6)}/{self.port}{more}"


class Scenario(NamedTuple):
    """Resources, workloads that differ from what they are elsewhere, and cells."""

    name: str
    items: tuple[Item, ...]
    cells: tuple[Cell, ...]
    workloads: Mapping[str, Mapping[str, Any]] = {}


def scenario(name: str, items: Sequence[Item], cells: str, **workloads: Mapping[str, Any]) -> Scenario:
    """A scenario; `workloads` are members that some of them have here."""
    return Scenario(name, tuple(items), tuple(map(_cell, filter(None, map(str.strip, cells.splitlines())))), workloads)


def _cell(line: str) -> Cell:
    sender, arrow, receiver, what, *more, passes = line.split()
    assert arrow == "->", line
    assert passes in ("yes", "no"), line
    protocol, _, port = what.partition("/")
    options = dict(zip(more[::2], more[1::2], strict=True))
    version = 6 if protocol.endswith("6") else 4
    cell = Cell(sender, receiver, protocol.removesuffix("6"), int(port or 0), version, passes == "yes")
    return cell._replace(source=options.get("as", ""), source_port=int(options.get("from", "0")))


_IN: dict[str, Any] = {"types": ["Ingress"]}
_OUT: dict[str, Any] = {"types": ["Egress"]}
_BOTH: dict[str, Any] = {"types": ["Ingress", "Egress"]}
_FORWARD: dict[str, Any] = {"applyOnForward": True}
_DB, _WEB, _HOST = "app == 'db'", "app == 'web'", "role == 'host'"
_ANY = [rule()]
_DENY = [rule("Deny")]


def _into_db(*rules: Document, **spec: Any) -> Item:
    """A policy for what comes in to databases."""
    return policy("db", _DB, order=10, ingress=list(rules), **_IN, **spec)


def _from(**peer: Any) -> Document:
    return rule(source=peer)


def _tcp(*ports: Any, action: str = "Allow", **peer: Any) -> Document:
    return rule(action, protocol="TCP", destination={"ports": list(ports), **peer})


_ALLOW_PROFILE = profile("open", _ANY, _ANY)
_HEP = host_endpoint("h1", "eth0-h1", "eth0", labels={"role": "host"})
_HEP_OPEN = host_endpoint("h1", "eth0-h1", "eth0", labels={"role": "host"}, profiles=["open"])
_HEP_ADDRESS = host_endpoint("h1", "address-h1", "", "10.99.0.1", labels={"role": "host"})
_EVERY = host_endpoint("h1", "every-h1", "*", labels={"role": "host"})
_EVERY_OPEN = host_endpoint("h1", "every-h1", "*", labels={"role": "host"}, profiles=["open"])
_OPEN = (_ALLOW_PROFILE, _HEP_OPEN)

DEFAULTS = (
    scenario("without policy the profile decides", (), """
        w1 -> w2 tcp/80 yes
        w1 -> w2 udp/53 yes
        w1 -> w2 icmp yes
        w1 -> w2 sctp/80 yes
        w1 -> w2 tcp6/80 yes
        w1 -> w2 udp6/53 yes
        w1 -> w2 icmp6 yes
        w1 -> r1 tcp/80 yes
        r1 -> t1 udp/53 yes
        t1 -> w1 icmp yes
        h1 -> w1 tcp/80 yes
        h2 -> w1 tcp/80 yes
        outside -> w1 tcp/80 yes
        w1 -> outside tcp/80 yes
        w1 -> h1 tcp/8055 yes
        w1 -> h2 tcp/8055 yes"""),
    scenario("a policy of a direction denies what it does not allow", [_into_db()], """
        w1 -> w2 tcp/80 no
        w1 -> w2 udp/53 no
        w1 -> w2 icmp no
        w1 -> w2 sctp/80 no
        w1 -> w2 tcp6/80 no
        w1 -> w2 icmp6 no
        r1 -> w2 tcp/80 no
        w1 -> r2 tcp/80 no
        r1 -> t1 tcp/80 no
        outside -> w2 tcp/80 no
        h2 -> w2 tcp/80 no
        h1 -> w2 tcp/80 yes
        w2 -> w1 tcp/80 yes
        w2 -> outside tcp/80 yes"""),
    scenario("and of egress", [policy("web", _WEB, **_OUT)], """
        w1 -> w2 tcp/80 no
        w1 -> w2 udp/53 no
        w1 -> w2 icmp6 no
        w1 -> r2 tcp/80 no
        w1 -> outside tcp/80 no
        w1 -> h1 tcp/8055 no
        r1 -> w2 tcp/80 no
        w2 -> w1 tcp/80 yes
        outside -> w1 tcp/80 yes"""),
    scenario("a policy without types governs both directions", [policy("db", _DB)], """
        w1 -> w2 tcp/80 no
        w2 -> w1 tcp/80 no
        w1 -> w3 tcp/80 yes"""),
    scenario("rules of a direction that is not governed say nothing", [policy("db", _DB, **_OUT, ingress=_DENY, egress=_ANY)], """
        w1 -> w2 tcp/80 yes
        w2 -> w1 tcp/80 yes"""),
)  # fmt: skip
_ALLOW_80 = policy("allow", _DB, order=10, ingress=[_tcp(80)], **_IN)
ORDER = (
    scenario("an earlier allow beats a later deny", [_ALLOW_80, policy("deny", _DB, order=20, ingress=_DENY, **_IN)], """
        w1 -> w2 tcp/80 yes
        w1 -> w2 tcp6/80 yes
        w1 -> w2 tcp/81 no
        w1 -> w2 udp/80 no"""),
    scenario("an earlier deny beats a later allow", [_ALLOW_80, policy("deny", _DB, order=9.5, ingress=_DENY, **_IN)], """
        w1 -> w2 tcp/80 no
        r1 -> w2 tcp/80 no"""),
    scenario("without an order is last", [policy("a-deny", _DB, ingress=_DENY, **_IN), policy("z", _DB, order=1e9, ingress=_ANY, **_IN)], """
        w1 -> w2 tcp/80 yes"""),
    scenario("equal orders go by name", [policy("b", _DB, order=1, ingress=_ANY, **_IN), policy("a", _DB, order=1, ingress=_DENY, **_IN)], """
        w1 -> w2 tcp/80 no"""),
    scenario("rules go from first to last", [_into_db(_tcp(80, action="Deny"), rule(protocol="TCP"))], """
        w1 -> w2 tcp/80 no
        w1 -> w2 tcp/81 yes
        w1 -> w2 udp/81 no"""),
    scenario("pass goes on to the profiles", [policy("p", _DB, order=1, ingress=[_tcp(80, action="Pass")], **_IN), policy("q", _DB, order=2, ingress=_DENY, **_IN)], """
        w1 -> w2 tcp/80 yes
        w1 -> w2 tcp/81 no"""),
    scenario("and these may deny", [profile("closed", _DENY, _ANY), policy("p", _DB, order=1, ingress=[rule("Pass")], **_IN)], """
        w1 -> w2 tcp/80 no
        w2 -> w1 tcp/80 yes
        w1 -> t1 tcp/80 yes""", w2={"profiles": ["closed"]}),
    scenario("log decides nothing", [_into_db(rule("Log"), _tcp(80))], """
        w1 -> w2 tcp/80 yes
        w1 -> w2 tcp/81 no"""),
)  # fmt: skip
PROTOCOLS = (
    scenario("a protocol", [_into_db(rule(protocol="UDP"))], """
        w1 -> w2 udp/53 yes
        w1 -> w2 udp6/53 yes
        w1 -> w2 tcp/53 no
        w1 -> w2 icmp no"""),
    scenario("a protocol by number", [_into_db(rule(protocol=132))], """
        w1 -> w2 sctp/80 yes
        w1 -> w2 tcp/80 no"""),
    scenario("any protocol but one", [_into_db(rule(notProtocol="TCP"))], """
        w1 -> w2 tcp/80 no
        w1 -> w2 udp/53 yes
        w1 -> w2 icmp yes
        w1 -> w2 sctp/80 yes
        w1 -> w2 icmp6 yes"""),
    scenario("ICMP by name is of IPv4", [_into_db(rule(protocol="ICMP"))], """
        w1 -> w2 icmp yes
        w1 -> w2 icmp6 no
        w1 -> w2 tcp/80 no"""),
    scenario("ICMPv6 by name is of IPv6", [_into_db(rule(protocol="ICMPv6", icmp={"type": 128}))], """
        w1 -> w2 icmp6 yes
        w1 -> w2 icmp no"""),
    scenario("an ICMP type and code", [_into_db(rule(protocol="ICMP", icmp={"type": 8, "code": 0}))], """
        w1 -> w2 icmp yes
        r1 -> w2 icmp yes"""),
    scenario("another code", [_into_db(rule(protocol="ICMP", icmp={"type": 8, "code": 1}))], """
        w1 -> w2 icmp no"""),
    scenario("any type but one", [_into_db(rule(protocol="ICMP", notICMP={"type": 8}))], """
        w1 -> w2 icmp no"""),
    scenario("any type but another", [_into_db(rule(protocol="ICMP", notICMP={"type": 0}))], """
        w1 -> w2 icmp yes"""),
    scenario("not that type with that code is not neither", [_into_db(rule(protocol="ICMP", notICMP={"type": 8, "code": 1}))], """
        w1 -> w2 icmp yes"""),
    scenario("a rule of one family", [_into_db(rule(ipVersion=6))], """
        w1 -> w2 tcp/80 no
        w1 -> w2 tcp6/80 yes
        w1 -> w2 icmp6 yes"""),
)  # fmt: skip
PORTS = (
    scenario("ports and ranges", [_into_db(_tcp(80, "8000:8010"))], """
        w1 -> w2 tcp/80 yes
        w1 -> w2 tcp/8000 yes
        w1 -> w2 tcp/8005 yes
        w1 -> w2 tcp/8010 yes
        w1 -> w2 tcp/8011 no
        w1 -> w2 tcp/7999 no
        w1 -> w2 udp/80 no
        w1 -> w2 tcp6/8005 yes
        w1 -> w2 tcp6/81 no"""),
    scenario("any port but some", [_into_db(rule(protocol="TCP", destination={"notPorts": [80, "8000:8010"]}))], """
        w1 -> w2 tcp/80 no
        w1 -> w2 tcp/8005 no
        w1 -> w2 tcp/81 yes"""),
    scenario("ports of UDP and SCTP", [_into_db(rule(protocol="UDP", destination={"ports": [53]}), rule(protocol="SCTP", destination={"ports": [80]}))], """
        w1 -> w2 udp/53 yes
        w1 -> w2 udp/54 no
        w1 -> w2 sctp/80 yes
        w1 -> w2 sctp/81 no
        w1 -> w2 tcp/80 no"""),
    scenario("the source's port", [_into_db(rule(protocol="TCP", source={"ports": ["5000:5009"]}))], """
        w1 -> w2 tcp/80 from 5001 yes
        w1 -> w2 tcp/80 from 5010 no"""),
    scenario("a named port", [_into_db(_tcp("http"))], """
        w1 -> w2 tcp/80 yes
        w1 -> w2 tcp6/80 yes
        w1 -> w2 tcp/81 no
        w1 -> w2 udp/80 no
        w1 -> r2 tcp/8080 yes
        w1 -> r2 tcp/80 no"""),
    scenario("a named port of UDP", [_into_db(rule(protocol="UDP", destination={"ports": ["dns"]}))], """
        w1 -> w2 udp/53 yes
        w1 -> w2 udp/54 no
        w1 -> w2 tcp/53 no"""),
    scenario("named and numeric ones", [_into_db(_tcp("http", 443))], """
        w1 -> w2 tcp/80 yes
        w1 -> w2 tcp/443 yes
        w1 -> w2 tcp/444 no
        w1 -> r2 tcp/8080 yes"""),
    scenario("any but a named one", [_into_db(rule(protocol="TCP", destination={"notPorts": ["http"]}))], """
        w1 -> w2 tcp/80 no
        w1 -> w2 tcp/81 yes
        w1 -> r2 tcp/8080 no
        w1 -> r2 tcp/80 yes"""),
    scenario("any but named and numeric ones", [_into_db(rule(protocol="TCP", destination={"notPorts": ["http", 443]}))], """
        w1 -> w2 tcp/80 no
        w1 -> w2 tcp/443 no
        w1 -> w2 tcp/444 yes"""),
    scenario("a named port of those selected", [policy("web", _WEB, egress=[_tcp("http", selector="app == 'db'")], **_OUT)], """
        w1 -> w2 tcp/80 yes
        w1 -> r2 tcp/8080 yes
        w1 -> r2 tcp/80 no
        w1 -> w2 tcp/81 no
        r1 -> w2 tcp/80 yes
        w1 -> outside tcp/80 no"""),
    scenario("a named port of others is none", [_into_db(_tcp("http", selector="app == 'web'"))], """
        w1 -> w2 tcp/80 no"""),
)  # fmt: skip
ADDRESSES = (
    scenario("networks", [_into_db(_from(nets=["10.65.1.1/32", "10.65.2.0/24"]))], """
        w1 -> w2 tcp/80 yes
        r1 -> w2 tcp/80 yes
        w3 -> w2 tcp/80 no
        w1 -> w2 tcp6/80 no"""),
    scenario("networks of IPv6", [_into_db(_from(nets=["fd65:1::1/128"]))], """
        w1 -> w2 tcp6/80 yes
        w3 -> w2 tcp6/80 no
        w1 -> w2 tcp/80 no"""),
    scenario("all of IPv4 is not IPv6", [_into_db(_from(nets=["0.0.0.0/0"]))], """
        w1 -> w2 tcp/80 yes
        outside -> w2 tcp/80 yes
        w1 -> w2 tcp6/80 no"""),
    scenario("any but networks", [_into_db(_from(notNets=["10.65.1.0/24"]))], """
        w1 -> w2 tcp/80 no
        r1 -> w2 tcp/80 yes
        outside -> w2 tcp/80 yes
        w1 -> w2 tcp6/80 no"""),
    scenario("a network without a part of it", [_into_db(_from(nets=["10.65.0.0/16"], notNets=["10.65.1.0/30"]))], """
        w1 -> w2 tcp/80 no
        r1 -> w2 tcp/80 yes
        outside -> w2 tcp/80 no"""),
    scenario("where a workload may go", [policy("web", _WEB, egress=[rule(destination={"nets": ["10.65.1.2/32", "10.99.0.100/32"]})], **_OUT)], """
        w1 -> w2 tcp/80 yes
        w1 -> outside tcp/80 yes
        w1 -> w3 tcp/80 no
        w1 -> r1 tcp/80 no"""),
)  # fmt: skip
SELECTORS = (
    scenario("peers by label", [_into_db(_from(selector=_WEB))], """
        w1 -> w2 tcp/80 yes
        w3 -> w2 tcp/80 yes
        r1 -> w2 tcp/80 yes
        r2 -> w2 tcp/80 no
        t1 -> w2 tcp/80 no
        r1 -> t1 tcp/80 yes
        outside -> w2 tcp/80 no
        w1 -> w2 tcp6/80 yes"""),
    scenario("any but peers by label", [_into_db(_from(notSelector=_WEB))], """
        w1 -> w2 tcp/80 no
        r1 -> w2 tcp/80 no
        r2 -> w2 tcp/80 yes
        outside -> w2 tcp/80 yes
        w1 -> w2 tcp6/80 no"""),
    scenario("peers by label but some", [_into_db(_from(selector="has(app)", notSelector=_WEB))], """
        w1 -> w2 tcp/80 no
        r2 -> w2 tcp/80 yes
        outside -> w2 tcp/80 no"""),
    scenario("every endpoint", [_into_db(_from(selector="all()"))], """
        w1 -> w2 tcp/80 yes
        t1 -> w2 tcp/80 yes
        outside -> w2 tcp/80 no"""),
    scenario("a label that is another here", [_into_db(_from(selector=_WEB))], """
        w1 -> w2 tcp/80 no
        r2 -> w2 tcp/80 yes""", w1={"labels": {"app": "was-web"}}, r2={"labels": {"app": "web"}}),
    scenario("destinations by label", [policy("web", _WEB, egress=[rule(destination={"selector": _DB})], **_OUT)], """
        w1 -> w2 tcp/80 yes
        w1 -> t1 tcp/80 yes
        w1 -> w3 tcp/80 no
        w1 -> outside tcp/80 no"""),
    scenario("both ends, with a network", [_into_db(rule(source={"selector": _WEB, "nets": ["10.65.2.0/24"]}))], """
        r1 -> w2 tcp/80 yes
        w1 -> w2 tcp/80 no
        r2 -> w2 tcp/80 no"""),
)  # fmt: skip
_TEAM_X = profile("kns.default", labels={"pcns.team": "x"})
_TEAM_Y = profile("kns.red", labels={"pcns.team": "y"})
_TEAMS = (_TEAM_X, _TEAM_Y)
NAMESPACES = (
    scenario("a namespaced policy is for its namespace", [policy("p", "", "red", **_IN)], """
        w1 -> w3 tcp/80 no
        w1 -> r3 tcp/80 no
        w1 -> w2 tcp/80 yes
        w3 -> w1 tcp/80 yes"""),
    scenario("its rules select in its namespace", [policy("p", "", "red", ingress=[_from(selector=_WEB)], **_IN)], """
        w1 -> w3 tcp/80 no
        r1 -> w3 tcp/80 no
        r3 -> w3 tcp/80 yes"""),
    scenario("with notSelector alone, too", [policy("p", "", "red", ingress=[_from(notSelector=_DB)], **_IN)], """
        w1 -> w3 tcp/80 no
        r3 -> w3 tcp/80 yes"""),
    scenario("rules without a selector are for everybody", [policy("p", "", "red", ingress=[_tcp(80)], **_IN)], """
        w1 -> w3 tcp/80 yes
        outside -> w3 tcp/80 yes
        w1 -> w3 tcp/81 no"""),
    scenario("other namespaces by label", [*_TEAMS, policy("p", "", "red", ingress=[_from(namespaceSelector="team == 'x'")], **_IN)], """
        w1 -> w3 tcp/80 yes
        r2 -> w3 tcp/80 yes
        r3 -> w3 tcp/80 no
        outside -> w3 tcp/80 no"""),
    scenario("some of other namespaces", [*_TEAMS, policy("p", "", "red", ingress=[_from(namespaceSelector="team == 'x'", selector=_WEB)], **_IN)], """
        w1 -> w3 tcp/80 yes
        w2 -> w3 tcp/80 no
        r3 -> w3 tcp/80 no"""),
    scenario("any namespace", [*_TEAMS, policy("p", "", "red", ingress=[_from(namespaceSelector="all()")], **_IN)], """
        w1 -> w3 tcp/80 yes
        r3 -> w3 tcp/80 yes
        outside -> w3 tcp/80 no"""),
    scenario("a global policy for some namespaces", [*_TEAMS, policy("p", "", namespaceSelector="team == 'y'", **_IN)], """
        w1 -> w3 tcp/80 no
        w1 -> w2 tcp/80 yes"""),
)  # fmt: skip
_EXTERNAL = {"role": "external"}
_FROM_EXTERNAL = _into_db(_from(selector="role == 'external'"))
NETWORK_SETS = (
    scenario("a network set", [network_set("s", "10.99.0.100", labels=_EXTERNAL), _FROM_EXTERNAL], """
        outside -> w2 tcp/80 yes
        w1 -> w2 tcp/80 no
        h2 -> w2 tcp/80 no"""),
    scenario("overlaps and duplicates", [network_set("s", "10.99.0.0/24", "10.99.0.100/32", "10.99.0.100", labels=_EXTERNAL), network_set("t", "10.65.0.0/16", "10.65.2.0/24", "10.65.2.1/32", labels=_EXTERNAL), _FROM_EXTERNAL], """
        outside -> w2 tcp/80 yes
        w1 -> w2 tcp/80 yes
        r1 -> w2 tcp/80 yes
        w1 -> w2 tcp6/80 no"""),
    scenario("one of two with the same network", [network_set("s", "10.99.0.100", labels=_EXTERNAL), network_set("t", "10.99.0.100", "10.65.2.1", labels={"role": "other"}), _FROM_EXTERNAL], """
        outside -> w2 tcp/80 yes
        r1 -> w2 tcp/80 no"""),
    scenario("everything there is", [network_set("s", "0.0.0.0/0", labels=_EXTERNAL), _FROM_EXTERNAL], """
        outside -> w2 tcp/80 yes
        w1 -> w2 tcp/80 yes
        w1 -> w2 tcp6/80 no"""),
    scenario("everything of IPv6", [network_set("s", "::/0", labels=_EXTERNAL), _FROM_EXTERNAL], """
        w1 -> w2 tcp6/80 yes
        w1 -> w2 tcp/80 no"""),
    scenario("any but a network set", [network_set("s", "10.99.0.0/24", labels=_EXTERNAL), _into_db(_from(notSelector="role == 'external'"))], """
        outside -> w2 tcp/80 no
        w1 -> w2 tcp/80 yes"""),
    scenario("a namespaced one", [network_set("s", "10.99.0.100", labels=_EXTERNAL, namespace="red"), policy("p", "", "red", ingress=[_from(selector="role == 'external'")], **_IN)], """
        outside -> w3 tcp/80 yes
        w1 -> w3 tcp/80 no"""),
    scenario("it is of no other namespace", [network_set("s", "10.99.0.100", labels=_EXTERNAL, namespace="blue"), policy("p", "", "red", ingress=[_from(selector="role == 'external'")], **_IN)], """
        outside -> w3 tcp/80 no"""),
)  # fmt: skip
PROFILES = (
    scenario("a profile's rules", [profile("p", [_tcp(80)], _ANY)], """
        w1 -> w2 tcp/80 yes
        w1 -> w2 tcp/81 no
        w1 -> w2 udp/80 no
        w2 -> w1 tcp/80 yes""", w2={"profiles": ["p"]}),
    scenario("a profile that is missing denies", (), """
        w1 -> w2 tcp/80 no
        w2 -> w1 tcp/80 no
        w1 -> w2 icmp6 no""", w2={"profiles": ["gone", "projectcalico-default-allow"]}),
    scenario("unless a policy decides before", [_into_db(_tcp(80))], """
        w1 -> w2 tcp/80 yes
        w2 -> w1 tcp/80 no""", w2={"profiles": ["gone"]}),
    scenario("the first profile that decides does", [profile("p", [_tcp(80, action="Deny")], []), _ALLOW_PROFILE], """
        w1 -> w2 tcp/80 no
        w1 -> w2 tcp/81 yes
        w2 -> w1 tcp/80 yes""", w2={"profiles": ["p", "open"]}),
    scenario("no profile", (), """
        w1 -> w2 tcp/80 no
        w2 -> w1 tcp/80 no""", w2={"profiles": []}),
    scenario("a profile that selects", [profile("p", [_from(selector=_WEB)], [])], """
        w1 -> w2 tcp/80 yes
        r2 -> w2 tcp/80 no
        w2 -> w1 tcp/80 no""", w2={"profiles": ["p"]}),
    scenario("labels that a profile gives", [profile("p", _ANY, _ANY, {"tier": "back"}), policy("p", "tier == 'back'", **_IN)], """
        w1 -> w2 tcp/80 no
        w1 -> t1 tcp/80 yes""", w2={"profiles": ["p"]}),
)  # fmt: skip
HOSTS = (
    scenario("a host endpoint denies but for failsafe ports", [_HEP], """
        h2 -> h1 tcp/8055 no
        h2 -> h1 udp/8055 no
        outside -> h1 icmp no
        h1 -> h2 tcp/8055 no
        h2 -> h1 tcp/22 yes
        h2 -> h1 udp/68 yes
        h1 -> h2 tcp/179 yes
        h1 -> h2 udp/53 yes
        outside -> w1 tcp/80 yes
        w1 -> outside tcp/80 yes
        w1 -> r1 tcp/80 yes
        h1 -> w1 tcp/80 yes
        w1 -> h1 tcp/8055 yes"""),
    scenario("a host endpoint by its address", [_HEP_ADDRESS], """
        h2 -> h1 tcp/8055 no
        h2 -> h1 tcp/22 yes
        h1 -> h2 tcp/8055 no"""),
    scenario("a host endpoint with a profile", _OPEN, """
        h2 -> h1 tcp/8055 yes
        h1 -> h2 tcp/8055 yes"""),
    scenario("a policy on a host endpoint", [_HEP, policy("h", _HOST, order=1, ingress=[_tcp(8055)], egress=[_tcp(8056)], **_BOTH)], """
        h2 -> h1 tcp/8055 yes
        h2 -> h1 tcp/8056 no
        h1 -> h2 tcp/8056 yes
        h1 -> h2 tcp/8055 no
        outside -> w1 tcp/80 yes"""),
    scenario("all interfaces", [_EVERY], """
        h2 -> h1 tcp/8055 no
        h2 -> h1 tcp/22 yes
        h1 -> h2 tcp/8055 no
        h1 -> w1 tcp/80 yes
        w1 -> h1 tcp/8055 yes
        outside -> w1 tcp/80 yes"""),
    scenario("a named one comes before that of all interfaces", [*_OPEN, _EVERY], """
        h2 -> h1 tcp/8055 yes
        h1 -> h2 tcp/8055 yes"""),
)  # fmt: skip
_HTTP_FORWARD = policy("f", _HOST, ingress=[_tcp(80)], **_IN, **_FORWARD)
_NO_INGRESS = policy("f", _HOST, ingress=_DENY, **_IN, **_FORWARD)
_NO_EGRESS = policy("f", _HOST, egress=_DENY, **_OUT, **_FORWARD)
FORWARD = (
    scenario("forwarded ingress", [*_OPEN, _NO_INGRESS], """
        outside -> w1 tcp/80 no
        w1 -> outside tcp/80 yes
        r1 -> w1 tcp/80 yes
        h2 -> h1 tcp/8055 no"""),
    scenario("forwarded egress", [*_OPEN, _NO_EGRESS], """
        w1 -> outside tcp/80 no
        outside -> w1 tcp/80 yes
        w1 -> w2 tcp/80 yes"""),
    scenario("what forwarded ingress allows", [*_OPEN, _HTTP_FORWARD], """
        outside -> w1 tcp/80 yes
        outside -> w1 tcp/81 no
        outside -> w2 tcp/81 no"""),
    scenario("and the workload's own policy", [*_OPEN, _HTTP_FORWARD, _into_db()], """
        outside -> w1 tcp/80 yes
        outside -> w2 tcp/80 no"""),
    scenario("not on forward", [*_OPEN, policy("n", _HOST, ingress=_DENY, **_IN)], """
        outside -> w1 tcp/80 yes
        h2 -> h1 tcp/8055 no"""),
    scenario("pass ends forwarded policy", [*_OPEN, policy("f", _HOST, order=1, ingress=[rule("Pass")], **_IN, **_FORWARD), policy("g", _HOST, order=2, ingress=_DENY, **_IN, **_FORWARD)], """
        outside -> w1 tcp/80 yes"""),
    scenario("all interfaces meet all forwarded ingress", [_ALLOW_PROFILE, _EVERY_OPEN, _NO_INGRESS], """
        w1 -> outside tcp/80 no
        w1 -> w2 tcp/80 no
        outside -> w1 tcp/80 no
        r1 -> w1 tcp/80 no
        w1 -> h1 tcp/8055 yes
        h1 -> w1 tcp/80 yes"""),
    scenario("and all forwarded egress", [_ALLOW_PROFILE, _EVERY_OPEN, _NO_EGRESS], """
        w1 -> w2 tcp/80 no
        outside -> w1 tcp/80 no
        w1 -> r1 tcp/80 no"""),
)  # fmt: skip
_RAW = policy(
    "raw",
    _HOST,
    ingress=[_tcp(8055)],
    egress=[rule(protocol="TCP", source={"ports": [8055]})],
    doNotTrack=True,
    **_BOTH,
    **_FORWARD,
)
_RAW_DENY = policy(
    "raw", _HOST, ingress=[rule("Deny", protocol="UDP"), _tcp(22, action="Deny")], doNotTrack=True, **_IN, **_FORWARD
)
_DNAT_DENY = policy("dnat", _HOST, ingress=[_tcp(8055, action="Deny")], preDNAT=True, **_IN, **_FORWARD)
_DNAT_ALLOW = policy("dnat", _HOST, ingress=[_tcp(8055)], preDNAT=True, **_IN, **_FORWARD)
BEFORE = (
    scenario("untracked policy allows, past the rest", [_HEP, _RAW], """
        h2 -> h1 tcp/8055 yes
        h2 -> h1 tcp/8056 no
        h2 -> h1 tcp/22 yes"""),
    scenario("untracked policy denies, but no failsafe port", [*_OPEN, _RAW_DENY], """
        h2 -> h1 udp/8055 no
        h2 -> h1 tcp/22 yes
        h2 -> h1 tcp/8055 yes
        outside -> w1 udp/53 no
        outside -> w1 tcp/80 yes
        r1 -> w1 tcp/80 no"""),
    scenario("untracked policy means nothing on all interfaces", [_ALLOW_PROFILE, _EVERY_OPEN, _RAW_DENY], """
        h2 -> h1 udp/8055 yes"""),
    scenario("pre-DNAT policy denies", [*_OPEN, _DNAT_DENY], """
        h2 -> h1 tcp/8055 no
        h2 -> h1 tcp/8056 yes
        outside -> w1 tcp/8055 no
        w1 -> outside tcp/8055 yes"""),
    scenario("pre-DNAT policy allows, past the host's ingress", [_HEP, _DNAT_ALLOW], """
        h2 -> h1 tcp/8055 yes
        h2 -> h1 tcp/8056 no"""),
    scenario("past forwarded ingress, not past the workload's", [_HEP, _DNAT_ALLOW, _NO_INGRESS, _into_db()], """
        outside -> w1 tcp/8055 yes
        outside -> w1 tcp/8056 no
        outside -> w2 tcp/8055 no"""),
    scenario("pre-DNAT policy on all interfaces meets workloads", [_ALLOW_PROFILE, _EVERY_OPEN, _DNAT_DENY], """
        w1 -> outside tcp/8055 no
        w1 -> w2 tcp/8055 no
        w1 -> w2 tcp/8056 yes
        h2 -> h1 tcp/8055 no"""),
)  # fmt: skip
WORKLOADS = (
    scenario("a workload sends as itself only", (), """
        w1 -> w2 udp/53 as 10.65.1.9 no
        w1 -> w2 udp/53 as 10.65.1.3 no
        w1 -> r1 udp/53 as 10.65.2.2 no
        w1 -> outside udp/53 as 198.51.100.1 no
        w1 -> w2 udp6/53 as fd65:1::9 no
        w1 -> h1 udp/53 as 10.65.1.9 no
        w1 -> w2 udp/53 as 10.65.1.1 yes"""),
    scenario("a workload and its host", (), """
        w1 -> h1 tcp/8055 yes
        r1 -> h2 tcp/8055 yes
        t1 -> h3 tcp/8055 no
        t1 -> h3 icmp no
        h3 -> t1 tcp/8055 yes
        t1 -> h1 tcp/8055 yes"""),
    scenario("its own policy counts first", [policy("web", _WEB, egress=[_tcp(80)], **_OUT)], """
        w1 -> h1 tcp/80 yes
        w1 -> h1 tcp/8055 no
        r1 -> h2 tcp/8055 no"""),
)  # fmt: skip

SCENARIOS = (
    *DEFAULTS,
    *ORDER,
    *PROTOCOLS,
    *PORTS,
    *ADDRESSES,
    *SELECTORS,
    *NAMESPACES,
    *NETWORK_SETS,
    *PROFILES,
    *HOSTS,
    *FORWARD,
    *BEFORE,
    *WORKLOADS,
)
