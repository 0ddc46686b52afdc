"""Our tables in a real kernel: starting again, being meddled with, being refused; and that nft itself can read them."""

import re
import time
from collections.abc import Sequence

import pytest

from calico.felix.dataplane.nft import policies as rules
from calico.felix.dataplane.nft.cleanup import remove_tables
from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.dataplane.nft.tables import DataplaneError, Tables
from calico.felix.desired import (
    Changes,
    HostEndpoint,
    IpSet,
    Nat,
    PolicyList,
    Pool,
    SetChange,
    Side,
    Vtep,
)
from calico.netlink.nftables.expressions import log
from calico.netlink.nftables.objects import Operation, Table
from calico.netlink.nftables.transactions import Nfnetlink, TransactionError
from calico.netlink.socket import Netlink
from tests.integration.nft.test_semantics import PORTS, SETTINGS, VNI, VXLAN_PORT, here, nets, state, vxlan
from tests.integration.nft.topology import SPOOFED, Topology
from tests.unit.felix_nft.states import EMPTY, UDP, State, between, identity, policies, port, rule, workload

EVERYTHING = state(
    (
        rule("log", UDP, to=Side(ports=port(1).ports, port_sets=("n:a",))),
        *here(source=Side(sets=("s:a",), not_sets=("s:b",))),
    ),
    (rule("pass"),),
    sets={"s:a": nets("10.65.0.1/32", "fd65::1/128"), "s:b": nets("10.0.0.0/9", "10.1.0.0/16"), "n:a": PORTS},
    hosts={"e": HostEndpoint("eth0", (), ("open",), *(PolicyList(policies("default.p"), policies("default.p")),) * 4)},
    nat=(Nat("198.51.100.2", "10.65.0.2"),),
)._replace(
    vteps={"far": Vtep("10.65.9.1", "66:00:00:00:00:01", "192.0.2.2")},
    pools={"10.65.0.0/16": Pool("vxlan", False, True), "10.66.0.0/16": Pool("none", False, False)},
)


def start(network: Topology, wanted: State, settings: NftSettings = SETTINGS) -> Tables:
    tables = Tables(network.netlink, settings)
    tables.apply(between(EMPTY, wanted))
    return tables


def test_nft_reads_what_was_written(network: Topology) -> None:
    start(network, EVERYTHING)
    for family in ("ip", "ip6"):
        listing = network.nft("list", "table", family, "calico")
        network.nft("-c", listing)
        network.nft("-j", "list", "table", family, "calico")
    v4 = network.nft("list", "table", "ip", "calico")
    for line in (
        '"cali1" . 10.65.0.1',
        "elements = { 10.0.0.0/9 }",
        "udp dport 64000 @th,96,24 0x1000 ip saddr @all-vxlan-net fib daddr type local accept",
        "198.51.100.2 : 10.65.0.2",
        "meta mark vmap @from-groups",
        "10.65.0.2 . udp . 4000",
        "ip saddr @masq-ipam-pools ip daddr != @all-ipam-pools masquerade fully-random",
        'log prefix "calico-packet: " level notice',
        "meta mark & 0x00010000 == 0x00010000 notrack return",
        "add @drops { iifname . 0x00000003 counter }",
        "type filter hook prerouting priority raw - 1; policy accept;",
    ):
        assert line in v4


def test_a_restart_with_the_same_state_writes_nothing(network: Topology) -> None:
    start(network, EVERYTHING)
    generation = Nfnetlink(network.netlink).generation()
    again = Tables(network.netlink, SETTINGS)
    assert again.apply(between(EMPTY, EVERYTHING)).messages == 0
    assert again.check() == []
    assert Nfnetlink(network.netlink).generation() == generation


def test_a_restart_with_another_state_writes_the_difference(network: Topology) -> None:
    start(network, EVERYTHING)
    less = EVERYTHING._replace(host_endpoints={}, vteps={})
    again = Tables(network.netlink, SETTINGS)
    assert 0 < again.apply(between(EMPTY, less)).messages < 200
    assert Tables(network.netlink, SETTINGS).apply(between(EMPTY, less)).messages == 0


