"""`Nfnetlink`: transactions and dumps over one netlink socket."""

import errno
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from calico.netlink.message import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    Message,
    NetlinkError,
    attribute_map,
    attributes,
    be32,
    error_of,
    pack,
    string,
    text,
)
from calico.netlink.nftables.objects import (
    GET_CHAIN,
    GET_ELEMENTS,
    GET_GENERATION,
    GET_RULE,
    GET_SET,
    GET_TABLE,
    SUBSYSTEM,
    Base,
    Element,
    Operation,
    Table,
)
from calico.netlink.socket import Netlink

_BATCH_BEGIN, _BATCH_END = 16, 17
_HEADER = struct.pack(">BBH", 0, 0, 10)
_NFGENMSG = 4
_EVERY_FAMILY = struct.pack(">BBH", 0, 0, 0)


class TransactionError(NetlinkError):
    """The kernel refused a transaction; nothing of it is in. `errno` is the first reason.

    `operation` is the message that was refused; None: the transaction as a whole.
    """

    def __init__(self, error: NetlinkError, operation: Operation | None) -> None:
        self.what = operation.what if operation else "the transaction as a whole"
        super().__init__(error.errno or errno.EIO, error.sequence, self.what)
        self.operation = operation


class DumpedChain(NamedTuple):
    """A chain as the kernel has it. `drops`: its policy is drop."""

    family: int
    table: str
    name: str
    base: Base | None
    drops: bool


class DumpedRule(NamedTuple):
    """A rule as the kernel has it, with its number and comment; `expressions` undecoded."""

    family: int
    table: str
    chain: str
    handle: int
    comment: str
    expressions: bytes


class DumpedSet(NamedTuple):
    """A set as the kernel has it."""

    name: str
    flags: int
    key_length: int
    value_length: int


class DumpedElement(NamedTuple):
    """An element as the kernel has it, with its counter where it has one. Intervals are two: where they begin, where
    they have ended (`is_end`)."""

    element: Element
    is_end: bool = False
    packets: int = 0
    octets: int = 0


class Nfnetlink:
    """Transactions and dumps of nf_tables in the network namespace of the socket.

    A transaction is one datagram: the kernel applies all of it or nothing, and answers the last message of it, or every
    message that it refuses. Raises TransactionError, TimeoutExpiredError (it may have happened or not), OSError.
    """

    def __init__(self, netlink: Netlink) -> None:
        self.netlink = netlink
        self._room = 0

    def commit(self, operations: Sequence[Operation], generation: int | None = None) -> int:
        """Apply all of `operations` at once; the number of bytes sent.

        `generation`: refused with ERESTART where the ruleset is no longer of that generation.
        """
        if not operations:
            return 0
        first = self.netlink.take_sequence(len(operations) + 2)
        last = first + len(operations)
        datagram = _datagram(operations, first, generation)
        self._make_room(len(datagram))
        answers = self.netlink.exchange(datagram, first, last, lambda answer: _is_final(answer, first, last))
        for answer in answers:
            if answer.kind == NLMSG_ERROR and (error := error_of(answer)):
                index = error.sequence - first - 1
                raise TransactionError(error, operations[index] if 0 <= index < len(operations) else None)
        return len(datagram)

    def generation(self) -> int:
        """The number of the ruleset; every transaction of anybody in the namespace makes another one."""
        for answer in self.netlink.request(SUBSYSTEM | GET_GENERATION, _EVERY_FAMILY, what="generation"):
            return int.from_bytes(attribute_map(answer.payload, _NFGENMSG)[1], "big")
        raise OSError(errno.EIO, f"generation: {os.strerror(errno.EIO)}")

    def tables(self, family: int = 0, *, awake: bool = False) -> list[tuple[int, str]]:
        """Family and name of each table; of those that are not dormant where only those `awake` are asked for."""
        answers = self.netlink.dump(SUBSYSTEM | GET_TABLE, struct.pack(">BBH", family, 0, 0), "tables")
        found = [(answer.payload[0], attribute_map(answer.payload, _NFGENMSG)) for answer in answers]
        return [(of, string(one[1])) for of, one in found if not (awake and _is_dormant(one))]

    def chains(self, table: Table | None = None) -> Iterator[DumpedChain]:
        """The chains of a table, or of all tables."""
        header = table.header if table else _EVERY_FAMILY
        for answer in self.netlink.dump(SUBSYSTEM | GET_CHAIN, header, "chains"):
            chain = _chain(answer)
            if table is None or chain.table == table.name:
                yield chain

    def rules(self, table: Table, chain: str = "") -> Iterator[DumpedRule]:
        """The rules of a table or chain, in order."""
        payload = table.header + text(1, table.name) + (text(2, chain) if chain else b"")
        for answer in self.netlink.dump(SUBSYSTEM | GET_RULE, payload, f"rules of {table}"):
            rule = _rule(answer)
            if rule.table == table.name and chain in {"", rule.chain}:
                yield rule

    def sets(self, table: Table) -> list[DumpedSet]:
        """The sets and maps of a table that have a name of their own."""
        payload = table.header + text(1, table.name)
        found = [_set(answer) for answer in self.netlink.dump(SUBSYSTEM | GET_SET, payload, f"sets of {table}")]
        return [one for one in found if not one.name.startswith("__")]

    def elements(self, table: Table, name: str) -> list[DumpedElement]:
        """The elements of a set or map."""
        payload = table.header + text(1, table.name) + text(2, name)
        answers = self.netlink.dump(SUBSYSTEM | GET_ELEMENTS, payload, f"elements of set {name} of {table}")
        return [
            _dumped_element(value)
            for answer in answers
            for kind, block in attributes(answer.payload, _NFGENMSG)
            if kind == 3
            for _, value in attributes(block)
        ]

    def _make_room(self, size: int) -> None:
        if size > self._room:
            self.netlink.make_room(2 * size + (1 << 17))
            self._room = size


