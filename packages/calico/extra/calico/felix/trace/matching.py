"""One rule against one packet, as `felix.dataplane.nft.policies` has the kernel compare them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from calico.felix.desired import Icmp, IpSet, PortRange, Rule, Side

ICMP = {4: 1, 6: 58}
NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}
_WITH_PORTS = frozenset((6, 17, 132, 136))

Sets = Mapping[str, IpSet]
Describe = Callable[[str], str]
"""What is in an IP set, in a user's words."""


class Packet(NamedTuple):
    """The first packet of a connection. `protocol` is a number; ports are 0 where the protocol has none."""

    source: str
    destination: str
    protocol: int
    source_port: int = 0
    destination_port: int = 0
    icmp: Icmp | None = None

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.destination else 4

    def __str__(self) -> str:
        name = NAMES.get(self.protocol, f"protocol {self.protocol}")
        ports = f" port {self.destination_port}" if self.destination_port else ""
        kind = f" type {self.icmp.type}" if self.icmp else ""
        return f"{self.source} -> {self.destination} {name}{ports}{kind}"


def mismatch(rule: Rule, packet: Packet, sets: Sets, describe: Describe) -> str:
    """Why a rule does not match a packet: the first of its conditions that does not hold; empty where all do."""
    return next(_mismatches(rule, packet, sets, describe), "")


def _mismatches(rule: Rule, packet: Packet, sets: Sets, describe: Describe) -> Iterator[str]:
    version = packet.version
    if rule.ip_version not in (0, version) or _is_of_another_family(rule, version):
        yield f"the rule is not for IPv{version}"
    yield from _protocol_mismatches(rule, packet)
    ends = (("source", rule.source, packet.source, packet.source_port),)
    for name, side, address, port in (
        *ends,
        ("destination", rule.destination, packet.destination, packet.destination_port),
    ):
        yield from _address_mismatches(name, side, address, sets, describe)
        yield from _port_mismatches(
            name, side, f"{address},{NAMES.get(packet.protocol, '')}:{port}", port, sets, describe
        )
    if rule.icmp and not _is_icmp(rule.icmp, packet.icmp):
        yield f"not ICMP {_shown_icmp(rule.icmp)}"
    if rule.not_icmp and _is_icmp(rule.not_icmp, packet.icmp):
        yield f"the rule excludes ICMP {_shown_icmp(rule.not_icmp)}"


def _is_of_another_family(rule: Rule, version: int) -> bool:
    """Whether networks are given, and none of this family: then the rule has no meaning in it."""
    lists = (nets for side in (rule.source, rule.destination) for nets in (side.nets, side.not_nets))
    return any(nets and not any((":" in net) == (version == 6) for net in nets) for nets in lists)


def _protocol_mismatches(rule: Rule, packet: Packet) -> Iterator[str]:
    protocol = packet.protocol
    if (rule.icmp or rule.not_icmp) and protocol != ICMP[packet.version]:
        yield f"the protocol is not {NAMES[ICMP[packet.version]]}"
    if rule.protocol is not None and protocol != rule.protocol:
        yield f"the protocol is not {NAMES.get(rule.protocol, rule.protocol)}"
    has_ports = any(side.ports or side.not_ports for side in (rule.source, rule.destination))
    if rule.protocol is None and has_ports and protocol not in _WITH_PORTS:
        yield "the protocol has no ports"
    if rule.not_protocol is not None and protocol == rule.not_protocol:
        yield f"the rule excludes protocol {NAMES.get(protocol, protocol)}"


def _address_mismatches(name: str, side: Side, address: str, sets: Sets, describe: Describe) -> Iterator[str]:
    if side.nets and not _is_within(address, side.nets):
        yield f"{name} {address} is not in {', '.join(side.nets)}"
    for uid in side.sets:
        if not _is_member(address, sets.get(uid)):
            yield f"{name} {address} is not selected by {describe(uid)}"
    if side.not_nets and _is_within(address, side.not_nets):
        yield f"{name} {address} is in the excluded {', '.join(side.not_nets)}"
    for uid in side.not_sets:
        if _is_member(address, sets.get(uid)):
            yield f"{name} {address} is selected by the excluded {describe(uid)}"


def _port_mismatches(name: str, side: Side, member: str, port: int, sets: Sets, describe: Describe) -> Iterator[str]:
    in_sets = any(member in sets[uid].members for uid in side.port_sets if uid in sets)
    if (side.ports or side.port_sets) and not in_sets and not _is_between(port, side.ports):
        wanted = [*(_shown_range(one) for one in side.ports), *map(describe, side.port_sets)]
        yield f"{name} port {port} is not {' or '.join(wanted)}"
    excluded = [describe(uid) for uid in side.not_port_sets if uid in sets and member in sets[uid].members]
    if excluded or _is_between(port, side.not_ports):
        wanted = excluded or [_shown_range(one) for one in side.not_ports]
        yield f"{name} port {port} is among the excluded {', '.join(wanted)}"


def _is_member(address: str, found: IpSet | None) -> bool:
    if found is None:
        return False
    return address in found.members or _is_within(address, [net for net in found.members if "/" in net])


def _is_within(address: str, nets: Iterable[str]) -> bool:
    parsed = ip_address(address)
    return any(parsed in network for network in map(_network, nets) if network.version == parsed.version)


@lru_cache(65536)
def _network(text: str) -> IPv4Network | IPv6Network:
    return ip_network(text, strict=False)


def _is_between(port: int, ranges: tuple[PortRange, ...]) -> bool:
    return any(one.first <= port <= one.last for one in ranges)


def _is_icmp(wanted: Icmp, found: Icmp | None) -> bool:
    if found is None or found.type != wanted.type:
        return False
    return wanted.code is None or (found.code or 0) == wanted.code


def _shown_range(ports: PortRange) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}:{ports.last}"


def _shown_icmp(icmp: Icmp) -> str:
    return f"type {icmp.type}" + ("" if icmp.code is None else f" code {icmp.code}")
