"""Where packages come from: one module for each kind of source, all pinned, all cached by digest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pkgpanda.build.fields import Note
from pkgpanda.build.sources.base import Source, SourceRecord, Workshop
from pkgpanda.build.sources.deb import DebSource
from pkgpanda.build.sources.git import GitLocalSource, GitSource
from pkgpanda.build.sources.local import LocalSource
from pkgpanda.build.sources.pypi import PypiSource
from pkgpanda.build.sources.url import UrlExtractSource, UrlSource
from pkgpanda.ids import is_name

__all__ = ["Source", "SourceRecord", "Workshop", "read_sources"]

_KINDS: dict[str, type[Source]] = {
    kind.kind: kind
    for kind in (UrlSource, UrlExtractSource, GitSource, GitLocalSource, DebSource, PypiSource, LocalSource)
}


def read_sources(data: object, where: str, package_dir: Path, note: Note) -> dict[str, Source]:
    """`sources`: {name: {"kind", ...}}, each name a directory under $PKG_SRC."""
    if not isinstance(data, dict):
        note("sources", "is not an object", 'write {"name": {"kind": ...}}')
        return {}
    found = {}
    for name, members in data.items():
        key = f"sources.{name}"
        if not is_name(name):
            note(key, "is not a name for a source", "it becomes a directory: letters, digits and . _ + @ -")
        elif source := _read_source(name, members, f"{where}: {key}", package_dir, _Under(key, note)):
            found[name] = source
    return found


class _Under:
    """A Note for the members of one source; remembers whether it was used."""

    def __init__(self, key: str, note: Note) -> None:
        self._key, self._note, self.used = key, note, False

    def __call__(self, key: str, message: str, hint: str) -> None:
        self.used = True
        self._note(f"{self._key}.{key}" if key else self._key, message, hint)


def _read_source(name: str, members: object, where: str, package_dir: Path, note: _Under) -> Source | None:
    if not isinstance(members, Mapping):
        note("", "is not an object", f"its kind is one of {', '.join(_KINDS)}")
        return None
    kind = members.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        message = "lacks the key kind" if "kind" not in members else f"is of no kind known: {kind!r}"
        note("", message, f"one of {', '.join(_KINDS)}")
        return None
    _KINDS[kind].check(members, package_dir, note)
    if note.used:
        return None
    return _KINDS[kind](where, name, _normalised(members)).prepare(package_dir)


def _normalised(members: Mapping[str, Any]) -> dict[str, Any]:
    """Digests and commits in lower case, so that their case makes no difference to an id."""
    return {key: value.lower() if key in ("sha256", "ref") else value for key, value in members.items()}
