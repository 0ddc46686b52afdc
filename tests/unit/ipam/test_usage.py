"""How full pools are, and what is borrowed."""

from calico.datastore.store import remove
from calico.ipam.assign import Request
from calico.ipam.snapshot import take_snapshot
from calico.ipam.usage import borrowed, utilization
from tests.unit.ipam.cluster import ipam_of, put_pool, small_cluster


def test_utilization_counts_by_pool_and_keeps_orphans_apart() -> None:
    store = small_cluster("a", cidr="10.0.0.0/26")
    put_pool(store, "six", "fd00::/120", blockSize=122)
    put_pool(store, "unused", "10.5.0.0/24")
    ipam_of(store).auto_assign(Request("a", ipv4=9, ipv6=1, handle="h"))
    usage = {one.pool.name if one.pool else "": one for one in utilization(take_snapshot(store))}
    assert list(usage) == ["pool", "six", "unused"]
    assert [(one.capacity, one.free) for one in usage["pool"].blocks] in ([(8, 0), (8, 7)], [(8, 7), (8, 0)])
    assert (usage["pool"].in_use, usage["six"].in_use, usage["unused"].blocks) == (9, 1, ())
    remove(store, "/calico/resources/v3/projectcalico.org/ippools/six")
    last = utilization(take_snapshot(store))[-1]
    assert last.pool is None
    assert last.in_use == 1


def test_borrowed_addresses_name_the_borrower_and_the_owner() -> None:
    store = small_cluster("a", "b")
    ipam = ipam_of(store)
    ipam.assign_ip("10.0.0.1", "a", "own", {"node": "a"})
    ipam.assign_ip("10.0.0.2", "b", "pod", {"node": "b", "pod": "web", "namespace": "shop"})
    ipam.assign_ip("10.0.0.3", "b", "tunnel", {"node": "b", "type": "vxlanTunnelAddress"})
    ipam.assign_ip("10.0.0.4", "b")
    assert borrowed(take_snapshot(store)) == (
        (
            ("10.0.0.2", "b", "10.0.0.0/29", "a", "pod", "shop/web"),
            ("10.0.0.3", "b", "10.0.0.0/29", "a", "vxlanTunnelAddress", ""),
        ),
        1,
    )
    ipam.release_host_affinities("a")
    found, _ = borrowed(take_snapshot(store))
    assert {(one.address, one.owner) for one in found} == {("10.0.0.1", ""), ("10.0.0.2", ""), ("10.0.0.3", "")}
