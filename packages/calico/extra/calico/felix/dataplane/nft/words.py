"""The vocabulary of our rules: conditions and statements, each a tuple of expressions."""

import struct
from collections.abc import Iterable, Sequence
from functools import cache

from calico.felix.dataplane.nft.family import Family
from calico.felix.dataplane.nft.intervals import interval_elements
from calico.felix.dataplane.nft.settings import UDP
from calico.felix.desired import Icmp, PortRange
from calico.netlink.nftables.expressions import (
    ACCEPT,
    META_IIFNAME,
    META_L4PROTO,
    META_MARK,
    META_OIFNAME,
    NETWORK_HEADER,
    RETURN,
    TRANSPORT_HEADER,
    VERDICT_REGISTER,
    Comparison,
    between,
    bitwise,
    compare,
    lookup,
    meta,
    meta_set,
    outside,
    payload,
    slot,
    verdict,
)
from calico.netlink.nftables.objects import PROTOCOL, SERVICE, AnonymousLookup, DataType, Element, Set

Parts = tuple[bytes | AnonymousLookup, ...]

_SOURCE_PORT, _DESTINATION_PORT = 0, 2
# RFC 7348: 8 bytes of UDP header, 4 of flags, then the 24 bits of the VNI
_VNI_OFFSET = 12

accept: Parts = (verdict(ACCEPT),)
back: Parts = (verdict(RETURN),)


def interface_key(name: str) -> bytes:
    """An interface's name as the kernel compares it whole."""
    return name.encode().ljust(16, b"\0")


@cache
def interface(name: str, *, out: bool = False) -> Parts:
    """The packet came in by (`out`: leaves by) this interface; a name that ends in `+` or `*` is the start of one."""
    key = name[:-1].encode() if name.endswith(("+", "*")) else interface_key(name)
    return meta(META_OIFNAME if out else META_IIFNAME), compare("==", key)


@cache
def set_mark(bits: int, among: int) -> Parts:
    """Of the mark's bits `among`, set `bits` and clear the others."""
    mask = struct.pack("=I", ~among & 0xFFFFFFFF)
    return meta(META_MARK), bitwise(mask, struct.pack("=I", bits)), meta_set(META_MARK)


@cache
def has_mark(bit: int) -> Parts:
    """This bit of the mark is set."""
    value = struct.pack("=I", bit)
    return meta(META_MARK), bitwise(value, bytes(4)), compare("==", value)


@cache
def lacks_marks(bits: int) -> Parts:
    """None of these bits of the mark is set."""
    return meta(META_MARK), bitwise(struct.pack("=I", bits), bytes(4)), compare("==", bytes(4))


@cache
def protocol(number: int, *, other: bool = False) -> Parts:
    """The packet is of this protocol (`other`: of another one)."""
    return meta(META_L4PROTO), compare("!=" if other else "==", bytes((number,)))


def protocols(numbers: Sequence[int]) -> Parts:
    """The packet is of one of these protocols."""
    elements = tuple(Element(bytes((number,))) for number in numbers)
    return meta(META_L4PROTO), AnonymousLookup(Set((PROTOCOL,)), elements)


def address(family: Family, *, source: bool) -> bytes:
    """Load the packet's source or destination address."""
    offset = family.source_offset if source else family.destination_offset
    return payload(NETWORK_HEADER, offset, family.address.length)


def networks(family: Family, nets: Sequence[str], *, source: bool, inverted: bool = False) -> Parts:
    """The address is in one of these networks (`inverted`: in none)."""
    spans = sorted({family.span(net) for net in nets})
    if len(spans) == 1:
        return _one_network(family, *spans[0], source=source, inverted=inverted)
    elements = tuple(interval_elements(family.address.length, spans))
    kind = Set((family.address,), interval=True)
    return address(family, source=source), AnonymousLookup(kind, elements, inverted)


def _one_network(family: Family, first: int, last: int, *, source: bool, inverted: bool) -> Parts:
    length = family.address.length
    mask = (1 << family.bits) - 1 ^ (first ^ last)
    load: Parts = (address(family, source=source),)
    if first != last:
        load += (bitwise(mask.to_bytes(length, "big"), bytes(length)),)
    return *load, compare("!=" if inverted else "==", first.to_bytes(length, "big"))


