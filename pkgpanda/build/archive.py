"""Package archives: the same tree gives the same bytes, on any machine, at any number of threads.

The tar is written entry by entry in the order of the paths' bytes, with uid and gid 0, no names, mtime 0 and modes 0755
or 0644 by the owner's execute bit; hard links are files. It is cut into blocks of `BLOCK` bytes, each compressed on its
own into an xz stream; a file of several streams is an ordinary .xz file. xz's own `-T` gives other bytes for other
thread counts; blocks of a fixed size do not.
"""

import hashlib
import lzma
import os
import tarfile
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pkgpanda.build.walk import Entry, find_leaving_links, scan
from pkgpanda.errors import PandaError, Problem

BLOCK = 8 * 1024 * 1024
"""Bytes of tar in one xz stream: the preset's dictionary. It costs 1 to 2 % of size against xz's own 24 MiB, by
where the cuts fall (4 MiB over 3 %); larger ones leave a processor idle at the end of archives of the usual size."""

PRESET = 6
_PIECE = 1024 * 1024


class Packed(NamedTuple):
    """A written archive: digest and size (bytes) of the file as served, digest of the tar inside it."""

    sha256: str
    size: int
    tar_sha256: str


class _Member(NamedTuple):
    entry: Entry
    read: Callable[[], Iterator[bytes]]


def pack(tree: Path, output: Path, threads: int = 0) -> Packed:
    """Write `tree` as the archive `output`, with `threads` compressing (0: one for each processor).

    `output` appears whole or not at all. Raises PandaError for what a package cannot hold, and for links that leave it.
    """
    entries = scan(tree, output.name)
    members = (_Member(entry, partial(_pieces, tree / entry.path)) for entry in entries)
    return _write(entries, members, output, threads)


def pack_files(files: Iterable[tuple[str, bytes, int]], output: Path, threads: int = 0) -> Packed:
    """Write an archive of (path, content, mode) triples; the directories they need come with them."""
    contents = {path: (content, mode) for path, content, mode in files}
    directories = {parent for path in contents for parent in _parents(path)}
    problems = [
        Problem(f"{output.name}: {path}", "is a file and a directory at once") for path in directories & contents.keys()
    ]
    if problems:
        raise PandaError(problems)
    entries = [Entry(path, "dir") for path in directories]
    entries += [Entry(path, "file", mode, len(content)) for path, (content, mode) in contents.items()]
    entries.sort(key=lambda entry: entry.path.encode())
    members = (_Member(entry, partial(iter, contents.get(entry.path, ())[:1])) for entry in entries)
    return _write(entries, members, output, threads)


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _write(entries: list[Entry], members: Iterable[_Member], output: Path, threads: int) -> Packed:
    if leaving := find_leaving_links(entries):
        raise PandaError(
            Problem(
                f"{output.name}: {link.path}", f"links to {link.target}, which is neither in the package nor on a node"
            )
            for link in leaving
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with open(descriptor, "wb") as file:
            packed = _compress(_tar(members), file.write, threads or os.cpu_count() or 1)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, output)
    except BaseException:
        os.unlink(temporary)
        raise
    return packed


def _compress(stream: Iterable[bytes], write: Callable[[bytes], object], threads: int) -> Packed:
    whole, inner, size = hashlib.sha256(), hashlib.sha256(), 0
    waiting: deque[Future[bytes]] = deque()

    def drain(limit: int) -> int:
        written = 0
        while len(waiting) > limit:
            block = waiting.popleft().result()
            whole.update(block)
            written += len(block)
            write(block)
        return written

    with ThreadPoolExecutor(threads) as pool:
        for block in _blocks(stream):
            inner.update(block)
            waiting.append(pool.submit(lzma.compress, block, lzma.FORMAT_XZ, lzma.CHECK_CRC64, PRESET))
            size += drain(threads)  # one block more than the threads hold is read ahead
        size += drain(0)
    return Packed(whole.hexdigest(), size, inner.hexdigest())


def _blocks(stream: Iterable[bytes]) -> Iterator[bytes]:
    gathered = bytearray()
    for piece in stream:
        gathered += piece
        while len(gathered) >= BLOCK:
            yield bytes(gathered[:BLOCK])
            del gathered[:BLOCK]
    if gathered:
        yield bytes(gathered)


def _tar(members: Iterable[_Member]) -> Iterator[bytes]:
    total = 0
    for member in members:
        header = _header(member.entry).tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
        yield header
        total += len(header)
        if member.entry.kind == "file":
            yield from _exactly(member)
            padding = -member.entry.size % tarfile.BLOCKSIZE
            yield bytes(padding)
            total += member.entry.size + padding
    end = 2 * tarfile.BLOCKSIZE
    yield bytes(end + -(total + end) % tarfile.RECORDSIZE)


def _header(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path)
    info.mode = 0o755 if entry.kind == "dir" or (entry.kind == "file" and entry.is_executable) else 0o644
    if entry.kind == "dir":
        info.type = tarfile.DIRTYPE
    elif entry.kind == "link":
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.target, 0o777
    else:
        info.size = entry.size
    return info


def _exactly(member: _Member) -> Iterator[bytes]:
    """The file's bytes, as many as its header promised."""
    left = member.entry.size
    for piece in member.read():
        left -= len(piece)
        if left >= 0:
            yield piece
    if left:
        raise PandaError.one(member.entry.path, "changed while it was being packed", "run the build again")


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece
