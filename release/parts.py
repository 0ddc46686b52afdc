"""What a bundle is made of, as the documents about it tell: packages, and what went into each."""

from pathlib import Path
from typing import NamedTuple

from pkgpanda.ids import PackageId
from release.licences import Licence


class Source(NamedTuple):
    """One pinned source of a package. `name` is the project's (a Debian package, a PyPI project, a URL's file)."""

    kind: str
    name: str
    version: str
    sha256: str
    unlocked: bool
    shipped: bool
    licences: tuple[Licence, ...] = ()


class Part(NamedTuple):
    """One package of the bundle, built or rendered."""

    id: PackageId
    roles: tuple[str, ...]
    archive: Path
    sha256: str
    size: int
    tar_sha256: str
    requires: tuple[PackageId, ...] = ()
    sources: tuple[Source, ...] = ()


class Bootstrap(NamedTuple):
    """The bootstrap tarball: its id, the packages in it, and the file."""

    id: str
    packages: tuple[PackageId, ...]
    archive: Path
    sha256: str
    size: int
