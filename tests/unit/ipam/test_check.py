"""`check` explains every allocation and names what does not add up; two reports prove what is unused."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from calico.datastore.memory import MemoryStore
from calico.datastore.store import put, remove
from calico.ipam.assign import Request
from calico.ipam.check import Finding, Report, Use, check
from calico.ipam.errors import IpamError, NotFoundError
from calico.ipam.reports import LEAST_APART, from_document, plan_release, release_leaked, to_document
from calico.ipam.snapshot import take_snapshot
from calico.model.keys import BLOCKS, HANDLES, AffinityKey, BlockKey, HandleKey
from tests.unit.ipam.cluster import (
    allocated,
    assert_consistent,
    documents,
    ipam_of,
    put_endpoint,
    put_node,
    put_resource,
    small_cluster,
)


def look(store: MemoryStore, taken: float = 1000.0) -> Report:
    return check(take_snapshot(store)._replace(taken=taken))


def cluster() -> MemoryStore:
    """One endpoint, two tunnels, and addresses of every other kind."""
    store = small_cluster("a", "b", cidr="10.0.0.0/26", block_size=28)
    ipam = ipam_of(store)
    ipam.assign_ip("10.0.0.1", "a", "calico.c1", {"node": "a"})
    put_endpoint(store, "a", "c1", "10.0.0.1")
    ipam.assign_ip("10.0.0.2", "a", "vxlan-tunnel-addr-a", {"node": "a", "type": "vxlanTunnelAddress"})
    ipam.assign_ip("10.0.0.3", "a", "ipip-tunnel-addr-a", {"node": "a", "type": "ipipTunnelAddress"})
    put_node(store, "a", ipv4VXLANTunnelAddr="10.0.0.2", bgp={"ipv4IPIPTunnelAddr": "10.0.0.3"})
    ipam.assign_ip("10.0.0.4", "a", "calico.gone", {"node": "a"})
    ipam.assign_ip("10.0.0.5", "a", "calico.x", {"node": "lost"})
    ipam.assign_ip("10.0.0.6", "a", "calico.noted-nothing")
    ipam.assign_ip("10.0.0.7", "a")
    ipam.assign_ip("10.0.0.8", "a", "vxlan-tunnel-addr-b", {"node": "b", "type": "vxlanTunnelAddress"})
    ipam.assign_ip("10.0.0.9", "a", "windows-reserved-IPAM-handle")
    put_endpoint(store, "a", "docker", "10.0.0.10")
    ipam.assign_ip("10.0.0.10", "a")
    return store


USES = {
    "10.0.0.1": (Use.ENDPOINT, "WorkloadEndpoint(default/a-cni-c1-eth0)"),
    "10.0.0.2": (Use.TUNNEL, "Node(a)"),
    "10.0.0.3": (Use.TUNNEL, "Node(a)"),
    "10.0.0.4": (Use.LEAKED, "Node(a) has no endpoint with this address"),
    "10.0.0.5": (Use.LEAKED, "Node(lost) does not exist"),
    "10.0.0.6": (Use.LEAKED, "no endpoint has the address of handle calico.noted-nothing"),
    "10.0.0.7": (Use.UNKNOWN, "neither a handle nor notes say who it is for, and no endpoint has it"),
    "10.0.0.8": (Use.LEAKED, "Node(b) has no tunnel with this address"),
    "10.0.0.9": (Use.RESERVED, "reserved by Windows"),
    "10.0.0.10": (Use.ENDPOINT, "WorkloadEndpoint(default/a-cni-docker-eth0)"),
}


def test_every_allocation_is_explained() -> None:
    report = look(cluster())
    assert {one.address: (one.use, one.reason) for one in report.allocations} == USES
    assert not report.findings


def test_check_writes_nothing() -> None:
    store = cluster()
    before = take_snapshot(store)
    check(before)
    assert take_snapshot(store).ipam == before.ipam
    assert take_snapshot(store).revision == before.revision


# -- what does not add up --------------------------------------------------------------------------------------------


def edit(store: MemoryStore, key: str, change: Callable[[Any], Any]) -> None:
    (item,) = store.get(key).items
    put(store, key, json.dumps(change(json.loads(item.value))).encode())


BLOCK = BlockKey("10.0.0.0/28").path
CLAIM = AffinityKey("a", "10.0.0.0/28").path
HANDLE = HandleKey("calico.c1").path


def spoil(store: MemoryStore, kind: str) -> None:
    match kind:
        case "unreadable":
            put(store, HANDLE, b"{")
        case "overlap":
            block = json.loads(store.get(BLOCK).items[0].value)
            small = {**block, "cidr": "10.0.0.4/30", "allocations": [None] * 4, "unallocated": [0, 1, 2, 3]}
            small["affinity"] = "host:b"
            put(store, AffinityKey("b", "10.0.0.4/30").path, b"{}")
            put(store, BlockKey("10.0.0.4/30").path, json.dumps(small).encode())
        case "disorder":
            edit(store, BLOCK, lambda block: {**block, "unallocated": [1]})
        case "no-pool":
            remove(store, "/calico/resources/v3/projectcalico.org/ippools/pool")
        case "no-claim":
            remove(store, CLAIM)
        case "empty":
            text = {"cidr": "10.0.0.16/28", "affinity": None, "allocations": [None] * 16, "unallocated": [*range(16)]}
            put(store, BlockKey("10.0.0.16/28").path, json.dumps(text).encode())
        case "no-node":
            remove(store, "/calico/resources/v3/projectcalico.org/nodes/a")
        case "no-block":
            put(store, AffinityKey("a", "10.0.0.32/28").path, b'{"state":"pending"}')
        case "stale-claim":
            put(store, AffinityKey("b", "10.0.0.0/28").path, b'{"state":"confirmed"}')
        case "unconfirmed":
            put(store, CLAIM, b'{"state":"pendingDeletion"}')
        case "no-handle":
            remove(store, HANDLE)
        case "handle":
            edit(store, HANDLE, lambda handle: {"block": {"10.0.0.0/28": 2, "10.0.0.16/28": 1}})
        case "twice":
            put_endpoint(store, "b", "c2", "10.0.0.1")
        case "not-allocated":
            put_endpoint(store, "b", "c3", "10.0.0.40")
        case _:
            raise AssertionError(kind)


FINDINGS = {
    "unreadable": (HANDLE, "not JSON"),
    "overlap": (BlockKey("10.0.0.4/30").path, "overlaps the block 10.0.0.0/28"),
    "disorder": (BLOCK, "10.0.0.1 is listed free though it is in use"),
    "no-pool": (BLOCK, "is of no IPPool"),
    "no-claim": (BLOCK, "belongs to a, which has no claim on it"),
    "empty": (BlockKey("10.0.0.16/28").path, "neither used nor owned"),
    "no-node": (BLOCK, "Node(a) does not exist"),
    "no-block": (AffinityKey("a", "10.0.0.32/28").path, "claims a block that does not exist"),
    "stale-claim": (AffinityKey("b", "10.0.0.0/28").path, "claims a block of a"),
    "unconfirmed": (CLAIM, "is pendingDeletion"),
    "no-handle": (HANDLE, "is missing; 1 in 10.0.0.0/28 name it"),
    "handle": (HANDLE, "says 2 in 10.0.0.0/28, 1 in 10.0.0.16/28; the blocks say 1 in 10.0.0.0/28"),
    "twice": (
        "10.0.0.1",
        "is used by WorkloadEndpoint(default/a-cni-c1-eth0), WorkloadEndpoint(default/b-cni-c2-eth0)",
    ),
    "not-allocated": ("10.0.0.40", "and not allocated"),
}


@pytest.mark.parametrize("kind", FINDINGS)
def test_what_does_not_add_up_is_named(kind: str) -> None:
    store = cluster()
    spoil(store, kind)
    where, message = FINDINGS[kind]
    found = [one for one in look(store).findings if one.kind == kind]
    assert any(one.where == where and message in one.message for one in found), found


def test_a_broken_block_hides_nothing_else() -> None:
    store = cluster()
    put(store, BlockKey("10.0.0.16/28").path, b"[]")
    assert {one.address for one in look(store).allocations} == set(USES)


@pytest.mark.parametrize("key", ["ippools/pool", "nodes/b", "workloadendpoints/default/a-cni-c1-eth0"])
def test_resources_that_cannot_be_read_are_named(key: str) -> None:
    store = cluster()
    put(store, f"/calico/resources/v3/projectcalico.org/{key}", b"{}")
    found = [one for one in look(store).findings if one.kind == "unreadable"]
    assert [one.where for one in found] == [f"/calico/resources/v3/projectcalico.org/{key}"]


# -- two reports -----------------------------------------------------------------------------------------------------


def test_two_reports_free_what_both_found_leaked_and_nothing_else() -> None:
    store = cluster()
    first = look(store)
    ipam_of(store).assign_ip("10.0.0.11", "a", "calico.late", {"node": "a"})  # leaked in the second only
    second = look(store, 1000.0 + LEAST_APART)
    released = release_leaked(ipam_of(store), first, second)
    assert set(released.addresses) == {"10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.8"}
    assert not released.kept
    assert set(allocated(store)) == {*USES, "10.0.0.11"} - set(released.addresses)
    assert_consistent(store)


def test_an_address_that_changed_hands_between_the_reports_is_kept() -> None:
    store = cluster()
    first = look(store)
    ipam_of(store).release_ips(["10.0.0.4"])
    ipam_of(store).assign_ip("10.0.0.4", "a", "calico.next", {"node": "a"})
    plan = plan_release(first, look(store, 5000.0))
    assert "10.0.0.4" not in {claim.address for claim in plan.claims}


def test_an_address_that_came_into_use_after_the_reports_is_kept() -> None:
    store = cluster()
    first, second = look(store), look(store, 5000.0)
    put_endpoint(store, "a", "gone", "10.0.0.4")
    ipam_of(store).release_ips(["10.0.0.5"])
    ipam_of(store).assign_ip("10.0.0.5", "b", "calico.other", {"node": "b"})
    released = release_leaked(ipam_of(store), first, second)
    assert set(released.kept) == {"10.0.0.4", "10.0.0.5"}
    assert {"10.0.0.4", "10.0.0.5"} <= set(allocated(store))


def test_handles_both_reports_found_wrong_are_put_right() -> None:
    store = cluster()
    for kind in ("handle", "no-handle"):
        spoil(store, kind)
        put(store, HandleKey("orphan").path, b'{"block":{"10.0.0.16/28":1}}')
        first, second = look(store), look(store, 5000.0)
        released = release_leaked(ipam_of(store), first, second)
        assert set(released.handles) == {HANDLE, HandleKey("orphan").path}
        assert documents(store, HANDLES)["calico.c1"] == {"block": {"10.0.0.0/28": 1}, "deleted": False}
        assert "orphan" not in documents(store, HANDLES)


def _changed(**changes: Any) -> Callable[[Report], Report]:
    return lambda report: report._replace(**changes)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_changed(cluster="other"), "of two clusters"),
        (_changed(taken=1000.0 + LEAST_APART - 1), "s apart; 600 s are the least"),
        (_changed(taken=9999.0, revision=1), "the datastore was restored"),
    ],
)
def test_reports_that_prove_nothing_are_refused(change: Callable[[Report], Report], why: str) -> None:
    store = cluster()
    with pytest.raises(IpamError, match=why):
        plan_release(look(store), change(look(store)))


def test_reports_of_a_state_that_was_rolled_back_are_refused() -> None:
    store = cluster()
    late = look(store, 9000.0)._replace(revision=10**9)
    with pytest.raises(IpamError, match="restored"):
        release_leaked(ipam_of(store), look(store), late)


def test_a_report_survives_json() -> None:
    store = cluster()
    put_resource(store, "ClusterInformation", "default", {"clusterGUID": "c0ffee"})
    spoil(store, "stale-claim")
    report = look(store)
    again = from_document(json.loads(json.dumps(to_document(report))))
    assert again == report
    assert again.cluster == "c0ffee"
    assert isinstance(again.findings[0], Finding)


@pytest.mark.parametrize("document", [None, [], {}, {"format": "x"}, {"format": "dcos-calico/ipam-check/1"}])
def test_what_is_no_report(document: Any) -> None:
    with pytest.raises(IpamError, match="not a report"):
        from_document(document)


# -- release and looking up ------------------------------------------------------------------------------------------


def test_release_says_what_was_free() -> None:
    store = cluster()
    assert ipam_of(store).release_ips(["10.0.0.4", "10.0.0.4", "10.0.0.12", "10.0.0.60", "192.0.2.1"]) == (
        "10.0.0.12",
        "10.0.0.60",
        "192.0.2.1",
    )
    assert_consistent(store)


def test_two_addresses_of_one_handle_released_at_once_leave_no_handle() -> None:
    store = small_cluster("a")
    given = ipam_of(store).auto_assign(Request("a", ipv4=2, handle="h")).ipv4
    assert not ipam_of(store).release_ips([one.address for one in given])
    assert not documents(store, HANDLES)


def test_many_handles_in_one_call() -> None:
    store = small_cluster("a", cidr="10.0.0.0/24", block_size=24)
    given = [ipam_of(store).auto_assign(Request("a", ipv4=1, handle=f"h{n}")).ipv4[0].address for n in range(200)]
    assert not ipam_of(store).release_ips(given)
    assert not documents(store, HANDLES)
    assert not allocated(store)


def test_a_handle_that_names_a_block_that_is_gone_goes_too() -> None:
    store = cluster()
    spoil(store, "handle")
    assert ipam_of(store).release_handle("calico.c1") == ("10.0.0.1",)
    assert "calico.c1" not in documents(store, HANDLES)
    with pytest.raises(NotFoundError, match=r"calico\.c1"):
        ipam_of(store).release_handle("calico.c1")


def test_addresses_of_a_pool_that_is_gone_can_be_released() -> None:
    store = cluster()
    spoil(store, "no-pool")
    assert not ipam_of(store).release_ips(["10.0.0.7"])


def test_an_unowned_block_goes_with_its_last_address() -> None:
    store = cluster()
    ipam_of(store).release_host_affinities("a")
    assert documents(store, BLOCKS)["ipv4/block/10.0.0.0-28"]["affinity"] is None
    ipam_of(store).release_ips(USES)
    assert not documents(store, BLOCKS)


def test_who_holds_an_address() -> None:
    ipam = ipam_of(cluster())
    assert ipam.holder_of("10.0.0.4") == ("calico.gone", {"node": "a"})
    assert ipam.holder_of("10.0.0.7") == (None, None)
    assert [one.address for one in ipam.held_by("calico.c1")] == ["10.0.0.1"]
    for address, why in (("10.0.0.13", "is not assigned"), ("10.0.0.50", "is not assigned"), ("192.0.2.1", "No valid")):
        with pytest.raises(NotFoundError, match=why):
            ipam.holder_of(address)
    with pytest.raises(NotFoundError, match=r"calico\.nobody"):
        ipam.held_by("calico.nobody")


def test_an_address_of_another_cni_plugin_is_left_alone() -> None:
    """It has no endpoint to be found by, ever."""
    store = small_cluster("a")
    notes = {"node": "a", "plugin": "bridge"}
    ipam_of(store).auto_assign(Request("a", ipv4=1, handle="other.c1", attributes=notes))
    (found,) = check(take_snapshot(store)).allocations
    assert (found.use, found.reason) == (Use.UNKNOWN, "given to the CNI plugin bridge, which writes no endpoint")
