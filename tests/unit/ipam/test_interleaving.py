"""Several hosts at once, every order of their datastore calls, deaths and lost answers at any of them.

At every moment blocks, handles and claims agree and nobody's address is another's; at the end `check` names every
address that was lost, and releasing what it names leaves nothing behind.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from calico.datastore.errors import DatastoreError, IndeterminateError
from calico.datastore.memory import MemoryStore
from calico.datastore.store import put, remove
from calico.ipam.assign import Assigned, Assignment, Request
from calico.ipam.check import Use, check
from calico.ipam.errors import IpamError, NotFoundError
from calico.ipam.release import Claim
from calico.ipam.snapshot import take_snapshot
from calico.model.ipam import AllocationAttribute, IPAMConfig
from calico.model.keys import BLOCKS, AffinityKey, BlockKey, HandleKey, ResourceKey
from calico.model.keys import HOSTS as CLAIMS
from tests.unit.ipam.actors import Actor, Crash, Fate, GatedStore
from tests.unit.ipam.cluster import (
    allocated,
    assert_consistent,
    documents,
    ipam_of,
    put_endpoint,
    put_node,
    put_pool,
    small_cluster,
)

_SOAK = bool(os.environ.get("DCOS_CALICO_SOAK"))
HOSTS = ("a", "b", "c")
Doing = tuple[Actor, str | None]


class Cluster(RuleBasedStateMachine):
    """Three hosts on eight blocks of four addresses, sixteen of which fit in the pool."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.held: dict[str, str | None] = {}
        self.doing: list[Doing] = []
        self.count = 0

    @initialize(strict=st.booleans())
    def begin(self, strict: bool) -> None:
        self.store = small_cluster(*HOSTS, cidr="10.0.0.0/27", block_size=30)
        ipam_of(self.store).set_config(IPAMConfig(strict, True))

    def start(self, operation: Callable[[GatedStore, int], Any], handle: str | None = None) -> None:
        self.count += 1
        seed = self.count
        self.doing.append((Actor(self.store, lambda store: operation(store, seed)), handle))
        self.settle()

    @precondition(lambda self: len(self.doing) < 4)
    @rule(host=st.sampled_from(HOSTS), count=st.integers(1, 6), named=st.booleans())
    def assign(self, host: str, count: int, named: bool) -> None:
        handle = f"handle-{self.count}" if named else None
        notes = {"node": host} if named else None
        request = Request(host, ipv4=count, handle=handle, attributes=notes)
        self.start(lambda store, seed: ipam_of(store, seed).auto_assign(request), handle)

    @precondition(lambda self: len(self.doing) < 4)
    @rule(host=st.sampled_from(HOSTS), last=st.integers(0, 31))
    def assign_one(self, host: str, last: int) -> None:
        handle = f"handle-{self.count}"
        address = f"10.0.0.{last}"
        self.start(lambda store, seed: ipam_of(store, seed).assign_ip(address, host, handle, {"node": host}), handle)

    @precondition(lambda self: self.held and len(self.doing) < 4)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        addresses = data.draw(st.lists(st.sampled_from(sorted(self.held)), min_size=1, max_size=4, unique=True))
        for address in addresses:
            del self.held[address]
        self.start(lambda store, seed: ipam_of(store, seed).release_ips(addresses))

    @precondition(lambda self: any(self.held.values()) and len(self.doing) < 4)
    @rule(data=st.data())
    def release_handle(self, data: st.DataObject) -> None:
        handle = data.draw(st.sampled_from(sorted({one for one in self.held.values() if one})))
        self.held = {address: holder for address, holder in self.held.items() if holder != handle}
        self.start(lambda store, seed: ipam_of(store, seed).release_handle(handle))

    @precondition(lambda self: len(self.doing) < 4)
    @rule(host=st.sampled_from(HOSTS))
    def release_host(self, host: str) -> None:
        self.start(lambda store, seed: ipam_of(store, seed).release_host_affinities(host))

    @precondition(lambda self: len(self.doing) < 4)
    @rule()
    def release_pool(self) -> None:
        self.start(lambda store, seed: ipam_of(store, seed).release_pool("10.0.0.0/27"))

    @rule(disabled=st.booleans())
    def change_pool(self, disabled: bool) -> None:
        put_pool(self.store, "pool", "10.0.0.0/27", blockSize=30, disabled=disabled, nodeSelector="!has(away)")

    @rule(host=st.sampled_from(HOSTS), away=st.booleans())
    def change_node(self, host: str, away: bool) -> None:
        put_node(self.store, host, {"away": ""} if away else {})

    @precondition(lambda self: self.doing)
    @rule(turns=st.lists(st.integers(0, 3), min_size=1, max_size=12))
    def go_on(self, turns: list[int]) -> None:
        for turn in turns:
            if self.doing:
                self.doing[turn % len(self.doing)][0].step()
                self.settle()

    @precondition(lambda self: self.doing)
    @rule(turn=st.integers(0, 3), fate=st.sampled_from([fate for fate in Fate if fate is not Fate.DONE]))
    def disturb(self, turn: int, fate: Fate) -> None:
        self.doing[turn % len(self.doing)][0].step(fate)
        self.settle()

    def settle(self) -> None:
        """Note what operations that have ended gave out."""
        for doing in [one for one in self.doing if one[0].finished]:
            self.doing.remove(doing)
            actor, handle = doing
            if actor.error is not None and not isinstance(actor.error, Crash | DatastoreError | IpamError):
                raise actor.error
            for one in _given(actor.result):
                assert one.address not in self.held, f"{one.address} was given out twice"
                self.held[one.address] = handle

    @invariant()
    def everybody_has_what_was_given(self) -> None:
        found = allocated(self.store)
        for address, handle in self.held.items():
            assert address in found, f"{address} was taken from {handle}"
            assert found[address]["handle_id"] == handle

    @invariant()
    def the_datastore_agrees_with_itself(self) -> None:
        assert_consistent(self.store)

    def teardown(self) -> None:
        while self.doing:
            self.doing[0][0].run()
            self.settle()
        self.everybody_has_what_was_given()
        for number, address in enumerate(self.held):
            put_endpoint(self.store, "a", f"c{number}", address)
        report = check(take_snapshot(self.store))
        assert {one.address for one in report.of(Use.ENDPOINT)} == set(self.held)
        lost = report.of(Use.LEAKED, Use.UNKNOWN)
        assert {one.address for one in lost} | set(self.held) == set(allocated(self.store))
        assert not ipam_of(self.store).release_claims([Claim(one.address, one.holder) for one in lost])
        assert set(allocated(self.store)) == set(self.held)
        assert_consistent(self.store)


