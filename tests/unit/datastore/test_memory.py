"""The in-memory twin keeps the contract."""

from collections.abc import Callable

import pytest

from calico.datastore.memory import MemoryStore
from calico.datastore.store import Store, listing, put
from tests.unit.datastore.contract import StoreContract, collect


class TestMemoryStore(StoreContract):
    """See the contract."""

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()

    @pytest.fixture
    def compact(self, store: MemoryStore) -> Callable[[int], None]:
        return store.compact


def test_an_expired_lease_takes_its_keys_and_watches_see_it() -> None:
    now = 0.0
    store = MemoryStore(clock=lambda: now)
    lease = store.grant(10)
    put(store, "/calico/a", b"1", lease)
    watch = store.watch("/calico/", put(store, "/calico/b", b"2", lease))
    now = 9.9
    assert len(listing(store, "/calico/").items) == 2
    now = 10.0
    assert [(event.key, event.value) for event in collect(watch, 2)] == [("/calico/a", None), ("/calico/b", None)]
    assert listing(store, "/calico/").items == ()