def test_a_restart_with_other_settings_writes_the_difference(network: Topology) -> None:
    start(network, EVERYTHING)
    again = Tables(network.netlink, SETTINGS._replace(insert=False, endpoint_to_host="ACCEPT"))
    assert again.apply(between(EMPTY, EVERYTHING)).messages > 0
    assert "hook forward priority filter + 1" in network.nft("list", "chain", "ip", "calico", "filter-forward")
    assert again.check() == []


def test_a_set_that_became_an_interval_set_stays_one_over_a_restart(network: Topology) -> None:
    tables = start(network, state(here(source=Side(sets=("s:a",))), sets={"s:a": nets("10.65.0.1")}))
    tables.apply(Changes(sets_changed={"s:a": SetChange(frozenset({"10.64.0.0/16"}), frozenset())}))
    tables.apply(Changes(sets_changed={"s:a": SetChange(frozenset(), frozenset({"10.64.0.0/16"}))}))
    again = Tables(network.netlink, SETTINGS)
    same = state(here(source=Side(sets=("s:a",))), sets={"s:a": nets("10.65.0.1")})
    assert again.apply(between(EMPTY, same)).messages == 0
    assert network.udp("one", "two", 4000)


def test_an_endpoint_with_a_known_list_is_elements_only(network: Topology) -> None:
    tables = start(network, state(here()))
    more = {identity("three"): workload("cali3", "10.65.0.3", ingress=("default.p",), profiles=("two",))}
    assert tables.apply(Changes(workloads=more)).messages <= 4


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("add rule ip calico from-workload accept", "table ip calico chain from-workload has other rules"),
        ("add table ip calico { flags dormant; }", "table ip calico is dormant"),
        ("add chain ip calico filter-forward { policy drop; }", "table ip calico chain filter-forward has other rules"),
        ("insert rule ip calico filter-forward accept", "table ip calico chain filter-forward has other rules"),
        ("flush chain ip calico to-workload", "table ip calico chain to-workload has other rules"),
        ("add chain ip calico mine", "table ip calico chain mine is not ours"),
        ("add set ip6 calico mine { type mark; }", "table ip6 calico set mine is not ours"),
        (
            'add element ip calico endpoints { "cali9" : 1 }',
            "table ip calico set endpoints: 0 elements missing, 1 that are not ours",
        ),
        (
            'delete element ip calico sources { "cali1" . 10.65.0.1 }',
            "table ip calico set sources: 1 elements missing, 0 that are not ours",
        ),
        (
            "add element ip calico s-b.n { 172.16.0.0/12 }",
            "table ip calico set s-b.n: 0 elements missing, 1 that are not ours",
        ),
        ("flush set ip calico s-b.n", "table ip calico set s-b.n: 1 elements missing, 0 that are not ours"),
        ("delete table ip calico", "table ip calico is not there"),
        ("flush ruleset", "table ip calico is not there"),
    ],
)
def test_what_others_change_is_found_and_undone(network: Topology, command: str, line: str) -> None:
    tables = start(network, EVERYTHING)
    before = words(network)
    network.nft(command)
    assert line in tables.check()
    assert tables.check() == []
    assert words(network) == before


def words(network: Topology) -> list[list[str]]:
    """What nft lists of our tables, in no order and without the packet path's own counters."""
    listings = [network.nft("list", "table", family, "calico") for family in ("ip", "ip6")]
    desired = [re.sub(r"set drops \{.*?\n\t\}", "", listing, flags=re.DOTALL) for listing in listings]
    return [sorted(listing.replace(",", " ").split()) for listing in desired]


def test_others_who_write_elsewhere_are_no_difference(network: Topology) -> None:
    tables = start(network, EVERYTHING)
    network.nft("add", "table", "inet", "other")
    assert tables.check() == []
    assert tables.metrics()["repairs"] == 1


@pytest.mark.parametrize(
    "command", ["flush ruleset", "delete table ip6 calico", "add table ip calico { flags dormant; }"]
)
def test_tables_that_are_gone_or_asleep_are_told_by_watching(network: Topology, command: str) -> None:
    tables = start(network, state())
    network.nft("add", "table", "inet", "other")
    assert not tables.watch()
    network.nft(*command.split())
    assert tables.watch()
    assert tables.check()
    assert not tables.watch()
    assert network.udp("one", "two", 4000)


