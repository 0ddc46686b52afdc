"""The veth pairs of Docker's containers: made at Join, found again by their alias, deleted at Leave.

The host's end is `<prefix><first 11 of the endpoint's id>`; the other, `temp...`, is for the engine to move into the
container. The alias of the host's end says whose it is: nothing but the kernel has to remember it.
"""

import hashlib
from ipaddress import IPv6Address
from threading import Lock
from typing import NamedTuple

from calico.netlink import route
from calico.netlink.route import InterfaceAddress, Link
from calico.netlink.socket import Netlink

HOST_MAC = "ee:ee:ee:ee:ee:ee"
"""The host's end always has it, as with upstream's CNI plugin: the gateway's MAC survives a new pair."""

_MARK = "calico-libnetwork"
_MOST_NETWORKS = 200
_FIRST_GATEWAY_V6 = int(IPv6Address("fe80::ecee:eeff:feee:eeee"))  # what HOST_MAC makes of itself


class Pair(NamedTuple):
    """A pair as its alias describes it. `place` counts the networks of one container from 1."""

    host: str
    peer: str
    endpoint: str
    sandbox: str
    place: int

    @property
    def gateway(self) -> str:
        """The container's IPv4 gateway on it. The second network's must differ, or the engine cannot set its route."""
        return f"169.254.1.{self.place}"

    @property
    def gateway_v6(self) -> str:
        """The container's IPv6 gateway on it: an address of the host's end."""
        return str(IPv6Address(_FIRST_GATEWAY_V6 + self.place - 1))


def mac_of(endpoint: str) -> str:
    """The MAC address of a container's end that was given none: always the same for an endpoint."""
    digest = hashlib.sha256(endpoint.encode()).digest()
    return bytes(((digest[0] & 0xFC) | 0x02, *digest[1:6])).hex(":")


class Links:
    """The pairs in this network namespace. Threads may share it. Raises OSError, NetlinkError among them."""

    def __init__(self, prefix: str, mtu: int) -> None:
        self._prefix, self._mtu = prefix, mtu
        self._lock = Lock()
        self._netlink: Netlink | None = None

    def plug(self, endpoint: str, sandbox: str, mac: str, with_v6: bool) -> Pair:
        """A new pair, its host's end up, in the place of any the endpoint had."""
        with self._lock:
            netlink = self._socket()
            links = route.list_links(netlink)
            host, peer = self.name_of(endpoint), f"temp{endpoint[:11]}"
            for link in links:
                if link.name in (host, peer):
                    route.remove(netlink, route.delete_link_request(link.ifindex), link.name)
            pairs = [pair for link in links if (pair := _pair(link)) and pair.endpoint != endpoint]
            taken = {pair.place for pair in pairs if pair.sandbox == sandbox}
            place = next(number for number in range(1, _MOST_NETWORKS) if number not in taken)
            pair = Pair(host, peer, endpoint, sandbox, place)
            self._make(netlink, pair, mac, with_v6)
            return pair

    def _make(self, netlink: Netlink, pair: Pair, mac: str, with_v6: bool) -> None:
        alias = f"{_MARK} {pair.endpoint} {pair.sandbox} {pair.place}"
        # One datagram: there is no instant at which a pair has no alias.
        errors = netlink.batch(
            [
                route.veth_request(pair.host, pair.peer, self._mtu, mac=HOST_MAC, peer_mac=mac),
                route.adopt_link_request(pair.host, alias),
            ]
        )
        if errors:
            raise errors[0]
        link = route.find_link(netlink, pair.host) if with_v6 else None
        if link is not None:
            gateway = InterfaceAddress(link.ifindex, IPv6Address(pair.gateway_v6), 64, route.SCOPE_LINK)
            route.apply(netlink, route.address_request(gateway), f"{pair.gateway_v6} on {pair.host}")

    def unplug(self, endpoint: str) -> bool:
        """Delete an endpoint's pair; whether there was one."""
        with self._lock:
            netlink = self._socket()
            return route.remove(netlink, route.delete_link_by_name_request(self.name_of(endpoint)))

    def plugged(self) -> dict[str, Pair]:
        """Every pair of ours, by endpoint."""
        with self._lock:
            pairs = map(_pair, route.list_links(self._socket()))
            return {pair.endpoint: pair for pair in pairs if pair is not None}

    def name_of(self, endpoint: str) -> str:
        """The name of the host's end of an endpoint."""
        return f"{self._prefix}{endpoint[:11]}"

    def _socket(self) -> Netlink:
        """The socket, made when it is first needed: answers given up earlier are told apart by their numbers."""
        if self._netlink is None:
            self._netlink = Netlink()
        return self._netlink


def _pair(link: Link) -> Pair | None:
    match link.alias.split(" "):
        case [mark, endpoint, sandbox, place] if mark == _MARK and place.isdigit():
            return Pair(link.name, f"temp{endpoint[:11]}", endpoint, sandbox, int(place))
    return None
