"""Carrying an activation out, and carrying on one that was interrupted.

`prepare` finds what can be wrong before the first change; `apply_prepared` writes the journal and runs the plan's
actions up to the switch, the switch, and the rest. When anything fails before the switch, `_undo` takes back what
was added and the node is as it was. After the switch there is no way back but a new switch: `recover` carries on. Both
decide by where `current` points, so they do the same after a crash as after an error.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pkgpanda.errors import PandaError, Problem
from pkgpanda.node import checks, generation, health, journal, ledger, store, systemd
from pkgpanda.node.generation import Generation
from pkgpanda.node.host import Host
from pkgpanda.node.journal import Record
from pkgpanda.node.layout import OWNER, WANTS, Layout
from pkgpanda.node.merge import Merged, merge
from pkgpanda.node.node import Node
from pkgpanda.node.package import Package
from pkgpanda.node.plan import (
    Action,
    AddUser,
    BuildGeneration,
    LinkUnit,
    MakeStateDirectory,
    Missing,
    Plan,
    ReloadUnit,
    RestartUnit,
    RestoreSysctl,
    RunRemoval,
    SetSysctl,
    Side,
    StopUnit,
    UnitState,
    plan_activation,
    sysctls,
)

COMMENT = "dcos-calico service"
"""The comment of every account this program creates: how it recognises them."""


class Prepared(NamedTuple):
    """A plan with all it needs. `notes` are for the user."""

    plan: Plan
    generation: Generation
    packages: list[Package]
    merged: Merged


class Outcome(NamedTuple):
    """What an activation did; `notes` are lines for the user, such as a sysctl the kernel refused."""

    plan: Plan
    notes: tuple[str, ...]


# Deciding


def prepare(node: Node, ids: Sequence[str], reason: str) -> Prepared:
    """Plan the activation of exactly these packages; PandaError with everything that stands in its way."""
    layout = node.layout
    packages = store.load_all(layout, sorted(dict.fromkeys(ids)))
    roles = layout.roles()
    merged = merge(packages, roles)
    problems = [*checks.check_set(packages, roles), *merged.problems]
    problems += checks.check_host(node.host, layout, packages, merged)
    if problems:
        raise PandaError(problems)
    live = generation.current(layout)
    number = max([live.number if live else 0, *generation.numbers(layout)]) + 1
    units = tuple(sorted(_unit_sources(packages, roles)))
    wanted = Generation(
        number,
        tuple(str(package.id) for package in packages),
        roles,
        units,
        live.number if live else None,
        reason,
        int(node.host.wall_time()),
    )
    if live and (live.packages, live.roles) == (wanted.packages, wanted.roles):
        return Prepared(Plan(live.number, live.number, ()), live, packages, merged)
    return Prepared(_plan(node, live, wanted, packages, built=False), wanted, packages, merged)


def prepare_rollback(node: Node, number: int | None) -> Prepared:
    """Plan the return to a generation that is kept; by default the one the live one replaced."""
    live = generation.current(node.layout)
    if live is None:
        raise PandaError.one("rollback", "nothing is active", "install a bundle first")
    if number is None:
        number = live.previous
        if number is None or number not in generation.numbers(node.layout):
            raise PandaError.one(f"generation {live.number}", "has no generation before it", "see pkgpanda history")
    wanted = generation.read(node.layout, number)
    packages = store.load_all(node.layout, wanted.packages)
    merged = merge(packages, wanted.roles)
    problems = checks.check_host(node.host, node.layout, packages, merged, builds=False)
    if problems:
        raise PandaError(problems)
    if number == live.number:
        return Prepared(Plan(number, number, ()), wanted, packages, merged)
    return Prepared(_plan(node, live, wanted, packages, built=True), wanted, packages, merged)


def _plan(node: Node, live: Generation | None, wanted: Generation, packages: list[Package], built: bool) -> Plan:
    before = store.loadable(node.layout, live.packages if live else (), packages)
    old = _side(node.layout, before, live.roles if live else ())
    new = _side(node.layout, packages, wanted.roles)
    old, new = _with_files(node.layout, old, new)
    return plan_activation(old, new, wanted.number, live.number if live else None, _missing(node, packages), built)


def _unit_sources(packages: Iterable[Package], roles: Sequence[str]) -> dict[str, tuple[Package, str]]:
    """Unit -> the package it comes from and its path there."""
    return {
        unit: (package, f"{WANTS}{suffix}/{unit}")
        for package in packages
        for suffix in ("", *(f"_{role}" for role in roles))
        for unit in package.trees.get(WANTS + suffix, ())
    }


def _side(layout: Layout, packages: Sequence[Package], roles: Sequence[str]) -> Side:
    units = {
        unit: _unit_state(layout, package, path) for unit, (package, path) in _unit_sources(packages, roles).items()
    }
    variables = {key: value for package in packages for key, value in package.environment.items()}
    return Side({package.name: package for package in packages}, units, {}, variables)


def _unit_state(layout: Layout, package: Package, path: str) -> UnitState:
    import hashlib

    try:
        with open(f"{layout.package(str(package.id))}/{path}", "rb") as file:
            text = file.read()
    except OSError:
        text = b""
    return UnitState(package.name, hashlib.sha256(text).hexdigest(), layout.at("environment").encode() in text)


def _with_files(layout: Layout, old: Side, new: Side) -> tuple[Side, Side]:
    """Both sides with the files of those packages whose unit table has to be compared."""
    tables = [name for name, package in new.packages.items() if package.units]
    changed = [name for name in tables if name in old.packages and old.packages[name].id != new.packages[name].id]
    return (
        old._replace(files={name: _digests(layout, old.packages[name]) for name in changed}),
        new._replace(files={name: _digests(layout, new.packages[name]) for name in changed}),
    )


def _digests(layout: Layout, package: Package) -> dict[str, str]:
    rows = store.read_files(layout, str(package.id))
    return {path: f"{row[4]}{row[5]}" for path, row in rows.items()}


def _missing(node: Node, packages: Iterable[Package]) -> Missing:
    users, directories = set(), {}
    for package in packages:
        user = node.host.user(package.username) if package.username else None
        if package.username and user is None:
            users.add(package.username)
        if package.state_directory:
            path = f"{node.layout.state_root}/{package.name}"
            new = not os.path.isdir(path)
            if new or (package.username and (user is None or os.stat(path).st_uid != user.uid)):
                directories[package.name] = (path, new)
    return Missing(frozenset(users), directories)


# Doing


def apply_prepared(node: Node, prepared: Prepared) -> Outcome:
    """Carry a plan out. Raises PandaError with the node as it was, or, when the health gate failed, back at it."""
    plan = prepared.plan
    if not plan.actions:
        return Outcome(plan, ())
    gate = _gate(node, prepared)
    record = Record(plan.previous, plan.number, plan.actions, gate)
    own(node.host, node.layout)
    try:
        node.host.make_directories(node.layout.state_root)
        journal.write(node.host, node.layout, record)
        _before_switch(node, record, prepared)
        generation.switch(node.host, node.layout, record.target)
    except (OSError, PandaError) as error:
        _go_back(node, record)
        raise _as_panda(error, node.layout) from error
    return Outcome(plan, _after_switch(node, record))


def _as_panda(error: OSError | PandaError, layout: Layout) -> PandaError:
    if isinstance(error, PandaError):
        return error
    unfinished = os.path.exists(journal.path(layout))
    hint = "run pkgpanda setup to finish or take back what was begun" if unfinished else "nothing was changed"
    return PandaError.one(str(error.filename or layout.root), str(error.strerror or error), hint)


def own(host: Host, layout: Layout) -> None:
    """Mark the root as ours."""
    host.make_directories(layout.root)
    if not os.path.exists(layout.at(".owner")):
        host.replace(layout.at(".owner"), f"{OWNER}\n".encode())


def _gate(node: Node, prepared: Prepared) -> journal.Gate | None:
    live = generation.current(node.layout)
    if not (node.options.gate and node.options.systemd and live):
        return None
    units = sorted(set(live.units) & set(prepared.generation.units))
    packages = store.loadable(node.layout, live.packages, prepared.packages)
    return health.measure(node.host, node.layout, packages, units, node.options.gate_seconds)


def _before_switch(node: Node, record: Record, prepared: Prepared) -> None:
    host, layout = node.host, node.layout
    generation.link_names(host, layout)
    systemd.install(host, layout)
    for action in record.actions:
        if isinstance(action, AddUser):
            _add_user(host, layout, action)
        elif isinstance(action, MakeStateDirectory):
            _make_state_directory(host, layout, action)
        elif isinstance(action, BuildGeneration):
            generation.build(host, layout, prepared.generation, prepared.packages, prepared.merged)
        elif isinstance(action, LinkUnit):
            systemd.link(host, layout, action.unit)
    if node.options.systemd:
        systemd.stop(host, [action.unit for action in record.actions if isinstance(action, StopUnit)])
    host.sync_file(layout.systemd_dir)


def _add_user(host: Host, layout: Layout, action: AddUser) -> None:
    known = ledger.read(layout)
    ledger.write(host, layout, known._replace(users=tuple(sorted({*known.users, action.user}))))
    group = ["--gid", action.group] if action.group else ["--user-group"]
    done = host.run(
        [
            *("useradd", "--system", "--no-create-home", "--home-dir", layout.root, "--shell", "/usr/sbin/nologin"),
            *("--comment", COMMENT, *group, action.user),
        ]
    )
    if done.status and host.user(action.user) is None:
        raise PandaError.one(f"useradd {action.user}", f"failed with status {done.status}: {done.output.strip()}")


def _make_state_directory(host: Host, layout: Layout, action: MakeStateDirectory) -> None:
    known = ledger.read(layout)
    ledger.write(host, layout, known._replace(directories=tuple(sorted({*known.directories, action.path}))))
    if not os.path.isdir(action.path):
        host.mkdir(action.path)
    if not action.user:
        return
    user = host.user(action.user)
    if user is None:
        raise PandaError.one(action.path, f"cannot be given to {action.user}: no such user")
    for directory, names, files in os.walk(action.path):
        for name in (".", *names, *files):
            host.chown(os.path.normpath(f"{directory}/{name}"), user.uid, user.gid)


def _go_back(node: Node, record: Record) -> None:
    """After an error before the switch: take back what was added, as far as the host lets us.

    Where it does not, the journal stays and the next `setup` tries again.
    """
    try:
        if not os.path.exists(journal.path(node.layout)):
            clean(node.host, node.layout)
        elif generation.current_number(node.layout) != record.target:
            _undo(node, record)
    except (OSError, PandaError):
        return


def _undo(node: Node, record: Record) -> None:
    """Make the node what it was before an activation that did not reach its switch."""
    host, layout = node.host, node.layout
    live = generation.current(layout)
    systemd.reconcile(host, layout, live.units if live else ())
    builds = any(isinstance(action, BuildGeneration) for action in record.actions)
    if builds and record.target in generation.numbers(layout):
        generation.remove(host, layout, record.target)
    clean(host, layout)
    for action in reversed(record.actions):
        if isinstance(action, MakeStateDirectory) and action.new and _is_empty_directory(action.path):
            host.rmdir(action.path)
        elif isinstance(action, AddUser):
            remove_user(host, action.user)
    if live is None:
        systemd.uninstall(host, layout)
        generation.unlink_names(host, layout)
    if node.options.systemd and any(isinstance(action, StopUnit | LinkUnit) for action in record.actions):
        _start_again(host, live)
    if live is None and os.path.isdir(layout.state_root) and not os.listdir(layout.state_root):
        host.rmdir(layout.state_root)
    journal.remove(host, layout)


def _start_again(host: Host, live: Generation | None) -> None:
    """Start what was stopped. systemctl may be what failed in the first place: the files are right, and a boot or a
    `setup` starts them."""
    with contextlib.suppress(PandaError):
        systemd.reload_manager(host)
        if live is not None:
            systemd.start_target(host)


def _is_empty_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.listdir(path)


def remove_user(host: Host, name: str) -> None:
    """Delete an account, if it is one this program created."""
    user = host.user(name)
    if user is not None and user.comment == COMMENT:
        host.run(["userdel", name])


def _after_switch(node: Node, record: Record) -> tuple[str, ...]:
    """Everything behind the switch; each step may be done again."""
    host, layout = node.host, node.layout
    live = generation.read(layout, record.target)
    try:
        systemd.reconcile(host, layout, live.units)
        systemd.install(host, layout)
        host.sync_file(layout.systemd_dir)
        notes = _apply_sysctls(node, record.actions)
        if node.options.systemd:
            _apply_units(host, record.actions)
        ill = _wait(node, record, live)
    except OSError as error:
        raise PandaError.one(
            str(error.filename), f"{error.strerror}: the new set is live but not finished", "run pkgpanda setup"
        ) from error
    except PandaError as error:
        if record.gate is None or record.revert:
            raise
        ill = error.problems
    if ill:
        _revert(node, record, ill)
    notes += _run_removals(node, record)
    for number in generation.superfluous(layout, node.options.keep):
        generation.remove(host, layout, number)
    journal.remove(host, layout)
    return notes


def _apply_units(host: Host, actions: Sequence[Action]) -> None:
    systemd.reload_manager(host)
    systemd.restart(host, [action.unit for action in actions if isinstance(action, RestartUnit)])
    systemd.reload(host, [action.unit for action in actions if isinstance(action, ReloadUnit)])
    systemd.start_target(host)


def _wait(node: Node, record: Record, live: Generation) -> list[Problem]:
    if record.gate is None or not node.options.block or not (record.gate.units or record.gate.checks):
        return []
    packages = store.loadable(node.layout, live.packages, ())
    restarted = frozenset(action.unit for action in record.actions if isinstance(action, RestartUnit))
    return health.wait(node.host, node.layout, record.gate, packages, restarted)


def _apply_sysctls(node: Node, actions: Iterable[Action]) -> tuple[str, ...]:
    """Set and restore kernel settings. One the kernel refuses is a note, as it is upstream: the unit may still work."""
    host, notes = node.host, []
    for action in actions:
        if isinstance(action, SetSysctl):
            notes += _set_sysctl(host, node.layout, action)
        elif isinstance(action, RestoreSysctl):
            restore_sysctl(host, node.layout, action.key)
    return tuple(notes)


def _set_sysctl(host: Host, layout: Layout, action: SetSysctl) -> list[str]:
    before = host.sysctl(action.key)
    if before is None:
        return [f"sysctl {action.key}: this kernel has no such setting; {action.service} asks for it"]
    if before == " ".join(action.value.split()):
        return []
    known = ledger.read(layout)
    if action.key not in known.sysctls:
        ledger.write(host, layout, known._replace(sysctls={**known.sysctls, action.key: before}))
    try:
        host.set_sysctl(action.key, action.value)
    except OSError as error:
        return [f"sysctl {action.key}: the kernel refuses {action.value!r}: {error.strerror}"]
    return []


def restore_sysctl(host: Host, layout: Layout, key: str) -> None:
    """Give a kernel setting the value it had before this program set it."""
    known = ledger.read(layout)
    if key not in known.sysctls:
        return
    try:
        host.set_sysctl(key, known.sysctls[key])
    except OSError:
        return
    ledger.write(host, layout, known._replace(sysctls={k: v for k, v in known.sysctls.items() if k != key}))


def _run_removals(node: Node, record: Record) -> tuple[str, ...]:
    notes = []
    for action in record.actions:
        if isinstance(action, RunRemoval):
            try:
                package = store.load(node.layout, action.package)
            except PandaError as error:
                notes.append(str(error))
                continue
            status, output = health.run_check(node.host, node.layout, package, action.program, "remove")
            if status:
                last = " | ".join(output.strip().splitlines()[-3:])
                notes.append(f"{action.package}: remove/{action.program} ended with {status}: {last}")
    return tuple(notes)


def _revert(node: Node, failed: Record, ill: Sequence[Problem]) -> None:
    """Return to the generation before; always raises PandaError saying why."""
    if failed.source is None:
        raise PandaError(ill)
    prepared = prepare_rollback(node, failed.source)
    record = Record(failed.target, failed.source, prepared.plan.actions, None, True)
    journal.write(node.host, node.layout, record)
    _carry_on_reverting(node, record)
    told = f"generation {failed.target} was not healthy, the node is back at generation {failed.source}"
    raise PandaError([*ill, Problem("health gate", told, "see pkgpanda diff; --no-health-gate skips the gate")])


def _carry_on_reverting(node: Node, record: Record) -> None:
    if generation.current_number(node.layout) != record.target:
        wanted = generation.read(node.layout, record.target)
        empty = Prepared(Plan(record.target, record.source, record.actions), wanted, [], Merged([], [], []))
        _before_switch(node, record, empty)
        generation.switch(node.host, node.layout, record.target)
    _after_switch(node, record)


# Carrying on


def clean(host: Host, layout: Layout) -> None:
    """Remove what interrupted changes left half-made; nothing that is in use."""
    host.sweep(*map(layout.at, (".owner", "catalogue.json", "current", "journal.json", "ledger.json")))
    systemd.sweep(host, layout)
    generation.clean(host, layout)
    store.clean(host, layout)


def refuse_interrupted(layout: Layout) -> None:
    """Raise PandaError while an interrupted activation waits to be finished."""
    if os.path.exists(journal.path(layout)):
        raise PandaError.one(journal.path(layout), "an activation was interrupted", "run pkgpanda setup to finish it")


def recover(node: Node) -> str:
    """Finish or take back what was interrupted; says what was done, empty where nothing was to do."""
    record = journal.read(node.layout)
    clean(node.host, node.layout)
    if record is None:
        return ""
    if record.revert:
        _carry_on_reverting(node, record)
        return f"finished the return to generation {record.target}"
    if generation.current_number(node.layout) == record.target:
        _after_switch(node, record)
        return f"finished the activation of generation {record.target}"
    _undo(node, record)
    return f"took back the unfinished activation of generation {record.target}"


def reapply(node: Node) -> tuple[str, ...]:
    """What a boot needs of the live generation: kernel settings, unit links, and the target started."""
    live = generation.current(node.layout)
    if live is None:
        return ("nothing is active; run dcos_install.sh",)
    systemd.reconcile(node.host, node.layout, live.units)
    systemd.install(node.host, node.layout)
    side = _side(node.layout, store.loadable(node.layout, live.packages, ()), live.roles)
    notes = _apply_sysctls(node, sysctls(side))
    if node.options.systemd:
        systemd.reload_manager(node.host)
        systemd.start_target(node.host)
    return notes
