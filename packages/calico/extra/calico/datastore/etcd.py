"""`Etcd`: the client of a real cluster.

How it stays right:

- **Failover.** A request goes to the member that answered last, then round the others, with growing pauses, until its
  deadline. A read may be asked again anywhere. A write is asked again only where it certainly had no effect; otherwise
  IndeterminateError says so.
- **Verified members.** A member proves with a linearizable read, on the very connection that will carry a write or a
  watch, that it has a quorum, belongs to the cluster seen first, and is not behind what was read before.
- **Replacement.** A cluster restored from a backup looks stale for ever. When every address there is answered, and all
  named the same other cluster (or the same one, set back) for `REPLACED_AFTER` seconds, it is accepted and watches
  end in ReplacedError, so that their owners list again. One unreachable endpoint is enough to go on refusing.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from calico.datastore import log, wire
from calico.datastore.endpoints import Endpoints
from calico.datastore.errors import (
    CompactedError,
    DatastoreError,
    IndeterminateError,
    LeaseGoneError,
    NoAnswerError,
    NotReachedError,
    PermissionDeniedError,
    StaleMemberError,
    TokenError,
    UnavailableError,
)
from calico.datastore.http1 import Address, Connection, Response
from calico.datastore.store import Guard, Listing, Operation, Outcome

if TYPE_CHECKING:
    from calico.datastore.tls import TlsContext
    from calico.datastore.watch import EtcdWatch

CONNECT_TIMEOUT = 2.0
READ_TIMEOUT = 3.0
WRITE_TIMEOUT = 7.0  # a little more than etcd takes to give up on a proposal itself
VERIFIED_FOR = 5.0
REPLACED_AFTER = 30.0
_FIRST_PAGE, _SMALLEST_PAGE, _LARGEST_PAGE = 200, 16, 4000
_PAGE_BYTES = 2 << 20  # pages are sized to this: far below every limit, and no faster when larger
_IDLE_CONNECTIONS = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 4.0

T = TypeVar("T")


class EtcdSettings(NamedTuple):
    """How to reach and enter a cluster.

    `ca_file`, `cert_file` and `key_file` are looked at for every connection, `password_file` for every log-in: whatever
    rotates them needs not tell us. The first three may hold PEM text instead of a path, the two of the client together.
    """

    endpoints: tuple[str, ...]
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    username: str = ""
    password: str = ""
    password_file: str = ""
    timeout: float = 10.0
    probe_key: str = "/calico/"
    headers: tuple[tuple[str, str], ...] = ()


class Backoff:
    """Pauses that double from 0.1 to 4 s, each drawn between half and all of that: clients must not move in step."""

    def __init__(self) -> None:
        self._next = _FIRST_PAUSE

    def pause(self) -> float:
        """Seconds to wait before the next round."""
        pause = self._next
        self._next = min(pause * 2, _LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Something answered: begin again with a short pause."""
        self._next = _FIRST_PAUSE


