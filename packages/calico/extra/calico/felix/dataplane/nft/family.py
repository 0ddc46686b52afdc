"""What differs between IPv4 and IPv6."""

import socket
from ipaddress import ip_network
from typing import NamedTuple

from calico.netlink.nftables.objects import IPV4, IPV4_ADDRESS, IPV6, IPV6_ADDRESS, DataType


class Family(NamedTuple):
    """An address family: its number, where its addresses are in the header, its ICMP."""

    number: int
    version: int
    address: DataType
    source_offset: int
    destination_offset: int
    icmp: int

    def owns(self, text: str) -> bool:
        """Whether an address or network, as text, is of this family."""
        return (":" in text) == (self.version == 6)

    def pack(self, address: str) -> bytes:
        """An address as packets have it."""
        return socket.inet_pton(socket.AF_INET6 if self.version == 6 else socket.AF_INET, address)

    @property
    def bits(self) -> int:
        """Of an address."""
        return self.address.length * 8

    def span(self, text: str) -> tuple[int, int]:
        """First and last address of a network, or of a single address, as numbers."""
        address, _, length = text.partition("/")
        if not length or int(length) == self.bits:
            one = int.from_bytes(self.pack(address), "big")
            return one, one
        network = ip_network(text, strict=False)
        return int(network.network_address), int(network.broadcast_address)


V4 = Family(IPV4, 4, IPV4_ADDRESS, 12, 16, 1)
V6 = Family(IPV6, 6, IPV6_ADDRESS, 8, 24, 58)
