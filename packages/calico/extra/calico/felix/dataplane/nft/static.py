"""The chains that do not depend on endpoints: where packets enter, and the way to the chains of endpoints."""

import struct

from calico.felix.dataplane.nft.bodies import failsafe_chains
from calico.felix.dataplane.nft.causes import Cause, Drop, Side, drop_chains
from calico.felix.dataplane.nft.family import Family
from calico.felix.dataplane.nft.names import (
    ALL_HOSTS,
    ALL_POOLS,
    ALL_VTEPS,
    DOWN_GROUP,
    ENDPOINTS,
    FLOATING,
    FROM_ADDRESSLESS,
    FROM_GROUPS,
    FROM_WORKLOAD,
    HAIRPIN,
    MASQUERADE_POOLS,
    SOURCES,
    TO_ADDRESSLESS,
    TO_GROUPS,
    TO_WORKLOAD,
    WORKLOAD_SOURCE,
    WORKLOAD_TO_HOST,
)
from calico.felix.dataplane.nft.settings import IPIP_DEVICE, TCP, UDP, VXLAN_DEVICE, NftSettings
from calico.felix.dataplane.nft.words import (
    Parts,
    accept,
    address,
    back,
    dispatch,
    has_mark,
    in_set,
    interface,
    joined,
    lacks_marks,
    mapped,
    networks,
    protocol,
    protocols,
    set_mark,
    vxlan,
)
from calico.netlink.nftables.expressions import (
    CT_ESTABLISHED,
    CT_RELATED,
    FIB_DESTINATION,
    FIB_OUT,
    FIB_RESULT_TYPE,
    FIB_SOURCE,
    META_IIFNAME,
    META_OIFNAME,
    RTN_LOCAL,
    TRANSPORT_HEADER,
    compare,
    ct_state,
    fib,
    goto,
    jump,
    lookup,
    masquerade,
    meta,
    nat,
    payload,
    slot,
)
from calico.netlink.nftables.objects import (
    FORWARD,
    INPUT,
    OUTPUT,
    POSTROUTING,
    PREROUTING,
    AnonymousLookup,
    Base,
    Chain,
    DataType,
    Element,
    Rule,
    Set,
)

# Chains of host endpoints: the way in and out of each kind. Those that do not exist are not jumped to.
FROM_HOST, TO_HOST = "from-host-endpoint", "to-host-endpoint"
FROM_HOST_FORWARD, TO_HOST_FORWARD = "from-host-endpoint-forward", "to-host-endpoint-forward"
RAW_FROM_HOST, RAW_TO_HOST = "raw-from-host-endpoint", "raw-to-host-endpoint"
MANGLE_FROM_HOST = "mangle-from-host-endpoint"

_IPIP = 4
_ICMPV6 = 58
# RFC 4861 and 2710 (MLD query, report, done; router solicitation; neighbour solicitation and advertisement)
_NEIGHBOUR_DISCOVERY = (130, 131, 132, 133, 135, 136)
_ICMPV6_TYPE = DataType(29, 1)
_RAW, _MANGLE, _DNAT, _FILTER, _SNAT = -300, -150, -100, 0, 100


