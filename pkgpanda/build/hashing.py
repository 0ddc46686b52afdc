"""Digests: an injective encoding of values, and a stat cache so that unchanged files are not read again."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

Value = None | bool | int | str | Sequence["Value"] | Mapping[str, "Value"]
"""What enters an id: JSON without floats."""

_SETTLED_NS = 1_000_000_000
"""A file younger than this is not remembered: a second write in the same clock tick would go unnoticed."""


def encode(value: Value) -> bytes:
    """Bytes that no other value shares: every part carries its type and its length.

    Upstream's hash takes `[]`, `{}` and `""` for one, and `1` for `"1"`; here the encoding could be decoded again.
    """
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"t" if value else b"f"
    if isinstance(value, int):
        return b"i%d;" % value
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogatepass")
        return b"s%d:" % len(data) + data
    if isinstance(value, Mapping):
        return b"d%d:" % len(value) + b"".join(encode(key) + encode(value[key]) for key in sorted(value))
    return b"l%d:" % len(value) + b"".join(map(encode, value))


def digest(value: Value) -> str:
    """The sha256 of a value's encoding."""
    return hashlib.sha256(encode(value)).hexdigest()


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Digests:
    """The sha256 of files, remembered in `<state>/digests.json` by size, times, inode and device.

    Losing or damaging the file costs time, never a wrong digest: an entry counts only when every stat field agrees.
    """

    def __init__(self, state: Path) -> None:
        self._file = state / "digests.json"
        self._known = self._load()
        self._seen: dict[str, list[int | str]] = {}

    def _load(self) -> dict[str, list[int | str]]:
        try:
            known = json.loads(self._file.read_bytes())
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def of(self, path: Path) -> str:
        """The sha256 of `path`, read only when its stat changed."""
        info = path.stat()
        stamp: list[int | str] = [info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino, info.st_dev]
        name = os.path.abspath(path)
        known = self._seen.get(name) or self._known.get(name)
        if isinstance(known, list) and known[:5] == stamp and len(known) == 6:
            self._seen[name] = known
            return str(known[5])
        found = file_sha256(path)
        if max(info.st_mtime_ns, info.st_ctime_ns) < time.time_ns() - _SETTLED_NS:
            self._seen[name] = [*stamp, found]
        return found

    def save(self) -> None:
        """Write what is known now, if it is news; entries of files that are gone are dropped."""
        merged = {name: known for name, known in (self._known | self._seen).items() if os.path.exists(name)}
        if merged == self._known:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_name(f".digests.{os.getpid()}")
        temporary.write_text(json.dumps(merged, sort_keys=True))
        os.replace(temporary, self._file)
        self._known = merged
