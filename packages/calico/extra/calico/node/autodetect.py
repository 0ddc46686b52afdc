"""Which of a host's addresses is the node's, where nobody says: upstream's methods of autodetection.

On DC/OS detect_ip says it; these are for whoever sets `IP=autodetect` with a method, or `IP6=autodetect`.
"""

import re
import socket
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import NamedTuple

Address = IPv4Interface | IPv6Interface

FIRST_FOUND = "first-found"
# As upstream's, unanchored: `lo` keeps out whatever has these two letters in its name.
_NOT_THE_NODES = ("docker.*", "cbr.*", "dummy.*", "virbr.*", "lxcbr.*", "veth.*", "lo", "cali.*", "tunl.*")
_NOR_THESE = ("flannel.*", "kube-ipvs.*")


class DetectionError(Exception):
    """A method that cannot be meant, or that finds nothing."""


class Interface(NamedTuple):
    """An interface that is on, with its addresses."""

    name: str
    addresses: tuple[Address, ...]


class HostNetwork(NamedTuple):
    """What detection asks of the host: interfaces in the kernel's order, and the address that reaches another host."""

    interfaces: Callable[[], Sequence[Interface]]
    address_towards: Callable[[int, str], str]


def detect(family: int, method: str, host: HostNetwork) -> Address:
    """The node's address of a family by `method`. Raise DetectionError."""
    kind, _, argument = (method or FIRST_FOUND).partition("=")
    match kind:
        case "first-found":
            found = next(_of(host, family, (), (*_NOT_THE_NODES, *_NOR_THESE)), None)
        case "interface" if argument:
            found = next(_of(host, family, tuple(argument.split(",")), ()), None)
        case "skip-interface" if argument:
            found = next(_of(host, family, (), (*argument.split(","), *_NOT_THE_NODES, *_NOR_THESE)), None)
        case "can-reach" if argument:
            found = _reaching(host, family, argument)
        case _:
            known = "first-found, can-reach=ADDRESS, interface=REGEX,... or skip-interface=REGEX,..."
            raise DetectionError(f"{method!r}: must be {known}")
    if found is None:
        raise DetectionError(f"{method or FIRST_FOUND!r}: no interface has an IPv{family} address that fits")
    return found


def _of(host: HostNetwork, family: int, wanted: Sequence[str], unwanted: Sequence[str]) -> Iterator[Address]:
    """The addresses that may be the node's, of the interfaces whose names match, the kernel's last one first."""
    for interface in reversed(host.interfaces()):
        if wanted and not any(_matches(pattern, interface.name) for pattern in wanted):
            continue
        if any(_matches(pattern, interface.name) for pattern in unwanted):
            continue
        for address in interface.addresses:
            ip = address.ip
            if ip.version == family and not (
                ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified
            ):
                yield address


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error as error:
        raise DetectionError(f"{pattern!r} is not a regular expression: {error}") from None


def _reaching(host: HostNetwork, family: int, destination: str) -> Address | None:
    try:
        local = host.address_towards(family, destination)
    except OSError as error:
        raise DetectionError(f"can-reach={destination}: {error.strerror or error}") from None
    everything = (address for interface in host.interfaces() for address in interface.addresses)
    return next((address for address in everything if str(address.ip) == local), None)


def this_host() -> HostNetwork:
    """The host that this process runs on."""
    return HostNetwork(_interfaces, _address_towards)


def _interfaces() -> Sequence[Interface]:
    from calico.netlink.route import list_addresses, list_links
    from calico.netlink.socket import Netlink

    with Netlink() as netlink:
        links, addresses = list_links(netlink), list_addresses(netlink)
    return [
        Interface(
            link.name,
            tuple(ip_interface(f"{one.address}/{one.prefix}") for one in addresses if one.ifindex == link.ifindex),
        )
        for link in links
        if link.is_up
    ]


def _address_towards(family: int, destination: str) -> str:
    """The address a datagram to `destination` would carry; none is sent."""
    with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.connect((destination, 80))
        return str(probe.getsockname()[0])
