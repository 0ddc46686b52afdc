"""`Netlink`: one socket to the kernel. Requests are answered in order, each within a deadline.

A socket belongs to the network namespace it was made in (see namespaces.py for one in another). One thread at a time
uses it; only `close` may be called from any.
"""

import errno
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from calico.netlink.message import (
    NLM_F_ACK,
    NLM_F_DUMP,
    NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSG_NOOP,
    Message,
    NetlinkError,
    error_of,
    messages,
    pack,
)

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12

_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 270, 1, 10, 11
_NETLINK_GET_STRICT_CHK = 12
_BUFFER = 1 << 18
_RECEIVE_BUFFER = 1 << 22
_SO_RCVBUFFORCE, _SO_SNDBUFFORCE = 33, 32
_DUMP_ATTEMPTS = 5


class Request(NamedTuple):
    """A message to send: its type, its flags beside REQUEST, and what follows the header."""

    kind: int
    payload: bytes
    flags: int = 0


class TimeoutExpiredError(OSError):
    """The kernel did not answer within the deadline. What was asked may still happen."""

    def __init__(self, seconds: float) -> None:
        super().__init__(errno.ETIMEDOUT, f"no answer from the kernel after {seconds:g} s")


class Netlink:
    """A netlink socket of one protocol. `timeout` (seconds) bounds every wait for the kernel.

    Raises OSError where the socket cannot be made; requests raise NetlinkError when refused and TimeoutExpiredError.
    """

    def __init__(self, protocol: int = NETLINK_ROUTE, timeout: float = 10.0, strict: bool = True) -> None:
        self.timeout = timeout
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0
        _enlarge(self._socket, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        if strict and protocol == NETLINK_ROUTE:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        self._socket.bind((0, 0))

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def fileno(self) -> int:
        """For select and poll: readable when `receive` has something."""
        return self._socket.fileno()

    def subscribe(self, *groups: int) -> None:
        """Receive the kernel's notifications of multicast groups (RTNLGRP_*); the socket is for nothing else then."""
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)

    def receive(self, timeout: float | None = None) -> list[Message]:
        """What notifications wait, waiting up to `timeout` seconds for the first; empty when none came.

        Raise OSError with ENOBUFS when notifications were lost: list afresh.
        """
        self._socket.settimeout(timeout)
        try:
            return list(messages(self._socket.recv(_BUFFER)))
        except (TimeoutError, BlockingIOError):
            return []

    def request(self, kind: int, payload: bytes, flags: int = 0, what: str = "") -> list[Message]:
        """Send one request and wait until it is acknowledged; what the kernel answered besides.

        `what` names the object for the error's text.
        """
        sequence = self._send([Request(kind, payload, flags | NLM_F_ACK)])
        answers: list[Message] = []
        for message in self._answers(sequence, sequence):
            if message.kind == NLMSG_ERROR:
                if error := error_of(message, what):
                    raise error
                return answers
            answers.append(message)
        raise AssertionError("the answers end with an acknowledgement or an error")

    def dump(self, kind: int, payload: bytes, what: str = "") -> list[Message]:
        """Everything of a kind. Begun again when the kernel says that it changed meanwhile."""
        for _ in range(_DUMP_ATTEMPTS):
            found, whole = self._dump(kind, payload, what)
            if whole:
                return found
        return found

    def _dump(self, kind: int, payload: bytes, what: str) -> tuple[list[Message], bool]:
        sequence = self._send([Request(kind, payload, NLM_F_DUMP)])
        found: list[Message] = []
        whole = True
        for message in self._answers(sequence, sequence):
            whole = whole and not message.flags & NLM_F_DUMP_INTR
            if message.kind == NLMSG_DONE:
                return found, whole
            if message.kind == NLMSG_ERROR:
                if error := error_of(message, what):
                    raise error
            else:
                found.append(message)
        raise AssertionError("a dump ends with NLMSG_DONE or an error")

    def batch(self, requests: Sequence[Request]) -> list[NetlinkError]:
        """Send many requests that stand for themselves in few system calls; the errors of those that were refused.

        Each is acknowledged, and each error's `sequence` is the index in `requests` of the one it is about.
        """
        errors: list[NetlinkError] = []
        for start in range(0, len(requests), _BATCH):
            part = requests[start : start + _BATCH]
            last = self._send([one._replace(flags=one.flags | NLM_F_ACK) for one in part])
            first = last - len(part) + 1
            waiting = len(part)
            for message in self._answers(first, last):
                if message.kind != NLMSG_ERROR:
                    continue
                if error := error_of(message):
                    error.sequence = start + message.sequence - first
                    errors.append(error)
                waiting -= 1
                if not waiting:
                    break
        return errors

    def exchange(self, datagram: bytes, first: int, last: int, is_final: Callable[[Message], bool]) -> list[Message]:
        """Send messages packed by the caller, numbered `first` to `last`; the answers up to the final one.

        For protocols with rules of their own, as nfnetlink's batches. Take the numbers from `take_sequence`.
        """
        self._write(datagram)
        answers = []
        for message in self._answers(first, last):
            answers.append(message)
            if is_final(message):
                break
        return answers

    def take_sequence(self, count: int) -> int:
        """The first of `count` sequence numbers that are the caller's now."""
        first = self._sequence + 1
        self._sequence += count
        return first

    def make_room(self, size: int) -> None:
        """Let one datagram of `size` bytes be sent."""
        _enlarge(self._socket, _SO_SNDBUFFORCE, socket.SO_SNDBUF, size)

    def _send(self, requests: Sequence[Request]) -> int:
        """Send requests as one datagram; the sequence number of the last."""
        first = self.take_sequence(len(requests))
        self._write(
            b"".join(
                pack(one.kind, one.flags | NLM_F_REQUEST, first + index, one.payload)
                for index, one in enumerate(requests)
            )
        )
        return self._sequence

    def _write(self, datagram: bytes) -> None:
        self._socket.settimeout(self.timeout)
        try:
            self._socket.send(datagram)
        except TimeoutError:
            raise TimeoutExpiredError(self.timeout) from None

    def _answers(self, first: int, last: int) -> Iterator[Message]:
        """Messages that answer sequence numbers `first` to `last`; those of a request given up earlier are dropped."""
        deadline = time.monotonic() + self.timeout
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutExpiredError(self.timeout)
            self._socket.settimeout(left)
            try:
                datagram = self._socket.recv(_BUFFER)
            except TimeoutError:
                raise TimeoutExpiredError(self.timeout) from None
            for message in messages(datagram):
                if first <= message.sequence <= last and message.kind != NLMSG_NOOP:
                    yield message


# Acknowledgements wait in the receive buffer while the kernel works through a datagram: 36 bytes each, some 1 KB with
# what the kernel accounts for one, so that a few thousand fit.
_BATCH = 256


def _enlarge(handle: socket.socket, forced: int, ordinary: int, size: int) -> None:
    """Make a buffer `size` bytes large; beyond the system's limit where the process may."""
    try:
        handle.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        handle.setsockopt(socket.SOL_SOCKET, ordinary, size)
