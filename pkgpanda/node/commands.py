"""The commands of `pkgpanda`, one function each, and the table the command line is made of.

A function takes the node and the parsed arguments, prints its answer on stdout and progress on stderr, and returns the
exit status. Whatever changes the node holds the lock, and refuses to while an interrupted activation waits for `setup`.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pkgpanda.errors import PandaError, Problem
from pkgpanda.ids import PackageId
from pkgpanda.node import generation, store
from pkgpanda.node.node import Node

if TYPE_CHECKING:  # `list` starts in a third of the time without it
    from contextlib import AbstractContextManager

    from pkgpanda.node.activate import Outcome, Prepared

Arguments = argparse.Namespace


class Command(NamedTuple):
    """A command: its arguments as argparse takes them."""

    name: str
    help: str
    run: Callable[[Node, Arguments], int]
    arguments: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = ()
    example: str = ""


def _is_json(arguments: Arguments) -> bool:
    return getattr(arguments, "format", "text") == "json"


def _answer(arguments: Arguments, document: object, lines: Iterable[str]) -> None:
    """Print an answer in the format asked for."""
    if _is_json(arguments):
        import json

        print(json.dumps(document, sort_keys=True, indent=2))
        return
    for line in lines:
        print(line)


def _report(arguments: Arguments) -> Callable[[str], None]:
    """Where progress goes: stderr, or nowhere. A change goes on when nobody reads it any more."""

    def tell(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(f"pkgpanda: {line}", file=sys.stderr, flush=True)

    return (lambda line: None) if getattr(arguments, "silent", False) else tell


# Reading


def list_packages(node: Node, arguments: Arguments) -> int:
    """Every package of the store, by name; several versions of one below it."""
    ids = store.list_ids(node.layout)
    versions: dict[str, list[str]] = {}
    for package_id in ids:
        name, _, version = package_id.partition("--")
        versions.setdefault(name, []).append(version)
    lines = []
    for name, found in sorted(versions.items()):
        lines += [f"{name}--{found[0]}"] if len(found) == 1 else [f"{name}:", *(f"  {version}" for version in found)]
    _answer(arguments, ids, lines)
    return 0


def active(node: Node, arguments: Arguments) -> int:
    """The ids of the live set."""
    live = generation.current(node.layout)
    ids = sorted(live.packages) if live else []
    _answer(arguments, ids, ids)
    return 0


def show(node: Node, arguments: Arguments) -> int:
    """What a package says of itself."""
    package_id = store.resolve(node.layout, arguments.package)
    package = store.load(node.layout, package_id)
    live = generation.current(node.layout)
    document = {
        "id": package_id,
        "active": bool(live and package_id in live.packages),
        "variant": package.variant,
        "requires": [requirement.name for requirement in package.requires],
        "environment": package.environment,
        "username": package.username,
        "group": package.group,
        "state_directory": package.state_directory,
        "sysctl": package.sysctl,
        "check": package.programs("check"),
        "remove": package.programs("remove"),
        "path": node.layout.package(package_id),
    }
    _answer(
        arguments, document, (f"{key}: {_plain(value)}" for key, value in document.items() if value not in ("", [], {}))
    )
    return 0


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={_plain(entry)}" for key, entry in sorted(value.items()))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def history(node: Node, arguments: Arguments) -> int:
    """The generations that are kept, the live one marked."""
    live = generation.current_number(node.layout)
    kept = [generation.read(node.layout, number) for number in generation.numbers(node.layout)]
    documents = [{**entry._asdict(), "live": entry.number == live} for entry in kept]
    lines = [
        f"{'*' if entry.number == live else ' '} {entry.number:>4}  {_when(entry.time)}  "
        f"{len(entry.packages):>3} packages  {entry.reason}"
        for entry in kept
    ]
    _answer(arguments, documents, lines)
    return 0


def _when(seconds: int) -> str:
    import time

    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def diff(node: Node, arguments: Arguments) -> int:
    """What changed between two generations: by default from the one before to the live one."""
    numbers = arguments.generation
    live = generation.current(node.layout)
    if not live:
        raise PandaError.one("diff", "nothing is active", "install a bundle first")
    if len(numbers) > 2:
        raise PandaError.one("diff", f"compares two generations, {len(numbers)} were given")
    first = numbers[0] if numbers else live.previous
    if first is None:
        raise PandaError.one(f"generation {live.number}", "has no generation before it", "see pkgpanda history")
    old = generation.read(node.layout, first)
    new = generation.read(node.layout, numbers[1]) if len(numbers) == 2 else live
    before, after = _by_name(old.packages), _by_name(new.packages)
    document = {
        "from": old.number,
        "to": new.number,
        "added": sorted(after[name] for name in set(after) - set(before)),
        "removed": sorted(before[name] for name in set(before) - set(after)),
        "changed": [[before[n], after[n]] for n in sorted(set(before) & set(after)) if before[n] != after[n]],
        "units_added": sorted(set(new.units) - set(old.units)),
        "units_removed": sorted(set(old.units) - set(new.units)),
    }
    _answer(arguments, document, _diff_lines(document))
    return 0


def _by_name(ids: Iterable[str]) -> dict[str, str]:
    return {PackageId.parse(package_id).name: package_id for package_id in ids}


def _diff_lines(document: dict[str, Any]) -> Iterable[str]:
    yield f"generation {document['from']} -> {document['to']}"
    yield from (f"+ {name}" for name in [*document["added"], *document["units_added"]])
    yield from (f"- {name}" for name in [*document["removed"], *document["units_removed"]])
    yield from (f"~ {old} -> {new}" for old, new in document["changed"])


def check(node: Node, arguments: Arguments) -> int:
    """Run the live packages' own checks."""
    from pkgpanda.node import health

    live = generation.current(node.layout)
    packages = store.load_all(node.layout, live.packages if live else ())
    programs = [(package, program) for package in packages for program in package.programs("check")]
    if arguments.list:
        names = [f"{package.id}: {program}" for package, program in programs]
        _answer(arguments, names, names)
        return 0
    results, lines, failed = [], [], False
    for package, program in programs:
        path = f"{node.layout.package(str(package.id))}/check/{program}"
        if not os.access(path, os.X_OK):
            print(f"pkgpanda: WARNING: {path}: is not executable", file=sys.stderr)
            continue
        status, output = health.run_check(node.host, node.layout, package, program)
        failed = failed or status != 0
        results.append({"package": str(package.id), "check": program, "status": status, "output": output})
        said = f": {output.strip()}" if output.strip() else ""
        lines.append(f"{'failed' if status else 'ok'}  {package.id}: {program}{said if status else ''}")
    _answer(arguments, results, lines)
    return 1 if failed else 0


