"""The one seam to the machine: every change to a file, every program, every question to the system goes through `Host`.

`step` is called before each change with its name and path. Tests override it to stop the process at any change, to fill
the disk, or to record what was written and synced when.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from pkgpanda.errors import PandaError

T = TypeVar("T")


class Done(NamedTuple):
    """How a program ended; `output` is its standard output and error together."""

    status: int
    output: str


class User(NamedTuple):
    """An account, with every group it is in."""

    name: str
    uid: int
    gid: int
    comment: str
    groups: frozenset[str]


class Host:
    """The real machine."""

    def step(self, action: str, path: str) -> None:
        """Called before every change."""

    # Files. Paths are absolute; a parent that is missing is an error, as it is for the kernel.

    def mkdir(self, path: str, mode: int = 0o755) -> None:
        """Make one directory."""
        self.step("mkdir", path)
        os.mkdir(path, mode)

    def write(self, path: str, data: bytes | Iterable[bytes], mode: int = 0o644) -> None:
        """Write a new file. It is on the disk only after a sync."""
        self.step("write", path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            if isinstance(data, bytes):
                file.write(data)
            else:
                file.writelines(data)

    def append(self, path: str, data: Iterable[bytes]) -> None:
        """Write at the end of a file, making it when there is none."""
        self.step("append", path)
        with open(path, "ab") as file:
            file.writelines(data)

    def symlink(self, target: str, path: str) -> None:
        """Make a symbolic link."""
        self.step("symlink", path)
        os.symlink(target, path)

    def rename(self, source: str, target: str) -> None:
        """Rename within a file system, atomically."""
        self.step("rename", f"{source} -> {target}")
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        """Remove a file or link."""
        self.step("unlink", path)
        os.unlink(path)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        self.step("rmdir", path)
        os.rmdir(path)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Change an owner; links are not followed."""
        self.step("chown", path)
        os.chown(path, uid, gid, follow_symlinks=False)

    def sync_file(self, path: str) -> None:
        """Bring a file's content, or a directory's entries, to the disk."""
        self.step("fsync", path)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_all(self, path: str) -> None:
        """Bring everything written to the file system of `path` to the disk: one call for thousands of links."""
        self.step("syncfs", path)
        import ctypes

        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        finally:
            os.close(descriptor)

    # Made of the above.

    def make_directories(self, path: str) -> None:
        """Make a directory and those above it, where they are missing."""
        if not os.path.isdir(path):
            self.make_directories(os.path.dirname(path))
            self.mkdir(path)

    def replace(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file in place of an old one, or of none: afterwards, and after a power loss, it is one or the other."""
        beside = _beside(path)
        self._clear(beside)
        self.write(beside, data, mode)
        self.sync_file(beside)
        self.rename(beside, path)
        self.sync_file(os.path.dirname(path))

    def replace_link(self, target: str, path: str) -> None:
        """Point a link elsewhere by one rename."""
        beside = _beside(path)
        self._clear(beside)
        self.symlink(target, beside)
        self.sync_all(os.path.dirname(path))
        self.rename(beside, path)
        self.sync_file(os.path.dirname(path))

    def _clear(self, path: str) -> None:
        if os.path.lexists(path):
            self.unlink(path)

    def sweep(self, *paths: str) -> None:
        """Remove what interrupted replacements of these paths left beside them."""
        for path in paths:
            self._clear(_beside(path))

    def remove_tree(self, path: str) -> None:
        """Remove a file, a link or a whole directory; nothing where there is nothing."""
        if os.path.islink(path) or os.path.isfile(path):
            self.unlink(path)
        elif os.path.isdir(path):
            for name in sorted(os.listdir(path)):
                self.remove_tree(f"{path}/{name}")
            self.rmdir(path)

    # Programs and the system.

    def run(self, argv: Sequence[str], timeout: float = 300, environment: Mapping[str, str] | None = None) -> Done:
        """Run a program with no input. Status 127 when there is none of that name, 124 when it took too long."""
        self.step("run", " ".join(argv))
        import subprocess

        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                env=environment,
                check=False,
            )
        except OSError as error:
            return Done(127, f"{argv[0]}: {error.strerror}")
        except subprocess.TimeoutExpired:
            return Done(124, f"{argv[0]}: took longer than {timeout:.0f} s")
        return Done(done.returncode, done.stdout.decode(errors="replace"))

    def user(self, name: str) -> User | None:
        """The account of that name."""
        import grp
        import pwd

        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            return None
        groups = {group.gr_name for group in grp.getgrall() if name in group.gr_mem or group.gr_gid == entry.pw_gid}
        return User(name, entry.pw_uid, entry.pw_gid, entry.pw_gecos, frozenset(groups))

    def has_group(self, name: str) -> bool:
        """Whether a group of that name exists."""
        import grp

        try:
            grp.getgrnam(name)
        except KeyError:
            return False
        return True

    def free(self, path: str) -> tuple[int, int]:
        """Free bytes and inodes of the file system of `path`; a file system that counts no inodes has plenty."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else 1 << 62

    def sysctl(self, key: str) -> str | None:
        """The value of a kernel setting; None where the kernel has none of that name."""
        try:
            with open(_sysctl_path(key)) as file:
                return " ".join(file.read().split())
        except OSError:
            return None

    def set_sysctl(self, key: str, value: str) -> None:
        """Set a kernel setting; raises OSError where the kernel refuses."""
        self.step("sysctl", f"{key}={value}")
        with open(_sysctl_path(key), "w") as file:
            file.write(value)

    def wall_time(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def _beside(path: str) -> str:
    """The temporary name of a replacement: hidden, and the same each time, so that a crash leaves at most one."""
    return f"{os.path.dirname(path)}/.{os.path.basename(path)}.new"


def _sysctl_path(key: str) -> str:
    return "/proc/sys/" + (key if "/" in key else key.replace(".", "/"))


def read_json(path: str) -> object:
    """The JSON document in a file of ours; PandaError when it is damaged, FileNotFoundError when there is none."""
    import json

    try:
        with open(path, "rb") as file:
            return json.load(file)
    except ValueError as error:
        raise PandaError.one(path, f"is damaged: {error}", "restore it, or uninstall and install again") from error


def shaped(path: str, understand: Callable[[], T]) -> T:
    """What `understand` makes of the document in `path`; PandaError when that has another shape than we write."""
    try:
        return understand()
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PandaError.one(
            path, "is damaged: it is JSON, but not what pkgpanda writes", "restore it, or uninstall and install again"
        ) from error


def to_json(value: object) -> bytes:
    """One document, keys sorted, with a line break at its end."""
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"
