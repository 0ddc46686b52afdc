"""What stands in etcd, byte for byte, and what of older writers can be read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.datastore.store import KeyValue, put
from calico.ipam import block as blocks
from calico.ipam import values
from calico.ipam.assign import Request
from calico.ipam.errors import UnreadableError
from calico.model.ipam import AllocationAttribute, Block, IPAMConfig
from calico.model.keys import AffinityKey, BlockKey, HandleKey
from tests.unit.ipam.cluster import ipam_of, put_node, put_pool, small_cluster


def stored(store: object, key: str) -> str:
    (item,) = store.get(key).items  # type: ignore[attr-defined]
    return str(item.value.decode())


def test_a_block_reads_as_upstream_writes_it() -> None:
    store = small_cluster("10.0.0.5", cidr="172.29.12.64/29")
    ipam = ipam_of(store)
    notes = {"type": "vxlanTunnelAddress", "node": "10.0.0.5"}
    ipam.auto_assign(Request("10.0.0.5", ipv4=1, handle="vxlan-tunnel-addr-10.0.0.5", attributes=notes))
    ipam.assign_ip("172.29.12.66", "10.0.0.5", "calico.0a1b22", {"node": "10.0.0.5"})
    ipam.assign_ip("172.29.12.67", "10.0.0.5")
    assert stored(store, "/calico/ipam/v2/assignment/ipv4/block/172.29.12.64-29") == (
        '{"cidr":"172.29.12.64/29","affinity":"host:10.0.0.5",'
        '"allocations":[0,null,1,2,null,null,null,null],"unallocated":[1,4,5,6,7],'
        '"attributes":[{"handle_id":"vxlan-tunnel-addr-10.0.0.5",'
        '"secondary":{"node":"10.0.0.5","type":"vxlanTunnelAddress"}},'
        '{"handle_id":"calico.0a1b22","secondary":{"node":"10.0.0.5"}},'
        '{"handle_id":null,"secondary":null}],"deleted":false}'
    )
    assert stored(store, "/calico/ipam/v2/host/10.0.0.5/ipv4/block/172.29.12.64-29") == (
        '{"state":"confirmed","deleted":false}'
    )
    assert stored(store, "/calico/ipam/v2/handle/calico.0a1b22") == '{"block":{"172.29.12.64/29":1},"deleted":false}'


def test_a_fresh_and_an_emptied_block() -> None:
    fresh = blocks.fresh("10.0.0.0/31", "h")
    assert values.write_block(fresh) == (
        b'{"cidr":"10.0.0.0/31","affinity":"host:h","allocations":[null,null],"unallocated":[0,1],'
        b'"attributes":null,"deleted":false}'
    )
    full = blocks.take(fresh, (0, 1), AllocationAttribute())
    assert b'"unallocated":[],' in values.write_block(full)
    empty = blocks.give_back(full._replace(affinity=None), (1, 0))
    assert values.write_block(empty) == (
        b'{"cidr":"10.0.0.0/31","affinity":null,"allocations":[null,null],"unallocated":[1,0],'
        b'"attributes":[],"deleted":false}'
    )


def test_ipv6_keys() -> None:
    store = small_cluster("h")
    put_pool(store, "six", "fd12:3456:789A:1:0:0::/120", blockSize=122)
    put_node(store, "h")
    (given,) = ipam_of(store).auto_assign(Request("h", ipv6=1, handle="x")).ipv6
    key = given.block.replace("/", "-")
    assert given.network == f"{given.address}/122"
    assert store.get(f"/calico/ipam/v2/assignment/ipv6/block/{key}").items
    assert store.get(f"/calico/ipam/v2/host/h/ipv6/block/{key}").items


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (IPAMConfig(False, True), '{"auto_allocate_blocks":true}'),
        (IPAMConfig(True, True), '{"strict_affinity":true,"auto_allocate_blocks":true}'),
        (IPAMConfig(True, False), '{"strict_affinity":true}'),
    ],
)
def test_config(config: IPAMConfig, text: str) -> None:
    store = small_cluster()
    put(store, "/calico/ipam/v2/config", b"{}")
    assert ipam_of(store).set_config(config)
    assert not ipam_of(store).set_config(config)
    assert stored(store, "/calico/ipam/v2/config") == text
    assert ipam_of(store).config() == config


def test_absent_config_is_not_written_over() -> None:
    store = small_cluster()
    assert ipam_of(store).config() == IPAMConfig(False, True)
    assert not ipam_of(store).set_config(IPAMConfig(False, True))
    assert not store.get("/calico/ipam/v2/config").items


def _item(key: str, text: str) -> KeyValue:
    return KeyValue(key, text.encode(), 1)


BLOCK_KEY = BlockKey("10.0.0.0/31").path


def test_older_writers() -> None:
    fork = (
        '{"cidr":"10.0.0.0/31","affinity":"host:h","strictAffinity":false,'
        '"allocations":[null,null],"unallocated":null,"attributes":null}'
    )
    block = values.read_block(_item(BLOCK_KEY, fork))
    assert (blocks.owner(block), block.unallocated, block.attributes) == ("h", (), None)
    assert "strictAffinity" not in values.write_block(block).decode()
    legacy = '{"cidr":"10.0.0.0/31","hostAffinity":"h","allocations":[null,null],"unallocated":[0,1],"attributes":[]}'
    assert blocks.owner(values.read_block(_item(BLOCK_KEY, legacy))) == ""  # as v3.14's etcd clients take it
    assert values.read_affinity(_item(AffinityKey("h", "10.0.0.0/31").path, "")).state == "confirmed"
    assert values.read_affinity(_item(AffinityKey("h", "10.0.0.0/31").path, '{"state":""}')).state == "confirmed"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("[]", "is not a mapping"),
        ('{"cidr":"10.0.0.2/31","allocations":[null,null]}', "speaks of 10.0.0.2/31"),
        ('{"cidr":"10.0.0.0/31","allocations":[null]}', "1 places for 2 addresses"),
        ('{"cidr":"10.0.0.0/31","allocations":[0,null],"attributes":[]}', "points to no attribute"),
        ('{"cidr":"10.0.0.0/31","allocations":[-1,null],"attributes":[{}]}', "points to no attribute"),
        ('{"cidr":"10.0.0.0/31","allocations":["0",null]}', "whole number"),
    ],
)
def test_a_broken_block_is_refused_by_key(text: str, why: str) -> None:
    with pytest.raises(UnreadableError) as caught:
        values.read_block(_item(BLOCK_KEY, text))
    assert BLOCK_KEY in str(caught.value)
    assert why in str(caught.value)


def test_a_listed_free_address_in_use_is_not_given_out() -> None:
    attribute = AllocationAttribute("x")
    block = blocks.take(blocks.fresh("10.0.0.0/30", "h"), (0, 1), attribute)._replace(unallocated=(1, 9, 2, 3))
    assert blocks.first_free(block, 4) == (2, 3)
    assert blocks.disorder(block)


HANDLES = st.sampled_from([AllocationAttribute(), AllocationAttribute("a"), AllocationAttribute("a", {"node": "n"})])
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 5), HANDLES), max_size=30)


@given(STEPS)
def test_a_block_against_a_plain_table(steps: list[tuple[bool, int, AllocationAttribute]]) -> None:
    """Taking and giving back agree with a dictionary and a queue, through bytes and back."""
    block: Block = blocks.fresh("10.0.0.0/29", "h")
    table: dict[int, AllocationAttribute] = {}
    queue = list(range(8))
    for taking, count, attribute in steps:
        if taking:
            ordinals = blocks.first_free(block, count)
            assert list(ordinals) == queue[:count]
            del queue[:count]
            table.update(dict.fromkeys(ordinals, attribute))
            block = blocks.take(block, ordinals, attribute)
        else:
            freed = sorted(table)[:count]
            queue += freed
            for ordinal in freed:
                del table[ordinal]
            block = blocks.give_back(block, freed)
        block = values.read_block(KeyValue(BlockKey("10.0.0.0/29").path, values.write_block(block), 1))
        assert dict(blocks.allocated(block)) == table
        assert list(block.unallocated) == queue
        kinds = [json.dumps(one._asdict()) for one in block.attributes or ()]
        assert len(set(kinds)) == len(kinds) == len({json.dumps(one._asdict()) for one in table.values()})
        assert not blocks.disorder(block)
        assert blocks.is_empty(block) == (not table)


def test_handle_key_with_odd_names() -> None:
    store = small_cluster("h")
    handle = "net/work.c0ffee"
    ipam_of(store).auto_assign(Request("h", ipv4=2, handle=handle))
    assert store.get(HandleKey(handle).path).items
    assert len(ipam_of(store).held_by(handle)) == 2
    assert len(ipam_of(store).release_handle(handle)) == 2
    assert not store.get(HandleKey(handle).path).items
