"""Netlink's wire format: headers, attributes, and the acknowledgement that answers a request.

Numbers are in the machine's byte order, as the kernel's headers have them (linux/netlink.h).
"""

import os
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

# struct nlmsghdr: length with the header, type, flags, sequence number, port id of the sender
HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")

NLMSG_NOOP, NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 1, 2, 3, 4

NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_ECHO, NLM_F_DUMP_INTR = 0x1, 0x2, 0x4, 0x8, 0x10
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_DUMP = 0x300
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200

_NESTED, _TYPE_MASK = 0x8000, 0x3FFF
_NLMSGERR_ATTR_MSG = 1


class Message(NamedTuple):
    """One message as received: its type, its flags, the sequence number it answers, and what follows the header."""

    kind: int
    flags: int
    sequence: int
    payload: bytes


class NetlinkError(OSError):
    """The kernel refused a request. `errno` is the reason, `sequence` the message it is about."""

    def __init__(self, number: int, sequence: int, what: str = "", explanation: str = "") -> None:
        said = f"{os.strerror(number)} ({explanation})" if explanation else os.strerror(number)
        super().__init__(number, f"{what}: {said}" if what else said)
        self.sequence = sequence


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(-length & 3)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NESTED, b"".join(attributes))


def u8(kind: int, value: int) -> bytes:
    """An attribute of one byte."""
    return attribute(kind, bytes((value,)))


def u32(kind: int, value: int) -> bytes:
    """An attribute of 32 bits in the machine's byte order."""
    return attribute(kind, struct.pack("=I", value))


def be16(kind: int, value: int) -> bytes:
    """An attribute of 16 bits in network byte order."""
    return attribute(kind, struct.pack(">H", value))


def be32(kind: int, value: int) -> bytes:
    """An attribute of 32 bits in network byte order."""
    return attribute(kind, struct.pack(">I", value))


def text(kind: int, value: str) -> bytes:
    """A string attribute, with the zero that ends it."""
    return attribute(kind, value.encode() + b"\0")


def attributes(payload: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """The attributes of `payload` from `offset` on, in order; a kind may come more than once."""
    end = len(payload)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        if length < 4 or offset + length > end:
            raise ValueError(f"an attribute of {length} bytes does not fit in what is left, {end - offset} bytes")
        yield kind & _TYPE_MASK, payload[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute_map(payload: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes of `payload` by kind; of a kind that comes twice, the last."""
    return dict(attributes(payload, offset))


def number(value: bytes) -> int:
    """A number in the machine's byte order, of any width."""
    return int.from_bytes(value, sys.byteorder)


def string(value: bytes) -> str:
    """A string without the zero that ends it."""
    return value.rstrip(b"\0").decode(errors="replace")


def pack(kind: int, flags: int, sequence: int, payload: bytes) -> bytes:
    """One message, padded to four bytes."""
    length = HEADER.size + len(payload)
    return HEADER.pack(length, kind, flags, sequence, 0) + payload + bytes(-length & 3)


def messages(datagram: bytes) -> Iterator[Message]:
    """The messages of one datagram."""
    offset = 0
    while offset + HEADER.size <= len(datagram):
        length, kind, flags, sequence, _ = HEADER.unpack_from(datagram, offset)
        if length < HEADER.size or offset + length > len(datagram):
            raise ValueError(f"a message of {length} bytes in a datagram of {len(datagram)}")
        yield Message(kind, flags, sequence, datagram[offset + HEADER.size : offset + length])
        offset += (length + 3) & ~3


def error_of(message: Message, what: str = "") -> NetlinkError | None:
    """The error that an NLMSG_ERROR reports, with the kernel's explanation; None for an acknowledgement."""
    (negative,) = _ERROR.unpack_from(message.payload)
    if negative == 0:
        return None
    return NetlinkError(-negative, message.sequence, what, _explanation(message))


def _explanation(message: Message) -> str:
    """The kernel's own words (NLMSGERR_ATTR_MSG), which follow the request it sends back, whole or only its header."""
    if not message.flags & NLM_F_ACK_TLVS:
        return ""
    (length,) = struct.unpack_from("=I", message.payload, 4)
    behind = HEADER.size if message.flags & NLM_F_CAPPED else (length + 3) & ~3
    try:
        return string(attribute_map(message.payload, 4 + behind).get(_NLMSGERR_ATTR_MSG, b""))
    except ValueError:
        return ""
