"""Rules of policies and profiles as rules of nftables.

A chain of a policy decides by marks and returns: `accepted` for allow, `passed` for pass, neither where none matched.
A deny goes to the chain that counts it and drops.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

from calico.felix import desired
from calico.felix.dataplane.nft.causes import Cause, Drop
from calico.felix.dataplane.nft.family import Family
from calico.felix.dataplane.nft.names import Direction, Place, content_set
from calico.felix.dataplane.nft.settings import SCTP, TCP, UDP, UDPLITE, NftSettings
from calico.felix.dataplane.nft.words import (
    Parts,
    back,
    icmp,
    in_port_set,
    in_set,
    joined,
    networks,
    ports,
    protocol,
    protocols,
    set_mark,
)
from calico.netlink.nftables.expressions import goto, log, lookup
from calico.netlink.nftables.objects import AnonymousLookup, Chain, Rule

_ICMP_PROTOCOLS = {4: 1, 6: 58}
_WITH_PORTS = (TCP, UDP, SCTP, UDPLITE)
# NF_LOG_PREFIXLEN is 128 with the zero that ends it.
_LOG_PREFIX = 125
# NFT_RULE_MAXEXPRS
_EXPRESSIONS = 128
_UNSAFE = re.compile(r"[^ -~]")


class Where(NamedTuple):
    """Where a chain of rules stands: family, settings, how its denials are counted, and what IP sets are called."""

    family: Family
    settings: NftSettings
    denied: Drop
    set_name: Callable[[str], str]


def denial(cause: Cause, direction: Direction, place: Place) -> Drop:
    """`direction` is the rules'. A workload's ingress is what leaves the host's side; a host's is what comes in."""
    counted_out = (direction == "in") == (place == "workload")
    return Drop(cause, "out" if counted_out else "in", place)


def rules_chain(rules: Sequence[desired.Rule], at: Where) -> Chain:
    """The chain of a policy's or profile's rules of one direction."""
    return Chain(tuple(one for rule in rules for one in render(rule, at)))


def deny_chain(at: Where) -> Chain:
    """A chain that denies everything: of a profile that is missing, or a policy that cannot be rendered."""
    return Chain((Rule((goto(at.denied.chain),)),))


def named(chain: Chain) -> tuple[Chain, Mapping[str, AnonymousLookup]]:
    """The chain with sets of their own name in the place of those that rules list as intervals; and these by name.

    A new interval set has its elements later than the rules that come with it, so that it has to be there before.
    """
    contents: dict[str, AnonymousLookup] = {}

    def replaced(part: bytes | AnonymousLookup) -> bytes | AnonymousLookup:
        if isinstance(part, bytes) or not part.set.interval:
            return part
        name = content_set(part.set, part.elements)
        contents[name] = part
        return lookup(name, part.register, inverted=part.inverted)

    rules = tuple(Rule(map(replaced, rule.parts), rule.text) for rule in chain.rules)
    return Chain(rules, chain.base), contents


def sets_of(rules: Sequence[desired.Rule]) -> frozenset[str]:
    """The IP sets that rules refer to."""
    return frozenset(
        one
        for rule in rules
        for side in (rule.source, rule.destination)
        for some in (side.sets, side.not_sets, side.port_sets, side.not_port_sets)
        for one in some
    )


def render(rule: desired.Rule, at: Where) -> Iterator[Rule]:
    """The rules of one rule; none where it says nothing about the family.

    Where a side has both port numbers and sets of named ports, or several sets, each is an alternative with a rule of
    its own: whichever matches decides the same. Log would say it twice, so its alternatives exclude those before.
    Raises ValueError for a rule that is longer than the kernel takes.
    """
    if rule.ip_version not in {0, at.family.version} or _has_only_other_nets(rule, at.family):
        return
    common = _common(rule, at)
    text = _text(rule)
    statement = _statement(rule.action, at)
    exclusive = rule.action == "log"
    sources = _port_alternatives(rule.source, at, source=True, exclusive=exclusive)
    destinations = _port_alternatives(rule.destination, at, source=False, exclusive=exclusive)
    for source, destination in product(sources, destinations):
        parts = joined(common, source, destination, statement)
        if len(parts) > _EXPRESSIONS:
            raise ValueError(
                f"a rule has {len(parts)} conditions (of named ports, 4 each); the kernel takes {_EXPRESSIONS}"
            )
        yield Rule(parts, text)


def _has_only_other_nets(rule: desired.Rule, family: Family) -> bool:
    """Whether networks are given, and none of this family: then the rule has no meaning in it."""
    return any(
        nets and not any(family.owns(net) for net in nets)
        for side in (rule.source, rule.destination)
        for nets in (side.nets, side.not_nets)
    )


def _common(rule: desired.Rule, at: Where) -> Parts:
    family = at.family
    return joined(
        _protocol(rule, family),
        _addresses(rule.source, at, source=True),
        _addresses(rule.destination, at, source=False),
        _negated_ports(rule.source, at, source=True),
        _negated_ports(rule.destination, at, source=False),
        icmp(family, rule.icmp) if rule.icmp else (),
        icmp(family, rule.not_icmp, inverted=True) if rule.not_icmp else (),
    )


def _protocol(rule: desired.Rule, family: Family) -> Parts:
    parts: Parts = ()
    if rule.icmp or rule.not_icmp:
        parts = protocol(_ICMP_PROTOCOLS[family.version])
    if rule.protocol is not None:
        parts = joined(parts, protocol(rule.protocol))
    elif any(side.ports or side.not_ports for side in (rule.source, rule.destination)):
        parts = joined(parts, protocols(_WITH_PORTS))
    if rule.not_protocol is not None:
        parts = joined(parts, protocol(rule.not_protocol, other=True))
    return parts


def _addresses(side: desired.Side, at: Where, *, source: bool) -> Parts:
    family = at.family
    nets = [net for net in side.nets if family.owns(net)]
    not_nets = [net for net in side.not_nets if family.owns(net)]
    return joined(
        networks(family, nets, source=source) if nets else (),
        *(in_set(family, at.set_name(one), source=source) for one in side.sets),
        networks(family, not_nets, source=source, inverted=True) if not_nets else (),
        *(in_set(family, at.set_name(one), source=source, inverted=True) for one in side.not_sets),
    )


def _negated_ports(side: desired.Side, at: Where, *, source: bool) -> Parts:
    family = at.family
    return joined(
        ports(side.not_ports, source=source, inverted=True) if side.not_ports else (),
        *(in_port_set(family, at.set_name(one), source=source, inverted=True) for one in side.not_port_sets),
    )


def _port_alternatives(side: desired.Side, at: Where, *, source: bool, exclusive: bool) -> list[Parts]:
    family = at.family
    matches: list[Parts] = [ports(side.ports, source=source)] if side.ports else []
    matches += [in_port_set(family, at.set_name(one), source=source) for one in side.port_sets]
    if not matches:
        return [()]
    if not exclusive:
        return matches
    negations: list[Parts] = [ports(side.ports, source=source, inverted=True)] if side.ports else []
    negations += [in_port_set(family, at.set_name(one), source=source, inverted=True) for one in side.port_sets]
    return [joined(*negations[:index], match) for index, match in enumerate(matches)]


def _statement(action: desired.Action, at: Where) -> Parts:
    settings = at.settings
    if action == "deny":
        return (goto(at.denied.chain),)
    if action == "log":
        return (log(f"{_shortened(settings.log_prefix)}: "),)
    bit = settings.accepted if action == "allow" else settings.passed
    return joined(set_mark(bit, bit), back)


def _shortened(prefix: str) -> str:
    return prefix.encode(errors="replace")[:_LOG_PREFIX].decode(errors="ignore")


def _text(rule: desired.Rule) -> str:
    return _UNSAFE.sub("_", " ".join(f"{key}={value}" for key, value in rule.annotations))
