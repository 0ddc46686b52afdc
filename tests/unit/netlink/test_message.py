"""Netlink's wire format: what is packed is read back, and what does not fit is refused."""

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico.netlink import message
from calico.netlink.message import Message

_KINDS = st.integers(0, 0x3FFF)


@given(st.lists(st.tuples(_KINDS, st.binary(max_size=40))))
def test_attributes_come_back_in_order(items: list[tuple[int, bytes]]) -> None:
    packed = b"".join(message.attribute(kind, value) for kind, value in items)
    assert len(packed) % 4 == 0
    assert list(message.attributes(packed)) == items


def test_nested_attributes_lose_their_flag_when_read() -> None:
    packed = message.nested(7, message.u32(1, 42), message.text(2, "eth0"))
    inner = message.attribute_map(message.attribute_map(packed)[7])
    assert (message.number(inner[1]), message.string(inner[2])) == (42, "eth0")


@given(
    st.lists(st.tuples(st.integers(16, 100), st.integers(0, 0xFFFF), st.integers(1, 1 << 31), st.binary(max_size=50)))
)
def test_messages_come_back(items: list[tuple[int, int, int, bytes]]) -> None:
    datagram = b"".join(message.pack(*item) for item in items)
    assert [tuple(found) for found in message.messages(datagram)] == items


@pytest.mark.parametrize("payload", [b"\x03\x00\x01\x00", b"\xff\x00\x01\x00"], ids=["short", "long"])
def test_a_length_that_does_not_fit_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        list(message.attributes(payload))


def test_an_acknowledgement_is_no_error() -> None:
    assert message.error_of(Message(message.NLMSG_ERROR, 0, 1, struct.pack("=i", 0) + bytes(16))) is None


def test_the_kernels_words_are_in_the_error() -> None:
    request = message.HEADER.pack(16, 24, 0, 5, 0)
    payload = struct.pack("=i", -errno.EINVAL) + request + message.text(1, "Nexthop has invalid gateway")
    flags = message.NLM_F_CAPPED | message.NLM_F_ACK_TLVS
    error = message.error_of(Message(message.NLMSG_ERROR, flags, 5, payload), "10.0.0.0/26")
    assert error is not None
    assert (error.errno, error.sequence) == (errno.EINVAL, 5)
    assert str(error) == "[Errno 22] 10.0.0.0/26: Invalid argument (Nexthop has invalid gateway)"
