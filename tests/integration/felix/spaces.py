"""Network namespaces of a test's own, and work done inside them.

A namespace's name says whose it is: `flx-<pid>-<name>`. What a killed run left is removed by `sweep`.
"""

import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from calico.netlink.namespaces import enter, open_namespace

_PREFIX = "flx"
_ROOT = Path("/run/netns")
T = TypeVar("T")


def run(*words: str, check: bool = True) -> str:
    """What a program prints."""
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Space:
    """A namespace. `call` runs a function inside it, always in the same thread; `ip` is iproute2 there."""

    def __init__(self, name: str) -> None:
        self.name = f"{_PREFIX}-{os.getpid()}-{name}"
        run("ip", "netns", "add", self.name)
        self.descriptor = open_namespace(f"{_ROOT}/{self.name}")
        self._thread = ThreadPoolExecutor(1, self.name, lambda: enter(self.descriptor))
        self.ip("link", "set", "lo", "up")

    def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """What `work` returns inside."""
        return self._thread.submit(work, *arguments).result(120)

    def ip(self, *words: str, check: bool = True) -> str:
        """iproute2 inside."""
        return run("ip", "-n", self.name, *words, check=check)

    def batch(self, lines: Sequence[str]) -> None:
        """Many commands of iproute2 inside, in one process."""
        done = subprocess.run(
            ["ip", "-n", self.name, "-batch", "-"],
            input="\n".join(lines) + "\n",
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr.strip()}")

    def command(self, *words: str) -> list[str]:
        """The command line of a program that runs inside."""
        return ["nsenter", f"--net={_ROOT}/{self.name}", *words]

    def remove(self) -> None:
        """Give it back."""
        self._thread.shutdown()
        os.close(self.descriptor)
        run("ip", "netns", "delete", self.name, check=False)


def sweep() -> None:
    """Remove the namespaces of runs that are no more."""
    for path in _ROOT.glob(f"{_PREFIX}-*") if _ROOT.is_dir() else ():
        owner = path.name.split("-")[1]
        if not Path(f"/proc/{owner}").exists():
            run("ip", "netns", "delete", path.name, check=False)
