"""Tables, chains, rules, sets and their elements as values, and the messages that make and unmake them."""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from calico.netlink.message import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    attribute,
    be32,
    nested,
    text,
)
from calico.netlink.nftables.expressions import LIST_ELEMENT, lookup, verdict_data

SUBSYSTEM = 10 << 8
NEW_TABLE, GET_TABLE, DELETE_TABLE, NEW_CHAIN, GET_CHAIN, DELETE_CHAIN = range(6)
NEW_RULE, GET_RULE, DELETE_RULE, NEW_SET, GET_SET, DELETE_SET = range(6, 12)
NEW_ELEMENTS, GET_ELEMENTS, DELETE_ELEMENTS, NEW_GENERATION, GET_GENERATION = range(12, 17)

INET, IPV4, IPV6 = 1, 2, 10
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)

SET_ANONYMOUS, SET_CONSTANT, SET_INTERVAL, SET_MAP, SET_EVAL, SET_CONCAT = 1, 2, 4, 8, 0x20, 0x80
ELEMENT_INTERVAL_END = 1
_VERDICT_TYPE = 0xFFFFFF00
_COMMENT = 0
_FAMILIES = {INET: "inet", IPV4: "ip", IPV6: "ip6"}
_KEY_BYTE_ORDER, _DATA_BYTE_ORDER = 0, 1
_HOST_ORDER, _NETWORK_ORDER = 1, 2
_TYPE_BITS = 6
# A nested attribute holds 64 KB; an element with a verdict that goes to a chain of the longest name is under 220 bytes.
_ELEMENTS_A_MESSAGE = 256


class Operation(NamedTuple):
    """One message of a transaction. `what` says for the error's text what it is about, `name` which chain or set."""

    kind: int
    flags: int
    payload: bytes
    what: str
    name: str = ""


class DataType(NamedTuple):
    """A type of nft's: its number, which only `nft list` looks at, and its length in bytes."""

    number: int
    length: int
    host_order: bool = False


IPV4_ADDRESS = DataType(7, 4)
IPV6_ADDRESS = DataType(8, 16)
PROTOCOL = DataType(12, 1)
SERVICE = DataType(13, 2)
MARK = DataType(19, 4, host_order=True)
INTERFACE = DataType(41, 16, host_order=True)
VERDICT = DataType(_VERDICT_TYPE, 0)


class Set(NamedTuple):
    """What a set or map is: the fields of its key, and for a map the type of its values."""

    key: tuple[DataType, ...]
    value: DataType | None = None
    interval: bool = False
    dynamic: bool = False
    size: int = 0

    @property
    def key_length(self) -> int:
        """Of one key in bytes, each field padded to whole registers."""
        return sum((field.length + 3) & ~3 for field in self.key) if len(self.key) > 1 else self.key[0].length

    @property
    def flags(self) -> int:
        """NFT_SET_*, as the kernel gives them back."""
        return (
            (SET_INTERVAL if self.interval else 0) | (SET_MAP if self.value else 0) | (SET_EVAL if self.dynamic else 0)
        )


class Element(NamedTuple):
    """A key, and what a map has for it: bytes, or the chain that a verdict map goes to (`goto`).

    In an interval set `end` is the first key behind the interval, empty where the interval reaches the last key. The
    kernel knows an interval as two elements, which are always written side by side.
    """

    key: bytes
    value: bytes | str | None = None
    end: bytes | None = None


class AnonymousLookup(NamedTuple):
    """A lookup in a set that lives and dies with its rule."""

    set: Set
    elements: tuple[Element, ...]
    inverted: bool = False
    register: int = 1


