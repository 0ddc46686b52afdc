"""The expressions a rule is made of, encoded (linux/netfilter/nf_tables.h).

Registers: 1 to 4 hold 16 bytes each; `slot(n)` is the n-th four bytes of the same space, for keys of several fields.
Values in registers are as packets have them, in network byte order; interface names, marks and such are the kernel's,
in its own.
"""

import struct
from collections.abc import Sequence
from functools import cache
from typing import Literal

from calico.netlink.message import attribute, be32, nested, text

LIST_ELEMENT = 1
_NAME, _DATA = 1, 2
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2

DROP, ACCEPT = 0, 1
JUMP, GOTO, RETURN = -3, -4, -5

VERDICT_REGISTER = 0
_FIRST_SLOT = 8

META_MARK, META_OIF, META_IIFNAME, META_OIFNAME, META_L4PROTO = 3, 5, 6, 7, 16
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2

Comparison = Literal["==", "!=", "<", "<=", ">", ">="]
_OPERATORS: dict[Comparison, int] = {"==": 0, "!=": 1, "<": 2, "<=": 3, ">": 4, ">=": 5}

CT_INVALID, CT_ESTABLISHED, CT_RELATED = 1, 2, 4
FIB_SOURCE, FIB_DESTINATION, FIB_MARK, FIB_IN, FIB_OUT = 1, 2, 4, 8, 16
FIB_RESULT_OIF, FIB_RESULT_TYPE = 1, 3
RTN_LOCAL = 2
LOG_NOTICE = 5

_NAT_PORTS, _NAT_FULLY_RANDOM = 2, 16


def slot(index: int) -> int:
    """The register of the `index`-th four bytes, counted from 0."""
    return _FIRST_SLOT + index


def _expression(name: str, *parameters: bytes) -> bytes:
    return nested(LIST_ELEMENT, text(_NAME, name), nested(_DATA, *parameters))


def _value(kind: int, data: bytes) -> bytes:
    return nested(kind, attribute(_DATA_VALUE, data))


def verdict_data(kind: int, code: int, chain: str = "") -> bytes:
    """The data of a verdict, as rules and the elements of verdict maps have it."""
    parts = [attribute(_VERDICT_CODE, struct.pack(">i", code))]
    if chain:
        parts.append(text(_VERDICT_CHAIN, chain))
    return nested(kind, nested(_DATA_VERDICT, *parts))


@cache
def verdict(code: int) -> bytes:
    """Accept, drop or return."""
    return _expression("immediate", be32(1, VERDICT_REGISTER), verdict_data(2, code))


def jump(chain: str) -> bytes:
    """Evaluate `chain`, and go on behind when it returns."""
    return _expression("immediate", be32(1, VERDICT_REGISTER), verdict_data(2, JUMP, chain))


def goto(chain: str) -> bytes:
    """Evaluate `chain` and do not come back here."""
    return _expression("immediate", be32(1, VERDICT_REGISTER), verdict_data(2, GOTO, chain))


def immediate(data: bytes, register: int = 1) -> bytes:
    """Put `data` into a register."""
    return _expression("immediate", be32(1, register), _value(2, data))


@cache
def meta(key: int, register: int = 1) -> bytes:
    """Load a property of the packet that is no part of it."""
    return _expression("meta", be32(1, register), be32(2, key))


@cache
def meta_set(key: int, register: int = 1) -> bytes:
    """Set a property of the packet from a register."""
    return _expression("meta", be32(3, register), be32(2, key))


@cache
def payload(base: int, offset: int, length: int, register: int = 1) -> bytes:
    """Load `length` bytes of a header."""
    return _expression("payload", be32(1, register), be32(2, base), be32(3, offset), be32(4, length))


def compare(operator: Comparison, data: bytes, register: int = 1) -> bytes:
    """Go on only when the register compares so with `data`."""
    return _expression("cmp", be32(1, register), be32(2, _OPERATORS[operator]), _value(3, data))


def between(low: bytes, high: bytes, register: int = 1) -> tuple[bytes, ...]:
    """Go on only when the register is within the limits, both included."""
    return compare(">=", low, register), compare("<=", high, register)


