"""What is written by raw nfnetlink, as nft itself reads it; and what nft writes, as we read it."""

import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calico.felix.dataplane.nft import words
from calico.felix.dataplane.nft.family import V4, V6, Family
from calico.felix.dataplane.nft.tables import Tables
from calico.felix.desired import Icmp, PortRange
from calico.netlink.nftables.expressions import (
    CT_ESTABLISHED,
    CT_INVALID,
    CT_RELATED,
    DROP,
    FIB_DESTINATION,
    FIB_OUT,
    FIB_RESULT_TYPE,
    FIB_SOURCE,
    META_IIFNAME,
    META_OIFNAME,
    compare,
    count_in,
    counter,
    ct_state,
    fib,
    goto,
    immediate,
    jump,
    log,
    masquerade,
    meta,
    nat,
    notrack,
    slot,
    verdict,
)
from calico.netlink.nftables.objects import (
    INTERFACE,
    IPV4_ADDRESS,
    MARK,
    OUTPUT,
    POSTROUTING,
    PREROUTING,
    PROTOCOL,
    SERVICE,
    VERDICT,
    Base,
    Element,
    Rule,
    Set,
    Table,
)
from calico.netlink.nftables.transactions import Nfnetlink, intervals
from tests.integration.nft.test_semantics import SETTINGS
from tests.integration.nft.topology import Topology
from tests.unit.felix_nft.histories import STATES
from tests.unit.felix_nft.states import EMPTY, State, between

LOCAL = struct.pack("=I", 2)