class Rule:
    """What a rule does, and the text people see behind it. Two rules that do the same have the same `digest`."""

    __slots__ = ("_digest", "parts", "text")

    def __init__(self, parts: Iterable[bytes | AnonymousLookup], text: str = "") -> None:
        self.parts = tuple(parts)
        self.text = text
        self._digest = ""

    @property
    def digest(self) -> str:
        """Of everything but the text."""
        if not self._digest:
            state = hashlib.blake2b(digest_size=9)
            for part in self.parts:
                state.update(part if isinstance(part, bytes) else repr(part).encode())
            self._digest = state.hexdigest()
        return self._digest

    @property
    def comment(self) -> str:
        """What the kernel keeps: by the digest in it, a process that comes later knows the rule."""
        return f"cali:{self.digest} {self.text}".rstrip()[:120] if self.text else f"cali:{self.digest}"

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Rule) and self.parts == other.parts and self.text == other.text)

    def __hash__(self) -> int:
        return hash((self.parts, self.text))

    def __repr__(self) -> str:
        return f"Rule({self.text!r}, {self.digest})"


class Base(NamedTuple):
    """Where the kernel enters a base chain. Its policy is accept."""

    type: str
    hook: int
    priority: int


class Chain(NamedTuple):
    """A chain's rules, in order."""

    rules: tuple[Rule, ...]
    base: Base | None = None