def verify(node: Node, arguments: Arguments) -> int:
    """Re-hash packages: those named, or the whole store."""
    known = store.list_ids(node.layout)
    ids = [store.resolve(node.layout, text) for text in arguments.package] or known
    problems = []
    for package_id in ids:
        if package_id not in known:
            raise PandaError.one(package_id, "is not in the store", "pkgpanda list shows what is")
        problems += store.verify(node.layout, package_id)
    _answer(
        arguments,
        {"packages": ids, "problems": [problem._asdict() for problem in problems]},
        [f"{len(ids)} packages are as they were unpacked"] if not problems else [],
    )
    if not _is_json(arguments):
        for problem in problems:
            print(f"pkgpanda: {problem}", file=sys.stderr)
    return 1 if problems else 0


# Changing


def _locked(node: Node) -> "AbstractContextManager[None]":
    """What every change of the node happens in."""
    from pkgpanda.node import setup

    return setup.changing(node)


def add(node: Node, arguments: Arguments) -> int:
    """Unpack an archive from a file."""
    from pkgpanda.node import catalogue

    name = os.path.basename(arguments.archive)
    package_id = name.removesuffix(".tar.xz")
    if package_id == name:
        raise PandaError.one(arguments.archive, "is not named <id>.tar.xz")
    PackageId.parse(package_id)
    if not os.path.isfile(arguments.archive):
        raise PandaError.one(arguments.archive, "there is no such file")
    digest = _digest(node, arguments, name, package_id, catalogue)
    with _locked(node):
        added = store.add(node.host, node.layout, package_id, arguments.archive, digest)
    _report(arguments)(f"{package_id} {'added' if added else 'is already added'}")
    return 0


