"""HTTP/1.1 as etcd's gateway speaks it: one kept-open connection, with a deadline on everything.

Not `http.client`: that costs 25 ms to import, knows no deadline for a whole answer, and loses its place in a stream
when a read times out. Here a stream's bytes stay in a buffer, so that waiting can be given up and taken up again.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ssl

_HEAD_LIMIT = 64 * 1024
_CHUNK = 256 * 1024
_IDLE, _INTERVAL, _PROBES = 4, 2, 3  # a dead peer is noticed by the kernel after 4 + 2 * 3 seconds


class ProtocolError(OSError):
    """What came is not HTTP/1.1; as unusable as a broken connection."""


class Address(NamedTuple):
    """Where a member listens: how it is called in messages, and what to connect to."""

    url: str
    family: int
    sockaddr: tuple[str | int, ...]
    host: str
    port: int
    secure: bool


class Response(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes


def remaining(deadline: float) -> float:
    """Seconds until `deadline` (of time.monotonic); raise TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


class Connection:
    """One connection. Raises OSError (TimeoutError among them); after any but in `lines` it must be closed."""

    def __init__(self, address: Address, context: "ssl.SSLContext | None", deadline: float) -> None:
        self.address = address
        self._buffer = bytearray()
        self._socket = self._connect(context, deadline)
        self.verified = 0.0
        """When the member behind it last proved to be current (time.monotonic)."""

    def _connect(self, context: "ssl.SSLContext | None", deadline: float) -> socket.socket:
        plain = socket.socket(self.address.family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            plain.settimeout(remaining(deadline))
            plain.connect(self.address.sockaddr)
            for level, option, value in (
                (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL),
                (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
                (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (_IDLE + _INTERVAL * _PROBES) * 1000),
            ):
                plain.setsockopt(level, option, value)
            if context is None:
                return plain
            plain.settimeout(remaining(deadline))
            return context.wrap_socket(plain, server_hostname=self.address.host)
        except BaseException:
            plain.close()
            raise

    def is_alive(self) -> bool:
        """Whether the peer has left an idle connection alone: not closed, and nothing sent that nobody asked for."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(1)
        except BlockingIOError:
            return not self._buffer
        except OSError as error:
            # TLS wants more bytes: those that came (a session ticket, say) were not ours to see.
            return type(error).__name__ == "SSLWantReadError" and not self._buffer
        return False

    def interrupt(self) -> None:
        """End it for the thread that waits in it; that thread closes it."""
        # The plain socket's method: TLS's own would take the ground from under the waiting thread.
        with suppress(OSError):  # not connected any more is what was wanted
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it; no other thread may be using it."""
        self._socket.close()

    def post(self, path: str, body: bytes, headers: Mapping[str, str], deadline: float) -> Response:
        """Send a request and read the whole answer."""
        self._send(path, body, headers, deadline)
        status, fields = self._head(deadline)
        if fields.get("transfer-encoding") == "chunked":
            return Response(status, b"".join(self._chunks(deadline)))
        return Response(status, self._take(int(fields.get("content-length", 0)), deadline))

    def open_stream(self, path: str, body: bytes, headers: Mapping[str, str], deadline: float) -> "Stream | Response":
        """Send a request whose answer goes on; a whole Response instead where the server refused."""
        self._send(path, body, headers, deadline)
        status, fields = self._head(deadline)
        if fields.get("transfer-encoding") != "chunked":
            return Response(status, self._take(int(fields.get("content-length", 0)), deadline))
        if status != 200:
            return Response(status, b"".join(self._chunks(deadline)))
        return Stream(self)

    def _send(self, path: str, body: bytes, headers: Mapping[str, str], deadline: float) -> None:
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {host}:{self.address.port}\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
        )
        self._socket.settimeout(remaining(deadline))
        self._socket.sendall(head.encode("latin-1") + body)

    def _head(self, deadline: float) -> tuple[int, dict[str, str]]:
        """Status and lower-cased header fields."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _HEAD_LIMIT:
                raise ProtocolError("the answer is not HTTP")
            self.receive(deadline)
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        words = lines[0].split(None, 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise ProtocolError("the answer is not HTTP")
        pairs = (line.partition(":") for line in lines[1:])
        return int(words[1]), {name.strip().lower(): value.strip().lower() for name, _, value in pairs}

    def _take(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) < size:
            self.receive(deadline)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _chunks(self, deadline: float) -> Iterator[bytes]:
        while True:
            chunk = self.next_chunk()
            if chunk is None:
                self.receive(deadline)
            elif chunk:
                yield chunk
            else:
                return

    def next_chunk(self) -> bytes | None:
        """A chunk out of the buffer, b"" at the end of the answer, None when more bytes have to come first."""
        end = self._buffer.find(b"\r\n")
        if end < 0:
            return None
        try:
            size = int(self._buffer[:end].partition(b";")[0], 16)
        except ValueError:
            raise ProtocolError("the answer's chunks are broken") from None
        if size == 0:
            return self._trailer(end)
        if len(self._buffer) < end + 2 + size + 2:
            return None
        chunk = bytes(self._buffer[end + 2 : end + 2 + size])
        del self._buffer[: end + 2 + size + 2]
        return chunk

    def _trailer(self, size_end: int) -> bytes | None:
        end = self._buffer.find(b"\r\n\r\n", size_end)
        if end < 0:
            return None
        del self._buffer[: end + 4]
        return b""

    def receive(self, deadline: float) -> None:
        """Wait for more bytes; raise EOFError's kin when the peer closed."""
        self._socket.settimeout(remaining(deadline))
        data = self._socket.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("closed by the other side")
        self._buffer += data


class Stream:
    """An answer that goes on, as lines. A TimeoutError loses nothing: ask again."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._line = bytearray()

    def line(self, deadline: float) -> bytes:
        """The next line; b"" at the end of the stream."""
        while True:
            end = self._line.find(b"\n")
            if end >= 0:
                line = bytes(self._line[:end])
                del self._line[: end + 1]
                if line:
                    return line
                continue
            chunk = self._connection.next_chunk()
            if chunk is None:
                self._connection.receive(deadline)
            elif chunk:
                self._line += chunk
            else:
                rest, self._line = bytes(self._line), bytearray()
                return rest

    def interrupt(self) -> None:
        """See Connection."""
        self._connection.interrupt()

    def close(self) -> None:
        """See Connection."""
        self._connection.close()
