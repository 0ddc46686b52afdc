"""Which addresses are given out, in which order, by which rule; and what is said when none is."""

import random
from collections.abc import Sequence
from ipaddress import IPv4Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.datastore.memory import MemoryStore
from calico.datastore.store import Guard, Listing, Operation, Outcome, Put, put
from calico.ipam.assign import Request
from calico.ipam.errors import AffinityError, AlreadyAllocatedError, ContentionError, IpamError, NotFoundError
from calico.ipam.inventory import CachedInventory, Pool, StoredInventory
from calico.ipam.space import Space, block_count, start_of
from calico.model.ipam import IPAMConfig
from calico.model.keys import BLOCKS, HOSTS, AffinityKey, BlockKey
from tests.unit.ipam.cluster import (
    allocated,
    assert_consistent,
    documents,
    ipam_of,
    put_node,
    put_pool,
    small_cluster,
)


def addresses(store: MemoryStore, host: str, count: int = 1, **options: object) -> list[str]:
    answer = ipam_of(store).auto_assign(Request(host, ipv4=count, handle="h", **options))  # type: ignore[arg-type]
    return [one.address for one in answer.ipv4]


def test_a_host_fills_its_block_before_it_takes_another() -> None:
    store = small_cluster("a", "b")
    first = addresses(store, "a", 8)
    assert len(documents(store, BLOCKS)) == 1
    addresses(store, "a")
    assert len(documents(store, BLOCKS)) == 2
    assert not set(addresses(store, "b", 4)) & set(first)
    assert len(documents(store, HOSTS)) == 3
    assert_consistent(store)


def test_the_address_that_was_free_longest_comes_next() -> None:
    store = small_cluster("a")
    first = addresses(store, "a")[0]
    ipam_of(store).release_ips([first])
    given = [addresses(store, "a")[0] for _ in range(8)]
    assert given[-1] == first


def test_exactly_as_many_as_asked_for_from_several_blocks() -> None:
    store = small_cluster("a")
    addresses(store, "a", 8)
    addresses(store, "a", 8)
    for one in list(allocated(store))[::3]:
        ipam_of(store).release_ips([one])
    assert len(addresses(store, "a", 5)) == 5
    assert_consistent(store)


def test_the_handle_counts_what_was_given_not_what_was_asked() -> None:
    store = small_cluster("a", cidr="10.0.0.0/29")
    answer = ipam_of(store).auto_assign(Request("a", ipv4=20, handle="h"))
    assert len(answer.ipv4) == 8
    assert_consistent(store)


def test_a_host_comes_back_to_its_own_place() -> None:
    def block() -> str:
        store = small_cluster("node-7", cidr="10.0.0.0/16", block_size=26)
        return ipam_of(store, seed=random.getrandbits(30)).auto_assign(Request("node-7", ipv4=1)).ipv4[0].block

    assert len({block() for _ in range(3)}) == 1


def test_a_handle_in_use_does_not_cost_a_host_its_place() -> None:
    fresh, used = (small_cluster("a", cidr="10.0.0.0/16", block_size=26) for _ in range(2))
    put_pool(used, "other", "10.9.0.0/26")
    ipam_of(used).assign_ip("10.9.0.1", "a", "h")
    pools = ("10.0.0.0/16",)
    assert addresses(fresh, "a", ipv4_pools=pools) == addresses(used, "a", ipv4_pools=pools)


def test_hosts_begin_apart() -> None:
    store = small_cluster(cidr="10.0.0.0/16", block_size=26)
    pool = ipam_of(store).context.inventory.pools()[0]
    assert block_count(pool) == 1024
    starts = {start_of(pool, f"10.0.3.{number}", random.Random(0)) for number in range(100)}
    assert len(starts) > 80


# -- pools -------------------------------------------------------------------------------------------------------------