def _digest(node: Node, arguments: Arguments, name: str, package_id: str, catalogue: Any) -> store.Digest:
    if arguments.sha256:
        if not catalogue.is_digest(arguments.sha256):
            raise PandaError.one("--sha256", f"{arguments.sha256!r} is no sha256", "64 hexadecimal digits")
        return store.Digest(arguments.sha256)
    if arguments.sha256sums:
        try:
            with open(arguments.sha256sums, encoding="utf-8", errors="replace") as file:
                sums = catalogue.parse_sums(file.read(), arguments.sha256sums)
        except FileNotFoundError as error:
            raise PandaError.one(arguments.sha256sums, "there is no such file") from error
        found = {digest for path, digest in sums.items() if os.path.basename(path) == name}
        if len(found) != 1:
            raise PandaError.one(arguments.sha256sums, f"has {len(found) or 'no'} digests for {name}")
        return store.Digest(found.pop())
    digest: store.Digest = catalogue.item_of(catalogue.kept(node.layout), package_id).digest
    return digest


def fetch(node: Node, arguments: Arguments) -> int:
    """Bring packages from a repository to the store."""
    from pkgpanda.node import catalogue, setup

    with _locked(node):
        if arguments.package_info_sha256:
            source = setup.Source(arguments.repository_url, arguments.package_info_sha256)
            known = setup.fetch_catalogue(node, source)
        else:
            known = catalogue.kept(node.layout)
        items = [catalogue.item_of(known, package_id) for package_id in arguments.id]
        fetched = setup.fetch(node, arguments.repository_url, items, _report(arguments))
        node.host.remove_tree(node.layout.at("downloads"))
    for item in items:
        if item.id not in fetched:
            _report(arguments)(f"{item.id} is already added")
    return 0


def activate_packages(node: Node, arguments: Arguments) -> int:
    """Make exactly these packages the live set."""
    return _activate(node, arguments, lambda: list(arguments.id), "activate")


def swap(node: Node, arguments: Arguments) -> int:
    """Replace the live package of the same name."""

    def ids() -> list[str]:
        live = generation.current(node.layout)
        wanted = PackageId.parse(arguments.id)
        before = _by_name(live.packages if live else ())
        if wanted.name not in before:
            raise PandaError.one(arguments.id, f"replaces nothing: no {wanted.name} is active", "use activate")
        return [*(package for name, package in before.items() if name != wanted.name), arguments.id]

    return _activate(node, arguments, ids, f"swap {arguments.id}")


def _activate(node: Node, arguments: Arguments, ids: Callable[[], Sequence[str]], reason: str) -> int:
    from pkgpanda.node import activate

    return _perform(node, arguments, lambda: activate.prepare(node, ids(), reason))


def rollback(node: Node, arguments: Arguments) -> int:
    """Return to a generation that is kept."""
    from pkgpanda.node import activate

    return _perform(node, arguments, lambda: activate.prepare_rollback(node, arguments.generation))


def _perform(node: Node, arguments: Arguments, prepare: "Callable[[], Prepared]") -> int:
    from pkgpanda.node import activate

    if arguments.dry_run:
        activate.refuse_interrupted(node.layout)
        _tell_plan(arguments, prepare().plan)
        return 0
    with _locked(node):
        outcome = activate.apply_prepared(node, prepare())
    _tell(node, arguments, outcome)
    return 0


