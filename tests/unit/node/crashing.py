"""A host that dies at a chosen change: cleanly before it, in the middle of a write, or by a full disk."""

import errno
from collections.abc import Iterable
from pathlib import Path

from tests.unit.node.simulation import SimulatedHost


class Killed(BaseException):
    """The process is gone. Not an Exception: nothing of the program may react to it."""


class MortalHost(SimulatedHost):
    """Counts changes and dies at number `fatal`. Whatever would still be done afterwards is an error of the test."""

    def __init__(self, systemd_dir: str, fatal: int = -1, full: bool = False) -> None:
        super().__init__(systemd_dir)
        self.steps: list[str] = []
        self.fatal, self.full, self.dead = fatal, full, False

    def step(self, action: str, path: str) -> None:
        if self.dead:
            raise Killed
        self.steps.append(f"{action} {path}")
        if self.full:
            self._fill(action, path)
        elif len(self.steps) - 1 == self.fatal:
            self.dead = True
            raise Killed

    def _fill(self, action: str, path: str) -> None:
        """From step `fatal` on nothing that takes room works; removing does, as on a real full disk."""
        if len(self.steps) - 1 >= self.fatal and action in ("write", "append", "mkdir", "symlink"):
            raise OSError(errno.ENOSPC, "No space left on device", path)

    def write(self, path: str, data: bytes | Iterable[bytes], mode: int = 0o644) -> None:
        try:
            super().write(path, data, mode)
        except Killed:
            whole = data if isinstance(data, bytes) else b""
            if not Path(path).exists():
                Path(path).write_bytes(whole[: len(whole) // 2])
            raise

    def revive(self) -> None:
        """The next process on the same machine."""
        self.fatal, self.dead, self.full = -1, False, False
        self.steps.clear()
