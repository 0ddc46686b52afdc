"""A node in a directory: package archives made by hand, and a host whose systemd, users and sysctls are simulated.

Nothing here uses the builder: the archives are what docs/explanation/bundle.md says, so both sides are tested against
it.
"""

import hashlib
import io
import json
import lzma
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pkgpanda.node.cli import main
from pkgpanda.node.host import Done, Host, User
from pkgpanda.node.layout import Layout
from pkgpanda.node.node import Node, Options
from pkgpanda.node.store import Digest


class Archive(NamedTuple):
    """An archive on the disk and its digests."""

    id: str
    path: Path
    digest: Digest
    size: int


def tar_bytes(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of exactly these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(path: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One file; `fields` are those of TarInfo."""
    info = tarfile.TarInfo(path)
    info.mode = 0o644
    for name, value in fields.items():
        setattr(info, name, value)
    return info, data


def write_archive(directory: Path, package_id: str, members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> Archive:
    """Compress members into <id>.tar.xz."""
    tar = tar_bytes(members)
    path = directory / f"{package_id}.tar.xz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(tar, preset=0))
    digest = Digest(hashlib.sha256(path.read_bytes()).hexdigest(), hashlib.sha256(tar).hexdigest())
    return Archive(package_id, path, digest, path.stat().st_size)


def package(
    directory: Path,
    package_id: str,
    files: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    **pkginfo: Any,
) -> Archive:
    """A package with those files (programs in bin, check and remove are executable), links and members of pkginfo."""
    info = {"environment": {}, "requires": [], "state_directory": False, **pkginfo}
    documents = {
        "pkginfo.json": json.dumps(info),
        "buildinfo.full.json": json.dumps({"name": package_id.partition("--")[0], "variant": pkginfo.get("variant")}),
        **(files or {}),
    }
    members = [
        member(path, text.encode(), mode=0o755 if path.split("/")[0] in ("bin", "check", "remove") else 0o644)
        for path, text in documents.items()
    ]
    members += [member(path, type=tarfile.SYMTYPE, linkname=target) for path, target in (links or {}).items()]
    return write_archive(directory, package_id, sorted(members, key=lambda pair: pair[0].name))


UNIT = "[Service]\nExecStart=/bin/true\n"


class SimulatedHost(Host):
    """The real file system below one directory; systemd, accounts, sysctls and the clock are made up.

    `broken` units never become active; those in `given_up` failed too often and start no more until `reset-failed`;
    `commands` has every argv; `failing` maps a program's name to its exit status.
    Programs of packages are not run: one whose text contains `exit 1` fails.
    """

    def __init__(self, systemd_dir: str) -> None:
        self.systemd_dir = systemd_dir
        self.commands: list[list[str]] = []
        self.users: dict[str, User] = {}
        self.groups = {"docker"}
        self.sysctls = {"net.ipv4.ip_forward": "0", "net.core.somaxconn": "128"}
        self.running: dict[str, int] = {}
        self.broken: set[str] = set()
        self.given_up: set[str] = set()
        self.failing: dict[str, int] = {}
        self.clock = 1_700_000_000.0
        self.owners: dict[str, tuple[int, int]] = {}
        self.space = (1 << 40, 1 << 30)
        self._invocation = 0

    def run(self, argv: Sequence[str], timeout: float = 300, environment: Mapping[str, str] | None = None) -> Done:
        self.step("run", " ".join(argv))
        self.commands.append(list(argv))
        program = os.path.basename(argv[0])
        if program in self.failing:
            return Done(self.failing[program], f"{program}: made to fail")
        known = {"systemctl": self._systemctl, "useradd": self._useradd, "userdel": self._userdel}
        if program in known:
            return known[program](list(argv[1:]))
        if program == "journalctl":
            return Done(0, "first line\nlast line\n")
        text = Path(argv[0]).read_text()
        return Done(1, "it said no\n") if "exit 1" in text else Done(0, "")

    def _systemctl(self, arguments: list[str]) -> Done:
        units = [name for name in arguments[1:] if not name.startswith("-")]
        match arguments[0]:
            case "stop":
                for unit in units:
                    self.running.pop(unit, None)
            case "reset-failed":
                self.given_up -= set(units)
            case "restart" | "try-reload-or-restart":
                for unit in units:
                    self._start(unit, arguments[0] == "restart")
            case "start":
                wants = f"{self.systemd_dir}/dcos.target.wants"
                for unit in os.listdir(wants) if os.path.isdir(wants) else ():
                    if unit not in self.running and os.path.isfile(f"{self.systemd_dir}/{unit}"):
                        self._start(unit, True)
            case "show":
                return Done(0, "\n\n".join(map(self._show, units)) + "\n")
        return Done(0, "")

    def _start(self, unit: str, again: bool) -> None:
        if unit not in self.given_up and (again or unit not in self.running):
            self._invocation += 1
            self.running[unit] = self._invocation

    def _show(self, unit: str) -> str:
        active = "inactive" if unit not in self.running else "failed" if unit in self.broken else "active"
        return f"ActiveState={active}\nSubState={active}\nInvocationID={self.running.get(unit, '')}"

    def _useradd(self, arguments: list[str]) -> Done:
        name = arguments[-1]
        group = arguments[arguments.index("--gid") + 1] if "--gid" in arguments else name
        comment = arguments[arguments.index("--comment") + 1]
        number = 900 + len(self.users)
        self.users[name] = User(name, number, number, comment, frozenset({group}))
        return Done(0, "")

    def _userdel(self, arguments: list[str]) -> Done:
        del self.users[arguments[-1]]
        return Done(0, "")

    def user(self, name: str) -> User | None:
        return self.users.get(name)

    def has_group(self, name: str) -> bool:
        return name in self.groups

    def chown(self, path: str, uid: int, gid: int) -> None:
        self.step("chown", path)
        self.owners[path] = (uid, gid)

    def sync_all(self, path: str) -> None:
        self.step("syncfs", path)

    def sync_file(self, path: str) -> None:
        self.step("fsync", path)

    def free(self, path: str) -> tuple[int, int]:
        return self.space

    def sysctl(self, key: str) -> str | None:
        return self.sysctls.get(key)

    def set_sysctl(self, key: str, value: str) -> None:
        self.step("sysctl", f"{key}={value}")
        self.sysctls[key] = value

    def wall_time(self) -> float:
        return self.clock

    def monotonic(self) -> float:
        return self.clock

    def sleep(self, seconds: float) -> None:
        self.clock += seconds

    def asked(self, verb: str) -> list[str]:
        """The units named in calls of `systemctl VERB`."""
        calls = [argv[2:] for argv in self.commands if argv[:2] == ["systemctl", verb]]
        return [name for call in calls for name in call if not name.startswith("-")]


class Machine:
    """A node below `base`, driven through the command line. `host` may be exchanged."""

    def __init__(self, base: Path, roles: Sequence[str] = ("master",)) -> None:
        self.base = base
        self.layout = Layout(
            f"{base}/opt", f"{base}/opt/packages", f"{base}/etc/mesosphere", f"{base}/var", f"{base}/systemd"
        )
        for directory in (f"{self.layout.config_dir}/roles", self.layout.systemd_dir, f"{base}/archives"):
            os.makedirs(directory, exist_ok=True)
        for role in roles:
            Path(self.layout.config_dir, "roles", role).touch()
        self.archives = base / "archives"
        self.host: Any = SimulatedHost(self.layout.systemd_dir)

    @property
    def node(self) -> Node:
        """For calls below the command line."""
        return Node(self.host, self.layout, Options())

    def __call__(self, *argv: str) -> int:
        """Run one command."""
        places = ["--root", self.layout.root, "--config-dir", self.layout.config_dir]
        places += ["--state-dir-root", self.layout.state_root, "--systemd-dir", self.layout.systemd_dir]
        return main([*places, *argv], self.host)

    def package(self, package_id: str, files: Mapping[str, str] | None = None, **members: Any) -> Archive:
        """Make an archive, without adding it."""
        return package(self.archives, package_id, files, **members)

    def add(self, archive: Archive) -> int:
        """Add an archive by its digest."""
        return self("add", "--silent", str(archive.path), "--sha256", archive.digest.sha256)

    def have(self, package_id: str, files: Mapping[str, str] | None = None, **members: Any) -> str:
        """Make a package and add it; its id."""
        assert self.add(self.package(package_id, files, **members)) == 0
        return package_id

    def active(self) -> list[str]:
        """The live set, read from the links as any tool would."""
        directory = Path(self.layout.root, "active")
        return (
            sorted(os.readlink(path).rsplit("/", 1)[-1] for path in directory.iterdir()) if directory.exists() else []
        )

    def units(self) -> dict[str, str]:
        """Unit -> text, for every link of ours in the systemd directory that leads to a file."""
        return {
            path.name: path.read_text()
            for path in sorted(Path(self.layout.systemd_dir).iterdir())
            if path.is_symlink() and path.is_file()
        }

    def snapshot(self) -> dict[str, str]:
        """Everything a user could find on the node: paths with content, but for the lock and the archives."""
        found = {}
        for directory, names, files in os.walk(self.base):
            names[:] = [name for name in names if f"{directory}/{name}" != str(self.archives)]
            for name in [*names, *files]:
                path = f"{directory}/{name}"
                if os.path.islink(path):
                    found[path] = f"-> {os.readlink(path)}"
                elif os.path.isfile(path) and name != ".lock":
                    found[path] = Path(path).read_text(errors="replace")
                elif os.path.isdir(path):
                    found[path] = "directory"
        return found
