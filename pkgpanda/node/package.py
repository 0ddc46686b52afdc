"""What a package says of itself: `pkginfo.json`, read once and strictly, so that nothing later has to doubt a type."""

import re
from typing import Any, NamedTuple

from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import PackageId, is_name

EFFECTS = ("nothing", "reload", "restart")
"""What a change asks of a running unit, weakest first."""

_USERNAME = re.compile(r"dcos_[a-z0-9_]{1,27}")
_GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SYSCTL = re.compile(r"[a-zA-Z0-9_*-]+([./][a-zA-Z0-9_:-]+)+")
_MEMBERS = ("environment", "group", "requires", "state_directory", "sysctl", "units", "username", "variant")

Tree = dict[str, Any]
"""A directory: names to sub-directories (dict) or to `f` (file) or `l` (link)."""


class Requirement(NamedTuple):
    """A package that must be in the set; `variant` is None where any will do."""

    name: str
    variant: str | None = None


class UnitUse(NamedTuple):
    """What a unit uses, with what a change of it asks: names of packages, and paths in the package that says so."""

    roles: tuple[str, ...]
    packages: dict[str, str]
    files: dict[str, str]


class Package(NamedTuple):
    """A package of the store. `sysctl` is service -> key -> value, services without `.service`."""

    id: PackageId
    environment: dict[str, str]
    requires: tuple[Requirement, ...]
    state_directory: bool
    username: str
    group: str
    sysctl: dict[str, dict[str, str]]
    variant: str
    units: dict[str, UnitUse]
    trees: dict[str, Tree]
    buildinfo: dict[str, Any]

    @property
    def name(self) -> str:
        """The name before the `--`."""
        return self.id.name

    def programs(self, directory: str) -> list[str]:
        """The names in `check` or `remove`, sorted."""
        return sorted(name for name, entry in self.trees.get(directory, {}).items() if not isinstance(entry, dict))


def read_package(package_id: str, pkginfo: Any, buildinfo: Any, trees: dict[str, Tree]) -> Package:
    """Check `pkginfo.json` as a whole; PandaError names every member that is wrong."""
    parsed = PackageId.parse(package_id)
    reader = _Reader(f"{package_id}: pkginfo.json")
    if not isinstance(pkginfo, dict):
        raise PandaError.one(reader.where, "is not a JSON object")
    for key in sorted(set(pkginfo) - set(_MEMBERS)):
        reader.problem(f"has the unknown member {key!r}")
    if buildinfo is not None and not isinstance(buildinfo, dict):
        raise PandaError.one(f"{package_id}: buildinfo.full.json", "is not a JSON object")
    package = Package(
        parsed,
        reader.environment(pkginfo.get("environment", {})),
        reader.requires(pkginfo.get("requires", [])),
        reader.boolean("state_directory", pkginfo.get("state_directory", False)),
        reader.matching("username", pkginfo.get("username"), _USERNAME),
        reader.matching("group", pkginfo.get("group"), _GROUP),
        reader.sysctl(pkginfo.get("sysctl", {})),
        reader.variant(pkginfo.get("variant", (buildinfo or {}).get("variant"))),
        reader.units(pkginfo.get("units", {})),
        trees,
        buildinfo or {},
    )
    if reader.problems:
        raise PandaError(reader.problems)
    return package


class _Reader:
    """Collects what is wrong with one document."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.problems: list[Problem] = []

    def problem(self, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.where, message, hint))

    def boolean(self, member: str, value: Any) -> bool:
        if not isinstance(value, bool):
            self.problem(f"{member} is {value!r}", "it is true or false")
        return bool(value)

    def matching(self, member: str, value: Any, pattern: re.Pattern[str]) -> str:
        if value is None:
            return ""
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.problem(f"{member} is {value!r}", f"it matches {pattern.pattern}")
            return ""
        return value

    def variant(self, value: Any) -> str:
        if value is not None and not isinstance(value, str):
            self.problem(f"variant is {value!r}", "it is a string")
            return ""
        return value or ""

    def environment(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            self.problem("environment is not an object")
            return {}
        for key, text in value.items():
            if not _VARIABLE.fullmatch(key):
                self.problem(f"environment names the variable {key!r}", "a name is letters, digits and _")
            if not isinstance(text, str) or "\0" in text or not _is_unicode(text):
                self.problem(f"environment gives {key} the value {text!r}", "a value is a string without NUL")
        return value

    def requires(self, value: Any) -> tuple[Requirement, ...]:
        if not isinstance(value, list):
            self.problem("requires is not a list")
            return ()
        return tuple(found for entry in value if (found := self._requirement(entry)))

    def _requirement(self, entry: Any) -> Requirement | None:
        if isinstance(entry, str) and is_name(entry):
            return Requirement(entry)
        if isinstance(entry, dict) and set(entry) == {"name", "variant"}:
            name, variant = entry["name"], entry["variant"]
            if isinstance(name, str) and is_name(name) and (variant is None or isinstance(variant, str)):
                return Requirement(name, variant or "")
        self.problem(f"requires {entry!r}", 'a requirement is a name or {"name", "variant"}')
        return None

    def sysctl(self, value: Any) -> dict[str, dict[str, str]]:
        if not isinstance(value, dict):
            self.problem("sysctl is not an object")
            return {}
        services: dict[str, dict[str, str]] = {}
        for service, settings in value.items():
            if isinstance(settings, dict):
                services[service.removesuffix(".service")] = self._settings(settings)
            else:
                self.problem(f"sysctl of {service!r} is not an object")
        return services

    def _settings(self, settings: dict[str, Any]) -> dict[str, str]:
        for key, value in settings.items():
            if not _SYSCTL.fullmatch(key):
                self.problem(f"sysctl sets {key!r}", "a key is like net.ipv4.ip_forward")
            if isinstance(value, bool) or not isinstance(value, str | int) or "\n" in str(value) or not str(value):
                self.problem(f"sysctl gives {key} the value {value!r}", "a value is a number or a line of text")
        return {key: str(value) for key, value in settings.items()}

    def units(self, value: Any) -> dict[str, UnitUse]:
        if not isinstance(value, dict):
            self.problem("units is not an object")
            return {}
        return {unit: self._unit(unit, use) for unit, use in value.items()}

    def _unit(self, unit: str, use: Any) -> UnitUse:
        if not isinstance(use, dict) or not isinstance(use.get("roles", []), list):
            self.problem(f"units: {unit} is not an object with a list of roles")
            return UnitUse((), {}, {})
        return UnitUse(
            tuple(map(str, use.get("roles", []))),
            self._effects(unit, "packages", use.get("packages", {})),
            self._effects(unit, "files", use.get("files", {})),
        )

    def _effects(self, unit: str, member: str, value: Any) -> dict[str, str]:
        if not isinstance(value, dict):
            self.problem(f"units: {unit}: {member} is not an object")
            return {}
        for name, effect in value.items():
            if effect not in EFFECTS:
                self.problem(f"units: {unit}: {member}: {name} asks {effect!r}", f"one of {', '.join(EFFECTS)}")
        return {name: effect for name, effect in value.items() if effect in EFFECTS}


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
