"""The store: `packages/<id>/`, and beside it what was recorded of each package when it was unpacked.

A package appears by one rename, after its files and its record are on the disk, and leaves by one rename, before the
first of its files goes. So a name in `packages/` is a whole package, whatever happened in between; names that begin
with a dot are what an interrupted run left, removed by the next.
"""

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import PackageId
from pkgpanda.node.host import Host, read_json, shaped, to_json
from pkgpanda.node.layout import WELL_KNOWN, Layout
from pkgpanda.node.package import Package, Tree, read_package

_RECORDED = ("check", "remove")


class Digest(NamedTuple):
    """What a verified manifest says of an archive. `tar_sha256` may be empty (a SHA256SUMS names archives only)."""

    sha256: str
    tar_sha256: str = ""


def list_ids(layout: Layout) -> list[str]:
    """The ids of the packages in the store, sorted."""
    try:
        names = os.listdir(layout.repository)
    except FileNotFoundError:
        return []
    return sorted(name for name in names if not name.startswith(".") and name.count("--") == 1)


def load(layout: Layout, package_id: str) -> Package:
    """The package with that id; PandaError when the store has none or its record does not fit it."""
    PackageId.parse(package_id)
    if not os.path.isdir(layout.package(package_id)):
        raise PandaError.one(package_id, "is not in the store", f"fetch it: pkgpanda fetch {package_id}")
    try:
        record = read_json(layout.manifest(package_id))
    except FileNotFoundError:
        record = None
    if not isinstance(record, dict) or record.get("id") != package_id:
        raise PandaError.one(
            package_id, "has no record in the store", "it was not added by pkgpanda: remove it and fetch it"
        )
    return shaped(layout.manifest(package_id), lambda: _recorded(layout, package_id, record))


def _recorded(layout: Layout, package_id: str, record: dict[str, Any]) -> Package:
    _check_undamaged(layout, package_id, record)
    return read_package(package_id, record["pkginfo"], record["buildinfo"], record["trees"])


def _check_undamaged(layout: Layout, package_id: str, record: dict[str, Any]) -> None:
    """A quick look, on every use: the top of the package is what was unpacked. `verify` looks at everything."""
    path = layout.package(package_id)
    if sorted(os.listdir(path)) != record["top"]:
        raise PandaError.one(package_id, "was changed after it was added", f"see pkgpanda verify {package_id}")
    status = os.stat(f"{path}/pkginfo.json")
    if status.st_size != record["pkginfo_size"]:
        raise PandaError.one(package_id, "has another pkginfo.json now", f"see pkgpanda verify {package_id}")


def load_all(layout: Layout, ids: Iterable[str]) -> list[Package]:
    """Packages by id, in order; PandaError names every one that cannot be had."""
    packages, problems = [], []
    for package_id in ids:
        try:
            packages.append(load(layout, package_id))
        except PandaError as error:
            problems += error.problems
    if problems:
        raise PandaError(problems)
    return packages


def loadable(layout: Layout, ids: Iterable[str], known: Iterable[Package] = ()) -> list[Package]:
    """Those packages that can be had; `known` ones are not read again.

    For what is live already: a damaged package must not keep its own replacement or removal from happening.
    """
    loaded = {str(package.id): package for package in known}
    found = []
    for package_id in ids:
        try:
            found.append(loaded.get(package_id) or load(layout, package_id))
        except PandaError:
            continue
    return found


def resolve(layout: Layout, text: str) -> str:
    """An id, or the only id of that name in the store."""
    if "--" in text:
        return text
    found = [package_id for package_id in list_ids(layout) if package_id.partition("--")[0] == text]
    if len(found) == 1:
        return found[0]
    if found:
        raise PandaError.one(text, f"names {len(found)} packages of the store", f"give one of {', '.join(found)}")
    raise PandaError.one(text, "is not in the store", "pkgpanda list shows what is")