def two_pools() -> MemoryStore:
    store = MemoryStore()
    put_pool(store, "east", "10.1.0.0/26", blockSize=29, nodeSelector="zone == 'east'")
    put_pool(store, "west", "10.2.0.0/26", blockSize=29, nodeSelector="zone == 'west'")
    put_node(store, "a", {"zone": "east"})
    put_node(store, "b", {"zone": "west"})
    put_node(store, "c")
    return store


def test_node_selectors_choose_the_pool() -> None:
    store = two_pools()
    assert addresses(store, "a")[0].startswith("10.1.")
    assert addresses(store, "b")[0].startswith("10.2.")
    with pytest.raises(NotFoundError, match="no configured Calico pools for node c"):
        addresses(store, "c")


def test_requested_pools_override_selectors_in_their_order() -> None:
    store = two_pools()
    assert addresses(store, "a", ipv4_pools=("10.2.0.0/26", "10.1.0.0/26"))[0].startswith("10.2.")
    assert addresses(store, "c", ipv4_pools=("10.1.0.0/26",))[0].startswith("10.1.")


@pytest.mark.parametrize("requested", ["10.3.0.0/26", "10.1.0.0/27", "nonsense"])
def test_a_requested_pool_that_is_not_there(requested: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        addresses(two_pools(), "a", ipv4_pools=(requested,))
    assert str(caught.value) == f"the given pool ({requested}) does not exist, or is not enabled"


def test_a_disabled_pool_gives_nothing() -> None:
    store = small_cluster("a")
    addresses(store, "a")
    put_pool(store, "pool", "10.0.0.0/26", blockSize=29, disabled=True)
    with pytest.raises(NotFoundError, match="no configured Calico pools"):
        addresses(store, "a")
    with pytest.raises(NotFoundError, match="does not exist, or is not enabled"):
        addresses(store, "a", ipv4_pools=("10.0.0.0/26",))
    with pytest.raises(NotFoundError, match="is not in a configured pool"):
        ipam_of(store).assign_ip("10.0.0.9", "a")


def test_a_pool_of_the_wrong_family_is_refused_before_anything_is_written() -> None:
    store = small_cluster("a")
    with pytest.raises(IpamError, match="provided IPv4 IPPools list contains one or more IPv6 IPPools"):
        addresses(store, "a", ipv4_pools=("fd00::/120",))
    with pytest.raises(IpamError, match="provided IPv6 IPPools list contains one or more IPv4 IPPools"):
        ipam_of(store).auto_assign(Request("a", ipv4=1, ipv6=1, ipv6_pools=("10.0.0.0/26",)))
    assert not allocated(store)


def test_what_was_taken_is_given_back_when_the_other_family_has_no_pool() -> None:
    store = small_cluster("a")
    with pytest.raises(NotFoundError, match="no configured Calico pools for node a"):
        ipam_of(store).auto_assign(Request("a", ipv4=2, ipv6=1, handle="h"))
    assert not allocated(store)
    assert_consistent(store)


def test_an_empty_block_of_a_pool_that_no_longer_selects_the_node_is_given_up() -> None:
    store = two_pools()
    kept = addresses(store, "a")[0]
    addresses(store, "a", 8)
    ipam_of(store).release_ips([one for one in allocated(store) if one != kept])
    put_node(store, "a", {"zone": "west"})
    addresses(store, "a")
    blocks = {block["cidr"]: block["affinity"] for block in documents(store, BLOCKS).values()}
    assert sum(cidr.startswith("10.1.") for cidr in blocks) == 1, "the one in use stays"
    assert_consistent(store)


def test_releasing_the_last_address_gives_up_such_a_block_too() -> None:
    store = two_pools()
    only = addresses(store, "a")
    put_node(store, "a", {"zone": "west"})
    ipam_of(store).release_ips(only)
    assert not documents(store, BLOCKS)
    assert not documents(store, HOSTS)


def test_an_unknown_node() -> None:
    with pytest.raises(NotFoundError, match=r"Node\(z\)"):
        addresses(small_cluster("a"), "z")


# -- configuration and limits ------------------------------------------------------------------------------------------


def test_borrowing_when_nothing_is_left_and_not_under_strict_affinity() -> None:
    store = small_cluster("a", "b", cidr="10.0.0.0/28")
    addresses(store, "a", 9)
    assert len(addresses(store, "b", 3)) == 3
    answer = ipam_of(store).auto_assign(Request("b", ipv4=9, handle="h"))
    assert len(answer.ipv4) == 4
    assert "IPv4: 4 of 9 addresses: every address of pool (10.0.0.0/28) is in use" in answer.shortages[0]
    assert "add an IPPool" in answer.shortages[0]
    ipam_of(store).release_ips(list(allocated(store)))
    ipam_of(store).set_config(IPAMConfig(True, True))
    answer = ipam_of(store).auto_assign(Request("b", ipv4=1, handle="h"))
    assert not answer.ipv4
    assert "StrictAffinity" in answer.shortages[0]


def test_without_automatic_blocks_a_host_has_only_its_own() -> None:
    store = small_cluster("a", "b")
    addresses(store, "a", 2)
    ipam_of(store).set_config(IPAMConfig(True, False))
    assert len(addresses(store, "a", 20)) == 6
    answer = ipam_of(store).auto_assign(Request("b", ipv4=1))
    assert not answer.ipv4
    assert "AutoAllocateBlocks is off" in answer.shortages[0]


def test_both_off_is_refused() -> None:
    with pytest.raises(IpamError, match="Cannot disable 'StrictAffinity' and 'AutoAllocateBlocks' at the same time"):
        ipam_of(small_cluster()).set_config(IPAMConfig(False, False))


def test_the_limit_of_blocks_per_host() -> None:
    store = small_cluster("a")
    answer = ipam_of(store).auto_assign(Request("a", ipv4=20, handle="h", max_blocks_per_host=2))
    assert len(answer.ipv4) == 16
    assert "cannot allocate new block due to per host block limit" in answer.shortages[0]


def test_blocks_of_another_size_are_not_overlapped() -> None:
    store = small_cluster("a", cidr="10.0.0.0/27")
    addresses(store, "a", 24)
    left = {"10.0.0.0/29", "10.0.0.8/29", "10.0.0.16/29", "10.0.0.24/29"} - {
        block["cidr"] for block in documents(store, BLOCKS).values()
    }
    put_pool(store, "pool", "10.0.0.0/27", blockSize=28)
    answer = ipam_of(store).auto_assign(Request("a", ipv4=20, handle="new"))
    assert len(allocated(store)) == 24, "the quarter left is no whole /28"
    assert not answer.ipv4
    (free,) = left
    with pytest.raises(AffinityError, match="overlaps the existing block"):
        ipam_of(store).assign_ip(free.partition("/")[0], "a")


@pytest.mark.parametrize("state", ["pending", "pendingDeletion"])
@pytest.mark.parametrize("block", ["mine", "theirs", "nobody's", "none"])
def test_what_interrupted_writers_leave_is_put_right(state: str, block: str) -> None:
    store = small_cluster("a", "b", cidr="10.0.0.0/29")
    if block != "none":
        ipam_of(store).auto_assign(Request("b" if block == "theirs" else "a", ipv4=1, handle="old"))
    if block == "nobody's":
        ipam_of(store).release_host_affinities("a")
    put(store, AffinityKey("a", "10.0.0.0/29").path, f'{{"state":"{state}","deleted":false}}'.encode())
    before = store.get(BlockKey("10.0.0.0/29").path)
    assert len(addresses(store, "a")) == 1
    assert_consistent(store)
    owner = documents(store, BLOCKS)["ipv4/block/10.0.0.0-29"]["affinity"]
    assert owner == {"mine": "host:a", "theirs": "host:b", "nobody's": None, "none": "host:a"}[block]
    assert store.get(BlockKey("10.0.0.0/29").path) != before


def test_a_broken_block_does_not_stop_allocation() -> None:
    store = small_cluster("a")
    addresses(store, "a")
    (name,) = documents(store, BLOCKS)
    put(store, BLOCKS + name, b"{}")
    assert len(addresses(store, "a", 3)) == 3
    assert len(documents(store, BLOCKS)) == 2


# -- one address -------------------------------------------------------------------------------------------------------


def test_assign_one_claims_its_block() -> None:
    store = small_cluster("a", "b")
    assert ipam_of(store).assign_ip("10.0.0.13", "a", "x").network == "10.0.0.13/29"
    with pytest.raises(AlreadyAllocatedError, match=r"resource already exists: 10\.0\.0\.13"):
        ipam_of(store).assign_ip("10.0.0.13", "b", "x")
    ipam_of(store).assign_ip("10.0.0.12", "b", "borrower")
    assert_consistent(store)
    with pytest.raises(NotFoundError, match="is not in a configured pool"):
        ipam_of(store).assign_ip("10.9.0.13", "a")


def test_assign_one_under_strict_affinity() -> None:
    store = small_cluster("a", "b")
    ipam_of(store).set_config(IPAMConfig(True, True))
    ipam_of(store).assign_ip("10.0.0.13", "a", "x")
    with pytest.raises(AffinityError, match="Block host affinity does not match"):
        ipam_of(store).assign_ip("10.0.0.12", "b", "x")
    ipam_of(store).release_host_affinities("a")
    with pytest.raises(AffinityError, match=r"Attempt to assign from block .* with no affinity"):
        ipam_of(store).assign_ip("10.0.0.12", "b", "x")


# -- giving up ---------------------------------------------------------------------------------------------------------


class BusyStore(MemoryStore):
    """Somebody else changes every block right after it was read."""

    def get(self, key: str, revision: int = 0) -> Listing:
        """See Store."""
        found = super().get(key, revision)
        self.touch()
        return found

    def commit(
        self, guards: Sequence[Guard], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Outcome:
        """See Store."""
        outcome = super().commit(guards, then, otherwise)
        self.touch()
        return outcome

    def touch(self) -> None:
        """Write every block again."""
        blocks = [item for page in super().pages(BLOCKS) for item in page.items]
        super().commit([], [Put(item.key, item.value) for item in blocks])


def test_retries_end() -> None:
    quiet = small_cluster("a", cidr="10.0.0.0/29")
    addresses(quiet, "a")
    store = BusyStore()
    for page in quiet.pages("/"):
        for item in page.items:
            put(store, item.key, item.value)
    with pytest.raises(ContentionError, match="Max retries hit - excessive concurrent IPAM requests"):
        addresses(store, "a")
    assert len(allocated(store)) == 1


def test_space_walks_once_round() -> None:
    store = small_cluster(cidr="10.0.0.0/27", block_size=29)
    pool = ipam_of(store).context.inventory.pools()[0]
    space = Space(["10.0.0.8/29", "10.0.0.16/30"])
    assert [space.first_free(pool, start) for start in range(4)] == [
        "10.0.0.0/29",
        "10.0.0.24/29",
        "10.0.0.24/29",
        "10.0.0.24/29",
    ]
    space.take("10.0.0.0/29")
    space.take("10.0.0.24/29")
    assert space.first_free(pool, 2) == ""


def test_a_cached_inventory_never_gives_addresses_of_a_pool_that_was_disabled() -> None:
    store = small_cluster("a", "b")
    ipam = ipam_of(store, inventory=CachedInventory(StoredInventory(store), clock=lambda: 0.0))
    assert ipam.auto_assign(Request("a", ipv4=1)).ipv4
    put_pool(store, "pool", "10.0.0.0/26", blockSize=29, disabled=True)
    for host in ("a", "b"):
        with pytest.raises(NotFoundError, match="no configured Calico pools"):
            ipam.auto_assign(Request(host, ipv4=1))
    with pytest.raises(NotFoundError, match="is not in a configured pool"):
        ipam.assign_ip("10.0.0.60", "a")


def test_a_cached_inventory_sees_new_nodes_at_once_and_new_pools_soon() -> None:
    store, now = small_cluster("a", cidr="10.0.0.0/29"), [0.0]
    ipam = ipam_of(store, inventory=CachedInventory(StoredInventory(store), 5.0, lambda: now[0]))
    assert len(ipam.auto_assign(Request("a", ipv4=8)).ipv4) == 8
    put_node(store, "b")
    put_pool(store, "second", "10.1.0.0/26", blockSize=29)
    assert not ipam.auto_assign(Request("b", ipv4=1)).ipv4
    now[0] = 5.0
    assert ipam.auto_assign(Request("b", ipv4=1)).ipv4


def test_a_cached_inventory_refuses_no_pool_that_is_there_now() -> None:
    store = small_cluster("a")
    put_pool(store, "off", "10.2.0.0/26", blockSize=29, disabled=True)
    ipam = ipam_of(store, inventory=CachedInventory(StoredInventory(store), clock=lambda: 0.0))
    assert ipam.auto_assign(Request("a", ipv4=1)).ipv4
    put_pool(store, "new", "10.1.0.0/26", blockSize=29)
    put_pool(store, "off", "10.2.0.0/26", blockSize=29)
    assert ipam.auto_assign(Request("a", ipv4=1, ipv4_pools=("10.1.0.0/26",))).ipv4
    assert ipam.assign_ip("10.2.0.5", "a")


NETWORKS = st.tuples(st.integers(24, 31), st.integers(0, 127)).map(
    lambda one: str(ip_network((int(ip_address("10.0.0.0")) + 2 * one[1], one[0]), strict=False))
)


@given(st.lists(NETWORKS, max_size=8), st.integers(25, 30), st.integers(0, 63))
def test_space_against_looking_at_every_block(taken: list[str], size: int, start: int) -> None:
    pool = Pool("p", ip_network("10.0.0.0/24"), size, False, "", Guard("p", 1))
    candidates = list(IPv4Network("10.0.0.0/24").subnets(new_prefix=size))
    turn = start % len(candidates)
    free = [
        str(one)
        for one in (*candidates[turn:], *candidates[:turn])
        if not any(one.overlaps(IPv4Network(cidr)) for cidr in taken)
    ]
    assert Space(taken).first_free(pool, start) == (free[0] if free else "")


def test_confirming_a_claim_gives_its_block_a_new_revision() -> None:
    """So that v3.14's release of it, which has read the block, fails."""
    store = small_cluster("a", cidr="10.0.0.0/29")
    addresses(store, "a")
    claim, block = AffinityKey("a", "10.0.0.0/29").path, BlockKey("10.0.0.0/29").path
    put(store, claim, b'{"state":"pendingDeletion","deleted":false}')
    addresses(store, "a")
    confirmed = store.get(claim).items[0].mod_revision
    assert store.get(block, confirmed).items[0].mod_revision == confirmed


def test_a_pool_too_large_to_count() -> None:
    store = small_cluster("a", "b")
    put_pool(store, "six", "fd00::/48", blockSize=122)
    given = [ipam_of(store).auto_assign(Request(host, ipv6=3, handle=host)).ipv6 for host in "ab"]
    assert len({one.address for some in given for one in some}) == 6
    assert_consistent(store)


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.1/32", "fe80::1%eth0"])
def test_what_is_no_address(text: str) -> None:
    ipam = ipam_of(small_cluster("a"))
    for call in (ipam.holder_of, lambda one: ipam.assign_ip(one, "a"), lambda one: ipam.release_ips([one])):
        with pytest.raises(IpamError, match="invalid IP address specified"):
            call(text)
    with pytest.raises(IpamError, match="invalid CIDR specified"):
        ipam.release_pool_affinities(text.partition("/")[0])
