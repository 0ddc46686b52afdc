"""What the deletion of a pool or a node does to its addresses, with the client and IPAM together."""

import contextlib

import pytest

from calico.client.errors import NotFoundError
from calico.client.resources import Client
from calico.ipam.assign import Request
from calico.ipam.check import Use, check
from calico.ipam.snapshot import take_snapshot
from calico.model.keys import BLOCKS, HOSTS
from tests.unit.ipam.actors import Crash, Fate, GatedStore
from tests.unit.ipam.cluster import allocated, assert_consistent, documents, ipam_of, put_endpoint, small_cluster


def test_deleting_a_pool_gives_up_its_blocks_and_keeps_addresses_in_use() -> None:
    store = small_cluster("a", "b")
    ipam = ipam_of(store)
    (used,) = ipam.auto_assign(Request("a", ipv4=1, handle="h")).ipv4
    (freed,) = ipam.auto_assign(Request("b", ipv4=1, handle="i")).ipv4
    ipam.release_ips([freed.address])
    Client(store, ipam).delete("IPPool", "pool")
    assert not documents(store, HOSTS)
    assert [block["cidr"] for block in documents(store, BLOCKS).values()] == [used.block]
    ipam.release_handle("h")
    assert not documents(store, BLOCKS)


@pytest.mark.parametrize("fate", [Fate.CRASH_BEFORE, Fate.CRASH_AFTER])
def test_a_node_deleted_in_spite_of_interruptions_leaves_nothing(fate: Fate) -> None:
    for calls in range(200):
        store = small_cluster("a", "b")
        ipam_of(store).assign_ip("10.0.0.1", "a", "calico.c1", {"node": "a"})
        put_endpoint(store, "a", "c1", "10.0.0.1")
        ipam_of(store).assign_ip("10.0.0.9", "b", "calico.c2", {"node": "b"})
        left = [*[Fate.DONE] * calls, fate]

        def gate(left: list[Fate] = left) -> Fate:
            return left.pop(0) if left else Fate.DONE

        gated = GatedStore(store, gate)
        with contextlib.suppress(Crash):
            Client(gated, ipam_of(gated)).delete("Node", "a")
        assert_consistent(store)
        assert not check(take_snapshot(store)).of(Use.UNKNOWN)
        with contextlib.suppress(NotFoundError):
            Client(store, ipam_of(store)).delete("Node", "a")
        assert set(allocated(store)) == {"10.0.0.9"}
        assert {key.partition("/")[0] for key in documents(store, HOSTS)} == {"b"}
        assert not check(take_snapshot(store)).findings
        if left:
            assert calls > 5
            return
    pytest.fail("the deletion did not end in 200 datastore calls")
