"""Resource files as documents with positions.

A file (or standard input) is split as upstream splits it: a line that begins with `---` ends a part, each part is YAML
or JSON, and a part may be one object, a sequence of objects, or an `XList` with `items`. Unlike upstream every value
keeps the line it stands on, so that an error names `file:line`, and a member given twice is an error here, before any
decoder runs.
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import yaml

from calico.model.problems import dotted

_SEPARATOR = re.compile(r"^---", re.MULTILINE)
_BULLET = re.compile(r"^[ \t]*([+*]) +(\S.*?)[ \t]*$", re.MULTILINE)
_BRACKET = re.compile(r"[][{}]")
_DEEP = 500
_DEEP_BLOCK = re.compile(rf"^[ ?:-]{{{_DEEP}}}", re.MULTILINE)
_TOO_DEEP = "nested too deeply"
_MERGE = "tag:yaml.org,2002:merge"
_ENDINGS = (".yaml", ".yml", ".json")
_LONGEST = 64 * 1024 * 1024
"""Largest file read, in bytes: far beyond any real one, well short of filling memory."""


class DocumentError(Exception):
    """A file or a part of it that cannot be read; the text names the file, the line and what is wrong."""


class Document(NamedTuple):
    """One resource as written.

    `lines` maps the path of every member (keys and indexes, from the root of the resource) to the line it stands on.
    """

    file: str
    line: int
    data: dict[str, Any]
    lines: dict[tuple[str | int, ...], int]

    @property
    def where(self) -> str:
        """`file:line` of the resource's first member."""
        return f"{self.file}:{self.line}"


def read(paths: Sequence[str], stdin: Any, recursive: bool = False) -> list[Document]:
    """Every document of `paths`, in order; `-` is `stdin`, a directory stands for its .yaml, .yml and .json files.

    Raises DocumentError for the first file that cannot be read or parsed.
    """
    documents: list[Document] = []
    for path in paths:
        for name in _files(path, recursive):
            documents += parse(_text(name, stdin), "standard input" if name == "-" else name)
    return documents


def _files(path: str, recursive: bool) -> Iterator[str]:
    if path == "-" or not os.path.isdir(path):
        yield path
        return
    for directory, folders, names in os.walk(path):
        folders[:] = sorted(folders) if recursive else []
        for name in sorted(names):
            if name.endswith(_ENDINGS):
                yield os.path.join(directory, name)


def _text(name: str, stdin: Any) -> str:
    try:
        if name == "-":
            data = stdin.read()
        else:
            with open(name, "rb") as file:
                data = file.read(_LONGEST + 1)
    except OSError as error:
        raise DocumentError(
            f"Failed to execute command: open {name}: {(error.strerror or str(error)).lower()}"
        ) from None
    if len(data) > _LONGEST:
        raise DocumentError(f"{name}: larger than {_LONGEST >> 20} MiB; split it")
    if isinstance(data, str):
        return data
    try:
        return str(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"{name}:{line}: error parsing document: not UTF-8 text") from None


def parse(text: str, file: str) -> list[Document]:
    """The documents of one file's text; `file` is how errors call it."""
    documents: list[Document] = []
    for first_line, part in _parts(text):
        try:
            node = yaml.compose(part, Loader=_loader(part))
        except yaml.MarkedYAMLError as error:
            raise DocumentError("\n".join(_explained(error, part, file, first_line))) from None
        except RecursionError:
            raise DocumentError(f"{file}:{first_line}: error parsing document: {_TOO_DEEP}") from None
        except yaml.YAMLError as error:
            text = str(error).partition("\n")[0]
            raise DocumentError(f"{file}:{first_line}: error parsing document: {text}") from None
        if node is not None and not _is_null(node):
            documents += _documents(node, file, first_line)
    return documents


def _loader(part: str) -> Any:
    """libyaml's reader, but Python's own for a text that may be nested deeply enough to exhaust the C stack."""
    depth = deepest = 0
    for bracket in _BRACKET.finditer(part):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > _DEEP or _DEEP_BLOCK.search(part):
        return yaml.SafeLoader
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _explained(error: yaml.MarkedYAMLError, part: str, file: str, first_line: int) -> list[str]:
    """What the YAML reader says, or, where the cause is a list written with `+`, how to write each of its items."""
    at = error.problem_mark.line if error.problem_mark else 0
    bullets = list(_BULLET.finditer(part))
    if any(abs(part.count("\n", 0, bullet.start()) - at) <= 1 for bullet in bullets):
        return [
            f"{file}:{first_line + part.count(chr(10), 0, bullet.start())}: error parsing document: "
            f"an item of a list begins with '-', not with {bullet[1]!r}; write: - {' '.join(bullet[2].splitlines())}"
            for bullet in bullets
        ]
    return [f"{file}:{first_line + at}: error parsing document: {error.problem or error.context}"]


