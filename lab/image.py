"""The roots of nodes and of containers: Debian with what the bundle asks of a host, and nothing else.

Built once with mmdebstrap (debootstrap where that is all there is) from the archives this machine's own apt is
configured with, and kept in the cache under the hash of its recipe:

    ${DCOS_CALICO_CACHE:-${XDG_CACHE_HOME:-~/.cache}/dcos-calico}/images/<hash>/     the root, never written to again
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lab.instance import LabError, host

_BUILD_SECONDS = 300
_SUITES = ("bookworm", "bookworm-updates", "bookworm-security", "bookworm/updates")

# What nobody needs to see in a test node: no login prompts, no jobs that start by the clock, no network but ours.
_MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "console-getty.service",
    "getty.target",
    "systemd-firstboot.service",
    "systemd-logind.service",
    "systemd-networkd.service",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-tmpfiles-clean.timer",
)
_NO_FILES = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*")


class Recipe(NamedTuple):
    """Everything that decides what is in a root."""

    suite: str = "bookworm"
    variant: str = "essential"
    packages: tuple[str, ...] = (
        "bash",
        "coreutils",
        "curl",
        "dbus",
        "kmod",
        "passwd",
        "systemd",
        "systemd-sysv",
        "tar",
        "xz-utils",
    )
    masked: tuple[str, ...] = _MASKED
    left_out: tuple[str, ...] = _NO_FILES
    files: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """The name of this recipe's root in the cache."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()[:16]


NODE = Recipe()
"""What every node has."""

AGENT = NODE._replace(packages=tuple(sorted((*NODE.packages, "docker.io"))))
"""A node that runs containers also has Docker, and what Docker asks for: iptables, containerd, runc."""

_ID_SERVER = """#!/bin/sh
# The lab's stand-in for the image mesosphere/id-server, which cannot be pulled: answers /id with this container's own.
mkdir -p /www
printf %s "${ID:-$(hostname)}" >/www/id
exec httpd -f -p "${PORT:-80}" -h /www
"""
_WGET = """#!/bin/sh
# busybox's wget, with the --timeout=SECONDS that Debian's leaves out.
limit=
for word; do
    shift
    case $word in
        --timeout=*) limit=${word#*=} ;;
        *) set -- "$@" "$word" ;;
    esac
done
[ -n "$limit" ] || exec busybox wget "$@"
status=0
set -o pipefail
# What is said about the killed program is not for the user.
{ { timeout "$limit" busybox wget "$@"; } 2>&1 >&3 3>&- | sed /^Terminated$/d >&2; } 3>&1 || status=$?
[ "$status" != 143 ] || echo "wget: download timed out" >&2
exit "$status"
"""

CONTAINER = Recipe(
    variant="extract",
    packages=("busybox-static",),
    masked=(),
    files=(("bin/id-server", _ID_SERVER), ("usr/local/bin/wget", _WGET)),
)
"""The root of the lab's containers: busybox, and a small server that answers /id."""


def cache() -> Path:
    """Where roots are kept."""
    base = os.environ.get("DCOS_CALICO_CACHE")
    if not base:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        base += "/dcos-calico"
    return Path(base) / "images"


def is_cached(recipe: Recipe) -> bool:
    """Whether the root of `recipe` is built."""
    return (cache() / recipe.digest()).is_dir()


def ensure(recipe: Recipe = NODE) -> Path:
    """The root of `recipe`, built if it is not in the cache; two processes at once build one."""
    root = cache() / recipe.digest()
    cache().mkdir(parents=True, exist_ok=True)
    with _locked(cache() / f"{recipe.digest()}.lock"):
        if not root.is_dir():
            draft = root.with_suffix(".draft")
            _discard(draft)
            _build(recipe, draft)
            _finish(recipe, draft)
            draft.rename(root)
    return root


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _discard(draft: Path) -> None:
    """Remove an interrupted build; refuse where it left something mounted, which rmtree would empty."""
    if str(draft) in Path("/proc/self/mounts").read_text():
        raise LabError(f"{draft}: an interrupted build left mounts in it (unmount them)")
    if draft.exists():
        shutil.rmtree(draft)


def _build(recipe: Recipe, draft: Path) -> None:
    sources = archives(recipe.suite)
    if shutil.which("mmdebstrap"):
        options = [f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.left_out]
        options += [f"--aptopt={line}" for line in _apt_settings()]
        options += ["--mode=root", f"--variant={recipe.variant}", f"--include={','.join(recipe.packages)}"]
        host("mmdebstrap", "--quiet", *options, recipe.suite, str(draft), *sources, timeout=_BUILD_SECONDS)
    elif shutil.which("debootstrap") and recipe.variant == "essential":
        mirror = sources[0].split()[-3]
        options = ["--variant=minbase", f"--include={','.join(recipe.packages)}"]
        host("debootstrap", *options, recipe.suite, str(draft), mirror, timeout=_BUILD_SECONDS)
    else:
        raise LabError("the root of a node or of a container needs mmdebstrap: apt-get install mmdebstrap")


def archives(suite: str) -> list[str]:
    """This machine's own Debian archives of `suite`, main only, as lines of sources.list."""
    targets = host("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    wanted = [line.split() for line in dict.fromkeys(targets.splitlines())]
    lines = [f"deb {uri} {release} main" for uri, release, component in wanted if _is_wanted(suite, release, component)]
    if not lines:
        raise LabError(f"apt on this machine has no Debian {suite} archive (main) to build a node's root from")
    return sorted(lines, key=lambda line: line.split()[2] != suite)


def _is_wanted(suite: str, release: str, component: str) -> bool:
    return release.startswith(suite) and release in _SUITES and component == "main"


def _apt_settings() -> list[str]:
    """How this machine's apt reaches its archives (proxies, certificates), which mmdebstrap's own apt does not read."""
    dump = host("apt-config", "dump", "--format", '%F "%v";%n', "Acquire")
    return [
        line for line in dump.splitlines() if line.startswith(("Acquire::http", "Acquire::https")) and '""' not in line
    ]


def _finish(recipe: Recipe, root: Path) -> None:
    if recipe.variant == "extract":
        _install_applets(root)
    units = root / "etc/systemd/system"
    for unit in recipe.masked:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for name in ("machine-id", "hostname", "resolv.conf"):
        (root / "etc" / name).unlink(missing_ok=True)
    if recipe.variant != "extract":
        (root / "etc/machine-id").touch()
    for path, text in recipe.files:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        (root / path).chmod(0o755)
    for leftover in ("var/lib/apt/lists", "var/cache/apt"):
        shutil.rmtree(root / leftover, ignore_errors=True)


def _install_applets(root: Path) -> None:
    """Give a root that holds busybox alone its commands and the directories a container expects."""
    for name in ("dev", "etc", "proc", "sys", "tmp", "usr/bin", "usr/sbin", "sbin", "var", "www"):
        (root / name).mkdir(parents=True, exist_ok=True)
    host("chroot", str(root), "/bin/busybox", "--install", "-s")
