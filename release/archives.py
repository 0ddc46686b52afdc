"""Reads a package archive once, from end to end: digests, members, and the few documents inside that are looked at."""

import hashlib
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple, cast

from pkgpanda.errors import PandaError

_CHUNK = 1 << 20


class Member(NamedTuple):
    """One entry: `kind` is `file`, `directory`, `link` or `other`; `value` a file's sha256 or a link's target."""

    path: str
    kind: str
    mode: int
    value: str


class Contents(NamedTuple):
    """What an archive holds. `odd` names what the format forbids (owners, times, order), one line each."""

    sha256: str
    size: int
    tar_sha256: str
    members: tuple[Member, ...]
    documents: dict[str, bytes]
    odd: tuple[str, ...]


class _Hashing:
    """A reader that digests what passes through it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        self.size += len(data)
        return data

    def drain(self) -> None:
        while self.read(_CHUNK):
            pass


def read_archive(path: Path, keep: Callable[[str], bool]) -> Contents:
    """Read a `.tar.xz`; `documents` has the bytes of the members that `keep` chooses. PandaError when it is broken."""
    try:
        with path.open("rb") as file:
            compressed = _Hashing(file)
            # lzma and tarfile only ever call read(): the wrapper is file enough.
            with lzma.open(cast(IO[bytes], compressed)) as plain:
                tar = _Hashing(plain)
                members, documents, odd = _read_members(tar, keep)
                tar.drain()
            compressed.drain()
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
        raise PandaError.one(path.name, f"cannot be read as a .tar.xz: {error or type(error).__name__}") from error
    return Contents(
        compressed.digest.hexdigest(),
        compressed.size,
        tar.digest.hexdigest(),
        tuple(members),
        documents,
        tuple(odd),
    )


def _read_members(tar: _Hashing, keep: Callable[[str], bool]) -> tuple[list[Member], dict[str, bytes], list[str]]:
    members: list[Member] = []
    documents: dict[str, bytes] = {}
    odd: list[str] = []
    with tarfile.open(fileobj=cast(IO[bytes], tar), mode="r|") as stream:
        previous = b""
        for info in stream:
            path = info.name.removeprefix("./").rstrip("/")
            value = info.linkname if info.issym() else ""
            if info.isreg():
                extracted = stream.extractfile(info)
                content = extracted.read() if extracted else b""
                value = hashlib.sha256(content).hexdigest()
                if keep(path):
                    documents[path] = content
            members.append(Member(path, _kind(info), info.mode, value))
            odd += _oddities(info, path)
            if path.encode() <= previous:
                odd.append(f"{path} is out of order or there twice")
            previous = path.encode()
    return members, documents, odd


def _kind(info: tarfile.TarInfo) -> str:
    if info.isreg():
        return "file"
    if info.isdir():
        return "directory"
    return "link" if info.issym() else "other"


def _oddities(info: tarfile.TarInfo, path: str) -> list[str]:
    found = []
    if (info.uid, info.gid, info.uname, info.gname) != (0, 0, "", ""):
        found.append(f"{path} has an owner other than 0:0 or names one")
    if info.mtime != 0:
        found.append(f"{path} has a time")
    if info.isdir() or info.isreg():
        allowed = (0o755,) if info.isdir() else (0o755, 0o644)
        if info.mode not in allowed:
            found.append(f"{path} has mode {info.mode:04o}")
    return found


def extract_archive(path: Path, target: Path) -> None:
    """Unpack an archive of ours into the new directory `target`."""
    target.mkdir(parents=True)
    with tarfile.open(path, "r:xz") as archive:
        archive.extractall(target)
