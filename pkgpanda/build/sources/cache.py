"""The download cache: files by their sha256, shared by every build of a user.

```
${DCOS_CALICO_CACHE:-${XDG_CACHE_HOME:-~/.cache}/dcos-calico}/
  sources/<sha256>      a verified file; appears by one rename
  partial/<sha256>      a download that was cut off; the next one goes on from there
  locks/<name>          flock()ed while somebody fetches: a second build waits and finds the file
  git/<sha256 of url>/  bare repositories
  apt/                  lists of our own, so that apt works without root
```
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pkgpanda.build.hashing import file_sha256


def default_cache() -> Path:
    """Where downloads are kept: $DCOS_CALICO_CACHE, or dcos-calico in the user's cache directory."""
    if chosen := os.environ.get("DCOS_CALICO_CACHE"):
        return Path(chosen)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "dcos-calico"


class Cache:
    """Files by digest under `root`; safe for any number of builds at once."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def path(self, sha256: str) -> Path:
        """Where the file with this digest is or will be."""
        return self.root / "sources" / sha256

    def partial(self, sha256: str) -> Path:
        """Where a download of this digest is gathered."""
        return self._made("partial") / sha256

    def find(self, sha256: str) -> Path | None:
        """The file with this digest; one whose bytes are not (or no longer) right is removed and not found."""
        path = self.path(sha256)
        if not path.is_file():
            return None
        if file_sha256(path) == sha256:
            return path
        path.unlink(missing_ok=True)
        return None

    def admit(self, file: Path, sha256: str) -> Path:
        """Move a verified file in; `file` must be below the cache's root, so that the move is a rename."""
        target = self._made("sources") / sha256
        os.chmod(file, 0o644)
        os.replace(file, target)
        return target

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold `name` alone among all builds that share the cache; the kernel lets go when we die."""
        with (self._made("locks") / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A directory of one's own inside the cache, removed afterwards."""
        with tempfile.TemporaryDirectory(dir=self._made("scratch")) as directory:
            yield Path(directory)

    def _made(self, name: str) -> Path:
        directory = self.root / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory
