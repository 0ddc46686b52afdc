"""`Syncer`: many kinds of keys as one ordered stream of updates, with a mark where it is complete.

It lists every prefix at one revision, marks the stream in sync, and from there follows a single watch. When the history
a watch needs is gone it lists again and yields only what differs, deletions among it, so that whoever applies the
stream always ends up with the present state. It never ends by itself: while etcd is away it waits, with growing pauses.
"""

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from calico.datastore import log
from calico.datastore.errors import DatastoreError, ReplacedError
from calico.datastore.store import Batch, Listing, Store, Watch

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 4.0


class Update(NamedTuple):
    """A key's new value, decoded; `value` is None when the key is gone (or cannot be read any more)."""

    key: str
    value: Any
    revision: int


class InSync(NamedTuple):
    """Everything yielded so far is the whole state as of `revision`."""

    revision: int


Decoder = Callable[[str, bytes, int], Any]
"""Turns a key, its bytes and its revision into a value; None: not of interest. Raises ValueError for a broken one."""


class Syncer:
    """The stream of a set of prefixes, each with its decoder. One thread iterates; the counters may be read from any.

    A listing comes in the order of keys. What follows it comes in the order of revisions, the updates of a transaction
    in one piece of `batches`. A key is yielded again only when it was written again. An undecodable value is logged and
    counted, and its key counts as absent until it is written anew.
    """

    def __init__(self, store: Store, decoders: Mapping[str, Decoder]) -> None:
        self._store, self._decoders = store, dict(decoders)
        self._prefixes = sorted(decoders, key=len, reverse=True)
        self._common = _common_beginning(list(decoders))
        if not self._common:
            raise ValueError("the prefixes have no beginning in common, which one watch could cover")
        self._present: dict[str, int] = {}
        self._broken: dict[str, int] = {}
        self._watch: Watch | None = None
        self._stopped = threading.Event()
        self._pause = _FIRST_PAUSE
        self._revision = 0
        self.undecodable = 0
        """Values met that could not be decoded."""
        self.listings = 0
        """Complete listings made: one at the start, one more for each time history was gone."""
        self.last_error = ""
        """Why listing or watching fails at the moment; empty while it works."""

    @property
    def in_sync(self) -> bool:
        """Whether the stream has been complete and a member is delivering: what readiness and metrics ask."""
        return self._watch is not None and self._watch.connected

    @property
    def member(self) -> str:
        """The member that delivers, for status reports; empty while there is none."""
        watch = self._watch
        return watch.member if watch is not None else ""

    @property
    def revision(self) -> int:
        """What was yielded last, and everything before, is the state of the store as of this revision.

        Only for the thread that iterates, and once it has met an `InSync`.
        """
        return self._revision

    @property
    def broken_keys(self) -> Mapping[str, int]:
        """The keys that now hold an undecodable value, with the revision of each."""
        return dict(self._broken)

    def stop(self) -> None:
        """End the stream, from any thread."""
        self._stopped.set()
        if (watch := self._watch) is not None:
            watch.close()

    def __iter__(self) -> Iterator[Update | InSync]:
        """The stream, one item at a time, until `stop`."""
        for batch in self.batches():
            yield from batch

    def batches(self, tick: float = 3600.0) -> Iterator[list[Update | InSync]]:
        """The stream as it arrives; an empty list every `tick` seconds or so, for whatever else the reader must do.

        Where etcd does not answer, a tick may take as long as the store's own timeout.
        """
        while not self._stopped.is_set():
            try:
                for batch in self._session(tick):
                    if self._stopped.is_set():
                        return
                    yield batch
            except DatastoreError as error:
                self._leave(error)
                yield []
                self._stopped.wait(min(self._pause, tick) * random.uniform(0.5, 1.0))
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _leave(self, error: DatastoreError) -> None:
        """The session failed; the next one begins with a listing."""
        log.warning("listing again after: %s", error)
        self.last_error = str(error)
        if isinstance(error, ReplacedError):  # revisions of another cluster say nothing about this one's
            self._present = dict.fromkeys(self._present, -1)
            self._broken.clear()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.close()

    def _session(self, tick: float) -> Iterator[list[Update | InSync]]:
        """One listing, and the watch that follows it until it fails."""
        yield from self._list()
        watch = self._watch = self._store.watch(self._common, self._revision)
        if self._stopped.is_set():
            watch.close()
        while not self._stopped.is_set():
            batch = watch.next(tick)
            self.last_error, self._pause = "", _FIRST_PAUSE
            yield self._follow(batch) if batch is not None else []

    def _list(self) -> Iterator[list[Update | InSync]]:
        """Every prefix at one revision; what is gone is known, and yielded, only at the end."""
        seen: set[str] = set()
        revision = 0
        for prefix in sorted(self._decoders):
            for page in self._store.pages(prefix, revision):
                revision = page.revision
                seen.update(item.key for item in page.items)
                if updates := self._digest(page):
                    yield updates
        gone = [key for key in self._present if key not in seen]
        for key in [key for key in self._broken if key not in seen]:
            del self._broken[key]
        self._revision, self.listings = revision, self.listings + 1
        yield [*(self._forget(key, revision) for key in sorted(gone)), InSync(revision)]

    def _digest(self, page: Listing) -> list[Update | InSync]:
        fresh = (item for item in page.items if self._known(item.key) != item.mod_revision)
        updates = (self._update(item.key, item.value, item.mod_revision) for item in fresh)
        return [update for update in updates if update is not None]

    def _follow(self, batch: Batch) -> list[Update | InSync]:
        fresh = (event for event in batch.events if self._known(event.key) < event.mod_revision)
        updates = (self._update(event.key, event.value, event.mod_revision) for event in fresh)
        self._revision = batch.revision
        return [update for update in updates if update is not None]

    def _known(self, key: str) -> int:
        return self._present.get(key) or self._broken.get(key, 0)

    def _update(self, key: str, raw: bytes | None, revision: int) -> Update | None:
        """What to yield for a new value of `key`, if anything."""
        value = None if raw is None else self._decode(key, raw, revision)
        if value is not None:
            self._present[key] = revision
            self._broken.pop(key, None)
            return Update(key, value, revision)
        if raw is None:
            self._broken.pop(key, None)
        return self._forget(key, revision) if key in self._present else None

    def _decode(self, key: str, raw: bytes, revision: int) -> Any:
        decoder = next((self._decoders[prefix] for prefix in self._prefixes if key.startswith(prefix)), None)
        if decoder is None:
            return None
        try:
            return decoder(key, raw, revision)
        except (ValueError, RecursionError) as error:  # JSON may be nested deeper than it can be read
            self.undecodable += 1
            self._broken[key] = revision
            log.warning("%s: revision %d cannot be read and counts as absent: %s", key, revision, error)
            return None

    def _forget(self, key: str, revision: int) -> Update:
        del self._present[key]
        return Update(key, None, revision)


def _common_beginning(prefixes: Sequence[str]) -> str:
    """The longest text that all of `prefixes` begin with."""
    first, last = min(prefixes), max(prefixes)
    length = next((index for index, letter in enumerate(first) if letter != last[index]), len(first))
    return first[:length]
