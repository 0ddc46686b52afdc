"""`release calicoctl`: the command as one file that any host with Python 3.11 or newer runs, and where its builds go.

Branches are named `release-vX.Y-d2iq.N`, tags `vX.Y-d2iq.N` (or `vX.Y.Z-d2iq.N`); X.Y is the version of Calico that is
spoken, N counts builds of ours. A tag's builds stay; a branch's go after seven days (`release prune`):

    dcos-calicoctl/bin/<tag>/<commit>-<digest>/calicoctl-<os>-<arch>
    autodelete7d/<branch>/bin/<commit>-<digest>/calicoctl-<os>-<arch>
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pkgpanda.build.recipe import read_recipe
from pkgpanda.build.tree import Report, Shop
from pkgpanda.errors import PandaError
from release.layout import Entry, entry
from release.source import Commit

SPEAKS = "3.14"
"""Calico's version whose resources calicoctl reads and writes."""

BRANCH_BUILDS = "autodelete7d"
TAG_BUILDS = "dcos-calicoctl/bin"
BRANCH_DAYS = 7

PLATFORMS = ("darwin-amd64", "darwin-arm64", "linux-amd64", "linux-arm64", "windows-amd64")
"""One and the same file serves all: it is Python. Windows starts it as `py calicoctl-windows-amd64`."""

_BRANCH = re.compile(r"release-v(?P<calico>\d+\.\d+)-d2iq\.\d+", re.ASCII)
_TAG = re.compile(r"v(?P<calico>\d+\.\d+)(\.\d+)?-d2iq\.\d+", re.ASCII)
_SHEBANG = b"#!/usr/bin/env python3\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = """\
import sys

if sys.version_info < (3, 11):
    sys.exit("calicoctl needs Python 3.11 or newer, and this is %d.%d" % sys.version_info[:2])

from calico.calicoctl.cli import main

sys.exit(main())
"""


class Line(NamedTuple):
    """What a build is of: a branch, whose builds expire, or a tag, whose builds stay."""

    name: str
    is_tag: bool

    def path(self, commit: Commit, digest: str, platform: str) -> str:
        """Where a build stands: seven digits of the commit and of the file name it."""
        build = f"{commit.id[:7]}-{digest[:7]}/calicoctl-{platform}"
        return f"{TAG_BUILDS}/{self.name}/{build}" if self.is_tag else f"{BRANCH_BUILDS}/{self.name}/bin/{build}"


def read_line(branch: str, tag: str) -> Line:
    """A branch's or a tag's name, checked; PandaError for one that cannot be."""
    name = tag or branch
    match = (_TAG if tag else _BRANCH).fullmatch(name)
    if match is None:
        form = "vX.Y-d2iq.N, as v3.14-d2iq.1" if tag else "release-vX.Y-d2iq.N, as release-v3.14-d2iq.1"
        raise PandaError.one(name, f"is no name of a {'tag' if tag else 'branch'} of calicoctl", f"write {form}")
    if match["calico"] != SPEAKS:
        raise PandaError.one(name, f"is of Calico {match['calico']}, and this calicoctl speaks {SPEAKS}", f"v{SPEAKS}")
    return Line(name, bool(tag))


def build_zipapp(calico: Path, yaml: Path, build: str) -> bytes:
    """The program's bytes: Calico's modules from `calico`, PyYAML's from `yaml`, and what the build calls itself.

    Entries are sorted, of one time and mode, and not compressed (which differs between versions of zlib).
    """
    target = io.BytesIO()
    target.write(_SHEBANG)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_STORED) as archive:
        for name, content in sorted(_contents(calico, yaml, build)):
            about = zipfile.ZipInfo(name, _EPOCH)
            about.create_system, about.external_attr = 3, 0o100644 << 16
            archive.writestr(about, content)
    return target.getvalue()


def _contents(calico: Path, yaml: Path, build: str) -> Iterator[tuple[str, bytes]]:
    yield "__main__.py", _MAIN.encode()
    yield "calico_build.py", f'"""Which build this is."""\n\nNAME = {build!r}\n'.encode()
    for package, directory in (("calico", calico), ("yaml", yaml)):
        for path in directory.rglob("*.py"):
            yield f"{package}/{path.relative_to(directory).as_posix()}", path.read_bytes()


def build(packages: Path, build_dir: Path, commit: Commit, report: Report) -> bytes:
    """The program from the recipes' directory, with the PyYAML that the nodes' Python has (its pure Python part)."""
    shop = Shop(packages, build_dir, locked=True, report=report)
    source = read_recipe(packages / "python").sources["pyyaml"].fetch(shop.workshop)
    with shop.workshop.cache.scratch() as scratch:
        source.unpack(shop.workshop, scratch / "pyyaml")
        return build_zipapp(packages / "calico/extra/calico", scratch / "pyyaml" / "yaml", str(commit))


def entries(content: bytes, line: Line, commit: Commit, platforms: Iterable[str] = PLATFORMS) -> list[Entry]:
    """The builds as they are stored."""
    digest = hashlib.sha256(content).hexdigest()
    return [entry(line.path(commit, digest, platform), content, 0o755) for platform in platforms]