def outside(low: bytes, high: bytes, register: int = 1) -> bytes:
    """Go on only when the register is beyond the limits."""
    return _expression("range", be32(1, register), be32(2, 1), _value(3, low), _value(4, high))


def bitwise(mask: bytes, xor: bytes, register: int = 1) -> bytes:
    """register = (register & mask) ^ xor."""
    return _expression(
        "bitwise", be32(1, register), be32(2, register), be32(3, len(mask)), _value(4, mask), _value(5, xor)
    )


def lookup(
    name: str, register: int = 1, into: int | None = None, *, inverted: bool = False, set_id: int | None = None
) -> bytes:
    """Go on only when the key in the register is in the set (`inverted`: is not); a map's value goes `into` a register.

    Into the verdict register: the verdict takes effect. `set_id` names a set made in the same transaction.
    """
    parts = [text(1, name), be32(2, register)]
    if into is not None:
        parts.append(be32(3, into))
    if set_id is not None:
        parts.append(be32(4, set_id))
    if inverted:
        parts.append(be32(5, 1))
    return _expression("lookup", *parts)


def count_in(name: str, register: int = 1) -> bytes:
    """Count the packet in the element of the key in the register, which comes into being with the first."""
    return _expression("dynset", text(1, name), be32(3, 0), be32(4, register), nested(7, _counter()))


@cache
def counter() -> bytes:
    """Count the packets that come this far."""
    return nested(LIST_ELEMENT, _counter())


def _counter() -> bytes:
    zero = bytes(8)
    return text(_NAME, "counter") + nested(_DATA, attribute(1, zero), attribute(2, zero))


@cache
def ct_state(bits: int) -> tuple[bytes, ...]:
    """Go on only when connection tracking puts the packet in one of these states."""
    mask = struct.pack("=I", bits)
    return (
        _expression("ct", be32(1, 1), be32(2, 0)),
        bitwise(mask, bytes(4)),
        compare("!=", bytes(4)),
    )


@cache
def fib(result: int, flags: int, register: int = 1) -> bytes:
    """Ask the routing table."""
    return _expression("fib", be32(1, register), be32(2, result), be32(3, flags))


def log(prefix: str, level: int = LOG_NOTICE) -> bytes:
    """Write a line about the packet to the kernel's log."""
    return _expression("log", text(2, prefix), be32(5, level))


def masquerade(*, ports: tuple[int, int] | None = None, fully_random: bool = True) -> tuple[bytes, ...]:
    """Source address of the interface that the packet leaves by; source ports within `ports`."""
    load, parts, flags = _port_range(ports)
    if fully_random:
        flags |= _NAT_FULLY_RANDOM
    options = [be32(1, flags)] if flags else []
    return *load, _expression("masq", *options, *(be32(2 + index, one) for index, one in enumerate(parts)))


def nat(
    kind: Literal["snat", "dnat"],
    family: int,
    *,
    address: bytes | None = None,
    ports: tuple[int, int] | None = None,
    fully_random: bool = False,
) -> tuple[bytes, ...]:
    """Translate to `address`, or to the one in register 1 where none is given."""
    given = [] if address is None else [immediate(address)]
    load, parts, flags = _port_range(ports)
    if fully_random:
        flags |= _NAT_FULLY_RANDOM
    options = [be32(1, 0 if kind == "snat" else 1), be32(2, family), be32(3, 1)]
    options += [be32(5 + index, one) for index, one in enumerate(parts)]
    if flags:
        options.append(be32(7, flags))
    return *given, *load, _expression("nat", *options)


def _port_range(ports: tuple[int, int] | None) -> tuple[list[bytes], Sequence[int], int]:
    """What loads a range of ports, the registers it is in then, and the flag that says so."""
    if ports is None:
        return [], (), 0
    return [immediate(struct.pack(">H", port), 2 + index) for index, port in enumerate(ports)], (2, 3), _NAT_PORTS


@cache
def notrack() -> bytes:
    """Keep the packet out of connection tracking."""
    return nested(LIST_ELEMENT, text(_NAME, "notrack"))