def add(host: Host, layout: Layout, package_id: str, archive: str, digest: Digest) -> bool:
    """Unpack a verified archive into the store; False when the package is there already.

    Raises PandaError, with the store as it was, for an archive that is not the expected one or no package.
    """
    from pkgpanda.node import archive as archives

    if os.path.isdir(layout.package(package_id)):
        return False
    archives.check_digest(archive, digest.sha256)
    clean(host, layout)
    for directory in (layout.repository, layout.at("manifests")):
        host.make_directories(directory)
    unpacked = f"{layout.repository}/.adding-{package_id}"
    try:
        entries = archives.extract(host, archive, unpacked, digest.tar_sha256)
        record = _record(package_id, unpacked, entries, archive)
        _write_record(host, layout, package_id, record, entries)
        host.sync_all(layout.repository)
        host.rename(unpacked, layout.package(package_id))
        host.sync_file(layout.repository)
    except (PandaError, OSError):
        host.remove_tree(unpacked)
        _forget(host, layout, package_id)
        raise
    return True


def _write_record(host: Host, layout: Layout, package_id: str, record: Any, entries: list[Any]) -> None:
    _forget(host, layout, package_id)
    host.write(layout.manifest(package_id), to_json(record))
    host.write(layout.files(package_id), to_json([list(entry) for entry in entries]))


def _record(package_id: str, unpacked: str, entries: list[Any], archive: str) -> dict[str, Any]:
    pkginfo = _member(unpacked, entries, archive, "pkginfo.json")
    buildinfo = _member(unpacked, entries, archive, "buildinfo.full.json")
    trees = _trees(entries)
    read_package(package_id, pkginfo, buildinfo, trees)
    named = buildinfo.get("name")
    if named is not None and named != PackageId.parse(package_id).name:
        raise PandaError.one(archive, f"holds the package {named!r}, not {package_id}")
    sizes = {entry.path: entry.size for entry in entries}
    return {
        "id": package_id,
        "pkginfo": pkginfo,
        "buildinfo": buildinfo,
        "trees": trees,
        "top": sorted({entry.path.partition("/")[0] for entry in entries}),
        "pkginfo_size": sizes["pkginfo.json"],
    }


def _member(unpacked: str, entries: list[Any], archive: str, name: str) -> Any:
    if not any(entry.path == name and entry.kind == "f" for entry in entries):
        raise PandaError.one(archive, f"holds no {name}", "this is no package")
    try:
        return read_json(f"{unpacked}/{name}")
    except PandaError as error:
        raise PandaError.one(f"{archive}: {name}", "is not JSON", error.problems[0].message) from error


def _trees(entries: list[Any]) -> dict[str, Tree]:
    """The directories an activation looks at, as nested names."""
    trees: dict[str, Tree] = {}
    for entry in entries:
        top, _, rest = entry.path.partition("/")
        if not (is_well_known(top) or top in _RECORDED):
            continue
        node: Any = trees
        names = entry.path.split("/")
        for name in names[:-1]:
            node = node[name]
        node[names[-1]] = {} if entry.kind == "d" else entry.kind
        if rest == "" and entry.kind != "d":
            raise PandaError.one(entry.path, "is no directory", "that name is kept for one")
    return trees


def is_well_known(name: str) -> bool:
    """Whether a directory of that name is merged into what the node sees, for all roles or for one."""
    return name in WELL_KNOWN or any(name.startswith(f"{known}_") for known in WELL_KNOWN)


def repair(host: Host, layout: Layout, package_id: str, archive: str, digest: Digest) -> None:
    """Make a package that may be in use what its archive holds, each path by one rename."""
    from pkgpanda.node import archive as archives

    archives.check_digest(archive, digest.sha256)
    clean(host, layout)
    fresh, root = f"{layout.repository}/.adding-{package_id}", layout.package(package_id)
    entries = archives.extract(host, archive, fresh, digest.tar_sha256)
    record = _record(package_id, fresh, entries, archive)
    expected = {entry.path: entry for entry in entries}
    for path in sorted(_walk(root) - set(expected), reverse=True):
        host.remove_tree(f"{root}/{path}")
    for path, entry in expected.items():
        there = f"{root}/{path}"
        if os.path.lexists(there) and _kind(there) != entry.kind:
            host.remove_tree(there)
        if entry.kind == "d":
            if not os.path.isdir(there):
                host.mkdir(there)
        else:
            host.rename(f"{fresh}/{path}", there)
    host.remove_tree(fresh)
    for path, document in (
        (layout.manifest(package_id), record),
        (layout.files(package_id), [list(entry) for entry in entries]),
    ):
        host.replace(path, to_json(document))
    host.sync_all(layout.repository)


