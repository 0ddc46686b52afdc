"""Mesos' directory of CNI configurations: the bundle's, and one for each network of the cluster.

Mesos reads one directory, and reads it again when it is asked for a network that it does not know. The bundle's own is
part of what was activated and changes with it alone, so the agent keeps another, where Mesos looks:

    <state>/cni/net.d/<file of the bundle>   a link to it: an upgrade needs nobody to follow it
    <state>/cni/net.d/<network>.conf         see `calico.cni.networks`
    <state>/cni/staged                       what is about to be moved there, in one rename

Links into the bundle's directory, and files with the member MARK, are ours; everything else is another's and is never
touched. A network's file has a `Placement` in etcd, which is written before the file, only while the network stands as
it was read, and deleted after it. So who marks a network as being removed, and then finds no placement, knows that no
node has the file or will have it.
"""

import json
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from calico.cni.networks import MARK, TEMPLATE, configuration, is_for_mesos
from calico.daemon.files import sync_directory
from calico.daemon.log import fields
from calico.datastore.errors import DatastoreError
from calico.datastore.store import Delete, Guard, Put, Store, listing
from calico.datastore.syncer import InSync, Syncer
from calico.model.registry import ENTRIES, Entry, Placement, entry_key, placements_of, read_placement

log = logging.getLogger(__name__)

BUNDLE = Path("/opt/mesosphere/etc/dcos/network/cni")
"""Where the bundle's configurations are."""
_SUFFIX = ".conf"
_RESYNC = 600.0


class Link(NamedTuple):
    """A link of ours."""

    target: str


class File(NamedTuple):
    """A file of ours."""

    text: str


class Foreign(NamedTuple):
    """Another's file or link. `network` is the one that it configures; empty where that cannot be read."""

    network: str


class Bundle(NamedTuple):
    """The bundle's configurations: each file's network (empty where it cannot be read), and what TEMPLATE holds."""

    directory: Path
    networks: Mapping[str, str]
    template: Mapping[str, Any] | None


class Plan(NamedTuple):
    """What is to be written and removed, by the files' names, and what an operator should know."""

    write: dict[str, Link | File]
    remove: tuple[str, ...]
    said: tuple[str, ...]


class Directory(NamedTuple):
    """What is where Mesos looks, by the files' names."""

    path: Path
    files: Mapping[str, Link | File | Foreign]


def plan(bundle: Bundle, entries: Mapping[str, Entry | None] | None, directory: Directory) -> Plan:
    """What makes of the files that are there those that should be.

    `entries` are the networks of the cluster by name; None for one that cannot be read, whose file stays as it is.
    While nobody knows the networks, `entries` is None and every network's file stays.
    """
    present = directory.files
    said = [f"{bundle.directory / name} cannot be read as JSON" for name, one in bundle.networks.items() if not one]
    wanted: dict[str, Link | File | None] = {
        name: Link(str(bundle.directory / name)) for name in sorted(bundle.networks)
    }
    if entries is None:
        wanted |= {name: None for name, content in present.items() if isinstance(content, File)}
        entries = {}
    for name, entry in sorted(entries.items()):
        file = name + _SUFFIX
        if entry is None:
            wanted.setdefault(file, None)
        elif is_for_mesos(entry) and (name in bundle.networks.values() or file in bundle.networks):
            if file != TEMPLATE:
                said.append(f"network {name} has no file for Mesos: the bundle has one of its name")
        elif is_for_mesos(entry):
            wanted[file] = _file(bundle, entry, said)
    ours = {*(name for name in entries if name + _SUFFIX in wanted), *filter(None, bundle.networks.values())}
    said += _conflicts(wanted, directory, ours)
    return Plan(
        {
            name: content
            for name, content in wanted.items()
            if content is not None and present.get(name) != content and not isinstance(present.get(name), Foreign)
        },
        tuple(name for name, content in present.items() if name not in wanted and not isinstance(content, Foreign)),
        tuple(said),
    )


def _file(bundle: Bundle, entry: Entry, said: list[str]) -> File | None:
    """A network's file; None, which leaves it as it is, while there is nothing to make it from."""
    try:
        return File(configuration(bundle.template or {}, entry))
    except ValueError as error:
        said.append(f"network {entry.name}: {bundle.directory / TEMPLATE} {error}")
        return None


def _conflicts(wanted: Collection[str], directory: Directory, ours: Collection[str]) -> Iterator[str]:
    """What of another's is in the way of the files and networks that are ours."""
    for name, content in sorted(directory.files.items()):
        if isinstance(content, Foreign) and name in wanted:
            yield f"{directory.path / name} is not ours and stays: move it away, and ours takes its place"
        elif isinstance(content, Foreign) and content.network in ours:
            yield f"{directory.path / name} configures {content.network}, as a file of ours does: move it away"


# -- the files ---------------------------------------------------------------------------------------------------------


