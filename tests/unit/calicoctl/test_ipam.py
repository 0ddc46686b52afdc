"""ipam show, check, release and configure: upstream's outputs, and the reports."""

import json
from pathlib import Path

import pytest

from calico.datastore.store import put
from calico.ipam.assign import Request
from calico.model.ipam import IPAMConfig
from calico.model.registry import PLACEMENTS, Placement
from tests.unit.ipam.cluster import allocated, documents, ipam_of, put_endpoint, put_node, put_pool, put_resource

from .conftest import Calicoctl


@pytest.fixture
def filled(calicoctl: Calicoctl) -> Calicoctl:
    """Two pools; node a has an endpoint, a tunnel, and an address that leaked."""
    put_pool(calicoctl.store, "first", "10.0.0.0/24", blockSize=26)
    put_pool(calicoctl.store, "wide", "fd00::/48", blockSize=122)
    put_node(calicoctl.store, "a", ipv4VXLANTunnelAddr="10.0.0.1")
    ipam = ipam_of(calicoctl.store)
    notes = {"node": "a", "type": "vxlanTunnelAddress"}
    ipam.assign_ip("10.0.0.1", "a", "vxlan-tunnel-addr-a", notes)
    for number, name in ((2, "calico.c1"), (3, "calico.c2")):
        ipam.assign_ip(f"10.0.0.{number}", "a", name, {"node": "a"})
    put_endpoint(calicoctl.store, "a", "c1", "10.0.0.2")
    return calicoctl


def test_show(filled: Calicoctl) -> None:
    assert filled("ipam", "show").out.splitlines() == [
        "+----------+-------------+------------+------------+-------------------+",
        "| GROUPING |    CIDR     | IPS TOTAL  | IPS IN USE |     IPS FREE      |",
        "+----------+-------------+------------+------------+-------------------+",
        "| IP Pool  | 10.0.0.0/24 | 256        | 3 (1%)     | 253 (99%)         |",
        "| IP Pool  | fd00::/48   | 1.2089e+24 | 0 (0%)     | 1.2089e+24 (100%) |",
        "+----------+-------------+------------+------------+-------------------+",
    ]
    assert "| Block    | 10.0.0.0/26 | 64 " in filled("ipam", "show", "--show-blocks").out


def test_show_an_address(filled: Calicoctl) -> None:
    found = filled("ipam", "show", "--ip=10.0.0.1")
    assert found.out == "IP 10.0.0.1 is in use\nAttributes:\n  node: a\n  type: vxlanTunnelAddress\n"
    for free in ("10.0.0.9", "192.0.2.1"):
        assert filled("ipam", "show", f"--ip={free}") == (0, f"{free} is not assigned\n", "")
    wrong = filled("ipam", "show", "--ip=x")
    assert (wrong.code, wrong.out) == (1, "Error executing command: invalid IP address specified: x\n")


def test_show_borrowed(filled: Calicoctl) -> None:
    put_node(filled.store, "b")
    ipam = ipam_of(filled.store)
    ipam.assign_ip("10.0.0.8", "a", "h", {"node": "b", "pod": "p", "namespace": "n"})
    ipam.assign_ip("10.0.0.9", "a")
    out = filled("ipam", "show", "--show-borrowed").out
    assert "| 10.0.0.8 | b              | 10.0.0.0/26 | a           | pod  | n/p          |" in out
    assert out.endswith(
        "Note: found 1 IP allocations without an explicit node association. Unable to determine if they are borrowed.\n"
    )


def test_configuration(filled: Calicoctl) -> None:
    assert "| StrictAffinity     | false |" in filled("ipam", "show", "--show-configuration").out
    rehearsed = filled("ipam", "configure", "--strictaffinity=true", "--dry-run")
    assert (rehearsed.code, rehearsed.out) == (0, "Would set StrictAffinity to: true\n")
    assert not ipam_of(filled.store).config().strict_affinity
    done = filled("ipam", "configure", "--strictaffinity=T")
    assert (done.code, done.out) == (0, "Successfully set StrictAffinity to: true\n")
    assert ipam_of(filled.store).config() == IPAMConfig(True, True)
    wrong = filled("ipam", "configure", "--strictaffinity=maybe")
    assert (wrong.code, wrong.err) == (1, "Invalid value. Use true or false to set strictaffinity\n")


