"""rtnetlink: links, addresses, routes, neighbours and forwarding entries as values, and the requests that make them.

`*_request` functions build a `Request`, to be sent alone (`apply`) or with others in a batch; `list_*` read the kernel.
Addresses and networks are `ipaddress` objects, MAC addresses text in lower case with colons.
"""

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from calico.netlink.message import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    NetlinkError,
    attribute,
    attribute_map,
    be16,
    nested,
    number,
    string,
    text,
    u8,
    u32,
)
from calico.netlink.socket import Netlink, Request

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30

# Multicast groups, as `Netlink.subscribe` takes them.
RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE = 1, 3, 5, 7
RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV6_ROUTE = 9, 11

_INET, _INET6, _BRIDGE = socket.AF_INET, socket.AF_INET6, socket.AF_BRIDGE

_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, ifindex, flags, change
_ADDR = struct.Struct("=BBBBi")  # ifaddrmsg: family, prefix length, flags, scope, ifindex
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, dst, src, tos, table, protocol, scope, type, flags
_NEIGH = struct.Struct("=BxxxiHBB")  # ndmsg: family, ifindex, state, flags, type

IFF_UP, IFF_RUNNING, IFF_LOWER_UP = 0x1, 0x40, 0x10000

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER = 1, 3, 4, 5, 10
_IFLA_OPERSTATE, _IFLA_LINKINFO, _IFLA_NET_NS_FD, _IFLA_IFALIAS, _IFLA_EXT_MASK = 16, 18, 28, 20, 29
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_VETH_INFO_PEER = 1
_IFLA_VXLAN_ID, _IFLA_VXLAN_LINK, _IFLA_VXLAN_LOCAL, _IFLA_VXLAN_LEARNING, _IFLA_VXLAN_PORT = 1, 3, 4, 7, 15
_RTEXT_FILTER_SKIP_STATS = 1 << 3

_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_NODAD = 0x02

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_PREFSRC, _RTA_TABLE = 1, 4, 5, 6, 7, 15
RT_TABLE_MAIN = 254
RTN_UNICAST, RTN_BLACKHOLE = 1, 6
SCOPE_UNIVERSE, SCOPE_LINK, SCOPE_HOST = 0, 253, 254
RTPROT_KERNEL, RTPROT_BOOT, RTPROT_BIRD, RTPROT_FELIX = 2, 3, 12, 80
RTNH_F_ONLINK = 4

_NDA_DST, _NDA_LLADDR = 1, 2
_NUD_PERMANENT = 0x80
_NTF_SELF = 0x02

_GONE = frozenset((errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENXIO))


class Link(NamedTuple):
    """A network interface. `parent` is the index of the one it stands on (for a veth, of its peer); 0: none.

    `data` are a kind's own attributes (IFLA_INFO_DATA) as they came.
    """

    ifindex: int
    name: str
    kind: str
    mtu: int
    mac: str
    flags: int
    parent: int = 0
    alias: str = ""
    data: bytes = b""

    @property
    def is_up(self) -> bool:
        """Whether it is switched on."""
        return bool(self.flags & IFF_UP)

    @property
    def is_running(self) -> bool:
        """Whether it is switched on and its other end is there."""
        return bool(self.flags & IFF_UP and self.flags & IFF_RUNNING)


class Vxlan(NamedTuple):
    """What is particular to a VXLAN device."""

    vni: int
    port: int
    local: Address | None
    parent: int
    learning: bool = False


class InterfaceAddress(NamedTuple):
    """An address on an interface, with the length of its prefix."""

    ifindex: int
    address: Address
    prefix: int
    scope: int = SCOPE_UNIVERSE


class Route(NamedTuple):
    """A route of the main table (or of `table`). A blackhole has neither interface nor gateway."""

    network: Network
    ifindex: int = 0
    gateway: Address | None = None
    protocol: int = RTPROT_BOOT
    scope: int = SCOPE_UNIVERSE
    kind: int = RTN_UNICAST
    onlink: bool = False
    source: Address | None = None
    metric: int = 0
    table: int = RT_TABLE_MAIN


