"""`gen`: validate and render a cluster's configuration.

Each sub-command is a module of `gen.commands` with `configure(parser)` and `run(args) -> exit status`; only the one
that is called is imported, because a start of the program is most of what it costs.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

COMMANDS = {
    "validate": "report every problem of a configuration",
    "render": "write every file a node needs",
    "diff": "tell what changes between two configurations, and what a cluster would feel",
    "explain": "describe the parameters",
    "schema": "print a JSON Schema for editors",
    "pki": "make and renew the certificates of a cluster",
}
"""Every sub-command and its line of help."""

_EPILOG = """\
example:
  gen validate config/calico.yaml
  gen render config/calico.yaml --output build/config

Exit status: 0 done, 1 the configuration has problems, 2 the command line is wrong, 3 something else failed.
"""


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser, filled in for the sub-command `chosen` alone."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="gen", description=__doc__.splitlines()[0], epilog=_EPILOG, formatter_class=raw
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=f"{line[0].upper()}{line[1:]}.", formatter_class=raw)
        if name == chosen:
            _module(name).configure(command)
    return parser


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"gen.commands.{name}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command; the value is the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((argument for argument in arguments if not argument.startswith("-")), None)
    args = _parser(chosen).parse_args(arguments)
    try:
        status: int = _module(args.command).run(args)
        sys.stdout.flush()
    except OSError as error:
        # Most likely the output cannot be written; the interpreter must not try once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 0  # whoever read it has gone, which is no failure of ours
        where = f"{error.filename}: " if error.filename else ""
        print(f"gen: {where}{error.strerror or error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return status