def _datagram(operations: Sequence[Operation], first: int, generation: int | None) -> bytes:
    begin = _HEADER if generation is None else _HEADER + be32(1, generation)
    parts = [pack(_BATCH_BEGIN, NLM_F_REQUEST, first, begin)]
    last = len(operations)
    for index, (kind, flags, payload, _, _) in enumerate(operations, 1):
        wanted = flags | NLM_F_REQUEST | (NLM_F_ACK if index == last else 0)
        parts.append(pack(kind, wanted, first + index, payload))
    parts.append(pack(_BATCH_END, NLM_F_REQUEST, first + last + 1, _HEADER))
    return b"".join(parts)


def _is_final(answer: Message, first: int, last: int) -> bool:
    """Refusals of the whole come with the number of its begin; else the last message's answer ends the exchange."""
    return answer.kind == NLMSG_ERROR and answer.sequence in {first, last}


def _is_dormant(table: Mapping[int, bytes]) -> bool:
    return bool(int.from_bytes(table.get(2, b""), "big") & 1)


def _chain(answer: Message) -> DumpedChain:
    found = attribute_map(answer.payload, _NFGENMSG)
    base = None
    if 4 in found:
        hook = attribute_map(found[4])
        priority: int = struct.unpack(">i", hook[2])[0]
        base = Base(string(found.get(7, b"")), int.from_bytes(hook[1], "big"), priority)
    drops = base is not None and int.from_bytes(found.get(5, b"\1"), "big") == 0
    return DumpedChain(answer.payload[0], string(found[1]), string(found[3]), base, drops)


def _rule(answer: Message) -> DumpedRule:
    found = attribute_map(answer.payload, _NFGENMSG)
    return DumpedRule(
        answer.payload[0],
        string(found[1]),
        string(found[2]),
        int.from_bytes(found[3], "big"),
        comment_of(found.get(7, b"")),
        found.get(4, b""),
    )


def comment_of(userdata: bytes) -> str:
    """The comment in what a rule's maker left with it: type, length, value."""
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == 0:
            return string(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return ""


def _set(answer: Message) -> DumpedSet:
    found = attribute_map(answer.payload, _NFGENMSG)
    sizes = [int.from_bytes(found.get(kind, b""), "big") for kind in (3, 5, 7)]
    return DumpedSet(string(found[2]), *sizes)


def _dumped_element(block: bytes) -> DumpedElement:
    found = attribute_map(block)
    key = attribute_map(found[1])[1] if 1 in found else b""
    is_end = bool(int.from_bytes(found.get(3, b""), "big") & 1)
    packets, octets = _counter(found[7]) if 7 in found else (0, 0)
    return DumpedElement(Element(key, _element_value(found.get(2))), is_end, packets, octets)


def intervals(dumped: Iterable[DumpedElement]) -> set[Element]:
    """The elements of an interval set. Raises ValueError where beginnings and ends do not alternate."""
    whole: set[Element] = set()
    open_key: bytes | None = None
    for one in sorted(dumped, key=lambda one: (one.element.key, not one.is_end)):
        if one.is_end:
            if open_key is None:
                if int.from_bytes(one.element.key, "big") == 0:
                    continue
                raise ValueError("an interval ends that did not begin")
            whole.add(Element(open_key, end=one.element.key))
            open_key = None
        elif open_key is not None:
            raise ValueError("an interval begins within another")
        else:
            open_key = one.element.key
    return whole | ({Element(open_key, end=b"")} if open_key is not None else set())


def _element_value(data: bytes | None) -> bytes | str | None:
    if data is None:
        return None
    ((kind, value),) = attributes(data)
    return value if kind == 1 else string(attribute_map(value).get(2, b""))


def _counter(expression: bytes) -> tuple[int, int]:
    found = attribute_map(expression)
    if string(found.get(1, b"")) != "counter":
        return 0, 0
    counts = attribute_map(found[2])
    return int.from_bytes(counts[2], "big"), int.from_bytes(counts[1], "big")
