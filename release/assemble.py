"""Puts dist/ in place: built whole beside its place, then exchanged with what stood there by one rename.

Whoever serves the directory serves the old bundle or the new one. A draft that a killed run left (`.<name>.new`) is
removed by the next run; the caller holds the lock that keeps two runs apart.
"""

import ctypes
import hashlib
import os
import shutil
import stat
from pathlib import Path, PurePosixPath

from pkgpanda.errors import PandaError
from pkgpanda.keys import signed_path
from release.layout import DIRECTORY_MODE, FORMAT, MANIFEST, SUMS, Entry

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CHUNK = 1 << 20


def check_place(output: Path) -> None:
    """Raise PandaError unless `output` is free, empty, or a bundle of ours, which may be replaced."""
    if not output.exists() and not output.is_symlink():
        return
    if output.is_symlink() or not output.is_dir():
        raise PandaError.one(str(output), "is not a directory", "choose another --output")
    if any(output.iterdir()) and not _is_bundle(output):
        raise PandaError.one(
            str(output), "is neither empty nor a bundle, and is left alone", "choose another --output, or empty it"
        )


def _is_bundle(directory: Path) -> bool:
    try:
        return FORMAT.encode() in (directory / MANIFEST).read_bytes()
    except OSError:
        return False


def is_current(output: Path, entries: list[Entry]) -> bool:
    """Whether `output` holds exactly `entries`: paths, modes and bytes (all are read: they are what is served).

    Signatures of its SHA256SUMS may stand beside them: what they sign is the same.
    """
    expected = {each.path: each for each in entries}
    parents = {str(parent) for each in entries for parent in PurePosixPath(each.path).parents}
    found: dict[str, Path] = {}
    directories = {".": output}
    for path in output.rglob("*"):
        place = directories if path.is_dir() and not path.is_symlink() else found
        name = str(path.relative_to(output))
        if (signed_path(name) or ("",))[0] != SUMS:
            place[name] = path
    if expected.keys() != found.keys() or parents != directories.keys():
        return False
    if any(stat.S_IMODE(path.stat().st_mode) != DIRECTORY_MODE for path in directories.values()):
        return False
    return all(_matches(path, expected[name]) for name, path in found.items())


def _matches(path: Path, wanted: Entry) -> bool:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_size != wanted.size or stat.S_IMODE(status.st_mode) != wanted.mode:
        return False
    return file_digest(path) == wanted.sha256


def file_digest(path: Path) -> str:
    """The sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_draft(output: Path, entries: list[Entry]) -> Path:
    """Write all of `entries` beside `output`; return the directory. Modes are as given, whatever the umask."""
    draft = output.parent / f".{output.name}.new"
    for stale in (draft, _aside(output)):
        if stale.exists():
            shutil.rmtree(stale)
    try:
        draft.mkdir(parents=True)
        for each in entries:
            path = draft / each.path
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, each)
        for directory in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
            directory.chmod(DIRECTORY_MODE)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return draft


def _write(path: Path, wanted: Entry) -> None:
    if wanted.source is not None:
        shutil.copyfile(wanted.source, path)
    else:
        path.write_bytes(wanted.content or b"")
    path.chmod(wanted.mode)
    if file_digest(path) != wanted.sha256:
        raise PandaError.one(
            str(wanted.source or path), "changed while the bundle was assembled", "run release bundle again"
        )


def swap(draft: Path, output: Path) -> None:
    """Let `draft` take the place of `output` in one step, and remove what stood there."""
    if not output.exists():
        draft.rename(output)
        return
    _exchange(draft, output)
    shutil.rmtree(draft)


def _exchange(one: Path, other: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    # A file system without the exchange (some network ones): two renames, with an instant in which the place is empty.
    other.rename(_aside(other))
    one.rename(other)
    _aside(other).rename(one)


def _aside(output: Path) -> Path:
    return output.parent / f".{output.name}.old"
