"""What each member of a recipe's buildinfo.json may hold: one function each, returning the value or noting problems."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pkgpanda.errors import Problem
from pkgpanda.ids import is_name

_USERNAME = re.compile(r"dcos_[a-z0-9_]+")
_GROUP = re.compile(r"[a-z_][a-z0-9_-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSCTL = re.compile(r"[A-Za-z0-9_.*/:-]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_RESERVED = frozenset({"PATH", "LD_LIBRARY_PATH"})

_DERIVED = "is worked out by the builder"
_REFUSED = {
    "docker": "is not used: recipes run without Docker, against their sources and requires",
    "version_extra": "is not used: a version is the digest of what went in and nothing else",
    "name": _DERIVED,
    "variant": _DERIVED,
    "build": _DERIVED,
    "pkgpanda_version": _DERIVED,
    "extra_source": _DERIVED,
}
_KNOWN = (
    "sources",
    "single_source",
    "build_script",
    "environment",
    "requires",
    "state_directory",
    "username",
    "group",
    "sysctl",
)

Note = Callable[[str, str, str], None]
"""Receives a problem: the key path, what is wrong with it, what to do."""


class Requirement(NamedTuple):
    """A package that another one needs; `variant` is "" for the default one."""

    name: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.name} (variant {self.variant})" if self.variant else self.name


def unknown_keys(given: Iterable[str], known: Iterable[str]) -> Iterable[tuple[str, str]]:
    """(key, hint) for each key that is not known, with the nearest one that is."""
    names = sorted(known)
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            yield key, f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"


def check_keys(data: Mapping[str, Any], note: Note) -> None:
    """Refuse keys that a recipe does not have."""
    for key, hint in unknown_keys(data, [*_KNOWN, *_REFUSED]):
        note(key, "is not a key of a recipe", hint)
    for key in _REFUSED.keys() & data.keys():
        note(key, _REFUSED[key], "remove it")
    if "sources" in data and "single_source" in data:
        note("single_source", "cannot stand beside sources", "move it into sources under a name")


def read_requires(data: object, package: str, note: Note) -> tuple[Requirement, ...]:
    """`requires`: a list of names or of {"name", "variant"}."""
    if not isinstance(data, list):
        note("requires", "is not a list", 'write ["name", ...]')
        return ()
    found: dict[str, Requirement] = {}
    for index, item in enumerate(data):
        requirement = read_requirement(item, f"requires[{index}]", note)
        if requirement is None:
            continue
        if requirement.name == package:
            note(f"requires[{index}]", "is the package itself", "remove it")
        elif requirement.name in found:
            note(f"requires[{index}]", f"names {requirement.name} a second time", "remove it")
        found.setdefault(requirement.name, requirement)
    return tuple(found.values())


def read_requirement(item: object, where: str, note: Note) -> Requirement | None:
    """One entry of `requires`."""
    name, variant = item, ""
    if isinstance(item, dict):
        if item.keys() != {"name", "variant"}:
            note(where, "needs the keys name and variant, and no other", "a plain name asks for the default variant")
            return None
        name, variant = item["name"], item["variant"] or ""
    if not isinstance(name, str) or not isinstance(variant, str):
        note(where, f"is neither a name nor {{name, variant}}: {item!r}", "")
        return None
    if "--" in name:
        note(where, f"is a package id: {name}", "name the package; the builder works out the id")
        return None
    if not is_name(name) or (variant and not is_name(variant)):
        note(where, f"is not a package's name or variant: {item!r}", "")
        return None
    return Requirement(name, variant)


def read_environment(data: object, note: Note) -> dict[str, str]:
    """`environment`: variables for every unit of the node."""
    if not isinstance(data, dict):
        note("environment", "is not an object", 'write {"NAME": "value"}')
        return {}
    for name, value in data.items():
        if not _VARIABLE.fullmatch(name):
            note(f"environment.{name}", "is not a variable's name", "letters, digits and _, no digit first")
        elif name in _RESERVED:
            note(f"environment.{name}", "is reserved: the node sets it for all packages", "remove it")
        elif not isinstance(value, str):
            note(f"environment.{name}", f"is not a string: {value!r}", "put it in quotes")
        elif _UNPRINTABLE.search(value):
            note(f"environment.{name}", "holds a line break or another control character", "")
    return data


def read_sysctl(data: object, note: Note) -> dict[str, dict[str, str | int]]:
    """`sysctl`: {service: {key: value}}, set before the service starts."""
    if not isinstance(data, dict):
        note("sysctl", "is not an object", 'write {"service": {"net.ipv4.ip_forward": "1"}}')
        return {}
    for service, settings in data.items():
        if not is_name(service):
            note(f"sysctl.{service}", "is not a service's name", "")
        if not isinstance(settings, dict):
            note(f"sysctl.{service}", "is not an object", 'write {"net.ipv4.ip_forward": "1"}')
            continue
        for key, value in settings.items():
            if not _SYSCTL.fullmatch(key):
                note(f"sysctl.{service}.{key}", "is not a sysctl's name", "")
            if isinstance(value, bool) or not isinstance(value, str | int):
                note(f"sysctl.{service}.{key}", f"is neither a string nor a number: {value!r}", "")
    return data


def read_state_directory(data: object, note: Note) -> bool:
    """`state_directory`: whether the node makes /var/lib/dcos/<name>."""
    if not isinstance(data, bool):
        note("state_directory", f"is not true or false: {data!r}", "")
    return data is True


def read_user(data: Mapping[str, Any], note: Note) -> tuple[str, str]:
    """`username` and `group`, "" where not given."""
    username, group = data.get("username", ""), data.get("group", "")
    if "username" in data and (not isinstance(username, str) or not _USERNAME.fullmatch(username)):
        note("username", f"is not a name like dcos_etcd: {username!r}", "dcos_, then lower-case letters, digits, _")
    if "group" in data and (not isinstance(group, str) or not _GROUP.fullmatch(group)):
        note("group", f"is not a group's name: {group!r}", "lower-case letters, digits, _ and -, no digit first")
    if "group" in data and "username" not in data:
        note("group", "stands without username", "a node makes the group for a user; give username too")
    return str(username), str(group)


def problem_noter(where: str, problems: list[Problem]) -> Note:
    """A Note that gathers problems of the file `where`."""

    def note(key: str, message: str, hint: str) -> None:
        problems.append(Problem(f"{where}: {key}" if key else where, message, hint))

    return note
