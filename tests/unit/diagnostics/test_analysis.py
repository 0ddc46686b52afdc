"""What the analysis says of facts, and that it says nothing where nothing is wrong or known."""

import pytest

from calico.node.diagnostics.analysis import Finding, analyse, render
from calico.node.diagnostics.facts import Certificate, Clock, Disk, Facts, Interface, Leak, Peer, Pool, Unit

NOW = 1_700_000_000.0
DAY = 86400.0
GB = 1 << 30

FELIX = Unit("dcos-calico-felix.service", "active", "running", "success", 0, "in sync", 7)
BIRD = Unit("dcos-calico-bird.service", "inactive", "dead", "success", 0, "", 0, is_wanted=False)
CONFD = BIRD._replace(name="dcos-calico-confd.service")
ETH = Interface("eth0", "", 1500, True)
VXLAN = Interface("vxlan.calico", "vxlan", 1450, True, "eth0")
OVERLAY = Interface("vtep1024", "vxlan", 1420, True, "eth0")

GOOD = Facts(
    now=NOW,
    node="10.0.0.1",
    units=(FELIX, BIRD, CONFD, Unit("dcos-setup.service", "inactive", "exited", "success", 0, "", 0)),
    interfaces=(ETH, VXLAN, Interface("cali0", "veth", 1450, True)),
    vxlan_wanted=True,
    disks=(Disk("/", 100 * GB, 50 * GB, 1000, 900), Disk("/dev/odd", 0, 0, 0, 0)),
    pools=(Pool("default", "172.29.0.0/24", 256, 200, False),),
    leaks=(),
    ipam_findings=(),
    clocks=(
        Clock("felix on this node", NOW - 9, NOW, "its page", 10.0),
        Clock("felix on b", NOW - 119, NOW, "x", 120.0),
    ),
    reporting=frozenset(),
    drops=(),
    bird_wanted=False,
    bird_error="no socket",
    peers=(),
    differences=(),
    certificates=(Certificate("/etc/ca.crt", NOW + 400 * DAY),),
)


def test_a_healthy_node_has_no_finding() -> None:
    assert analyse(GOOD) == []
    assert "Nothing looks wrong" in render([], GOOD, {})


def test_what_could_not_be_read_is_no_finding() -> None:
    assert analyse(Facts(now=NOW)) == []


FAULTS: dict[str, tuple[Facts, bool]] = {
    "etcd-down": (GOOD._replace(datastore_error="http://10.0.0.9:2379: Connection refused"), True),
    "unit-down": (GOOD._replace(units=(FELIX._replace(state="failed", sub_state="failed"),)), True),
    "unit-restarts": (GOOD._replace(units=(FELIX._replace(state="activating", sub_state="auto-restart"),)), True),
    "bird-down": (GOOD._replace(bird_wanted=True, units=(FELIX,)), True),
    "bgp-peer-down": (
        GOOD._replace(peers=(Peer("10.0.0.2", "start Active", "Connection refused", "open TCP port 179"),)),
        True,
    ),
    "pool-full": (GOOD._replace(pools=(Pool("p", "10.0.0.0/26", 64, 64, False),)), True),
    "pool-nearly-full": (GOOD._replace(pools=(Pool("p", "10.0.0.0/26", 64, 60, False),)), False),
    "leaked-addresses": (GOOD._replace(leaks=(Leak("172.29.0.9", "a handle"),)), False),
    "ipam-inconsistent": (GOOD._replace(ipam_findings=("block: odd",)), False),
    "mtu-mismatch": (GOOD._replace(interfaces=(ETH._replace(mtu=1450), VXLAN)), True),
    "workload-mtu": (GOOD._replace(interfaces=(ETH, VXLAN, Interface("cali0", "veth", 1500, True))), False),
    "tunnel-missing": (GOOD._replace(interfaces=(ETH,)), True),
    "foreign-drop": (GOOD._replace(drops=("table ip filter chain FORWARD (hook forward) has the policy drop",)), True),
    "clock-off": (GOOD._replace(clocks=(Clock("felix on this node", NOW + 7200, NOW, "its page", 10.0),)), True),
    "felix-silent": (GOOD._replace(reporting=frozenset({"10.0.0.2"})), False),
    "disk-full": (GOOD._replace(disks=(Disk("/var/lib", 10 * GB, 0, 100, 50),)), True),
    "felix-differs": (GOOD._replace(differences=("route 172.29.1.0/26 is missing",)), False),
    "certificate-unreadable": (GOOD._replace(certificates=(Certificate("/etc/ca.crt", error="no PEM"),)), True),
    "certificate-ends": (GOOD._replace(certificates=(Certificate("/etc/client.crt", NOW - DAY),)), True),
}
"""Every rule's fault, planted alone, and whether something does not work because of it."""


