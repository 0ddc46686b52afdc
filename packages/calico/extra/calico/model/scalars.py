"""Scalars with a text form of their own: ports, protocols, AS numbers, durations and timestamps."""

import re
from typing import Any, NamedTuple

from calico.model import formats
from calico.model.problems import Path, Report, shown
from calico.model.schema import Codec, Text

PROTOCOLS = ("TCP", "UDP", "ICMP", "ICMPv6", "SCTP", "UDPLite")
PORT_PROTOCOLS = frozenset(("TCP", "UDP", "SCTP", 6, 17, 132))
"""The protocols that have ports, by name and by number."""

Protocol = str | int
_MAX_PORT = 65535


class Port(NamedTuple):
    """A port, a range of ports, or a named port (then both numbers are 0)."""

    first: int
    last: int
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Port":
        """`N`, `A:B` or a name; raises ValueError with what is wrong."""
        if re.fullmatch(r"[0-9]+(:[0-9]+)?", text):
            low, colon, high = text.partition(":")
            return cls.between(int(low[:9]), int((high if colon else low)[:9]))
        if re.fullmatch(r"[a-zA-Z0-9_.-]{1,128}", text):
            return cls(0, 0, text)
        raise ValueError(f"invalid name for named port ({text})")

    @classmethod
    def between(cls, first: int, last: int) -> "Port":
        """The ports `first` to `last`; raises ValueError when that is no range of ports."""
        if not (1 <= first <= _MAX_PORT and 1 <= last <= _MAX_PORT):
            raise ValueError(f"port {last if 1 <= first <= _MAX_PORT else first} is outside 1 to {_MAX_PORT}")
        if first > last:
            raise ValueError(
                f"minimum port number ({first}) is greater than maximum port number ({last}) in port range"
            )
        return cls(first, last)

    def __str__(self) -> str:
        return self.name or (str(self.first) if self.first == self.last else f"{self.first}:{self.last}")


class PortCodec(Codec):
    """A port: a number, `"first:last"` or a name."""

    __slots__ = ()
    name = "a port"

    def decode(self, value: Any, path: Path, report: Report) -> Port | None:
        try:
            if isinstance(value, int) and not isinstance(value, bool):
                return Port.between(value, value)
            if isinstance(value, str):
                return Port.parse(value)
        except ValueError as error:
            report.add(path, str(error))
            return None
        report.add(path, f'{shown(value)} is not a port: a number, "first:last" or a name')
        return None

    def encode(self, value: Any) -> Any:
        return value.first if value.first == value.last and not value.name else str(value)

    def check(self, value: Any, path: Path, report: Report) -> None:
        if value.name and (message := formats.port_name(value.name)):
            report.add(path, f"{value.name!r}: {message}")


class ProtocolCodec(Codec):
    """An IP protocol: a number, or a name with exact case."""

    __slots__ = ()
    zero = ""
    name = "a protocol: a name or a number from 1 to 255"

    def decode(self, value: Any, path: Path, report: Report) -> Protocol:
        if isinstance(value, str):
            if not re.fullmatch(r"[0-9]{1,9}", value):
                return value
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 255:
            return str(self.wrong(value, path, report))
        return value

    def check(self, value: Any, path: Path, report: Report) -> None:
        if value == 0:
            report.add(path, "protocol 0 does not exist: give a number from 1 to 255")
        elif isinstance(value, str) and value not in PROTOCOLS:
            meant = [one for one in PROTOCOLS if one.lower() == value.lower()]
            hint = f"write {meant[0]}" if meant else ""
            report.add(path, f"{shown(value)} is none of {', '.join(PROTOCOLS)} and no number", hint)


class ASNumberCodec(Codec):
    """An AS number: a number, its text, or `high.low`; a plain number once read."""

    __slots__ = ()
    zero = 0
    name = "an AS number"

    def decode(self, value: Any, path: Path, report: Report) -> int:
        number: Any = value
        if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,10})(?:\.([0-9]{1,10}))?", value)):
            number = _dotted_as(int(found[1]), found[2])
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 32:
            return int(self.wrong(value, path, report))
        return number


def _dotted_as(high: int, low_text: str | None) -> int:
    if low_text is None:
        return high
    low = int(low_text)
    return (high << 16) + low if high <= 0xFFFF and low <= 0xFFFF else -1


_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)"
_MAX_DURATION = (1 << 63) - 1


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration (`1m30s`, `500ms`, `-1.5h`, `0`); raises ValueError when `text` is none."""
    found = re.fullmatch(rf"([-+]?)(0|(?:{_PART})+)", text)
    if not found:
        raise ValueError(f"{shown(text)} is not a duration such as 90s, 1m30s or 500ms")
    total = sum(_nanoseconds(number, unit) for number, unit in re.findall(_PART, found[2]))
    if total > _MAX_DURATION:
        raise ValueError(f"{shown(text)} is longer than a duration can be (292 years)")
    return -total if found[1] == "-" else total


def _nanoseconds(number: str, unit: str) -> int:
    whole, _, fraction = number.partition(".")
    scale = _UNITS[unit]
    return int(whole or "0") * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


def format_duration(nanoseconds: int) -> str:
    """The text Go gives a duration: `1m30s`, `1h0m0s`, `500ms`, `0s`."""
    sign, left = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if left == 0:
        return "0s"
    for unit, limit in (("ns", 10**3), ("µs", 10**6), ("ms", 10**9)):
        if left < limit:
            return f"{sign}{_decimal(left, _UNITS[unit])}{unit}"
    minutes, rest = divmod(left, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{sign}{text}{_decimal(rest, 10**9)}s"


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    digits = f"{rest:0{len(str(scale)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


class DurationCodec(Codec):
    """A duration: nanoseconds once read, Go's text in JSON."""

    __slots__ = ()
    zero = 0

    def decode(self, value: Any, path: Path, report: Report) -> int:
        if value == 0 and isinstance(value, int) and report.strict and value is not False:
            return 0
        try:
            if isinstance(value, str):
                return parse_duration(value)
        except ValueError as error:
            report.add(path, str(error))
            return 0
        report.add(path, f"{shown(value)} is not a duration such as 90s, 1m30s or 500ms")
        return 0

    def encode(self, value: Any) -> str:
        return format_duration(value)


class TimestampCodec(Text):
    """A time in RFC 3339, kept as text in UTC with whole seconds."""

    __slots__ = ()

    def decode(self, value: Any, path: Path, report: Report) -> str:
        if isinstance(value, str) and (text := _utc(value)):
            return text
        report.add(path, f"{shown(value)} is not a time such as 2020-05-06T10:11:12Z")
        return ""


def _utc(text: str) -> str:
    """`text` in UTC with whole seconds; empty when it is no RFC 3339 time."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[-+]\d\d:\d\d)", text, re.ASCII):
        return ""
    from datetime import UTC, datetime

    try:
        time = datetime.fromisoformat(re.sub(r"\.\d+", "", text).upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


PORT = PortCodec()
PROTOCOL = ProtocolCodec()
AS_NUMBER = ASNumberCodec()
DURATION = DurationCodec()
TIMESTAMP = TimestampCodec()
