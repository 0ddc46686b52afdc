"""Every program of ours with its commands, as each tells of itself: what its page shows, and what samples may use."""

import contextlib
import importlib
import io
import os
import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

_WIDTH = "100"
_ENTRY = re.compile(r"^    ([a-z][a-z0-9-]*(?: [a-z][a-z0-9-]*)?)(?: {2,}\S.*)?$", re.MULTILINE)
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9-]*|-[A-Za-z])(?![\w-])")


class Program(NamedTuple):
    """A program: its name, the module whose `main` it is, and where it runs."""

    name: str
    module: str
    where: str


PROGRAMS = (
    Program("gen", "gen.cli", "workstation"),
    Program("mkpanda", "pkgpanda.build.cli", "workstation"),
    Program("release", "release.cli", "workstation"),
    Program("lab", "lab.cli", "workstation, as root"),
    Program("pkgpanda", "pkgpanda.node.cli", "node"),
    Program("calicoctl", "calico.calicoctl.cli", "node, or any host with Python 3.11"),
    Program("dcos-etcdctl", "dcos_etcd.ctl", "master"),
    Program("etcd-discovery", "dcos_etcd.discovery", "master, run by its unit"),
    Program("calico-node", "calico.node.agent", "node, run by its unit"),
    Program("calico-felix", "calico.felix.cli", "node, run by its unit"),
    Program("calico-confd", "calico.confd.cli", "node, run by its unit"),
)


class Command(NamedTuple):
    """A program with the words of one of its commands (none: the program itself), and what --help says there."""

    program: Program
    words: tuple[str, ...]
    help: str

    @property
    def title(self) -> str:
        """As it is called."""
        return " ".join((self.program.name, *self.words))

    @property
    def options(self) -> frozenset[str]:
        """The options that its help names."""
        return frozenset(_OPTION.findall(self.help))


@cache
def commands() -> tuple[Command, ...]:
    """Every command of every program, each program's own first."""
    return tuple(command for program in PROGRAMS for command in _of(program, ()))


def _of(program: Program, words: tuple[str, ...]) -> Iterator[Command]:
    text = ask(program, words)
    yield Command(program, words, text)
    if len(words) < 2 and not any(" " in word for word in words):
        for name in _entries(text):
            yield from _of(program, (*words, *name.split())) if " " not in name else _leaf(program, name)


def _leaf(program: Program, name: str) -> Iterator[Command]:
    words = tuple(name.split())
    yield Command(program, words, ask(program, words))


def _entries(text: str) -> list[str]:
    """The commands that a help lists: below `COMMAND`, or (calicoctl) between its lines."""
    if "COMMAND" not in text.partition("\n\n")[0] and "positional arguments:\n  {" not in text:
        return []
    return _ENTRY.findall(text.partition("\noptions:")[0])


def ask(program: Program, words: tuple[str, ...]) -> str:
    """What `--help` prints, as wide as a page."""
    main = importlib.import_module(program.module).main
    output = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH
    try:
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            # argparse takes the program's name from the interpreter's arguments where it has no other.
            _call(main, [*words, "--help"])
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return output.getvalue()


def _call(main: object, arguments: list[str]) -> None:
    """Run a `main`, also one that reads the command line only from `sys.argv`."""
    import inspect
    import sys

    assert callable(main)
    if inspect.signature(main).parameters:
        main(arguments)
        return
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        main()
    finally:
        sys.argv = before


def find(words: list[str]) -> Command | None:
    """The command that a command line calls; None where it is none of ours."""
    name = words[0].rpartition("/")[2]
    best: Command | None = None
    for command in commands():
        length = len(command.words)
        if command.program.name == name and command.words == tuple(words[1 : length + 1]):
            best = command
    return best