def _parts(text: str) -> Iterator[tuple[int, str]]:
    """Pairs of first line number (from 1) and text, split at lines that begin with `---`."""
    start = 0
    for separator in _SEPARATOR.finditer(text):
        yield text.count("\n", 0, start) + 1, text[start : separator.start()]
        end_of_line = text.find("\n", separator.end())
        start = len(text) if end_of_line < 0 else end_of_line + 1
        rest = text[separator.end() : end_of_line if end_of_line >= 0 else len(text)].strip()
        if rest and not rest.startswith("#") and set(rest) != {"-"}:
            start = separator.end()
    yield text.count("\n", 0, start) + 1, text[start:]


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _documents(node: yaml.Node, file: str, first_line: int) -> Iterator[Document]:
    lines: dict[tuple[str | int, ...], int] = {}
    try:
        value = _Reader(first_line, lines).value(node, ())
    except _Invalid as error:
        raise DocumentError(f"{file}:{error.line}: error parsing document: {error}") from None
    except RecursionError:
        raise DocumentError(f"{file}:{first_line}: error parsing document: {_TOO_DEEP}") from None
    yield from _split(value, (), file, lines)


def _split(
    value: Any, path: tuple[str | int, ...], file: str, lines: dict[tuple[str | int, ...], int]
) -> Iterator[Document]:
    line = lines.get(path, 1)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _split(item, (*path, index), file, lines)
    elif not isinstance(value, dict):
        raise DocumentError(f"{file}:{line}: error parsing document: a resource is a mapping, not {_kind_of(value)}")
    elif str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        yield from _split(value["items"], (*path, "items"), file, lines)
    else:
        depth = len(path)
        own = {key[depth:]: at for key, at in lines.items() if key[:depth] == path}
        yield Document(file, line, value, own)


def _kind_of(value: Any) -> str:
    return "a number" if isinstance(value, int | float) else "text"


class _Invalid(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Reader:
    """Builds plain values from a YAML node tree and notes the line of each.

    Scalars follow the YAML 1.1 rules of the Go reader upstream uses, except that timestamps stay text: JSON has none,
    and `creationTimestamp: 2019-12-23T04:16:55Z` must reach the decoder as written.
    """

    _LARGEST = 1_000_000

    def __init__(self, first_line: int, lines: dict[tuple[str | int, ...], int]) -> None:
        self._first_line = first_line
        self._lines = lines
        self._constructor = yaml.SafeLoader("")
        self._open: set[int] = set()
        self._count = 0

    def value(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        """The plain value of `node`; raises _Invalid with the line of what is wrong."""
        line = self._first_line + node.start_mark.line
        self._lines.setdefault(path, line)
        self._count += 1
        if self._count > self._LARGEST:
            raise _Invalid(line, "more than a million values once its aliases are expanded")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        if id(node) in self._open:
            raise _Invalid(line, "an alias stands inside what it refers to")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node, path: tuple[str | int, ...]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged = {**self._merged(value_node, path), **merged}
                continue
            line = self._first_line + key_node.start_mark.line
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Invalid(line, "a member's name must be text")
            key = key_node.value
            if key in result:
                raise _Invalid(line, f"{dotted((*path, key))}: the member is given twice")
            self._lines[(*path, key)] = line
            result[key] = self.value(value_node, (*path, key))
        return {**merged, **result}

    def _merged(self, node: yaml.Node, path: tuple[str | int, ...]) -> dict[str, Any]:
        """The members that `<<` brings in: of one mapping, or of several, the first of which wins."""
        found: dict[str, Any] = {}
        for one in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.value(one, path)
            if not isinstance(value, dict):
                raise _Invalid(self._first_line + one.start_mark.line, "<< merges mappings only")
            found = {**value, **found}
        return found

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in ("int", "float", "bool", "null"):
            return node.value
        try:
            return self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError):
            raise _Invalid(line, f"cannot read {node.value!r} as {kind}") from None
