"""A repository of releases: what stands where in a storage, how a release gets there, and how a channel moves.

    packages/  bootstrap/  package_lists/     reproducible files: written once, shared by every release that has them
    releases/<name>/                          a release's documents; <name> is the sha256 of its dcos_install.sh
    channels/<channel>/dcos_install.sh        THE channel: the release whose script this is
    pruning                                   a prune is at work

Nothing under the first two kinds of paths ever changes, and a release is one when its metadata.json is there, which is
written last. A channel is one file, so moving it is one write, whole or not at all on every kind of storage; the script
carries the digests of all that a node takes. Whatever is interrupted, a channel is what it was or what it shall be.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pkgpanda.errors import PandaError, Problem
from pkgpanda.keys import signed_path
from release import layout
from release.layout import Entry, entry
from release.metadata import Metadata, is_core, read_metadata, stored_path
from release.storage.base import Storage

_CHANNEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}(/[a-z0-9][a-z0-9._-]{0,62}){0,3}")
_RELEASE = re.compile(r"[0-9a-f]{64}")

SHARED = ("packages/", "bootstrap/", "package_lists/")
PREFIXES = (*SHARED, "releases/")
"""Where files of releases stand."""

PRUNING = "pruning"
"""The mark of a prune that is at work, while which no channel moves."""

Report = Callable[[str], None]


class Publication(NamedTuple):
    """A release as it is to be stored: its name, the files others may share, and its own documents."""

    name: str
    shared: tuple[Entry, ...]
    documents: tuple[Entry, ...]


class Step(NamedTuple):
    """One write. `stage` 1 is seen by nobody who asks for a channel; 2 moves one."""

    stage: int
    storage: Storage
    entry: Entry
    has: bool

    def __str__(self) -> str:
        what = "keep" if self.has else "put"
        return f"{what} {self.storage.name}:{self.entry.path} ({self.entry.size / 1e6:.1f} MB)"


def check_channel(name: str) -> str:
    """The name of a channel; PandaError for one that cannot be."""
    if not _CHANNEL.fullmatch(name):
        hint = "use lower-case letters, digits, . _ - and /, as in testing or testing/pull-17"
        raise PandaError.one(name, "is no name of a channel", hint)
    return name


def channel_path(channel: str) -> str:
    """The one file that is a channel."""
    return f"channels/{channel}/{layout.INSTALL_SCRIPT}"


def document_path(release: str, name: str) -> str:
    """Where a release's document stands."""
    return f"releases/{release}/{name}"


def publication(entries: Iterable[Entry], signatures: Iterable[Entry]) -> Publication:
    """A bundle's files sorted for a repository, `metadata.json` last."""
    entries = list(entries)
    script = next(each for each in entries if each.path == layout.INSTALL_SCRIPT)
    shared = [
        each._replace(path=stored_path(each))
        for each in entries
        if is_core(each.path) or each.path == layout.PACKAGE_INFO
    ]
    own = [each for each in [*entries, *signatures] if not is_core(each.path)]
    own.sort(key=lambda each: (each.path == layout.METADATA, each.path))
    documents = [each._replace(path=document_path(script.sha256, each.path)) for each in own]
    return Publication(script.sha256, tuple(shared), tuple(documents))


def plan_publication(what: Publication, storages: list[Storage]) -> list[Step]:
    """What is to be written where, stage 1 only. PandaError where a path is taken by other bytes."""
    steps: list[Step] = []
    problems: list[Problem] = []
    for storage in storages:
        for each in (*what.shared, *what.documents):
            held = storage.holds(each)
            if held is False:
                problems.append(_taken(storage, each))
            steps.append(Step(1, storage, each, bool(held)))
    if problems:
        raise PandaError(problems)
    return steps


def _taken(storage: Storage, each: Entry) -> Problem:
    told = f"is there with other bytes than sha256 {each.sha256}, and nothing there may change"
    return Problem(f"{storage.name}:{each.path}", told, "release verify says whether what is there is damaged")


def point(channel: str, script: bytes, storages: list[Storage]) -> list[Step]:
    """The writes that move a channel, the preferred storage's last."""
    wanted = entry(channel_path(channel), script)
    return [Step(2, storage, wanted, bool(storage.holds(wanted))) for storage in storages]


