"""Configuration and packages into dist/: built, rendered, described, checked, and put in place by one rename."""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gen.install import BundleInfo, Release, render_install_script
from gen.package import config_package
from gen.render import render
from gen.units import daemons_in
from pkgpanda.build.archive import pack_files
from pkgpanda.build.tree import build_tree
from pkgpanda.errors import PandaError
from pkgpanda.ids import ROLES, PackageId
from release import layout
from release.assemble import check_place, is_current, swap, write_draft
from release.bootstrap import make_bootstrap
from release.documents import Pins, bundle_entries
from release.layout import Entry
from release.parts import Bootstrap, Part
from release.provenance import describe_part
from release.verify import verify

Report = Callable[[str], None]


class Request(NamedTuple):
    """What to bundle and where: directories, and whether a pin may not be replaced."""

    packages_dir: Path
    tree_file: Path
    build_dir: Path
    output: Path
    locked: bool = False
    jobs: int = 0


class Bundle(NamedTuple):
    """What came of it. `changed` is false when dist/ already held these very bytes."""

    parts: tuple[Part, ...]
    config: PackageId
    reused: frozenset[PackageId]
    bootstrap: Bootstrap
    files: int
    size: int
    changed: bool


class Stamp(NamedTuple):
    """What makes a bundle a release: what its script carries for that, and the documents about it."""

    script: Callable[[Pins], Release]
    describe: Callable[[list[Part], list[Entry], dict[str, str]], list[Entry]]


def make_bundle(
    values: Mapping[str, Any], request: Request, report: Report, stamp: Stamp | None = None
) -> tuple[Bundle, list[Entry]]:
    """Build, render and assemble; nothing at `output` changes before the new bundle is complete and verified."""
    check_place(request.output)
    with _alone(request.build_dir, report):
        tree = build_tree(
            request.packages_dir,
            request.tree_file,
            request.build_dir,
            locked=request.locked,
            jobs=request.jobs,
            report=report,
        )
        work = request.build_dir / "release"
        config = _config_part(values, request.packages_dir, work)
        parts = sorted([*(describe_part(built, work) for built in tree.packages), config])
        bootstrap = make_bootstrap(tree.bootstrap, parts, work, report)
        inputs = {"configuration": hashlib.sha256(layout.encode(dict(values))).hexdigest()}
        entries = bundle_entries(
            parts,
            bootstrap,
            lambda pins: _install_script(values, pins, stamp),
            inputs,
            lambda entries: stamp.describe(parts, entries, inputs) if stamp else [],
        )
        changed = not is_current(request.output, entries)
        if changed:
            report(f"{request.output}: writing and verifying...")
            _replace(request.output, entries)
        _forget_others(work, [str(part.id) for part in parts] + [bootstrap.id])
    reused = frozenset(package.id for package in tree.packages if package.reused)
    size = sum(each.size for each in entries)
    return Bundle(tuple(parts), config.id, reused, bootstrap, len(entries), size, changed), entries


@contextmanager
def _alone(build_dir: Path, report: Report) -> Iterator[None]:
    """One release command at a time in a build directory; the kernel lets go when the process dies."""
    build_dir.mkdir(parents=True, exist_ok=True)
    with (build_dir / "release.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"{build_dir}: waiting for another release command to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _replace(output: Path, entries: list[Entry]) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = write_draft(output, entries)
    problems = verify(draft).problems
    if problems:
        # What we wrote does not fit together: ours to mend, but it must not be served, and the reasons must be seen.
        shutil.rmtree(draft)
        raise PandaError(problems)
    swap(draft, output)


def _install_script(values: Mapping[str, Any], pins: Pins, stamp: Stamp | None) -> bytes:
    return render_install_script(values, BundleInfo(**pins._asdict()), stamp.script(pins) if stamp else None)


def _config_part(values: Mapping[str, Any], packages_dir: Path, work: Path) -> Part:
    package = config_package(render(values, daemons_in(packages_dir)))
    archive = work / f"{package.id}.tar.xz"
    packed = pack_files(((file.path, file.content, file.mode) for file in package.files), archive)
    return Part(package.id, ROLES, archive, packed.sha256, packed.size, packed.tar_sha256)


def _forget_others(work: Path, ids: list[str]) -> None:
    """Remove what earlier bundles left in our part of the build directory: files that begin with no id of this one."""
    for path in work.iterdir():
        if path.is_file() and not path.name.startswith(tuple(f"{each}." for each in ids)):
            path.unlink()
