"""What builds leave behind, and how the next run finds and trusts it.

```
build/
  packages/<name>/<id>.tar.xz       the archive
  packages/<name>/<id>.json         what it is: digests, size, sources, inputs; written after the archive
  packages/<name>/[<variant>.]latest  the id of the last build, for `why`
  logs/<name>.log                   what the build script said last time
  state/digests.json                sha256 of files by their stat
  work/<name>-<random>/             a build going on; flock()ed by its builder, so that a dead one's is known as dead
  work/.lock                        held while directories of work/ are made or cleared away
  locks/<name>                      held while <name> is built, so that two runs do not build it twice
```

A package exists when both its files do and the archive has the digest its description names.
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pkgpanda.build.hashing import Digests
from pkgpanda.build.recipe import Recipe
from pkgpanda.build.sources import SourceRecord
from pkgpanda.errors import PandaError
from pkgpanda.ids import ROLES, PackageId


@dataclass(frozen=True)
class BuiltPackage:
    """A package in the build directory. `requires` are the ids it asks for itself; `files` its well-known paths."""

    id: PackageId
    roles: tuple[str, ...]
    archive: Path
    sha256: str
    size: int
    tar_sha256: str
    reused: bool
    requires: tuple[PackageId, ...]
    sources: tuple[SourceRecord, ...]
    files: tuple[str, ...]
    inputs: Mapping[str, Any]

    def for_roles(self, roles: tuple[str, ...]) -> "BuiltPackage":
        """The same package where a tree puts it."""
        return replace(self, roles=roles)


class Output:
    """The build directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.digests = Digests(self.directory / "state")

    def archive(self, package: PackageId) -> Path:
        """Where the archive of an id is or will be."""
        return self.directory / "packages" / package.name / f"{package}.tar.xz"

    def log(self, name: str) -> Path:
        """Where a build script's words go."""
        return self._made("logs") / f"{name}.log"

    def find(self, package: PackageId) -> BuiltPackage | None:
        """The package if it is there and whole; its description is trusted no further than the archive's digest."""
        archive = self.archive(package)
        try:
            data = json.loads(archive.with_name(f"{package}.json").read_bytes())
            built = _from_json(data, package, archive)
            whole = self.digests.of(archive) == built.sha256
        except (OSError, ValueError, TypeError, KeyError, PandaError):
            return None
        return built if whole else None

    def remove(self, package: PackageId) -> None:
        """Take a package away again, its description first: from then on it does not exist."""
        archive = self.archive(package)
        archive.with_name(f"{package}.json").unlink(missing_ok=True)
        archive.unlink(missing_ok=True)

    def describe(self, built: BuiltPackage) -> None:
        """Write the description that makes an archive a package."""
        data = {
            "id": str(built.id),
            "sha256": built.sha256,
            "size": built.size,
            "tar_sha256": built.tar_sha256,
            "requires": [str(package) for package in built.requires],
            "sources": [source._asdict() for source in built.sources],
            "files": list(built.files),
            "inputs": built.inputs,
        }
        text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        _write(built.archive.with_name(f"{built.id}.json"), text)

    def latest(self, recipe: Recipe) -> PackageId | None:
        """The id of the last build of a recipe."""
        try:
            return PackageId.parse(self._latest(recipe).read_text().strip())
        except (OSError, ValueError, PandaError):
            return None

    def note_latest(self, recipe: Recipe, package: PackageId) -> None:
        """Remember the id as the last one, if it is news."""
        if self.latest(recipe) != package:
            _write(self._latest(recipe), f"{package}\n")

    def _latest(self, recipe: Recipe) -> Path:
        name = f"{recipe.variant}.latest" if recipe.variant else "latest"
        return self.directory / "packages" / recipe.name / name

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Build `name` alone among all runs on this directory."""
        with (self._made("locks") / name).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def workplace(self, name: str) -> Iterator[Path]:
        """A directory for one build, gone afterwards however it ends; one that is killed is cleared by the next run."""
        work = self._made("work")
        with (work / ".lock").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            directory = Path(tempfile.mkdtemp(dir=work, prefix=f"{name}-"))
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield directory
        finally:
            remove_tree(directory)
            os.close(descriptor)

    def clear_dead(self) -> int:
        """Remove what builds that were killed left in work/ and beside archives; how many."""
        count = 0
        if not any(path.is_dir() for path in self._made("work").iterdir()):
            return count
        with (self._made("work") / ".lock").open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            for directory in (path for path in self._made("work").iterdir() if path.is_dir()):
                descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove_tree(directory)
                    count += 1
                os.close(descriptor)
        return count

    def _made(self, name: str) -> Path:
        directory = self.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory


def remove_tree(directory: Path) -> None:
    """Remove a directory whatever its scripts did to the modes in it."""
    for parent, names, _ in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path) and not os.access(path, os.R_OK | os.W_OK | os.X_OK):
                os.chmod(path, 0o700)
    shutil.rmtree(directory, ignore_errors=True)


def _from_json(data: Mapping[str, Any], package: PackageId, archive: Path) -> BuiltPackage:
    return BuiltPackage(
        id=package,
        roles=ROLES,
        archive=archive,
        sha256=data["sha256"],
        size=data["size"],
        tar_sha256=data["tar_sha256"],
        reused=True,
        requires=tuple(map(PackageId.parse, data["requires"])),
        sources=tuple(SourceRecord(**source) for source in data["sources"]),
        files=tuple(data["files"]),
        inputs=data["inputs"],
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with open(descriptor, "w") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o644)
    os.replace(temporary, path)
