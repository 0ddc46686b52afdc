"""What a migration leaves for the way back: the bytes as they were, and as they became.

    .calico-migration/
      index.json             {name: {"before": sha256, "after": sha256}}
      <sha256>               bytes, once for each content

`back` gives the bytes back that were there, if what is there now is what the migration wrote. The directory may be one
that holds other files: they are nobody's business here.
"""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

DIRECTORY = ".calico-migration"


class RecordError(Exception):
    """A record that cannot be used; what and where."""


class Kept(NamedTuple):
    """What was kept of one thing."""

    before: bytes
    after: bytes


def digest(content: bytes) -> str:
    """The name of a content."""
    return hashlib.sha256(content).hexdigest()


def keep(directory: Path, name: str, before: bytes, after: bytes) -> None:
    """Remember, before the change is made. Of a thing that was migrated twice the first bytes stay the way back."""
    index = _read(directory)
    first = index.get(name, {})
    is_again = first.get("after") == digest(before)
    for content in (after,) if is_again else (before, after):
        _write(directory / digest(content), content)
    index[name] = {"before": first["before"] if is_again else digest(before), "after": digest(after)}
    _write_index(directory, index)
    _drop(directory, index, first)


def kept(directory: Path, name: str) -> Kept | None:
    """What there is of a thing; None where it was not migrated from here. RecordError where it is damaged."""
    about = _read(directory).get(name)
    return None if about is None else Kept(*(_content(directory / about[when]) for when in ("before", "after")))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}") from error
    if digest(content) != path.name:
        raise RecordError(f"{path}: was changed, and is not what was kept")
    return content


def forget(directory: Path, name: str) -> None:
    """After the way back."""
    index = _read(directory)
    gone = index.pop(name, {})
    _write_index(directory, index)
    _drop(directory, index, gone)
    if not index:
        (directory / "index.json").unlink()
        with suppress(OSError):  # other files are in it
            directory.rmdir()


def _drop(directory: Path, index: dict[str, dict[str, str]], gone: dict[str, str]) -> None:
    """Remove what only `gone` needed."""
    for unused in set(gone.values()) - {each for about in index.values() for each in about.values()}:
        (directory / unused).unlink(missing_ok=True)


def names(directory: Path) -> list[str]:
    """Everything that can be taken back."""
    return sorted(_read(directory))


def write(path: Path, content: bytes) -> None:
    """Replace a file's bytes at once, of a link its target's; mode and, where we may set it, owner stay."""
    path = path.resolve()
    status = path.stat() if path.exists() else None
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if status is not None:
                with suppress(PermissionError):
                    os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, 0o644 if status is None else status.st_mode & 0o7777)
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, content)


def _write_index(directory: Path, index: dict[str, dict[str, str]]) -> None:
    # On one line: with indentation Python's encoder is several times slower, and each file of a directory pays for it.
    _write(directory / "index.json", json.dumps(index).encode() + b"\n")


def _read(directory: Path) -> dict[str, dict[str, str]]:
    path = directory / "index.json"
    try:
        document = json.loads(path.read_bytes())
        return {
            str(name): {"before": str(each["before"]), "after": str(each["after"])} for name, each in document.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: is no record of a migration") from error