def test_a_change_meets_a_table_that_is_gone(network: Topology) -> None:
    tables = start(network, state())
    network.nft("flush", "ruleset")
    changes = between(state(), state(()))
    assert tables.apply(changes).repaired
    assert not network.udp("one", "two", 4000)
    assert network.udp("two", "one", 4000)


def test_a_refused_transaction_changes_nothing_and_names_the_object(network: Topology) -> None:
    nft = Nfnetlink(network.netlink)
    table = Table(2, "x")
    nft.commit([table.create(), table.add_chain("a")])
    with pytest.raises(TransactionError, match="table ip x set nowhere: No such file or directory"):
        nft.commit([table.add_chain("b"), table.delete_set("nowhere"), table.delete_chain("a")])
    assert [chain.name for chain in nft.chains(table)] == ["a"]


def test_a_transaction_of_another_generation_is_refused(network: Topology) -> None:
    nft = Nfnetlink(network.netlink)
    generation = nft.generation()
    nft.commit([Table(2, "x").create()], generation)
    assert nft.generation() == generation + 1
    with pytest.raises(TransactionError, match="the transaction as a whole"):
        nft.commit([Table(2, "y").create()], generation)


class Refusing(Nfnetlink):
    """Refuses some transactions by adding what the kernel does not take."""

    def __init__(self, netlink: Netlink, refused: int) -> None:
        super().__init__(netlink)
        self.refused = refused

    def commit(self, operations: Sequence[Operation], generation: int | None = None) -> int:
        if self.refused:
            self.refused -= 1
            operations = [*operations, Table(2, "calico").delete_set("nowhere")]
        return super().commit(operations, generation)


class Busy(Nfnetlink):
    """Somebody else writes whenever we have read."""

    def commit(self, operations: Sequence[Operation], generation: int | None = None) -> int:
        super().commit([Table(2, "other").create(), Table(2, "other").delete()])
        return super().commit(operations, generation)


