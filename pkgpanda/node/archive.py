"""Reading package archives that nobody should have to trust.

The archive's own sha256 is checked before a byte of it is parsed. Extraction then keeps its own account of what it
made: tarfile only decodes headers, and no member is written unless its path is plain, its parents are directories this
very extraction made, and its kind is one of file, directory, link. The uncompressed tar is hashed on the way; until its
digest is the expected one nothing outside the temporary directory has changed.
"""

import hashlib
import io
import lzma
import os
import re
import tarfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

from pkgpanda.errors import PandaError
from pkgpanda.node.host import Host

_CHUNK = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Limits(NamedTuple):
    """What an archive may grow to before extraction stops."""

    size: int = 4 << 30
    entries: int = 200_000
    depth: int = 64


LIMITS = Limits()


class Entry(NamedTuple):
    """One path of a package. `kind` is `f`, `d` or `l`; `digest` is a file's sha256, `target` a link's text."""

    path: str
    kind: str
    mode: int = 0
    size: int = 0
    digest: str = ""
    target: str = ""


class _Hashing(io.RawIOBase):
    """A readable stream that hashes and counts what passes, and ends the work when it is more than allowed."""

    def __init__(self, source: IO[bytes], where: str, limit: int) -> None:
        self._source, self._where, self._limit = source, where, limit
        self.digest, self.size = hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        self.size += len(data)
        if self.size > self._limit:
            raise PandaError.one(self._where, f"unpacks to more than {self._limit} bytes", "this is no package")
        return data


def sha256_of(path: str) -> str:
    """The digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_digest(path: str, expected: str) -> None:
    """Raise PandaError unless the file has that sha256."""
    actual = sha256_of(path)
    if actual != expected:
        raise PandaError.one(
            path, f"has sha256 {actual}, expected {expected}", "the file is damaged or not the one of this bundle"
        )


def extract(host: Host, archive: str, target: str, tar_sha256: str, limits: Limits = LIMITS) -> list[Entry]:
    """Unpack a .tar.xz into the new directory `target` and return its entries sorted by path.

    Raises PandaError for anything that is not a well-formed package archive; what was unpacked by then is the caller's
    to remove.
    """
    host.mkdir(target)
    try:
        with lzma.open(archive) as unpacked:
            stream = _Hashing(unpacked, archive, limits.size)
            entries = _unpack(host, stream, archive, target, limits)
            while stream.read(_CHUNK):
                pass
    except (lzma.LZMAError, EOFError, tarfile.TarError, OverflowError, UnicodeError) as error:
        raise PandaError.one(
            archive, f"is not a readable .tar.xz: {error or 'it ends too early'}", "fetch it again"
        ) from error
    if tar_sha256 and stream.digest.hexdigest() != tar_sha256:
        raise PandaError.one(archive, f"holds a tar with sha256 {stream.digest.hexdigest()}, expected {tar_sha256}")
    _check_links(entries, archive)
    return [entries[path] for path in sorted(entries)]


def _unpack(host: Host, stream: IO[bytes] | _Hashing, archive: str, target: str, limits: Limits) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    with tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            path = _plain_path(member.name, archive, limits)
            if path == "":
                continue
            if len(entries) >= limits.entries:
                raise PandaError.one(archive, f"holds more than {limits.entries} entries", "this is no package")
            if path in entries and not (entries[path].kind == "d" and member.isdir()):
                raise PandaError.one(archive, f"holds {path!r} twice")
            _make_parents(host, path, target, entries, archive)
            if path not in entries:
                entries[path] = _make(host, tar, member, path, f"{target}/{path}", archive)
    return entries


def _plain_path(name: str, archive: str, limits: Limits) -> str:
    """`name` without `./`; PandaError when it is anything but a path downwards."""
    if name.startswith("/"):
        raise PandaError.one(archive, f"holds the absolute path {name!r}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise PandaError.one(archive, f"holds {name!r}, which leads out of the package")
    if _CONTROL.search(name):
        raise PandaError.one(archive, f"holds a name with a control character: {name!r}")
    if len(parts) > limits.depth:
        raise PandaError.one(archive, f"holds a path {len(parts)} directories deep: {name[:80]!r}...")
    path = "/".join(parts)
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise PandaError.one(archive, f"holds a name that is not UTF-8: {name!r}") from error
    return path


def _make_parents(host: Host, path: str, target: str, entries: dict[str, Entry], archive: str) -> None:
    parent = os.path.dirname(path)
    if parent == "":
        return
    known = entries.get(parent)
    if known is None:
        _make_parents(host, parent, target, entries, archive)
        host.mkdir(f"{target}/{parent}")
        entries[parent] = Entry(parent, "d", 0o755)
    elif known.kind != "d":
        raise PandaError.one(archive, f"holds {path!r} below {parent!r}, which is no directory")


def _make(host: Host, tar: tarfile.TarFile, member: tarfile.TarInfo, path: str, full: str, archive: str) -> Entry:
    if member.mode & 0o7000:
        raise PandaError.one(archive, f"holds {path!r} with a set-uid, set-gid or sticky bit ({member.mode:04o})")
    if member.mode & 0o022 and not member.issym():
        raise PandaError.one(archive, f"holds {path!r}, writable by group or others ({member.mode:04o})")
    if member.isdir():
        host.mkdir(full)
        return Entry(path, "d", 0o755)
    if member.issym():
        if not member.linkname or _CONTROL.search(member.linkname):
            raise PandaError.one(archive, f"holds the link {path!r} with the bad target {member.linkname!r}")
        host.symlink(member.linkname, full)
        return Entry(path, "l", target=member.linkname)
    if not member.isreg() or member.sparse is not None:
        raise PandaError.one(archive, f"holds {path!r}, which is no file, directory or symbolic link")
    digest = hashlib.sha256()
    source: Any = tar.extractfile(member)
    mode = 0o755 if member.mode & 0o100 else 0o644
    host.write(full, _hashed(source, digest, member.size), mode)
    return Entry(path, "f", mode, member.size, digest.hexdigest())


def _hashed(source: IO[bytes], digest: Any, size: int) -> Iterator[bytes]:
    left = size
    while left > 0:
        data = source.read(min(left, _CHUNK))
        if not data:
            raise EOFError("it ends too early")
        digest.update(data)
        left -= len(data)
        yield data


def _check_links(entries: dict[str, Entry], archive: str) -> None:
    """Every link must stay in the package, through whatever other links it passes."""
    links = {path: entry.target for path, entry in entries.items() if entry.kind == "l"}
    for path, target in links.items():
        problem = leaves(path, links)
        if problem:
            raise PandaError.one(archive, f"holds the link {path!r} -> {target!r}, which {problem}")


def leaves(path: str, links: dict[str, str]) -> str:
    """Why following the link `path` does not stay in the package; empty when it does."""
    todo = list(reversed(path.split("/")))
    here: list[str] = []
    for _ in range(4096):
        if not todo:
            return ""
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not here:
                return "leaves the package"
            here.pop()
            continue
        target = links.get("/".join([*here, part]))
        if target is None:
            here.append(part)
        elif target.startswith("/"):
            return "leaves the package"
        else:
            todo += reversed(target.split("/"))
    return "leads in a circle"
