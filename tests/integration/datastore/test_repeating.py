"""What is asked again and what is not, against members that break off in the middle of an answer."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from calico.datastore.errors import DatastoreError, IndeterminateError, UnavailableError
from calico.datastore.etcd import Etcd, EtcdSettings
from calico.datastore.store import put

OK = {"header": {"cluster_id": "1", "revision": "5"}}
STRANGER = {"header": {"cluster_id": "2", "revision": "9"}}
RANGE, TXN, WATCH = "/v3/kv/range", "/v3/kv/txn", "/v3/watch"


class Members:
    """Three members in a process. `on`: what the next requests of a path get, a status and text or None to hang up."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.on: dict[str, list[tuple[int, str] | None]] = {}
        self.closes_idle = False
        members = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                members.asked.append(self.path)
                script = members.on.get(self.path) or [(200, "")]
                answer = script.pop(0)
                if answer is None:
                    self.close_connection = True
                    return
                status, text = answer
                if self.path == WATCH:
                    self._begin_stream_and_break_off()
                    return
                code = 3 if status == 400 else 14
                refusal = {"error": text, "message": text, "code": code}
                body = json.dumps(STRANGER if text == "stranger" else refusal if text else OK).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = members.closes_idle and self.path == TXN

            def _begin_stream_and_break_off(self) -> None:
                line = json.dumps({"result": {**OK, "created": True}}).encode() + b"\n"
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(3)]
        for server in self._servers:
            Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.urls = tuple(f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def count(self, path: str) -> int:
        return self.asked.count(path)

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def members() -> Iterator[Members]:
    made = Members()
    yield made
    made.stop()


@pytest.fixture
def store(members: Members) -> Iterator[Etcd]:
    store = Etcd(EtcdSettings(members.urls, timeout=2.0))
    yield store
    store.close()


def test_a_read_is_asked_again_elsewhere(members: Members, store: Etcd) -> None:
    members.on[RANGE] = [None, None]
    assert store.get("/calico/a").revision == 5
    assert members.count(RANGE) == 3


@pytest.mark.parametrize(
    "answer",
    [
        None,
        (503, "etcdserver: request timed out"),
        (503, "transport is closing"),
        (502, "<html>"),
        (200, "stranger"),
    ],
    ids=["hung up", "timed out", "closing", "a proxy", "another cluster since"],
)
def test_a_write_that_may_have_happened_is_sent_once(
    members: Members, store: Etcd, answer: tuple[int, str] | None
) -> None:
    members.on[TXN] = [answer]
    with pytest.raises(IndeterminateError, match="may or may not have happened"):
        put(store, "/calico/a", b"1")
    assert members.count(TXN) == 1


@pytest.mark.parametrize("text", ["etcdserver: no leader", "etcdserver: too many requests"])
def test_a_write_that_cannot_have_happened_goes_elsewhere(members: Members, store: Etcd, text: str) -> None:
    members.on[TXN] = [(503, text), (503, text)]
    assert put(store, "/calico/a", b"1") == 5
    assert members.count(TXN) == 3


def test_a_member_that_does_not_prove_itself_gets_no_write(members: Members, store: Etcd) -> None:
    members.on[RANGE] = [None] * 100
    with pytest.raises(UnavailableError):
        put(store, "/calico/a", b"1")
    assert members.count(TXN) == 0


def test_a_proof_is_good_for_a_while(members: Members, store: Etcd) -> None:
    for _ in range(5):
        put(store, "/calico/a", b"1")
    assert (members.count(RANGE), members.count(TXN)) == (1, 5)


def test_a_connection_closed_at_rest_costs_no_write(members: Members, store: Etcd) -> None:
    members.closes_idle = True
    for _ in range(5):
        assert put(store, "/calico/a", b"1") == 5
        time.sleep(0.02)  # the close arrives
    assert members.count(TXN) == 5


def test_an_error_of_the_request_is_asked_nowhere_else(members: Members, store: Etcd) -> None:
    members.on[TXN] = [(400, "etcdserver: duplicate key given in txn request")]
    with pytest.raises(DatastoreError, match="duplicate key"):
        put(store, "/calico/a", b"1")
    assert members.count(TXN) == 1


def test_rounds_become_rarer(members: Members, store: Etcd) -> None:
    members.on[RANGE] = [(503, "etcdserver: no leader")] * 1000
    with pytest.raises(UnavailableError):
        store.get("/calico/a")
    assert members.count(RANGE) <= 3 * 7, "2 seconds are at most 7 rounds of 3 members"


def test_a_stream_that_always_breaks_off_is_not_asked_for_in_a_storm(members: Members, store: Etcd) -> None:
    watch = store.watch("/calico/", 5)
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        watch.next(0.1)
    watch.close()
    assert 2 <= members.count(WATCH) <= 8
