"""Remove what a lab made, from its record and its name: also after the process that made it was killed.

Order: processes first, by control group and by recorded pid and start time, then mounts (newest first), network
namespaces, control groups and the directory. Each step may find its work done already. The record goes last, so that an
interrupted clean-up is finished by the next.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import time
from pathlib import Path

from lab.instance import HOME, Entry, Instance, LabError, Process, hierarchies, host

_DEADLINE = 15.0
_MNT_DETACH = 2


def sweep(home: Path = HOME) -> list[str]:
    """Remove every lab whose owner is gone; the names of those removed. Labs that last are for `lab down` alone."""
    removed = []
    for directory in sorted(home.glob("dcl-*")):
        instance = Instance(directory)
        if instance.lasts:
            continue
        owner = instance.owner()
        if owner is None or not owner.is_alive():
            destroy(instance)
            removed.append(instance.name)
    return removed


def destroy(instance: Instance) -> None:
    """Remove everything `instance` made; LabError names what would not go. Its owner, named first, is let live."""
    entries = instance.entries()
    if entries and entries[0].kind in {"process", "lasts"}:
        del entries[0]
    entries = [*_by_name(instance), *entries]
    groups = [Path(entry.name) for entry in entries if entry.kind == "cgroup"]
    _kill_all(instance, groups, entries)
    for entry in reversed(entries):
        if entry.kind == "mount":
            _unmount(Path(entry.name))
    for entry in entries:
        if entry.kind == "netns" and Path("/run/netns", entry.name).exists():
            host("ip", "netns", "delete", entry.name)
    for group in groups:
        remove_cgroup(group)
    for entry in entries:
        if entry.kind == "path":
            _remove_path(Path(entry.name))
    _remove_tree(instance.directory)


def _by_name(instance: Instance) -> list[Entry]:
    """What bears the lab's name, should the record be damaged: namespaces, control groups, mounts in its directory."""
    begins = f"{instance.name}-"
    namespaces = [Entry("netns", path.name) for path in Path("/run/netns").glob(f"{begins}*")]
    groups = [Entry("cgroup", str(group)) for parent in hierarchies() for group in parent.glob(f"{begins}*")]
    mounts = [Entry("mount", point) for point in _mounted_below(instance.directory)]
    return [*namespaces, *groups, *mounts]


def _mounted_below(directory: Path) -> list[str]:
    points = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{directory}/")]


def _kill_all(instance: Instance, groups: list[Path], entries: list[Entry]) -> None:
    recorded = [Process(int(entry.name), entry.start) for entry in entries if entry.kind == "process"]
    others = [process for process in recorded if process.pid != os.getpid()]
    deadline = time.monotonic() + _DEADLINE
    while True:
        left = [pid for group in groups for pid in processes_in(group)] + [
            each.pid for each in others if each.is_alive()
        ]
        if not left:
            return
        if time.monotonic() > deadline:
            raise LabError(f"{instance.name}: processes {sorted(set(left))} do not end")
        for pid in set(left):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(left)
        time.sleep(0.02)


def _reap(pids: list[int]) -> None:
    """Collect those that are this process's own children, so that they do not stay as zombies."""
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def processes_in(group: Path) -> set[int]:
    """The pids in a control group and in all below it, of which any may go while it is read."""
    found: set[int] = set()
    for directory, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            found |= {int(pid) for pid in Path(directory, "cgroup.procs").read_text().split()}
    return found - {0}


def remove_cgroup(group: Path) -> None:
    """Remove a control group and all below it; the kernel may need a moment after the last process went."""
    deadline = time.monotonic() + _DEADLINE
    while group.is_dir():
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        if group.is_dir() and time.monotonic() > deadline:
            raise LabError(f"{group}: does not go away")
        if group.is_dir():
            time.sleep(0.02)


def _remove_path(path: Path) -> None:
    """Remove a file or an empty directory outside the lab's own."""
    with contextlib.suppress(FileNotFoundError):
        path.rmdir() if path.is_dir() else path.unlink()


def _unmount(path: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    while libc.umount2(str(path).encode(), _MNT_DETACH) == 0:
        pass
    if ctypes.get_errno() not in {errno.EINVAL, errno.ENOENT}:
        raise LabError(f"{path}: cannot be unmounted: {os.strerror(ctypes.get_errno())}")


def _remove_tree(directory: Path) -> None:
    """Remove a lab's directory, its record last; refuse while something is still mounted below it."""
    if below := _mounted_below(directory):
        raise LabError(f"{directory}: {below[0]} is still mounted")
    for entry in directory.iterdir():
        if entry.name == "record":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    (directory / "record").unlink(missing_ok=True)
    directory.rmdir()
