"""How JSON becomes typed values and back, in the shape Go's encoder gives it.

A codec stands for one JSON type. `decode` turns a JSON value into a typed one and reports what does not fit; `encode`
is its inverse; `check` applies the rules of a *valid* value, which are stricter than those of a readable one: values
in etcd are decoded and used even where a newer validation would refuse them.

`Struct` ties a NamedTuple to its members. Presence follows Go: a plain member is left out when it is zero, an
`optional` one (a pointer in Go) when it is None, an `always` one never.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from calico.model.problems import ModelError, Path, Problem, Report, nearest, shown

Check = Callable[[Any], str]
"""A rule for one value: what is wrong with it, or an empty text."""


class Codec:
    """One JSON type; the base passes a value through as it stands."""

    __slots__ = ()
    zero: Any = None
    name = "a value"

    def decode(self, value: Any, path: Path, report: Report) -> Any:
        """The typed value of a JSON value; `zero`, and a problem in `report`, when it does not fit."""
        return value

    def encode(self, value: Any) -> Any:
        """The JSON value of a typed value."""
        return value

    def check(self, value: Any, path: Path, report: Report) -> None:
        """Report what makes `value` invalid."""

    def wrong(self, value: Any, path: Path, report: Report, message: str = "") -> Any:
        """Report that `value` is not of this type, and give the zero value in its place."""
        report.add(path, message or f"{shown(value)} is not {self.name}")
        return self.zero


class Checked(Codec):
    """A scalar with a rule of its own."""

    __slots__ = ("rule",)

    def __init__(self, rule: Check | None = None) -> None:
        self.rule = rule

    def check(self, value: Any, path: Path, report: Report) -> None:
        if self.rule and (message := self.rule(value)):
            report.add(path, f"{shown(value)}: {message}")


class Text(Checked):
    """A string. In a user's document a bare number or true/false is taken as its text, as upstream does."""

    __slots__ = ()
    zero = ""
    name = "text"

    def decode(self, value: Any, path: Path, report: Report) -> str:
        if isinstance(value, str):
            return value
        if report.strict and isinstance(value, bool):
            return "true" if value else "false"
        if report.strict and isinstance(value, int | float):
            return repr(value).removesuffix(".0")
        return str(self.wrong(value, path, report))


class Choice(Text):
    """A string out of a fixed few."""

    __slots__ = ("values",)

    def __init__(self, *values: str) -> None:
        super().__init__()
        self.values = values

    def check(self, value: Any, path: Path, report: Report) -> None:
        if value not in self.values:
            known = ", ".join(one or '""' for one in self.values)
            report.add(path, f"{shown(value)} is none of {known}", nearest(value, self.values))


class Flag(Checked):
    """true or false."""

    __slots__ = ()
    zero = False
    name = "true or false"

    def decode(self, value: Any, path: Path, report: Report) -> bool:
        return value if isinstance(value, bool) else bool(self.wrong(value, path, report))


class Integer(Checked):
    """A whole number; readable from `least` to `most`, valid where `rule` agrees."""

    __slots__ = ("least", "most")
    zero = 0
    name = "a whole number"

    def __init__(self, rule: Check | None = None, least: int = -(1 << 63), most: int = (1 << 63) - 1) -> None:
        super().__init__(rule)
        self.least = least
        self.most = most

    def decode(self, value: Any, path: Path, report: Report) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            return int(self.wrong(value, path, report))
        if not self.least <= value <= self.most:
            return int(self.wrong(value, path, report, f"{value} is outside {self.least} to {self.most}"))
        return value


class Number(Checked):
    """A floating-point number, written without a fraction where it has none."""

    __slots__ = ()
    zero = 0.0
    name = "a number"

    def decode(self, value: Any, path: Path, report: Report) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return float(self.wrong(value, path, report))
        try:
            number = float(value)
        except OverflowError:
            number = float("inf")
        finite = number - number == 0
        return number if finite else float(self.wrong(value, path, report, f"{shown(value)} is not a finite number"))

    def encode(self, value: Any) -> Any:
        return int(value) if value == int(value) and abs(value) < 1e21 else value