def _tell_plan(arguments: Arguments, plan: Any, removals: Sequence[str] = ()) -> None:
    from pkgpanda.node.plan import describe, to_document

    document = {"generation": plan.number, "actions": [to_document(action) for action in plan.actions]}
    if removals:
        document["removals"] = list(removals)
    lines = [*map(describe, plan.actions), *removals] or ["nothing to do"]
    _answer(arguments, document, lines)


def _tell(node: Node, arguments: Arguments, outcome: "Outcome") -> None:
    """Say what an activation did, what did not work as asked, and what is still on its way."""
    from pkgpanda.node import systemd

    for note in outcome.notes:
        print(f"pkgpanda: WARNING: {note}", file=sys.stderr)
    number = outcome.plan.number
    done = f"generation {number} is live" if outcome.plan.actions else f"nothing to do, generation {number} is live"
    live = generation.current(node.layout)
    waiting = []
    if node.options.systemd and node.options.block and live:
        found = systemd.statuses(node.host, live.units)
        waiting = [f"{unit} ({status.active})" for unit, status in found.items() if not status.healthy]
    if _is_json(arguments):
        _tell_plan(arguments, outcome.plan)
    else:
        print(done)
        for unit in waiting:
            print(f"waiting for {unit}")


def setup(node: Node, arguments: Arguments) -> int:
    """Finish what was interrupted; with a repository, make its bundle the live set."""
    from pkgpanda.node import activate, lock
    from pkgpanda.node import setup as setups

    source = _source(arguments)
    setups.refuse_foreign(node)
    if arguments.dry_run:
        return _setup_dry_run(node, arguments, source)
    if source is None and not os.path.isdir(node.layout.root):
        _report(arguments)("nothing is active; run dcos_install.sh")
        return 0
    with lock.locked(node.layout):
        if done := activate.recover(node):
            _report(arguments)(done)
        if source is None:
            for note in activate.reapply(node):
                _report(arguments)(note)
            return 0
        outcome = setups.run(node, source, arguments.upgrade, _report(arguments))
    _tell(node, arguments, outcome)
    return 0


def _source(arguments: Arguments) -> Any:
    from pkgpanda.node.setup import Source

    if bool(arguments.repository_url) != bool(arguments.package_info_sha256):
        raise PandaError.one("setup", "needs --repository-url and --package-info-sha256 together", "", 2)
    if not arguments.repository_url:
        return None
    return Source(arguments.repository_url, arguments.package_info_sha256, arguments.package_info)


def verify_release(node: Node, arguments: Arguments) -> int:
    """Whether a key that is trusted vouches for a dcos_install.sh."""
    from pkgpanda.keys import PublicKey
    from pkgpanda.node import download, signature

    pinned = signature.pinned(node.layout)
    keys = pinned or tuple(PublicKey.parse(text) for text in arguments.key)
    if not keys:
        raise PandaError.one("verify-release", "no key is known on this node", "give one with --key", 2)
    try:
        claim = signature.Claim(signature.digest_of(arguments.script), arguments.package_info_sha256)
    except FileNotFoundError as error:
        raise PandaError.one(arguments.script, "there is no such file") from error
    url = download.check_url(arguments.repository_url)
    key = signature.check_release(node.host, url, keys, claim)
    _report(arguments)(f"{arguments.script}: signed by {key.id}{', which this node has pinned' if pinned else ''}")
    return 0


def _setup_dry_run(node: Node, arguments: Arguments, source: Any) -> int:
    from pkgpanda.node import setup as setups
    from pkgpanda.node.plan import Plan

    missing, plan = setups.dry_run(node, source, arguments.upgrade) if source else ([], Plan(0, None, ()))
    if plan is not None:
        _tell_plan(arguments, plan)
    else:
        _answer(arguments, {"fetch": missing}, [*(f"fetch {name}" for name in missing), "then activate them"])
    return 0


