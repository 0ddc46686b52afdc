"""Everything that can be known to be wrong with a set of packages before anything is touched."""

import os
import re
from collections.abc import Iterable, Sequence

from pkgpanda.errors import Problem
from pkgpanda.ids import ROLES
from pkgpanda.node.environment import RESERVED
from pkgpanda.node.host import Host
from pkgpanda.node.layout import WANTS, Layout
from pkgpanda.node.merge import Merged
from pkgpanda.node.package import Package

RESERVED_UNITS = ("dcos.target", "dcos-download.service", "dcos-setup.service")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|target|path|mount|slice)")
_SPARE = 16 << 20


def check_set(packages: Sequence[Package], roles: Sequence[str]) -> list[Problem]:
    """What is wrong with the set itself, on any host."""
    problems = [
        *_duplicates(packages),
        *_requirements(packages),
        *_environment(packages),
        *_users(packages),
        *_sysctls(packages),
        *_units(packages),
    ]
    unknown = (role for role in roles if role not in ROLES)
    return problems + [Problem(role, "is no role", f"one of {', '.join(ROLES)}") for role in unknown]


def _duplicates(packages: Iterable[Package]) -> Iterable[Problem]:
    seen: dict[str, Package] = {}
    for package in packages:
        other = seen.setdefault(package.name, package)
        if other is not package:
            yield Problem(package.name, f"is wanted twice: {other.id} and {package.id}", "leave one of them out")


def _requirements(packages: Sequence[Package]) -> Iterable[Problem]:
    variants = {package.name: package.variant for package in packages}
    for package in packages:
        for name, variant in package.requires:
            if name not in variants:
                yield Problem(str(package.id), f"requires {name}, which is not in the set", f"add {name}")
            elif variant is not None and variants[name] != variant:
                yield Problem(
                    str(package.id),
                    f"requires {name} in variant {variant or 'default'}, the set has {variants[name] or 'default'}",
                )


def _environment(packages: Iterable[Package]) -> Iterable[Problem]:
    owners: dict[str, Package] = {}
    for package in packages:
        for key in package.environment:
            other = owners.setdefault(key, package)
            if key in RESERVED:
                yield Problem(str(package.id), f"sets {key}", "that variable is pkgpanda's")
            elif other is not package:
                yield Problem(str(package.id), f"sets {key}, which {other.id} sets too")


def _users(packages: Iterable[Package]) -> Iterable[Problem]:
    groups: dict[str, Package] = {}
    for package in packages:
        if package.group and not package.username:
            yield Problem(str(package.id), f"names the group {package.group} and no username")
        if package.username:
            other = groups.setdefault(package.username, package)
            if other.group != package.group:
                told = f"{package.group or 'its own'}, {other.id} in {other.group or 'its own'}"
                yield Problem(str(package.id), f"wants user {package.username} in group {told}")


def _sysctls(packages: Sequence[Package]) -> Iterable[Problem]:
    known = {
        name.rpartition(".")[0]
        for package in packages
        for top, tree in package.trees.items()
        if top.startswith(WANTS)
        for name in tree
    }
    owners: dict[str, tuple[str, str, Package]] = {}
    for package in packages:
        for service, settings in package.sysctl.items():
            if service not in known:
                yield Problem(str(package.id), f"sets sysctls for {service}, and no package has that unit")
            for key, value in settings.items():
                other_service, other_value, other = owners.setdefault(key, (service, value, package))
                if other_value != value:
                    yield Problem(
                        str(package.id),
                        f"sets sysctl {key} to {value} for {service}, {other.id} to {other_value} for {other_service}",
                    )


def _units(packages: Iterable[Package]) -> Iterable[Problem]:
    tables: dict[str, Package] = {}
    for package in packages:
        for unit in package.units:
            other = tables.setdefault(unit, package)
            if other is not package:
                yield Problem(str(package.id), f"says what {unit} uses, and {other.id} does too")
        for top, tree in package.trees.items():
            if top.startswith(WANTS):
                yield from _unit_files(package, top, tree)


def _unit_files(package: Package, top: str, tree: dict[str, object]) -> Iterable[Problem]:
    for name, kind in tree.items():
        where = f"{package.id}/{top}/{name}"
        if isinstance(kind, dict):
            yield Problem(where, "is a directory", "drop-ins are the operator's; put the settings into the unit")
        elif name in RESERVED_UNITS:
            yield Problem(where, "has a name that is pkgpanda's", "give the unit another name")
        elif not _UNIT.fullmatch(name):
            yield Problem(where, "is not named like a unit")


def check_host(
    host: Host, layout: Layout, packages: Sequence[Package], merged: Merged, builds: bool = True
) -> list[Problem]:
    """What stands in the way on this host; `builds` tells whether a generation is still to be built."""
    return [
        *_host_users(host, layout, packages),
        *_host_units(layout, merged),
        *_state_directories(layout, packages),
        # Whoever removes everything may do so to make room.
        *(_space(host, layout, len(merged.links) + len(merged.directories)) if packages and builds else ()),
    ]


def _host_users(host: Host, layout: Layout, packages: Iterable[Package]) -> Iterable[Problem]:
    manual = f"{layout.config_dir}/manual_host_users"
    for package in packages:
        if not package.username:
            continue
        user = host.user(package.username)
        if package.group and not host.has_group(package.group):
            yield Problem(
                str(package.id), f"wants the group {package.group}, which this host lacks", f"groupadd {package.group}"
            )
        elif user is None and os.path.exists(manual):
            yield Problem(str(package.id), f"wants the user {package.username}", f"create it: {manual} forbids us to")
        elif user is not None and package.group and package.group not in user.groups:
            yield Problem(
                str(package.id),
                f"wants the user {package.username} in the group {package.group}, and it is not",
                f"usermod --append --groups {package.group} {package.username}",
            )


def _host_units(layout: Layout, merged: Merged) -> Iterable[Problem]:
    wanted = [link.path.removeprefix(f"{WANTS}/") for link in merged.links if link.path.startswith(f"{WANTS}/")]
    ours = layout.at(WANTS)
    for link in merged.links:
        if link.path.startswith(f"{WANTS}/") and not os.path.exists(f"{layout.repository}/{link.source}"):
            yield Problem(link.source, "is a link to nothing", "a unit is a file")
    for unit in wanted:
        path = f"{layout.systemd_dir}/{unit}"
        if os.path.lexists(path) and not (os.path.islink(path) and os.readlink(path) == f"{ours}/{unit}"):
            yield Problem(path, "exists and is not ours", "remove it, or rename that unit")
    path = f"{layout.systemd_dir}/{WANTS}"
    if os.path.lexists(path) and not (os.path.islink(path) and os.readlink(path) == ours):
        yield Problem(path, "exists and is not ours", "another DC/OS installation? remove it first")


def _state_directories(layout: Layout, packages: Iterable[Package]) -> Iterable[Problem]:
    for package in packages:
        path = f"{layout.state_root}/{package.name}"
        if package.state_directory and os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
            yield Problem(path, f"is no directory, and {package.id} keeps its state there")


def _space(host: Host, layout: Layout, entries: int) -> Iterable[Problem]:
    size, inodes = host.free(layout.root)
    needed = _SPARE + entries * 512
    if size < needed:
        yield Problem(layout.root, f"has {size >> 20} MiB free, {needed >> 20} are needed", "make room")
    if inodes < entries + 64:
        yield Problem(layout.root, f"has {inodes} inodes free, {entries + 64} are needed", "make room")
