"""A second opinion on package archives, written from DC/OS's rules for packages and for nothing else.

It shares no code with the builder, the node side or the release tool, so that a misreading would have to be made
twice: what an archive must hold (`pkginfo.json`, `buildinfo.full.json`), how ids are written, what a node accepts as a
set, and what linking several packages into one tree can collide on.
"""

import json
import posixpath
import re
import stat
import sys
import tarfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

NAME = re.compile(r"[a-zA-Z0-9@_+][a-zA-Z0-9@._+\-]*")
VERSION = re.compile(r"[a-zA-Z0-9@_+:.]+")
USERNAME = re.compile(r"dcos_[a-z0-9_]+")
GROUP = re.compile(r"[a-z_][a-z0-9_-]*")
ROLES = ("", "_master", "_slave", "_slave_public")
LINKED = ("bin", "etc", "include", "lib", "dcos.target.wants")
PKGINFO = {"environment", "requires", "state_directory"}
PKGINFO_OPTIONAL = {"username", "group", "sysctl", "variant"}
RENDERED_ONLY = {"units"}
BUILDINFO = {"name", "variant", "package_version", "sources", "build_ids"}
RESERVED_UNITS = {"dcos.target", "dcos-setup.service", "dcos-download.service"}


class Archive:
    """An archive as tar sees it."""

    def __init__(self, path: Path) -> None:
        self.id = path.name.removesuffix(".tar.xz")
        self.folder = path.parent.name
        self.members: dict[str, tarfile.TarInfo] = {}
        self.texts: dict[str, bytes] = {}
        with tarfile.open(path, "r:xz") as tar:
            for member in tar:
                name = posixpath.normpath(member.name)
                self.members[name] = member
                if name in ("pkginfo.json", "buildinfo.full.json"):
                    file = tar.extractfile(member)
                    self.texts[name] = file.read() if file else b""

    def document(self, name: str) -> Any:
        try:
            return json.loads(self.texts[name])
        except (KeyError, ValueError):
            return None


def check(paths: Iterable[Path]) -> list[str]:
    """Every objection to the archives: each by itself, then as a set on one node."""
    archives = [_archive(path) for path in sorted(paths)]
    found = [f"{archive.id}: {text}" for archive in archives for text in _alone(archive)]
    return found + list(_together(archives))


@cache
def _archive(path: Path) -> Archive:
    return Archive(path)


def _alone(archive: Archive) -> Iterator[str]:
    name, _, version = archive.id.partition("--")
    if not (NAME.fullmatch(name) and VERSION.fullmatch(version)) or archive.id.count("--") != 1:
        yield "is not <name>--<version>"
    if archive.folder != name:
        yield f"lies in the folder {archive.folder}"
    yield from _pkginfo(archive.document("pkginfo.json"))
    yield from _buildinfo(archive.document("buildinfo.full.json"), name, version)
    for path, member in archive.members.items():
        yield from _member(path, member)


def _pkginfo(info: Any) -> Iterator[str]:
    if not isinstance(info, dict):
        yield "pkginfo.json is missing or no object"
        return
    if not PKGINFO <= info.keys() <= PKGINFO | PKGINFO_OPTIONAL | RENDERED_ONLY:
        yield f"pkginfo.json has the members {sorted(info)}"
    environment = info.get("environment")
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        yield "environment is not an object of strings"
    if info.get("state_directory") not in (True, False) or not isinstance(info.get("state_directory"), bool):
        yield "state_directory is not a boolean"
    if not isinstance(info.get("requires"), list) or not all(map(_is_requirement, info["requires"])):
        yield "requires is not a list of names or of {name, variant}"
    for key, pattern in (("username", USERNAME), ("group", GROUP)):
        if key in info and not (isinstance(info[key], str) and pattern.fullmatch(info[key])):
            yield f"{key} is {info[key]!r}"
    sysctl = info.get("sysctl", {})
    if not isinstance(sysctl, dict) or not all(isinstance(settings, dict) for settings in sysctl.values()):
        yield "sysctl is not {service: {key: value}}"


def _is_requirement(item: Any) -> bool:
    if isinstance(item, dict):
        return item.keys() == {"name", "variant"} and isinstance(item["name"], str)
    return isinstance(item, str) and NAME.fullmatch(item) is not None and "--" not in item