@pytest.mark.parametrize("rule", FAULTS)
def test_a_planted_fault_is_named_alone_with_evidence_and_a_next_step(rule: str) -> None:
    facts, is_urgent = FAULTS[rule]
    (finding,) = analyse(facts)
    assert finding.rule == rule
    assert finding.is_urgent == is_urgent
    assert finding.evidence and all(finding.evidence)
    assert finding.step and finding.text
    text = render([finding], facts, {})
    assert f"[{rule}]" in text and f"next: {finding.step}" in text


@pytest.mark.parametrize(
    "facts",
    [
        GOOD._replace(pools=(Pool("p", "10.0.0.0/26", 64, 64, True),)),
        GOOD._replace(interfaces=(ETH, VXLAN._replace(parent=""))),
        GOOD._replace(interfaces=(ETH._replace(mtu=1400), VXLAN._replace(is_up=False))),
        GOOD._replace(disks=(Disk("/", 1000 * GB, 20 * GB, 1000, 900),)),
        GOOD._replace(units=(FELIX._replace(restarts=3),)),
        GOOD._replace(certificates=(Certificate("/etc/ca.crt", NOW + 31 * DAY),)),
        GOOD._replace(reporting=frozenset({"10.0.0.1", "10.0.0.2"})),
        GOOD._replace(units=(FELIX, Unit("dcos-setup.service", "inactive", "dead", "success", 0, "", 0))),
        GOOD._replace(interfaces=(ETH._replace(mtu=9000), VXLAN)),
        GOOD._replace(interfaces=(ETH, VXLAN, OVERLAY, Interface("cali0", "veth", 1450, True))),
        GOOD._replace(interfaces=(ETH, VXLAN, OVERLAY._replace(mtu=1500))),
    ],
)
def test_what_is_no_fault(facts: Facts) -> None:
    assert analyse(facts) == []


def test_a_daemon_of_a_vxlan_cluster_that_is_not_wanted_is_no_fault_and_one_that_is_wanted_is() -> None:
    assert analyse(GOOD) == []
    rules = {
        finding.rule for finding in analyse(GOOD._replace(bird_wanted=True, units=(BIRD._replace(is_wanted=True),)))
    }
    assert rules == {"bird-down", "unit-down"}


def test_urgent_ones_come_first_and_all_come() -> None:
    both = FAULTS["leaked-addresses"][0]._replace(datastore_error="gone")
    assert [finding.rule for finding in analyse(both)] == ["etcd-down", "leaked-addresses"]


def test_a_long_list_is_cut() -> None:
    (finding,) = analyse(GOOD._replace(leaks=tuple(Leak(f"10.0.0.{index}", "x") for index in range(50))))
    assert len(finding.evidence) == 11 and finding.evidence[-1] == "and 40 more"


def test_what_was_not_read_is_told() -> None:
    text = render([], GOOD, {"logs": "there is no journalctl"})
    assert "logs: there is no journalctl" in text


def test_a_finding_of_a_unit_shows_its_last_lines() -> None:
    facts = FAULTS["unit-down"][0]._replace(log_tails={FELIX.name: "one\ntwo\nthree\nfour"})
    finding: Finding = analyse(facts)[0]
    assert finding.evidence[1:] == ("two", "three", "four")
