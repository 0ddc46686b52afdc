"""What an activation is going to do, as a list of typed actions: decided here without touching anything, printed by
`--dry-run`, kept in the journal, carried out by `activate`.

The order is the safety argument. Everything before `Switch` adds things nobody uses yet, or stops units whose files are
still there; it can be undone. `Switch` is one rename. Everything after it may be done twice, so that an interrupted
activation is simply carried on.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pkgpanda.node.package import EFFECTS, Package


class AddUser(NamedTuple):
    """Create the system user a package runs as; `group` is empty for a group of the user's own name."""

    user: str
    group: str
    package: str


class MakeStateDirectory(NamedTuple):
    """Make a package's state directory, or give an existing one (`new` is false) to the package's user."""

    path: str
    user: str
    package: str
    new: bool


class BuildGeneration(NamedTuple):
    """Build the links of the wanted set beside those of the live one."""

    number: int


class LinkUnit(NamedTuple):
    """Let systemd find a unit that is new."""

    unit: str


class StopUnit(NamedTuple):
    """Stop a unit that is gone from the set."""

    unit: str


class Switch(NamedTuple):
    """Make a generation the live one: the instant at which the node changes."""

    number: int
    previous: int | None


class UnlinkUnit(NamedTuple):
    """Take away a unit that is gone from the set."""

    unit: str


class SetSysctl(NamedTuple):
    """Set a kernel setting a unit asks for."""

    key: str
    value: str
    service: str


class RestoreSysctl(NamedTuple):
    """Give a kernel setting its value of before our time back."""

    key: str


class RestartUnit(NamedTuple):
    """Restart a unit, and why."""

    unit: str
    reason: str


class ReloadUnit(NamedTuple):
    """Let a unit read its configuration again, and why."""

    unit: str
    reason: str


class StartUnit(NamedTuple):
    """Start a unit that is new."""

    unit: str


class LeaveUnit(NamedTuple):
    """Leave a running unit alone."""

    unit: str


class RunRemoval(NamedTuple):
    """Run a program a package brought for its own removal."""

    package: str
    program: str


Action = (
    AddUser
    | MakeStateDirectory
    | BuildGeneration
    | LinkUnit
    | StopUnit
    | Switch
    | UnlinkUnit
    | SetSysctl
    | RestoreSysctl
    | RestartUnit
    | ReloadUnit
    | StartUnit
    | LeaveUnit
    | RunRemoval
)

KINDS: dict[str, Callable[..., Action]] = {
    kind.__name__: kind
    for kind in (
        AddUser, MakeStateDirectory, BuildGeneration, LinkUnit, StopUnit, Switch, UnlinkUnit, SetSysctl,
        RestoreSysctl, RestartUnit, ReloadUnit, StartUnit, LeaveUnit, RunRemoval,
    )
}  # fmt: skip


class UnitState(NamedTuple):
    """What an activation compares of one unit. `digest` is of the unit file, `reads_environment` whether it uses
    /opt/mesosphere/environment."""

    package: str
    digest: str
    reads_environment: bool


class Side(NamedTuple):
    """A set of packages as the planner sees it, live or wanted. `files` is package name -> path -> digest for the
    packages that have a unit table; `variables` all environment variables of the set."""

    packages: Mapping[str, Package]
    units: Mapping[str, UnitState]
    files: Mapping[str, Mapping[str, str]]
    variables: Mapping[str, str]


class Plan(NamedTuple):
    """Actions in order. No actions: the node is as wanted."""

    number: int
    previous: int | None
    actions: tuple[Action, ...]


def to_document(action: Action) -> dict[str, Any]:
    """An action as JSON."""
    return {"action": type(action).__name__, **action._asdict()}


def from_document(document: Mapping[str, Any]) -> Action:
    """The action of `to_document`."""
    fields = dict(document)
    return KINDS[fields.pop("action")](**fields)


def describe(action: Action) -> str:
    """An action as a line: its name in words, then what it is about."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in type(action).__name__)
    told = [str(value) for value in action if isinstance(value, str | int) and value != "" and value is not True]
    return f"{words.strip()} {' '.join(told)}"


class Missing(NamedTuple):
    """What the host lacks: users by name, and state directories (package name -> path) that are not there (True) or
    not yet their user's (False)."""

    users: frozenset[str]
    directories: Mapping[str, tuple[str, bool]]


