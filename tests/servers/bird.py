"""BIRD 2 for tests: Debian's, with the libraries that the package `bird` lists, in a network namespace of choice."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from calico.confd import control
from calico.confd.sessions import Protocol, SessionState, read_running
from tests.servers import debian

_RECIPE = Path(__file__).resolve().parents[2] / "packages/bird/buildinfo.json"
_BUILD_ONLY = ("patchelf", "libstdc++6", "libgcc-s1")
_DEADLINE = 30.0


def _root() -> Path:
    sources = json.loads(_RECIPE.read_text())["sources"]
    names = [name for name, source in sources.items() if source["kind"] == "deb" and name not in _BUILD_ONLY]
    return debian.unpacked(*names)


def program(directory: Path) -> str:
    """A script in `directory` that runs BIRD with its libraries; made when it is not there."""
    script = directory / "bird"
    if not script.exists():
        root = _root()
        libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
        script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {root}/usr/sbin/bird "$@"\n')
        script.chmod(0o755)
    return str(script)


class Bird:
    """A daemon with its files in `directory`; `prefix` are the words before its command line (`ip netns exec x`)."""

    def __init__(self, directory: Path, prefix: Sequence[str] = ()) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "bird.cfg"
        self.socket = str(directory / "bird.ctl")
        self.program = program(directory)
        self._log = directory / "bird.log"
        self._prefix = list(prefix)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Bird":
        """Start it as its unit does, and return when it answers."""
        command = [*self._prefix, self.program, "-f", "-R", "-s", self.socket, "-c", str(self.config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._answers, f"{self.config} to be served", self.log)
        return self

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"BIRD ended:\n{self.log()}")
        try:
            self.ask("show status")
        except control.ControlError:
            return False
        return True

    def ask(self, command: str) -> list[control.Line]:
        """Its reply to a command."""
        return control.ask(self.socket, command)

    def configure(self, text: str) -> None:
        """Have it run with `text`."""
        self.config.write_text(text)
        self.ask("configure")

    def protocols(self) -> tuple[Protocol, ...]:
        """What it runs."""
        return read_running(self.socket).protocols

    def sessions(self) -> dict[str, SessionState]:
        """Its BGP sessions by name."""
        return {session.name: session for session in read_running(self.socket).sessions}

    def networks(self, arguments: str) -> set[str]:
        """The networks that `show route <arguments>` names."""
        try:
            lines = self.ask(f"show route {arguments}")
        except control.ControlError as error:
            if "Network not found" in str(error):
                return set()
            raise
        return {line.text.split()[0] for line in lines if line.code == 1007 and "/" in line.text.split()[0]}

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_DEADLINE)
            self._process = None

    def stop(self) -> None:
        """End it as its unit does: with a word to its neighbours that it comes back."""
        self._end("graceful restart")

    def down(self) -> None:
        """End it for good."""
        self._end("down")

    def _end(self, command: str) -> None:
        self.ask(command)
        if self._process is not None:
            self._process.wait(_DEADLINE)
            self._process = None

    def log(self) -> str:
        """The last of what it said."""
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""


def wait_for(holds: Callable[[], bool], what: str, explain: Callable[[], str] = str, deadline: float = 60.0) -> None:
    """Return when `holds`; AssertionError with `explain()` when it does not in time."""
    until = time.monotonic() + deadline
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"waited {deadline:.0f} s for {what}\n{explain()}")
        time.sleep(0.1)