def remove(node: Node, arguments: Arguments) -> int:
    """Take packages out of the store."""
    for package_id in arguments.id:
        PackageId.parse(package_id)
    with _locked(node):
        problems = []
        for package_id in arguments.id:
            users = [
                number
                for number in generation.numbers(node.layout)
                if package_id in generation.read(node.layout, number).packages
            ]
            if users:
                told = f"is used by generation {', '.join(map(str, users))}"
                problems.append(Problem(package_id, told, "pkgpanda gc removes what no kept generation uses"))
        if problems:
            raise PandaError(problems)
        for package_id in arguments.id:
            if os.path.isdir(node.layout.package(package_id)):
                store.remove(node.host, node.layout, package_id)
    return 0


def gc(node: Node, arguments: Arguments) -> int:
    """Remove old generations, and packages that no generation uses."""
    from pkgpanda.node import setup as setups

    if arguments.keep < 1:
        raise PandaError.one("--keep", f"{arguments.keep} generations cannot be kept", "at least 1", 2)
    if arguments.dry_run:
        gone = setups.collectable(node)
    else:
        with _locked(node):
            gone = setups.collect(node)
    _answer(arguments, gone, (f"{'would remove' if arguments.dry_run else 'removed'} {name}" for name in gone))
    return 0


def uninstall(node: Node, arguments: Arguments) -> int:
    """Leave the host as it was before."""
    from pkgpanda.node import activate, lock
    from pkgpanda.node import uninstall as uninstalls

    if not os.path.exists(node.layout.at(".owner")):
        raise PandaError.one(node.layout.root, "is not ours", "there is nothing to uninstall")
    if arguments.dry_run:
        plan = activate.prepare(node, [], "uninstall").plan
        _tell_plan(arguments, plan, uninstalls.removals(node, arguments.purge))
        return 0
    with lock.locked(node.layout):
        activate.recover(node._replace(options=node.options._replace(block=False)))
        notes = uninstalls.uninstall(node, arguments.purge)
    for note in notes:
        print(f"pkgpanda: WARNING: {note}", file=sys.stderr)
    _report(arguments)("uninstalled")
    return 0


_DRY_RUN = (("--dry-run",), {"action": "store_true", "help": "print what would be done, and do nothing"})
_GATE = (
    (("--no-health-gate",), {"action": "store_true", "help": "do not wait for units to become healthy again"}),
    (("--health-timeout",), {"type": float, "metavar": "SECONDS", "default": 120.0, "help": "how long to wait (120)"}),
)
_KEEP = (("--keep",), {"type": int, "metavar": "N", "default": 3, "help": "generations to keep (3)"})
_URL = (
    ("--repository-url",),
    {"metavar": "URL", "default": "", "help": "where dist/ is: http://, https:// or file://"},
)
_INFO = (
    ("--package-info-sha256",),
    {"metavar": "HEX", "default": "", "help": "the digest of the bundle's cluster-package-info.json"},
)
_INFO_NAME = (
    ("--package-info",),
    {"metavar": "PATH", "default": "cluster-package-info.json", "help": "its name below the address, in a repository"},
)
_IDS = (("id",), {"nargs": "+", "metavar": "ID", "help": "<name>--<version>"})

