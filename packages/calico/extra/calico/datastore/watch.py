"""`EtcdWatch`: one prefix watched through one member at a time, for as long as it takes.

The stream is read by whoever calls `next`; there is no thread. A stream is trusted as long as something comes on it.
When nothing has come for `PROBE_AFTER` seconds, the same member must answer a linearizable read on another connection,
which a stopped, cut-off or lagging member does not; TCP keep-alives watch over the stream's own connection meanwhile,
and etcd itself ends the stream of a member that has lost its leader (`hasleader`). A dead stream is therefore noticed
within `PROBE_AFTER` + `PROBE_TIMEOUT` = 11 seconds, and taken up at another member behind the last revision delivered.
"""

import json
import random
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from calico.datastore import log, wire
from calico.datastore.errors import (
    CompactedError,
    DatastoreError,
    NoAnswerError,
    NotReachedError,
    ReplacedError,
    StaleMemberError,
    TokenError,
)
from calico.datastore.http1 import Address, Connection, Response, Stream
from calico.datastore.store import Batch, Event

if TYPE_CHECKING:
    from calico.datastore.etcd import Etcd

PROBE_AFTER = 7.0
PROBE_TIMEOUT = 4.0
_OPEN_TIMEOUT = 4.0
_PASSING = (NoAnswerError, NotReachedError, StaleMemberError, TokenError)
"""Failures of one member that another one, or a later moment, may not have."""