def _given(result: Any) -> tuple[Assigned, ...]:
    if isinstance(result, Assignment):
        return result.ipv4
    return (result,) if isinstance(result, Assigned) else ()


Cluster.TestCase.settings = settings(
    max_examples=1500 if _SOAK else 60,
    stateful_step_count=60 if _SOAK else 30,
    deadline=None,
    derandomize=not _SOAK,
    suppress_health_check=list(HealthCheck),
)
TestInterleaving = pytest.mark.timeout(6000 if _SOAK else 120)(Cluster.TestCase)


def _two_blocks(store: MemoryStore) -> Any:
    return ipam_of(store).auto_assign(Request("a", ipv4=6, handle="new", attributes={"node": "a"}))


OPERATIONS: dict[str, Callable[[MemoryStore], Any]] = {
    "assign over two blocks": _two_blocks,
    "assign one": lambda store: ipam_of(store).assign_ip("10.0.0.30", "b", "new", {"node": "b"}),
    "release addresses": lambda store: ipam_of(store).release_ips(["10.0.0.1", "10.0.0.9"]),
    "release a handle": lambda store: ipam_of(store).release_handle("old"),
    "release a host": lambda store: ipam_of(store).release_host_affinities("a"),
    "release a pool": lambda store: ipam_of(store).release_pool("10.0.0.0/27"),
}