COMMANDS = (
    Command(
        "setup",
        "Finish what was interrupted; with a repository, make its bundle the live set",
        setup,
        (
            _URL,
            _INFO,
            _INFO_NAME,
            (("--upgrade",), {"action": "store_true", "help": "replace the set that is live"}),
            *_GATE,
            _KEEP,
            _DRY_RUN,
        ),
        "example: pkgpanda setup --repository-url http://boot.example:8080 --package-info-sha256 HEX --upgrade",
    ),
    Command(
        "verify-release",
        "Check that a trusted key vouches for a dcos_install.sh, before it is run",
        verify_release,
        (
            (("script",), {"metavar": "FILE", "help": "the dcos_install.sh"}),
            (_URL[0], {**_URL[1], "required": True}),
            _INFO,
            (
                ("--key",),
                {"metavar": "KEY", "action": "append", "default": [], "help": "ed25519:HEX; unless keys are pinned"},
            ),
        ),
        "example: pkgpanda verify-release dcos_install.sh --repository-url https://downloads.example/calico",
    ),
    Command(
        "fetch",
        "Bring packages from a repository to the store",
        fetch,
        ((_URL[0], {**_URL[1], "required": True}), _INFO, _IDS),
        "example: pkgpanda fetch --repository-url http://boot.example:8080 etcd--0a1b",
    ),
    Command(
        "add",
        "Unpack an archive whose digest is known into the store",
        add,
        (
            (("archive",), {"metavar": "TARBALL", "help": "<id>.tar.xz"}),
            (("--sha256",), {"metavar": "HEX", "default": "", "help": "the archive's digest"}),
            (("--sha256sums",), {"metavar": "FILE", "default": "", "help": "a SHA256SUMS that names it"}),
        ),
        "example: pkgpanda add etcd--0a1b.tar.xz --sha256sums SHA256SUMS",
    ),
    Command(
        "activate",
        "Make exactly these packages the live set",
        activate_packages,
        ((_IDS[0], {**_IDS[1], "nargs": "*"}), *_GATE, _KEEP, _DRY_RUN),
        "example: pkgpanda activate etcd--0a1b python--2c3d",
    ),
    Command(
        "swap",
        "Replace the live package of the same name",
        swap,
        ((_IDS[0], {"metavar": "ID", "help": "<name>--<version>"}), *_GATE, _KEEP, _DRY_RUN),
        "example: pkgpanda swap etcd--4e5f",
    ),
    Command("active", "Print the ids of the live set", active, (), "example: pkgpanda active --format json"),
    Command("list", "Print the packages of the store", list_packages, (), "example: pkgpanda list"),
    Command(
        "show",
        "Print what a package says of itself",
        show,
        ((("package",), {"metavar": "ID|NAME", "help": "a package of the store"}),),
        "example: pkgpanda show etcd",
    ),
    Command(
        "check",
        "Run the live packages' own checks",
        check,
        ((("--list",), {"action": "store_true", "help": "only name them"}),),
        "example: pkgpanda check",
    ),
    Command(
        "verify",
        "Re-hash installed packages",
        verify,
        ((("package",), {"nargs": "*", "metavar": "ID|NAME", "help": "packages (all of the store)"}),),
        "example: pkgpanda verify etcd",
    ),
    Command(
        "diff",
        "Print what changed between two generations",
        diff,
        ((("generation",), {"nargs": "*", "type": int, "metavar": "N", "help": "one or two generations"}),),
        "example: pkgpanda diff 3 5",
    ),
    Command(
        "rollback",
        "Return to the generation before, or to the one given",
        rollback,
        ((("generation",), {"nargs": "?", "type": int, "metavar": "N", "help": "a kept generation"}), *_GATE, _DRY_RUN),
        "example: pkgpanda rollback 4",
    ),
    Command("history", "Print the generations that are kept", history, (), "example: pkgpanda history"),
    Command(
        "remove",
        "Take packages out of the store",
        remove,
        (_IDS,),
        "example: pkgpanda remove etcd--0a1b",
    ),
    Command(
        "gc",
        "Remove old generations, and packages no generation uses",
        gc,
        (_KEEP, _DRY_RUN),
        "example: pkgpanda gc --keep 1",
    ),
    Command(
        "uninstall",
        "Leave the host as it was before",
        uninstall,
        (
            (("--purge",), {"action": "store_true", "help": "remove state and secrets too"}),
            _DRY_RUN,
        ),
        "example: pkgpanda uninstall --purge",
    ),
)