def _buildinfo(info: Any, name: str, version: str) -> Iterator[str]:
    if not isinstance(info, dict):
        yield "buildinfo.full.json is missing or no object"
        return
    if not BUILDINFO <= info.keys() <= BUILDINFO | {"extra_source"}:
        yield f"buildinfo.full.json has the members {sorted(info)}"
    if (info.get("name"), info.get("package_version")) != (name, version):
        yield "buildinfo.full.json is another package's"
    if not isinstance(info.get("variant"), str | None):
        yield "variant is neither null nor a string"
    if not isinstance(info.get("sources"), dict) or not isinstance(info.get("build_ids"), dict):
        yield "sources or build_ids is no object"


def _member(path: str, member: tarfile.TarInfo) -> Iterator[str]:
    if path.startswith(("/", "../")):
        yield f"{path} is outside the package"
    if not (member.isreg() or member.isdir() or member.issym()):
        yield f"{path} is neither file, directory nor symbolic link"
    forbidden = 0 if member.issym() else stat.S_ISUID | stat.S_ISGID | 0o022
    if (member.uid, member.gid) != (0, 0) or member.mode & forbidden:
        yield f"{path} has owner {member.uid}:{member.gid} and mode {member.mode:o}"
    top, _, rest = path.partition("/")
    linked = next((base for base in LINKED if top == base or top.startswith(base + "_")), None)
    if linked and top.removeprefix(linked) not in ROLES:
        yield f"{top} is for a role that does not exist"
    if linked == "dcos.target.wants" and rest in RESERVED_UNITS:
        yield f"{path} is a unit of DC/OS's own"
    if top in ("check", "remove") and rest and member.isreg() and not member.mode & 0o100:
        yield f"{path} cannot be run"
    if member.issym():
        target = member.linkname
        inside = target if target.startswith("/") else posixpath.join("/package", posixpath.dirname(path), target)
        if not posixpath.normpath(inside).startswith(("/package/", "/opt/mesosphere/")):
            yield f"{path} links to {target}"


def _together(archives: list[Archive]) -> Iterator[str]:
    infos = {archive.id: archive.document("pkginfo.json") or {} for archive in archives}
    names = [archive.id.partition("--")[0] for archive in archives]
    yield from (f"{name} is there twice" for name in sorted({name for name in names if names.count(name) > 1}))
    variables: dict[str, str] = {}
    settings: dict[str, Any] = {}
    for package, info in infos.items():
        if "group" in info and "username" not in info:
            yield f"{package}: group without username"
        for item in info.get("requires") or []:
            wanted = item["name"] if isinstance(item, dict) else item
            if wanted not in names:
                yield f"{package}: requires {wanted}, which is not there"
        for variable in info.get("environment") or {}:
            if variable in ("PATH", "LD_LIBRARY_PATH"):
                yield f"{package}: sets {variable}"
            if variables.setdefault(variable, package) != package:
                yield f"{package}: sets {variable}, as {variables[variable]} does"
        for service in (info.get("sysctl") or {}).values():
            for key, value in service.items():
                if settings.setdefault(key, value) != value:
                    yield f"{package}: sets the sysctl {key} to another value"
    for role in ROLES[1:]:
        yield from _collisions(archives, role)


def _collisions(archives: list[Archive], role: str) -> Iterator[str]:
    """What linking all archives into one tree for one role runs into. Directories merge; nothing else may meet."""
    tree: dict[str, tuple[str, bool]] = {}
    for archive in archives:
        for path, member in archive.members.items():
            top, _, rest = path.partition("/")
            if top.removesuffix(role) not in LINKED or not rest:
                continue
            place = f"{top.removesuffix(role)}/{rest}"
            if place not in tree:
                tree[place] = (archive.id, member.isdir())
            elif not (member.isdir() and tree[place][1]):
                yield f"{archive.id}: {path} meets the same place in {tree[place][0]}"


if __name__ == "__main__":
    problems = check(Path(sys.argv[1]).glob("packages/*/*.tar.xz"))
    print("\n".join(problems) or "nothing to object to")
    sys.exit(bool(problems))
