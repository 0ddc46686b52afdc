"""Fake programs on PATH that record how they were called.

A program is a shell script of two lines: it appends its name and arguments to one log, an argument a field, and then
does what the test gave it as a body.
"""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path


class Programs:
    """A directory of fakes. `environment` puts it in front of PATH."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "programs"
        self.directory.mkdir()
        self._log = directory / "calls"
        self._log.touch()

    def add(self, name: str, body: str = "exit 0") -> None:
        """Make a program; `body` is shell."""
        record = f"{{ printf '%s\\037' {shlex.quote(name)} \"$@\"; echo; }} >>{shlex.quote(str(self._log))}"
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{record}\n{body}\n")
        path.chmod(0o755)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment for a process that shall find the fakes first."""
        return {**os.environ, "PATH": f"{self.directory}:{os.environ['PATH']}"}

    def calls(self, name: str = "") -> list[list[str]]:
        """Every call so far, or those of one program: argv lists."""
        lines = [line.split("\037")[:-1] for line in self._log.read_text().splitlines()]
        return [argv for argv in lines if not name or argv[0] == name]
