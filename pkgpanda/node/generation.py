"""Generations: complete sets of links, one of them live.

A generation is built under a hidden name and renamed to its number; from then on it never changes.
`current` names the live one. What is read back here is what is on the disk, so there is no second record to disagree.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pkgpanda.errors import PandaError
from pkgpanda.node.host import Host, read_json, shaped, to_json
from pkgpanda.node.layout import GENERATED, SERVICE_CONFIGURATION, WELL_KNOWN, Layout

if TYPE_CHECKING:  # reading generations needs neither
    from pkgpanda.node.merge import Merged
    from pkgpanda.node.package import Package

_CURRENT = "current"


class Generation(NamedTuple):
    """What a generation holds and why it was made. `time` is seconds since 1970; `units` what systemd is to run."""

    number: int
    packages: tuple[str, ...]
    roles: tuple[str, ...]
    units: tuple[str, ...]
    previous: int | None
    reason: str
    time: int


def current_number(layout: Layout) -> int | None:
    """The number of the live generation; None before the first activation."""
    try:
        return int(os.path.basename(os.readlink(layout.at(_CURRENT))))
    except (FileNotFoundError, ValueError):
        return None


def read(layout: Layout, number: int) -> Generation:
    """The generation of that number; PandaError when there is none."""
    path = f"{layout.generation(number)}/generation.json"
    try:
        found = read_json(path)
    except FileNotFoundError:
        found = None
    if not isinstance(found, dict):
        raise PandaError.one(f"generation {number}", "does not exist", "pkgpanda history lists those that do")
    return shaped(path, lambda: _generation(number, found))


def _generation(number: int, found: dict[str, Any]) -> Generation:
    return Generation(
        number,
        tuple(found["packages"]),
        tuple(found["roles"]),
        tuple(found["units"]),
        found["previous"],
        found["reason"],
        found["time"],
    )


def current(layout: Layout) -> Generation | None:
    """The live generation."""
    number = current_number(layout)
    return None if number is None else read(layout, number)


def numbers(layout: Layout) -> list[int]:
    """The generations there are, ascending."""
    try:
        names = os.listdir(layout.at("generations"))
    except FileNotFoundError:
        return []
    return sorted(int(name) for name in names if name.isdigit())


def build(host: Host, layout: Layout, generation: Generation, packages: "Sequence[Package]", merged: "Merged") -> None:
    """Make the directory. Nothing refers to it yet; `switch` brings it to the disk before anything does."""
    host.make_directories(layout.at("generations"))
    building = layout.at("generations", f".building-{generation.number}")
    host.remove_tree(building)
    host.mkdir(building)
    _make_links(host, layout, building, packages, merged)
    _write_files(host, layout, building, generation, packages)
    host.rename(building, layout.generation(generation.number))


def _make_links(host: Host, layout: Layout, building: str, packages: "Sequence[Package]", merged: "Merged") -> None:
    store = os.path.relpath(layout.repository, building)
    for directory in merged.directories:
        host.mkdir(f"{building}/{directory}")
    for path, source in merged.links:
        host.symlink(f"{'../' * path.count('/')}{store}/{source}", f"{building}/{path}")
    host.mkdir(f"{building}/active")
    for package in packages:
        host.symlink(f"../{store}/{package.id}", f"{building}/active/{package.name}")


def _write_files(
    host: Host, layout: Layout, building: str, generation: Generation, packages: "Sequence[Package]"
) -> None:
    from pkgpanda.node import environment

    settings: dict[str, dict[str, str]] = {}
    for package in packages:
        for service, values in package.sysctl.items():
            settings.setdefault(service, {}).update(values)
    for name, data in {
        f"etc/{SERVICE_CONFIGURATION}": to_json({"sysctl": settings}),
        "active.buildinfo.full.json": to_json({package.name: package.buildinfo or None for package in packages}),
        "environment": environment.for_systemd(layout.root, packages).encode(),
        "environment.export": environment.for_shell(layout.root, packages).encode(),
        "generation.json": to_json(generation._asdict()),
    }.items():
        host.write(f"{building}/{name}", data)


def link_names(host: Host, layout: Layout) -> None:
    """Make the stable names (`bin` and the others) that lead through `current`; done once in a node's life."""
    for name in (*WELL_KNOWN, *GENERATED):
        path = layout.at(name)
        if not os.path.lexists(path):
            host.symlink(f"{_CURRENT}/{name}", path)


def unlink_names(host: Host, layout: Layout) -> None:
    """Remove the stable names."""
    for name in (*WELL_KNOWN, *GENERATED):
        if os.path.islink(layout.at(name)):
            host.unlink(layout.at(name))


def switch(host: Host, layout: Layout, number: int) -> None:
    """Make a generation the live one: once all that was written is on the disk, by one rename."""
    host.replace_link(f"generations/{number}", layout.at(_CURRENT))


def remove(host: Host, layout: Layout, number: int) -> None:
    """Remove a generation, its name first."""
    going = layout.at("generations", f".removing-{number}")
    host.remove_tree(going)
    host.rename(layout.generation(number), going)
    host.sync_file(layout.at("generations"))
    host.remove_tree(going)


def clean(host: Host, layout: Layout) -> None:
    """Remove what interrupted runs left."""
    directory = layout.at("generations")
    for name in sorted(os.listdir(directory) if os.path.isdir(directory) else ()):
        if name.startswith("."):
            host.remove_tree(f"{directory}/{name}")


def superfluous(layout: Layout, keep: int) -> list[int]:
    """The generations that may go: those beyond the live one and the `keep` - 1 it came from.

    While a rollback is the last thing that happened, the generations it left stay too, so that it can be undone.
    """
    live = current_number(layout)
    existing = numbers(layout)
    if live is None:
        return existing
    kept, number = {other for other in existing if other > live}, live
    for _ in range(max(keep, 1)):
        kept.add(number)
        previous = read(layout, number).previous
        if previous is None or previous not in existing:
            break
        number = previous
    return [other for other in existing if other not in kept]
