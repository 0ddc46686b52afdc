"""No two networks of a cluster may share an address.

Every network, range and address of the configuration becomes a `Claim`, and so do the ranges that are taken whatever it
says; pairs of claims are then compared. Calico's network against anything, overlays against one another and IPv6
networks against one another are errors; other overlaps are upstream's to refuse and only warn.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from gen.checks.facts import NODE_LISTS, Facts
from gen.kinds import host_port
from gen.parameters import applies
from gen.problems import ERROR, WARNING, Finding, Path

_FIXED = (
    ("0.0.0.0/8", "'this network'"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.17.0.0/16", "docker0's default"),
    ("198.51.100.0/24", "DC/OS's internal addresses"),
    ("224.0.0.0/4", "multicast"),
    ("::/127", "IPv6 loopback and the unspecified address"),
    ("fe80::/10", "IPv6 link-local"),
    ("ff00::/8", "IPv6 multicast"),
)


class Claim(NamedTuple):
    """Addresses `first` to `last` of one family, who claims them, and the keys that say so (none: it is fixed)."""

    version: int
    first: int
    last: int
    owner: str
    text: str
    paths: tuple[Path, ...] = ()
    is_active: bool = True

    @property
    def ends(self) -> tuple[str, str]:
        """The first and the last address as text."""
        address = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        return str(address(self.first)), str(address(self.last))

    def overlaps(self, other: "Claim") -> bool:
        """Whether the two share an address."""
        return self.version == other.version and self.first <= other.last and other.first <= self.last


def _network(text: object, owner: str, *paths: Path, is_active: bool = True) -> Iterator[Claim]:
    """The claim of a network; none where the text is no network, as that has been told elsewhere."""
    if not isinstance(text, str) or "/" not in text:
        return
    try:
        net = ipaddress.ip_network(text)
    except ValueError:
        return
    first, last = int(net.network_address), int(net.broadcast_address)
    yield Claim(net.version, first, last, owner, str(net), paths, is_active)


def _range(facts: Facts, low: str, high: str) -> Iterator[Claim]:
    if not facts.has(low, high):
        return
    first, last = (ipaddress.ip_address(facts.values[name]) for name in (low, high))
    if int(first) <= int(last):
        text = f"{first} to {last}"
        yield Claim(first.version, int(first), int(last), "the load balancer's range", text, ((low,), (high,)))


def _host(text: str, owner: str, path: Path) -> Iterator[Claim]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return
    yield Claim(address.version, int(address), int(address), owner, str(address), (path,))


def _calico(facts: Facts) -> Iterator[Claim]:
    name = "calico_network_cidr"
    if facts.has(name):
        yield from _network(facts.values[name], name, (name,))


def _overlays(facts: Facts) -> Iterator[Claim]:
    for index, overlay in facts.overlays():
        for member in ("subnet", "subnet6"):
            path = ("dcos_overlay_network", "overlays", index, member)
            owner = f"the overlay {overlay.get('name')!r}"
            yield from _network(overlay.get(member), owner, path, is_active=overlay.get("enabled") is not False)


def _others(facts: Facts) -> Iterator[Claim]:
    overlay = facts.values["dcos_overlay_network"]
    for member in ("vtep_subnet", "vtep_subnet6"):
        text = overlay.get(member) if isinstance(overlay, dict) else None
        yield from _network(text, f"the overlay's {member}", ("dcos_overlay_network", member))
    bridge = "dcos_ucr_default_bridge_subnet"
    if facts.has(bridge):
        yield from _network(facts.values[bridge], "the UCR bridge", (bridge,))
    yield from _range(facts, "dcos_l4lb_min_named_ip", "dcos_l4lb_max_named_ip")
    yield from _range(facts, "dcos_l4lb_min_named_ip6", "dcos_l4lb_max_named_ip6")


def _hosts(facts: Facts) -> Iterator[Claim]:
    for name in NODE_LISTS:
        for index, address in facts.addresses(name):
            yield from _host(address, "a node", (name, index))
    for index, resolver in facts.addresses("resolvers"):
        yield from _host(host_port(resolver)[0], "a resolver", ("resolvers", index))
    if facts.is_set("bootstrap_url"):
        authority = facts.values["bootstrap_url"].partition("://")[2].partition("/")[0]
        yield from _host(host_port(authority)[0], "the bootstrap host", ("bootstrap_url",))


def _fixed() -> Iterator[Claim]:
    for text, owner in _FIXED:
        yield from _network(text, owner)


def _taken(facts: Facts) -> list[Claim]:
    return [*_overlays(facts), *_others(facts), *_hosts(facts), *_fixed()]


def taken(values: Mapping[str, Any]) -> list[Claim]:
    """Everything that a network of Calico's may not overlap under a valid configuration: to overlap it is an error."""
    facts = Facts(values, frozenset(values), frozenset())
    return [claim for claim in _taken(facts) if claim.is_active and applies(claim.paths, values)]