class Table:
    """A table of one family; its methods give the messages of a transaction. Names of anonymous sets are numbered."""

    def __init__(self, family: int, name: str) -> None:
        self.family = family
        self.name = name
        self.header = struct.pack(">BBH", family, 0, 0)
        self._table = text(1, name)
        self._anonymous = 0

    def __str__(self) -> str:
        return f"table {_FAMILIES.get(self.family, self.family)} {self.name}"

    def create(self, *, exclusive: bool = False) -> Operation:
        """`exclusive`: refused where there is one already."""
        return self._operation(
            NEW_TABLE, NLM_F_CREATE | (NLM_F_EXCL if exclusive else 0), self._table, be32(2, 0), what=""
        )

    def delete(self) -> Operation:
        """The table and everything in it."""
        return self._operation(DELETE_TABLE, 0, self._table, what="")

    def add_chain(self, name: str, base: Base | None = None) -> Operation:
        """Make an empty chain."""
        parts = [self._table, text(3, name)]
        if base:
            parts.append(nested(4, be32(1, base.hook), attribute(2, struct.pack(">i", base.priority))))
            parts += [be32(5, 1), text(7, base.type)]
        return self._operation(NEW_CHAIN, NLM_F_CREATE, *parts, what=f"chain {name}")

    def delete_chain(self, name: str) -> Operation:
        """Refused while something refers to it, or while it has rules."""
        return self._operation(DELETE_CHAIN, 0, self._table, text(3, name), what=f"chain {name}")

    def flush_chain(self, name: str) -> Operation:
        """Take all rules out of it."""
        return self._operation(DELETE_RULE, 0, self._table, text(2, name), what=f"rules of chain {name}")

    def add_rules(self, chain: str, rules: Sequence[Rule]) -> Iterator[Operation]:
        """Put rules at the end of a chain, with the sets that are theirs alone."""
        for index, rule in enumerate(rules):
            yield from self.add_rule(chain, rule, f"rule {index + 1} of chain {chain} ({rule.text or rule.digest})")

    def add_rule(self, chain: str, rule: Rule, what: str, *, at_top: bool = False) -> Iterator[Operation]:
        """One rule, at the end of a chain or `at_top`."""
        expressions = []
        for part in rule.parts:
            if isinstance(part, bytes):
                expressions.append(part)
                continue
            self._anonymous += 1
            parts = [
                self._anonymous_set(part.set, self._anonymous, f"set of {what}"),
                *self._elements(NEW_ELEMENTS, "__set%d", part.elements, self._anonymous, f"set of {what}"),
            ]
            yield from (one._replace(name=chain) for one in parts)
            expressions.append(lookup("__set%d", part.register, inverted=part.inverted, set_id=self._anonymous))
        comment = rule.comment.encode(errors="replace") + b"\0"
        yield self._operation(
            NEW_RULE,
            NLM_F_CREATE | (0 if at_top else NLM_F_APPEND),
            self._table,
            text(2, chain),
            nested(4, *expressions),
            attribute(7, bytes((_COMMENT, len(comment))) + comment),
            what=what,
            name=chain,
        )

    def delete_rule(self, chain: str, handle: int) -> Operation:
        """The rule the kernel knows by this number."""
        return self._operation(
            DELETE_RULE,
            0,
            self._table,
            text(2, chain),
            attribute(3, struct.pack(">Q", handle)),
            what=f"rule of {chain}",
        )

    def add_set(self, name: str, kind: Set) -> Operation:
        """Make an empty set or map."""
        self._anonymous += 1
        return self._set(name, kind, kind.flags, self._anonymous, f"set {name}")

    def delete_set(self, name: str) -> Operation:
        """Refused while a rule refers to it."""
        return self._operation(DELETE_SET, 0, self._table, text(2, name), what=f"set {name}")

    def add_elements(self, name: str, elements: Iterable[Element]) -> Iterator[Operation]:
        """Put elements into a set or map."""
        return self._elements(NEW_ELEMENTS, name, elements, None, f"elements of set {name}")

    def delete_elements(self, name: str, elements: Iterable[Element]) -> Iterator[Operation]:
        """Take elements out; refused where one is not in."""
        return self._elements(DELETE_ELEMENTS, name, elements, None, f"elements of set {name}")

    def _operation(self, kind: int, flags: int, *parts: bytes, what: str, name: str = "") -> Operation:
        return Operation(SUBSYSTEM | kind, flags, self.header + b"".join(parts), f"{self} {what}".rstrip(), name)

    def _anonymous_set(self, kind: Set, number: int, what: str) -> Operation:
        return self._set("__set%d", kind, kind.flags | SET_ANONYMOUS | SET_CONSTANT, number, what)

    def _set(self, name: str, kind: Set, flags: int, number: int, what: str) -> Operation:
        key_type = 0
        for field in kind.key:
            key_type = key_type << _TYPE_BITS | field.number
        parts = [self._table, text(2, name), be32(3, flags), be32(4, key_type), be32(5, kind.key_length)]
        if kind.value:
            parts.append(be32(6, kind.value.number))
            if kind.value is not VERDICT:
                parts.append(be32(7, kind.value.length))
        if kind.size:
            parts.append(nested(9, be32(1, kind.size)))
        parts += [be32(10, number), attribute(13, _byte_orders(kind))]
        return self._operation(NEW_SET, NLM_F_CREATE, *parts, what=what, name=name)

    def _elements(
        self, kind: int, name: str, elements: Iterable[Element], number: int | None, what: str
    ) -> Iterator[Operation]:
        flags = NLM_F_CREATE if kind == NEW_ELEMENTS else 0
        known = b"" if number is None else be32(4, number)
        rest = iter(elements)
        while some := [part for one in islice(rest, _ELEMENTS_A_MESSAGE) for part in _element(one)]:
            parts = (self._table, text(2, name), known, nested(3, *some))
            yield self._operation(kind, flags, *parts, what=what, name=name)


def _element(element: Element) -> Iterator[bytes]:
    parts = [nested(1, attribute(1, element.key))]
    if isinstance(element.value, str):
        parts.append(verdict_data(2, -4, element.value))
    elif element.value is not None:
        parts.append(nested(2, attribute(1, element.value)))
    yield nested(LIST_ELEMENT, *parts)
    if element.end:
        yield nested(LIST_ELEMENT, nested(1, attribute(1, element.end)), be32(3, ELEMENT_INTERVAL_END))


def _byte_orders(kind: Set) -> bytes:
    """In what order `nft list` is to read keys and values."""
    orders = struct.pack("=BBI", _KEY_BYTE_ORDER, 4, _HOST_ORDER if kind.key[0].host_order else _NETWORK_ORDER)
    if kind.value and kind.value is not VERDICT:
        order = _HOST_ORDER if kind.value.host_order else _NETWORK_ORDER
        orders += struct.pack("=BBI", _DATA_BYTE_ORDER, 4, order)
    return orders
