"""Other programs' tables beside ours: Docker's by real iptables, firewalls that drop by policy or by a last rule."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from calico.felix.dataplane.nft.cleanup import present_tables, remove_tables
from calico.felix.dataplane.nft.foreign import Neighbours
from calico.felix.dataplane.nft.settings import NftSettings
from calico.felix.dataplane.nft.tables import Tables
from calico.netlink.nftables.transactions import Nfnetlink
from tests.integration.nft.test_semantics import state
from tests.integration.nft.topology import Topology
from tests.servers.debian import unpacked
from tests.unit.felix_nft.states import EMPTY, between

SETTINGS = NftSettings(endpoint_to_host="RETURN", vxlan_enabled=True)


@pytest.fixture(scope="session")
def iptables() -> Callable[..., str]:
    """Real iptables-nft, in a namespace."""
    root = unpacked("iptables", "libip4tc2", "libip6tc2")
    libraries = next(root.glob("usr/lib/*-linux-gnu"))
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(libraries),
        "XTABLES_LIBDIR": str(libraries / "xtables"),
    }

    def run(network: Topology, *words: str, program: str = "iptables") -> str:
        command = ["ip", "netns", "exec", network.host.name, str(root / "usr/sbin/xtables-nft-multi"), program, *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def filtered(network: Topology) -> Topology:
    """Our tables, with workloads that may talk."""
    Tables(network.netlink, SETTINGS).apply(between(EMPTY, state()))
    assert network.udp("one", "two", 4000)
    return network


def neighbours(network: Topology, proc: Path = Path("/nowhere")) -> Neighbours:
    return Neighbours(Nfnetlink(network.netlink), SETTINGS, proc)


def test_a_network_without_others_has_nothing_to_report(filtered: Topology) -> None:
    assert neighbours(filtered).check() == []


def test_docker_drops_and_we_put_accepts_into_its_users_chain(filtered: Topology, iptables: Callable[..., str]) -> None:
    iptables(filtered, "-N", "DOCKER-USER")
    iptables(filtered, "-A", "DOCKER-USER", "-j", "RETURN")
    iptables(filtered, "-A", "FORWARD", "-j", "DOCKER-USER")
    iptables(filtered, "-P", "FORWARD", "DROP")
    assert not filtered.udp("one", "two", 4000)
    watch = neighbours(filtered)
    assert watch.check() == []
    assert len(watch.mended) == 1
    assert filtered.udp("one", "two", 4000)
    assert filtered.udp("far", "two", 4000)
    rules = iptables(filtered, "-S", "DOCKER-USER").splitlines()
    assert any("-i cali+" in line and line.endswith("-j ACCEPT") for line in rules)
    assert any("-o vxlan.calico" in line and line.endswith("-j ACCEPT") for line in rules)
    before = filtered.nft("list", "table", "ip", "filter")
    assert watch.check() == []
    assert neighbours(filtered).check() == []
    assert filtered.nft("list", "table", "ip", "filter") == before


def test_accepts_that_docker_lost_come_back(filtered: Topology, iptables: Callable[..., str]) -> None:
    iptables(filtered, "-P", "FORWARD", "DROP")
    watch = neighbours(filtered)
    watch.check()
    assert filtered.udp("one", "two", 4000)
    iptables(filtered, "-F", "FORWARD")
    assert not filtered.udp("one", "two", 4000)
    watch.check()
    assert filtered.udp("one", "two", 4000)


def test_what_policy_denies_stays_denied_beside_the_accepts(network: Topology, iptables: Callable[..., str]) -> None:
    Tables(network.netlink, SETTINGS).apply(between(EMPTY, state(())))
    iptables(network, "-P", "FORWARD", "DROP")
    neighbours(network).check()
    assert not network.udp("one", "two", 4000)
    assert network.udp("two", "one", 4000)


def test_iptables_that_accepts_is_left_alone(filtered: Topology, iptables: Callable[..., str]) -> None:
    iptables(filtered, "-A", "FORWARD", "-j", "ACCEPT")
    before = filtered.nft("list", "table", "ip", "filter")
    watch = neighbours(filtered)
    assert watch.check() == []
    assert watch.mended == []
    assert filtered.nft("list", "table", "ip", "filter") == before


def test_accepts_of_ipv6(filtered: Topology, iptables: Callable[..., str]) -> None:
    iptables(filtered, "-P", "FORWARD", "DROP", program="ip6tables")
    assert not filtered.udp("one", "two", 4000, version=6)
    neighbours(filtered).check()
    assert filtered.udp("one", "two", 4000, version=6)


def test_cleaning_up_takes_our_accepts_and_nothing_else(filtered: Topology, iptables: Callable[..., str]) -> None:
    iptables(filtered, "-N", "DOCKER-USER")
    iptables(filtered, "-A", "DOCKER-USER", "-i", "cali7", "-j", "ACCEPT")
    iptables(filtered, "-P", "FORWARD", "DROP")
    before = iptables(filtered, "-S")
    watch = neighbours(filtered)
    watch.check()
    assert iptables(filtered, "-S") != before
    assert "3 accepts in table ip filter chain DOCKER-USER" in present_tables(filtered.netlink)
    assert "3 accepts in table ip filter chain DOCKER-USER" in remove_tables(filtered.netlink)
    assert iptables(filtered, "-S") == before
    assert remove_tables(filtered.netlink) == []


def test_felix_itself_looks_after_the_accepts(network: Topology, iptables: Callable[..., str]) -> None:
    iptables(network, "-P", "FORWARD", "DROP")
    network.nft("table inet firewall {\nchain i { type filter hook input priority 10; policy drop; }\n}")
    tables = Tables(network.netlink, SETTINGS)
    tables.apply(between(EMPTY, state()))
    assert network.udp("one", "two", 4000)
    assert ["table inet firewall" in line for line in tables.problems()] == [True]
    assert tables.check() == []
    iptables(network, "-F", "FORWARD")
    assert not network.udp("one", "two", 4000)
    assert tables.check() == []
    assert network.udp("one", "two", 4000)
    network.nft("delete", "table", "inet", "firewall")
    tables.check()
    assert tables.problems() == []


@pytest.mark.parametrize(
    ("rules", "how"),
    [
        ("chain f { type filter hook forward priority 10; policy drop; }", "drops by policy"),
        ("chain f { type filter hook forward priority 10; ct state established accept; counter drop; }", "drops"),
        ("chain f { type filter hook forward priority 10; reject with icmpx admin-prohibited; }", "rejects"),
        ("chain i { type filter hook input priority 10; policy drop; }", "hook input) drops by policy"),
    ],
)
def test_a_firewall_that_drops_is_reported_and_left_alone(filtered: Topology, rules: str, how: str) -> None:
    filtered.nft(f"table inet firewall {{\n{rules}\n}}")
    before = filtered.nft("list", "table", "inet", "firewall")
    (line,) = neighbours(filtered).check()
    assert line.startswith("table inet firewall chain ")
    assert how in line
    assert filtered.nft("list", "table", "inet", "firewall") == before


@pytest.mark.parametrize(
    "rules",
    [
        "chain f { type filter hook forward priority 10; }",
        'chain f { type filter hook forward priority 10; iifname "eth7" drop; }',
        "chain f { type filter hook prerouting priority 10; policy drop; }",
        "chain f { drop; }",
    ],
)
def test_a_firewall_that_does_not_drop_all_is_not_reported(filtered: Topology, rules: str) -> None:
    filtered.nft(f"table inet firewall {{\n{rules}\n}}")
    assert neighbours(filtered).check() == []


def test_legacy_iptables_is_reported(filtered: Topology, tmp_path: Path) -> None:
    (tmp_path / "ip_tables_names").write_text("nat\nfilter\n")
    (line,) = neighbours(filtered, tmp_path).check()
    assert "iptables-legacy -S FORWARD" in line
