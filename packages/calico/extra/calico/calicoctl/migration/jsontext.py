"""JSON with the place of every value, so that one can be changed and the rest stays as somebody wrote it."""

import json
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import NamedTuple

from calico.calicoctl.migration.values import Edit

_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_DEEP = 200


class NotJson(ValueError):
    """The text is no JSON, or has something that cannot be edited safely; where and what."""


class Node(NamedTuple):
    """A value from `start` to `end`: an object's members by name, an array's elements, or a scalar."""

    start: int
    end: int
    value: "dict[str, Node] | list[Node] | str | int | float | bool | None"

    @property
    def members(self) -> dict[str, "Node"]:
        """Of an object its members, of anything else none."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def elements(self) -> list["Node"]:
        """Of an array its elements, of anything else none."""
        return self.value if isinstance(self.value, list) else []

    @property
    def text(self) -> str:
        """Of a string its characters, of anything else nothing."""
        return self.value if isinstance(self.value, str) else ""


def parse(text: str) -> Node:
    """The tree of a JSON text. NotJson with line and column where it is none, or where an object has a key twice."""
    try:
        start = _space(text, 1 if text.startswith("\ufeff") else 0)
        node = _value(text, start, 0)
        end = _space(text, node.end)
    except (json.JSONDecodeError, IndexError) as error:
        raise NotJson(
            _place(text, getattr(error, "pos", len(text)), getattr(error, "msg", "ends too early"))
        ) from error
    if end != len(text):
        raise NotJson(_place(text, end, "has something behind its end"))
    return node


def _place(text: str, position: int, what: str) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - (text.rfind("\n", 0, position) + 1) + 1
    return f"line {line}, column {column}: {what}"


def _space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _value(text: str, position: int, depth: int) -> Node:
    if depth > _DEEP:
        raise NotJson(_place(text, position, "is nested too deeply"))
    match text[position]:
        case "{":
            return _object(text, position, depth)
        case "[":
            return _array(text, position, depth)
        case '"':
            value, end = scanstring(text, position + 1, True)
            return Node(position, end, value)
    scalar = _SCALAR.match(text, position)
    if scalar is None:
        raise NotJson(_place(text, position, "is no JSON value"))
    try:
        return Node(position, scalar.end(), json.loads(scalar.group()))
    except ValueError as error:
        raise NotJson(_place(text, position, "is a number of too many digits")) from error


def _object(text: str, start: int, depth: int) -> Node:
    members: dict[str, Node] = {}
    position = _space(text, start + 1)
    while text[position] != "}":
        if text[position] != '"':
            raise NotJson(_place(text, position, "should be a key in double quotes"))
        key, end = scanstring(text, position + 1, True)
        if key in members:
            raise NotJson(_place(text, position, f"the key {key!r} is there twice"))
        position = _space(text, _expect(text, _space(text, end), ":"))
        members[key] = _value(text, position, depth + 1)
        position = _next(text, members[key].end, "}")
    return Node(start, position + 1, members)


def _array(text: str, start: int, depth: int) -> Node:
    elements: list[Node] = []
    position = _space(text, start + 1)
    while text[position] != "]":
        elements.append(_value(text, position, depth + 1))
        position = _next(text, elements[-1].end, "]")
    return Node(start, position + 1, elements)


def _expect(text: str, position: int, character: str) -> int:
    if text[position] != character:
        raise NotJson(_place(text, position, f"should be {character!r}"))
    return position + 1


def _next(text: str, position: int, closing: str) -> int:
    """Behind a comma and its space, or at the closing bracket."""
    position = _space(text, position)
    if text[position] == closing:
        return position
    position = _space(text, _expect(text, position, ","))
    if text[position] == closing:
        raise NotJson(_place(text, position, "has a comma before it that should not be there"))
    return position


def replace(node: Node, value: str) -> Edit:
    """The edit that makes a value the string `value`."""
    return Edit(node.start, node.end, json.dumps(value, ensure_ascii=False))


def insert(text: str, node: Node, key: str, value: str) -> Edit:
    """The edit that gives an object one member more, behind its last and set as that one is."""
    member = f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}"
    if not node.members:
        return Edit(node.start, node.end, f"{{{member}}}")
    last = max(node.members.values(), key=lambda each: each.end)
    before = text[: min(text.index('"', node.start + 1), last.start)]
    gap = before[node.start + 1 :]
    return Edit(last.end, last.end, f",{gap or ' '}{member}")


def strings(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every string value below, with its path."""
    if isinstance(node.value, str):
        yield path, node
    for key, each in node.members.items():
        yield from strings(each, f"{path}.{key}" if path else key)
    for index, each in enumerate(node.elements):
        yield from strings(each, f"{path}[{index}]")


def plain(node: Node) -> object:
    """The value without places, as `json.loads` gives it."""
    if isinstance(node.value, dict):
        return {key: plain(each) for key, each in node.value.items()}
    return [plain(each) for each in node.value] if isinstance(node.value, list) else node.value
