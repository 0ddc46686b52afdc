"""Rules as the user writes them, turned into what the kernel is asked: numbers, networks and IP sets.

The sets a rule needs are found here, too. On each side of a rule the negative selector is folded into the positive one
where there is one; alone it stays a set of its own, since it must also hold of addresses that are no endpoint's. Named
ports become sets of (address, protocol, port) over the endpoints that the positive selector selects; where no numeric
port is given beside them they imply that selector, whose own set is left out.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from calico.felix import desired
from calico.felix.calc import selectors
from calico.felix.calc.numbers import PROTOCOL_NAMES, canonical_network, protocol_number
from calico.model.rule import ICMP, EntityRule, Rule
from calico.model.scalars import Port, Protocol
from calico.selector.parser import Selector, unique_id

_ACTIONS: Mapping[str, desired.Action] = {"Allow": "allow", "Deny": "deny", "Pass": "pass", "Log": "log"}
_IMPLIED_VERSION: Mapping[Protocol | None, Literal[4, 6]] = {"ICMP": 4, "ICMPv6": 6}
"""The family that a protocol by name implies; its number does not."""


class SetDefinition(NamedTuple):
    """What is in an IP set: addresses of what `selector` selects or, with `port`, their ports of that name."""

    id: str
    selector: Selector
    protocol: str = ""
    port: str = ""


Sets = dict[str, SetDefinition]
"""Definitions by id."""


def port_protocol(protocol: Protocol | None) -> str:
    """The protocol of a named port in a rule with `protocol`: TCP unless it is UDP or SCTP."""
    name = PROTOCOL_NAMES.get(protocol_number(protocol), "") if protocol else ""
    return name if name in ("udp", "sctp") else "tcp"


def translate(rules: tuple[Rule, ...], namespace: str, sets: Sets) -> tuple[desired.Rule, ...]:
    """The rules of a policy of `namespace` (empty: a global one, or a profile); adds to `sets` what they need."""
    return tuple(_translate(rule, namespace, sets) for rule in rules)


def _translate(rule: Rule, namespace: str, sets: Sets) -> desired.Rule:
    annotations = rule.metadata.annotations if rule.metadata else {}
    return desired.Rule(
        _ACTIONS[rule.action],
        _ip_version(rule),
        protocol_number(rule.protocol) if rule.protocol else None,
        protocol_number(rule.not_protocol) if rule.not_protocol else None,
        _icmp(rule.icmp),
        _icmp(rule.not_icmp),
        _side(rule.source, rule.protocol, namespace, sets),
        _side(rule.destination, rule.protocol, namespace, sets),
        tuple(sorted(annotations.items())),
    )


def _ip_version(rule: Rule) -> Literal[0, 4, 6]:
    """The one family a rule can match in, or 0. Networks of a family, in any list, hold a rule to it."""
    if rule.ip_version in (4, 6):
        return 4 if rule.ip_version == 4 else 6
    if rule.protocol in _IMPLIED_VERSION:
        return _IMPLIED_VERSION[rule.protocol]
    for net in (*rule.source.nets, *rule.source.not_nets, *rule.destination.nets, *rule.destination.not_nets):
        return 6 if ":" in net else 4
    return 0


def _icmp(icmp: ICMP | None) -> desired.Icmp | None:
    return None if icmp is None or icmp.type is None else desired.Icmp(icmp.type, icmp.code)


def _side(peer: EntityRule, protocol: Protocol | None, namespace: str, sets: Sets) -> desired.Side:
    positive = selectors.of_peer(
        peer.selector, peer.not_selector, peer.namespace_selector, peer.service_accounts, namespace
    )
    negative = selectors.cached_parse(peer.not_selector) if peer.not_selector else None
    if positive is not None and negative is not None:
        positive, negative = selectors.without(positive, negative), None
    numeric, named = _split(peer.ports)
    not_numeric, not_named = _split(peer.not_ports)
    ported = positive or selectors.EVERYTHING
    implied = bool(named) and not numeric
    return desired.Side(
        tuple(map(canonical_network, peer.nets)),
        tuple(map(canonical_network, peer.not_nets)),
        () if positive is None or implied else (_selected(positive, sets),),
        () if negative is None else (_selected(negative, sets),),
        numeric,
        not_numeric,
        tuple(_ported(ported, protocol, name, sets) for name in named),
        tuple(_ported(ported, protocol, name, sets) for name in not_named),
    )


def _split(ports: tuple[Port, ...]) -> tuple[tuple[desired.PortRange, ...], tuple[str, ...]]:
    """Numeric and named ports, apart."""
    numeric = tuple(desired.PortRange(port.first, port.last) for port in ports if not port.name)
    return numeric, tuple(dict.fromkeys(port.name for port in ports if port.name))


def _selected(selector: Selector, sets: Sets) -> str:
    uid = selector.uid
    sets[uid] = SetDefinition(uid, selector)
    return uid


def _ported(selector: Selector, protocol: Protocol | None, name: str, sets: Sets) -> str:
    of = port_protocol(protocol)
    uid = unique_id("n", f"{selector.uid},{of},{name}")
    sets[uid] = SetDefinition(uid, selector, of, name)
    return uid
