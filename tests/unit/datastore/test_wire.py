"""The gateway's JSON: what is sent, what is understood, and what each error means for a caller."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.datastore import wire
from calico.datastore.errors import (
    CompactedError,
    DatastoreError,
    LeaseGoneError,
    NoAnswerError,
    NotReachedError,
    PermissionDeniedError,
    TokenError,
)
from calico.datastore.store import Batch, Delete, Event, Get, Guard, KeyValue, Operation, Put, prefix_end


def b64(text: str | bytes) -> str:
    return b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def test_a_transaction_as_upstream_sends_it() -> None:
    guards = [Guard("/a", 0), Guard("/b", 7)]
    then: list[Operation] = [Put("/a", b"1", 5), Delete("/b"), Delete("/c/", prefix=True)]
    assert json.loads(wire.txn_request(guards, then, [Get("/a")])) == {
        "compare": [
            {"key": b64("/a"), "target": "VERSION", "version": "0"},
            {"key": b64("/b"), "target": "MOD", "mod_revision": "7"},
        ],
        "success": [
            {"request_put": {"key": b64("/a"), "value": b64("1"), "lease": "5"}},
            {"request_delete_range": {"key": b64("/b"), "prev_kv": True}},
            {"request_delete_range": {"key": b64("/c/"), "prev_kv": True, "range_end": b64("/c0")}},
        ],
        "failure": [{"request_range": {"key": b64("/a")}}],
    }


def test_members_that_etcd_leaves_out_are_zero() -> None:
    answer = {"header": {"cluster_id": "9", "revision": "4"}, "kvs": [{"key": b64("/a"), "mod_revision": "3"}]}
    assert wire.header(answer) == (9, 4)
    assert wire.items(answer) == (KeyValue("/a", b"", 3),)
    assert wire.items({}) == ()
    outcome = wire.outcome({"header": {"revision": "4"}, "responses": [{"response_range": {}}, {"response_put": {}}]})
    assert outcome == (False, 4, ((), ()))


def test_events_of_a_watch() -> None:
    deletion = {"type": "DELETE", "kv": {"key": b64("/a"), "mod_revision": "5"}}
    written = {"kv": {"key": b64("/b"), "mod_revision": "6", "create_revision": "2", "version": "3"}}
    assert wire.batch({"header": {"revision": "6"}, "events": [deletion, written]}) == Batch(
        6, (Event("/a", None, 5), Event("/b", b"", 6))
    )


@given(st.text(min_size=1).filter(lambda text: text.isprintable()), st.text())
def test_the_end_of_a_prefix_is_behind_everything_in_it(prefix: str, rest: str) -> None:
    inside = (prefix + rest.encode(errors="ignore").decode()).encode()
    assert prefix.encode() <= inside < prefix_end(prefix)
    assert not prefix_end(prefix).startswith(prefix.encode())


ERRORS = [
    (16, "etcdserver: invalid auth token", TokenError),
    (3, "etcdserver: user name is empty", TokenError),
    (3, "etcdserver: revision of auth store is old", TokenError),
    (7, "etcdserver: permission denied", PermissionDeniedError),
    (3, "etcdserver: authentication failed, invalid user ID or password", PermissionDeniedError),
    (11, "etcdserver: mvcc: required revision has been compacted", CompactedError),
    (5, "etcdserver: requested lease not found", LeaseGoneError),
    (14, "etcdserver: no leader", NotReachedError),
    (8, "etcdserver: too many requests", NotReachedError),
    (14, "all SubConns are in TransientFailure, latest connection error: ...", NotReachedError),
    (14, "etcdserver: request timed out", NoAnswerError),
    (14, "etcdserver: request timed out, possibly due to previous leader failure", NoAnswerError),
    (14, "etcdserver: leader changed", NoAnswerError),
    (14, "transport is closing", NoAnswerError),
    (2, "context deadline exceeded", NoAnswerError),
    (13, "something new", NoAnswerError),
    (3, "etcdserver: duplicate key given in txn request", DatastoreError),
    (11, "etcdserver: mvcc: required revision is a future revision", DatastoreError),
]


@pytest.mark.parametrize(("code", "text", "kind"), ERRORS, ids=[text for _, text, _ in ERRORS])
def test_what_an_error_means(code: int, text: str, kind: type[DatastoreError]) -> None:
    body = json.dumps({"error": text, "message": text, "code": code}).encode()
    call = wire.problem("http://m:2379", 500, body)
    stream = wire.error("http://m:2379", {"error": {"grpc_code": code, "http_code": 503, "message": text}})
    assert type(call) is type(stream) is kind
    if kind is not CompactedError:
        assert text in str(call)
        assert "http://m:2379" in str(call)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("etcdserver: mvcc: database space exceeded", "compact and defragment"),
        ("etcdserver: request is too large", "max"),
    ],
)
def test_an_operator_is_told_what_to_do(text: str, hint: str) -> None:
    assert hint in str(wire.error("m", {"error": text, "code": 8}))


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b"[]", b"{}", b"null", b"\xff"])
def test_an_answer_of_somebody_else_is_no_answer(body: bytes) -> None:
    error = wire.problem("m", 502, body)
    assert isinstance(error, NoAnswerError)
    assert "502" in str(error)


def test_a_certificate_with_a_name_is_explained() -> None:
    body = b"CommonName of client sending a request against gateway will be ignored and not used as expected\n"
    assert isinstance(wire.problem("m", 400, body), PermissionDeniedError)


@given(st.binary(), st.integers(1, 2**62))
def test_values_survive(value: bytes, revision: int) -> None:
    request: dict[str, Any] = json.loads(wire.txn_request([], [Put("/k", value)], []))
    sent = request["success"][0]["request_put"]["value"]
    answer = {"kvs": [{"key": b64("/k"), "value": sent, "mod_revision": str(revision)}]}
    assert wire.items(answer) == (KeyValue("/k", value, revision),)
