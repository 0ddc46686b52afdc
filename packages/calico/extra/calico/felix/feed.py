"""`Feed`: the syncer's stream, read by a thread of its own, for a loop that waits for other things too."""

import contextlib
import os
import threading
from collections import deque
from typing import NamedTuple

from calico.datastore.syncer import InSync, Syncer, Update

_FULL = 100_000


class Delivery(NamedTuple):
    """A piece of the stream. All of it and what came before is the datastore as of `revision`, once it is in sync."""

    items: list[Update | InSync]
    revision: int


class Feed:
    """Deliveries in order. `fileno` is readable while some wait; `take` gives all of them.

    When the reader falls far behind, the thread waits for it, so that memory holds one snapshot at most twice.
    """

    def __init__(self, syncer: Syncer, tick: float = 5.0) -> None:
        self.syncer = syncer
        self._tick = tick
        self._waiting: deque[Delivery] = deque()
        self._room = threading.Condition()
        self._size = 0
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_stopped = False
        self._thread = threading.Thread(target=self._read, name="feed", daemon=True)
        self.failure: BaseException | None = None
        """What ended the thread, though nobody stopped it."""

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End reading, without waiting for a connection that hangs."""
        with self._room:
            self._is_stopped = True
            self._room.notify_all()
        self.syncer.stop()
        self._thread.join(1.0)

    def fileno(self) -> int:
        """For poll: readable while something waits."""
        return self._signal

    def take(self) -> list[Delivery]:
        """All deliveries that wait. Raises what ended the thread."""
        with contextlib.suppress(BlockingIOError):  # first: what comes in between is signalled again
            os.eventfd_read(self._signal)
        with self._room:
            found, self._size = list(self._waiting), 0
            self._waiting.clear()
            self._room.notify_all()
        if self.failure is not None and not found:
            raise self.failure
        return found

    def _read(self) -> None:
        try:
            for batch in self.syncer.batches(self._tick):
                self._put(Delivery(batch, self.syncer.revision))
                if self._is_stopped:
                    return
        except BaseException as error:
            self.failure = error
        self._wake()

    def _put(self, delivery: Delivery) -> None:
        with self._room:
            self._room.wait_for(lambda: self._size < _FULL or self._is_stopped)
            self._waiting.append(delivery)
            self._size += len(delivery.items)
        self._wake()

    def _wake(self) -> None:
        os.eventfd_write(self._signal, 1)
