"""The interfaces of this host as values, followed by notifications and listed afresh when some may be missing."""

import errno
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from calico.netlink import route
from calico.netlink.message import Message
from calico.netlink.route import Address, InterfaceAddress, Link
from calico.netlink.socket import Netlink

_GROUPS = (route.RTNLGRP_LINK, route.RTNLGRP_IPV4_IFADDR, route.RTNLGRP_IPV6_IFADDR)


class Interface(NamedTuple):
    """An interface and its addresses. Two are equal when nothing that felix asks of them differs."""

    link: Link
    addresses: frozenset[InterfaceAddress] = frozenset()

    @property
    def name(self) -> str:
        """Its name."""
        return self.link.name

    @property
    def ifindex(self) -> int:
        """Its number in this namespace."""
        return self.link.ifindex

    def has_address(self, address: Address) -> bool:
        """Whether it carries an address, whatever the length of its prefix."""
        return any(one.address == address for one in self.addresses)


Interfaces = Mapping[str, Interface]
"""By name."""


def is_workload(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a name says that the interface is a workload's."""
    return any(name.startswith(prefix) for prefix in prefixes)


def carrying(interfaces: Interfaces, address: Address) -> Interface | None:
    """The interface that carries an address; of several, the one the kernel made first."""
    found = [interface for interface in interfaces.values() if interface.has_address(address)]
    return min(found, key=lambda interface: interface.ifindex, default=None)


class InterfaceMonitor:
    """Follows the interfaces of the namespace it was made in. Used by one thread.

    `interfaces` is what is known; `refresh` takes the notifications that wait, `resync` lists everything. Both return
    the names of what differs from before, of vanished interfaces too. A lost notification leads to a listing.
    """

    def __init__(self, timeout: float = 10.0) -> None:
        self._events = Netlink(timeout=timeout)
        self._events.subscribe(*_GROUPS)
        self._netlink = Netlink(timeout=timeout)
        self._links: dict[int, Link] = {}
        self._addresses: dict[int, frozenset[InterfaceAddress]] = {}
        self.interfaces: dict[str, Interface] = {}
        self._flapped: set[int] = set()
        self._readdressed: set[int] = set()
        self.lost = 0
        """How often notifications were lost."""

    def close(self) -> None:
        """Give the sockets back."""
        self._events.close()
        self._netlink.close()

    def fileno(self) -> int:
        """For poll: readable when `refresh` has something to do."""
        return self._events.fileno()

    def take_flapped(self) -> frozenset[int]:
        """Numbers of the interfaces that were off, gone, new or without any IPv4 address any more since the last call.

        The kernel dropped their routes.
        """
        flapped, self._flapped = frozenset(self._flapped), set()
        return flapped

    def take_readdressed(self) -> frozenset[int]:
        """Numbers of those with another MAC address: the kernel dropped their neighbours, even permanent ones."""
        readdressed, self._readdressed = frozenset(self._readdressed), set()
        return readdressed

    def exists(self, ifindex: int) -> bool:
        """Whether an interface with this number is there."""
        return ifindex in self._links

    def resync(self) -> frozenset[str]:
        """List everything."""
        known = self._links
        self._links = {link.ifindex: _plain(link) for link in route.list_links(self._netlink)}
        addresses: dict[int, set[InterfaceAddress]] = {}
        for address in route.list_addresses(self._netlink):
            addresses.setdefault(address.ifindex, set()).add(address)
        self._addresses = {index: frozenset(found) for index, found in addresses.items()}
        self._flapped.update(known.keys() - self._links.keys())
        self._flapped.update(index for index, link in self._links.items() if not link.is_up)
        self._readdressed.update(index for index, link in self._links.items() if _has_other_mac(known.get(index), link))
        before = self.interfaces
        self.interfaces = {link.name: self._interface(link) for link in self._links.values()}
        names = before.keys() | self.interfaces.keys()
        return frozenset(name for name in names if before.get(name) != self.interfaces.get(name))

    def refresh(self) -> frozenset[str]:
        """Take every notification that waits."""
        changed: set[str] = set()
        try:
            while found := self._events.receive(0):
                for message in found:
                    changed |= self._take(message)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self.lost += 1
            changed |= self.resync()
        return frozenset(changed)

    def _take(self, message: Message) -> set[str]:
        """Work one notification in; the names of the interfaces that it changes.

        A bridge speaks of its ports as links, too: the end of a port is not the end of its interface.
        """
        if message.kind in (route.RTM_NEWLINK, route.RTM_DELLINK):
            if route.is_bridge_port(message):
                return set()
            return self._take_link(_plain(route.read_link(message)), message.kind == route.RTM_NEWLINK)
        if message.kind in (route.RTM_NEWADDR, route.RTM_DELADDR):
            return self._take_address(route.read_address(message), message.kind == route.RTM_NEWADDR)
        return set()

    def _take_link(self, link: Link, is_there: bool) -> set[str]:
        known = self._links.get(link.ifindex)
        if not is_there or not link.is_up:
            self._flapped.add(link.ifindex)
        if _has_other_mac(known, link):
            self._readdressed.add(link.ifindex)
        if not is_there:
            self._links.pop(link.ifindex, None)
            self._addresses.pop(link.ifindex, None)
            return self._forget(known) if known else set()
        if known == link:
            return set()
        changed = self._forget(known) if known and known.name != link.name else set()
        self._links[link.ifindex] = link
        self.interfaces[link.name] = self._interface(link)
        return changed | {link.name}

    def _take_address(self, address: InterfaceAddress, is_there: bool) -> set[str]:
        known = self._addresses.get(address.ifindex, frozenset())
        found = known | {address} if is_there else known - {address}
        link = self._links.get(address.ifindex)
        if link is None or found == known:
            return set()
        if _has_ipv4(known) and not _has_ipv4(found):  # net/ipv4/fib_frontend.c: fib_disable_ip
            self._flapped.add(address.ifindex)
        self._addresses[address.ifindex] = found
        self.interfaces[link.name] = self._interface(link)
        return {link.name}

    def _forget(self, link: Link) -> set[str]:
        if (known := self.interfaces.get(link.name)) and known.ifindex == link.ifindex:
            del self.interfaces[link.name]
        return {link.name}

    def _interface(self, link: Link) -> Interface:
        return Interface(link, self._addresses.get(link.ifindex, frozenset()))


def _has_ipv4(addresses: Iterable[InterfaceAddress]) -> bool:
    return any(one.address.version == 4 for one in addresses)


def _has_other_mac(before: Link | None, link: Link) -> bool:
    return before is not None and before.mac != link.mac


def _plain(link: Link) -> Link:
    """A link without the flags that change without anything changing for felix."""
    kept = route.IFF_UP | route.IFF_RUNNING
    return link._replace(flags=link.flags & kept)
