"""The collector: one leader, two looks, and nothing freed that is used or changed hands."""

from calico.datastore.memory import MemoryStore
from calico.ipam.assign import Request
from calico.model.keys import HANDLES
from calico.node.collector import LEADER, LEASE, Collector
from tests.unit.ipam.cluster import allocated, documents, ipam_of, put_endpoint, small_cluster


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def collector(store: MemoryStore, node: str, clock: Clock, apart: float = 0.0) -> Collector:
    return Collector(store, ipam_of(store), node, apart=apart, clock=clock)


def give(store: MemoryStore, handle: str, node: str = "a") -> str:
    ipam = ipam_of(store)
    return ipam.auto_assign(Request(node, ipv4=1, handle=handle, attributes={"node": node})).ipv4[0].address


def test_only_what_two_looks_find_unused_is_freed() -> None:
    store = small_cluster("a")
    used, leaked = give(store, "calico.used"), give(store, "calico.leaked")
    put_endpoint(store, "a", "used", used)
    mine = collector(store, "a", Clock())
    assert mine.step() == ()
    late = give(store, "calico.late")
    assert mine.step() == (leaked,)
    assert set(allocated(store)) == {used, late}
    assert set(documents(store, HANDLES)) == {"calico.used", "calico.late"}


def test_an_address_that_changed_hands_between_two_looks_stays() -> None:
    store = small_cluster("a", cidr="10.0.0.0/29")
    address = give(store, "calico.first")
    mine = collector(store, "a", Clock())
    mine.step()
    ipam_of(store).release_handle("calico.first")
    ipam_of(store).assign_ip(address, "a", "calico.second", {"node": "a"})
    assert mine.step() == ()
    assert address in allocated(store)


def test_looks_are_apart() -> None:
    store = small_cluster("a")
    give(store, "calico.leaked")
    clock = Clock()
    mine = Collector(store, ipam_of(store), "a", apart=600.0, clock=clock)
    mine.step()
    clock.now = 599.0
    assert mine.step() == ()
    assert allocated(store)


def test_one_leads_and_another_follows_when_it_is_gone() -> None:
    clock = Clock()
    store = MemoryStore(clock=clock)
    first, second = collector(store, "a", clock), collector(store, "b", clock)
    first.step()
    second.step()
    assert (first.leads, second.leads) == (True, False)
    assert store.get(LEADER).items[0].value == b"a"
    clock.now += LEASE + 1
    second.step()
    first.step()
    assert (first.leads, second.leads) == (False, True)
    second.stop()
    first.step()
    assert first.leads


def test_a_new_leader_begins_anew() -> None:
    clock = Clock()
    store = small_cluster("a", "b")
    store._clock = clock
    give(store, "calico.leaked")
    first, second = collector(store, "a", clock), collector(store, "b", clock)
    first.step()
    clock.now += LEASE + 1
    assert second.step() == ()
    assert first.step() == ()
    assert allocated(store), "each has looked once"
    assert second.step() != ()
