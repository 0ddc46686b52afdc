"""A folder, to be served by any web server, or mounted on the nodes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pkgpanda.errors import PandaError
from release.assemble import file_digest
from release.layout import Entry
from release.storage.base import Stored, failed, pieces_of

_UNFINISHED = ".unfinished-"


class LocalStorage:
    """Files below `root`. A file is written under a hidden name, brought to the disk, and renamed."""

    def __init__(self, name: str, root: Path, url: str = "", writable: bool = True) -> None:
        self.name = name
        self.root = root
        self.url = url
        self.writable = writable

    def read(self, path: str, limit: int = 64 << 20) -> bytes | None:
        """A document; None where there is none."""
        try:
            return self._at(path).read_bytes()[:limit]
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise failed(str(self._at(path)), error) from error

    def fetch(self, path: str, target: Path) -> None:
        """Copy a file here."""
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._at(path), target)
        except FileNotFoundError as error:
            raise PandaError.one(str(self._at(path)), "is not there") from error
        except OSError as error:
            raise failed(str(self._at(path)), error) from error

    def holds(self, entry: Entry) -> bool | None:
        """Whether these very bytes are there; all of them are read."""
        path = self._at(entry.path)
        try:
            return path.stat().st_size == entry.size and file_digest(path) == entry.sha256
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise failed(str(path), error) from error

    def put(self, entry: Entry) -> None:
        """Write, sync, rename."""
        path = self._at(entry.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._put(path, entry)
        except OSError as error:
            raise failed(str(path), error, "make room or give this user the right, and run it again") from error

    def _put(self, path: Path, entry: Entry) -> None:
        descriptor, draft = tempfile.mkstemp(prefix=_UNFINISHED, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces_of(entry, 1 << 20):
                    file.write(piece)
                os.fchmod(file.fileno(), entry.mode)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)

    def listing(self, prefix: str) -> Iterator[Stored]:
        """Every file below, through links too; what a killed run left half written is no file."""
        top = self._at(prefix.rpartition("/")[0])
        for directory, names, files in os.walk(top, onerror=_unless_gone, followlinks=True):
            names.sort()
            for name in sorted(files):
                path = Path(directory, name)
                relative = str(path.relative_to(self.root))
                if relative.startswith(prefix) and not name.startswith(_UNFINISHED) and path.exists():
                    status = path.stat()
                    yield Stored(relative, status.st_size, status.st_mtime)

    def remove(self, path: str) -> None:
        """Remove a file, and the directories that are empty without it."""
        try:
            self._at(path).unlink(missing_ok=True)
            for parent in self._at(path).relative_to(self.root).parents:
                (self.root / parent).rmdir()
        except OSError:
            if self._at(path).exists():
                raise PandaError.one(str(self._at(path)), "cannot be removed", "", 3) from None

    def _at(self, path: str) -> Path:
        if path.startswith("/") or ".." in path.split("/"):
            raise PandaError.one(path, "leads out of the storage")
        return self.root / path


def _unless_gone(error: OSError) -> None:
    """A folder that cannot be read is not an empty one."""
    if not isinstance(error, FileNotFoundError):
        raise failed(str(error.filename), error) from error


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
