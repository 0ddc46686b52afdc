"""What `make test` runs: every suite this machine can run, each through tox, and what was left out and why.

A suite that needs more than the machine gives is left out and named at the end; under CI that is a failure, because a
green run must mean that everything ran.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent


class Suite(NamedTuple):
    """A tox environment, what it needs (names of `_LACKS`), and Debian's tools for it as `setup` arguments."""

    name: str
    needs: tuple[str, ...] = ()
    tools: tuple[tuple[str, ...], ...] = ()


_IP = ("iproute2", "--", "ip", "-V")
_ANALYZE = ("systemd", "--", "systemd-analyze", "--version")
_CHROMIUM = ("chromium", "--", "chromium", "--version")
_NSPAWN = ("systemd-container", "--", "systemd-nspawn", "--version")
_DEBSTRAP = ("mmdebstrap", "--", "mmdebstrap", "--version")
_NFT = ("nftables", "--", "nft", "--version")
_SYSCTL = ("procps", "--", "sysctl", "--version")

SUITES = (
    Suite("lint"),
    Suite("type"),
    Suite("unit"),
    Suite("integration", ("debian", "root", "namespaces"), (_IP, _ANALYZE, _DEBSTRAP, _CHROMIUM, _NFT)),
    Suite("e2e", ("debian", "root", "namespaces"), (_IP, _NSPAWN, _DEBSTRAP, _NFT, _SYSCTL)),
)


def _no_debian() -> str:
    return "" if shutil.which("apt-get") else "needs Debian 12 (its test servers come from Debian's archive)"


def _no_root() -> str:
    return "" if os.geteuid() == 0 else "needs root"


def _no_namespaces() -> str:
    unshare = shutil.which("unshare") or "/usr/bin/unshare"
    works = subprocess.run([unshare, "-n", "true"], capture_output=True, check=False).returncode == 0
    return "" if works else "needs network namespaces, which this kernel or container does not allow"


_LACKS = {"debian": _no_debian, "root": _no_root, "namespaces": _no_namespaces}


def why_not(suite: Suite) -> str:
    """The first reason why `suite` cannot run here; empty when it can."""
    for need in suite.needs:
        if reason := _LACKS[need]():
            return reason
    for packages_and_probe in suite.tools:
        done = subprocess.run(["sh", str(ROOT / "tools/setup"), *packages_and_probe], check=False)
        if done.returncode:
            return f"needs {' '.join(packages_and_probe[: packages_and_probe.index('--')])}"
    return ""


def main() -> int:
    """Run the suites in order, stop at none, and say how each ended."""
    left_out, failed = [], []
    for suite in SUITES:
        if reason := why_not(suite):
            left_out.append(f"{suite.name}: {reason}")
            continue
        start = time.monotonic()
        command = [sys.executable, "-m", "tox", "run", "-q", "-e", suite.name]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(suite.name)
        print(f"suites: {suite.name} took {time.monotonic() - start:.0f} s", flush=True)
    for line in left_out:
        print(f"suites: left out {line}")
    if failed:
        print(f"suites: failed: {', '.join(failed)}")
    if left_out and os.environ.get("CI") == "true":
        print("suites: CI must leave nothing out")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
