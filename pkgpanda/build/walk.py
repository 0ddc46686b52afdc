"""What a directory holds, as a sorted list of entries, and which of its links lead out of it.

Both ends of a build use it: the inputs that enter an id, and the result that becomes an archive.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from pkgpanda.errors import PandaError, Problem

INSTALL_ROOT = "/opt/mesosphere"
"""Where packages live on a node; a link may name a place below it."""

_LINK_STEPS = 40
"""As many links as the kernel follows before it gives up (ELOOP)."""


class Entry(NamedTuple):
    """One file, directory or symbolic link: `path` is relative with `/`, `target` is a link's text."""

    path: str
    kind: str
    mode: int = 0
    size: int = 0
    target: str = ""

    @property
    def is_executable(self) -> bool:
        """Whether the owner may execute it: the only mode bit a package keeps."""
        return bool(self.mode & 0o100)


def _is_wanted(_path: str) -> bool:
    return True


def scan(root: Path, where: str, wanted: Callable[[str], bool] = _is_wanted) -> list[Entry]:
    """Every entry below `root`, sorted by the bytes of its path; links are not followed.

    Raises PandaError with all entries no package can hold: devices, pipes, sockets, names that are not UTF-8.
    """
    entries: list[Entry] = []
    problems: list[Problem] = []
    todo = [""]
    while todo:
        below = todo.pop()
        with os.scandir(root / below if below else root) as listing:
            for item in listing:
                path = f"{below}/{item.name}" if below else item.name
                if not wanted(path):
                    continue
                entry = _entry(item, path)
                if isinstance(entry, str):
                    problems.append(Problem(f"{where}: {os.fsencode(path).decode(errors='replace')}", entry))
                    continue
                entries.append(entry)
                if entry.kind == "dir":
                    todo.append(path)
    if problems:
        raise PandaError(problems)
    return sorted(entries, key=lambda entry: entry.path.encode())


def _entry(item: "os.DirEntry[str]", path: str) -> Entry | str:
    """The entry, or why a package cannot hold it."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    info = item.stat(follow_symlinks=False)
    if stat.S_ISLNK(info.st_mode):
        return Entry(path, "link", info.st_mode, 0, os.readlink(item.path))
    if stat.S_ISDIR(info.st_mode):
        return Entry(path, "dir", info.st_mode)
    if stat.S_ISREG(info.st_mode):
        return Entry(path, "file", info.st_mode, info.st_size)
    return "is a device, a pipe or a socket, and a package holds files, directories and links only"


def find_leaving_links(entries: Iterable[Entry], absolute: bool = True) -> list[Entry]:
    """The links that lead out of their tree, followed as the kernel would, other links included.

    With `absolute`, one that names a place under /opt/mesosphere is in order. A link that leads nowhere is, too: what
    it names may come with another package.
    """
    links = {entry.path: entry.target for entry in entries if entry.kind == "link"}
    return [Entry(path, "link", 0, 0, target) for path, target in links.items() if not _stays(path, links, absolute)]


def _stays(path: str, links: Mapping[str, str], absolute: bool) -> bool:
    standing = path.split("/")[:-1]
    todo = links[path].split("/")[::-1]
    if links[path].startswith("/"):
        return absolute and _is_below_install_root(links[path])
    steps = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not standing:
                return False
            standing.pop()
            continue
        standing.append(part)
        target = links.get("/".join(standing))
        if target is None:
            continue
        steps += 1
        if target.startswith("/") or steps > _LINK_STEPS:
            return absolute and _is_below_install_root(os.path.join(target, *todo[::-1]))
        standing.pop()
        todo += target.split("/")[::-1]
    return True


def _is_below_install_root(target: str) -> bool:
    return os.path.normpath(target).startswith(INSTALL_ROOT + "/")