class Static:
    """The static chains of a family. `hosts`: the dispatch chains of host endpoints that there are."""

    def __init__(self, family: Family, settings: NftSettings) -> None:
        self._family = family
        self._settings = settings

    def fixed(self) -> dict[str, Chain]:
        """The chains that depend on the settings only."""
        settings = self._settings
        unknown_in, unknown_out = (Drop(Cause.UNKNOWN_INTERFACE, side).chain for side in ("in", "out"))
        return {
            **dict(drop_chains()),
            **failsafe_chains(settings),
            FROM_WORKLOAD: _chain(
                *self._encapsulated(),
                self._established_from(),
                dispatch(ENDPOINTS, FROM_GROUPS),
                (goto(unknown_in),),
            ),
            TO_WORKLOAD: _chain(self._established_to(), dispatch(ENDPOINTS, TO_GROUPS, out=True), (goto(unknown_out),)),
            FROM_ADDRESSLESS: _chain(*self._addressless("in")),
            TO_ADDRESSLESS: _chain(*self._addressless("out")),
            WORKLOAD_SOURCE: _chain(*self._source()),
            WORKLOAD_TO_HOST: _chain(*self._to_host()),
            "nat-prerouting": self._base("nat", PREROUTING, _DNAT, self._floating()),
            "nat-output": self._base("nat", OUTPUT, _DNAT, self._floating()),
            "nat-postrouting": self._base("nat", POSTROUTING, _SNAT, *self._postrouting()),
        }

    def entries(self, hosts: frozenset[str]) -> dict[str, Chain]:
        """The base chains of the filter: those that depend on which chains of host endpoints there are."""
        chains = {
            "raw-prerouting": self._base("filter", PREROUTING, _RAW, *self._raw_prerouting(hosts)),
            "filter-input": self._base("filter", INPUT, _FILTER, *self._input(hosts)),
            "filter-forward": self._base("filter", FORWARD, _FILTER, *self._forward(hosts)),
        }
        if hosts:
            chains["raw-output"] = self._base("filter", OUTPUT, _RAW, *self._raw_output(hosts))
            chains["filter-output"] = self._base("filter", OUTPUT, _FILTER, *self._output(hosts))
        if MANGLE_FROM_HOST in hosts:
            chains["mangle-prerouting"] = self._base("filter", PREROUTING, _MANGLE, *self._mangle())
        return chains

    def _base(self, kind: str, hook: int, priority: int, *rules: Parts) -> Chain:
        offset = -1 if self._settings.insert else 1
        return _chain(*rules)._replace(base=Base(kind, hook, priority + offset))

    def _from_workloads(self, what: bytes, *, out: bool = False) -> list[Parts]:
        return [joined(interface(f"{prefix}+", out=out), (what,)) for prefix in self._settings.interface_prefixes]

    def _accepted(self) -> Parts:
        return joined(has_mark(self._settings.accepted), accept)

    def _cleared(self) -> Parts:
        return set_mark(0, self._settings.accepted | self._settings.passed)

    def _encapsulated(self) -> list[Parts]:
        """No tunnel packets from workloads, established or not: with another VNI each, tracking proves nothing."""
        settings = self._settings
        dropped = (goto(Drop(Cause.ENCAPSULATED, "in").chain),)
        return [joined(protocol(_IPIP), dropped), joined(vxlan(settings.vxlan_port, settings.vxlan_vni), dropped)]

    def _addressless(self, side: Side) -> list[Parts]:
        """Of a workload without an address of the family: answers to what the host asked on the link, no more."""
        return [
            joined(ct_state(CT_ESTABLISHED | CT_RELATED), accept),
            (goto(Drop(Cause.NO_ADDRESS, side).chain),),
        ]

    def _source(self) -> list[Parts]:
        """A workload that is known and up sends as itself only; for IPv6 also what finds neighbours on its link.

        Nothing else gets beyond this chain, so that the filter need not ask again whose an established flow is.
        """
        family = self._family
        known = joined((meta(META_IIFNAME), address_at(family, slot(4)), lookup(SOURCES)), back)
        is_up = mapped(ENDPOINTS, "!=", DOWN_GROUP)
        local: list[Parts] = []
        if family.version == 6:
            local = [
                joined(networks(family, ["fe80::/10"], source=True), is_up, back),
                joined(networks(family, ["::/128"], source=True), protocol(_ICMPV6), is_up, back),
            ]
        return [
            known,
            *local,
            joined(is_up, (goto(Drop(Cause.SPOOFED, "in").chain),)),
            joined(mapped(ENDPOINTS, "==", DOWN_GROUP), (goto(Drop(Cause.ADMIN_DOWN, "in").chain),)),
            (goto(Drop(Cause.UNKNOWN_INTERFACE, "in").chain),),
        ]

    def _established_from(self) -> Parts:
        """What `_source` let through comes from a workload that is known and up."""
        return joined(ct_state(CT_ESTABLISHED | CT_RELATED), accept)

    def _established_to(self) -> Parts:
        """An address of a workload that is known and up, behind its own interface."""
        to = (meta(META_OIFNAME), address_at(self._family, slot(4), source=False), lookup(SOURCES))
        return joined(ct_state(CT_ESTABLISHED | CT_RELATED), to, accept)

    def _to_host(self) -> list[Parts]:
        last: dict[str, Parts] = {
            "DROP": (goto(Drop(Cause.TO_HOST, "in").chain),),
            "ACCEPT": accept,
            "RETURN": back,
        }
        discovery: list[Parts] = []
        if self._family.version == 6:
            kinds = tuple(Element(bytes((kind,))) for kind in _NEIGHBOUR_DISCOVERY)
            load = (payload(TRANSPORT_HEADER, 0, 1), AnonymousLookup(Set((_ICMPV6_TYPE,)), kinds))
            discovery = [joined(protocol(_ICMPV6), load, accept)]
        return [*discovery, (jump(FROM_WORKLOAD),), last[self._settings.endpoint_to_host]]

    def _raw_prerouting(self, hosts: frozenset[str]) -> list[Parts]:
        rules = [*([self._cleared()] if hosts else []), *self._from_workloads(goto(WORKLOAD_SOURCE))]
        if RAW_FROM_HOST in hosts:
            rules += [(jump(RAW_FROM_HOST),), self._accepted()]
        return rules

    def _raw_output(self, hosts: frozenset[str]) -> list[Parts]:
        rules = [self._cleared()]
        if RAW_TO_HOST in hosts:
            rules += [(jump(RAW_TO_HOST),), self._accepted()]
        return rules

    def _mangle(self) -> list[Parts]:
        established = joined(ct_state(CT_ESTABLISHED | CT_RELATED), accept)
        return [established, self._accepted(), (jump(MANGLE_FROM_HOST),), self._accepted()]

    def _input(self, hosts: frozenset[str]) -> list[Parts]:
        rules = [*self._tunnels_in(), *self._from_workloads(goto(WORKLOAD_TO_HOST))]
        if FROM_HOST in hosts:
            rules += [self._accepted(), self._cleared(), (jump(FROM_HOST),), self._accepted()]
        return rules

    def _forward(self, hosts: frozenset[str]) -> list[Parts]:
        settings = self._settings
        rules: list[Parts] = []
        if FROM_HOST_FORWARD in hosts:
            rules.append(joined(lacks_marks(settings.accepted), (jump(FROM_HOST_FORWARD),)))
        rules += self._from_workloads(jump(FROM_WORKLOAD))
        rules += self._from_workloads(jump(TO_WORKLOAD), out=True)
        if TO_HOST_FORWARD in hosts:
            rules.append((jump(TO_HOST_FORWARD),))
        return rules

    def _output(self, hosts: frozenset[str]) -> list[Parts]:
        rules = [self._accepted(), *self._to_local_workloads(), *self._tunnels_out()]
        if TO_HOST in hosts:
            rules += [self._cleared(), (jump(TO_HOST),), self._accepted()]
        return rules

    def _to_local_workloads(self) -> list[Parts]:
        """What the host sends to its own workloads is never policed."""
        return [joined(interface(f"{prefix}+", out=True), accept) for prefix in self._settings.interface_prefixes]

    def _tunnels_in(self) -> list[Parts]:
        """Tunnel packets are the cluster's nodes' alone; the port's other overlay has another VNI."""
        settings = self._settings
        if self._family.version == 6:
            return []
        rules: list[Parts] = []
        here = (fib(FIB_RESULT_TYPE, FIB_DESTINATION), compare("==", _LOCAL))
        dropped = (goto(Drop(Cause.TUNNEL, "in", "host").chain),)
        if settings.ipip_enabled:
            known = in_set(self._family, ALL_HOSTS, source=True)
            rules += [joined(protocol(_IPIP), known, here, accept), joined(protocol(_IPIP), dropped)]
        if settings.vxlan_enabled:
            ours = vxlan(settings.vxlan_port, settings.vxlan_vni)
            known = in_set(self._family, ALL_VTEPS, source=True)
            rules += [joined(ours, known, here, accept), joined(ours, here, dropped)]
        return rules

    def _tunnels_out(self) -> list[Parts]:
        settings = self._settings
        if self._family.version == 6:
            return []
        rules: list[Parts] = []
        ours = (fib(FIB_RESULT_TYPE, FIB_SOURCE), compare("==", _LOCAL))
        if settings.ipip_enabled:
            rules.append(joined(protocol(_IPIP), in_set(self._family, ALL_HOSTS, source=False), ours, accept))
        if settings.vxlan_enabled:
            tunnel = vxlan(settings.vxlan_port, settings.vxlan_vni)
            rules.append(joined(tunnel, in_set(self._family, ALL_VTEPS, source=False), ours, accept))
        return rules

    def _floating(self) -> Parts:
        load = (address(self._family, source=False), lookup(FLOATING, into=1))
        return joined(load, nat("dnat", self._family.number))

    def _postrouting(self) -> list[Parts]:
        family = self._family
        second = slot(family.address.length // 4)
        both = (address(family, source=True), address_at(family, second, source=False))
        hairpin = joined(both, (lookup(HAIRPIN, into=1),), nat("snat", family.number))
        return [hairpin, *self._outgoing(), *self._tunnels_own()]

    def _outgoing(self) -> list[Parts]:
        """Workloads of pools with natOutgoing reach what is in no pool by the host's address."""
        settings, family = self._settings, self._family
        matches = joined(
            in_set(family, MASQUERADE_POOLS, source=True),
            in_set(family, ALL_POOLS, source=False, inverted=True),
            interface(settings.nat_interface, out=True) if settings.nat_interface else (),
        )
        rules: list[Parts] = []
        if settings.nat_ports:
            rules.append(joined(matches, protocols((TCP, UDP)), self._translate(settings.nat_ports)))
        return [*rules, joined(matches, self._translate(None))]

    def _translate(self, ports: tuple[int, int] | None) -> Parts:
        address_given = self._settings.nat_address
        if address_given and self._family.owns(address_given):
            return nat("snat", self._family.number, address=self._family.pack(address_given), ports=ports)
        return masquerade(ports=ports)

    def _tunnels_own(self) -> list[Parts]:
        """What the host sends into a tunnel with another interface's address: the answers would not come back."""
        settings = self._settings
        if self._family.version == 6:
            return []
        devices = []
        if settings.ipip_enabled and settings.ipip_address:
            devices.append(IPIP_DEVICE)
        if settings.vxlan_enabled and settings.vxlan_address:
            devices.append(VXLAN_DEVICE)
        elsewhere = (fib(FIB_RESULT_TYPE, FIB_SOURCE | FIB_OUT), compare("!=", _LOCAL))
        ours = (fib(FIB_RESULT_TYPE, FIB_SOURCE), compare("==", _LOCAL))
        return [joined(interface(device, out=True), elsewhere, ours, masquerade()) for device in devices]


_LOCAL = struct.pack("=I", RTN_LOCAL)


def address_at(family: Family, register: int, *, source: bool = True) -> bytes:
    """Load an address behind another field of a key."""
    offset = family.source_offset if source else family.destination_offset
    return payload(1, offset, family.address.length, register)


def _chain(*rules: Parts) -> Chain:
    return Chain(tuple(Rule(parts) for parts in rules))
