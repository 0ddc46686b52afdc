"""What a build script left behind, judged before it becomes a package."""

import difflib
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pkgpanda.build.walk import Entry, find_leaving_links, scan
from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import ROLES

WELL_KNOWN = ("bin", "etc", "include", "lib", "dcos.target.wants")
METADATA = ("pkginfo.json", "buildinfo.full.json")
_RESERVED_UNITS = ("dcos.target", "dcos-setup.service", "dcos-download.service")
_ROLE_DIRECTORY = re.compile(r"(bin|etc|include|lib|dcos\.target\.wants)_(.+)")


def well_known(path: str) -> tuple[str, tuple[str, ...], str] | None:
    """(directory, roles, rest) of a path such as `bin_master/etcd`; None where nodes do not look."""
    top, _, rest = path.partition("/")
    if top in WELL_KNOWN:
        return top, ROLES, rest
    found = _ROLE_DIRECTORY.fullmatch(top)
    return (found[1], (found[2],), rest) if found and found[2] in ROLES else None


def check_result(result: Path, package: str, work: Path) -> list[Entry]:
    """The entries of a result; raises PandaError with everything that keeps it from being a package."""
    entries = scan(result, package)
    problems = [
        Problem(f"{package}: {entry.path}", *found) for entry in entries for found in _complaints(entry, result, work)
    ]
    problems += [
        Problem(f"{package}: {link.path}", f"links to {link.target}, which leads out of the package")
        for link in find_leaving_links(entries)
        if not _mentions(link, result, os.fsencode(work))
    ]
    if problems:
        raise PandaError(problems)
    return entries


def _complaints(entry: Entry, result: Path, work: Path) -> Iterator[tuple[str, str]]:
    top, _, rest = entry.path.partition("/")
    if entry.path in METADATA:
        yield "is written by the builder", "the build script must not make it"
    if entry.kind == "file" and entry.mode & 0o6000:
        yield "has its set-user-id or set-group-id bit on", "chmod ug-s; give its unit the capabilities it needs"
    if entry.path in (*WELL_KNOWN, "check", "remove") and entry.kind != "dir":
        yield "is not a directory", "the node looks for files in it"
    role = _ROLE_DIRECTORY.fullmatch(top)
    if role and not rest and role[2] not in ROLES:
        near = difflib.get_close_matches(role[2], ROLES, 1)
        yield f"is for {role[2]}, which is no role", f"did you mean {near[0]}?" if near else f"of {', '.join(ROLES)}"
    if rest and top.startswith("dcos.target.wants"):
        if rest in _RESERVED_UNITS:
            yield "is a unit that the node itself writes", "give it another name"
        elif entry.kind == "dir":
            yield "is a directory among units", "a unit's settings belong in the unit"
    if rest and top in ("check", "remove") and entry.kind == "file" and not entry.is_executable:
        yield "is not executable", "the node runs what is in there; chmod +x"
    if _mentions(entry, result, os.fsencode(work)):
        yield f"names the build directory {work}", "another build would give other bytes; use PKG_INSTALL_PATH"


def _mentions(entry: Entry, result: Path, work: bytes) -> bool:
    if entry.kind == "link":
        return work in os.fsencode(entry.target)
    if entry.kind != "file" or entry.size < len(work):
        return False
    with (result / entry.path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        return view.find(work) >= 0