class Neighbour(NamedTuple):
    """A neighbour: an address's MAC address on an interface."""

    ifindex: int
    address: Address
    mac: str
    permanent: bool = True


class Forwarding(NamedTuple):
    """A VXLAN device's forwarding entry: frames to `mac` go to `destination`."""

    ifindex: int
    mac: str
    destination: Address


def apply(netlink: Netlink, request: Request, what: str = "") -> None:
    """Carry out one request. Raises NetlinkError."""
    netlink.request(request.kind, request.payload, request.flags, what)


def remove(netlink: Netlink, request: Request, what: str = "") -> bool:
    """Carry out a deletion; False when its object was gone already. Raises NetlinkError for other refusals."""
    try:
        apply(netlink, request, what)
    except NetlinkError as error:
        if is_gone(error):
            return False
        raise
    return True


def is_gone(error: NetlinkError) -> bool:
    """Whether the kernel says that what a request is about does not exist."""
    return error.errno in _GONE


# -- links ---------------------------------------------------------------------------------------------------------


def list_links(netlink: Netlink) -> list[Link]:
    """Every interface of the socket's namespace."""
    payload = _LINK.pack(0, 0, 0, 0, 0) + u32(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS)
    return [read_link(message) for message in netlink.dump(RTM_GETLINK, payload)]


def find_link(netlink: Netlink, name: str) -> Link | None:
    """The interface of that name; None when there is none."""
    try:
        answers = netlink.request(RTM_GETLINK, _LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, name), what=name)
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise
    return read_link(answers[0])


def read_link(message: Message) -> Link:
    """The interface that an RTM_NEWLINK or RTM_DELLINK is about."""
    _, _, ifindex, flags, _ = _LINK.unpack_from(message.payload)
    found = attribute_map(message.payload, _LINK.size)
    info = attribute_map(found.get(_IFLA_LINKINFO, b""))
    return Link(
        ifindex,
        string(found.get(_IFLA_IFNAME, b"")),
        string(info.get(_IFLA_INFO_KIND, b"")),
        number(found.get(_IFLA_MTU, b"")),
        mac_text(found.get(_IFLA_ADDRESS, b"")),
        flags,
        number(found.get(_IFLA_LINK, b"")),
        string(found.get(_IFLA_IFALIAS, b"")),
        info.get(_IFLA_INFO_DATA, b""),
    )


def is_bridge_port(message: Message) -> bool:
    """Whether an RTM_NEWLINK or RTM_DELLINK is about an interface as the port of a bridge, and not about itself."""
    return message.payload[0] == _BRIDGE


def read_vxlan(link: Link) -> Vxlan:
    """The VXLAN part of a link of that kind."""
    data = attribute_map(link.data)
    local = data.get(_IFLA_VXLAN_LOCAL)
    return Vxlan(
        number(data.get(_IFLA_VXLAN_ID, b"")),
        int.from_bytes(data.get(_IFLA_VXLAN_PORT, b""), "big"),
        ip_address(local) if local else None,
        number(data.get(_IFLA_VXLAN_LINK, b"")),
        bool(number(data.get(_IFLA_VXLAN_LEARNING, b""))),
    )


