"""Debian packages unpacked into the cache, for the programs in them.

apt runs on a private state directory with the machine's own sources, so that nothing on the host changes and a machine
whose package lists were removed (most container images) works too. What was unpacked once is used from then on.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_NAME = 200


class NoPackage(Exception):
    """The archive did not give a package; the text is apt's."""


def cache() -> Path:
    """Where unpacked servers live: $DCOS_CALICO_CACHE, else dcos-calico under the user's cache directory."""
    base = os.environ.get("DCOS_CALICO_CACHE")
    if base:
        return Path(base) / "servers"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dcos-calico" / "servers"


def unpacked(*packages: str) -> Path:
    """The directory with the files of `packages` (not of what they depend on), fetched when it is not there yet."""
    name = "+".join(packages)
    if len(name) > _LONGEST_NAME:
        name = f"{packages[0]}+{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    target = cache() / name
    with _locked(cache()):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=cache(), prefix=".fetching-") as work:
                _unpack(_fetch(Path(work), packages), Path(work) / "root").rename(target)
    return target


def stands_for(package: str) -> str:
    """The package that an empty one, such as linux-image-amd64, names first among what it depends on."""
    target = cache() / f"{package}.depends"
    with _locked(cache()):
        if not target.is_file():
            with tempfile.TemporaryDirectory(dir=cache(), prefix=".fetching-") as work:
                (archive,) = _fetch(Path(work), (package,))
                command = [shutil.which("dpkg-deb") or "/usr/bin/dpkg-deb", "-f", str(archive), "Depends"]
                found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            target.write_text(found.split()[0].rstrip(","))
    return target.read_text()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(work: Path, packages: tuple[str, ...]) -> list[Path]:
    """Download `packages` below `work`; the archives."""
    for name in ("state/lists/partial", "cache/archives/partial", "debs", "root"):
        (work / name).mkdir(parents=True)
    (work / "state/status").touch()
    apt = ["apt-get", "-q", *_private(work)]
    # A source that cannot be read (a third party's, say) does not matter as long as the package is found.
    subprocess.run([*apt, "update"], capture_output=True, check=False)
    done = subprocess.run([*apt, "download", *packages], cwd=work / "debs", capture_output=True, text=True, check=False)
    archives = sorted((work / "debs").glob("*.deb"))
    if done.returncode or len(archives) != len(packages):
        raise NoPackage(f"apt-get download {' '.join(packages)}: {done.stderr.strip()}")
    return archives


def _unpack(archives: list[Path], root: Path) -> Path:
    for archive in archives:
        subprocess.run([shutil.which("dpkg-deb") or "/usr/bin/dpkg-deb", "-x", archive, root], check=True)
    return root


def _private(work: Path) -> list[str]:
    options = {
        "Dir::State": work / "state",
        "Dir::State::lists": work / "state/lists",
        "Dir::State::status": work / "state/status",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
