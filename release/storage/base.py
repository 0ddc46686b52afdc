"""What every place of releases can do, and how it fails."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from pkgpanda.errors import PandaError
from release.layout import Entry

PART_SIZE = 16 << 20
"""Bytes of a part where a large file goes up in parts, each of which is kept when the transfer breaks off."""


class Stored(NamedTuple):
    """A file that is there: path below the storage, bytes, and when it was written (seconds since 1970)."""

    path: str
    size: int
    modified: float


class Storage(Protocol):
    """A place of files by path. `put` shows a file whole or not at all, and replaces one of its name in one step.

    Whatever fails that is not ours (network, permissions, disk) is a PandaError of status 3.
    """

    @property
    def name(self) -> str:
        """What the configuration calls it."""

    @property
    def url(self) -> str:
        """The address its files are read at; empty where there is none."""

    @property
    def writable(self) -> bool:
        """Whether `put` and `remove` may be asked for."""

    def read(self, path: str, limit: int = 64 << 20) -> bytes | None:
        """A document; None where there is none."""

    def fetch(self, path: str, target: Path) -> None:
        """Bring a file here; PandaError where there is none."""

    def holds(self, entry: Entry) -> bool | None:
        """Whether these very bytes are there under that path; None where nothing is."""

    def put(self, entry: Entry) -> None:
        """Put a file there. Cut off, it is not there; what was sent of a large one is used by the next attempt."""

    def listing(self, prefix: str) -> Iterator[Stored]:
        """Every file whose path begins with `prefix`, by path."""

    def remove(self, path: str) -> None:
        """Take a file away; one that is not there is no problem."""


def failed(where: str, error: Exception, hint: str = "") -> PandaError:
    """The PandaError of something outside that failed."""
    told = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return PandaError.one(where, str(told), hint, 3)


def pieces_of(entry: Entry, size: int) -> Iterator[bytes]:
    """An entry's bytes, so many at a time; PandaError behind the last where they are not what they were."""
    digest = hashlib.sha256()
    with io.BytesIO(entry.content or b"") if entry.source is None else entry.source.open("rb") as file:
        while piece := file.read(size):
            digest.update(piece)
            yield piece
    if digest.hexdigest() != entry.sha256:
        raise PandaError.one(str(entry.source), "changed while it was stored", "run it again, and nothing beside it")
