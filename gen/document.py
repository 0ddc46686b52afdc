"""A YAML text to plain values, with the position of every key and value, in one parse.

The text is read as events (libyaml's parser where there is one), built into nodes and then into values by this
module, not by PyYAML's constructors: those turn `yes` into true, `010` into 8 and `12:30:45` into 45045 without a word,
drop the first of two equal keys, and run out of stack or memory on a hostile file. A scalar whose meaning YAML 1.1
changes becomes `Mangled`; whether that matters is for whoever reads the key.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import yaml

from gen.problems import ERROR, TOP, Finding, Mark, Path

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_VALUES = 20_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PREFIX = "tag:yaml.org,2002:"
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufeff\uff00-\ufffd\U00010000-\U0010ffff]")


class Mangled:
    """A scalar YAML 1.1 reads as something its writer hardly meant: what was written, and what to say about it."""

    __slots__ = ("hint", "message", "text")

    def __init__(self, text: str, message: str, hint: str) -> None:
        self.text, self.message, self.hint = text, message, hint

    def __repr__(self) -> str:
        return f"Mangled({self.text!r})"


class Document(NamedTuple):
    """A read file: the values, where each stands, and what was wrong with the file itself.

    `keys` and `values` give the position of a member's key and of its value; a list's item has only the latter.
    """

    data: dict[str, Any]
    keys: dict[Path, Mark]
    values: dict[Path, Mark]
    findings: tuple[tuple[Finding, Mark], ...]
    is_readable: bool


class Unreadable(Exception):
    """The text is no YAML this module accepts; raised and caught inside it."""

    def __init__(self, code: str, message: str, hint: str, mark: Mark = TOP) -> None:
        super().__init__(message)
        self.code, self.message, self.hint, self.mark = code, message, hint, mark


class _Node:
    """A scalar, a list of nodes, or a list of key and value nodes, with its position."""

    __slots__ = ("is_open", "items", "kind", "mark", "tag", "text")

    def __init__(self, kind: str, mark: Mark, tag: str, text: str = "") -> None:
        self.kind, self.mark, self.tag, self.text = kind, mark, tag, text
        self.items: list[_Node] = []
        self.is_open = kind != "scalar"


def read(text: str | bytes) -> Document:
    """Read a configuration; what is wrong with it as a file comes back as findings, never as an exception."""
    try:
        root = _compose(_decode(text))
        if root.kind != "mapping":
            raise Unreadable(
                "not-a-mapping", "the file holds no `key: value` lines", "see config/calico.yaml", root.mark
            )
        builder = _Builder()
        data = builder.mapping(root, (), 0)
    except Unreadable as error:
        finding = Finding(((),), error.code, error.message, error.hint, ERROR)
        return Document({}, {}, {}, ((finding, error.mark),), False)
    return Document(data, builder.keys, builder.values, tuple(builder.findings), True)


def _decode(text: str | bytes) -> str:
    if len(text) > MAX_BYTES:
        raise Unreadable("too-large", f"the file is larger than {MAX_BYTES // 1024} KiB", "is it a configuration?")
    if isinstance(text, bytes):
        text = _decode_utf8(text)
    text = text.removeprefix("\ufeff")
    if found := _UNREADABLE.search(text):
        raise Unreadable(
            "not-text",
            f"the character U+{ord(found.group()):04X} may not stand in YAML",
            "remove it",
            _position(text, found.start()),
        )
    return text


def _decode_utf8(text: bytes) -> str:
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("not-utf8", "the file is UTF-16", "save it as UTF-8")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8")
        what = f"the byte 0x{text[error.start]:02x} is not UTF-8"
        raise Unreadable("not-utf8", what, "save the file as UTF-8", _position(before, len(before))) from None


def _position(text: str, offset: int) -> Mark:
    start = text.rfind("\n", 0, offset) + 1
    return Mark(text.count("\n", 0, offset) + 1, offset - start + 1)


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1) if mark is not None else TOP


def _compose(text: str) -> _Node:
    """The only document of `text`; Unreadable for anything that is not exactly one."""
    composer = _Composer()
    try:
        loader = _LOADER(text)
        try:
            while loader.check_event():
                composer.feed(loader.get_event(), loader)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text) from None
    if composer.root is None:
        raise Unreadable("empty", "the file is empty", "start from config/calico.yaml")
    return composer.root


def _syntax_error(error: yaml.YAMLError, text: str) -> Unreadable:
    mark = _mark(getattr(error, "problem_mark", None) or getattr(error, "context_mark", None))
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    lines = text.splitlines()
    is_tab = mark.line <= len(lines) and "\t" in lines[mark.line - 1][: mark.column]
    hint = "indent with spaces: YAML allows no tabs there" if is_tab else "check indentation, quotes and brackets here"
    return Unreadable("yaml-syntax", f"not YAML: {problem}", hint, mark)


class _Composer:
    """Events to nodes, without recursion: nesting costs a list entry, and is limited."""

    def __init__(self) -> None:
        self.root: _Node | None = None
        self._open: list[_Node] = []
        self._anchors: dict[str, _Node] = {}

    def feed(self, event: Any, loader: Any) -> None:
        """Take one event of the parser."""
        mark = _mark(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            tag = event.tag
            if tag in (None, "!"):
                tag = loader.resolve(yaml.ScalarNode, event.value, event.implicit)
            self._add(_Node("scalar", mark, tag, event.value), event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event, mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop().is_open = False
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), mark)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise Unreadable("yaml-documents", "a second document starts here", "keep one; remove the `---`", mark)

    def _start(self, event: Any, mark: Mark) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _too_deep(mark)
        kind = "mapping" if isinstance(event, yaml.MappingStartEvent) else "list"
        usual = _PREFIX + ("map" if kind == "mapping" else "seq")
        node = _Node(kind, mark, usual if event.tag in (None, "!") else event.tag)
        self._add(node, event.anchor)
        self._open.append(node)

    def _alias(self, anchor: str, mark: Mark) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            raise Unreadable("yaml-alias", f"*{anchor} refers to no &{anchor} before it", "define it first", mark)
        if node.is_open:
            raise Unreadable("yaml-alias", f"*{anchor} lies inside &{anchor} itself", "write the value out", mark)
        self._add(node, None)

    def _add(self, node: _Node, anchor: str | None) -> None:
        if anchor:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].items.append(node)
        else:
            self.root = node


def _too_deep(mark: Mark) -> Unreadable:
    return Unreadable("too-deep", f"nested more than {MAX_DEPTH} levels deep", "is it a configuration?", mark)


class _Builder:
    """Nodes to values; counts them, so that aliases of aliases cannot grow without end."""

    def __init__(self) -> None:
        self.keys: dict[Path, Mark] = {}
        self.values: dict[Path, Mark] = {}
        self.findings: list[tuple[Finding, Mark]] = []
        self._count = 0

    def mapping(self, node: _Node, path: Path, depth: int) -> dict[str, Any]:
        """The members of a mapping node, merged mappings (`<<`) filled in behind its own."""
        made: dict[str, Any] = {}
        seen: dict[str, Mark] = {}
        for key, value in self._members(node):
            if key.tag == _PREFIX + "merge":
                continue
            name = self._name(key, path)
            if name is None:
                continue
            if name in seen:
                message = f"given twice: line {seen[name].line} has it already"
                self._find((*path, name), "duplicate-key", message, "keep one of them", key.mark)
                continue
            seen[name] = key.mark
            made[name] = self._member(name, key, value, path, depth)
        for key, value in self._merged(node, path, 0):
            name = self._name(key, path)
            if name is not None and name not in made:
                made[name] = self._member(name, key, value, path, depth)
        return made

    def _member(self, name: str, key: _Node, value: _Node, path: Path, depth: int) -> Any:
        here = (*path, name)
        self.keys[here] = key.mark
        return self._value(value, here, depth + 1)

    @staticmethod
    def _members(node: _Node) -> Iterator[tuple[_Node, _Node]]:
        return zip(node.items[::2], node.items[1::2], strict=True)

    def _merged(self, node: _Node, path: Path, depth: int) -> Iterator[tuple[_Node, _Node]]:
        """What `<<` brings in, the earlier source first, as it wins."""
        if depth > MAX_DEPTH:
            raise _too_deep(node.mark)
        for key, value in self._members(node):
            if key.tag != _PREFIX + "merge":
                continue
            for source in value.items if value.kind == "list" else [value]:
                self._spend(source.mark)
                if source.kind != "mapping":
                    self._find(path, "yaml-merge", "`<<` takes a mapping", "refer to one with *name", source.mark)
                    continue
                yield from (member for member in self._members(source) if member[0].tag != _PREFIX + "merge")
                yield from self._merged(source, path, depth + 1)

    def _name(self, key: _Node, path: Path) -> str | None:
        if key.kind != "scalar":
            self._find(path, "yaml-key", "a key must be a word, not a list or mapping", "check the line", key.mark)
            return None
        if key.tag != _PREFIX + "str":
            what = f"the key `{key.text}` is not text to YAML" if key.text else "a key is missing before the colon"
            self._find(path, "yaml-key", what, "quote it, or remove the line", key.mark)
            return None
        return key.text

    def _value(self, node: _Node, path: Path, depth: int) -> Any:
        self._spend(node.mark)
        self.values[path] = node.mark
        if depth > MAX_DEPTH:
            raise _too_deep(node.mark)
        if node.kind == "scalar":
            return _scalar(node)
        if node.tag not in (_PREFIX + "map", _PREFIX + "seq"):
            return _foreign(node)
        if node.kind == "mapping":
            return self.mapping(node, path, depth)
        return [self._value(item, (*path, index), depth + 1) for index, item in enumerate(node.items)]

    def _spend(self, mark: Mark) -> None:
        self._count += 1
        if self._count > MAX_VALUES:
            message = f"more than {MAX_VALUES} values, counting every use of an alias"
            raise Unreadable("too-large", message, "is it a configuration?", mark)

    def _find(self, path: Path, code: str, message: str, hint: str, mark: Mark) -> None:
        self.findings.append((Finding((path,), code, message, hint, ERROR), mark))


def _foreign(node: _Node) -> Mangled:
    tag = node.tag.removeprefix(_PREFIX)
    return Mangled(node.text or "...", f"has the YAML tag !!{tag}, which is not used here", "remove the tag")


def _scalar(node: _Node) -> Any:
    reader = _SCALARS.get(node.tag)
    return reader(node.text) if reader else _foreign(node)


def _bool(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    meant = text.lower() in ("yes", "on")
    return Mangled(
        text,
        f"`{text}` without quotes is {str(meant).lower()} to YAML 1.1",
        f"write {str(meant).lower()}, or '{text}' in quotes for the word",
    )


def _int(text: str) -> Any:
    if _DECIMAL.fullmatch(text):
        return int(text)
    return Mangled(text, *_number_trouble(text))


def _number_trouble(text: str) -> tuple[str, str]:
    plain = text.lstrip("+-")
    quote = f"or '{text}' in quotes for text"
    if ":" in text:
        return f"`{text}` without quotes is a number in base 60 to YAML 1.1", f"write '{text}' in quotes"
    if "_" in text:
        return f"`{text}` has underscores, which YAML 1.1 drops", f"write {text.replace('_', '')}, {quote}"
    if plain[:2].lower() in ("0x", "0b"):
        return f"`{text}` is not decimal", f"write the number in decimal, {quote}"
    if plain.startswith("0") and len(plain) > 1:
        return f"`{text}` without quotes is octal to YAML 1.1", f"write {plain.lstrip('0') or '0'}, {quote}"
    if len(plain) > 18:
        return f"`{text[:18]}...` is far too large a number", "check the digits"
    return f"`{text}` is not a plain decimal number", f"write {plain}, {quote}"


def _float(text: str) -> Mangled:
    hint = f"write a whole number, or '{text}' in quotes for text"
    if ":" in text:
        return Mangled(text, f"`{text}` without quotes is a number in base 60 to YAML 1.1", f"write '{text}' in quotes")
    return Mangled(text, f"`{text}` without quotes is a fraction to YAML", hint)


def _null(text: str) -> Mangled:
    shown = f"`{text}` is" if text else "there is"
    return Mangled(text, f"{shown} no value (null)", "give a value, or remove the line for the default")


def _timestamp(text: str) -> Mangled:
    return Mangled(text, f"`{text}` without quotes is a date to YAML", f"write '{text}' in quotes")


_SCALARS: dict[str, Callable[[str], Any]] = {
    _PREFIX + "str": str,
    _PREFIX + "bool": _bool,
    _PREFIX + "int": _int,
    _PREFIX + "float": _float,
    _PREFIX + "null": _null,
    _PREFIX + "timestamp": _timestamp,
    _PREFIX + "merge": str,
    _PREFIX + "value": str,
}