def test_release_an_address(filled: Calicoctl) -> None:
    assert filled("ipam", "release", "--ip=10.0.0.3", "--dry-run").out == "Would have released IP address 10.0.0.3\n"
    assert "10.0.0.3" in allocated(filled.store)
    assert filled("ipam", "release", "--ip=10.0.0.3").out == "Successfully released IP address 10.0.0.3\n"
    again = filled("ipam", "release", "--ip=10.0.0.3")
    assert (again.code, again.err) == (1, "IP address 10.0.0.3 is not assigned\n")


def test_check_explains(filled: Calicoctl) -> None:
    found = filled("ipam", "check")
    assert found.code == 1
    assert "10.0.0.3: leaked: Node(a) has no endpoint with this address, handle calico.c2" in found.out
    assert "3 addresses allocated: 1 endpoint, 1 tunnel, 0 reserved, 1 leaked, 0 unknown" in found.out
    everything = filled("ipam", "check", "--show-all").out
    assert "10.0.0.1: tunnel: Node(a)" in everything
    assert "10.0.0.2: endpoint: WorkloadEndpoint(default/a-cni-c1-eth0)" in everything
    filled("ipam", "release", "--ip=10.0.0.3")
    assert filled("ipam", "check").code == 0


def test_two_reports_free_what_both_found(filled: Calicoctl, tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("first", "second")]
    for path in paths:
        assert filled("ipam", "check", "--output", path).code == 1
    words = [word for path in paths for word in ("--from-report", path)]
    soon = filled("ipam", "release", *words)
    assert (soon.code, soon.err) == (1, "Error: the reports are 0 s apart; 600 s are the least\n")
    early = json.loads(Path(paths[0]).read_text())
    Path(paths[0]).write_text(json.dumps({**early, "taken": early["taken"] - 700}))
    assert filled("ipam", "release", *words, "--dry-run").out == "would release 10.0.0.3\n"
    assert filled("ipam", "release", *words).out == "released 10.0.0.3\n1 released, 0 kept\n"
    assert set(allocated(filled.store)) == {"10.0.0.1", "10.0.0.2"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either --ip or --from-report twice"),
        (("--from-report", "x"), "must be given twice"),
        (("--from-report", "none", "--from-report", "none"), "none: cannot be read"),
        (("--from-report", "bad", "--from-report", "bad"), "bad: not a report"),
    ],
)
def test_a_release_that_is_refused(filled: Calicoctl, words: tuple[str, ...], said: str) -> None:
    Path("bad").write_text("[]")
    result = filled("ipam", "release", *words)
    assert result.code == 1
    assert said in result.err


def test_a_group_by_itself(calicoctl: Calicoctl) -> None:
    assert "    ipam show" in calicoctl("ipam", "--help").out
    assert calicoctl("ipam").code == 1
    assert calicoctl("ipam", "shw").out.startswith('Unknown command: "ipam shw" (did you mean ipam show?)')


# -- node decommission -------------------------------------------------------------------------------------------------


def test_decommission(filled: Calicoctl) -> None:
    put_resource(filled.store, "FelixConfiguration", "node.a", {})
    put_node(filled.store, "b")
    for node in ("a", "b"):
        put(filled.store, Placement(node, "blue").key, b"{}")
    ipam_of(filled.store).auto_assign(Request("b", ipv4=1, handle="calico.b", attributes={"node": "b"}))
    rehearsed = filled("node", "decommission", "a", "--dry-run")
    assert rehearsed.code == 0
    assert "Node(a) would be removed" in rehearsed.out
    assert len(allocated(filled.store)) == 4
    done = filled("node", "decommission", "a")
    assert done.code == 0
    assert done.out.splitlines() == [
        "WorkloadEndpoint(default/a-cni-c1-eth0) removed",
        "address 10.0.0.1 removed",
        "address 10.0.0.2 removed",
        "address 10.0.0.3 removed",
        "claim on 10.0.0.0/26 removed",
        "Node(a) removed",
    ]
    assert [one["handle_id"] for one in allocated(filled.store).values()] == ["calico.b"]
    assert list(documents(filled.store, PLACEMENTS)) == ["b/blue"]
    assert filled("get", "node").out.split() == ["NAME", "b"]
    assert filled("ipam", "check", "--format", "json").code == 1  # b's address has no endpoint
    again = filled("node", "decommission", "a")
    assert (again.code, again.err) == (1, "There is nothing of a node a\n")


