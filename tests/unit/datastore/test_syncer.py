"""The syncer: listings and watches of many kinds as one stream."""

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico.datastore.errors import DatastoreError, PermissionDeniedError, ReplacedError, UnavailableError
from calico.datastore.memory import MemoryStore, MemoryWatch
from calico.datastore.store import Batch, Delete, Listing, Put, put, remove
from calico.datastore.syncer import InSync, Syncer, Update

A, B = "/calico/a/", "/calico/b/"


def decode(_key: str, raw: bytes, _revision: int) -> str:
    if raw == b"broken":
        raise ValueError("not what it should be")
    if raw.startswith(b"[["):
        json.loads(raw)
    return raw.decode()


class FaultyStore(MemoryStore):
    """A store whose next listings or watches fail as told."""

    def __init__(self) -> None:
        super().__init__(page=2)
        self.listing_errors: list[DatastoreError] = []
        self.watch_errors: list[DatastoreError] = []

    def pages(self, prefix: str, revision: int = 0) -> Iterator[Listing]:
        if self.listing_errors:
            raise self.listing_errors.pop(0)
        yield from super().pages(prefix, revision)

    def watch(self, prefix: str, after: int) -> MemoryWatch:
        return FaultyWatch(self, prefix, after)


class FaultyWatch(MemoryWatch):
    def next(self, timeout: float) -> Batch | None:
        store = self._store
        assert isinstance(store, FaultyStore)
        if store.watch_errors:
            raise store.watch_errors.pop(0)
        return super().next(timeout)


@pytest.fixture
def store() -> FaultyStore:
    return FaultyStore()


class Reader:
    """Reads a syncer's stream to rest, without sleeping."""

    def __init__(self, store: MemoryStore, *prefixes: str) -> None:
        self.syncer = Syncer(store, dict.fromkeys(prefixes or (A, B), decode))
        self._batches = self.syncer.batches(tick=0.0)
        self.state: dict[str, Any] = {}

    def read(self) -> list[Update | InSync]:
        """Everything that has come up to two idle ticks."""
        items: list[Update | InSync] = []
        idle = 0
        while idle < 2:
            batch = next(self._batches)
            idle = 0 if batch else idle + 1
            items += batch
        for item in items:
            if isinstance(item, Update):
                self.state[item.key] = item.value
        self.state = {key: value for key, value in self.state.items() if value is not None}
        return items


def keys(items: list[Update | InSync]) -> list[tuple[str, Any]]:
    return [(item.key, item.value) for item in items if isinstance(item, Update)]


def test_the_snapshot_comes_before_the_mark_and_changes_after_it(store: FaultyStore) -> None:
    for name in ("1", "2", "3"):
        put(store, A + name, name.encode())
    revision = put(store, B + "1", b"other")
    put(store, "/calico/c/1", b"not asked for")
    reader = Reader(store)
    items = reader.read()
    assert keys(items) == [(A + "1", "1"), (A + "2", "2"), (A + "3", "3"), (B + "1", "other")]
    assert items[-1] == InSync(revision + 1)
    assert reader.syncer.in_sync
    put(store, B + "1", b"changed")
    put(store, "/calico/c/1", b"still not asked for")
    last = remove(store, A + "2").revision
    assert reader.read() == [Update(B + "1", "changed", last - 2), Update(A + "2", None, last)]


def test_an_empty_store_is_in_sync_at_once(store: FaultyStore) -> None:
    assert Reader(store).read() == [InSync(1)]


def test_a_transaction_is_one_batch(store: FaultyStore) -> None:
    put(store, A + "old", b"x")
    reader = Reader(store)
    reader.read()
    store.commit([], [Put(B + "1", b"1"), Delete(A + "old"), Put(A + "1", b"2")])
    batch = next(reader._batches) or next(reader._batches)
    assert keys(batch) == [(B + "1", "1"), (A + "old", None), (A + "1", "2")]


def test_compacted_history_is_answered_by_a_listing_of_what_differs(store: FaultyStore) -> None:
    for name in ("kept", "changed", "gone"):
        put(store, A + name, b"1")
    reader = Reader(store)
    reader.read()
    put(store, A + "changed", b"2")
    remove(store, A + "gone")
    revision = put(store, A + "new", b"1")
    store.compact(revision)
    items = reader.read()
    assert keys(items) == [(A + "changed", "2"), (A + "new", "1"), (A + "gone", None)]
    assert items[-1] == InSync(revision)
    assert reader.syncer.listings == 2