def veth_request(
    name: str, peer: str, mtu: int, peer_namespace: int = -1, mac: str = "", peer_mac: str = ""
) -> Request:
    """A new veth pair, both ends down; the peer is made in the namespace of a descriptor when one is given.

    The kernel refuses a name that is taken with EEXIST. A MAC address that is not given is the kernel's choice, and an
    `mtu` of 0 too.
    """
    size = u32(_IFLA_MTU, mtu) if mtu else b""
    far = _LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, peer) + size
    if peer_mac:
        far += attribute(_IFLA_ADDRESS, mac_bytes(peer_mac))
    if peer_namespace >= 0:
        far += u32(_IFLA_NET_NS_FD, peer_namespace)
    near = text(_IFLA_IFNAME, name) + size
    if mac:
        near += attribute(_IFLA_ADDRESS, mac_bytes(mac))
    info = nested(
        _IFLA_LINKINFO, text(_IFLA_INFO_KIND, "veth"), nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, far))
    )
    return Request(RTM_NEWLINK, _LINK.pack(0, 0, 0, 0, 0) + near + info, NLM_F_CREATE | NLM_F_EXCL)


def vxlan_request(name: str, vxlan: Vxlan, mtu: int, mac: str) -> Request:
    """A new VXLAN device, down."""
    data = [
        u32(_IFLA_VXLAN_ID, vxlan.vni),
        be16(_IFLA_VXLAN_PORT, vxlan.port),
        u8(_IFLA_VXLAN_LEARNING, vxlan.learning),
    ]
    if vxlan.local is not None:
        data.append(attribute(_IFLA_VXLAN_LOCAL, vxlan.local.packed))
    if vxlan.parent:
        data.append(u32(_IFLA_VXLAN_LINK, vxlan.parent))
    return link_request(name, "vxlan", mtu, mac, *data)


def link_request(name: str, kind: str, mtu: int = 0, mac: str = "", *data: bytes) -> Request:
    """A new virtual device of a kind, down; `data` are the kind's own attributes."""
    payload = _LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, name)
    if mtu:
        payload += u32(_IFLA_MTU, mtu)
    if mac:
        payload += attribute(_IFLA_ADDRESS, mac_bytes(mac))
    info = [text(_IFLA_INFO_KIND, kind)] + ([nested(_IFLA_INFO_DATA, *data)] if data else [])
    return Request(RTM_NEWLINK, payload + nested(_IFLA_LINKINFO, *info), NLM_F_CREATE | NLM_F_EXCL)


def set_link_request(
    ifindex: int,
    up: bool | None = None,
    mtu: int = 0,
    mac: str = "",
    name: str = "",
    namespace: int = -1,
    alias: str = "",
) -> Request:
    """Change an interface: what is not given stays."""
    change = IFF_UP if up is not None else 0
    payload = _LINK.pack(0, 0, ifindex, IFF_UP if up else 0, change)
    if mtu:
        payload += u32(_IFLA_MTU, mtu)
    if mac:
        payload += attribute(_IFLA_ADDRESS, mac_bytes(mac))
    if name:
        payload += text(_IFLA_IFNAME, name)
    if namespace >= 0:
        payload += u32(_IFLA_NET_NS_FD, namespace)
    if alias:
        payload += text(_IFLA_IFALIAS, alias)
    return Request(RTM_NEWLINK, payload)


def adopt_link_request(name: str, alias: str) -> Request:
    """Switch on the interface of that name and give it an alias (at most 255 bytes) by which it is known again."""
    payload = _LINK.pack(0, 0, 0, IFF_UP, IFF_UP) + text(_IFLA_IFNAME, name) + text(_IFLA_IFALIAS, alias)
    return Request(RTM_SETLINK, payload)


def delete_link_request(ifindex: int) -> Request:
    """Delete an interface."""
    return Request(RTM_DELLINK, _LINK.pack(0, 0, ifindex, 0, 0))


def delete_link_by_name_request(name: str) -> Request:
    """Delete the interface of that name."""
    return Request(RTM_DELLINK, _LINK.pack(0, 0, 0, 0, 0) + text(_IFLA_IFNAME, name))


# -- addresses -----------------------------------------------------------------------------------------------------


def list_addresses(netlink: Netlink) -> list[InterfaceAddress]:
    """Every address of the socket's namespace."""
    return [
        read_address(message)
        for family in (_INET, _INET6)
        for message in netlink.dump(RTM_GETADDR, _ADDR.pack(family, 0, 0, 0, 0))
    ]


