"""What was asked and not yet answered, in files, so that a plugin that was killed meanwhile can still answer.

When a plugin dies before it answers, the engine asks again for up to 30 seconds, but its second request has no body:
the first attempt has consumed it. The new process finds the body here. A call also has a token, kept with it, by which
it recognises what the first attempt had done.

Files are `<call>.<token>`, hold the body, and vanish with a boot, as the engine's own calls do.
"""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

_ENGINE_GIVES_UP = 45.0
"""Seconds after which no engine asks again: it tries for 30."""


class Call(NamedTuple):
    """A call under way. `again`: an earlier process began it, and how far it came is not known."""

    token: str
    body: bytes = b""
    again: bool = False


class Journal:
    """The calls of a directory. Those found in it at the start wait to be asked again."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = Lock()
        self._orphans: dict[str, list[tuple[float, Call]]] = {}
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in sorted(directory.iterdir()):
            self._adopt(file)

    def _adopt(self, file: Path) -> None:
        name, _, token = file.name.rpartition(".")
        age = time.time() - file.stat().st_mtime
        with suppress(FileNotFoundError):
            if name and age < _ENGINE_GIVES_UP:
                until = time.monotonic() + _ENGINE_GIVES_UP - age
                self._orphans.setdefault(name, []).append((until, Call(token, file.read_bytes(), again=True)))
            else:
                file.unlink()

    @contextmanager
    def call(self, name: str, body: bytes) -> Iterator[Call]:
        """A call, on record until the block ends. Where `body` is empty, the one interrupted call of that name.

        A call that is none of the interrupted ones, or might be one of several, keeps its empty body.
        """
        call = (None if body else self._claim(name)) or Call(uuid.uuid4().hex, body)
        file = self._directory / f"{name}.{call.token}"
        if call.body:
            with suppress(OSError):  # a full disk must stop nobody; the call is then like any plugin's
                file.write_bytes(call.body)
        try:
            yield call
        finally:
            with suppress(FileNotFoundError):
                os.unlink(file)

    def _claim(self, name: str) -> Call | None:
        with self._lock:
            now = time.monotonic()
            waiting = [(until, call) for until, call in self._orphans.pop(name, []) if until > now]
            if not waiting:
                return None
            if len({call.body for _, call in waiting}) > 1:
                self._orphans[name] = waiting
                return None
            _, call = waiting.pop(0)
            self._orphans[name] = waiting
            return call