def test_another_cluster_is_listed_without_trust_in_revisions(store: FaultyStore) -> None:
    put(store, A + "same revision", b"here")
    put(store, A + "only here", b"1")
    reader = Reader(store)
    reader.read()
    other = FaultyStore()
    put(other, A + "same revision", b"there")
    store.__dict__.update(other.__dict__)
    store.watch_errors.append(ReplacedError("replaced"))
    assert keys(reader.read()) == [(A + "same revision", "there"), (A + "only here", None)]


def test_failures_are_waited_out_and_told(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    store.listing_errors = [UnavailableError(f"away {number}") for number in range(8)]
    put(store, A + "1", b"1")
    reader = Reader(store)
    monkeypatch.setattr(reader.syncer._stopped, "wait", waits.append)
    assert next(reader._batches) == []
    assert reader.syncer.last_error == "away 0"
    assert not reader.syncer.in_sync
    for _ in range(7):
        next(reader._batches)
    assert reader.read()[-1] == InSync(2)
    assert reader.syncer.last_error == ""
    assert len(waits) == 8


def test_pauses_grow_while_watching_is_refused(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.watch_errors = [PermissionDeniedError("no") for _ in range(9)]
    syncer = Syncer(store, {A: decode})
    waits: list[float] = []
    monkeypatch.setattr(syncer._stopped, "wait", waits.append)
    batches = syncer.batches()
    while len(waits) < 9:
        next(batches)
    assert waits[0] < 0.3
    assert waits[-1] >= 2.0
    assert max(waits) <= 4.0


def test_a_broken_value_counts_as_absent(store: FaultyStore, caplog: pytest.LogCaptureFixture) -> None:
    put(store, A + "good then bad", b"1")
    put(store, A + "bad", b"broken")
    put(store, A + "deep", b"[" * 100_000)
    reader = Reader(store)
    assert keys(reader.read()) == [(A + "good then bad", "1")]
    revision = put(store, A + "good then bad", b"broken")
    assert reader.read() == [Update(A + "good then bad", None, revision)]
    assert reader.syncer.undecodable == 3
    assert set(reader.syncer.broken_keys) == {A + "bad", A + "deep", A + "good then bad"}
    assert f"{A}bad: revision 3 cannot be read and counts as absent: not what it should be" in caplog.text


def test_a_broken_value_heals_and_goes(store: FaultyStore) -> None:
    put(store, A + "1", b"broken")
    put(store, A + "2", b"broken")
    reader = Reader(store)
    reader.read()
    put(store, A + "1", b"fine")
    remove(store, A + "2")
    assert keys(reader.read()) == [(A + "1", "fine")]
    assert reader.syncer.broken_keys == {}


def test_a_broken_value_is_counted_once_however_often_it_is_listed(store: FaultyStore) -> None:
    put(store, A + "1", b"broken")
    reader = Reader(store)
    reader.read()
    put(store, A + "2", b"1")
    store.compact(put(store, A + "2", b"2"))
    reader.read()
    assert (reader.syncer.undecodable, reader.syncer.listings) == (1, 2)


def test_stop_ends_the_stream(store: FaultyStore) -> None:
    syncer = Syncer(store, {A: decode})
    batches = syncer.batches(tick=0.0)
    next(batches)
    syncer.stop()
    assert list(batches) == []


def test_prefixes_without_a_common_beginning_are_refused(store: FaultyStore) -> None:
    with pytest.raises(ValueError, match="in common"):
        Syncer(store, {"/a/": decode, "b/": decode})


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "delete", "txn", "compact", "read", "read"]),
        st.sampled_from([f"{prefix}{number}" for prefix in (A, B, "/calico/other/") for number in range(3)]),
        st.sampled_from([b"1", b"2", b"broken"]),
    ),
    max_size=40,
)


@given(_STEPS)
@settings(deadline=None, max_examples=150)
def test_the_stream_always_adds_up_to_the_store(steps: list[tuple[str, str, bytes]]) -> None:
    store = FaultyStore()
    reader = Reader(store)
    counter = itertools.count()
    for step, key, value in steps:
        if step == "put":
            put(store, key, value)
        elif step == "delete":
            remove(store, key)
        elif step == "txn":
            store.commit([], [Put(key, value), Put(f"{A}t{next(counter) % 2}", b"t")])
        elif step == "compact":
            store.compact(store.get(key).revision)
        else:
            reader.read()
    reader.read()
    expected = {
        item.key: item.value.decode()
        for prefix in (A, B)
        for page in store.pages(prefix)
        for item in page.items
        if item.value != b"broken"
    }
    assert reader.state == expected
