"""Everything about a node that an installation may change, as values that can be compared.

What systemd, the C library's tools and the tests themselves change without being asked is left out, by name.
"""

import hashlib
import os
import re
import stat
from pathlib import Path

from lab.machine import Machine

_NOT_OURS = re.compile(
    r"var/log/(journal|wtmp|btmp|lastlog|faillog).*"  # the system's own logs
    r"|var/lib/systemd/.*|var/cache/ldconfig/.*|etc/ld\.so\.cache"  # systemd's random seed, time stamps, catalog
    r"|etc/(passwd|shadow|group|gshadow|subuid|subgid)-|etc/\.pwd\.lock"  # copies that useradd and userdel keep
    r"|etc/(machine-id|resolv\.conf|hostname|\.updated|mtab)|var/\.updated"  # written at every boot
    r"|root/.*|tmp/.*|run/.*|dev/.*|proc/.*|sys/.*"  # the tests' own, and what is empty after a boot
)


def files(machine: Machine) -> dict[str, str]:
    """Path -> kind, mode, owner and content (a digest, or a link's target) of everything on a node's disk."""
    found = {}
    for directory, names, others in os.walk(machine.root):
        for name in names + others:
            path = Path(directory, name)
            relative = str(path.relative_to(machine.root))
            if not _NOT_OURS.fullmatch(relative):
                found[relative] = _described(path)
        names[:] = [
            name for name in names if not _NOT_OURS.fullmatch(f"{Path(directory, name).relative_to(machine.root)}/")
        ]
    return found


def _described(path: Path) -> str:
    status = path.lstat()
    owner = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{owner} -> {path.readlink()}"
    if stat.S_ISREG(status.st_mode):
        return f"{owner} {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
    return owner


def units(machine: Machine) -> list[str]:
    """Every unit file systemd knows, and whether it is enabled."""
    return machine.run("systemctl list-unit-files --no-legend --no-pager --plain").stdout.splitlines()


_ACCIDENTAL = re.compile(r"link/ether \S+|@if\d+|^\d+: ")  # a node's boot chooses these
# The kernel adds and counts these by itself, some time after an interface came up.
_UNASKED = re.compile(r"\bf[ef][0-9a-f]{2}:|33:33:|01:00:5e:|nf_conntrack_count|\.stable_secret")


def kernel(machine: Machine) -> dict[str, list[str]]:
    """Interfaces, addresses, routes, rules, tables and settings of a node's network, seen from outside."""
    commands = {
        "links": "ip -details link",
        "addresses": "ip -o addr show scope global",
        "routes": "ip route show table all",
        "routes6": "ip -6 route show table all",
        "rules": "ip rule",
        "forwarding entries": "bridge fdb",
        "tables": "nft list ruleset",
        "settings": "sysctl -a -r ^net\\.",
    }
    seen = {}
    for name, command in commands.items():
        lines = [_ACCIDENTAL.sub("", line).rstrip() for line in machine.inspect(*command.split()).splitlines()]
        seen[name] = sorted(line for line in lines if not _UNASKED.search(line))
    return seen


def difference(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is not the same, one line for each path."""
    changed = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    return [f"{path}: {before.get(path, 'absent')} => {after.get(path, 'absent')}" for path in sorted(changed)]
