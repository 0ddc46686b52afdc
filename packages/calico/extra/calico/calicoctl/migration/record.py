"""What a migration leaves for the way back: the bytes as they were, and the digest of what they became.

    .calico-migration/
      index.json             {name: {"before": sha256, "after": sha256}}
      <sha256>               the bytes as they were, once for each content

`back` gives the bytes back that were there, if what is there now is what the migration wrote.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

DIRECTORY = ".calico-migration"


class RecordError(Exception):
    """A record that cannot be used; what and where."""


class Kept(NamedTuple):
    """What was kept of one thing."""

    before: bytes
    after: str


def digest(content: bytes) -> str:
    """The name of a content."""
    return hashlib.sha256(content).hexdigest()


def keep(directory: Path, name: str, before: bytes, after: bytes) -> None:
    """Remember, before the change is made. Of a thing that was migrated twice the first bytes stay the way back."""
    index = _read(directory)
    first = index.get(name, {})
    start = first["before"] if first.get("after") == digest(before) else digest(before)
    _write(directory / digest(before), before)
    index[name] = {"before": start, "after": digest(after)}
    _write_index(directory, index)


def kept(directory: Path, name: str) -> Kept | None:
    """What there is of a thing; None where it was not migrated from here. RecordError where it is damaged."""
    about = _read(directory).get(name)
    if about is None:
        return None
    try:
        before = (directory / about["before"]).read_bytes()
    except OSError as error:
        raise RecordError(f"{directory / about['before']}: {error.strerror}") from error
    if digest(before) != about["before"]:
        raise RecordError(f"{directory / about['before']}: was changed, and is not what was there before")
    return Kept(before, about["after"])


def forget(directory: Path, name: str) -> None:
    """After the way back."""
    index = _read(directory)
    gone = index.pop(name, None)
    _write_index(directory, index)
    if gone and gone["before"] not in {about["before"] for about in index.values()}:
        (directory / gone["before"]).unlink(missing_ok=True)
    if not index:
        (directory / "index.json").unlink(missing_ok=True)
        for left in directory.iterdir():
            left.unlink()
        directory.rmdir()


def names(directory: Path) -> list[str]:
    """Everything that can be taken back."""
    return sorted(_read(directory))


def write(path: Path, content: bytes) -> None:
    """Replace a file's bytes at once; its mode stays."""
    mode = path.stat().st_mode & 0o7777 if path.exists() else 0o644
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(content)
    draft.chmod(mode)
    os.replace(draft, path)


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
