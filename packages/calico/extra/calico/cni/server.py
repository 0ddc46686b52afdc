"""The agent's end of the CNI socket: takes plugins' calls, works on a few at once, and answers each.

Only root is served. Calls wait in a bounded queue; one that finds it full, or has waited too long, is told to try again
rather than left waiting. Calls under way when the server stops are answered first. See client.py for what passes.
"""

import array
import logging
import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from calico.cni.answer import Answer, Input
from calico.cni.client import PROTOCOL
from calico.cni.errors import TRY_AGAIN

log = logging.getLogger(__name__)

WORKERS = 8
WAITING = 256
"""Calls that may wait: more than a node starts containers in a minute."""

_PATIENCE = 60.0
_TRANSFER = 10.0
_LONGEST_HEAD = 100
_LARGEST = 4 << 20
_CREDENTIALS = struct.Struct("=iII")
_DECLINED = b"decline 0\n"


class _Garbled(Exception):
    """A connection on which nothing sensible came."""


class Server:
    """Serves `path`. `handle` gives the answer to an input, or None to leave it to the plugin's own process."""

    def __init__(
        self,
        path: Path,
        handle: Callable[[Input], Answer | None],
        workers: int = WORKERS,
        waiting: int = WAITING,
        patience: float = _PATIENCE,
    ) -> None:
        self._path, self._handle, self._patience = path, handle, patience
        self._queue: queue.Queue[tuple[socket.socket, float] | None] = queue.Queue(waiting)
        self._listener = _listen(path, waiting)
        self._workers = [threading.Thread(target=self._work, name=f"cni-{number}") for number in range(workers)]
        self._acceptor = threading.Thread(target=self._accept, name="cni-accept")
        for thread in (*self._workers, self._acceptor):
            thread.daemon = True
            thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Take no more calls, and wait up to `timeout` seconds for those under way."""
        with suppress(OSError):
            self._path.unlink()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        until = time.monotonic() + timeout
        with suppress(queue.Full):
            for _ in self._workers:
                self._queue.put(None, timeout=max(until - time.monotonic(), 0.01))
        for worker in self._workers:
            worker.join(max(until - time.monotonic(), 0.01))

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # stopped
            try:
                self._queue.put_nowait((connection, time.monotonic()))
            except queue.Full:
                _reply(connection, _busy("too many containers start or stop at once"))

    def _work(self) -> None:
        while (taken := self._queue.get()) is not None:
            connection, since = taken
            if time.monotonic() - since > self._patience:
                _reply(connection, _busy(f"waited {self._patience:.0f} s behind other containers"))
            else:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_TRANSFER)
        given: Input | None = None
        try:
            if not _is_root(connection):
                raise _Garbled("not root")
            given = _receive(connection)
            done = self._handle(given)
        except (_Garbled, OSError) as error:
            log.warning("dropped a call on the CNI socket: %s", error)
            connection.close()
            return
        finally:
            if given is not None and given.namespace >= 0:
                os.close(given.namespace)
        _reply(connection, done)


def _busy(reason: str) -> Answer:
    return Answer(1, b'{"code": %d, "msg": "dcos-calico-node: %b"}\n' % (TRY_AGAIN, reason.encode()))


def _listen(path: Path, backlog: int) -> socket.socket:
    """A socket at `path` for root alone, in the place of one that an earlier process left."""
    beside = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        beside.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(beside))
    finally:
        os.umask(before)
    listener.listen(backlog)
    beside.rename(path)
    return listener


def _is_root(connection: socket.socket) -> bool:
    """Whether the other end runs as root, or as this process does."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return uid in (0, os.geteuid())


def _receive(connection: socket.socket) -> Input:
    data, ancillary, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    try:
        return _parse(connection, data, descriptors[0] if descriptors else -1)
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def _parse(connection: socket.socket, data: bytes, namespace: int) -> Input:
    while b"\n" not in data[:_LONGEST_HEAD] and len(data) < _LONGEST_HEAD:
        data += _more(connection)
    head, newline, rest = data.partition(b"\n")
    words = head.split(b" ")
    if not newline or len(words) != 4 or words[0] != PROTOCOL or not (words[2] + words[3]).isdigit():
        raise _Garbled(f"not a call of {PROTOCOL.decode()}")
    of_environment, of_stdin = int(words[2]), int(words[3])
    if of_environment + of_stdin > _LARGEST:
        raise _Garbled(f"a call of {of_environment + of_stdin} bytes")
    parts = [rest]
    missing = of_environment + of_stdin - len(rest)
    while missing > 0:
        parts.append(_more(connection))
        missing -= len(parts[-1])
    whole = b"".join(parts)
    environment = dict(_pair(one) for one in whole[:of_environment].split(b"\0") if one)
    return Input(words[1].decode(errors="replace"), environment, whole[of_environment:], namespace)


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(1 << 16)
    if not part:
        raise _Garbled("the plugin ended before it had said all")
    return part


def _pair(text: bytes) -> tuple[str, str]:
    name, _, value = text.partition(b"=")
    return name.decode(errors="surrogateescape"), value.decode(errors="surrogateescape")


def _reply(connection: socket.socket, done: Answer | None) -> None:
    """Send an answer; a plugin that is gone does not get it, and what was done is found by the next call."""
    message = _DECLINED if done is None else b"%d %d\n%b" % (done.status, len(done.output), done.output)
    try:
        connection.settimeout(_TRANSFER)
        connection.sendall(message)
    except OSError as error:
        log.warning("a plugin did not take its answer: %s", error)
    finally:
        connection.close()
