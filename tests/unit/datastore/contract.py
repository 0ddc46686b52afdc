"""The contract of a `Store`, as a suite: the in-memory twin and real clusters run the same tests.

A subclass gives the fixture `store` and `compact`. Every test works below a prefix of its own.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from calico.datastore.errors import CompactedError, DatastoreError, LeaseGoneError
from calico.datastore.store import (
    Batch,
    Delete,
    Event,
    Get,
    Guard,
    Put,
    Store,
    Watch,
    create,
    listing,
    put,
    remove,
    replace,
)

_numbers = itertools.count(1)
_PATIENCE = 15.0


def collect(watch: Watch, count: int) -> list[Event]:
    """The next `count` events of a watch."""
    events: list[Event] = []
    until = time.monotonic() + _PATIENCE
    while len(events) < count:
        assert time.monotonic() < until, f"only {len(events)} of {count} events came"
        batch = watch.next(1.0)
        events += batch.events if batch else ()
    return events


class StoreContract:
    """What every `Store` does."""

    @pytest.fixture
    def base(self) -> str:
        return f"/calico/test-{next(_numbers)}/"

    @pytest.fixture
    def watching(self, store: Store) -> Iterator[Callable[[str, int], Watch]]:
        watches: list[Watch] = []

        def start(prefix: str, after: int) -> Watch:
            watches.append(store.watch(prefix, after))
            return watches[-1]

        yield start
        for watch in watches:
            watch.close()

    # -- reads and writes

    def test_a_missing_key_is_an_empty_answer(self, store: Store, base: str) -> None:
        assert store.get(base + "nothing").items == ()
        assert listing(store, base).items == ()

    def test_what_is_put_is_read(self, store: Store, base: str) -> None:
        revision = put(store, base + "a", b'{"x": 1}')
        found = store.get(base + "a")
        assert (found.items[0].key, found.items[0].value, found.items[0].mod_revision) == (
            base + "a",
            b'{"x": 1}',
            revision,
        )
        assert found.revision >= revision

    @pytest.mark.parametrize("value", [b"", b"\0", bytes(range(256)), "höhe".encode(), b"x" * 300_000])
    def test_any_bytes_come_back(self, store: Store, base: str, value: bytes) -> None:
        put(store, base + "v", value)
        assert store.get(base + "v").items[0].value == value

    @pytest.mark.parametrize("name", ["10.0.0.5-cni-0a1b--22-eth0", "default%2f7c1f", "a b", "ä", "x" * 500])
    def test_any_name_comes_back(self, store: Store, base: str, name: str) -> None:
        put(store, base + name, b"1")
        assert [item.key for item in listing(store, base).items] == [base + name]

    def test_the_past_can_be_read(self, store: Store, base: str) -> None:
        first = put(store, base + "a", b"1")
        put(store, base + "a", b"2")
        put(store, base + "b", b"3")
        assert store.get(base + "a", first).items[0].value == b"1"
        assert [item.value for item in listing(store, base, first).items] == [b"1"]
        assert store.get(base + "a", first).revision == first

    def test_a_future_revision_is_refused(self, store: Store, base: str) -> None:
        now = put(store, base + "a", b"1")
        with pytest.raises(DatastoreError, match="future revision"):
            store.get(base + "a", now + 1000)

    def test_a_listing_holds_the_prefix_in_order_and_nothing_else(self, store: Store, base: str) -> None:
        for name in ("b", "a/2", "a/1", "a"):
            put(store, base + name, name.encode())
        put(store, base[:-1] + "0", b"a neighbour")
        assert [item.key for item in listing(store, base).items] == [base + name for name in ("a", "a/1", "a/2", "b")]

    def test_pages_are_of_one_revision(self, store: Store, base: str) -> None:
        count = 4321
        for start in range(0, count, 100):
            names = range(start, min(start + 100, count))
            store.commit([], [Put(f"{base}{name:05}", b"old") for name in names])
        pages = store.pages(base)
        first = next(pages)
        put(store, f"{base}{count - 1:05}", b"new")
        remove(store, f"{base}{count - 2:05}")
        rest = list(pages)
        assert len(rest) >= 1, "the listing came in one part, so the test shows nothing"
        assert {page.revision for page in rest} == {first.revision}
        items = [item for page in (first, *rest) for item in page.items]
        assert [item.key for item in items] == [f"{base}{name:05}" for name in range(count)]
        assert {item.value for item in items} == {b"old"}

    # -- transactions

    def test_create_happens_once(self, store: Store, base: str) -> None:
        first = create(store, base + "a", b"mine")
        second = create(store, base + "a", b"yours")
        assert (first.succeeded, second.succeeded) == (True, False)
        assert second.results[0][0].value == b"mine"
        assert second.results[0][0].mod_revision == first.revision

    def test_replace_wants_the_revision_read(self, store: Store, base: str) -> None:
        first = create(store, base + "a", b"1").revision
        assert replace(store, base + "a", b"2", first).succeeded
        lost = replace(store, base + "a", b"3", first)
        assert not lost.succeeded
        assert lost.results[0][0].value == b"2"

    def test_replace_of_a_missing_key_fails(self, store: Store, base: str) -> None:
        lost = replace(store, base + "a", b"1", 1)
        assert (lost.succeeded, lost.results) == (False, ((),))

    def test_remove_gives_what_was_there(self, store: Store, base: str) -> None:
        first = put(store, base + "a", b"1")
        second = put(store, base + "a", b"2")
        assert not remove(store, base + "a", first).succeeded
        assert [item.value for item in remove(store, base + "a", second).results[0]] == [b"2"]
        assert remove(store, base + "a").results == ((),)

    def test_a_key_made_again_is_not_the_old_one(self, store: Store, base: str) -> None:
        first = create(store, base + "a", b"1").revision
        remove(store, base + "a")
        create(store, base + "a", b"1")
        assert not replace(store, base + "a", b"2", first).succeeded

    def test_a_transaction_is_one_revision(self, store: Store, base: str) -> None:
        put(store, base + "c", b"gone soon")
        done = store.commit(
            [Guard(base + "a", 0), Guard(base + "b", 0)],
            [Put(base + "a", b"1"), Put(base + "b", b"2"), Delete(base + "c"), Get(base + "a")],
        )
        assert [item.value for item in done.results[2]] == [b"gone soon"]
        assert [item.value for item in done.results[3]] == [b"1"]
        assert {item.mod_revision for item in listing(store, base).items} == {done.revision}

    def test_one_failed_guard_stops_all(self, store: Store, base: str) -> None:
        put(store, base + "b", b"there")
        done = store.commit([Guard(base + "a", 0), Guard(base + "b", 0)], [Put(base + "a", b"1")], [Get(base + "b")])
        assert not done.succeeded
        assert [item.value for item in done.results[0]] == [b"there"]
        assert store.get(base + "a").items == ()

    def test_a_prefix_is_deleted_at_once(self, store: Store, base: str) -> None:
        for name in ("x/1", "x/2", "y"):
            put(store, base + name, b"")
        done = store.commit([], [Delete(base + "x/", prefix=True)])
        assert [item.key for item in done.results[0]] == [base + "x/1", base + "x/2"]
        assert [item.key for item in listing(store, base).items] == [base + "y"]

    def test_a_transaction_without_effect_makes_no_revision(self, store: Store, base: str) -> None:
        before = put(store, base + "a", b"1")
        assert store.commit([], [Get(base + "a"), Delete(base + "b")]).revision == before

    def test_writing_a_key_twice_in_a_transaction_is_refused(self, store: Store, base: str) -> None:
        with pytest.raises(DatastoreError, match="duplicate key"):
            store.commit([], [Put(base + "a", b"1"), Put(base + "a", b"2")])
        assert store.get(base + "a").items == ()

    def test_concurrent_increments_are_all_counted(self, store: Store, base: str) -> None:
        create(store, base + "n", b"0")

        def increment() -> None:
            for _ in range(20):
                while True:
                    item = store.get(base + "n").items[0]
                    if replace(store, base + "n", b"%d" % (int(item.value) + 1), item.mod_revision).succeeded:
                        break

        threads = [threading.Thread(target=increment) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE)
        assert store.get(base + "n").items[0].value == b"80"

    # -- leases

    def test_keys_of_a_revoked_lease_are_gone(self, store: Store, base: str) -> None:
        lease = store.grant(60)
        put(store, base + "a", b"1", lease)
        put(store, base + "b", b"2")
        assert store.get(base + "a").items[0].lease == lease
        store.revoke(lease)
        assert [item.key for item in listing(store, base).items] == [base + "b"]

    def test_a_lease_is_renewed(self, store: Store, base: str) -> None:
        lease = store.grant(60)
        assert 50 <= store.keep_alive(lease) <= 60
        store.revoke(lease)

    def test_a_lease_that_is_gone_says_so(self, store: Store, base: str) -> None:
        lease = store.grant(60)
        store.revoke(lease)
        with pytest.raises(LeaseGoneError):
            store.keep_alive(lease)
        with pytest.raises(LeaseGoneError):
            store.revoke(lease)
        with pytest.raises(LeaseGoneError):
            put(store, base + "a", b"1", lease)

    def test_a_put_without_the_lease_unbinds_the_key(self, store: Store, base: str) -> None:
        lease = store.grant(60)
        put(store, base + "a", b"1", lease)
        put(store, base + "a", b"2")
        store.revoke(lease)
        assert store.get(base + "a").items[0].value == b"2"

    # -- watches

    def test_a_watch_gives_every_change_behind_its_revision(
        self, store: Store, base: str, watching: Callable[[str, int], Watch]
    ) -> None:
        before = put(store, base + "a", b"before")
        after = [put(store, base + "a", b"1"), put(store, base + "b", b"")]
        deleted = remove(store, base + "a").revision
        watch = watching(base, before)
        later = put(store, base + "c", b"2")
        assert collect(watch, 4) == [
            Event(base + "a", b"1", after[0]),
            Event(base + "b", b"", after[1]),
            Event(base + "a", None, deleted),
            Event(base + "c", b"2", later),
        ]

    def test_a_watch_gives_its_prefix_only(
        self, store: Store, base: str, watching: Callable[[str, int], Watch]
    ) -> None:
        watch = watching(base, put(store, base + "start", b""))
        put(store, base[:-1] + "0", b"a neighbour")
        put(store, base + "a", b"1")
        assert [event.key for event in collect(watch, 1)] == [base + "a"]

    def test_a_transaction_arrives_in_one_piece(
        self, store: Store, base: str, watching: Callable[[str, int], Watch]
    ) -> None:
        watch = watching(base, put(store, base + "start", b""))
        done = store.commit([], [Put(f"{base}{index:03}", b"x" * 10_000) for index in range(100)])
        batch: Batch | None = None
        until = time.monotonic() + _PATIENCE
        while (batch is None or not batch.events) and time.monotonic() < until:
            batch = watch.next(1.0)
        assert batch is not None
        assert len(batch.events) == 100
        assert {event.mod_revision for event in batch.events} == {done.revision}
        assert batch.revision == done.revision

    def test_a_large_backlog_arrives_whole(
        self, store: Store, base: str, watching: Callable[[str, int], Watch]
    ) -> None:
        before = put(store, base + "start", b"")
        for index in range(40):  # 4 MB: more than etcd sends in one message
            store.commit([], [Put(f"{base}{name}", b"%02d" % index + b"x" * 10_000) for name in range(10)])
        events = collect(watching(base, before), 400)
        assert [(event.value or b"")[:2] for event in events] == [
            b"%02d" % index for index in range(40) for _ in range(10)
        ]
        assert [event.mod_revision for event in events] == sorted(event.mod_revision for event in events)

    def test_waiting_in_vain_ends_in_time(self, store: Store, base: str, watching: Callable[[str, int], Watch]) -> None:
        watch = watching(base, put(store, base + "start", b""))
        watch.next(0.5)
        begin = time.monotonic()
        assert watch.next(0.2) is None
        assert 0.1 <= time.monotonic() - begin < 1.5

    def test_closing_wakes_whoever_waits(self, store: Store, base: str, watching: Callable[[str, int], Watch]) -> None:
        watch = watching(base, put(store, base + "start", b""))
        watch.next(0.5)
        timer = threading.Timer(0.2, watch.close)
        timer.start()
        begin = time.monotonic()
        assert watch.next(60.0) is None
        assert time.monotonic() - begin < 5
        assert watch.next(60.0) is None
        timer.join()

    def test_nothing_is_missed_while_others_write(
        self, store: Store, base: str, watching: Callable[[str, int], Watch]
    ) -> None:
        watch = watching(base, put(store, base + "start", b""))

        def write(writer: int) -> None:
            for index in range(50):
                put(store, f"{base}{writer}", b"%d" % index)

        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        events = collect(watch, 200)
        for thread in threads:
            thread.join(_PATIENCE)
        assert [event.mod_revision for event in events] == sorted({event.mod_revision for event in events})
        for writer in range(4):
            mine = [int(event.value or b"") for event in events if event.key == f"{base}{writer}"]
            assert mine == list(range(50))

    # -- compaction

    def test_a_watch_of_compacted_history_says_so(
        self, store: Store, base: str, watching: Callable[[str, int], Watch], compact: Callable[[int], None]
    ) -> None:
        first = put(store, base + "a", b"1")
        last = [put(store, base + "a", b"%d" % index) for index in range(3)][-1]
        compact(last)
        with pytest.raises(CompactedError):
            collect(watching(base, first), 3)

    def test_a_watch_from_the_compacted_revision_itself_goes_on(
        self, store: Store, base: str, watching: Callable[[str, int], Watch], compact: Callable[[int], None]
    ) -> None:
        put(store, base + "a", b"1")
        last = put(store, base + "a", b"2")
        compact(last)
        watch = watching(base, last - 1)
        put(store, base + "a", b"3")
        assert [event.value for event in collect(watch, 2)] == [b"2", b"3"]

    def test_a_read_of_the_compacted_past_says_so(
        self, store: Store, base: str, compact: Callable[[int], None]
    ) -> None:
        first = put(store, base + "a", b"1")
        last = put(store, base + "a", b"2")
        compact(last)
        with pytest.raises(CompactedError):
            store.get(base + "a", first)
        with pytest.raises(CompactedError):
            listing(store, base, first)
        assert store.get(base + "a", last).items[0].value == b"2"

    def test_a_present_key_outlives_compaction(self, store: Store, base: str, compact: Callable[[int], None]) -> None:
        put(store, base + "old", b"1")
        put(store, base + "gone", b"2")
        remove(store, base + "gone")
        compact(put(store, base + "new", b"3"))
        assert [item.key for item in listing(store, base).items] == [base + "new", base + "old"]
