"""What the text of a parameter may be: a function for each type, which gives the value or raises ValueError."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from calico.model import formats
from calico.model.scalars import Port

Parse = Callable[[str], Any]
_TRUE, _FALSE = ("true", "1", "yes", "y", "t"), ("false", "0", "no", "n", "f")
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


class ProtoPort(NamedTuple):
    """A protocol by number, and a port."""

    protocol: int
    port: int


def flag(text: str) -> bool:
    """A truth value."""
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise ValueError("not true or false")


def number(text: str) -> int:
    """A whole number, as Go reads one with base 0: `0x1f`, `0b1`, `0o17` and `017` are numbers, too."""
    octal = re.fullmatch(r"([-+]?)0([0-7_]+)", text)
    try:
        return int(f"{octal[1]}0o{octal[2].strip('_')}" if octal else text, 0)
    except ValueError:
        raise ValueError("not a whole number") from None


def between(least: int, most: int) -> Parse:
    """A whole number from `least` to `most`."""

    def parse(text: str) -> int:
        value = number(text)
        if not least <= value <= most:
            raise ValueError(f"must be {least} to {most}")
        return value

    return parse


def seconds(text: str) -> float:
    """A time in seconds, with a fraction or without."""
    try:
        value = float(text)
    except ValueError:
        raise ValueError("not a number of seconds") from None
    if not 0 <= value < 1e9:
        raise ValueError("not a time: must be 0 or more seconds")
    return value


def plain(text: str) -> str:
    """Any text."""
    return text


def one_of(*values: str) -> Parse:
    """One of a few words in any case, as it is spelt here."""
    known = {value.lower(): value for value in values}

    def parse(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(f"none of {', '.join(values)}")
        return known[text.lower()]

    return parse


def matching(pattern: str, what: str) -> Parse:
    """A text that the whole pattern matches."""

    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"not {what}")
        return text

    return parse


hostname = matching(r"[a-zA-Z0-9_.-]+", "a host name")


def ipv4(text: str) -> str:
    """A bare IPv4 address."""
    if message := formats.ipv4(text):
        raise ValueError(message)
    return text


def mac(text: str) -> str:
    """A MAC address."""
    if message := formats.mac(text):
        raise ValueError(message)
    return text.lower().replace("-", ":")


def ports(text: str) -> tuple[ProtoPort, ...]:
    """`protocol:port` by commas; without a protocol TCP. Beside TCP and UDP, which upstream takes, SCTP."""
    return tuple(_proto_port(word) for word in _words(text))


def _proto_port(text: str) -> ProtoPort:
    protocol, colon, port = text.rpartition(":")
    word = protocol.strip().lower() if colon else "tcp"
    if word not in _PROTOCOLS:
        raise ValueError(f"{text!r}: the protocol is none of tcp, udp, sctp")
    if not port.strip().isdigit() or not 0 <= int(port) < 65536:
        raise ValueError(f"{text!r}: the port is not 0 to 65535")
    return ProtoPort(_PROTOCOLS[word], int(port))


def interfaces(text: str) -> tuple[str, ...]:
    """Beginnings of interface names, by commas; one or more."""
    found = _words(text)
    for name in found:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,15}", name, re.ASCII):
            raise ValueError(f"{name!r} is not an interface name of at most 15 characters")
    if not found:
        raise ValueError("names no interface")
    return found


def excluded(text: str) -> tuple[str, ...]:
    """Names of interfaces by commas, or `/patterns/`; as patterns that match the whole name, or part of it."""
    return tuple(_excluded(word) for word in _words(text))


def _excluded(word: str) -> str:
    if len(word) > 1 and word.startswith("/") and word.endswith("/"):
        if word == "//":
            raise ValueError("an empty pattern matches every interface")
        if message := formats.regex(word[1:-1]):
            raise ValueError(message)
        return word[1:-1]
    interfaces(word)
    return f"^{re.escape(word)}$"


def networks4(text: str) -> tuple[str, ...]:
    """IPv4 networks or addresses, by commas, as networks."""
    return tuple(_network4(word) for word in _words(text))


def _network4(text: str) -> str:
    found = formats.parse_cidr_or_ip(text)
    if found is None or found[0].version != 4:
        raise ValueError(f"{text!r} is not an IPv4 network")
    return str(found[1])


def port_range(text: str) -> tuple[int, int]:
    """`first:last`, or one port."""
    found = Port.parse(text)
    if found.name:
        raise ValueError("not a range of ports, such as 32768:65535")
    return found.first, found.last


def mark_mask(text: str) -> int:
    """32 bits of which two or more are set."""
    value = between(0, (1 << 32) - 1)(text)
    if value.bit_count() < 2:
        raise ValueError("has fewer than the 2 bits that are needed")
    return int(value)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in (one.strip() for one in text.split(",")) if word)