class EtcdWatch:
    """See Watch. Errors that no other member would answer differently (no permission) are raised by `next`."""

    def __init__(self, etcd: "Etcd", prefix: str, after: int) -> None:
        from calico.datastore.etcd import Backoff

        self._etcd, self._prefix, self._after = etcd, prefix, after
        self._generation = etcd.identity.generation
        self._backoff = Backoff()
        self._closed = threading.Event()
        self._busy = threading.Lock()
        self._stream: Stream | None = None
        self._address: Address | None = None
        self._heard = 0.0
        self._fragments: list[Event] = []
        self._pending: list[Address] = []
        self._stale: list[StaleMemberError] = []
        self._asked = 0
        self._not_before = 0.0
        self.reconnects = 0
        """How often a stream was lost, for metrics."""

    @property
    def connected(self) -> bool:
        """See Watch."""
        return self._stream is not None

    @property
    def member(self) -> str:
        """The URL of the member that delivers, empty while there is none."""
        address = self._address
        return address.url if address is not None and self._stream is not None else ""

    def next(self, timeout: float) -> Batch | None:
        """See Watch."""
        deadline = time.monotonic() + timeout
        with self._busy:
            try:
                return self._next(deadline)
            finally:
                if self._closed.is_set():
                    self._close_stream()

    def _next(self, deadline: float) -> Batch | None:
        while not self._closed.is_set():
            if self._generation != self._etcd.identity.generation:
                raise ReplacedError("the etcd cluster was replaced")
            if self._stream is None and not self._connect(deadline):
                return None
            batch = self._read(deadline)
            if batch is not None:
                return batch
            if time.monotonic() >= deadline:
                return None
        return None

    def close(self) -> None:
        """See Watch."""
        self._closed.set()
        self._etcd.forget(self)
        if (stream := self._stream) is not None:
            stream.interrupt()
        if self._busy.acquire(timeout=_OPEN_TIMEOUT):  # else the thread in `next` closes on its way out
            self._close_stream()
            self._busy.release()

    def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    # -- finding a member ------------------------------------------------------------------------------------------

    def _connect(self, deadline: float) -> bool:
        """Try members, with pauses between rounds, until one streams; False when `deadline` comes first."""
        while not self._closed.is_set():
            pause = self._not_before - time.monotonic()
            if pause > 0 and self._closed.wait(max(0.0, min(pause, deadline - time.monotonic()))):
                return False
            if self._not_before > time.monotonic():
                return False
            if self._try_next_member():
                return True
            if time.monotonic() >= deadline:
                return False
        return False

    def _try_next_member(self) -> bool:
        """Open a stream at the next member of this round; after the last one, set the time of the next round."""
        if not self._pending:
            self._pending, self._stale = self._etcd.endpoints.addresses(), []
            self._asked = len(self._pending) + len(self._etcd.endpoints.unresolved())
        if self._pending:
            address = self._pending.pop(0)
            try:
                self._open(address)
            except _PASSING as error:
                self._failed(address, error)
            else:
                self._pending = []
                return True
        if not self._pending:
            self._etcd.judge(self._stale, self._asked)
            self._not_before = time.monotonic() + self._backoff.pause()
        return False

    def _failed(self, address: Address, error: DatastoreError) -> None:
        self._etcd.endpoints.avoid(address)
        if isinstance(error, StaleMemberError):
            self._stale.append(error)

    def _open(self, address: Address) -> None:
        etcd, deadline, token = self._etcd, time.monotonic() + _OPEN_TIMEOUT, ""
        connection = etcd.connection(address, deadline)
        try:
            etcd.verify(connection, deadline, at_once=True)
            token = etcd.token(connection, deadline)
            headers = {**etcd.headers(token), "Grpc-Metadata-Hasleader": "true"}
            stream = self._start(connection, headers, deadline)
        except BaseException as error:
            if isinstance(error, TokenError):
                etcd.drop_token(token)
            connection.close()
            raise
        etcd.endpoints.prefer(address)
        self._address, self._heard, self._fragments = address, time.monotonic(), []
        self._stream = stream

    def _start(self, connection: Connection, headers: Mapping[str, str], deadline: float) -> Stream:
        """Ask for the stream and wait until etcd says that the watch exists."""
        where = connection.address.url
        body = wire.watch_request(self._prefix, self._after)
        try:
            stream = connection.open_stream(wire.WATCH, body, headers, deadline)
            if isinstance(stream, Response):
                raise wire.problem(where, stream.status, stream.body)
            line = stream.line(deadline)
        except OSError as error:
            raise NotReachedError(f"{where}: {error}") from None
        self._etcd.identity.check(wire.header(self._result(where, line)), where, self._after)
        return stream

    # -- reading the stream ----------------------------------------------------------------------------------------

    def _read(self, deadline: float) -> Batch | None:
        """Wait for an answer until `deadline` or until the stream needs a probe; drop a stream that failed."""
        assert self._stream is not None
        assert self._address is not None
        probe_at = self._heard + PROBE_AFTER
        try:
            try:
                line = self._stream.line(min(deadline, probe_at))
            except TimeoutError:
                if time.monotonic() >= probe_at:
                    self._probe()
                return None
            self._heard = time.monotonic()
            batch = self._batch(self._result(self._address.url, line))
        except (OSError, *_PASSING) as error:
            self._drop(error)
            return None
        self._backoff.reset()
        return batch

    def _probe(self) -> None:
        assert self._address is not None
        until = time.monotonic() + PROBE_TIMEOUT
        self._etcd.ask(self._address, wire.RANGE, wire.count_request(self._etcd.settings.probe_key), until)
        self._backoff.reset()
        # Drawn anew so that the clients of a cluster do not ask in step.
        self._heard = time.monotonic() - random.uniform(0.0, PROBE_AFTER / 4)

    def _result(self, where: str, line: bytes) -> Mapping[str, Any]:
        try:
            document = json.loads(line)
        except ValueError:
            raise NoAnswerError(f"{where}: the watch ended") from None
        if "error" in document:
            raise wire.error(where, document)
        result: Mapping[str, Any] = document.get("result", {})
        if result.get("canceled"):
            if "compact_revision" in result:
                raise CompactedError(int(result["compact_revision"]))
            reason = str(result.get("cancel_reason") or "the watch was cancelled")
            raise wire.error(where, {"error": reason, "code": 14})
        return result

    def _batch(self, result: Mapping[str, Any]) -> Batch | None:
        batch = wire.batch(result)
        self._fragments += batch.events
        if result.get("fragment"):
            return None
        events, self._fragments = tuple(self._fragments), []
        # A header may be ahead of the events behind it in the stream; only a progress notice (no events) is a promise.
        reached = events[-1].mod_revision if events else batch.revision
        self._after = max(self._after, reached)
        return Batch(self._after, events)

    def _drop(self, error: Exception) -> None:
        """The stream is of no use any more: close it and begin a round, the other members first."""
        if self._closed.is_set():
            return
        assert self._address is not None
        self._close_stream()
        self.reconnects += 1
        self._etcd.endpoints.avoid(self._address)
        self._not_before = time.monotonic() + self._backoff.pause()
        log.info("watch of %s lost behind revision %d: %s", self._prefix, self._after, error)
