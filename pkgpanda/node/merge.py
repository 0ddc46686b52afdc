"""Merging the packages' well-known directories into what a node sees.

A directory that one package alone brings becomes one link; where several bring a directory of the same name, a real
directory holds links to what is inside. No link is ever written through another one, because every directory entered
here is one this merge makes itself. Two packages that bring the same path, one of them not as a directory, conflict.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pkgpanda.errors import Problem
from pkgpanda.node.layout import SERVICE_CONFIGURATION, WELL_KNOWN
from pkgpanda.node.package import Package, Tree


class Link(NamedTuple):
    """A link of the generation. `source` is `<id>/<path in the package>`."""

    path: str
    source: str


class Merged(NamedTuple):
    """Directories to make, parents first, links to make, and what stands in the way."""

    directories: list[str]
    links: list[Link]
    problems: list[Problem]


class _Part(NamedTuple):
    source: str
    tree: Tree


def merge(packages: Iterable[Package], roles: Sequence[str]) -> Merged:
    """Merge for a node of those roles, everything in sorted order."""
    merged = Merged([], [], [])
    packages = sorted(packages, key=lambda package: package.id)
    suffixes = ("", *(f"_{role}" for role in roles))
    for top in WELL_KNOWN:
        parts = [
            _Part(f"{package.id}/{top}{suffix}", package.trees[top + suffix])
            for package in packages
            for suffix in suffixes
            if top + suffix in package.trees
        ]
        merged.directories.append(top)
        _merge_directory(top, parts, merged)
    return merged


def _merge_directory(path: str, parts: list[_Part], merged: Merged) -> None:
    owners: dict[str, list[_Part]] = {}
    for part in parts:
        for name in part.tree:
            owners.setdefault(name, []).append(part)
    for name in sorted(owners):
        below = f"{path}/{name}"
        sharing = owners[name]
        if below == f"etc/{SERVICE_CONFIGURATION}":
            merged.problems.append(Problem(sharing[0].source, f"brings {below}", "pkgpanda writes that file itself"))
        elif len(sharing) == 1:
            merged.links.append(Link(below, f"{sharing[0].source}/{name}"))
        elif all(isinstance(part.tree[name], dict) for part in sharing):
            merged.directories.append(below)
            _merge_directory(below, [_Part(f"{part.source}/{name}", part.tree[name]) for part in sharing], merged)
        else:
            merged.problems.append(_conflict(below, name, sharing))


_KINDS = {"f": "a file", "l": "a link"}


def _conflict(path: str, name: str, sharing: list[_Part]) -> Problem:
    told = ", ".join(f"{part.source}/{name} ({_kind(part.tree[name])})" for part in sharing)
    return Problem(path, f"is brought by more than one package: {told}", "leave one of them out")


def _kind(entry: object) -> str:
    return _KINDS.get(entry, "") if isinstance(entry, str) else "a directory"
