"""Operations that run one datastore call at a time, so that a test decides who goes next and who dies where."""

import threading
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import Any, TypeVar

from calico.datastore.errors import IndeterminateError
from calico.datastore.memory import MemoryStore
from calico.datastore.store import Delete, Guard, Listing, Operation, Outcome, Put

_DEADLINE = 20.0
T = TypeVar("T")


class Fate(Enum):
    """What becomes of a datastore call: done, never sent, done without an answer, or its process dies around it."""

    DONE = "done"
    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    LOST_BEFORE = "lost before"
    LOST_AFTER = "lost after"


class Crash(BaseException):
    """The process is gone: nothing may catch this and go on."""


class GatedStore(MemoryStore):
    """The calls of one process on a shared store; `gate` says what becomes of each."""

    def __init__(self, shared: MemoryStore, gate: Callable[[], Fate]) -> None:
        super().__init__()
        self._shared, self._gate = shared, gate

    def get(self, key: str, revision: int = 0) -> Listing:
        """See Store."""
        return self._read(lambda: self._shared.get(key, revision))

    def pages(self, prefix: str, revision: int = 0) -> Iterator[Listing]:
        """See Store."""
        yield from self._read(lambda: list(self._shared.pages(prefix, revision)))

    def commit(
        self, guards: Sequence[Guard], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Outcome:
        """See Store."""
        if not any(isinstance(one, Put | Delete) for one in then):
            return self._read(lambda: self._shared.commit(guards, then, otherwise))
        fate = self._gate()
        if fate is Fate.CRASH_BEFORE:
            raise Crash
        if fate is Fate.LOST_BEFORE:
            raise IndeterminateError("lost before")
        outcome = self._shared.commit(guards, then, otherwise)
        if fate is Fate.CRASH_AFTER:
            raise Crash
        if fate is Fate.LOST_AFTER:
            raise IndeterminateError("lost after")
        return outcome

    def _read(self, call: Callable[[], T]) -> T:
        if self._gate() in (Fate.CRASH_BEFORE, Fate.CRASH_AFTER):
            raise Crash
        return call()


class Actor:
    """One operation in a thread that waits before every datastore call."""

    def __init__(self, shared: MemoryStore, operation: Callable[[GatedStore], Any]) -> None:
        self._fate = Fate.DONE
        self._go, self._waiting = threading.Semaphore(0), threading.Semaphore(0)
        self.finished = False
        self.result: Any = None
        self.error: BaseException | None = None
        store = GatedStore(shared, self._gate)
        self._thread = threading.Thread(target=self._run, args=(store, operation), daemon=True)
        self._thread.start()
        self._wait()

    def step(self, fate: Fate = Fate.DONE) -> None:
        """Let the call it waits at meet its fate, and run to the next call or the end."""
        self._fate = fate
        self._go.release()
        self._wait()

    def run(self) -> None:
        """Let it end undisturbed."""
        while not self.finished:
            self.step()

    def _wait(self) -> None:
        if not self._waiting.acquire(timeout=_DEADLINE):
            raise TimeoutError("an actor neither called the datastore nor ended")

    def _gate(self) -> Fate:
        self._waiting.release()
        self._go.acquire()
        return self._fate

    def _run(self, store: GatedStore, operation: Callable[[GatedStore], Any]) -> None:
        try:
            self.result = operation(store)
        except BaseException as error:  # the test looks at it
            self.error = error
        self.finished = True
        self._waiting.release()
