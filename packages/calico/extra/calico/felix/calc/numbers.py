"""Addresses, networks and protocols as canonical text and numbers."""

import socket
from functools import lru_cache
from typing import NamedTuple

from calico.model.formats import parse_cidr_or_ip, parse_ip
from calico.model.scalars import Protocol

PROTOCOL_NUMBERS = {"TCP": 6, "UDP": 17, "ICMP": 1, "ICMPv6": 58, "SCTP": 132, "UDPLite": 136}
PROTOCOL_NAMES = {number: name.lower() for name, number in PROTOCOL_NUMBERS.items()}


def protocol_number(protocol: Protocol) -> int:
    """The number of a valid protocol."""
    return protocol if isinstance(protocol, int) else PROTOCOL_NUMBERS[protocol]


def canonical_address(text: str) -> str:
    """The one text of a valid address; empty of an empty one."""
    if "." in text and ":" not in text:
        return text
    return str(parse_ip(text) or "")


@lru_cache(4096)
def canonical_network(text: str) -> str:
    """`address/length` without host bits, of a valid network or address."""
    found = parse_cidr_or_ip(text)
    if found is None:
        raise ValueError(f"{text!r} is no network")
    return str(found[1])


def canonical_mac(text: str) -> str:
    """A valid MAC address in lower case with colons; empty of an empty one."""
    digits = "".join(char for char in text.lower() if char not in ":-.")
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


class Network4(NamedTuple):
    """An IPv4 network as numbers: what routes compare."""

    address: int
    length: int

    @classmethod
    def parse(cls, text: str) -> "Network4":
        """The network of canonical text; an address is its own."""
        address, _, length = text.partition("/")
        return cls(int.from_bytes(socket.inet_aton(address), "big"), int(length or 32))

    def __str__(self) -> str:
        return f"{socket.inet_ntoa(self.address.to_bytes(4, 'big'))}/{self.length}"

    def shortened(self, length: int) -> "Network4":
        """The network of `length` bits around this one."""
        return Network4(self.address >> (32 - length) << (32 - length), length)

    def holds(self, other: "Network4") -> bool:
        """Whether all of the other network is in this one."""
        return self.length <= other.length and other.shortened(self.length) == self
