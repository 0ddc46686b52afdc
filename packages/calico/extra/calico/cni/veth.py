"""A container's interface: a veth pair, one end in the container, the other, `cali...`, on the host.

The container has its address alone on its link and sends everything to 169.254.1.1, which stands for the host's end: it
has that one's MAC address in its neighbour table, and the host answers for it (proxy ARP) as well. The host's end
carries in its alias whose it is, so that what is taken away is never another's.
"""

import errno
import os
import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import NamedTuple

from calico.netlink import route
from calico.netlink.message import NetlinkError
from calico.netlink.namespaces import netlink_in, open_namespace, run_in, same_namespace
from calico.netlink.socket import Netlink, Request

Address = IPv4Address | IPv6Address

HOST_MAC = "ee:ee:ee:ee:ee:ee"
GATEWAY = IPv4Address("169.254.1.1")
_DEFAULT4, _DEFAULT6 = IPv4Network("0.0.0.0/0"), IPv6Network("::/0")
_LINK_LOCAL = IPv6Network("fe80::/10")
_ALIAS = "calico-cni "
_WAITS, _PAUSE = 20, 0.05
_SYSCTL = Path("/proc/sys/net")


class WiringError(Exception):
    """The interface cannot be made as things stand; the text says what is in the way."""


class Owner(NamedTuple):
    """Whose an interface is. Without an interface: whichever of the container's it is."""

    container_id: str
    interface: str = ""

    def has(self, link: route.Link) -> bool:
        """Whether a host's end is this owner's; one without an alias was left between two requests, or by v3.14."""
        if link.kind != "veth" or not link.alias:
            return link.kind == "veth"
        return link.alias == self.alias if self.interface else link.alias.startswith(self.alias)

    @property
    def alias(self) -> str:
        """What the host's end carries; for any interface, how that begins."""
        return f"{_ALIAS}{self.container_id} {self.interface}"


class Wiring(NamedTuple):
    """What to make."""

    owner: Owner
    host_interface: str
    interface: str
    mtu: int
    addresses: tuple[Address, ...]
    allow_forwarding: bool = False


def host_interface(container_id: str) -> str:
    """The name of the host's end."""
    return f"cali{container_id[:11]}"


def attach(namespace: int, wiring: Wiring) -> str:
    """Make the interface; the MAC address of the container's end.

    An earlier attempt for the same owner is replaced. After an error nothing of it is left. Raise WiringError, OSError.
    """
    with Netlink() as host:
        index = _make_pair(host, namespace, wiring)
        try:
            has_ipv6 = any(address.version == 6 for address in wiring.addresses)
            _set_up_host_end(host, index, wiring, has_ipv6)
            inside = run_in(namespace, lambda: _enter(wiring, has_ipv6))
            with inside:
                mac = _set_up_inside(host, inside, index, wiring, has_ipv6)
            for address in wiring.addresses:
                _route_to(host, index, address, wiring.host_interface)
        except BaseException:
            route.remove(host, route.delete_link_request(index))
            raise
        return mac


def detach(owner: Owner) -> bool:
    """Take a container's interface away, both ends; whether it was there. One of another owner stays."""
    with Netlink() as host:
        link = route.find_link(host, host_interface(owner.container_id))
        if link is None or not owner.has(link):
            return False
        return route.remove(host, route.delete_link_request(link.ifindex))


def problems(namespace: int, wiring: Wiring) -> list[str]:
    """What is not as `attach` made it; empty when all is."""
    found = []
    with Netlink() as host:
        link = route.find_link(host, wiring.host_interface)
        if link is None:
            return [f"the host has no interface {wiring.host_interface}"]
        if not link.is_up:
            found.append(f"{wiring.host_interface} is down")
        routes = {one.network for one in _routes(host) if one.ifindex == link.ifindex}
        lost = [address for address in wiring.addresses if ip_network(address) not in routes]
        found += [f"the host has no route to {address} by {wiring.host_interface}" for address in lost]
    with netlink_in(namespace) as inside:
        end = route.find_link(inside, wiring.interface)
        if end is None:
            return [*found, f"the container has no interface {wiring.interface}"]
        if not end.is_up:
            found.append(f"{wiring.interface} is down in the container")
        has = {one.address for one in route.list_addresses(inside) if one.ifindex == end.ifindex}
        found += [f"{wiring.interface} lacks the address {one}" for one in wiring.addresses if one not in has]
        if end.parent != link.ifindex:
            found.append(f"{wiring.interface} is not the other end of {wiring.host_interface}")
    return found


def _routes(netlink: Netlink) -> list[route.Route]:
    return [*route.list_routes(netlink), *route.list_routes(netlink, socket.AF_INET6)]


def is_own_namespace(namespace: int) -> bool:
    """Whether a descriptor is of the namespace this process is in, which is the host's."""
    own = open_namespace("/proc/self/ns/net")
    try:
        return same_namespace(own, namespace)
    finally:
        os.close(own)