def in_set(family: Family, name: str, *, source: bool, inverted: bool = False) -> Parts:
    """The address is in this set (`inverted`: is not)."""
    return address(family, source=source), lookup(name, inverted=inverted)


def in_port_set(family: Family, name: str, *, source: bool, inverted: bool = False) -> Parts:
    """Address, protocol and port are in this set (`inverted`: are not)."""
    second = family.address.length // 4
    return (
        address(family, source=source),
        meta(META_L4PROTO, slot(second)),
        payload(TRANSPORT_HEADER, _SOURCE_PORT if source else _DESTINATION_PORT, 2, slot(second + 1)),
        lookup(name, inverted=inverted),
    )


def ports(ranges: Sequence[PortRange], *, source: bool, inverted: bool = False) -> Parts:
    """The port is in one of these ranges (`inverted`: in none). The protocol has been looked at."""
    load = payload(TRANSPORT_HEADER, _SOURCE_PORT if source else _DESTINATION_PORT, 2)
    if len(ranges) > 1:
        elements = tuple(interval_elements(2, sorted(set(ranges))))
        return load, AnonymousLookup(Set((SERVICE,), interval=True), elements, inverted)
    first, last = (struct.pack(">H", port) for port in ranges[0])
    if first == last:
        return load, compare("!=" if inverted else "==", first)
    return (load, outside(first, last)) if inverted else (load, *between(first, last))


def port(number: int, *, source: bool = False) -> Parts:
    """The port is this one."""
    return ports((PortRange(number, number),), source=source)


def icmp(family: Family, what: Icmp, *, inverted: bool = False) -> Parts:
    """Type, and code where one is given, are these (`inverted`: not both are)."""
    if what.code is None:
        return payload(TRANSPORT_HEADER, 0, 1), compare("!=" if inverted else "==", bytes((what.type,)))
    kind = Set((DataType(29, 1), DataType(33, 1)) if family.version == 6 else (DataType(14, 1), DataType(32, 1)))
    elements = (Element(bytes((what.type, 0, 0, 0, what.code, 0, 0, 0))),)
    return (
        payload(TRANSPORT_HEADER, 0, 1),
        payload(TRANSPORT_HEADER, 1, 1, slot(1)),
        AnonymousLookup(kind, elements, inverted),
    )


def vxlan(udp_port: int, vni: int) -> Parts:
    """A VXLAN packet of our network. The port alone may be another overlay's, too."""
    return (
        *protocol(UDP),
        *port(udp_port),
        payload(TRANSPORT_HEADER, _VNI_OFFSET, 3),
        compare("==", vni.to_bytes(3, "big")),
    )


def dispatch(endpoints: str, verdicts: str, *, out: bool = False) -> Parts:
    """Look the interface up in a map, and what it says in a verdict map."""
    return *_mapped(endpoints, out=out), lookup(verdicts, into=VERDICT_REGISTER)


def mapped(endpoints: str, operator: Comparison, number: int) -> Parts:
    """The interface that the packet came in by is in a map, with a value that compares so with `number`."""
    return *_mapped(endpoints, out=False), compare(operator, struct.pack("=I", number))


def _mapped(endpoints: str, *, out: bool) -> Parts:
    """Load what a map says of the interface.

    The value takes a way through the mark, which is as it was when that is done. The kernel needs no such detour, but
    nft ends in a failed assertion where it lists a rule that uses what a lookup found (1.0.6).
    """
    saved = slot(4)
    return (
        meta(META_MARK, saved),
        meta(META_OIFNAME if out else META_IIFNAME),
        lookup(endpoints, into=1),
        meta_set(META_MARK),
        meta(META_MARK),
        meta_set(META_MARK, saved),
    )


def joined(*parts: Iterable[bytes | AnonymousLookup]) -> Parts:
    """Conditions and statements, one after another."""
    return tuple(one for some in parts for one in some)
