"""A data directory of etcd, seen from outside: whose it is, without starting etcd.

The first two records of a write-ahead log are a checksum and the metadata `{1: member id, 2: cluster id}`, protobuf
varints (etcd: server/wal, walpb.Record and raft's pb.Metadata). A record is framed by eight bytes, little-endian: its
length in the low 56 bits, its padding in the top byte.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dcos_etcd.errors import EtcdError

_METADATA = 1


class Identity(NamedTuple):
    """Which member of which cluster a data directory belongs to."""

    member_id: int
    cluster_id: int


def read_identity(data: Path) -> Identity | None:
    """Whose data this is; None when etcd has not begun (no log: an interrupted first start leaves no promise).

    Raises EtcdError when there is a log that cannot be read: that is for an operator to look at.
    """
    logs = sorted((data / "member/wal").glob("*.wal"))
    if not logs:
        return None
    with logs[0].open("rb") as log:
        head = log.read(4096)
    try:
        return _identity(head)
    except (IndexError, KeyError, ValueError):
        raise EtcdError(
            str(logs[0]), "does not begin as a log of etcd does", "restore a backup, or set the data aside: rejoin"
        ) from None


def set_aside(data: Path, why: str) -> Path:
    """Rename the data directory, whose owner it keeps; its new path. What it held is the operator's to delete."""
    target = data.with_name(f"{data.name}.{why}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}")
    data.rename(target)
    return target


def _identity(head: bytes) -> Identity:
    offset = 0
    while True:
        length = int.from_bytes(head[offset : offset + 8], "little")
        size, padding = length & (1 << 56) - 1, (length >> 56) & 7
        record = dict(_fields(head[offset + 8 : offset + 8 + size]))
        if record.get(1) == _METADATA:
            metadata = dict(_fields(_bytes(record[3])))
            return Identity(_number(metadata[1]), _number(metadata[2]))
        if not size:
            raise ValueError("no metadata")
        offset += 8 + size + padding


def _number(value: int | bytes | None) -> int:
    if not isinstance(value, int):
        raise ValueError("not a number")
    return value


def _bytes(value: int | bytes | None) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("not bytes")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The varint and the length-delimited fields of a protobuf message; ValueError for any other."""
    offset = 0
    while offset < len(message):
        tag, offset = _varint(message, offset)
        value, offset = _varint(message, offset)
        if tag & 7 == 0:
            yield tag >> 3, value
        elif tag & 7 == 2:
            if offset + value > len(message):
                raise ValueError("cut off")
            yield tag >> 3, message[offset : offset + value]
            offset += value
        else:
            raise ValueError("no field of a log record")


def _varint(message: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[offset]
        value |= (byte & 127) << shift
        offset, shift = offset + 1, shift + 7
        if byte < 128:
            return value & (1 << 64) - 1, offset
