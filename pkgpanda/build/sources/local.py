"""`local`: files of this repository that stand outside the recipe, such as code that several recipes share."""

import fnmatch
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from pkgpanda.build.fields import Note
from pkgpanda.build.hashing import Digests, digest
from pkgpanda.build.sources.base import Source, SourceRecord, Workshop
from pkgpanda.build.walk import Entry, find_leaving_links, scan
from pkgpanda.errors import PandaError, Problem


@dataclass(frozen=True)
class LocalSource(Source):
    """The files below `path` (relative to the recipe, inside the repository), all or those `include` names.

    An entry of `include` is a path below `path`, with all that is under it; * ? [ ] match as in a shell.
    """

    package_dir: Path = field(default=Path(), kw_only=True)

    kind: ClassVar[str] = "local"
    required: ClassVar[tuple[str, ...]] = ("path",)

    @classmethod
    def check(cls, members: Mapping[str, Any], package_dir: Path, note: Note) -> None:
        """Also: a directory inside the repository, and a list of paths."""
        super().check({key: value for key, value in members.items() if key != "include"}, package_dir, note)
        path, include = members.get("path"), members.get("include", ["*"])
        if isinstance(path, str) and path:
            _check_path(path, package_dir, note)
        if not isinstance(include, list) or not include or not all(isinstance(item, str) and item for item in include):
            note("include", "is not a list of paths with something in it", "leave it out to take everything")

    def prepare(self, package_dir: Path) -> Self:
        """Relative to the recipe."""
        return replace(self, package_dir=package_dir)

    def resolve(self, workshop: Workshop) -> dict[str, Any]:
        """The recipe's words, and a digest of the files they choose now."""
        return {**self.members, "sha256": digest(describe(self._root, self._entries(), workshop.digests))}

    def fetch(self, workshop: Workshop) -> Self:
        """It is here already."""
        return self

    def unpack(self, workshop: Workshop, target: Path) -> None:
        """Copies, with modes normalised."""
        copy_entries(self._root, self._entries(), target)

    def record(self, workshop: Workshop, unpacked: Path) -> SourceRecord:
        """Its digest is of the files chosen."""
        return SourceRecord(self.name, self.kind, self.name, "", self.resolve(workshop)["sha256"])

    @property
    def _root(self) -> Path:
        return self.package_dir / str(self.members["path"])

    def _entries(self) -> list[Entry]:
        patterns = self.members.get("include")
        entries = declared_inputs(self._root, self.where)
        if not patterns:
            return entries
        chosen = {pattern: [entry for entry in entries if _matches(entry.path, pattern)] for pattern in patterns}
        if nothing := [pattern for pattern, found in chosen.items() if not found]:
            raise PandaError(Problem(f"{self.where}.include", f"nothing is called {name}") for name in nothing)
        return sorted({entry for found in chosen.values() for entry in found}, key=lambda entry: entry.path.encode())


def _check_path(path: str, package_dir: Path, note: Note) -> None:
    repository = package_dir.resolve().parent.parent
    place = (package_dir / path).resolve()
    if os.path.isabs(path):
        note("path", f"is not relative to the recipe: {path}", "")
    elif not place.is_relative_to(repository):
        note("path", f"leads out of the repository: {path}", "take it from its own source: git, url")
    elif not place.is_dir():
        note("path", f"is not a directory: {path}", "")


def _matches(path: str, pattern: str) -> bool:
    """Whether `path`, or a directory it is in, has the pattern's name; * does not match a slash."""
    parts, wanted = path.split("/"), pattern.strip("/").split("/")
    return len(parts) >= len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted))


def declared_inputs(root: Path, where: str) -> list[Entry]:
    """What is below `root`, but for Python's compiled leavings; links must stay inside."""
    entries = scan(root, where, lambda path: not path.endswith((".pyc", "__pycache__")))
    if leaving := find_leaving_links(entries, absolute=False):
        raise PandaError(
            Problem(f"{where}: {link.path}", f"links to {link.target}, outside of what is declared") for link in leaving
        )
    return entries


def describe(root: Path, entries: list[Entry], digests: Digests) -> dict[str, str]:
    """path -> what enters an id: content and execute bit of files, text of links, and directories that are empty."""
    filled = {os.path.dirname(entry.path) for entry in entries}
    described = {}
    for entry in entries:
        if entry.kind == "link":
            described[entry.path] = f"link {entry.target}"
        elif entry.kind == "file":
            described[entry.path] = f"{'755' if entry.is_executable else '644'} {digests.of(root / entry.path)}"
        elif entry.path not in filled:
            described[entry.path] = "directory"
    return described


def copy_entries(root: Path, entries: list[Entry], target: Path) -> None:
    """Copy what `describe` describes, with the modes it describes."""
    for entry in entries:
        path = target / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "link":
            path.symlink_to(entry.target)
        elif entry.kind == "dir":
            path.mkdir(exist_ok=True)
        else:
            shutil.copyfile(root / entry.path, path)
            path.chmod(0o755 if entry.is_executable else 0o644)
