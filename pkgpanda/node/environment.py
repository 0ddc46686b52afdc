"""The two environment files: `environment` for systemd's EnvironmentFile=, `environment.export` for a shell.

Neither sets LD_LIBRARY_PATH: bundled programs find their libraries themselves, and the host's must not find ours.
"""

import re
from collections.abc import Callable, Iterable

from pkgpanda.node.package import Package

RESERVED = ("LD_LIBRARY_PATH", "PATH")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")


def search_path(root: str) -> str:
    """The PATH of our services."""
    return f"{root}/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def for_systemd(root: str, packages: Iterable[Package]) -> str:
    """`environment`: what systemd's parser reads back as the same values."""
    lines = [
        f"# Written by pkgpanda for systemd; {root}/environment.export is the one for shells.",
        f"PATH={search_path(root)}",
    ]
    for package in packages:
        lines += _section(package, "", _double_quoted)
    return "\n".join(lines) + "\n"


def for_shell(root: str, packages: Iterable[Package]) -> str:
    """`environment.export`: to be read with `.` by any POSIX shell."""
    lines = ["# Written by pkgpanda for shells.", f'export PATH={_single_quoted(root)}/bin:"$PATH"']
    for package in packages:
        lines += _section(package, "export ", _single_quoted)
    return "\n".join(lines) + "\n"


def _section(package: Package, prefix: str, quoted: Callable[[str], str]) -> list[str]:
    if not package.environment:
        return []
    pairs = sorted(package.environment.items())
    return [f"# {package.id}", *(f"{prefix}{key}={quoted(value)}" for key, value in pairs)]


def _double_quoted(value: str) -> str:
    """In systemd's double quotes a backslash makes `"`, `\\`, `` ` `` and `$` plain; everything else is itself."""
    return value if _PLAIN.fullmatch(value) else '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'


def _single_quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else "'" + value.replace("'", "'\\''") + "'"