RULES: tuple[tuple[words.Parts, str], ...] = (
    ((verdict(DROP),), "drop"),
    (words.accept, "accept"),
    (words.back, "return"),
    ((jump("other"),), "jump other"),
    ((goto("other"),), "goto other"),
    ((counter(), verdict(DROP)), "counter packets 0 bytes 0 drop"),
    (words.interface("eth0"), 'iifname "eth0"'),
    (words.interface("cali+"), 'iifname "cali*"'),
    (words.interface("tunl*", out=True), 'oifname "tunl*"'),
    (words.set_mark(0x10000, 0x10000), "meta mark set meta mark | 0x00010000"),
    (words.set_mark(0, 0x30000), "meta mark set meta mark & 0xfffcffff"),
    (words.set_mark(0x10000, 0x30000), "meta mark set meta mark & 0xfffdffff | 0x00010000"),
    (words.has_mark(0x10000), "meta mark & 0x00010000 == 0x00010000"),
    (words.lacks_marks(0x30000), "meta mark & 0x00030000 == 0x00000000"),
    (words.protocol(6), "meta l4proto tcp"),
    (words.protocol(6, other=True), "meta l4proto != tcp"),
    (words.protocols((6, 17)), "meta l4proto { tcp, udp }"),
    (words.networks(V4, ["10.0.0.1"], source=True), "ip saddr 10.0.0.1"),
    (words.networks(V4, ["10.0.0.0/8"], source=False), "ip daddr 10.0.0.0/8"),
    (words.networks(V4, ["10.0.0.0/9"], source=True, inverted=True), "ip saddr != 10.0.0.0/9"),
    (words.networks(V4, ["10.0.0.0/8", "192.0.2.1"], source=True), "ip saddr { 10.0.0.0/8, 192.0.2.1 }"),
    (words.networks(V4, ["10.0.0.0/8", "10.1.0.0/16"], source=True), "ip saddr { 10.0.0.0/8 }"),
    (
        words.networks(V4, ["1.0.0.0/8", "3.0.0.0/8"], source=False, inverted=True),
        "ip daddr != { 1.0.0.0/8, 3.0.0.0/8 }",
    ),
    (words.in_set(V4, "nets", source=True), "ip saddr @nets"),
    (words.in_set(V4, "nets", source=False, inverted=True), "ip daddr != @nets"),
    (words.in_port_set(V4, "ports", source=False), "ip daddr . meta l4proto . th dport @ports"),
    (words.in_port_set(V4, "ports", source=True, inverted=True), "ip saddr . meta l4proto . th sport != @ports"),
    ((*words.protocol(6), *words.port(80)), "tcp dport 80"),
    ((*words.protocol(17), *words.port(80, source=True)), "udp sport 80"),
    ((*words.protocol(6), *words.ports([PortRange(80, 90)], source=False)), "tcp dport 80-90"),
    ((*words.protocol(6), *words.ports([PortRange(80, 90)], source=False, inverted=True)), "tcp dport != 80-90"),
    (
        (*words.protocol(6), *words.ports([PortRange(1, 2), PortRange(80, 80)], source=True)),
        "tcp sport { 1-2, 80 }",
    ),
    (
        (*words.protocol(6), *words.ports([PortRange(1, 2), PortRange(65535, 65535)], source=True, inverted=True)),
        "tcp sport != { 1-2, 65535 }",
    ),
    ((*words.protocol(1), *words.icmp(V4, Icmp(8))), "icmp type echo-request"),
    (
        (*words.protocol(1), *words.icmp(V4, Icmp(3, 1))),
        "icmp type . icmp code { destination-unreachable . host-unreachable }",
    ),
    ((*words.protocol(1), *words.icmp(V4, Icmp(8), inverted=True)), "icmp type != echo-request"),
    (words.vxlan(64000, 4096), "udp dport 64000 @th,96,24 0x1000"),
    (ct_state(CT_ESTABLISHED | CT_RELATED), "ct state established,related"),
    (ct_state(CT_INVALID), "ct state invalid"),
    ((fib(FIB_RESULT_TYPE, FIB_DESTINATION), compare("==", LOCAL)), "fib daddr type local"),
    ((fib(FIB_RESULT_TYPE, FIB_SOURCE), compare("!=", LOCAL)), "fib saddr type != local"),
    ((log("calico-packet: "),), 'log prefix "calico-packet: " level notice'),
    (
        (meta(META_IIFNAME), immediate(struct.pack("=I", 3), slot(4)), count_in("drops")),
        "add @drops { iifname . 0x00000003 counter }",
    ),
    (
        words.dispatch("endpoints", "groups"),
        "meta mark set iifname map @endpoints meta mark set meta mark meta mark vmap @groups",
    ),
)
HOOKED: tuple[tuple[Base, words.Parts, str], ...] = (
    (Base("nat", POSTROUTING, 100), masquerade(), "masquerade fully-random"),
    (Base("nat", POSTROUTING, 100), masquerade(fully_random=False), "masquerade"),
    (
        Base("nat", POSTROUTING, 100),
        (*words.protocol(6), *masquerade(ports=(1000, 2000))),
        "meta l4proto tcp masquerade to :1000-2000 fully-random",
    ),
    (Base("nat", POSTROUTING, 100), nat("snat", 2, address=bytes((1, 2, 3, 4))), "snat to 1.2.3.4"),
    (
        Base("nat", POSTROUTING, 100),
        (*words.protocol(6), *nat("snat", 2, address=bytes((1, 2, 3, 4)), ports=(1, 2))),
        "meta l4proto tcp snat to 1.2.3.4:1-2",
    ),
    (Base("nat", PREROUTING, -100), nat("dnat", 2, address=bytes((1, 2, 3, 4))), "dnat to 1.2.3.4"),
    (
        Base("nat", POSTROUTING, 100),
        (fib(FIB_RESULT_TYPE, FIB_SOURCE | FIB_OUT), compare("!=", LOCAL)),
        "fib saddr . oif type != local",
    ),
    (Base("filter", OUTPUT, -300), (notrack(),), "notrack"),
    (Base("filter", OUTPUT, 0), (meta(META_OIFNAME), compare("!=", words.interface_key("a"))), 'oifname != "a"'),
)