def calico_overlaps(facts: Facts) -> Iterator[Finding]:
    """Calico's network against everything else in the cluster."""
    for calico in _calico(facts):
        for other in _taken(facts):
            if calico.overlaps(other):
                yield _overlap(calico, other, ERROR if other.is_active else WARNING)


def overlay_overlaps(facts: Facts) -> Iterator[Finding]:
    """The overlay networks against one another."""
    for one, other in combinations(_overlays(facts), 2):
        if one.overlaps(other):
            yield _overlap(one, other, ERROR if one.is_active and other.is_active else WARNING)


def other_overlaps(facts: Facts) -> Iterator[Finding]:
    """The remaining networks against one another, the nodes, the resolvers and the fixed ranges."""
    overlays, others = list(_overlays(facts)), list(_others(facts))
    pairs = [(one, other) for one in overlays for other in others] + list(combinations(others, 2))
    for one, other in pairs:
        if one.overlaps(other):
            is_error = one.version == 6 and one.is_active and other.is_active
            yield _overlap(one, other, ERROR if is_error else WARNING)
    taken = [*_hosts(facts), *_fixed()]
    for one in (*overlays, *others):
        for other in taken:
            if one.overlaps(other):
                is_error = one.version == 6 and one.is_active and not other.paths
                yield _overlap(one, other, ERROR if is_error else WARNING)


def _overlap(one: Claim, other: Claim, severity: str) -> Finding:
    flags: tuple[Path, ...] = ()
    if one.owner == "calico_network_cidr" and other.owner.startswith("the overlay"):
        flags = (("dcos_overlay_enable",), ("calico_enabled",))
    mine = "" if one.text == one.owner else f" ({one.text})"
    message = f"{one.owner}{mine} overlaps {other.owner} ({other.text})"
    return Finding((*one.paths, *other.paths, *flags), "overlap", message, _advice(one, other), severity)


def _advice(one: Claim, other: Claim) -> str:
    if not other.paths:
        return "choose another network"
    return "choose another network for one of them" if one.is_active and other.is_active else "one of them is disabled"


def pool_size(facts: Facts) -> Iterator[Finding]:
    """Calico gives a node addresses in blocks of 64, a /26: every node needs one at least."""
    if not facts.has("calico_network_cidr"):
        return
    length = ipaddress.ip_network(facts.values["calico_network_cidr"]).prefixlen
    cidr: Path = ("calico_network_cidr",)
    if length > 26:
        message = f"a /{length} holds {1 << (32 - length)} addresses; one node's block alone is a /26, 64 addresses"
        yield Finding((cidr,), "pool-size", message, "use a /26 or larger; a /16 serves 1024 nodes")
        return
    nodes = {address for name in NODE_LISTS for _, address in facts.addresses(name)}
    blocks = 1 << (26 - length)
    if blocks < len(nodes):
        message = f"a /{length} holds {blocks} blocks of 64 addresses (/26), fewer than the {len(nodes)} nodes listed"
        fits = 26 - (len(nodes) - 1).bit_length()
        lists: list[Path] = [(name,) for name in NODE_LISTS if name in facts.given]
        yield Finding((cidr, *lists), "pool-size", message, f"use a /{fits} or larger")


def cidr_left_out(facts: Facts) -> Iterator[Finding]:
    """Upstream documents the network as mandatory, and defaults it all the same."""
    if "calico_network_cidr" not in facts.given and facts.values["calico_enabled"] is True:
        default = facts.values["calico_network_cidr"]
        message = f"left out: the default {default} is used"
        hint = "name a network that is free in your site: changing it later means new addresses for every container"
        yield Finding((("calico_network_cidr",),), "default-network", message, hint, WARNING)


def l4lb_order(facts: Facts) -> Iterator[Finding]:
    """The load balancer's ranges run upwards."""
    for family in ("", "6"):
        low, high = f"dcos_l4lb_min_named_ip{family}", f"dcos_l4lb_max_named_ip{family}"
        if facts.has(low, high):
            first, last = (ipaddress.ip_address(facts.values[name]) for name in (low, high))
            if int(first) > int(last):
                yield Finding(
                    ((low,), (high,)), "order", f"the range ends ({last}) before it starts ({first})", "swap them"
                )
