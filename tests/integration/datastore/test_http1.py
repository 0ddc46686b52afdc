"""The HTTP/1.1 connection against a peer that says exactly what a test wants, in pieces of any size."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from calico.datastore.http1 import Address, Connection, ProtocolError, Response, Stream


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def peer() -> Iterator[Callable[..., Connection]]:
    """Connects to a server that reads a request and sends the given pieces, then closes or stays."""
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, pieces: list[bytes], stay: bool) -> None:
        server, _ = listener.accept()
        sockets.append(server)
        with suppress(OSError):  # the test is over before all was sent
            server.recv(65536)
            for piece in pieces:
                server.sendall(piece)
                time.sleep(0.002)
        if not stay:
            server.close()

    def start(pieces: list[bytes], stay: bool = True) -> Connection:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)
        threads.append(threading.Thread(target=serve, args=(listener, pieces, stay), daemon=True))
        threads[-1].start()
        port = listener.getsockname()[1]
        address = Address(f"http://127.0.0.1:{port}", socket.AF_INET, ("127.0.0.1", port), "127.0.0.1", port, False)
        return Connection(address, None, soon())

    yield start
    for one in sockets:
        one.close()
    for thread in threads:
        thread.join(5)


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nA-Trailer: 1\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_answers_in_any_pieces(peer: Callable[..., Connection], size: int) -> None:
    assert peer(pieces(PLAIN, size)).post("/", b"{}", {}, soon()) == Response(200, b"hello")
    assert peer(pieces(CHUNKED, size)).post("/", b"{}", {}, soon()) == Response(500, b"hello world")


def test_one_answer_ends_where_the_next_begins(peer: Callable[..., Connection]) -> None:
    connection = peer([CHUNKED + PLAIN])
    assert connection.post("/", b"", {}, soon()).body == b"hello world"
    assert not connection.is_alive(), "bytes that nobody asked for make a connection unusable"


def test_a_closed_connection_is_known(peer: Callable[..., Connection]) -> None:
    connection = peer([PLAIN], stay=False)
    connection.post("/", b"", {}, soon())
    time.sleep(0.1)
    assert not connection.is_alive()


def test_an_idle_connection_is_alive(peer: Callable[..., Connection]) -> None:
    connection = peer([PLAIN])
    connection.post("/", b"", {}, soon())
    assert connection.is_alive()


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"x" * 100_000, CHUNKED.replace(b"5", b"z")],
)
def test_what_is_not_http_is_refused(peer: Callable[..., Connection], answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        peer([answer]).post("/", b"", {}, soon())


@pytest.mark.parametrize("cut", [0, 10, len(PLAIN) - 1])
def test_an_answer_that_breaks_off_is_an_error(peer: Callable[..., Connection], cut: int) -> None:
    with pytest.raises(ConnectionResetError):
        peer([PLAIN[:cut]] if cut else [], stay=False).post("/", b"", {}, soon())


TRICKLE = pieces(PLAIN.replace(b"5", b"9999") + b"x" * 9999, 1)


@pytest.mark.parametrize("answer", [[], [PLAIN[:20]], [PLAIN[:-1]], TRICKLE], ids=["none", "head", "part", "trickle"])
def test_the_deadline_is_for_the_whole_answer(peer: Callable[..., Connection], answer: list[bytes]) -> None:
    begin = time.monotonic()
    with pytest.raises(TimeoutError):
        peer(answer).post("/", b"", {}, soon(0.3))
    assert time.monotonic() - begin < 1


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_a_stream_is_lines_whatever_its_chunks(peer: Callable[..., Connection], size: int) -> None:
    text = b'{"a":1}\n{"b":\n\n2}\n'
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in pieces(text, 4)) + b"0\r\n\r\n"
    stream = peer(pieces(HEAD + body, size)).open_stream("/", b"", {}, soon())
    assert isinstance(stream, Stream)
    assert [stream.line(soon()) for _ in range(4)] == [b'{"a":1}', b'{"b":', b"2}", b""]


def test_a_stream_goes_on_after_a_wait_in_vain(peer: Callable[..., Connection]) -> None:
    half = [HEAD + b'8\r\n{"a"', b":1}\n\r\n"]
    stream = peer([half[0], *([b""] * 100), half[1]]).open_stream("/", b"", {}, soon())
    assert isinstance(stream, Stream)
    lines: list[bytes] = []
    while not lines:
        try:
            lines.append(stream.line(soon(0.02)))
        except TimeoutError:
            continue
    assert lines == [b'{"a":1}']


def test_a_stream_can_be_interrupted(peer: Callable[..., Connection]) -> None:
    stream = peer([HEAD]).open_stream("/", b"", {}, soon())
    assert isinstance(stream, Stream)
    threading.Timer(0.1, stream.interrupt).start()
    with pytest.raises(OSError, match="closed"):
        stream.line(soon(30))


def test_a_refused_stream_is_a_whole_answer(peer: Callable[..., Connection]) -> None:
    assert peer([CHUNKED]).open_stream("/", b"", {}, soon()) == Response(500, b"hello world")
    assert peer([PLAIN]).open_stream("/", b"", {}, soon()) == Response(200, b"hello")