class Listing(Codec):
    """A list of one type, as a tuple."""

    __slots__ = ("item",)
    zero = ()
    name = "a list"

    def __init__(self, item: Codec) -> None:
        self.item = item

    def decode(self, value: Any, path: Path, report: Report) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            return self._no_list(value, path, report)
        decode = self.item.decode
        return tuple([decode(one, (*path, index), report) for index, one in enumerate(value)])

    def _no_list(self, value: Any, path: Path, report: Report) -> tuple[Any, ...]:
        hint = ""
        if isinstance(value, str) and value.lstrip().startswith(("+", "*")):
            hint = f"items begin with '-', so write: - {value.lstrip()[1:].strip()}"
        report.add(path, f"{shown(value)} is not {self.name}", hint)
        return ()

    def encode(self, value: Any) -> list[Any]:
        return [self.item.encode(one) for one in value]

    def check(self, value: Any, path: Path, report: Report) -> None:
        for index, one in enumerate(value):
            self.item.check(one, (*path, index), report)


class TextMap(Codec):
    """A mapping of text to text; `rule` names what is wrong with a pair."""

    __slots__ = ("rule",)
    zero: Mapping[str, str] = {}
    name = "a mapping"
    _TEXT = Text()

    def __init__(self, rule: Callable[[str, str], str] | None = None) -> None:
        self.rule = rule

    def decode(self, value: Any, path: Path, report: Report) -> Mapping[str, str]:
        if not isinstance(value, Mapping):
            return dict(self.wrong(value, path, report))
        decode = self._TEXT.decode
        return {
            str(key): "" if one is None else one if type(one) is str else decode(one, (*path, str(key)), report)
            for key, one in value.items()
        }

    def encode(self, value: Any) -> dict[str, str]:
        return dict(value)

    def check(self, value: Any, path: Path, report: Report) -> None:
        for key, one in value.items():
            if self.rule and (message := self.rule(key, one)):
                report.add((*path, key), message)


class Member(NamedTuple):
    """One member of a mapping.

    `optional` tells "not given" (None) from the zero value; `always` writes the member even when it is zero, or null
    when it is optional and None; `required` makes an empty one invalid.
    """

    name: str
    codec: Codec
    optional: bool = False
    always: bool = False
    required: bool = False


class Struct(Codec):
    """A JSON object with fixed members, as a NamedTuple whose fields stand in the same order.

    `rule(value, path, report)` checks what concerns several members.
    """

    __slots__ = ("by_name", "defaults", "make", "members", "rule", "zero")
    name = "a mapping"

    def __init__(
        self, make: Any, members: Sequence[Member], rule: Callable[[Any, Path, Report], None] | None = None
    ) -> None:
        self.make = make._make
        self.members = tuple(members)
        self.rule = rule
        self.by_name = {member.name: index for index, member in enumerate(self.members)}
        self.defaults = [None if member.optional else member.codec.zero for member in self.members]
        self.zero = self.make(self.defaults)

    def decode(self, value: Any, path: Path, report: Report) -> Any:
        if not isinstance(value, Mapping):
            return self.wrong(value, path, report)
        values = self.defaults.copy()
        seen: set[int] | None = set() if report.strict else None
        for name, one in value.items():
            index = self.by_name.get(name)
            if index is None:
                index = self._folded(name, path, report)
            if index is None:
                continue
            if seen is not None:
                if index in seen:
                    report.add((*path, str(name)), "is given twice, in another spelling")
                seen.add(index)
            if one is not None:
                member = self.members[index]
                values[index] = member.codec.decode(one, (*path, member.name), report)
        return self.make(values)

    def _folded(self, name: object, path: Path, report: Report) -> int | None:
        """The member `name` is in another case, as Go reads it; a strict report learns of a name that is none."""
        lower = str(name).lower()
        for index, member in enumerate(self.members):
            if member.name.lower() == lower:
                return index
        if report.strict:
            hint = nearest(str(name), self.by_name) or f"its members: {', '.join(self.by_name)}"
            report.add((*path, str(name)), "no such member", hint)
        return None

    def encode(self, value: Any) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for member, one, default in zip(self.members, value, self.defaults, strict=True):
            if member.optional and one is None:
                if member.always:
                    result[member.name] = None
            elif member.optional or member.always or one != default:
                result[member.name] = member.codec.encode(one)
        return result

    def check(self, value: Any, path: Path, report: Report) -> None:
        for member, one, default in zip(self.members, value, self.defaults, strict=True):
            if one != default:
                member.codec.check(one, (*path, member.name), report)
            elif member.required:
                report.add((*path, member.name), "must be given")
        if self.rule:
            self.rule(value, path, report)


TEXT = Text()
FLAG = Flag()
INTEGER = Integer()
NUMBER = Number()
TEXTS = Listing(TEXT)
ANY = Codec()


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An `object_pairs_hook` for json.loads that refuses a member given twice, which a dict would hide.

    Raises ModelError; it cannot know where in the document the object stands.
    """
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            raise ModelError([Problem("", (name,), "is given twice")])
        members[name] = value
    return members
