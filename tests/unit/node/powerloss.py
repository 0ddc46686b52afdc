"""A model of a disk that loses power.

`RecordingHost` notes every change with what was written, and every sync. `Disk` replays the record as changes of
inodes, the way a file system sees them, and builds states a power loss may leave: what was synced is there; of the rest
each directory shows a prefix of its own changes, independently of the other directories (a rename between two needs
both); a file's unsynced content may be missing, cut, or whole. That is harsher than a journalling file system, so what
survives it survives those.
"""

import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.unit.node.simulation import SimulatedHost


class Operation(NamedTuple):
    """One recorded change. `text` is content, a link's target, or the second path of a rename."""

    kind: str
    path: str
    text: bytes = b""


class RecordingHost(SimulatedHost):
    """Records below `base`."""

    def __init__(self, systemd_dir: str) -> None:
        super().__init__(systemd_dir)
        self.record: list[Operation] = []

    def step(self, action: str, path: str) -> None:
        if action == "rename":
            source, _, target = path.partition(" -> ")
            self.record.append(Operation("rename", source, target.encode()))
        elif action in ("mkdir", "unlink", "rmdir", "fsync", "syncfs"):
            self.record.append(Operation(action, path))

    def write(self, path: str, data: bytes | Iterable[bytes], mode: int = 0o644) -> None:
        super().write(path, data, mode)
        self.record.append(Operation("write", path, Path(path).read_bytes()))

    def symlink(self, target: str, path: str) -> None:
        super().symlink(target, path)
        self.record.append(Operation("symlink", path, target.encode()))


class _Change(NamedTuple):
    """A change of directories: (directory inode, name, inode or None to remove), applied together."""

    entries: tuple[tuple[int, str, int | None], ...]


class Disk:
    """Inodes: a directory is a dict, a file bytes, a link str."""

    def __init__(self, base: Path) -> None:
        self.base = str(base)
        self.inodes: list[dict[str, int] | bytes | str] = [{}]
        self._load(base, 0)
        self.durable = dict.fromkeys(range(len(self.inodes)), True)
        self.pending: list[_Change] = []
        self.seen: list[dict[str, int] | bytes | str] = [_copy(inode) for inode in self.inodes]

    def _load(self, directory: Path, number: int) -> None:
        entries = self.inodes[number]
        assert isinstance(entries, dict)
        for path in sorted(directory.iterdir()):
            inode = len(self.inodes)
            entries[path.name] = inode
            if path.is_symlink():
                self.inodes.append(os.readlink(path))
            elif path.is_dir():
                self.inodes.append({})
                self._load(path, inode)
            else:
                self.inodes.append(path.read_bytes())

    def _find(self, path: str) -> int:
        """The inode at a path, as running programs see it."""
        number = 0
        for name in os.path.relpath(path, self.base).split("/"):
            if name != ".":
                entries = self.seen[number]
                assert isinstance(entries, dict)
                number = entries[name]
        return number

    def apply(self, operation: Operation) -> None:
        """One operation of the record."""
        kind, path, text = operation
        parent, name = self._find(os.path.dirname(path)), os.path.basename(path)
        if kind == "fsync":
            self._sync(self._find(path))
        elif kind == "syncfs":
            self._sync_all()
        elif kind == "rename":
            target = text.decode()
            inode = self._find(path)
            where = self._find(os.path.dirname(target))
            self._change((where, os.path.basename(target), inode), (parent, name, None))
        elif kind in ("unlink", "rmdir"):
            self._change((parent, name, None))
        else:
            new: dict[str, int] | bytes | str = {} if kind == "mkdir" else text.decode() if kind == "symlink" else text
            inode = len(self.seen)
            self.seen.append(_copy(new))
            self.inodes.append(_copy(new))
            self.durable[inode] = kind != "write"
            self._change((parent, name, inode))

    def _change(self, *entries: tuple[int, str, int | None]) -> None:
        _enter(self.seen, entries)
        self.pending.append(_Change(entries))

    def _sync(self, inode: int) -> None:
        """fsync: a file's content, or all changes of one directory, with whatever they need before them."""
        self.durable[inode] = True
        if isinstance(self.seen[inode], dict):
            touched, chosen = {inode}, []
            for change in reversed(self.pending):
                if touched & {directory for directory, _, _ in change.entries}:
                    touched |= {directory for directory, _, _ in change.entries}
                    chosen.append(change)
            for change in reversed(chosen):
                _enter(self.inodes, change.entries)
                self.pending.remove(change)

    def _sync_all(self) -> None:
        for change in self.pending:
            _enter(self.inodes, change.entries)
        self.pending.clear()
        self.durable = dict.fromkeys(self.durable, True)

    def write_state(self, target: Path, chance: random.Random) -> None:
        """Build one state a power loss now may leave."""
        inodes = [_copy(inode) for inode in self.inodes]
        directories = sorted({directory for change in self.pending for directory, _, _ in change.entries})
        stopped = {directory: chance.randrange(len(self.pending) + 1) for directory in directories}
        if chance.random() < 0.3:  # a disk that had time for everything, or for nothing
            stopped = dict.fromkeys(directories, chance.choice((0, len(self.pending))))
        blocked: set[int] = set()
        for number, change in enumerate(self.pending):
            touched = {directory for directory, _, _ in change.entries}
            if touched & blocked or any(number >= stopped[directory] for directory in touched):
                blocked |= touched
            else:
                _enter(inodes, change.entries)
        for inode, whole in self.durable.items():
            content = inodes[inode]
            if not whole and isinstance(content, bytes):
                inodes[inode] = content[: chance.choice((0, len(content) // 2, len(content)))]
        _build(inodes, 0, target)


def _copy(inode: dict[str, int] | bytes | str) -> dict[str, int] | bytes | str:
    return dict(inode) if isinstance(inode, dict) else inode


def _enter(inodes: list[dict[str, int] | bytes | str], entries: tuple[tuple[int, str, int | None], ...]) -> None:
    for directory, name, inode in entries:
        names = inodes[directory]
        assert isinstance(names, dict)
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def _build(inodes: list[dict[str, int] | bytes | str], number: int, path: Path) -> None:
    inode = inodes[number]
    if isinstance(inode, dict):
        path.mkdir(exist_ok=True)
        for name, child in inode.items():
            _build(inodes, child, path / name)
    elif isinstance(inode, str):
        path.symlink_to(inode)
    else:
        path.write_bytes(inode)
        if path.parent.name in ("bin", "check", "remove"):  # inodes here have no modes; those of the packages do
            path.chmod(0o755)
