"""A client of the kubelet's runtime interface (CRI), for tests: as much of gRPC and protobuf as a few calls take.

gRPC is HTTP/2: a request is a HEADERS frame with the method's path and a DATA frame with the message behind its length;
the answer's DATA frame holds the message. What the headers say (HPACK) is not read: an answer without a message failed.
"""

import socket
import struct
from pathlib import Path
from typing import BinaryIO

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS = 0x1, 0x1, 0x4
_STREAM = 1
_SERVICE = "/runtime.v1.RuntimeService/"


class CriError(Exception):
    """A call that was refused; the runtime's log says why."""


def field(number: int, value: "str | bytes") -> bytes:
    """A protobuf field of text, bytes or a message."""
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw


def fields(message: bytes) -> dict[int, bytes]:
    """A message's texts and messages by number, the last of each; numbers are left out."""
    found, at = {}, 0
    while at < len(message):
        key, at = _read_varint(message, at)
        if key & 7 == 0:
            _, at = _read_varint(message, at)
            continue
        if key & 7 != 2:
            raise ValueError(f"wire type {key & 7}")
        length, at = _read_varint(message, at)
        found[key >> 3] = message[at : at + length]
        at += length
    return found


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


class Cri:
    """Calls to the runtime that listens at a socket, each on a connection of its own."""

    def __init__(self, path: Path, timeout: float = 60.0) -> None:
        self._path, self._timeout = path, timeout

    def run_sandbox(self, name: str, cgroup_parent: str) -> str:
        """Start a pod's sandbox; its id."""
        metadata = field(1, name) + field(2, f"uid-{name}") + field(3, "default")
        config = field(1, metadata) + field(2, name) + field(8, field(1, cgroup_parent))
        return fields(self._call("RunPodSandbox", field(1, config)))[1].decode()

    def address(self, sandbox: str) -> str:
        """The address of a sandbox."""
        status = fields(self._call("PodSandboxStatus", field(1, sandbox)))[1]
        return fields(fields(status)[5])[1].decode()

    def stop_sandbox(self, sandbox: str) -> None:
        """Stop it and take its network away."""
        self._call("StopPodSandbox", field(1, sandbox))

    def remove_sandbox(self, sandbox: str) -> None:
        """Forget it."""
        self._call("RemovePodSandbox", field(1, sandbox))

    def _call(self, method: str, message: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(self._timeout)
            connection.connect(str(self._path))
            body = b"\0" + struct.pack(">I", len(message)) + message
            connection.sendall(
                _PREFACE
                + _frame(_SETTINGS, 0, 0, b"")
                + _frame(_HEADERS, _END_HEADERS, _STREAM, _headers(method))
                + _frame(_DATA, _END_STREAM, _STREAM, body)
            )
            answer = _answer(connection.makefile("rb"), connection)
        if len(answer) < 5:
            raise CriError(f"{method} was refused")
        return answer[5:]


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _headers(method: str) -> bytes:
    """HPACK's plainest form: entries of its static table, and literals that are kept in no table."""

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    return (
        b"\x83\x86"  # :method POST, :scheme http
        b"\x04"
        + text(_SERVICE + method)
        + b"\x01"
        + text("localhost")
        + b"\x0f\x10"  # content-type
        + text("application/grpc")
        + b"\x00"
        + text("te")
        + text("trailers")
    )


def _answer(reader: BinaryIO, connection: socket.socket) -> bytes:
    """The DATA of the stream, up to its end."""
    found = b""
    while True:
        head = reader.read(9)
        if len(head) < 9:
            return found
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = reader.read(length)
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            connection.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind == _DATA:
            found += payload
        if kind in (_RESET, _GOAWAY) or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            return found
