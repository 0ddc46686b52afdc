"""The guard: before felix knows a workload, nothing goes through its interface."""

import pytest

from calico.felix.dataplane.nft.cleanup import remove_tables
from calico.felix.dataplane.nft.guard import set_guard
from calico.felix.dataplane.nft.tables import Tables
from calico.netlink.nftables.objects import Table
from calico.netlink.nftables.transactions import Nfnetlink
from tests.integration.nft.test_semantics import SETTINGS, state
from tests.integration.nft.topology import Topology
from tests.unit.felix_nft.states import EMPTY, between

WORKLOAD_WAYS = [("one", "two"), ("one", "far"), ("far", "one"), ("one", "host"), ("host", "one")]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("sender", "receiver"), WORKLOAD_WAYS)
def test_nothing_passes_while_the_guard_stands(network: Topology, sender: str, receiver: str, version: int) -> None:
    assert network.udp(sender, receiver, 4000, version=version)
    assert set_guard(network.netlink, ("cali",))
    assert not network.udp(sender, receiver, 4000, version=version)
    assert network.udp("far", "host", 4000, version=version)
    assert network.udp("host", "far", 4000, version=version)


def test_it_is_set_once(network: Topology) -> None:
    assert set_guard(network.netlink, ("cali",))
    before = network.nft("list", "ruleset")
    assert not set_guard(network.netlink, ("cali",))
    assert network.nft("list", "ruleset") == before


def test_it_stays_away_where_felix_tables_are(network: Topology) -> None:
    Tables(network.netlink, SETTINGS).apply(between(EMPTY, state()))
    before = network.nft("list", "ruleset")
    assert not set_guard(network.netlink, ("cali",))
    assert network.nft("list", "ruleset") == before
    assert network.udp("one", "two", 4000)


def test_a_family_without_felix_is_guarded_by_itself(network: Topology) -> None:
    Tables(network.netlink, SETTINGS._replace(ipv6=False)).apply(between(EMPTY, state()))
    assert set_guard(network.netlink, ("cali",))
    assert network.udp("one", "two", 4000)
    assert not network.udp("one", "two", 4000, version=6)


def test_other_prefixes(network: Topology) -> None:
    set_guard(network.netlink, ("tap", "cali2"))
    assert network.udp("one", "far", 4000)
    assert not network.udp("two", "far", 4000)


def test_felix_takes_it_away_in_the_transaction_that_brings_its_chains_to_life(network: Topology) -> None:
    set_guard(network.netlink, ("cali",))
    nft = Nfnetlink(network.netlink)
    generation = nft.generation()
    tables = Tables(network.netlink, SETTINGS)
    tables.apply(between(EMPTY, state()))
    assert nft.generation() == generation + 2
    assert "calico-guard" not in network.nft("list", "tables")
    assert network.udp("one", "two", 4000)
    assert tables.check() == []


def test_a_guard_that_comes_back_beside_felix_is_removed(network: Topology) -> None:
    tables = Tables(network.netlink, SETTINGS)
    tables.apply(between(EMPTY, state()))
    nft = Nfnetlink(network.netlink)
    nft.commit([Table(2, "calico-guard").create()])
    assert tables.check() == ["table ip calico-guard is there beside ours"]
    assert "calico-guard" not in network.nft("list", "tables")


def test_cleaning_up_removes_it(network: Topology) -> None:
    set_guard(network.netlink, ("cali",))
    assert remove_tables(network.netlink) == ["table ip calico-guard", "table ip6 calico-guard"]
    assert network.udp("one", "two", 4000)