class Files:
    """The agent's directory, filled from the bundle's. Used by one thread at a time."""

    def __init__(self, directory: Path, bundle: Path = BUNDLE) -> None:
        self._directory, self._bundle = directory / "net.d", bundle
        self._staged = directory / "staged"

    def link(self) -> tuple[str, ...]:
        """See to the bundle's, which need no datastore; what an operator should know. Raise OSError."""
        planned = self.plan(None)
        return (*planned.said, *self.apply(planned))

    def plan(self, entries: Mapping[str, Entry | None] | None) -> Plan:
        """See `plan`. Raise OSError where the bundle's directory cannot be read."""
        return plan(read_bundle(self._bundle), entries, Directory(self._directory, self.present()))

    def present(self) -> dict[str, Link | File | Foreign]:
        """What is in the directory, by name."""
        paths: list[Path] = []
        with suppress(FileNotFoundError):
            paths += self._directory.iterdir()
        return {path.name: self._read(path) for path in paths}

    def networks(self) -> set[str]:
        """The networks that have a file of ours."""
        return {name.removesuffix(_SUFFIX) for name, content in self.present().items() if isinstance(content, File)}

    def apply(self, planned: Plan) -> list[str]:
        """Do it, file by file; what could not be done. Each file is as it was or as it should be."""
        problems = []
        self._directory.mkdir(parents=True, exist_ok=True)
        for name, content in planned.write.items():
            try:
                self._write(name, content)
            except OSError as error:
                problems.append(f"{name} cannot be written: {error.strerror}")
        for name in planned.remove:
            try:
                (self._directory / name).unlink(missing_ok=True)
                log.info("removed %s", fields(file=name))
            except OSError as error:
                problems.append(f"{name} cannot be removed: {error.strerror}")
        if planned.write or planned.remove:
            sync_directory(self._directory)
        return problems

    def clear(self) -> None:
        """Remove what is ours, and the directories unless another's file is there. Raise OSError."""
        for name, content in self.present().items():
            if not isinstance(content, Foreign):
                (self._directory / name).unlink(missing_ok=True)
        self._staged.unlink(missing_ok=True)
        with suppress(OSError):
            self._directory.rmdir()
            self._staged.parent.rmdir()

    def _write(self, name: str, content: Link | File) -> None:
        self._staged.unlink(missing_ok=True)
        if isinstance(content, Link):
            self._staged.symlink_to(content.target)
        else:
            with self._staged.open("x") as file:
                file.write(content.text)
                file.flush()
                os.fsync(file.fileno())
        self._staged.replace(self._directory / name)
        log.info("placed %s", fields(file=name))

    def _read(self, path: Path) -> Link | File | Foreign:
        text = _text(path)
        document = _parse(text)
        if path.is_symlink():
            target = path.readlink()
            return Link(str(target)) if target.parent == self._bundle else Foreign(_network(document))
        return File(text) if MARK in document else Foreign(_network(document))


def read_bundle(directory: Path) -> Bundle:
    """What is in the bundle's directory. Raise OSError where that cannot be read."""
    documents = {path.name: _parse(_text(path)) for path in directory.iterdir() if not path.is_dir()}
    networks = {name: _network(document) for name, document in documents.items()}
    return Bundle(directory, networks, documents.get(TEMPLATE))


def _text(path: Path) -> str:
    """What a file holds; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    except OSError:
        return ""


def _parse(text: str) -> dict[str, Any]:
    """The object that a text is; empty where it is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _network(document: Mapping[str, Any]) -> str:
    name = document.get("name")
    return name if isinstance(name, str) else ""


# -- with the datastore ------------------------------------------------------------------------------------------------


class Placer:
    """Keeps a node's files and its placements in step with the networks of the cluster."""

    def __init__(self, store: Store, node: str, files: Files) -> None:
        self._store, self._node, self._files = store, node, files

    def step(self, entries: Mapping[str, Entry | None] | None, is_due: bool) -> tuple[str, ...]:
        """See that everything is as it should be; what an operator should know. Raise DatastoreError, OSError.

        Unless `is_due`, the datastore is left alone where no file differs. For `entries` see `plan`.
        """
        if entries is None:
            return self._files.link()
        planned = self._files.plan(entries)
        if not (is_due or planned.write or planned.remove):
            return planned.said
        held = {read_placement(item.key).name for item in listing(self._store, placements_of(self._node)).items}
        for file in [name for name, content in planned.write.items() if isinstance(content, File)]:
            name = file.removesuffix(_SUFFIX)
            if name not in held and not self._hold(entries[name]):
                del planned.write[file]
        problems = self._files.apply(planned)
        there = self._files.networks()
        for name in there - held:
            self._hold(entries.get(name))
        for name in held - there:
            self._store.commit([], [Delete(Placement(self._node, name).key)])
        return (*planned.said, *problems)

    def _hold(self, entry: Entry | None) -> bool:
        """Write a network's placement, if the network still is what it was; whether that is so."""
        if entry is None:
            return False
        put = Put(Placement(self._node, entry.name).key, b"{}")
        return self._store.commit([Guard(entry_key(entry.name), entry.revision)], [put]).succeeded


def follow(placer: Placer, syncer: Syncer, tick: float) -> Iterator[tuple[str, ...]]:
    """Step when a network comes, changes or goes, and every `tick` seconds or so for the sake of the bundle's files.

    Yields what an operator should know, first when the networks are known or etcd does not answer.
    """
    found: dict[str, Entry] = {}
    is_known, is_due, looked = False, True, time.monotonic()
    for batch in syncer.batches(tick):
        for one in batch:
            if isinstance(one, InSync):
                is_known = True
            elif one.value is None:
                found.pop(one.key, None)
            else:
                found[one.key] = one.value
        if batch and not is_known:
            continue
        is_due = is_due or bool(batch) or time.monotonic() - looked >= _RESYNC
        entries = {key.removeprefix(ENTRIES): found.get(key) for key in (*found, *syncer.broken_keys)}
        try:
            said = placer.step(entries if is_known else None, is_due)
            is_due, looked = False, time.monotonic()
        except (DatastoreError, OSError) as error:
            said, is_due = (f"waits: {error}",), True
        yield (*said, f"waits: {syncer.last_error}") if syncer.last_error else said