class Identity:
    """Which cluster this client belongs to and the newest revision it has seen; refuses what contradicts it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contradicted: tuple[int, float] | None = None
        self.cluster = 0
        self.revision = 0
        self.generation = 0
        """Grows when the cluster was replaced."""

    def check(self, header: wire.Header, where: str, floor: int) -> None:
        """Accept an answer whose question was asked when `floor` was the newest revision, or raise StaleMemberError."""
        with self._lock:
            if self.cluster and header.cluster != self.cluster:
                raise StaleMemberError(f"{where}: is a member of another cluster than before", header.cluster)
            if header.revision < floor:
                text = f"{where}: its data is older than what was read before ({header.revision} < {floor})"
                raise StaleMemberError(text, header.cluster)
            self.cluster = header.cluster
            self.revision = max(self.revision, header.revision)
            self._contradicted = None

    def contradicted(self, clusters: set[int]) -> None:
        """Every address there is was refused, naming `clusters`. Accept the new cluster when this has lasted."""
        now = time.monotonic()
        with self._lock:
            if len(clusters) != 1:
                self._contradicted = None
                return
            cluster = next(iter(clusters))
            if self._contradicted is None or self._contradicted[0] != cluster:
                self._contradicted = (cluster, now)
            elif now - self._contradicted[1] >= REPLACED_AFTER:
                self.cluster, self.revision, self._contradicted = cluster, 0, None
                self.generation += 1
                log.warning("the etcd cluster was replaced: every endpoint now names cluster %x", cluster)


class Etcd:
    """A `Store` over etcd's JSON gateway. Safe to share between threads."""

    def __init__(self, settings: EtcdSettings) -> None:
        self.settings = settings
        self.endpoints = Endpoints(settings.endpoints)
        self.identity = Identity()
        self._lock = threading.Lock()
        self._idle: list[Connection] = []
        self._token = ""
        self._tls: TlsContext | None = None
        self._watches: set[EtcdWatch] = set()
        self._closed = threading.Event()

    # -- reading ---------------------------------------------------------------------------------------------------

    def get(self, key: str, revision: int = 0) -> Listing:
        """One key. See Store."""
        answer = self._read(wire.RANGE, wire.get_request(key, revision))
        return Listing(revision or wire.header(answer).revision, wire.items(answer))

    def pages(self, prefix: str, revision: int = 0) -> Iterator[Listing]:
        """The keys under a prefix. See Store. A page that is too large a message is asked for in smaller parts."""
        start, limit = prefix.encode(), _FIRST_PAGE
        while True:
            try:
                answer = self._read(wire.RANGE, wire.page_request(start, prefix, revision, limit))
            except DatastoreError as error:
                if wire.TOO_LARGE_A_MESSAGE not in str(error) or limit <= _SMALLEST_PAGE:
                    raise
                limit //= 4
                continue
            revision = revision or wire.header(answer).revision
            part = Listing(revision, wire.items(answer))
            yield part
            if not answer.get("more"):
                return
            start = part.items[-1].key.encode(errors="surrogateescape") + b"\0"
            limit = _next_limit(part)

    # -- writing ---------------------------------------------------------------------------------------------------

    def commit(
        self, guards: Sequence[Guard], then: Sequence[Operation], otherwise: Sequence[Operation] = ()
    ) -> Outcome:
        """A transaction. See Store."""
        return wire.outcome(self._write(wire.TXN, wire.txn_request(guards, then, otherwise)))

    def grant(self, ttl: int) -> int:
        """A new lease. See Store."""
        return int(self._write(wire.GRANT, wire.lease_request(0, ttl), checked=False)["ID"])

    def keep_alive(self, lease: int) -> int:
        """Renew a lease. See Store."""
        answer = self._read(wire.KEEP_ALIVE, wire.lease_request(lease), checked=False)
        ttl = int(answer.get("result", {}).get("TTL", 0))
        if ttl <= 0:
            raise LeaseGoneError(f"lease {lease:x} has expired")
        return ttl

    def revoke(self, lease: int) -> None:
        """End a lease. See Store."""
        self._write(wire.REVOKE, wire.lease_request(lease), checked=False)

    # -- watching and closing --------------------------------------------------------------------------------------

    def watch(self, prefix: str, after: int) -> "EtcdWatch":
        """Changes under a prefix. See Store."""
        from calico.datastore.watch import EtcdWatch

        watch = EtcdWatch(self, prefix, after)
        with self._lock:
            self._watches.add(watch)
        return watch

    def forget(self, watch: "EtcdWatch") -> None:
        """A watch was closed."""
        with self._lock:
            self._watches.discard(watch)

    def close(self) -> None:
        """See Store."""
        with self._lock:
            self._closed.set()
            watches, idle = list(self._watches), self._idle
            self._watches, self._idle = set(), []
        for watch in watches:
            watch.close()
        for connection in idle:
            connection.close()

    # -- one request, any member -----------------------------------------------------------------------------------

    def _read(self, path: str, body: bytes, *, checked: bool = True) -> Mapping[str, Any]:
        def ask(address: Address, deadline: float) -> Mapping[str, Any]:
            return self.ask(address, path, body, min(deadline, time.monotonic() + READ_TIMEOUT), checked=checked)

        return self._anywhere(ask, repeatable=True)

    def _write(self, path: str, body: bytes, *, checked: bool = True) -> Mapping[str, Any]:
        def ask(address: Address, deadline: float) -> Mapping[str, Any]:
            until = min(deadline, time.monotonic() + WRITE_TIMEOUT)
            return self.ask(address, path, body, until, checked=checked, write=True)

        return self._anywhere(ask, repeatable=False)

    def _anywhere(self, ask: Callable[[Address, float], T], *, repeatable: bool) -> T:
        deadline = time.monotonic() + self.settings.timeout
        backoff = Backoff()
        while True:
            failed: dict[str, str] = self.endpoints.unresolved()
            stale: list[StaleMemberError] = []
            addresses = self.endpoints.addresses()
            for address in addresses:
                try:
                    answer = ask(address, deadline)
                except NoAnswerError as error:
                    if not repeatable:
                        raise IndeterminateError(f"{error}; the write may or may not have happened") from None
                    failed[address.url] = str(error)
                except StaleMemberError as error:
                    stale.append(error)
                    failed[address.url] = str(error)
                except NotReachedError as error:
                    failed[address.url] = str(error)
                else:
                    self.endpoints.prefer(address)
                    return answer
                self.endpoints.avoid(address)
            self.judge(stale, len(addresses) + len(self.endpoints.unresolved()))
            pause = backoff.pause()
            if time.monotonic() + pause >= deadline:
                raise UnavailableError("etcd is unavailable: " + "; ".join(failed.values()))
            if self._closed.wait(pause):
                raise UnavailableError("the datastore client was closed")

    def judge(self, stale: Sequence[StaleMemberError], asked: int) -> None:
        """A round over all `asked` addresses ended without an answer, `stale` of them refused."""
        clusters = {error.cluster for error in stale} if stale and len(stale) == asked else set()
        self.identity.contradicted(clusters)

    # -- one request, one member -----------------------------------------------------------------------------------

    def ask(
        self, address: Address, path: str, body: bytes, deadline: float, *, checked: bool = True, write: bool = False
    ) -> Mapping[str, Any]:
        """Ask one member, with its answer's header `checked` against what is known; log in anew when it wants that."""
        connection = self.connection(address, deadline)
        try:
            if not write:
                answer = self._with_token(connection, path, body, deadline, checked)
            else:
                self.verify(connection, deadline)
                answer = self._send_write(connection, path, body, deadline, checked)
        except (CompactedError, LeaseGoneError):
            self._put_back(connection)
            raise
        except BaseException:
            connection.close()
            raise
        self._put_back(connection)
        return answer

    def _send_write(
        self, connection: Connection, path: str, body: bytes, deadline: float, checked: bool
    ) -> Mapping[str, Any]:
        try:
            return self._with_token(connection, path, body, deadline, checked)
        except StaleMemberError as error:  # it proved itself, was replaced since, and has done the write
            raise NoAnswerError(str(error)) from None

    def _with_token(
        self, connection: Connection, path: str, body: bytes, deadline: float, checked: bool = True
    ) -> Mapping[str, Any]:
        floor = self.identity.revision if checked else 0
        token = self.token(connection, deadline)
        try:
            answer = self._post(connection, path, body, token, deadline)
        except (TokenError, PermissionDeniedError) as error:
            if not self.settings.username:
                raise PermissionDeniedError(f"{error} (etcd has users turned on: give a user and a password)") from None
            if isinstance(error, PermissionDeniedError):
                raise
            self.drop_token(token)
            answer = self._post(connection, path, body, self.token(connection, deadline), deadline)
        self.identity.check(wire.header(answer.get("result", answer)), connection.address.url, floor)
        if checked:
            connection.verified = time.monotonic()
        return answer

    def _post(self, connection: Connection, path: str, body: bytes, token: str, deadline: float) -> Mapping[str, Any]:
        where = connection.address.url
        try:
            response = connection.post(path, body, self.headers(token), deadline)
            return _document(where, response)
        except OSError as error:
            raise NoAnswerError(f"{where}: {_reason(error)}") from None

    def connection(self, address: Address, deadline: float) -> Connection:
        """A connection to `address`, out of those at rest or a new one; raise NotReachedError.

        TLS files that have never been usable are a plain DatastoreError: no other member will make them so.
        """
        while (connection := self._take_idle(address)) is not None:
            if connection.is_alive():
                return connection
            connection.close()
        context = self._context() if address.secure else None
        try:
            return Connection(address, context, min(deadline, time.monotonic() + CONNECT_TIMEOUT))
        except OSError as error:  # ssl.SSLError and TimeoutError are OSErrors
            raise NotReachedError(f"{address.url}: {_reason(error)}") from None

    def verify(self, connection: Connection, deadline: float, *, at_once: bool = False) -> None:
        """Have the member behind a connection prove that it is current, unless (or `at_once`) it did so just now."""
        if not at_once and time.monotonic() - connection.verified < VERIFIED_FOR:
            return
        until = min(deadline, time.monotonic() + READ_TIMEOUT)
        try:
            self._with_token(connection, wire.RANGE, wire.count_request(self.settings.probe_key), until)
        except NoAnswerError as error:  # nothing was written yet
            raise NotReachedError(str(error)) from None

    def _take_idle(self, address: Address) -> Connection | None:
        with self._lock:
            for index in range(len(self._idle) - 1, -1, -1):
                if self._idle[index].address == address:
                    return self._idle.pop(index)
        return None

    def _put_back(self, connection: Connection) -> None:
        surplus: Connection | None = connection
        with self._lock:
            if not self._closed.is_set():
                self._idle.append(connection)
                surplus = self._idle.pop(0) if len(self._idle) > _IDLE_CONNECTIONS else None
        if surplus is not None:
            surplus.close()

    def _context(self) -> Any:
        if self._tls is None:
            from calico.datastore.tls import TlsContext, TlsFiles

            settings = self.settings
            self._tls = TlsContext(TlsFiles(settings.ca_file, settings.cert_file, settings.key_file))
        try:
            return self._tls.get()
        except OSError as error:
            raise DatastoreError(f"the TLS files cannot be used: {_reason(error)}") from None

    # -- who we are ------------------------------------------------------------------------------------------------

    def headers(self, token: str) -> dict[str, str]:
        """Header fields of every request."""
        return {**dict(self.settings.headers), "Authorization": token} if token else dict(self.settings.headers)

    def token(self, connection: Connection, deadline: float) -> str:
        """The session's token, after a log-in when there is none; empty without a user, or with users turned off."""
        settings = self.settings
        if not settings.username or self._token:
            return self._token
        try:
            answer = self._post(
                connection, wire.AUTHENTICATE, wire.login_request(settings.username, self._password()), "", deadline
            )
            self._token = str(answer.get("token", ""))
        except NoAnswerError as error:
            raise NotReachedError(str(error)) from None
        except DatastoreError as error:
            if wire.AUTH_IS_OFF not in str(error):
                raise
        return self._token

    def drop_token(self, token: str) -> None:
        """`token` was refused."""
        if self._token == token:
            self._token = ""

    def _password(self) -> str:
        path = self.settings.password_file
        if not path:
            return self.settings.password
        try:
            with open(path, encoding="utf-8") as file:
                return file.read().strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PermissionDeniedError(f"the etcd password cannot be read: {_reason(error)}") from None


def _next_limit(page: Listing) -> int:
    """How many keys like those of `page` make a page of about `_PAGE_BYTES`."""
    size = sum(len(item.key) + len(item.value) for item in page.items)
    return max(_SMALLEST_PAGE, min(_LARGEST_PAGE, _PAGE_BYTES * len(page.items) // size))


def _document(where: str, response: Response) -> Mapping[str, Any]:
    """The JSON of an answer, or the exception it stands for."""
    if response.status != 200:
        raise wire.problem(where, response.status, response.body)
    try:
        document = json.loads(response.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise NoAnswerError(f"{where}: the answer is not etcd's JSON")
    if "error" in document:  # a stream (lease renewal) fails inside an answer of status 200
        raise wire.error(where, document)
    return document


def _reason(error: Exception) -> str:
    """One line on why a connection failed, without the numbers and file names of Python's texts."""
    text = str(getattr(error, "verify_message", "") or getattr(error, "strerror", "") or error)
    file = getattr(error, "filename", None)
    first = text.splitlines()[0] if text else type(error).__name__
    return f"{file}: {first}" if file else first