def _make_pair(host: Netlink, namespace: int, wiring: Wiring) -> int:
    """The index of the host's end of a new pair."""
    request = route.veth_request(wiring.host_interface, wiring.interface, wiring.mtu, namespace, HOST_MAC)
    for attempt in range(2):
        try:
            route.apply(host, request, wiring.host_interface)
            break
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            old = route.find_link(host, wiring.host_interface)
            if old is None or attempt:
                text = f"{wiring.interface}: the container has an interface of that name already"
                raise WiringError(text) from None
            if not Owner(wiring.owner.container_id).has(old):
                text = f"{wiring.host_interface}: is there already, for {old.alias.removeprefix(_ALIAS) or old.kind}"
                raise WiringError(f"{text}: two containers whose ids begin alike cannot run on one node") from None
            route.remove(host, route.delete_link_request(old.ifindex))
    made = route.find_link(host, wiring.host_interface)
    if made is None:
        raise WiringError(f"{wiring.host_interface}: vanished while it was set up")
    return made.ifindex


def _set_up_host_end(host: Netlink, index: int, wiring: Wiring, has_ipv6: bool) -> None:
    """Switch the host's end on, and have it answer for the gateway and forward."""
    name = wiring.host_interface
    if has_ipv6:
        _write(f"ipv6/conf/{name}/disable_ipv6", "0")
    route.apply(host, route.set_link_request(index, up=True, alias=wiring.owner.alias), name)
    _write(f"ipv4/neigh/{name}/proxy_delay", "0")
    _write(f"ipv4/conf/{name}/proxy_arp", "1")
    _write(f"ipv4/conf/{name}/forwarding", "1")
    if has_ipv6:
        _write(f"ipv6/conf/{name}/proxy_ndp", "1")
        _write(f"ipv6/conf/{name}/forwarding", "1")
        _write(f"ipv6/conf/{name}/accept_ra", "0")


def _enter(wiring: Wiring, has_ipv6: bool) -> Netlink:
    """Runs in the container's namespace: what its sysctls say, and a socket that stays there."""
    _write("ipv4/ip_forward", "1" if wiring.allow_forwarding else "0")
    if has_ipv6:
        for name in ("all", "default", "lo"):
            _write(f"ipv6/conf/{name}/disable_ipv6", "0")
        _write("ipv6/conf/all/forwarding", "1" if wiring.allow_forwarding else "0")
    return Netlink()


def _set_up_inside(host: Netlink, inside: Netlink, host_index: int, wiring: Wiring, has_ipv6: bool) -> str:
    end = route.find_link(inside, wiring.interface)
    if end is None:
        raise WiringError(f"{wiring.interface}: vanished while it was set up")
    index = end.ifindex
    requests = [route.set_link_request(index, up=True)]
    if any(address.version == 4 for address in wiring.addresses):
        requests += _requests(index, [one for one in wiring.addresses if one.version == 4], GATEWAY)
    _carry_out(inside, requests, wiring.interface)
    if has_ipv6:
        gateway = _link_local(host, host_index, wiring.host_interface)
        addresses = [one for one in wiring.addresses if one.version == 6]
        _carry_out(inside, _requests(index, addresses, gateway), wiring.interface)
    return end.mac


def _requests(index: int, addresses: Sequence[Address], gateway: Address) -> list[Request]:
    """Addresses, and everything by a gateway on the link."""
    requests = [route.address_request(route.InterfaceAddress(index, one, one.max_prefixlen)) for one in addresses]
    if gateway.version == 4:
        on_link = route.Route(ip_network(gateway), index, scope=route.SCOPE_LINK)
        # Proxy ARP answers only where the host knows a way to the gateway, such as a default route. This needs none.
        neighbour = route.neighbour_request(route.Neighbour(index, gateway, HOST_MAC))
        default = route.route_request(route.Route(_DEFAULT4, index, gateway))
        return [*requests, route.route_request(on_link), neighbour, default]
    return [*requests, route.route_request(route.Route(_DEFAULT6, index, gateway))]


def _carry_out(netlink: Netlink, requests: list[Request], what: str) -> None:
    if errors := netlink.batch(requests):
        raise WiringError(f"{what}: {errors[0]}")


def _link_local(host: Netlink, index: int, name: str) -> Address:
    """The address by which the container reaches the host's end; the kernel gives it once the link is up."""
    for _ in range(_WAITS):
        for one in route.list_addresses(host):
            if one.ifindex == index and one.address in _LINK_LOCAL:
                return one.address
        time.sleep(_PAUSE)
    raise WiringError(f"{name}: has no IPv6 link-local address; is IPv6 switched off on the host?")


def _route_to(host: Netlink, index: int, address: Address, name: str) -> None:
    """The host's route to the container; one that is there already is good only when it leads there."""
    network = ip_network(address)
    try:
        route.apply(host, route.route_request(route.Route(network, index, scope=_scope(address)), replace=False))
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise WiringError(f"{name}: no route to {address}: {error}") from None
        other = next((one for one in _routes(host) if one.network == network), None)
        if other is None or other.ifindex != index:
            by = f"interface {other.ifindex}" if other and other.ifindex else "no interface"
            text = f"route ({network} by {by}) already exists for an interface other than '{name}'"
            raise WiringError(text) from None


def _scope(address: Address) -> int:
    return route.SCOPE_LINK if address.version == 4 else route.SCOPE_UNIVERSE


def _write(path: str, value: str) -> None:
    """Set a sysctl of the calling thread's namespace."""
    file = _SYSCTL / path
    try:
        file.write_text(value)
    except OSError as error:
        raise WiringError(f"cannot set {file} to {value}: {error.strerror}") from None


def parse(networks: Sequence[str]) -> tuple[Address, ...]:
    """The addresses of an endpoint's networks."""
    return tuple(ip_address(network.partition("/")[0]) for network in networks)
