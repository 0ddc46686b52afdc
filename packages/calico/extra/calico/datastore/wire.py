"""etcd's JSON gateway: requests as bytes, answers as values, error bodies as exceptions.

The gateway writes protobuf's JSON: bytes are base64, 64-bit numbers are strings, and members that are zero or empty are
left out. Numbers of errors are those of gRPC.
"""

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from calico.datastore.errors import (
    CompactedError,
    DatastoreError,
    LeaseGoneError,
    NoAnswerError,
    NotReachedError,
    PermissionDeniedError,
    TokenError,
)
from calico.datastore.store import Batch, Delete, Event, Get, Guard, KeyValue, Operation, Outcome, Put, prefix_end

RANGE, TXN, AUTHENTICATE = "/v3/kv/range", "/v3/kv/txn", "/v3/auth/authenticate"
GRANT, KEEP_ALIVE, REVOKE, WATCH = "/v3/lease/grant", "/v3/lease/keepalive", "/v3/lease/revoke", "/v3/watch"

Json = Mapping[str, Any]


class Header(NamedTuple):
    """Who answered, and how far its data went."""

    cluster: int
    revision: int


def _b64(text: str | bytes) -> str:
    return b2a_base64(text.encode() if isinstance(text, str) else text, newline=False).decode("ascii")


def _dump(document: Json) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("ascii")


def get_request(key: str, revision: int = 0) -> bytes:
    """Read one key."""
    return _dump({"key": _b64(key), "revision": str(revision)})


def count_request(key: str) -> bytes:
    """Read whether a key exists: the cheapest linearizable question there is."""
    return _dump({"key": _b64(key), "count_only": True})


def page_request(start: bytes, prefix: str, revision: int, limit: int) -> bytes:
    """Read up to `limit` keys from `start` to the end of `prefix`."""
    end = _b64(prefix_end(prefix))
    return _dump({"key": _b64(start), "range_end": end, "revision": str(revision), "limit": str(limit)})


def txn_request(guards: Sequence[Guard], then: Sequence[Operation], otherwise: Sequence[Operation]) -> bytes:
    """A transaction."""
    return _dump(
        {
            "compare": [_compare(guard) for guard in guards],
            "success": [_operation(operation) for operation in then],
            "failure": [_operation(operation) for operation in otherwise],
        }
    )


def watch_request(prefix: str, after: int) -> bytes:
    """Watch a prefix from the revision behind `after`. Large answers come in fragments, progress unasked."""
    return _dump(
        {
            "create_request": {
                "key": _b64(prefix),
                "range_end": _b64(prefix_end(prefix)),
                "start_revision": str(after + 1),
                "progress_notify": True,
                "fragment": True,
            }
        }
    )


def lease_request(lease: int, ttl: int = 0) -> bytes:
    """Grant (with a TTL), renew or revoke a lease."""
    return _dump({"ID": str(lease), "TTL": str(ttl)} if ttl else {"ID": str(lease)})


def login_request(user: str, password: str) -> bytes:
    """Ask for a session token."""
    return _dump({"name": user, "password": password})


def _compare(guard: Guard) -> Json:
    if guard.mod_revision:
        return {"key": _b64(guard.key), "target": "MOD", "mod_revision": str(guard.mod_revision)}
    return {"key": _b64(guard.key), "target": "VERSION", "version": "0"}


def _operation(operation: Operation) -> Json:
    match operation:
        case Put(key, value, lease):
            return {"request_put": {"key": _b64(key), "value": _b64(value), "lease": str(lease)}}
        case Delete(key, prefix):
            end = {"range_end": _b64(prefix_end(key))} if prefix else {}
            return {"request_delete_range": {"key": _b64(key), "prev_kv": True, **end}}
        case Get(key):
            return {"request_range": {"key": _b64(key)}}


def header(answer: Json) -> Header:
    """The header of any answer."""
    found = answer.get("header", {})
    return Header(int(found.get("cluster_id", 0)), int(found.get("revision", 0)))


def items(answer: Json, member: str = "kvs") -> tuple[KeyValue, ...]:
    """The keys of a range answer (`kvs`) or of a deletion (`prev_kvs`)."""
    return tuple(
        KeyValue(
            a2b_base64(item["key"]).decode(errors="surrogateescape"),
            a2b_base64(item.get("value", "")),
            int(item["mod_revision"]),
            int(item.get("lease", 0)),
        )
        for item in answer.get(member, ())
    )


def outcome(answer: Json) -> Outcome:
    """What a transaction did."""
    results = tuple(_result(response) for response in answer.get("responses", ()))
    return Outcome(bool(answer.get("succeeded", False)), header(answer).revision, results)


def _result(response: Json) -> tuple[KeyValue, ...]:
    if "response_range" in response:
        return items(response["response_range"])
    return items(response.get("response_delete_range", {}), "prev_kvs")


def batch(result: Json) -> Batch:
    """The events of a watch answer."""
    events = tuple(_event(event) for event in result.get("events", ()))
    return Batch(header(result).revision, events)


def _event(event: Json) -> Event:
    item = event["kv"]
    value = None if event.get("type") == "DELETE" else a2b_base64(item.get("value", ""))
    return Event(a2b_base64(item["key"]).decode(errors="surrogateescape"), value, int(item["mod_revision"]))


# What an error's text says about whether the request had an effect. Texts are etcd's (stable since 3.3).
_TOKEN = ("invalid auth token", "user name is empty", "revision of auth store is old")
_DENIED = ("permission denied", "authentication failed", "user name not found", "password is given")
_NOTHING_DONE = ("no leader", "too many requests", "not capable", "all SubConns are in TransientFailure", "learner")
AUTH_IS_OFF = "authentication is not enabled"
TOO_LARGE_A_MESSAGE = "larger than max"
_HINTS = {
    "database space exceeded": "etcd's database is full: compact and defragment it, then `etcdctl alarm disarm`",
    "request is too large": "the value is larger than etcd accepts (--max-request-bytes)",
    "too many operations in txn": "the transaction has more operations than etcd accepts (--max-txn-ops)",
}


def problem(where: str, status: int, body: bytes) -> DatastoreError:
    """The exception for an answer of `where` that is not 200."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if b"CommonName of client" in body:
        hint = "its JSON gateway takes no client certificate that has one; issue one without"
        return PermissionDeniedError(f"{where}: etcd refuses the client certificate for its common name ({hint})")
    if not isinstance(document, dict) or "error" not in document:
        return NoAnswerError(f"{where}: HTTP status {status} and no answer of etcd's")
    return error(where, document)


def error(where: str, document: Json) -> DatastoreError:
    """The exception for an error body, of a call or of a stream."""
    inner = document["error"]
    fields = inner if isinstance(inner, dict) else document
    text = str(fields.get("message") or inner)
    said = f"{where}: {text}"
    if any(part in text for part in _TOKEN):
        return TokenError(said)
    if any(part in text for part in _DENIED):
        return PermissionDeniedError(said)
    if "has been compacted" in text:
        return CompactedError()
    if "requested lease not found" in text:
        return LeaseGoneError(said)
    if any(part in text for part in _NOTHING_DONE):
        return NotReachedError(said)
    for part, hint in _HINTS.items():
        if part in text:
            return DatastoreError(f"{said} ({hint})")
    # CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, ABORTED, INTERNAL, UNAVAILABLE: it may have happened.
    if fields.get("grpc_code", fields.get("code", 2)) in (1, 2, 4, 10, 13, 14):
        return NoAnswerError(said)
    return DatastoreError(said)