def test_decommission_of_what_is_left_of_a_node(filled: Calicoctl) -> None:
    filled.store.commit(
        [],
        [
            __import__("calico.datastore.store", fromlist=["Delete"]).Delete(
                "/calico/resources/v3/projectcalico.org/nodes/a"
            )
        ],
    )
    assert filled("node", "decommission", "a").code == 0
    assert allocated(filled.store) == {}
    assert filled("ipam", "check").code == 0


def test_a_node_that_runs_is_not_cleared(filled: Calicoctl) -> None:
    from calico.node.presence import Presence

    presence = Presence(filled.store, "a")
    presence.step()
    refused = filled("node", "decommission", "a")
    assert refused.code == 1
    assert "a runs: its agent was heard of within the last minute" in refused.err
    presence.stop()
    assert filled("node", "decommission", "a").code == 0


# -- pool migrate ------------------------------------------------------------------------------------------------------


def test_migrate(filled: Calicoctl) -> None:
    first = filled("pool", "migrate", "10.0.0.0/24", "10.9.0.0/24")
    assert first.code == 0
    assert first.out.splitlines()[:5] == [
        "made IPPool(10-9-0-0-24) 10.9.0.0/24",
        "disabled IPPool(first): no new addresses come from it",
        "10.0.0.1: tunnel: Node(a)",
        "10.0.0.2: endpoint: WorkloadEndpoint(default/a-cni-c1-eth0)",
        "10.0.0.3: leaked: Node(a) has no endpoint with this address",
    ]
    assert "10.0.0.0/24 still has 1 addresses of workloads and 2 others" in first.out
    again = filled("pool", "migrate", "first", "10.9.0.0/24", "--format", "json")
    document = json.loads(again.out)
    assert (document["state"], document["steps"], len(document["tenants"])) == ("waiting", [], 3)
    ipam_of(filled.store).release_ips(["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    last = filled("pool", "migrate", "first", "10.9.0.0/24")
    assert last.out == "deleted IPPool(first)\nmigrated from 10.0.0.0/24 to 10.9.0.0/24\n"
    assert filled("pool", "migrate", "10.0.0.0/24", "10.9.0.0/24").out.startswith("migrated")
    pool = filled.client.get("IPPool", "10-9-0-0-24").spec
    assert (pool.cidr, pool.block_size, pool.disabled) == ("10.9.0.0/24", 26, False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("10.0.0.0/24", "10.0.0.0/23", "overlaps"),
        ("10.0.0.0/24", "10.0.0.0/24", "are one pool"),
        ("10.0.0.0/24", "x", "must be a CIDR"),
        ("nothing", "10.9.0.0/24", "there is no IPPool nothing"),
    ],
)
def test_a_migration_that_cannot_begin(filled: Calicoctl, old: str, new: str, said: str) -> None:
    result = filled("pool", "migrate", old, new)
    assert result.code == 1
    assert said in result.err
    assert not filled.client.get("IPPool", "first").spec.disabled


def test_a_rehearsal_changes_nothing(filled: Calicoctl) -> None:
    out = filled("pool", "migrate", "10.0.0.0/24", "10.9.0.0/24", "--dry-run").out
    assert out.startswith("would have made IPPool(10-9-0-0-24)")
    assert len(filled.client.list("IPPool").items) == 2
