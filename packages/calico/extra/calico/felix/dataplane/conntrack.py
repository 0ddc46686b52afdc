"""Connection tracking: make the kernel forget the connections of an address, by raw netlink.

A connection that the kernel remembers passes by the policy of whoever had its address then. So the connections of a
workload's address are forgotten when its workload goes, before another may get it.
"""

import struct
from collections.abc import Collection, Iterator
from ipaddress import ip_address

from calico.netlink.message import Message, attribute, attribute_map, nested, u32
from calico.netlink.route import Address
from calico.netlink.socket import NETLINK_NETFILTER, Netlink, Request

# linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h: (subsystem << 8) | message
_SUBSYSTEM = 1 << 8
_NEW, _GET, _DELETE = _SUBSYSTEM | 0, _SUBSYSTEM | 1, _SUBSYSTEM | 2
_NFGENMSG = struct.Struct("=BBH")
_TUPLE_ORIG, _TUPLE_REPLY, _ID, _ZONE, _FILTER = 1, 2, 12, 18, 25
_TUPLE_IP = 1
_IP_SOURCE = {4: 1, 6: 3}
_FAMILIES = {4: 2, 6: 10}
# CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS; CTA_FILTER_FLAG(CTA_IP_SRC)
_FILTER_FLAGS = {_TUPLE_ORIG: 1, _TUPLE_REPLY: 2}
_BY_SOURCE = 1
# From so many addresses on, one reading of everything is cheaper than one for each.
_MANY = 8


class Conntrack:
    """A socket for connection tracking. Raises OSError where the kernel refuses it."""

    def __init__(self, timeout: float = 10.0) -> None:
        self._netlink = Netlink(NETLINK_NETFILTER, timeout)

    def close(self) -> None:
        """Give the socket back."""
        self._netlink.close()

    def forget(self, addresses: Collection[Address]) -> int:
        """Delete the connections that an address of `addresses` opened or answers; how many there were."""
        requests = []
        for version in (4, 6):
            of_family = {address for address in addresses if address.version == version}
            requests += [_deletion(message) for message in self._connections(version, of_family)]
        errors = self._netlink.batch(requests)
        return len(requests) - len(errors)

    def _connections(self, version: int, addresses: Collection[Address]) -> Iterator[Message]:
        """The entries with one of `addresses` as a source of either direction."""
        if not addresses:
            return
        seen: set[bytes] = set()
        for filters in _filters(version, addresses):
            for message in self._netlink.dump(_GET, _NFGENMSG.pack(_FAMILIES[version], 0, 0) + filters):
                found = attribute_map(message.payload, _NFGENMSG.size)
                identity = found.get(_ID, b"")
                # A kernel that does not know the filter (before 5.8) sends everything.
                if message.kind == _NEW and identity not in seen and _sources(version, found) & set(addresses):
                    seen.add(identity)
                    yield message


def _filters(version: int, addresses: Collection[Address]) -> Iterator[bytes]:
    if len(addresses) > _MANY:
        yield b""
        return
    for address in addresses:
        for side, flags in _FILTER_FLAGS.items():
            source = nested(side, nested(_TUPLE_IP, attribute(_IP_SOURCE[version], address.packed)))
            yield source + nested(_FILTER, u32(flags, _BY_SOURCE))


def _sources(version: int, found: dict[int, bytes]) -> set[Address]:
    tuples = (attribute_map(attribute_map(found.get(side, b"")).get(_TUPLE_IP, b"")) for side in _FILTER_FLAGS)
    return {ip_address(one[_IP_SOURCE[version]]) for one in tuples if _IP_SOURCE[version] in one}


def _deletion(message: Message) -> Request:
    """Delete one entry: by its tuple, its zone and its id, so that a new connection in its place is spared."""
    found = attribute_map(message.payload, _NFGENMSG.size)
    payload = message.payload[: _NFGENMSG.size] + nested(_TUPLE_ORIG, found[_TUPLE_ORIG])
    for kind in (_ID, _ZONE):
        if kind in found:
            payload += attribute(kind, found[kind])
    return Request(_DELETE, payload)