EXPECTED_AFTER: dict[str, Callable[[MemoryStore], bool]] = {
    "release addresses": lambda store: not allocated(store),
    "release a handle": lambda store: not allocated(store),
    "release a host": lambda store: not documents(store, CLAIMS) and len(allocated(store)) == 2,
    "release a pool": lambda store: not documents(store, CLAIMS) and len(allocated(store)) == 2,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("fate", [fate for fate in Fate if fate is not Fate.DONE])
def test_every_call_of_an_operation_may_be_its_last(name: str, fate: Fate) -> None:
    for calls in range(100):
        store = small_cluster("a", "b", cidr="10.0.0.0/27", block_size=30)
        for address in ("10.0.0.1", "10.0.0.9"):
            ipam_of(store).assign_ip(address, "a", "old", {"node": "a"})
        script = [*[Fate.DONE] * calls, fate]
        disturbed = False

        def gate(script: list[Fate] = script) -> Fate:
            nonlocal disturbed
            now = script.pop(0) if script else Fate.DONE
            disturbed = disturbed or now is not Fate.DONE
            return now

        result = None
        with contextlib.suppress(Crash, DatastoreError):
            result = OPERATIONS[name](GatedStore(store, gate))
        assert_consistent(store)
        given = {one.address for one in _given(result)}
        new = {address for address, holder in allocated(store).items() if holder["handle_id"] == "new"}
        assert given <= new
        lost = {one.address for one in check(take_snapshot(store)).of(Use.LEAKED)}
        assert new <= lost  # nothing has an endpoint here: all is named
        if name.startswith("release"):
            with contextlib.suppress(NotFoundError):  # the handle went before the death
                OPERATIONS[name](store)
            assert_consistent(store)
            assert EXPECTED_AFTER[name](store), "done again, it is not done"
        if not disturbed:
            assert calls > 2
            return
    pytest.fail(f"{name} did not end in 100 datastore calls")


@pytest.mark.parametrize("calls", range(30))
def test_whatever_changes_during_an_allocation_it_is_decided_anew(calls: int) -> None:
    """A host that would borrow meets strict affinity being turned on, and a pool being disabled, before every call."""
    for change in ("strict", "disabled", "no node"):
        store = small_cluster("a", "b", cidr="10.0.0.0/30", block_size=30)
        ipam_of(store).auto_assign(Request("a", ipv4=1, handle="old"))
        actor = Actor(store, lambda store: ipam_of(store).auto_assign(Request("b", ipv4=1, handle="new")))
        for _ in range(calls):
            if not actor.finished:
                actor.step()
        early = actor.finished
        if change == "strict":
            ipam_of(store).set_config(IPAMConfig(True, True))
        elif change == "disabled":
            put_pool(store, "pool", "10.0.0.0/30", blockSize=30, disabled=True)
        else:
            remove(store, ResourceKey("Node", "b").path)
        actor.run()
        given = _given(actor.result)
        assert len(given) == (1 if early else 0)
        assert len(allocated(store)) == 1 + len(given)
        assert_consistent(store)


@pytest.mark.parametrize("steps", range(8))
def test_a_release_that_is_overtaken_leaves_the_new_holder_alone(steps: int) -> None:
    store = small_cluster("a")
    ipam = ipam_of(store)
    ipam.assign_ip("10.0.0.1", "a", "old")
    slow = Actor(store, lambda store: ipam_of(store).release_ips(["10.0.0.1"]))
    for _ in range(steps):
        if not slow.finished:
            slow.step()
    seen = steps >= 2  # the pools and the block are read
    ipam.release_ips(["10.0.0.1"])
    ipam.assign_ip("10.0.0.1", "a", "new")
    slow.run()
    assert slow.error is None
    assert ("10.0.0.1" in allocated(store)) == seen
    assert_consistent(store)


def _lose_the_first_write(store: MemoryStore) -> GatedStore:
    """A store on which the first write is done and its answer lost."""
    gated = GatedStore(
        store, lambda: Fate.LOST_AFTER if store.get("/calico/writes").revision == revision else Fate.DONE
    )
    revision = store.get("/calico/writes").revision
    return gated


def test_a_release_whose_answer_is_lost_is_done_again_only_where_that_harms_nobody() -> None:
    store = small_cluster("a")
    ipam_of(store).assign_ip("10.0.0.1", "a", "h", {"node": "a"})
    ipam_of(store).assign_ip("10.0.0.2", "a", "h", {"node": "a"})
    ipam_of(store).assign_ip("10.0.0.3", "a")
    holder = ipam_of(store).holder_of("10.0.0.1")
    with pytest.raises(IndeterminateError):
        ipam_of(_lose_the_first_write(store)).release_ips(["10.0.0.1"])
    assert ipam_of(_lose_the_first_write(store)).release_claims([Claim("10.0.0.2", holder)]) == ()
    with pytest.raises(IndeterminateError):
        ipam_of(_lose_the_first_write(store)).release_claims([Claim("10.0.0.3", AllocationAttribute())])
    assert not allocated(store)
    ipam_of(store).assign_ip("10.0.0.4", "a", "h")
    assert ipam_of(_lose_the_first_write(store)).release_handle("h") == ("10.0.0.4",)


def test_addresses_of_a_lost_answer_go_with_their_handle() -> None:
    store = small_cluster("a")
    with pytest.raises(IndeterminateError):
        ipam_of(_lose_the_first_write(store)).auto_assign(Request("a", ipv4=2, handle="h"))
    assert len(allocated(store)) == 2
    assert len(ipam_of(store).release_handle("h")) == 2
    assert_consistent(store)


RELEASES: dict[str, Callable[[MemoryStore], Any]] = {
    "claim": lambda store: ipam_of(store).release_affinity("a", "10.0.0.0/29"),
    "handle": lambda store: ipam_of(store).release_handle("h"),
}


@pytest.mark.parametrize("steps", range(6))
def test_a_block_that_another_writer_makes_meanwhile_is_not_overlooked(steps: int) -> None:
    """v3.14 writes claim, handle and block one after the other: the block may come between our reading and writing."""
    for operation, release in RELEASES.items():
        done = small_cluster("a", cidr="10.0.0.0/29")
        ipam_of(done).auto_assign(Request("a", ipv4=1, handle="h"))
        (block,) = done.get(BlockKey("10.0.0.0/29").path).items
        store = small_cluster("a", cidr="10.0.0.0/29")
        put(store, AffinityKey("a", "10.0.0.0/29").path, b'{"state":"pending","deleted":false}')
        put(store, HandleKey("h").path, b'{"block":{"10.0.0.0/29":1},"deleted":false}')
        actor = Actor(store, release)
        for _ in range(steps):
            if not actor.finished:
                actor.step()
        if actor.finished:
            assert steps > 1
            continue
        put(store, block.key, block.value)
        actor.run()
        assert actor.error is None
        if operation == "handle":
            assert not allocated(store)
        else:
            assert documents(store, BLOCKS)["ipv4/block/10.0.0.0-29"]["affinity"] is None