def apply(steps: list[Step], report: Report) -> int:
    """Do the writes, those of stage 1 first; how many there were.

    A channel moves to what is whole, and goes back to what it was where that is not so behind the write either: a
    prune may be at work. PandaError then, and where another command moved it meanwhile.
    """
    done = 0
    for step in (each for each in steps if each.stage == 1 and not each.has):
        report(f"{step.storage.name}: {step.entry.path} ({step.entry.size / 1e6:.1f} MB)...")
        step.storage.put(step.entry)
        done += 1
    moves = [each for each in steps if each.stage == 2]
    for move in (each for each in moves if not each.has):
        written = {
            each.entry.path: each.entry.size for each in steps if each.stage == 1 and each.storage is move.storage
        }
        _move(move.storage, move.entry, written)
        done += 1
    if lost := [move for move in moves if not move.storage.holds(move.entry)]:
        told = "was moved by another command meanwhile"
        raise PandaError(Problem(f"{each.storage.name}:{each.entry.path}", told, "release list") for each in lost)
    return done


def _move(storage: Storage, channel: Entry, written: dict[str, int]) -> None:
    _check_whole(storage, channel.sha256, written)
    before = storage.read(channel.path)
    storage.put(channel)
    try:
        _check_whole(storage, channel.sha256, written)
    except PandaError:
        if before is None:
            storage.remove(channel.path)
        else:
            storage.put(entry(channel.path, before))
        raise


def _check_whole(storage: Storage, release: str, written: dict[str, int]) -> None:
    """Raise PandaError unless all of a release is there, which is `written` where that is known, and no prune at work.

    The mark is looked for first: a prune that ended before that is seen by what is gone, one that begins later sees
    the channel.
    """
    if storage.read(PRUNING) is not None:
        told = "is there: release prune is at work, or was killed"
        raise PandaError.one(f"{storage.name}:{PRUNING}", told, "when it is done, run this again; if killed, that too")
    if problems := lacking(storage, written or needed(storage, release)):
        raise PandaError(problems)


def needed(storage: Storage, release: str) -> dict[str, int]:
    """The paths of what a release consists of, as far as its metadata.json knows, with their sizes."""
    said = metadata(storage, release)
    own = {document_path(release, each.path): each.size for each in said.documents}
    return own | {each.stored: each.size for each in said.core}


def lacking(storage: Storage, wanted: dict[str, int]) -> list[Problem]:
    """What is not there, by name and size."""
    there = {each.path: each.size for prefix in PREFIXES for each in storage.listing(prefix)}
    hint = "run release create again: it puts back what is missing"
    return [
        Problem(f"{storage.name}:{path}", "is not there" if path not in there else "has another size", hint)
        for path, size in wanted.items()
        if there.get(path) != size
    ]


def channels(storage: Storage) -> dict[str, str]:
    """Every channel with the name of its release."""
    found = {}
    for each in storage.listing("channels/"):
        if each.path.endswith(f"/{layout.INSTALL_SCRIPT}"):
            name = each.path.removeprefix("channels/").removesuffix(f"/{layout.INSTALL_SCRIPT}")
            found[name] = hashlib.sha256(storage.read(each.path) or b"").hexdigest()
    return found


def resolve(storage: Storage, name: str) -> str:
    """The release that a channel, a release's name or the beginning of one means."""
    if _RELEASE.fullmatch(name):
        return name
    if _CHANNEL.fullmatch(name) and (script := storage.read(channel_path(name))) is not None:
        return hashlib.sha256(script).hexdigest()
    if re.fullmatch(r"[0-9a-f]{8,63}", name) and storage.writable:
        found = [each for each in releases(storage) if each.startswith(name)]
        if len(found) == 1:
            return found[0]
    raise PandaError.one(f"{storage.name}: {name}", "is neither a channel nor a release", "release list shows them")


def releases(storage: Storage) -> dict[str, float]:
    """Every release that is whole, with the time it was written."""
    end = f"/{layout.METADATA}"
    listed = [each for each in storage.listing("releases/") if each.path.endswith(end)]
    return {each.path.removeprefix("releases/").removesuffix(end): each.modified for each in listed}


def metadata(storage: Storage, release: str) -> Metadata:
    """What a release says of itself."""
    path = document_path(release, layout.METADATA)
    content = storage.read(path)
    if content is None:
        raise PandaError.one(
            f"{storage.name}:{path}", "is not there", "the release was pruned, or never came to its end"
        )
    return read_metadata(content, f"{storage.name}:{path}")


def script_of(storage: Storage, release: str) -> bytes:
    """A release's dcos_install.sh, which must be the one it is named by."""
    path = document_path(release, layout.INSTALL_SCRIPT)
    script = storage.read(path)
    if script is None or hashlib.sha256(script).hexdigest() != release:
        told = "is not there" if script is None else "is not the script that the release is named by"
        raise PandaError.one(f"{storage.name}:{path}", told, "release verify looks at all of it")
    return script


def signers(storage: Storage, release: str) -> list[str]:
    """The ids of the keys with a signature there; whether it is one is for `verify` to say."""
    found = (signed_path(each.path) for each in storage.listing(f"releases/{release}/"))
    return sorted(each[1] for each in found if each)
