"""`Mailbox`: other threads ask the loop's thread to do something for them, and wait for what it gives."""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Mailbox:
    """Calls into one thread. `fileno` is readable while some wait."""

    def __init__(self) -> None:
        self._signal = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._lock = threading.Lock()

    def fileno(self) -> int:
        """For poll."""
        return self._signal

    def call(self, work: Callable[[], T], timeout: float = 5.0) -> T:
        """What `work` gives or raises in the loop's thread. Raises TimeoutError when that does not come to it."""
        future: Future[T] = Future()
        with self._lock:
            self._waiting.append((future, work))
        self.wake()
        return future.result(timeout)

    def wake(self) -> None:
        """Have the loop turn. Signal handlers may call it: a poll that they interrupt goes on, else."""
        os.eventfd_write(self._signal, 1)

    def serve(self) -> None:
        """In the loop's thread: do everything that waits."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._signal)
        with self._lock:
            waiting = list(self._waiting)
            self._waiting.clear()
        for future, work in waiting:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except Exception as error:
                    future.set_exception(error)
