"""JSON files people edit: strict reading with one clear line on failure, and replacing a value where it stands."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pkgpanda.errors import PandaError

_STRING = json.decoder.scanstring  # type: ignore[attr-defined]


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty file is an empty object, as upstream has it. Raises PandaError."""
    return parse_object(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A file's text; raises PandaError when it cannot be read or is not UTF-8."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise PandaError.one(str(path), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PandaError.one(
            str(path), f"is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        ) from error


def parse_object(text: str, where: str) -> dict[str, Any]:
    """The object in `text`; raises PandaError for anything else, doubled keys and non-numbers included."""
    if not text:
        return {}
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise PandaError.one(f"{where}:{error.lineno}:{error.colno}", f"is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise PandaError.one(where, "is nested too deeply") from error
    except ValueError as error:
        raise PandaError.one(where, str(error)) from error
    if not isinstance(data, dict):
        raise PandaError.one(where, "is not a JSON object", "it begins with {")
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"has the key {next(key for key in keys if keys.count(key) > 1)!r} twice in one object")
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"holds {name}, which is not JSON")


def replace_values(text: str, changes: dict[tuple[str, ...], str]) -> str:
    """`text` with the strings at the given key paths replaced, every other character as it was."""
    spans = {path: span for path, span in _spans(text) if path in changes}
    for path, (start, end) in sorted(spans.items(), key=lambda item: item[1], reverse=True):
        text = text[:start] + json.dumps(changes[path], ensure_ascii=False) + text[end:]
    return text


def _spans(text: str) -> Iterable[tuple[tuple[str, ...], tuple[int, int]]]:
    """(key path, (start, end)) of each string inside objects only; `text` is known to be JSON."""
    path: list[str] = []  # of the object we stand in; "" stands for an array, whose members have no path
    key = ""
    tokens = _tokens(text)
    for start, end, token in tokens:
        if token in "{[":
            path.append(key if token == "{" else "")
            key = ""
        elif token in "}]":
            path.pop()
            key = ""
        elif token == ":":
            continue
        elif text[end:].lstrip()[:1] == ":":
            key = _STRING(text, start + 1)[0]
        else:
            yield (*path[1:], key), (start, end)


def _tokens(text: str) -> Iterator[tuple[int, int, str]]:
    """Brackets and strings, with where they stand."""
    position = 0
    while position < len(text):
        character = text[position]
        end = _STRING(text, position + 1)[1] if character == '"' else position + 1
        if character in '"{}[]:':
            yield position, end, character if character != '"' else '""'
        position = end