def remove(host: Host, layout: Layout, package_id: str) -> None:
    """Take a package out of the store."""
    going = f"{layout.repository}/.removing-{package_id}"
    host.rename(layout.package(package_id), going)
    host.sync_file(layout.repository)
    _forget(host, layout, package_id)
    host.remove_tree(going)


def _forget(host: Host, layout: Layout, package_id: str) -> None:
    host.remove_tree(layout.manifest(package_id))
    host.remove_tree(layout.files(package_id))


def clean(host: Host, layout: Layout) -> None:
    """Remove what interrupted runs left: half-unpacked and half-removed packages, and records without a package."""
    if not os.path.isdir(layout.repository):
        return
    for name in sorted(os.listdir(layout.repository)):
        if name.startswith((".adding-", ".removing-")):
            host.remove_tree(f"{layout.repository}/{name}")
    manifests = layout.at("manifests")
    for name in sorted(os.listdir(manifests) if os.path.isdir(manifests) else ()):
        if not os.path.isdir(layout.package(name.removesuffix(".json").removesuffix(".files"))):
            host.unlink(f"{manifests}/{name}")


def read_files(layout: Layout, package_id: str) -> dict[str, list[Any]]:
    """What the store recorded of every path of a package: path -> [path, kind, mode, size, digest, target]."""
    try:
        rows = read_json(layout.files(package_id))
    except FileNotFoundError:
        rows = None
    if not isinstance(rows, list):
        raise PandaError.one(package_id, "has no list of its files in the store", "remove it and fetch it again")
    return shaped(layout.files(package_id), lambda: {row[0]: row for row in rows})


def verify(layout: Layout, package_id: str) -> list[Problem]:
    """Re-hash a package; a problem for every path that is missing, changed or not from its archive."""
    from pkgpanda.node.archive import sha256_of

    try:
        expected = read_files(layout, package_id)
    except PandaError as error:
        return error.problems
    root = layout.package(package_id)
    extra = sorted(_walk(root) - set(expected))
    problems = [Problem(package_id, f"{path} was not in the package's archive") for path in extra]
    for path, (_, kind, mode, size, digest, target) in expected.items():
        full = f"{root}/{path}"
        if not os.path.lexists(full):
            problems.append(Problem(package_id, f"{path} is missing"))
        elif kind != _kind(full):
            problems.append(Problem(package_id, f"{path} is of another kind now"))
        elif kind == "l" and os.readlink(full) != target:
            problems.append(Problem(package_id, f"{path} links to {os.readlink(full)!r}, not to {target!r}"))
        elif kind == "f" and (os.lstat(full).st_size != size or sha256_of(full) != digest):
            problems.append(Problem(package_id, f"{path} has other content"))
        elif kind != "l" and os.lstat(full).st_mode & 0o7777 != mode:
            problems.append(
                Problem(package_id, f"{path} has mode {os.lstat(full).st_mode & 0o7777:04o}, not {mode:04o}")
            )
    return problems


def _kind(path: str) -> str:
    if os.path.islink(path):
        return "l"
    if os.path.isdir(path):
        return "d"
    return "f" if os.path.isfile(path) else "?"


def _walk(root: str) -> set[str]:
    found = set()
    for directory, names, files in os.walk(root):
        prefix = os.path.relpath(directory, root)
        found |= {os.path.normpath(f"{prefix}/{name}") for name in [*names, *files]}
    return found