def test_nft_prints_back_what_was_written(network: Topology) -> None:
    table = Table(2, "x")
    names = [f"hooked{index}" for index in range(len(HOOKED))]
    Nfnetlink(network.netlink).commit(
        [
            table.create(),
            table.add_set("nets", Set((IPV4_ADDRESS,), interval=True)),
            table.add_set("ports", Set((IPV4_ADDRESS, PROTOCOL, SERVICE))),
            table.add_set("drops", Set((INTERFACE, MARK), dynamic=True, size=100)),
            table.add_set("endpoints", Set((INTERFACE,), MARK)),
            table.add_set("groups", Set((MARK,), VERDICT)),
            table.add_chain("other"),
            table.add_chain("every"),
            *(operation for parts, _ in RULES for operation in table.add_rules("every", [Rule(parts)])),
            *(table.add_chain(name, base) for name, (base, _, _) in zip(names, HOOKED, strict=True)),
            *(
                operation
                for name, (_, parts, _) in zip(names, HOOKED, strict=True)
                for operation in table.add_rules(name, [Rule(parts, "words of ours")])
            ),
        ]
    )
    listing = network.nft("list", "chain", "ip", "x", "every").splitlines()
    printed = [line.strip().partition(" comment ")[0] for line in listing if " comment " in line]
    assert printed == [text for _, text in RULES]
    for name, (_, parts, text) in zip(names, HOOKED, strict=True):
        line = network.nft("list", "chain", "ip", "x", name).splitlines()[3].strip()
        assert line == f'{text} comment "cali:{Rule(parts).digest} words of ours"'


@pytest.mark.parametrize(("family", "name"), [(V4, "ip"), (V6, "ip6")])
def test_what_nft_wrote_is_read(network: Topology, family: Family, name: str) -> None:
    one, two = ("10.0.0.1", "10.0.0.2") if family is V4 else ("fd00::1", "fd00::2")
    kind = "ipv4_addr" if family is V4 else "ipv6_addr"
    network.nft(
        f"table {name} x {{\n"
        f"set a {{ type {kind}; elements = {{ {one}, {two} }}\n}}\n"
        f"set i {{ type inet_service; flags interval; elements = {{ 0-9, 20, 65000-65535 }}\n}}\n"
        f"map m {{ type ifname : mark; elements = {{ eth0 : 7 }}\n}}\n"
        f"map v {{ type mark : verdict; elements = {{ 7 : goto c }}\n}}\n"
        'chain c { counter drop comment "by hand"\n}\n'
        "chain b { type filter hook forward priority 10; policy drop; }\n}"
    )
    nft, table = Nfnetlink(network.netlink), Table(family.number, "x")
    assert {element.element.key for element in nft.elements(table, "a")} == {family.pack(one), family.pack(two)}
    assert intervals(nft.elements(table, "i")) == {
        Element(b"\0\0", end=b"\0\x0a"),
        Element(b"\0\x14", end=b"\0\x15"),
        Element(struct.pack(">H", 65000), end=b""),
    }
    assert [one.element for one in nft.elements(table, "m")] == [
        Element(words.interface_key("eth0"), struct.pack("=I", 7))
    ]
    assert [one.element for one in nft.elements(table, "v")] == [Element(struct.pack("=I", 7), "c")]
    assert [(rule.chain, rule.comment) for rule in nft.rules(table)] == [("c", "by hand")]
    chains = {chain.name: chain for chain in nft.chains(table)}
    assert chains["b"].base == Base("filter", 2, 10)
    assert chains["b"].drops
    assert chains["c"].base is None


@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(history=st.lists(STATES, min_size=1, max_size=3))
def test_the_kernel_takes_every_history_and_holds_what_is_desired(network: Topology, history: list[State]) -> None:
    network.nft("flush", "ruleset")
    tables, before = Tables(network.netlink, SETTINGS), EMPTY
    for state in history:
        tables.apply(between(before, state))
        before = state
        assert Tables(network.netlink, SETTINGS).compare(between(EMPTY, state)) == []
    assert tables.metrics()["failures"] == 0