def plan_activation(
    live: Side, wanted: Side, number: int, previous: int | None, missing: Missing, built: bool = False
) -> Plan:
    """The actions from `live` (generation `previous`) to `wanted` (generation `number`, `built` where it is there
    already, as in a rollback)."""
    gone = sorted(set(live.units) - set(wanted.units))
    new = sorted(set(wanted.units) - set(live.units))
    actions: list[Action] = [
        *_users(wanted, missing),
        *_directories(wanted, missing),
        *([] if built else [BuildGeneration(number)]),
        *map(LinkUnit, new),
        *map(StopUnit, gone),
        Switch(number, previous),
        *map(UnlinkUnit, gone),
        *_sysctls(live, wanted),
        *_changed_units(live, wanted),
        *map(StartUnit, new),
        *_removals(live, wanted),
    ]
    return Plan(number, previous, tuple(actions))


def _users(wanted: Side, missing: Missing) -> Iterable[Action]:
    seen = set()
    for package in wanted.packages.values():
        if package.username in missing.users and package.username not in seen:
            seen.add(package.username)
            yield AddUser(package.username, package.group, str(package.id))


def _directories(wanted: Side, missing: Missing) -> Iterable[Action]:
    for name, (path, new) in sorted(missing.directories.items()):
        package = wanted.packages[name]
        yield MakeStateDirectory(path, package.username, str(package.id), new)


def _settings(side: Side) -> dict[str, tuple[str, str]]:
    """Key -> value and service, for the services this node runs."""
    running = {unit.rpartition(".")[0] for unit in side.units}
    return {
        key: (value, service)
        for package in side.packages.values()
        for service, settings in package.sysctl.items()
        if service in running
        for key, value in settings.items()
    }


def sysctls(side: Side) -> list[SetSysctl]:
    """Every kernel setting a set asks for."""
    return [SetSysctl(key, value, service) for key, (value, service) in sorted(_settings(side).items())]


def _sysctls(live: Side, wanted: Side) -> Iterable[Action]:
    before = {action.key: action.value for action in sysctls(live)}
    after = sysctls(wanted)
    yield from (action for action in after if before.get(action.key) != action.value)
    yield from (RestoreSysctl(key) for key in sorted(set(before) - {action.key for action in after}))


def _changed_units(live: Side, wanted: Side) -> Iterable[Action]:
    for unit in sorted(set(live.units) & set(wanted.units)):
        effect, reason = _effect(unit, live, wanted)
        if effect == "restart":
            yield RestartUnit(unit, reason)
        elif effect == "reload":
            yield ReloadUnit(unit, reason)
        else:
            yield LeaveUnit(unit)


def _effect(unit: str, live: Side, wanted: Side) -> tuple[str, str]:
    """The strongest of what the changes ask of a unit, and the change that asks it."""
    before, after = live.units[unit], wanted.units[unit]
    asked = [("nothing", "")]
    if before.digest != after.digest:
        asked.append(("restart", "its unit file"))
    if after.reads_environment and live.variables != wanted.variables:
        asked.append(("restart", "the environment"))
    table = next((package for package in wanted.packages.values() if unit in package.units), None)
    if table is None:
        owner = after.package
        if _id(live, owner) != _id(wanted, owner):
            asked.append(("restart", owner))
        return max(asked, key=lambda pair: EFFECTS.index(pair[0]))
    use = table.units[unit]
    for name, effect in sorted(use.packages.items()):
        if _id(live, name) != _id(wanted, name):
            asked.append((effect, name))
    old, new = live.files.get(table.name, {}), wanted.files.get(table.name, {})
    asked += [(effect, path) for path, effect in sorted(use.files.items()) if old.get(path) != new.get(path)]
    return max(asked, key=lambda pair: EFFECTS.index(pair[0]))


def _id(side: Side, name: str) -> str:
    return str(side.packages[name].id) if name in side.packages else ""


def _users_of(side: Side) -> set[str]:
    """The packages that units of this node use, by the unit tables."""
    return {
        name
        for package in side.packages.values()
        for unit, use in package.units.items()
        if unit in side.units
        for name in use.packages
    }


def _removals(live: Side, wanted: Side) -> Iterable[Action]:
    """A package is removed when it leaves the set, and when the last unit that used it does."""
    left = (set(live.packages) - set(wanted.packages)) | (_users_of(live) - _users_of(wanted))
    for name in sorted(left & set(live.packages)):
        package = live.packages[name]
        yield from (RunRemoval(str(package.id), program) for program in package.programs("remove"))