def read_address(message: Message) -> InterfaceAddress:
    """The address that an RTM_NEWADDR or RTM_DELADDR is about."""
    _, prefix, _, scope, ifindex = _ADDR.unpack_from(message.payload)
    found = attribute_map(message.payload, _ADDR.size)
    return InterfaceAddress(ifindex, ip_address(found.get(_IFA_LOCAL) or found[_IFA_ADDRESS]), prefix, scope)


def _address_payload(address: InterfaceAddress) -> bytes:
    family = _INET if address.address.version == 4 else _INET6
    payload = _ADDR.pack(family, address.prefix, 0, address.scope, address.ifindex)
    packed = address.address.packed
    if family == _INET:
        return payload + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
    # Without duplicate address detection an IPv6 address works at once.
    return payload + attribute(_IFA_ADDRESS, packed) + u32(_IFA_FLAGS, _IFA_F_NODAD)


def address_request(address: InterfaceAddress) -> Request:
    """Give an interface an address; one that is there already is left as it is."""
    return Request(RTM_NEWADDR, _address_payload(address), NLM_F_CREATE | NLM_F_REPLACE)


def delete_address_request(address: InterfaceAddress) -> Request:
    """Take an address from an interface."""
    return Request(RTM_DELADDR, _address_payload(address))


# -- routes --------------------------------------------------------------------------------------------------------


def list_routes(netlink: Netlink, family: int = _INET, table: int = RT_TABLE_MAIN) -> list[Route]:
    """Every route of a family in a table."""
    payload = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) + u32(_RTA_TABLE, table)
    found = (read_route(message) for message in netlink.dump(RTM_GETROUTE, payload))
    return [route for route in found if route.table == table]


def read_route(message: Message) -> Route:
    """The route that an RTM_NEWROUTE or RTM_DELROUTE is about. Of a multipath route, only what all its paths share."""
    family, prefix, _, _, table, protocol, scope, kind, flags = _ROUTE.unpack_from(message.payload)
    found = attribute_map(message.payload, _ROUTE.size)
    zero = bytes(4 if family == _INET else 16)
    gateway, source = found.get(_RTA_GATEWAY), found.get(_RTA_PREFSRC)
    return Route(
        ip_network((found.get(_RTA_DST, zero), prefix)),
        number(found.get(_RTA_OIF, b"")),
        ip_address(gateway) if gateway else None,
        protocol,
        scope,
        kind,
        bool(flags & RTNH_F_ONLINK),
        ip_address(source) if source else None,
        number(found.get(_RTA_PRIORITY, b"")),
        number(found[_RTA_TABLE]) if _RTA_TABLE in found else table,
    )


def _route_payload(route: Route) -> bytes:
    family = _INET if route.network.version == 4 else _INET6
    flags = RTNH_F_ONLINK if route.onlink else 0
    table = route.table if route.table < 256 else 0
    payload = _ROUTE.pack(family, route.network.prefixlen, 0, 0, table, route.protocol, route.scope, route.kind, flags)
    payload += attribute(_RTA_DST, route.network.network_address.packed)
    if route.ifindex:
        payload += u32(_RTA_OIF, route.ifindex)
    if route.gateway is not None:
        payload += attribute(_RTA_GATEWAY, route.gateway.packed)
    if route.source is not None:
        payload += attribute(_RTA_PREFSRC, route.source.packed)
    if route.metric:
        payload += u32(_RTA_PRIORITY, route.metric)
    return payload + u32(_RTA_TABLE, route.table)


def route_request(route: Route, replace: bool = True) -> Request:
    """Make a route; in the place of one with the same network, table and metric, or only where there is none."""
    return Request(RTM_NEWROUTE, _route_payload(route), NLM_F_CREATE | (NLM_F_REPLACE if replace else NLM_F_EXCL))


