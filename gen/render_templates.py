"""Jinja2 over gen/templates/: undefined names are errors, and a value goes into a file through its format's filter.

Compiling two dozen templates takes longer than rendering them, so the compiled form is kept under build/ and used as
long as it fits the template's text. A directory that cannot be written costs time and nothing else.
"""

import contextlib
import json
import os
import shlex
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.bccache import Bucket, BytecodeCache

TEMPLATES = Path(__file__).parent / "templates"
CACHE = TEMPLATES.parent.parent / "build" / "templates"

_OPTIONS: dict[str, Any] = {
    "undefined": jinja2.StrictUndefined,
    "autoescape": False,
    "keep_trailing_newline": True,
    "trim_blocks": True,
    "lstrip_blocks": True,
    # The default "{#" is also bash's "length of".
    "comment_start_string": "{##",
    "comment_end_string": "##}",
}


class UnsafeValue(ValueError):
    """A value that the format of the file cannot hold."""


def in_environment_file(value: object) -> str:
    """A value for systemd's EnvironmentFile=, and at once for a POSIX shell that reads the same file.

    Within double quotes both take a backslash before `"`, `\\`, `` ` `` and `$` away; without special characters there
    are no quotes, as upstream's files have none.
    """
    text = str(value)
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise UnsafeValue(f"{text!r} has a control character, which an environment file cannot hold")
    if text and all(character.isalnum() or character in "_-.,:/+@%" for character in text):
        return text
    return '"' + "".join(f"\\{character}" if character in '"\\`$' else character for character in text) + '"'


def in_shell(value: object) -> str:
    """A value as one word of a shell command."""
    return shlex.quote(str(value))


def in_json(value: object, indent: int | None = None) -> str:
    """A value as JSON, which is YAML too: keys sorted, no trailing blanks, ASCII alone."""
    return json.dumps(value, sort_keys=True, indent=indent)


def in_flag(value: bool) -> str:
    """A truth value as upstream's files and flags spell it."""
    return "true" if value else "false"


class _Cache(BytecodeCache):
    """Compiled templates in one directory. The options shape the compiled code, so they are part of what must fit."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get_source_checksum(self, source: str) -> str:
        return super().get_source_checksum(f"{jinja2.__version__}\0{_options()}\0{source}")

    def load_bytecode(self, bucket: Bucket) -> None:
        # A file of another version, or half a file, reads as none.
        with contextlib.suppress(OSError, ValueError, EOFError, TypeError), self._path(bucket).open("rb") as file:
            bucket.load_bytecode(file)

    def dump_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError):
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.directory, delete=False) as file:
                bucket.write_bytecode(file)
            os.replace(file.name, self._path(bucket))

    def _path(self, bucket: Bucket) -> Path:
        return self.directory / bucket.key


def _options() -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(_OPTIONS.items()))


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, bytecode_cache=_Cache(CACHE), auto_reload=False, **_OPTIONS)
    environment.filters.update(env=in_environment_file, sh=in_shell, json=in_json, flag=in_flag)
    return environment


def render_template(name: str, **context: object) -> bytes:
    """The template of that path below gen/templates/, filled in."""
    return _environment().get_template(name).render(**context).encode()
