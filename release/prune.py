"""What a repository may forget: releases that no channel names, what only they had, and builds that expire.

Kept are the releases of channels and those younger than a number of days. Builds of calicoctl from branches expire
after seven days, builds of tags never.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pkgpanda.errors import PandaError, Problem
from release import layout, repository
from release.calicoctl import BRANCH_BUILDS, BRANCH_DAYS
from release.layout import entry
from release.metadata import Metadata
from release.storage.base import Storage, Stored

_DAY = 86400.0
_GRACE = _DAY
"""Shared files younger than this stay: a release that is being written has no metadata.json yet."""

MARK = entry(repository.PRUNING, b"")
"""Empty, so that it fits on a full disk, which is what prune is called for."""


class Repository(NamedTuple):
    """What a plan looks at: every file, each channel's release, each release's metadata, and what time it is."""

    files: tuple[Stored, ...]
    channels: dict[str, str]
    metadata: dict[str, Metadata]
    now: float


class Removal(NamedTuple):
    """A file to remove, and why."""

    path: str
    size: int
    why: str

    def __str__(self) -> str:
        return f"remove {self.path} ({self.size / 1e6:.1f} MB): {self.why}"


def run(storage: Storage, now: float, days: float) -> list[Removal]:
    """Plan and remove, under a mark that keeps channels from moving; what was removed.

    Of two commands one sees the other: the mark is there before channels are read, and a channel is written before the
    mark is looked for a last time. Killed, it leaves the mark for the next one to take away.
    """
    storage.put(MARK)
    try:
        removals = plan(look(storage, now), days)
        for each in removals:
            storage.remove(each.path)
    finally:
        storage.remove(MARK.path)
    return removals


def look(storage: Storage, now: float) -> Repository:
    """Read all that a plan needs. PandaError where it cannot be known what a channel needs."""
    channels = repository.channels(storage)
    found = {name: repository.metadata(storage, name) for name in repository.releases(storage)}
    if lost := [channel for channel, release in channels.items() if release not in found]:
        raise PandaError(_lost(storage, channel, channels[channel]) for channel in lost)
    files = [each for prefix in (*repository.PREFIXES, f"{BRANCH_BUILDS}/") for each in storage.listing(prefix)]
    return Repository(tuple(files), channels, found, now)


def _lost(storage: Storage, channel: str, release: str) -> Problem:
    told = f"is release {release[:12]}, whose {layout.METADATA} is not there, so what it needs is not known"
    where = f"{storage.name}:{repository.channel_path(channel)}"
    return Problem(where, told, "make that release again, or move the channel to another")


def plan(state: Repository, days: float) -> list[Removal]:
    """What goes, in the order in which it must: a release is none any more before its first file is gone."""
    written = {
        each.path.split("/")[1]: each.modified
        for each in state.files
        if each.path.startswith("releases/") and each.path.endswith(f"/{layout.METADATA}")
    }
    named = set(state.channels.values())
    kept = {name for name in state.metadata if name in named or state.now - written[name] < days * _DAY}
    used = {each.stored for name in kept for each in state.metadata[name].core}
    return [
        *_releases(state, kept, days),
        *_shared(state, used),
        *_branch_builds(state),
    ]


def _releases(state: Repository, kept: set[str], days: float) -> Iterable[Removal]:
    old = [each for each in state.files if each.path.startswith("releases/") and each.path.split("/")[1] not in kept]
    for each in sorted(old, key=lambda one: (not one.path.endswith(f"/{layout.METADATA}"), one.path)):
        is_whole = each.path.split("/")[1] in state.metadata
        if is_whole or state.now - each.modified > _GRACE:
            yield Removal(
                each.path, each.size, f"older than {days:g} days and no channel's" if is_whole else "left over"
            )


def _shared(state: Repository, used: set[str]) -> Iterable[Removal]:
    for each in state.files:
        if each.path.startswith(repository.SHARED) and each.path not in used and state.now - each.modified > _GRACE:
            yield Removal(each.path, each.size, "in no release that is kept")


def _branch_builds(state: Repository) -> Iterable[Removal]:
    for each in state.files:
        if each.path.startswith(f"{BRANCH_BUILDS}/") and state.now - each.modified > BRANCH_DAYS * _DAY:
            yield Removal(each.path, each.size, f"a branch's build, older than {BRANCH_DAYS} days")
