"""Running a build script: clean environment, no network, and nothing of it left when it or we end."""

import contextlib
import functools
import os
import shutil
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

_TRIES = (
    ("unshare", "--net", "--pid", "--fork", "--kill-child"),
    ("unshare", "--map-current-user", "--net", "--pid", "--fork", "--kill-child"),
    ("unshare", "--net"),
    ("unshare", "--map-current-user", "--net"),
)
_INIT = ("sh", "-c", '"$@"; exit $?', "sh")
"""The first process of a PID namespace is deaf to most signals; a shell takes that place, so that the script is not."""

_STRICT = ("-o", "errexit", "-o", "nounset", "-o", "pipefail")


@functools.cache
def isolation() -> Sequence[str]:
    """The command that keeps a script off the network and its processes together, as far as this host allows."""
    for command in _TRIES:
        with contextlib.suppress(OSError):
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
    return ()


class Scripts:
    """The scripts that run now, so that an interrupted run can end them."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def run(self, script: Path, directory: Path, environment: Mapping[str, str], log: Path) -> int:
        """Run `script` in `directory` with bash and that environment only; its exit status. Output goes to `log`."""
        # setpriv: the kernel ends the script when we are killed in a way that leaves us no time.
        guard = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
        command = [*guard, *isolation(), *_INIT, "bash", *_STRICT, str(script)]
        with log.open("wb") as file, self._guard:
            if self._stopped:
                return -1
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
            )
            self._running.add(process)
        try:
            return process.wait()
        finally:
            with self._guard:
                self._running.discard(process)

    def stop(self) -> None:
        """End all, and start no more."""
        with self._guard:
            self._stopped = True
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