@pytest.mark.parametrize("command", ["flush ruleset", "flush chain ip calico to-workload"])
def test_others_who_never_stop_writing_keep_nothing_out(
    network: Topology, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    tables = start(network, state(()))
    monkeypatch.setattr(tables, "_nft", Busy(network.netlink))
    network.nft(*command.split())
    assert tables.check()
    assert not network.udp("one", "two", 4000)
    tables.apply(between(state(()), state()))
    assert network.udp("one", "two", 4000)
    assert "calico-guard" not in network.nft("list", "tables")


@pytest.mark.parametrize(("refused", "replacements"), [(1, 0), (2, 0), (3, 1)])
def test_refusals_end_in_a_replacement(
    network: Topology, monkeypatch: pytest.MonkeyPatch, refused: int, replacements: int
) -> None:
    tables = start(network, state())
    monkeypatch.setattr(tables, "_nft", Refusing(network.netlink, refused))
    tables.apply(between(state(), state(())))
    assert tables.metrics()["failures"] == refused
    assert tables.metrics()["replacements"] == replacements
    assert not network.udp("one", "two", 4000)
    assert network.udp("two", "one", 4000)


@pytest.mark.parametrize("is_new", [False, True], ids=["changed", "at the start"])
def test_a_policy_that_the_kernel_refuses_denies_and_holds_up_nothing_else(
    network: Topology, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    """A log statement of level 99 stands for whatever a kernel may not take."""
    monkeypatch.setattr(rules, "log", lambda prefix: log(prefix, level=99))
    refused = state(here(action="log") + here())
    tables = start(network, EMPTY if is_new else state(here()))
    tables.apply(between(EMPTY if is_new else state(here()), refused))
    assert not network.udp("one", "two", 4000)
    assert network.udp("two", "one", 4000)
    assert any(
        line.startswith(
            "policy default.p: cannot be rendered, so it denies everything: the kernel refuses it: table ip"
        )
        for line in tables.problems()
    )
    assert (tables.check(), tables.metrics()["replacements"]) == ([], 0)

    more = workload("cali3", "10.65.0.3", profiles=("open",))
    tables.apply(Changes(workloads={identity("three"): more}))
    assert tables.metrics()["failures"] == 5  # one, two that read before for each family, and none since
    tables.apply(between(refused, state(here())))
    assert network.udp("one", "two", 4000)
    assert tables.problems() == []


def test_a_table_under_our_name_that_is_something_else_is_replaced(network: Topology) -> None:
    network.nft("table ip calico {\nset endpoints { type mark; }\nchain c { accept; }\n}")
    tables = start(network, state(()))
    assert tables.metrics()["replacements"] == 1
    assert "calico-guard" not in network.nft("list", "tables")
    assert not network.udp("one", "two", 4000)
    assert network.udp("two", "one", 4000)
    assert tables.check() == []


def test_refusals_without_end_are_an_error_and_the_wish_is_kept(
    network: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = start(network, state(()))
    refusing = Refusing(network.netlink, 100)
    monkeypatch.setattr(tables, "_nft", refusing)
    with pytest.raises(DataplaneError, match="set nowhere"):
        tables.apply(between(state(()), state()))
    assert not network.udp("one", "two", 4000)
    refusing.refused = 0
    tables.apply(Changes())
    assert network.udp("one", "two", 4000)


def test_a_kernel_that_does_not_answer_is_an_error_in_time(network: Topology) -> None:
    class Silent(Nfnetlink):
        def generation(self) -> int:
            raise TimeoutError("no answer")

    tables = Tables(network.netlink, SETTINGS)
    tables._nft = Silent(network.netlink)
    start_of_wait = time.monotonic()
    with pytest.raises(DataplaneError, match="no answer"):
        tables.apply(between(EMPTY, state()))
    assert time.monotonic() - start_of_wait < 30


def test_a_small_socket_takes_a_large_transaction(network: Topology) -> None:
    members = frozenset(f"10.{one}.{two}.0/24" for one in range(40) for two in range(250))
    tables = start(network, state(here(source=Side(sets=("s:a",))), sets={"s:a": IpSet("net", members)}))
    assert tables.check() == []
    assert (
        Tables(network.netlink, SETTINGS)
        .apply(between(EMPTY, state(here(source=Side(sets=("s:a",))), sets={"s:a": IpSet("net", members)})))
        .messages
        == 0
    )


def test_cleaning_up_leaves_what_was_there(network: Topology) -> None:
    network.nft("add", "table", "inet", "other")
    before = network.nft("list", "ruleset")
    tables = start(network, EVERYTHING)
    assert sorted(tables.cleanup()) == ["table ip calico", "table ip6 calico"]
    assert network.nft("list", "ruleset") == before
    assert remove_tables(network.netlink) == []


def test_drops_are_counted_by_endpoint_direction_and_cause(network: Topology) -> None:
    tables = start(network, state((rule("deny", UDP),)))
    network.udp("one", "two", 4000)
    network.udp("one", "two", 4000)
    network.udp("one", "far", 4000, source=SPOOFED)
    tables.apply(between(EMPTY, state(active=False)))
    network.udp("one", "two", 4000)
    tables.apply(Changes(workloads={identity("one"): None}))
    network.udp("one", "far", 4000)
    # In IPv6 the containers send of their own accord.
    drops = [one for one in tables.drops() if one.version == 4]
    counted = {(one.interface, one.direction, one.cause): one.packets for one in drops}
    assert counted == {
        ("cali2", "ingress", "policy"): 2,
        ("cali1", "egress", "spoofed"): 1,
        ("cali2", "ingress", "admin-down"): 1,
        ("cali1", "egress", "unknown-interface"): 1,
    }
    assert all(one.octets > 0 for one in tables.drops())


def test_admin_down_ends_established_flows(network: Topology) -> None:
    tables = start(network, state())

    def passes() -> list[bool]:
        there = network.udp("far", "two", 4000, source_port=4444)
        return [there, network.udp("two", "far", 4444, source_port=4000)]

    assert passes() == [True, True]
    tables.apply(between(state(), state(active=False)))
    assert passes() == [False, False]
    tables.apply(between(state(active=False), state()))
    assert passes() == [True, True]


def test_a_spoofed_source_is_dropped(network: Topology) -> None:
    start(network, state())
    assert not network.udp("one", "two", 4000, source=SPOOFED)
    assert network.udp("one", "two", 4000, source="10.65.0.1")


def test_outgoing_traffic_of_a_pool_has_the_hosts_address(network: Topology) -> None:
    start(network, state()._replace(pools={"10.65.0.0/16": Pool("vxlan", False, True)}))
    assert network.udp_source("two", "far", 4000) == "192.0.2.1"
    assert network.udp_source("two", "one", 4000) == "10.65.0.2"


def test_a_pool_without_nat_shows_the_workloads_address(network: Topology) -> None:
    start(network, state()._replace(pools={"10.65.0.0/16": Pool("vxlan", False, False)}))
    assert network.udp_source("two", "far", 4000) == "10.65.0.2"


def test_nat_outgoing_with_an_address_and_ports(network: Topology) -> None:
    settings = SETTINGS._replace(nat_address="192.0.2.1", nat_ports=(40000, 40100))
    start(network, state()._replace(pools={"10.65.0.0/16": Pool("vxlan", False, True)}), settings)
    assert network.udp_source("two", "far", 4000) == "192.0.2.1"


def test_a_floating_address_leads_to_its_workload(network: Topology) -> None:
    start(network, state(nat=(Nat("198.51.100.2", "10.65.0.2"),)))
    network.host.run("ip", "route", "replace", "198.51.100.2/32", "dev", "cali2")
    assert network.udp("far", "two", 4000, to="198.51.100.2")
    assert network.udp("one", "two", 4000, to="198.51.100.2")
    assert network.udp_source("two", "two", 4000, to="198.51.100.2") == "198.51.100.2"


def test_tunnel_packets_of_strangers_are_dropped_and_the_overlays_pass(network: Topology) -> None:
    tables = start(network, state()._replace(vteps={"x": Vtep("10.65.9.1", "66:00:00:00:00:01", "192.0.2.77")}))
    assert not network.udp("far", "host", VXLAN_PORT, payload=vxlan(VNI))
    assert network.udp("far", "host", VXLAN_PORT, payload=vxlan(1024))
    tables.apply(Changes(vteps={"far": Vtep("10.65.9.2", "66:00:00:00:00:02", "192.0.2.2")}))
    assert network.udp("far", "host", VXLAN_PORT, payload=vxlan(VNI))


def test_workloads_send_no_tunnel_packets_not_even_in_an_established_flow(network: Topology) -> None:
    start(network, state())
    assert not network.udp("one", "far", VXLAN_PORT, payload=vxlan(VNI), source_port=5555)
    assert network.udp("one", "far", VXLAN_PORT, payload=vxlan(1024), source_port=5555)
    assert network.udp("far", "one", 5555, source_port=VXLAN_PORT)
    assert not network.udp("one", "far", VXLAN_PORT, payload=vxlan(VNI), source_port=5555)


def test_workload_to_host_by_drop(network: Topology) -> None:
    start(network, state(), SETTINGS._replace(endpoint_to_host="DROP"))
    assert not network.udp("one", "host", 4000)
    assert network.udp("host", "one", 4000)
    assert not network.udp("one", "host", 4000, version=6)


def test_a_policy_that_cannot_be_rendered_denies_and_is_named(network: Topology) -> None:
    tables = start(network, state(here(source=Side(sets=("s:nowhere",)))))
    assert tables.problems() == ["policy default.p: refers to sets that are not there: s:nowhere"]
    assert not network.udp("one", "two", 4000)
    tables.apply(Changes(sets_created={"s:nowhere": nets("10.65.0.1")}))
    assert tables.problems() == []
    assert network.udp("one", "two", 4000)


def test_the_mark_of_others_is_left_alone(network: Topology) -> None:
    """What the dispatch puts through the mark does not stay there."""
    start(network, state())
    network.nft(
        "table inet probe {\n"
        "set seen { type mark; flags dynamic; size 64; }\n"
        "chain before { type filter hook prerouting priority -400; meta mark set 0x4242; }\n"
        "chain behind { type filter hook forward priority 40; add @seen { meta mark }; }\n"
        "}"
    )
    network.udp("one", "two", 4000)
    seen = network.nft("list", "set", "inet", "probe", "seen")
    assert "0x00014242" in seen


def test_table_names_of_other_families_do_not_confuse(network: Topology) -> None:
    network.nft("add", "table", "inet", "calico")
    start(network, state())
    assert network.udp("one", "two", 4000)
    assert "table inet calico" in network.nft("list", "tables")