def delete_route_request(route: Route) -> Request:
    """Delete a route; the kernel finds it by everything that is given."""
    return Request(RTM_DELROUTE, _route_payload(route))


# -- neighbours ----------------------------------------------------------------------------------------------------


def list_neighbours(netlink: Netlink, ifindex: int) -> list[Neighbour]:
    """The neighbours of an interface that have a MAC address."""
    found = []
    for family in (_INET, _INET6):
        for message in netlink.dump(RTM_GETNEIGH, _NEIGH.pack(family, 0, 0, 0, 0)):
            _, owner, state, _, _ = _NEIGH.unpack_from(message.payload)
            parts = attribute_map(message.payload, _NEIGH.size)
            if owner == ifindex and _NDA_LLADDR in parts:
                mac = mac_text(parts[_NDA_LLADDR])
                found.append(Neighbour(owner, ip_address(parts[_NDA_DST]), mac, bool(state & _NUD_PERMANENT)))
    return found


def _neighbour_payload(neighbour: Neighbour) -> bytes:
    family = _INET if neighbour.address.version == 4 else _INET6
    payload = _NEIGH.pack(family, neighbour.ifindex, _NUD_PERMANENT, 0, 0)
    return payload + attribute(_NDA_DST, neighbour.address.packed) + attribute(_NDA_LLADDR, mac_bytes(neighbour.mac))


def neighbour_request(neighbour: Neighbour) -> Request:
    """A permanent neighbour, in the place of one with the same address."""
    return Request(RTM_NEWNEIGH, _neighbour_payload(neighbour), NLM_F_CREATE | NLM_F_REPLACE)


def delete_neighbour_request(neighbour: Neighbour) -> Request:
    """Delete a neighbour."""
    return Request(RTM_DELNEIGH, _neighbour_payload(neighbour))


def list_forwarding(netlink: Netlink, ifindex: int) -> list[Forwarding]:
    """The forwarding entries of a VXLAN device that lead to an address."""
    found = []
    for message in netlink.dump(RTM_GETNEIGH, _NEIGH.pack(_BRIDGE, 0, 0, 0, 0)):
        _, owner, _, _, _ = _NEIGH.unpack_from(message.payload)
        parts = attribute_map(message.payload, _NEIGH.size)
        if owner == ifindex and _NDA_DST in parts and _NDA_LLADDR in parts:
            found.append(Forwarding(owner, mac_text(parts[_NDA_LLADDR]), ip_address(parts[_NDA_DST])))
    return found


def _forwarding_payload(entry: Forwarding) -> bytes:
    payload = _NEIGH.pack(_BRIDGE, entry.ifindex, _NUD_PERMANENT, _NTF_SELF, 0)
    return payload + attribute(_NDA_LLADDR, mac_bytes(entry.mac)) + attribute(_NDA_DST, entry.destination.packed)


def forwarding_request(entry: Forwarding) -> Request:
    """A permanent forwarding entry, in the place of the one for the same MAC address."""
    return Request(RTM_NEWNEIGH, _forwarding_payload(entry), NLM_F_CREATE | NLM_F_REPLACE)


def delete_forwarding_request(entry: Forwarding) -> Request:
    """Delete a forwarding entry."""
    return Request(RTM_DELNEIGH, _forwarding_payload(entry))


# -- MAC addresses -------------------------------------------------------------------------------------------------


def mac_bytes(mac: str) -> bytes:
    """The six bytes of a MAC address. Raises ValueError."""
    raw = bytes.fromhex(mac.replace(":", ""))
    if len(raw) != 6:
        raise ValueError(f"{mac!r} is no MAC address")
    return raw


def mac_text(raw: bytes) -> str:
    """A MAC address as text; empty for a device that has none, or whose address is of another kind."""
    return raw.hex(":") if len(raw) == 6 else ""
