"""The archive of a backup: what is in it, and how it is known to be whole.

A gzipped tar with two files, in this order:

    manifest.json        what follows, and of which cluster
    etcd_snapshot.db     etcd's snapshot, under the name DC/OS gives it

Behind the compressed tar stands a second, empty gzip member: the seal, whose comment is the sha256 of every byte before
it (gzip's own checksum is of the content alone, and leaves bits of the compressed form open). `tar xzf` reads past it.
The manifest's digest and size tie the snapshot to it, and nothing else may be inside. Nothing is unpacked before it is
known to be good.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from dcos_etcd.errors import EtcdError

SNAPSHOT, MANIFEST = "etcd_snapshot.db", "manifest.json"
FORMAT = 1
# A gzip header with a comment and no time, and behind the comment an empty deflate block, its checksum and its length.
_SEAL_HEADER = bytes.fromhex("1f8b08100000000000ff")
_SEAL_END = b"\0" + bytes.fromhex("0300") + bytes(8)
_SEAL_SIZE = len(_SEAL_HEADER) + len("sha256:") + 64 + len(_SEAL_END)
_CHUNK = 1 << 20

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes to do."""


class Manifest(NamedTuple):
    """What an archive says of itself. `clusters` are the ids the data has had, oldest first; the last one is of the
    cluster the backup was taken of. `hash` is etcd's own over the keys."""

    format: int
    taken: str
    member: str
    etcd: str
    clusters: tuple[str, ...]
    revision: int
    keys: int
    hash: int
    size: int
    sha256: str


def digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_archive(path: Path, snapshot: Path, manifest: Manifest, progress: Progress) -> None:
    """Write the archive, readable by its owner only. It appears whole or not at all; EtcdError when `path` exists."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as file:
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
            text = json.dumps(manifest._asdict(), indent=1).encode() + b"\n"
            archive.addfile(_entry(MANIFEST, len(text)), io.BytesIO(text))
            with snapshot.open("rb") as source:
                archive.addfile(_entry(SNAPSHOT, manifest.size), _Counted(source, manifest.size, progress))
        file.flush()
        file.seek(0)
        file.write(_seal(hashlib.file_digest(file, "sha256").hexdigest()))
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            raise EtcdError(str(path), "exists", "a backup never replaces a file: give another name") from None


def read_archive(path: Path, directory: Path, progress: Progress) -> Manifest:
    """Verify the archive and put its snapshot into `directory`. EtcdError with what is wrong with it."""
    try:
        with path.open("rb") as raw:
            _check_seal(path, raw)
            with gzip.GzipFile(fileobj=raw) as unpacked, tarfile.open(fileobj=unpacked, mode="r|") as archive:
                manifest = _read(path, archive, directory, progress)
                # What follows the last entry belongs to gzip's checksum, too.
                while unpacked.read(_CHUNK):
                    pass
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise _damaged(path, str(error)) from None
        raise EtcdError(str(path), f"cannot be read: {error.strerror}") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise _damaged(path, str(error)) from None
    return manifest


def check_cluster(path: Path, manifest: Manifest, known: tuple[str, ...], named: str) -> None:
    """EtcdError unless the archive is of a cluster this node has been in, or of the one the operator named."""
    if named in manifest.clusters or (not named and set(known) & set(manifest.clusters)):
        return
    here = f"this master has been in {', '.join(known)}" if known else "this master has never been in a cluster"
    if named:
        here = f"you named {named}"
    raise EtcdError(
        str(path),
        f"is of cluster {manifest.clusters[-1]}, and {here}",
        f"if it is the one you want: --cluster {manifest.clusters[-1]}",
    )


def _read(path: Path, archive: tarfile.TarFile, directory: Path, progress: Progress) -> Manifest:
    entries = iter(archive)
    first = next(entries, None)
    manifest = _manifest(path, archive, first)
    second = next(entries, None)
    content = archive.extractfile(second) if second and second.isreg() and second.name == SNAPSHOT else None
    if content is None:
        raise _damaged(path, f"{SNAPSHOT} does not follow the manifest")
    found = _copy(content, directory / SNAPSHOT, manifest.size, progress)
    if found != (manifest.size, manifest.sha256):
        raise _damaged(path, f"{SNAPSHOT} is not what the manifest names: {found[0]} bytes, sha256 {found[1][:16]}...")
    if next(entries, None) is not None:
        raise _damaged(path, "there is more in it than a snapshot")
    return manifest


def _manifest(path: Path, archive: tarfile.TarFile, entry: tarfile.TarInfo | None) -> Manifest:
    content = archive.extractfile(entry) if entry and entry.isreg() and entry.name == MANIFEST else None
    if content is None:
        raise _damaged(path, f"it does not begin with {MANIFEST}: dcos-etcdctl backup did not make it")
    try:
        found = json.loads(content.read())
        if found["format"] != FORMAT:
            raise EtcdError(str(path), f"has format {found['format']}; this version reads {FORMAT}")
        return Manifest(**{**found, "clusters": tuple(map(str, found["clusters"]))})
    except (ValueError, KeyError, TypeError):
        raise _damaged(path, f"{MANIFEST} is not what dcos-etcdctl backup writes") from None


def _copy(source: IO[bytes], target: Path, size: int, progress: Progress) -> tuple[int, str]:
    done, found = 0, hashlib.sha256()
    with target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)
            found.update(chunk)
            done += len(chunk)
            progress(done, size)
    return done, found.hexdigest()


def _seal(found: str) -> bytes:
    return _SEAL_HEADER + f"sha256:{found}".encode() + _SEAL_END


def _check_seal(path: Path, raw: IO[bytes]) -> None:
    """Read the whole file once; it is left at its beginning."""
    left, found = max(os.fstat(raw.fileno()).st_size - _SEAL_SIZE, 0), hashlib.sha256()
    while chunk := raw.read(min(_CHUNK, left)):
        found.update(chunk)
        left -= len(chunk)
    if raw.read() != _seal(found.hexdigest()):
        raise _damaged(path, "its seal is not that of its content, or it is of another program")
    raw.seek(0)


def _damaged(path: Path, why: str) -> EtcdError:
    return EtcdError(str(path), f"is no whole backup: {why}", "nothing was changed; use another copy")


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


class _Counted(io.RawIOBase):
    """A file that tells how far it has been read."""

    def __init__(self, file: IO[bytes], size: int, progress: Progress) -> None:
        self._file, self._size, self._progress, self._done = file, size, progress, 0

    def read(self, size: int = -1) -> bytes:
        """Read and count."""
        chunk = self._file.read(size)
        self._done += len(chunk)
        self._progress(self._done, self._size)
        return chunk
